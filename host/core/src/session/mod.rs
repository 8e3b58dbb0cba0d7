//! Sessions: one run of one agent each, independent of how a client asks for them.

mod agent_kind;
mod label;
mod logs;
mod name;
mod prompt;
mod record;
mod screen;
mod screen_threads;
mod sessions;
mod size;
mod sweeper;
mod terminal;
mod view;
mod viewers;

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use agentd_api::State;
use agentd_plugin_api::abi::host::RemoteSession;
use agentd_plugin_api::sink::Receiver;
use agentd_plugin_api::{Capability, Event, PushStatus};
use tokio::sync::{Notify, SetOnce, watch};

use crate::backend::Backend;
use crate::{Error, Result};

pub use label::Label;
pub use name::SessionName;
pub use record::Record;
pub use screen::Snapshot;
pub use screen_threads::ScreenThreads;
pub use sessions::{Observer, Sessions, Unobserved};
pub use size::parse_size;
pub use terminal::{Cursor, Log, Next, ReadStep, Terminal};
pub use view::{Frame, View};
pub use viewers::Viewer;

/// So much output is read for the screen by whoever brings it, in bytes: for a keystroke's echo
/// that is less work than to wake somebody else.
const AT_ONCE: usize = 512;

/// The answer to a push when the session is gone.
const CLOSED: PushStatus = PushStatus {
    credit: 0,
    closed: true,
};

/// One run of one agent.
pub struct Session {
    /// A UUID; the epoch of every position in [`Session::terminal`].
    pub id: String,
    /// Unique among the living and the kept.
    pub name: SessionName,
    /// What does not change.
    pub label: Label,
    /// The output.
    pub terminal: Terminal,
    backend: Arc<Backend>,
    record: Mutex<Record>,
    changes: watch::Sender<()>,
    /// Set once the backend has started it.
    remote: SetOnce<RemoteSession>,
    viewers: viewers::Viewers,
    /// Set when somebody asked for the end.
    stop_requested: AtomicBool,
    /// Set when the session is about to be forgotten.
    delete_requested: AtomicBool,
    /// True once the session is no longer listed.
    forgotten: watch::Sender<bool>,
    observer: Arc<dyn Observer>,
    this: Weak<Session>,
}

