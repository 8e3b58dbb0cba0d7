use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agentd_plugin_api::sink::Receiver;
use agentd_plugin_api::{Event, PushStatus};

/// What a session reported, in its order, before the host makes anything of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Output; neighbours are joined.
    Output(Vec<u8>),
    /// An event.
    Event(Event),
}

impl Entry {
    /// Whether it tells the session's end.
    pub(crate) fn is_end(&self) -> bool {
        matches!(
            self,
            Entry::Event(Event::Exited { .. } | Event::Lost { .. })
        )
    }
}

/// Keeps everything.
#[derive(Debug, Default)]
pub(crate) struct Tape(Mutex<Vec<Entry>>);

impl Tape {
    pub(crate) fn new() -> Arc<Tape> {
        Arc::default()
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const OPEN: PushStatus = PushStatus {
    credit: u64::MAX,
    closed: false,
};

impl Receiver for Tape {
    fn push(&self, bytes: &[u8]) -> PushStatus {
        let mut entries = self.lock();
        match entries.last_mut() {
            Some(Entry::Output(output)) => output.extend_from_slice(bytes),
            _ => entries.push(Entry::Output(bytes.to_vec())),
        }
        OPEN
    }

    fn message(&self, json: &str) -> PushStatus {
        if let Ok(event) = serde_json::from_str(json) {
            self.lock().push(Entry::Event(event));
        }
        OPEN
    }

    fn ready(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}
