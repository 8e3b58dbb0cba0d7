//! Sessions: one run of one agent each, independent of how a client asks for them.

mod activity;
mod adoption;
mod agent_kind;
mod answers;
mod checkpoint;
mod keeping;
mod keys;
mod label;
mod life;
mod log;
mod logs;
mod marks;
mod meanwhile;
mod name;
mod newest;
mod pending;
mod prompt;
mod prompt_at_start;
mod reader;
mod record;
mod recording;
mod remains;
mod screen;
mod screen_threads;
mod search;
mod sessions;
mod shown;
mod size;
mod sweeper;
mod terminal;
#[cfg(test)]
mod tests;
mod view;
mod viewers;

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use agentd_api::State;
use agentd_plugin_api::sink::Receiver;
use agentd_plugin_api::{Capability, Event, PushStatus};
use tokio::sync::{Notify, oneshot};
use tokio::time::{sleep, timeout};

use crate::backend::Backend;
use crate::backend_session::BackendSession;
use crate::in_place::wake_in_place;
use crate::{Error, ErrorKind, Result};

use activity::Active;
use answers::Answers;
use keeping::Keeping;
use life::{Asked, Life};
use recording::Recording;

pub use activity::Rules;
#[cfg(any(test, feature = "testing"))]
pub(crate) use activity::any_file as any_rule_file;
pub use adoption::{Adopted, FoundSession, Look};
pub use agent_kind::check_model;
pub use checkpoint::{Beginning, Checkpoint};
pub use keeping::{Keep, Leaving};
pub use label::Label;
pub use life::Change;
pub use log::{Cursor, Hole, Log, Next};
pub use name::SessionName;
pub use pending::Pending;
pub use prompt_at_start::Due;
pub use record::{Record, SERVICE_STOPPED};
pub use recording::{Cast, Recordings};
pub use remains::{End, Remains, Run};
pub use screen::{ReadStep, Snapshot};
pub use screen_threads::ScreenThreads;
pub use search::{Found, Matches, Pattern, Wanted};
pub use sessions::{Observer, Request, Sessions, Unobserved, finish};
pub use size::parse_size;
pub use terminal::Terminal;
pub use view::{Frame, View};
pub use viewers::Viewer;

/// So much output is shown to viewers and read for the screen by whoever brings it, in bytes: for a
/// keystroke's echo that is less work than to wake somebody else.
const AT_ONCE: usize = 512;

/// How long a backend may take to report the end of what it has ended.
const REPORT_PATIENCE: Duration = Duration::from_secs(10);

/// How long a new size waits to be known to a later daemon.
const RESIZE_PATIENCE: Duration = Duration::from_millis(100);

/// The pause before what a later daemon needs is left again where that failed.
const LEAVING_PAUSE: Duration = Duration::from_secs(1);

/// The answer to a push when the session is gone.
const CLOSED: PushStatus = PushStatus {
    credit: 0,
    closed: true,
};

/// What a session begins with.
pub(crate) struct Initial {
    pub terminal: Terminal,
    pub record: Record,
}

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
    life: Life<BackendSession>,
    viewers: viewers::Viewers,
    answers: Answers,
    active: Active,
    keeping: Keeping,
    /// Held while the screen reads a step, until the answers to what was asked in it are among `answers`.
    stepping: Mutex<()>,
    /// Held while the size is changed.
    resizing: Arc<tokio::sync::Mutex<()>>,
    /// Held while a prompt waits for its program, and is typed.
    prompting: Arc<tokio::sync::Mutex<()>>,
    /// Held while that with which it was created is taken and typed.
    typing: tokio::sync::Mutex<()>,
    screens: Arc<ScreenThreads>,
    /// Of what its terminal shows, if it is recorded.
    recording: OnceLock<Arc<Recording>>,
}

impl Session {
    pub(crate) fn new(
        id: String,
        name: SessionName,
        label: Label,
        backend: Arc<Backend>,
        initial: Initial,
        screens: Arc<ScreenThreads>,
        active: Active,
    ) -> Arc<Self> {
        let Initial { terminal, record } = initial;
        Arc::new_cyclic(|this: &Weak<Session>| {
            let this = this.clone();
            let changed = move |change: &Change| {
                if let Some(session) = this.upgrade() {
                    session.changed(change);
                }
            };
            Session {
                id,
                name,
                terminal,
                label,
                backend,
                life: Life::new(record, changed),
                viewers: viewers::Viewers::default(),
                answers: Answers::default(),
                active,
                keeping: Keeping::default(),
                stepping: Mutex::default(),
                resizing: Arc::default(),
                prompting: Arc::default(),
                typing: tokio::sync::Mutex::default(),
                screens,
                recording: OnceLock::new(),
            }
        })
    }

