//! For an author's own tests: a host and a receiver without a daemon.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::host::HostServices;
use crate::sink::Receiver;
use crate::{Event, Host, LogLine, LogSink, PushStatus, SessionEvents};

/// A host that shows nothing and reaps nothing.
pub fn host() -> Host {
    struct Quiet;
    impl HostServices for Quiet {
        fn enabled(&self, _level: u8, _target: &str) -> bool {
            false
        }
        fn log(&self, _level: u8, _target: &str, _message: &str) {}
        fn hold_reaping(&self) {}
        fn release_reaping(&self, _owned: Option<u32>) {}
    }
    Host::new(Arc::new(Quiet))
}

/// What arrived so far.
#[derive(Clone, Debug, Default)]
pub struct Recorded {
    /// All output.
    pub output: Vec<u8>,
    /// All events of a session.
    pub events: Vec<Event>,
    /// All lines of a log.
    pub lines: Vec<LogLine>,
}

impl Recorded {
    /// The output as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.output).into_owned()
    }

    /// The last event of the session, if it has ended.
    pub fn end(&self) -> Option<&Event> {
        self.events
            .iter()
            .find(|event| matches!(event, Event::Exited { .. } | Event::Lost { .. }))
    }
}

/// A receiver that keeps everything and lets a test wait for it.
#[derive(Debug)]
pub struct Recorder {
    recorded: Mutex<Recorded>,
    changed: watch::Sender<()>,
}

impl Recorder {
    /// An empty recorder.
    pub fn new() -> Arc<Self> {
        Arc::new(Recorder {
            recorded: Mutex::default(),
            changed: watch::Sender::new(()),
        })
    }

    /// What a session reports to this recorder with.
    pub fn events(self: &Arc<Self>) -> SessionEvents {
        SessionEvents::new(self.clone())
    }

    /// What log lines go to this recorder with.
    pub fn log(self: &Arc<Self>) -> LogSink {
        LogSink::new(self.clone())
    }

    /// A copy of what arrived so far.
    pub fn recorded(&self) -> Recorded {
        self.lock().clone()
    }

    /// Waits until `condition` holds and returns what had arrived then.
    ///
    /// # Panics
    ///
    /// After 60 seconds, with what had arrived.
    pub async fn wait_for(&self, what: &str, condition: impl Fn(&Recorded) -> bool) -> Recorded {
        let mut changed = self.changed.subscribe();
        let wait = async {
            loop {
                changed.mark_unchanged();
                let recorded = self.recorded();
                if condition(&recorded) {
                    return recorded;
                }
                if changed.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        match tokio::time::timeout(Duration::from_secs(60), wait).await {
            Ok(recorded) => recorded,
            Err(_) => panic!("waited in vain for {what}; so far: {:?}", self.recorded()),
        }
    }

    /// Waits until the backend has dropped everything that reports here.
    ///
    /// # Panics
    ///
    /// After 60 seconds.
    pub async fn released(self: &Arc<Self>) {
        let released = async {
            while Arc::strong_count(self) > 1 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let released = tokio::time::timeout(Duration::from_secs(60), released).await;
        assert!(released.is_ok(), "the backend still holds its events");
    }

    fn lock(&self) -> MutexGuard<'_, Recorded> {
        self.recorded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) -> PushStatus {
        self.changed.send_replace(());
        PushStatus {
            credit: u64::MAX,
            closed: false,
        }
    }
}

impl Receiver for Recorder {
    fn push(&self, bytes: &[u8]) -> PushStatus {
        self.lock().output.extend_from_slice(bytes);
        self.changed()
    }

    fn message(&self, json: &str) -> PushStatus {
        if let Ok(line) = serde_json::from_str(json) {
            self.lock().lines.push(line);
        } else if let Ok(event) = serde_json::from_str(json) {
            self.lock().events.push(event);
        }
        self.changed()
    }

    fn ready(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        Box::pin(std::future::ready(()))
    }
}
