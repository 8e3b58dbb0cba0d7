//! Where output, events and log lines go.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::abi::RemoteReceiver;
use crate::{Event, ExitStatus, Health, LogLine, Screen};

/// The receiver's answer to a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushStatus {
    /// So many bytes may follow before [`ready`](SessionEvents::ready) has to be awaited.
    pub credit: u64,
    /// Nobody wants any more.
    pub closed: bool,
}

/// The host's end of a stream, as this side sees it; implemented by the ABI and by tests.
pub trait Receiver: Send + Sync {
    /// Takes bytes; copies them before it returns and never blocks.
    fn push(&self, bytes: &[u8]) -> PushStatus;
    /// Takes a message.
    fn message(&self, json: &str) -> PushStatus;
    /// Done once there is credit again, or nobody listens any more.
    fn ready(&self) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// Where a session reports to: its output and what becomes of it. Clones report to the same place.
#[derive(Clone)]
pub struct SessionEvents {
    end: End,
}

/// The daemon is called directly, without a `dyn` call before the one that leaves the library.
#[derive(Clone)]
enum End {
    Daemon(Arc<RemoteReceiver>),
    Here(Arc<dyn Receiver>),
}

impl SessionEvents {
    /// Reports to `receiver`: for tests of a backend without a host.
    pub fn new(receiver: Arc<dyn Receiver>) -> Self {
        SessionEvents {
            end: End::Here(receiver),
        }
    }

    pub(crate) fn of_daemon(receiver: RemoteReceiver) -> Self {
        SessionEvents {
            end: End::Daemon(Arc::new(receiver)),
        }
    }

    fn receiver(&self) -> &dyn Receiver {
        match &self.end {
            End::Daemon(receiver) => &**receiver,
            End::Here(receiver) => &**receiver,
        }
    }

    /// Hands over output of the terminal. The bytes are copied before this returns, and it never
    /// blocks; [`write_all`](Self::write_all) minds the credit for you.
    pub fn output(&self, bytes: &[u8]) -> PushStatus {
        match &self.end {
            End::Daemon(receiver) => receiver.push(bytes),
            End::Here(receiver) => receiver.push(bytes),
        }
    }

    /// Done once the host takes output again.
    pub async fn ready(&self) {
        self.receiver().ready().await;
    }

    /// Hands over output and waits until there is room for more. False when the host has closed
    /// the session: stop reading then.
    pub async fn write_all(&self, bytes: &[u8]) -> bool {
        let status = self.output(bytes);
        if status.credit == 0 && !status.closed {
            self.ready().await;
        }
        !status.closed
    }

    /// The agent does not run yet; see [`Event::Starting`].
    pub fn starting(&self, progress: impl Into<String>) {
        self.report(&Event::Starting {
            progress: progress.into(),
        });
    }

    /// The agent runs.
    pub fn running(&self, pid: Option<u32>) {
        self.report(&Event::Running { pid });
    }

    /// The backend is out of reach.
    pub fn unknown(&self, reason: impl Into<String>) {
        self.report(&Event::Unknown {
            reason: reason.into(),
        });
    }

    /// The health check's verdict changed.
    pub fn health(&self, health: Health) {
        self.report(&Event::Health { health });
    }

    /// The agent has printed something, and its terminal shows this now: for a backend without
    /// `terminal` that has one all the same, so that the daemon sees what the agent does. Report it when
    /// it has changed, no more often than twice a second, and at a bell. Since 1.2; an older daemon takes
    /// no notice.
    pub fn screen(&self, screen: Screen) {
        self.report(&Event::Screen { screen });
    }

    /// The agent ended. Push the last output before.
    pub fn exited(&self, status: ExitStatus) {
        self.report(&Event::Exited { status });
    }

    /// The agent is gone and nobody knows how it ended.
    pub fn lost(&self, reason: impl Into<String>) {
        self.report(&Event::Lost {
            reason: reason.into(),
        });
    }

    fn report(&self, event: &Event) {
        send(self.receiver(), event);
    }
}

/// Where log lines go.
#[derive(Clone)]
pub struct LogSink {
    receiver: Arc<dyn Receiver>,
}

impl LogSink {
    /// Sends to `receiver`: for tests of a backend without a host.
    pub fn new(receiver: Arc<dyn Receiver>) -> Self {
        LogSink { receiver }
    }

    /// Sends a line and waits until there is room for another. False when nobody reads any more.
    pub async fn line(&self, line: &LogLine) -> bool {
        let status = send(&*self.receiver, line);
        if status.credit == 0 && !status.closed {
            self.receiver.ready().await;
        }
        !status.closed
    }
}

fn send<T: serde::Serialize>(receiver: &dyn Receiver, message: &T) -> PushStatus {
    match serde_json::to_string(message) {
        Ok(json) => receiver.message(&json),
        Err(error) => {
            tracing::error!(%error, "a message to the host cannot be written as JSON");
            PushStatus {
                credit: u64::MAX,
                closed: false,
            }
        }
    }
}

impl fmt::Debug for SessionEvents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionEvents").finish_non_exhaustive()
    }
}

impl fmt::Debug for LogSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogSink").finish_non_exhaustive()
    }
}
