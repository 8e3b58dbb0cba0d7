use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agentd_plugin_api::sink::Receiver;
use agentd_plugin_api::{Event, PushStatus};
use tokio::sync::watch;

/// What a session reported, in its order, before the host makes anything of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Output; neighbours are joined.
    Output(Vec<u8>),
    /// An event.
    Event(Event),
}

impl Entry {
    /// Whether it is the session's end.
    pub(crate) fn is_end(&self) -> bool {
        matches!(
            self,
            Entry::Event(Event::Exited { .. } | Event::Lost { .. })
        )
    }
}

/// What is answered to output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Valve {
    /// Any number of bytes may follow.
    Open,
    /// None may follow until it is open.
    Shut,
    /// Nobody wants any more.
    Closed,
}

/// Keeps everything.
#[derive(Debug)]
pub(crate) struct Tape {
    entries: Mutex<Vec<Entry>>,
    valve: watch::Sender<Valve>,
}

impl Tape {
    pub(crate) fn new() -> Arc<Tape> {
        Tape::with(Valve::Open)
    }

    pub(crate) fn with(valve: Valve) -> Arc<Tape> {
        Arc::new(Tape {
            entries: Mutex::default(),
            valve: watch::Sender::new(valve),
        })
    }

    pub(crate) fn set(&self, valve: Valve) {
        self.valve.send_replace(valve);
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.lock().clone()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.lock().iter().any(Entry::is_end)
    }

    /// All output.
    pub(crate) fn output(&self) -> Vec<u8> {
        let entries = self.lock();
        let output = entries.iter().filter_map(|entry| match entry {
            Entry::Output(output) => Some(output.as_slice()),
            Entry::Event(_) => None,
        });
        output.collect::<Vec<_>>().concat()
    }

    fn status(&self) -> PushStatus {
        let valve = *self.valve.borrow();
        PushStatus {
            credit: if valve == Valve::Open { u64::MAX } else { 0 },
            closed: valve == Valve::Closed,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Receiver for Tape {
    fn push(&self, bytes: &[u8]) -> PushStatus {
        let mut entries = self.lock();
        match entries.last_mut() {
            Some(Entry::Output(output)) => output.extend_from_slice(bytes),
            _ => entries.push(Entry::Output(bytes.to_vec())),
        }
        self.status()
    }

    fn message(&self, json: &str) -> PushStatus {
        if let Ok(event) = serde_json::from_str(json) {
            self.lock().push(Entry::Event(event));
        }
        self.status()
    }

    fn ready(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let mut valve = self.valve.subscribe();
        Box::pin(async move {
            // An error is that nobody is left who could open it.
            let _ = valve.wait_for(|valve| *valve != Valve::Shut).await;
        })
    }
}