    /// What the registry lists it by.
    fn key(&self) -> &str {
        self.label.owner.as_deref().unwrap_or(&self.label.name)
    }

    /// Why another session of the same key cannot be listed.
    fn already_listed(&self) -> Error {
        let name = &self.name;
        match self.label.owner {
            None => Error::conflict("name-taken", format!("the name `{name}` is taken"))
                .hint("delete the session of that name, or choose another name"),
            Some(_) => Error::conflict("starting", format!("`{name}` is being started already")),
        }
    }

    /// What is known of its life.
    pub fn record(&self) -> Record {
        self.life.record()
    }

    /// What runs it.
    pub fn backend(&self) -> &Arc<Backend> {
        &self.backend
    }

    /// The session as clients see it.
    pub fn describe(&self) -> agentd_api::Session {
        self.describe_as(self.record())
    }

    /// The session as clients saw it when this was known of its life.
    pub fn describe_as(&self, record: Record) -> agentd_api::Session {
        let hidden = |name: &String| (name.clone(), "***".to_owned());
        let activity = self.activity_as(record.state);
        agentd_api::Session {
            name: self.name.to_string(),
            backend_type: self.backend.name().to_owned(),
            capabilities: self.backend.capabilities(),
            state: record.state,
            health: record.health,
            exit: record.exit,
            pid: record.pid,
            progress: record.progress,
            working_dir: self.label.working_dir.clone(),
            command: self.label.command.clone(),
            env: self.label.env.iter().map(hidden).collect(),
            options: self.label.options.clone(),
            keep: self.label.keep,
            size: self.terminal.log().size(),
            viewers: self.viewers.count(),
            created_at: self.label.created_at.clone(),
            activity: Some(activity),
            recording: self.describe_recording(record.state),
            attach_command: self.life.attach_command(),
        }
    }

    /// The output that was lost while there was no service, if any was.
    pub fn lost_output(&self) -> Option<Hole> {
        self.terminal.log().hole()
    }

    /// How many are watching.
    pub fn viewer_count(&self) -> u64 {
        self.viewers.count()
    }

    /// Whether it was asked for that the session be forgotten.
    pub fn is_delete_requested(&self) -> bool {
        self.life.asked() == Asked::Delete
    }

    /// Waits until the session can be used, or has ended.
    pub async fn started(&self) {
        self.life.has_started().await;
    }

    /// Waits until the session has ended.
    pub async fn ended(&self) {
        self.life.has_ended().await;
    }

    /// Waits until its observer has been given all that has happened.
    pub async fn is_observed(&self) {
        self.life.is_observed().await;
    }

    /// Waits until the session is no longer listed.
    pub async fn forgotten(&self) {
        self.life.is_forgotten().await;
    }

    /// The backend does not have it any more, and has not reported that.
    pub fn report_missing(&self) {
        let reason = "the backend does not have it any more".to_owned();
        self.life.report(Event::Lost { reason });
    }

    /// Delivers keyboard input, whole; pending while the program does not read.
    pub async fn write(self: &Arc<Self>, input: &[u8]) -> Result<()> {
        self.backend.require(&Capability::Interactive, "no-input")?;
        let remote = self.remote()?;
        self.typed(input);
        self.backend.traffic().input.increment(input.len() as u64);
        Ok(remote.write(input).await?)
    }

    /// Changes the size for the program and all viewers; the same size changes nothing.
    ///
    /// The change is noted first, so that what the program draws for it comes after it.
    pub async fn resize(self: &Arc<Self>, size: agentd_api::Size) -> Result<()> {
        let resizing = self.resizing.clone().lock_owned().await;
        let session = self.clone();
        // To the end, so that the program and the log have the same size.
        finish(async move {
            let resized = session.apply_size(size).await;
            drop(resizing);
            resized
        })
        .await
    }

