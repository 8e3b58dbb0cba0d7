use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use agentd_api::Agent;
use serde_json::json;
use tokio::sync::watch;

/// Events that a client can still resume from.
const KEPT: usize = 4096;

/// What happened to agents, numbered, for `GET /events`.
#[derive(Debug)]
pub struct Events {
    log: Mutex<Log>,
    changes: watch::Sender<()>,
}

#[derive(Debug)]
struct Log {
    events: VecDeque<Event>,
    next: u64,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct Event {
    /// Grows by one each time, and over restarts of the service too.
    pub id: u64,
    /// `created`, `started`, `exited`, `restarted`, `health`, `progress` or `deleted`.
    pub kind: &'static str,
    /// JSON.
    pub data: String,
}

impl Events {
    /// No events yet. Their numbers begin at the present microsecond, so that a client which comes
    /// back after a restart of the service finds only greater ones.
    pub fn new() -> Self {
        let since_1970 = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let next = u64::try_from(since_1970.as_micros()).unwrap_or(0);
        let log = Log {
            events: VecDeque::new(),
            next,
        };
        Events {
            log: Mutex::new(log),
            changes: watch::Sender::new(()),
        }
    }

    /// Something happened to `agent`.
    pub fn changed(&self, kind: &'static str, agent: &Agent) {
        self.push(kind, json!({ "agent": agent }).to_string());
    }

    /// The agent is gone.
    pub fn deleted(&self, id: &str, name: &str) {
        self.push("deleted", json!({ "id": id, "name": name }).to_string());
    }

    /// The number of the last event.
    pub fn last(&self) -> u64 {
        self.lock().next - 1
    }

    /// The first event after number `last`.
    pub fn after(&self, last: u64) -> Option<Event> {
        let log = self.lock();
        let index = log.events.partition_point(|event| event.id <= last);
        log.events.get(index).cloned()
    }

    /// Notified of every new event.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    fn push(&self, kind: &'static str, data: String) {
        let mut log = self.lock();
        let id = log.next;
        log.next += 1;
        log.events.push_back(Event { id, kind, data });
        if log.events.len() > KEPT {
            log.events.pop_front();
        }
        drop(log);
        self.changes.send_replace(());
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
