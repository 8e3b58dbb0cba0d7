use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use agentd_api::{NewSession, Size, State};
use agentd_plugin_api::Capability;
use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::activity::{Active, Rules, Watcher};
use super::life::Asked;
use super::meanwhile::{Asking, Meanwhile};
use super::sweeper::sweep;
use super::{
    Beginning, Change, End, Initial, Label, Pending, Record, Recordings, Released, Reports,
    ScreenThreads, Session, SessionName, Terminal, agent_kind, size,
};
use crate::backend::Backend;
use crate::backends::Backends;
use crate::{Error, ErrorKind, Result, clock};

/// How long a program has to end by itself when its session is deleted.
pub(super) const GRACE: Duration = Duration::from_secs(10);

/// When it may be tried again to start one more than there may be.
const COME_AGAIN: Duration = Duration::from_secs(5);

/// Is notified of what happens to sessions, in order for each of them; called inline, must not
/// block.
pub trait Observer: Send + Sync + 'static {
    /// What is known of the session changed.
    fn changed(&self, session: &Arc<Session>, change: &Change);

    /// What its program does changed: [`Session::activity`] has it.
    fn active(&self, _: &Arc<Session>) {}

    /// Its recording has ended before it has: [`Session::describe`] says why.
    fn recording_ended(&self, _: &Arc<Session>) {}

    /// Ends the session, which is to be kept: after that the backend may have nothing of it.
    fn end<'a>(&'a self, _: &'a Arc<Session>, end: End<'a>) -> End<'a> {
        end
    }
}

/// Ignores what happens.
pub struct Unobserved;

impl Observer for Unobserved {
    fn changed(&self, _: &Arc<Session>, _: &Change) {}
}

/// A request for a session that has been checked.
#[derive(Clone)]
pub struct Request {
    pub(super) name: SessionName,
    pub(super) label: Label,
    pub(super) env: BTreeMap<String, String>,
    pub(super) backend: Arc<Backend>,
}

/// Without variables and options, which may be secrets: this gets into panics and logs.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("name", &self.name)
            .field("working_dir", &self.label.working_dir)
            .finish_non_exhaustive()
    }
}

/// Where a session comes from that is listed.
pub(super) enum Origin {
    /// It is about to be started, in place of another one of the same key.
    Made { replaced: Option<Arc<Session>> },
    /// It outlived an earlier daemon, with this as the state of its terminal if that was kept.
    Found {
        beginning: Option<Box<Beginning>>,
        /// Whether that one was asked to end it.
        end_asked: bool,
    },
}

/// All sessions of one service, by key: the owner on a session's label, or else its name. Clones
/// are the same registry.
#[derive(Clone)]
pub struct Sessions {
    shared: Arc<Shared>,
}

struct Shared {
    runtime: Handle,
    backends: Arc<Backends>,
    history: usize,
    observer: Arc<dyn Observer>,
    registry: Mutex<Registry>,
    /// How many may not have ended. Locked while one is added.
    most: Mutex<usize>,
    screens: Arc<ScreenThreads>,
    watcher: Arc<Watcher>,
    /// Notified whenever a screen wakes up.
    activity: Arc<Notify>,
    /// Where sessions are recorded, if they can be.
    recordings: OnceLock<Arc<Recordings>>,
}

#[derive(Default)]
struct Registry {
    sessions: BTreeMap<String, Arc<Session>>,
    /// Set at shutdown: nothing new is started.
    closed: bool,
    meanwhile: Meanwhile,
}

impl Sessions {
    /// An empty registry whose sessions keep `history` bytes of output each, whose screens are put away
    /// after `screen_idle` without use, and whose activity is inferred by `rules`. Made on the host's
    /// runtime.
    pub fn new(
        backends: Arc<Backends>,
        history: usize,
        screen_idle: Duration,
        screens: Arc<ScreenThreads>,
        rules: Rules,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let activity = Arc::new(Notify::new());
        let shared = Arc::new(Shared {
            runtime: Handle::current(),
            backends,
            history,
            observer,
            registry: Mutex::default(),
            most: Mutex::new(usize::MAX),
            screens: screens.clone(),
            watcher: Arc::new(Watcher::start(rules, screens.clone())),
            activity: activity.clone(),
            recordings: OnceLock::new(),
        });
        let all = Arc::downgrade(&shared);
        let list = move || Some(all.upgrade()?.list());
        tokio::spawn(sweep(list, activity, screen_idle, screens));
        Sessions { shared }
    }

