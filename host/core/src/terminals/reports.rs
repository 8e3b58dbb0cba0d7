use std::pin::Pin;
use std::sync::Arc;

use agentd_plugin_api::{ExitStatus, PushStatus, SessionEvents};
use agentd_process::terminal::{Ended, Flow, Sink};
use tokio::sync::Notify;

/// What a program prints and how it ends, on its way to its session.
pub struct Reports {
    events: SessionEvents,
    stands_in: bool,
    /// Notified once nobody needs to learn any more how it ended.
    let_go: Arc<Notify>,
}

/// Exit codes of a program that stands in for another one, which are 128 + the number of a signal. An agent that ends with such a code by itself cannot be told from one that was killed.
const SIGNALLED: std::ops::RangeInclusive<i32> = 129..=159;

impl Reports {
    pub fn new(events: SessionEvents, stands_in: bool) -> Self {
        Reports {
            events,
            stands_in,
            let_go: Arc::default(),
        }
    }

    /// Nobody needs to learn any more how it ended: a keeper may forget it.
    pub fn let_go(&self) {
        self.let_go.notify_one();
    }

    /// Nothing can be learned of the program for this reason.
    pub fn unknown(&self, reason: &str) {
        self.events.unknown(reason);
    }
}

impl Sink for Reports {
    fn running(&self, pid: u32) {
        self.events.running(Some(pid));
    }

    fn output(&self, bytes: &[u8]) -> Flow {
        match self.events.output(bytes) {
            PushStatus { closed: true, .. } => Flow::Closed,
            PushStatus { credit: 0, .. } => Flow::Wait,
            _ => Flow::More,
        }
    }

    fn ready(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let events = self.events.clone();
        Box::pin(async move { events.ready().await })
    }

    fn noted(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let let_go = self.let_go.clone();
        Box::pin(async move { let_go.notified().await })
    }

    fn ended(&self, how: Ended) {
        match how {
            Ended::Code(code) if self.stands_in && SIGNALLED.contains(&code) => {
                self.events.exited(ExitStatus::signal(code - 128));
            }
            Ended::Code(code) => self.events.exited(ExitStatus::code(code)),
            Ended::Signal(signal) => self.events.exited(ExitStatus::signal(signal)),
            Ended::Unknown(reason) => self.events.lost(reason),
        }
    }
}
