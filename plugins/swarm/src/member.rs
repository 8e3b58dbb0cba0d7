use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use agentd_docker_engine::agent::{Agent, Stage};
use agentd_plugin_api::prelude::*;
use agentd_plugin_api::tokio::sync::{RwLock, watch};
use agentd_plugin_api::tokio::time::Instant;

/// An agent of the Swarm.
pub(crate) struct Member {
    pub(crate) agent: Agent,
    /// Where its task is.
    pub(crate) place: watch::Sender<Place>,
    /// Of its terminal, until it has it.
    pub(crate) size: Mutex<Option<Size>>,
    /// It is being ended: that its service goes is no news.
    is_ending: AtomicBool,
    /// Whether its container has no health check, as far as that is known.
    pub(crate) is_unchecked: AtomicBool,
    /// Held by whoever reads its log.
    pub(crate) log_readers: RwLock<()>,
    /// Since when it is known.
    pub(crate) born: Instant,
    progress: Mutex<String>,
}

/// Where a task is, and how far it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) phase: Phase,
    /// The task's id.
    pub(crate) task: Option<String>,
    /// Its node's id.
    pub(crate) node: Option<String>,
    /// Its node's name.
    pub(crate) node_name: String,
    /// Its node is down.
    pub(crate) is_down: bool,
    /// The id of its container, on that node.
    pub(crate) container: Option<String>,
    /// Why there is no container, as the only line of its log.
    pub(crate) rejection: Option<LogLine>,
}

/// How far a task is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Phase {
    #[default]
    Starting,
    Running,
    Over,
}

impl Member {
    pub(crate) fn new(
        session: String,
        tty: bool,
        size: Option<Size>,
        events: SessionEvents,
    ) -> Member {
        Member {
            agent: Agent::new(session, tty, events, Stage::Preparing),
            place: watch::Sender::default(),
            size: Mutex::new(size.filter(|_| tty)),
            is_ending: AtomicBool::new(false),
            is_unchecked: AtomicBool::new(false),
            log_readers: RwLock::default(),
            born: Instant::now(),
            progress: Mutex::default(),
        }
    }

    /// Reports how far its start is, once.
    pub(crate) fn starting(&self, progress: &str) {
        let mut last = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        if *last != progress {
            progress.clone_into(&mut last);
            self.agent.starting(progress);
        }
    }

    /// It may run, and nobody can tell. What is reported of its start after that is news.
    pub(crate) fn unknown(&self, reason: &str) {
        let mut last = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        last.clear();
        self.agent.unknown(reason);
    }

    pub(crate) fn set_ending(&self, is_ending: bool) {
        self.is_ending.store(is_ending, Ordering::Relaxed);
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    pub(crate) fn set_place(&self, place: Place) {
        self.place.send_if_modified(|old| {
            // What was asked for before the end may be answered after it.
            let is_late = old.phase == Phase::Over && place.phase != Phase::Over;
            let is_new = *old != place && !is_late;
            if !is_new {
                return false;
            }
            *old = place;
            true
        });
    }

    /// Whether something is about to happen to it.
    pub(crate) fn is_restless(&self) -> bool {
        const STARTS_SOON: Duration = Duration::from_secs(30);
        let starts = self.place.borrow().phase == Phase::Starting;
        starts && self.born.elapsed() < STARTS_SOON || self.is_ending()
    }

    /// Nothing more will come from its task.
    pub(crate) fn over(&self) {
        self.place.send_modify(|place| place.phase = Phase::Over);
    }
}