    /// The backends that run them.
    pub fn backends(&self) -> &Arc<Backends> {
        &self.shared.backends
    }

    /// Starts a session. When the caller goes away meanwhile, the start is undone.
    pub async fn create(&self, new: NewSession, owner: Option<String>) -> Result<Arc<Session>> {
        self.register(self.check(new, owner)?, None)?.start().await
    }

    /// Checks a request. `owner` is the service's own note on the label.
    pub fn check(&self, new: NewSession, owner: Option<String>) -> Result<Request> {
        let name = SessionName::parse(&new.name)?;
        let size = match new.size {
            Some(Size { cols, rows }) => size::parse_size(cols.into(), rows.into())?,
            None => size::DEFAULT,
        };
        check_environment(&new)?;
        let backend = self.backends().get(new.backend.as_deref())?;
        let working_dir = checked_directory(&new.working_dir, &backend)?;
        if new.keep.is_some() && !backend.is_on_terminals() {
            return Err(kept_elsewhere(backend.name()));
        }
        if new.record == Some(true) && !backend.has(&Capability::Terminal) {
            return Err(not_recorded(backend.name()));
        }
        let command = agent_kind::command(&new, backend.shell())?;
        let label = Label {
            name: name.to_string(),
            working_dir,
            command,
            env: new.env.keys().cloned().collect(),
            options: new.options,
            keep: new.keep,
            record: new.record,
            size,
            created_at: clock::now(),
            owner,
        };
        Ok(Request {
            name,
            label,
            env: new.env,
            backend,
        })
    }

    /// Lists a session that is to be started, if its key is free or has the session `replaced`,
    /// which has been ended.
    pub fn register(
        &self,
        mut request: Request,
        replaced: Option<Arc<Session>>,
    ) -> Result<Pending> {
        let most = self.lock_most();
        self.check_room(*most)?;
        let id = uuid::Uuid::new_v4().to_string();
        request.label.created_at = clock::now();
        self.list_as(id, request, Origin::Made { replaced })
    }

    /// Refuses more than so many that have not ended. Those that are adopted are never refused.
    pub fn allow(&self, most: usize) {
        *self.lock_most() = most;
    }

    fn check_room(&self, most: usize) -> Result<()> {
        let listed = self.list();
        if listed.len() < most {
            return Ok(());
        }
        let ended = |session: &&Arc<Session>| session.record().state == State::Exited;
        if listed.len() - listed.iter().filter(ended).count() < most {
            return Ok(());
        }
        let message = format!("{most} sessions have not ended, and no more are allowed");
        Err(Error::unavailable("too-many-sessions", message)
            .hint("end some, or raise AGENTD_MAX_SESSIONS")
            .retry_after(COME_AGAIN))
    }

    fn lock_most(&self) -> MutexGuard<'_, usize> {
        let most = &self.shared.most;
        most.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The session of that key.
    pub fn get(&self, key: &str) -> Result<Arc<Session>> {
        let session = self.lock().sessions.get(key).cloned();
        session.ok_or_else(|| Error::not_found("session", key))
    }

    /// All sessions in the order of their keys.
    pub fn list(&self) -> Vec<Arc<Session>> {
        self.shared.list()
    }

    /// Ends a session and keeps it; also when the caller goes away meanwhile.
    pub async fn stop(&self, session: &Arc<Session>) -> Result<()> {
        self.end(session, Asked::Stop, None).await
    }

    /// The same; its exit says that it was `stopped by` so somebody.
    pub async fn stop_as(&self, session: &Arc<Session>, who: &str) -> Result<()> {
        let by = Some(format!("stopped by {who}"));
        self.end(session, Asked::Stop, by).await
    }

    /// Ends a session that is about to be replaced, and lists it until then; also when the caller
    /// goes away meanwhile. If it ran until then, its exit says that it was `restarted by` so somebody.
    pub async fn end_for_another(&self, session: &Arc<Session>, who: Option<&str>) -> Result<()> {
        let by = who.map(|who| format!("restarted by {who}"));
        self.end(session, Asked::Delete, by).await
    }