impl Session {
    pub(crate) fn new(
        id: String,
        name: SessionName,
        label: Label,
        backend: Arc<Backend>,
        history: usize,
        observer: Arc<dyn Observer>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|this| Session {
            id,
            name,
            terminal: Terminal::new(label.size, history),
            label,
            backend,
            record: Mutex::new(Record::starting()),
            changes: watch::Sender::new(()),
            remote: SetOnce::new(),
            viewers: viewers::Viewers::default(),
            stop_requested: AtomicBool::new(false),
            delete_requested: AtomicBool::new(false),
            forgotten: watch::Sender::new(false),
            observer,
            this: this.clone(),
        })
    }

    /// What is known of its life.
    pub fn record(&self) -> Record {
        self.lock().clone()
    }

    /// The session as clients see it.
    pub fn describe(&self) -> agentd_api::Session {
        let record = self.record();
        let attach_command = self.remote.get().and_then(|remote| {
            remote.attach_command().unwrap_or_else(|error| {
                tracing::warn!(session = %self.name, %error, "no attach command");
                None
            })
        });
        let hidden = |name: &String| (name.clone(), "***".to_owned());
        agentd_api::Session {
            name: self.name.to_string(),
            backend_type: self.backend.name().to_owned(),
            state: record.state,
            health: record.health,
            exit: record.exit,
            pid: record.pid,
            progress: record.progress,
            working_dir: self.label.working_dir.clone(),
            command: self.label.command.clone(),
            env: self.label.env.iter().map(hidden).collect(),
            options: self.label.options.clone(),
            size: self.terminal.log().size(),
            viewers: self.viewers.count(),
            created_at: self.label.created_at.clone(),
            attach_command,
        }
    }

    /// How many are watching.
    pub fn viewer_count(&self) -> u64 {
        self.viewers.count()
    }

    /// Whether somebody asked for the end.
    pub fn is_stop_requested(&self) -> bool {
        self.stop_requested.load(Ordering::Relaxed)
    }

    /// Whether the session is about to be forgotten.
    pub fn is_delete_requested(&self) -> bool {
        self.delete_requested.load(Ordering::Relaxed)
    }

    /// Waits until the session runs or has ended.
    pub async fn started(&self) {
        self.wait_for(|record| record.state != State::Starting)
            .await;
    }

    /// Waits until the session has ended.
    pub async fn ended(&self) {
        self.wait_for(|record| record.state == State::Exited).await;
    }

    /// Waits until the session is no longer listed.
    pub async fn forgotten(&self) {
        // The sender lives as long as `self`.
        let _ = self
            .forgotten
            .subscribe()
            .wait_for(|forgotten| *forgotten)
            .await;
    }

    /// Delivers keyboard input, whole; pending while the program does not read.
    pub async fn write(&self, input: &[u8]) -> Result<()> {
        self.backend.require(&Capability::Interactive, "no-input")?;
        Ok(self.remote()?.write(input).await?)
    }

    /// Changes the size for the program and all viewers; the present size is no change.
    ///
    /// The change is noted first, so that what the program draws for it comes after it.
    pub async fn resize(&self, size: agentd_api::Size) -> Result<()> {
        let before = self.terminal.log().size();
        if before == size || self.record().state == State::Exited {
            return Ok(());
        }
        let remote = self.remote()?;
        self.terminal.log().resize(size);
        let new = agentd_plugin_api::Size {
            cols: size.cols,
            rows: size.rows,
        };
        let resized = remote.resize(new).await;
        if resized.is_err() {
            self.terminal.log().resize(before);
        }
        Ok(resized?)
    }

    /// A program may ask before its start has been reported.
    async fn answer(&self, replies: &[u8]) {
        let remote = tokio::select! {
            remote = self.remote.wait() => remote,
            () = self.forgotten() => return,
        };
        if let Err(error) = remote.write(replies).await {
            tracing::debug!(session = %self.name, %error, "the terminal's answer was not taken");
        }
    }

    /// Reads on for the screen, and answers what the program asks its terminal.
    async fn read(self: Arc<Self>, mut step: ReadStep) {
        loop {
            if !step.replies.is_empty() && self.backend.has(&Capability::Interactive) {
                self.answer(&step.replies).await;
            }
            if !step.more {
                return;
            }
            tokio::task::yield_now().await;
            step = self.terminal.read_step();
        }
    }

    pub(crate) fn remote(&self) -> Result<&RemoteSession> {
        self.remote.get().ok_or_else(|| {
            Error::conflict(
                "starting",
                format!("session `{}` is still starting", self.name),
            )
        })
    }

    pub(crate) fn set_remote(&self, remote: RemoteSession) {
        // Only the one call that starts or adopts the session sets it.
        let _ = self.remote.set(remote);
    }

    pub(crate) async fn terminate(&self, grace: Duration) -> Result<()> {
        self.stop_requested.store(true, Ordering::Relaxed);
        if self.remote.get().is_none() {
            self.started().await;
        }
        match self.remote.get() {
            Some(remote) => Ok(remote.terminate(grace).await?),
            None => Ok(()),
        }
    }

    pub(crate) fn set_delete_requested(&self) {
        self.delete_requested.store(true, Ordering::Relaxed);
    }

    pub(crate) fn set_forgotten(&self) {
        self.forgotten.send_replace(true);
    }

    pub(crate) fn apply(&self, event: Event) {
        let mut record = self.lock();
        let before = record.clone();
        record.apply(event);
        let after = record.clone();
        drop(record);
        if after == before {
            return;
        }
        if after.state == State::Exited {
            self.terminal.log().end();
        }
        self.changes.send_replace(());
        if let Some(session) = self.this.upgrade() {
            self.observer.changed(&session, &before, &after);
        }
    }

    async fn wait_for(&self, condition: impl Fn(&Record) -> bool) {
        let mut changes = self.changes.subscribe();
        while !condition(&self.record()) {
            // The sender lives as long as `self`.
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The session's end of its backend's reports. Holds the session weakly: a backend that keeps its
/// reporting end for ever does not keep the session.
pub(crate) struct Reports {
    session: Weak<Session>,
    screens: Arc<ScreenThreads>,
    /// Told when the session's screen may have woken up.
    activity: Arc<Notify>,
}

impl Reports {
    pub fn of(
        session: &Arc<Session>,
        screens: &Arc<ScreenThreads>,
        activity: &Arc<Notify>,
    ) -> Arc<Self> {
        Arc::new(Reports {
            session: Arc::downgrade(session),
            screens: screens.clone(),
            activity: activity.clone(),
        })
    }
}

impl Receiver for Reports {
    fn push(&self, bytes: &[u8]) -> PushStatus {
        let Some(session) = self.session.upgrade() else {
            return CLOSED;
        };
        session.terminal.push(bytes);
        if session.terminal.begin_reading() {
            self.activity.notify_one();
            let step = match bytes.len() {
                ..=AT_ONCE => session.terminal.try_read_step(),
                _ => ReadStep::untaken(),
            };
            if step.more {
                self.screens.spawn(session.clone().read(step));
            }
        }
        PushStatus {
            credit: session.terminal.credit(),
            closed: false,
        }
    }

    fn message(&self, json: &str) -> PushStatus {
        let Some(session) = self.session.upgrade() else {
            return CLOSED;
        };
        match serde_json::from_str(json) {
            Ok(event) => session.apply(event),
            Err(error) => tracing::warn!(session = %session.name, %error, "an unreadable event"),
        }
        PushStatus {
            credit: u64::MAX,
            closed: false,
        }
    }

    fn ready(&self) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let Some(session) = self.session.upgrade() else {
            return Box::pin(std::future::ready(()));
        };
        let (mut position, needed) = session.terminal.credit_again();
        Box::pin(async move {
            // An error means that the session is gone, which the next push will tell.
            let _ = position.wait_for(|position| *position >= needed).await;
        })
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("name", &self.name)
            .field("record", &self.record())
            .finish_non_exhaustive()
    }
}