    async fn apply_size(self: &Arc<Self>, size: agentd_api::Size) -> Result<()> {
        let before = self.terminal.log().size();
        if before == size || self.record().state == State::Exited {
            return Ok(());
        }
        let remote = self.remote()?;
        self.terminal.log().resize(size);
        // A later daemon knows where the size changed, too; unless the keeper does not answer.
        let _ = timeout(RESIZE_PATIENCE, self.leave()).await;
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

    /// The state for a viewer that begins anew, with all output that there is now, if that can be
    /// had soon; none while there is nothing to restore.
    async fn snapshot(self: &Arc<Self>) -> Option<Snapshot> {
        if self.terminal.log().has_ended() {
            self.terminal.caught_up().await;
        }
        let session = self.clone();
        let snapshot = move || session.terminal.snapshot();
        self.made(self.screens.run(snapshot).await)
    }

    /// [`Terminal::snapshot_after`], made where nobody else waits for it.
    async fn snapshot_after(self: &Arc<Self>, seq: u64) -> Option<Snapshot> {
        if self.terminal.log().has_ended() {
            self.terminal.caught_up().await;
        }
        let session = self.clone();
        let snapshot = move || session.terminal.snapshot_after(seq);
        self.made(self.screens.run(snapshot).await)
    }

    fn made(&self, snapshot: Option<Snapshot>) -> Option<Snapshot> {
        let made = u64::from(snapshot.is_some());
        self.backend.traffic().snapshots.increment(made);
        snapshot
    }

    /// Whether the program wants something of its terminal, as of now.
    async fn wants(self: &Arc<Self>, wants: fn(&Terminal) -> bool) -> bool {
        self.terminal.caught_up().await;
        let session = self.clone();
        self.screens.run(move || wants(&session.terminal)).await
    }

    /// Puts the screen away when nobody needed it for so long. False when it is still awake.
    async fn put_away(self: &Arc<Self>, idle: Duration) -> bool {
        let session = self.clone();
        let put_away = move || session.terminal.put_away(idle);
        let is_away = self.screens.run(put_away).await;
        if is_away && self.keeping.has_changes(&self.terminal) {
            self.leave_soon();
        }
        is_away
    }

    /// Leaves for a later daemon what there is now.
    async fn leave(self: &Arc<Self>) -> Result<()> {
        if !self.keeping.is_kept() {
            return Ok(());
        }
        let session = self.clone();
        let leave = async move {
            let take = |left| {
                let _stepping = lock(&session.stepping);
                let mut checkpoint = session.terminal.checkpoint(left)?;
                (checkpoint.answered, checkpoint.unsent) = session.answers.state();
                Some(checkpoint)
            };
            session.keeping.leave(&session.terminal, take).await
        };
        self.screens.run_task(leave).await
    }

    /// The same in a task, which tries again until it can be done.
    fn leave_soon(self: &Arc<Self>) {
        if self.keeping.becomes_due_now() {
            self.screens.spawn(self.clone().leave_until_done());
        }
    }

    async fn leave_until_done(self: Arc<Self>) {
        loop {
            let Err(error) = self.leave().await else {
                return;
            };
            tracing::warn!(session = %self.name, %error, "what a later service needs was not left");
            let is_over = self.record().state == State::Exited;
            if is_over || !self.keeping.becomes_due_now() {
                return;
            }
            sleep(LEAVING_PAUSE).await;
        }
    }

    /// It has ended, and its end and its output are kept elsewhere: its keeper need not have them any more.
    pub fn let_go(&self) {
        self.keeping.let_go();
    }

    /// From here on what a later daemon needs is left where the session is kept, if it is.
    fn keep(self: &Arc<Self>) {
        if let Some(keep) = self.backend.terminals().keep_of(&self.id) {
            self.keeping.begin(keep, &self.terminal);
            self.leave_in_time();
        }
    }

    /// Begins to read for the screen what an earlier daemon has not read, and to deliver the answers that
    /// it may not have delivered. Whether there is anything to read: else nothing wakes the screen.
    fn read_rest(self: &Arc<Self>, answered: u64, unsent: &[u8]) -> bool {
        if self.answers.add(unsent, answered) {
            self.screens.spawn(self.clone().deliver_answers());
        }
        let reads = self.terminal.has_unread() && self.terminal.begin_reading();
        if reads {
            self.screens.spawn(self.clone().read());
        }
        reads
    }

    /// An earlier daemon may have noted a size and not have come to setting it; `has` is what there is.
    async fn finish_resize(&self, has: Option<agentd_api::Size>) {
        let size = self.terminal.log().size();
        let Some((remote, _)) = self.remote().ok().zip(has.filter(|has| *has != size)) else {
            return;
        };
        let agentd_api::Size { cols, rows } = size;
        let resized = remote.resize(agentd_plugin_api::Size { cols, rows }).await;
        if let Err(error) = resized {
            tracing::debug!(session = %self.name, %error, "not resized");
        }
    }

    /// Sees to it that the same is done where what is kept of the output would else be too little.
    fn leave_in_time(self: &Arc<Self>) {
        if self.keeping.becomes_due(&self.terminal) {
            self.screens.spawn(self.clone().leave_until_done());
        }
    }

    /// Delivers the answers. A program may ask before its start has returned.
    async fn deliver_answers(self: Arc<Self>) {
        let remote = self.life.call_over().await;
        while let Some(answers) = self.answers.next() {
            let Some(remote) = &remote else { continue };
            let written = tokio::select! {
                written = remote.write(&answers) => written,
                () = self.ended() => return,
            };
            match written {
                // A later daemon may answer again what is delivered and not noted.
                Ok(()) => self.keeping.note_answered(self.answers.delivered()),
                Err(error) => {
                    tracing::debug!(session = %self.name, %error, "the terminal's answer was not taken");
                }
            }
        }
    }

    /// Reads on for the screen, and answers what the program asks its terminal.
    async fn read(self: Arc<Self>) {
        loop {
            let stepping = lock(&self.stepping);
            let step = self.terminal.read_step();
            if !self.take_step(step, stepping) {
                return;
            }
            tokio::task::yield_now().await;
        }
    }

    /// Reads a step on, where that takes little and nobody has to be waited for. Whether more is to be
    /// read.
    fn try_read(self: &Arc<Self>) -> bool {
        match self.stepping.try_lock() {
            Ok(stepping) => self.take_step(self.terminal.try_read_step(), stepping),
            Err(_) => true,
        }
    }

    /// Whether another has to follow.
    fn take_step(self: &Arc<Self>, step: ReadStep, stepping: MutexGuard<'_, ()>) -> bool {
        let answers = !step.replies.is_empty() && self.backend.has(&Capability::Interactive);
        let delivers = answers && self.answers.add(&step.replies, step.position);
        drop(stepping);
        if delivers {
            self.screens.spawn(self.clone().deliver_answers());
        }
        self.signalled(&step.signals);
        self.leave_in_time();
        step.more
    }

    /// The backend's side, once it has started the session and until the session is forgotten.
    pub(crate) fn remote(&self) -> Result<Arc<BackendSession>> {
        self.life.remote().ok_or_else(|| {
            let name = &self.name;
            if self.life.is_starting() {
                return Error::conflict("starting", format!("session `{name}` is still starting"));
            }
            self.gone()
        })
    }

    fn gone(&self) -> Error {
        let message = format!("session `{}` has ended", self.name);
        Error::new(ErrorKind::NotFound, "gone", message)
    }

    /// Ends the session. A start that is under way is undone.
    async fn end(&self, asked: Asked, by: Option<String>, grace: Duration) -> Result<()> {
        self.life.ask_as(asked, by);
        let Some(remote) = self.life.call_over().await else {
            return match self.life.is_left_alone() {
                true => Err(self.out_of_reach()),
                false => Ok(()),
            };
        };
        remote.terminate(grace).await?;
        if timeout(REPORT_PATIENCE, self.ended()).await.is_err() {
            let reason = "the backend ended it without a report".to_owned();
            self.life.report(Event::Lost { reason });
        }
        Ok(())
    }

    /// It cannot be taken over from an earlier daemon, which is not an end of what the backend has.
    fn leave_alone(&self, reason: String) {
        self.life.leave_alone(reason);
        self.terminal.log().end();
    }

    fn out_of_reach(&self) -> Error {
        let message = format!("`{}` could not be taken over, and may run on", self.name);
        Error::unavailable("backend-unavailable", message).hint("try it again in a moment")
    }

    fn changed(self: &Arc<Self>, change: &Change) {
        if change.after.state == State::Exited {
            self.terminal.log().end();
        }
        self.active.observer().changed(self, change);
        if change.before.state != change.after.state {
            self.set_active(change.after.state);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The session's end of its backend's reports. Holds the session weakly: a backend that keeps its
/// reporting end for ever does not keep the session.
pub(crate) struct Reports {
    session: Weak<Session>,
    /// Notified when the session's screen may have woken up.
    activity: Arc<Notify>,
    /// Closed when the backend has let go of this.
    _held: oneshot::Sender<Infallible>,
}

/// Done when the backend has let go of its end of the reports.
type Released = oneshot::Receiver<Infallible>;

impl Reports {
    pub fn of(session: &Arc<Session>, activity: &Arc<Notify>) -> (Arc<Self>, Released) {
        let (held, released) = oneshot::channel();
        let reports = Reports {
            session: Arc::downgrade(session),
            activity: activity.clone(),
            _held: held,
        };
        (Arc::new(reports), released)
    }
}

impl Receiver for Reports {
    fn push(&self, bytes: &[u8]) -> PushStatus {
        let Some(session) = self.session.upgrade() else {
            return CLOSED;
        };
        session
            .backend
            .traffic()
            .output
            .increment(bytes.len() as u64);
        match bytes.len() {
            ..=AT_ONCE => wake_in_place(|| session.terminal.push(bytes)),
            _ => session.terminal.push(bytes),
        }
        session.watch();
        if session.terminal.begin_reading() {
            self.activity.notify_one();
            if bytes.len() > AT_ONCE || session.try_read() {
                session.screens.spawn(session.clone().read());
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
            Ok(Event::Screen { screen }) => session.shows(screen),
            Ok(event) => session.life.report(event),
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
            // An error means that the session is gone, which the next push reports.
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