    /// Ends a session with everything that it started, and forgets it; also when the caller goes
    /// away meanwhile.
    pub async fn delete(&self, session: &Arc<Session>) -> Result<()> {
        let (sessions, session) = (self.clone(), session.clone());
        finish(async move {
            session.end(Asked::Delete, None, GRACE).await?;
            sessions.forget(&session);
            tracing::info!(session = %session.name, "deleted");
            Ok(())
        })
        .await
    }

    /// Forgets a session that cannot be ended now.
    pub fn abandon(&self, session: &Arc<Session>) {
        self.forget(session);
    }

    /// Has those that begin from now on recorded there, as far as that is wanted.
    pub fn record_in(&self, recordings: Arc<Recordings>) {
        // Set once, when the registry is made.
        let _ = self.shared.recordings.set(recordings);
    }

    /// Whether those with a terminal are recorded of which nobody has said anything.
    pub fn records_all(&self) -> bool {
        self.recordings().is_some_and(|it| it.records_all())
    }

    /// Where they are recorded, if they can be.
    pub fn recordings(&self) -> Option<&Arc<Recordings>> {
        self.shared.recordings.get()
    }

    /// It can be used, and may have printed something.
    pub(super) fn begin_recording(&self, session: &Arc<Session>) {
        if let Some(recordings) = self.recordings() {
            recordings.begin(session);
        }
    }

    /// Waits until what all have printed is recorded, as far as the disk takes it.
    pub async fn recorded(&self) {
        let sessions = self.list();
        join_all(sessions.iter().map(|session| session.is_recorded())).await;
    }

    /// What does the work of screens.
    pub(super) fn screens(&self) -> &ScreenThreads {
        &self.shared.screens
    }

    /// Starts nothing any more.
    pub fn close(&self) {
        self.lock().closed = true;
    }

    /// Waits until the prompts that sessions were created with are typed, or have failed, where that has begun.
    pub async fn typed(&self) {
        let sessions = self.list();
        join_all(sessions.iter().map(|session| session.typing.lock())).await;
    }

    /// Ends all sessions at once, and leaves nothing of them in the backend. Starts that are under
    /// way are undone.
    pub async fn end_all(&self, grace: Duration) {
        self.end_each(self.list(), grace).await;
    }

    /// Undoes the starts that are under way, and ends what cannot outlive the service.
    pub async fn end_passing(&self, grace: Duration) {
        let mut passing = self.list();
        passing.retain(|session| session.life.is_starting() || !session.backend.is_persistent());
        self.end_each(passing, grace).await;
    }

    async fn end_each(&self, sessions: Vec<Arc<Session>>, grace: Duration) {
        join_all(sessions.iter().map(|session| async move {
            if let Err(error) = self.shared.end(session, Asked::Shutdown, None, grace).await {
                tracing::warn!(session = %session.name, %error, "not ended");
            }
        }))
        .await;
    }

    async fn end(&self, session: &Arc<Session>, asked: Asked, by: Option<String>) -> Result<()> {
        let (shared, session) = (self.shared.clone(), session.clone());
        finish(async move { shared.end(&session, asked, by, GRACE).await }).await
    }

    /// What a backend gets to report on the session with: for benchmarks.
    #[cfg(feature = "testing")]
    pub fn receiver(&self, session: &Arc<Session>) -> Arc<dyn agentd_plugin_api::sink::Receiver> {
        self.reports(session).0
    }

    pub(super) fn list_as(&self, id: String, request: Request, origin: Origin) -> Result<Pending> {
        let Request {
            name,
            label,
            env,
            backend,
        } = request;
        let spec = label.spec(id.clone(), env)?;
        let shared = &self.shared;
        let observer = shared.observer.clone();
        let is_new = matches!(origin, Origin::Made { .. });
        let (replaced, beginning, record) = match origin {
            Origin::Made { replaced } => (replaced, None, Record::starting()),
            Origin::Found {
                beginning,
                end_asked,
            } => (None, beginning, Record::found(end_asked)),
        };
        let terminal = match beginning {
            None => Terminal::new(label.size, shared.history),
            Some(beginning) => Terminal::resumed(label.size, shared.history, *beginning),
        };
        let initial = Initial { terminal, record };
        let watcher = shared.watcher.clone();
        let active = Active::new(&label.command, is_new, watcher, observer);
        let screens = shared.screens.clone();
        let session = Session::new(id, name, label, backend, initial, screens, active);

        let mut registry = self.lock();
        if registry.closed {
            return Err(Error::shutting_down());
        }
        let key = session.key().to_owned();
        let listed = registry.sessions.get(&key);
        if listed.is_some_and(|listed| !replaced.iter().any(|old| Arc::ptr_eq(old, listed))) {
            return Err(session.already_listed());
        }
        registry.meanwhile.note(&session.id);
        registry.sessions.insert(key, session.clone());
        drop(registry);
        Ok(Pending::new(self.clone(), session, spec, replaced))
    }

    pub(super) fn reports(&self, session: &Arc<Session>) -> (Arc<Reports>, Released) {
        Reports::of(session, &self.shared.activity)
    }

    /// A screen is in use that may be put away in time.
    pub(super) fn screen_woke_up(&self) {
        self.shared.activity.notify_one();
    }

    /// Whether nothing is started any more.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Begins to remember which sessions are listed, and gives those that are already.
    pub(super) fn begin_look(&self) -> (Asking, Vec<Arc<Session>>) {
        let registry = self.lock();
        let listed = registry.sessions.values().cloned().collect();
        (registry.meanwhile.begin(), listed)
    }

    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.shared.runtime.spawn(task);
    }

    pub(super) fn forget(&self, session: &Arc<Session>) {
        let mut registry = self.lock();
        let listed = registry.sessions.get(session.key());
        if listed.is_some_and(|listed| Arc::ptr_eq(listed, session)) {
            registry.sessions.remove(session.key());
        }
        drop(registry);
        session.life.forget();
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.shared.lock()
    }
}

impl Shared {
    async fn end(
        &self,
        session: &Arc<Session>,
        asked: Asked,
        by: Option<String>,
        grace: Duration,
    ) -> Result<()> {
        let begun = Instant::now();
        let end = Box::pin(async move {
            // What was done before counts too.
            let grace = grace.saturating_sub(begun.elapsed());
            session.end(asked, by, grace).await
        });
        self.observer.end(session, end).await
    }

    fn list(&self) -> Vec<Arc<Session>> {
        self.lock().sessions.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Does all of this, also when the caller goes away meanwhile.
pub async fn finish<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let done = tokio::spawn(work).await;
    done.unwrap_or_else(|error| Err(Error::internal(format!("it was not finished: {error}"))))
}

fn checked_directory(directory: &str, backend: &Backend) -> Result<String> {
    let invalid = |what: &str| {
        Error::invalid(
            "invalid-working-dir",
            format!("`working_dir` `{directory}` {what}"),
        )
    };
    let path = Path::new(directory);
    if !path.is_absolute() {
        return Err(invalid("is not absolute"));
    }
    if backend.runs_elsewhere() {
        return match directory.contains(char::is_control) {
            true => Err(invalid("has a control character")),
            false => Ok(directory.to_owned()),
        };
    }
    match path.metadata() {
        Ok(metadata) if metadata.is_dir() => Ok(directory.to_owned()),
        Ok(_) => Err(invalid("is not a directory")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(invalid("does not exist").hint("create it on the machine of the service"))
        }
        Err(error) => Err(invalid(&format!("cannot be used: {error}"))),
    }
}

fn kept_elsewhere(backend: &str) -> Error {
    let message = format!("the {backend} backend keeps the output of its agents itself");
    Error::new(ErrorKind::Refused, "no-keep", message)
        .hint("leave `keep` out: it is for agents on terminals of the service")
}

fn not_recorded(backend: &str) -> Error {
    let message =
        format!("the output of the {backend} backend's agents does not come to the service");
    Error::new(ErrorKind::Refused, "no-recording", message)
        .hint("leave `record` out: it is for agents with a terminal of the service")
}

fn check_environment(new: &NewSession) -> Result<()> {
    let usable = |name: &str| !name.is_empty() && !name.contains(['=', '\0']);
    let name = new.env.keys().find(|name| !usable(name));
    if let Some(name) = name {
        let message = format!("`{}` is not a name of a variable", name.escape_debug());
        return Err(Error::invalid("invalid-env", message));
    }
    match new.env.iter().find(|(_, value)| value.contains('\0')) {
        Some((name, _)) => Err(Error::invalid(
            "invalid-env",
            format!("the value of `{name}` has a NUL in it"),
        )),
        None => Ok(()),
    }
}
