use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agentd_api::{NewSession, Size, State};
use agentd_plugin_api::{Found, SessionSpec};
use futures_util::future::join_all;
use tokio::sync::Notify;

use super::sweeper::sweep;
use super::{Label, Record, Reports, ScreenThreads, Session, SessionName, agent_kind, size};
use crate::backend::Backend;
use crate::error::BACKEND_OVERDUE;
use crate::text::quoted;
use crate::{Error, Result, clock};

/// How long a program has to end by itself when its session is deleted.
const GRACE: Duration = Duration::from_secs(10);

/// Told of what happens to sessions; called inline, must not block.
pub trait Observer: Send + Sync + 'static {
    /// What is known of the session changed.
    fn changed(&self, session: &Arc<Session>, before: &Record, after: &Record);
}

/// Nobody is told.
pub struct Unobserved;

impl Observer for Unobserved {
    fn changed(&self, _: &Arc<Session>, _: &Record, _: &Record) {}
}

/// All sessions of one service, by name. Clones are the same registry.
#[derive(Clone)]
pub struct Sessions {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    backend: Arc<Backend>,
    history: usize,
    observer: Arc<dyn Observer>,
    registry: Mutex<Registry>,
    screens: Arc<ScreenThreads>,
    /// Told whenever a screen wakes up.
    activity: Arc<Notify>,
}

#[derive(Default)]
struct Registry {
    sessions: BTreeMap<SessionName, Arc<Session>>,
    /// Set at shutdown: nothing new is started.
    closed: bool,
}

impl Sessions {
    /// An empty registry whose sessions keep `history` bytes of output each, and whose screens are
    /// put away after `screen_idle` without use. Made on the host's runtime.
    pub fn new(
        backend: Arc<Backend>,
        history: usize,
        screen_idle: Duration,
        screens: Arc<ScreenThreads>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let activity = Arc::new(Notify::new());
        let shared = Arc::new(Shared {
            backend,
            history,
            observer,
            registry: Mutex::default(),
            screens,
            activity: activity.clone(),
        });
        tokio::spawn(sweep(Arc::downgrade(&shared), activity, screen_idle));
        Sessions { shared }
    }

    /// The backend of all of them.
    pub fn backend(&self) -> &Backend {
        &self.shared.backend
    }

    /// Starts a session. `owner` is the service's own note on the label. When the caller goes away
    /// meanwhile, the start is undone.
    pub async fn create(&self, new: NewSession, owner: Option<String>) -> Result<Arc<Session>> {
        let name = SessionName::parse(&new.name)?;
        let working_dir = checked_directory(&new.working_dir)?;
        let size = match new.size {
            Some(Size { cols, rows }) => size::parse_size(cols.into(), rows.into())?,
            None => size::DEFAULT,
        };
        check_environment(&new)?;
        let command = agent_kind::command(&new, self.backend().shell())?;
        let label = Label {
            name: name.to_string(),
            working_dir,
            command,
            env: new.env.keys().cloned().collect(),
            options: new.options.clone(),
            size,
            created_at: clock::now(),
            owner,
        };
        let spec = SessionSpec {
            id: uuid::Uuid::new_v4().to_string(),
            name: name.to_string(),
            working_dir: label.working_dir.clone().into(),
            command: label.command.clone(),
            env: new.env,
            size: agentd_plugin_api::Size {
                cols: size.cols,
                rows: size.rows,
            },
            options: new.options,
            label: serde_json::to_string(&label)
                .map_err(|error| Error::internal(format!("writing the label: {error}")))?,
        };

        let session = self.session(spec.id.clone(), name, label);
        let reservation = self.reserve(&session)?;
        let reports = self.reports(&session);
        let remote = self.backend().start(&spec, reports).await?;
        session.set_remote(remote);
        // Unless the backend says otherwise, what was started runs.
        let record = session.record();
        if record.state == State::Starting && record.progress.is_none() {
            session.apply(agentd_plugin_api::Event::Running { pid: None });
        }
        reservation.keep();
        tracing::info!(session = %session.name, "started");
        Ok(session)
    }

    /// Adopts what outlived an earlier daemon, and returns it. What cannot be adopted is logged and
    /// left alone; an error means that the backend is stuck.
    pub async fn adopt(&self) -> Result<Vec<Arc<Session>>> {
        let all = match self.backend().list().await {
            Err(error) if error.code == BACKEND_OVERDUE => return Err(error),
            Err(error) => {
                tracing::warn!(%error, "sessions of an earlier run cannot be listed");
                return Ok(Vec::new());
            }
            Ok(all) => all,
        };
        let mut adopted = Vec::new();
        for found in all {
            let id = quoted(&found.id);
            match self.adopt_one(found).await {
                Ok(session) => {
                    tracing::info!(session = %session.name, "adopted");
                    adopted.push(session);
                }
                Err(error) if error.code == BACKEND_OVERDUE => return Err(error),
                Err(error) => tracing::warn!(session = id, %error, "not adopted"),
            }
        }
        Ok(adopted)
    }

    async fn adopt_one(&self, found: Found) -> Result<Arc<Session>> {
        let label: Label = serde_json::from_str(&found.label)
            .map_err(|error| Error::internal(format!("its label cannot be read: {error}")))?;
        let name = SessionName::parse(&label.name)?;
        let session = self.session(found.id.clone(), name, label);
        let reservation = self.reserve(&session)?;
        let reports = self.reports(&session);
        session.set_remote(self.backend().adopt(&found.id, reports).await?);
        reservation.keep();
        Ok(session)
    }

    /// The session of that name.
    pub fn get(&self, name: &str) -> Result<Arc<Session>> {
        let session = SessionName::parse(name)
            .ok()
            .and_then(|name| self.lock().sessions.get(&name).cloned());
        session.ok_or_else(|| Error::not_found("session", name))
    }

    /// All sessions in the order of their names.
    pub fn list(&self) -> Vec<Arc<Session>> {
        self.shared.list()
    }

    /// Ends a session and keeps it; also when the caller goes away meanwhile.
    pub async fn stop(&self, session: &Arc<Session>) -> Result<()> {
        let session = session.clone();
        finish(async move {
            session.terminate(GRACE).await?;
            session.ended().await;
            Ok(())
        })
        .await
    }

    /// Ends a session with everything that it started, and forgets it; also when the caller goes
    /// away meanwhile.
    pub async fn delete(&self, session: &Arc<Session>) -> Result<()> {
        let (sessions, session) = (self.clone(), session.clone());
        finish(async move {
            session.set_delete_requested();
            session.terminate(GRACE).await?;
            sessions.forget(&session);
            tracing::info!(session = %session.name, "deleted");
            Ok(())
        })
        .await
    }

    /// Starts nothing any more.
    pub fn close(&self) {
        self.lock().closed = true;
    }

    /// Ends all sessions at once, and leaves nothing of them.
    pub async fn delete_all(&self, grace: Duration) {
        let sessions = self.list();
        join_all(sessions.iter().map(|session| async move {
            if let Err(error) = session.terminate(grace).await {
                tracing::warn!(session = %session.name, %error, "not ended");
            }
        }))
        .await;
    }

    fn session(&self, id: String, name: SessionName, label: Label) -> Arc<Session> {
        let Shared {
            backend,
            history,
            observer,
            ..
        } = &*self.shared;
        Session::new(id, name, label, backend.clone(), *history, observer.clone())
    }

    fn reports(&self, session: &Arc<Session>) -> Arc<Reports> {
        Reports::of(session, &self.shared.screens, &self.shared.activity)
    }

    fn reserve(&self, session: &Arc<Session>) -> Result<Reservation> {
        let mut registry = self.lock();
        if registry.closed {
            return Err(Error::unavailable(
                "shutting-down",
                "the service is shutting down",
            ));
        }
        if registry.sessions.contains_key(&session.name) {
            let message = format!("the name `{}` is taken", session.name);
            return Err(Error::conflict("name-taken", message)
                .hint("delete the session of that name, or choose another name"));
        }
        registry
            .sessions
            .insert(session.name.clone(), session.clone());
        Ok(Reservation {
            sessions: self.clone(),
            session: session.clone(),
            kept: false,
        })
    }

    fn forget(&self, session: &Arc<Session>) {
        let mut registry = self.lock();
        let listed = registry.sessions.get(&session.name);
        if listed.is_some_and(|listed| Arc::ptr_eq(listed, session)) {
            registry.sessions.remove(&session.name);
        }
        drop(registry);
        session.set_forgotten();
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.shared.lock()
    }
}

impl Shared {
    pub(super) fn list(&self) -> Vec<Arc<Session>> {
        self.lock().sessions.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name in the registry whose session may still fail to start.
struct Reservation {
    sessions: Sessions,
    session: Arc<Session>,
    kept: bool,
}

impl Reservation {
    fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.kept {
            self.sessions.forget(&self.session);
            let reason = "it was not started".to_owned();
            self.session
                .apply(agentd_plugin_api::Event::Lost { reason });
        }
    }
}

/// Half an end is worse than none.
async fn finish(end: impl Future<Output = Result<()>> + Send + 'static) -> Result<()> {
    let done = tokio::spawn(end).await;
    done.unwrap_or_else(|error| Err(Error::internal(format!("ending the session: {error}"))))
}

fn checked_directory(directory: &str) -> Result<String> {
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
    match path.metadata() {
        Ok(metadata) if metadata.is_dir() => Ok(directory.to_owned()),
        Ok(_) => Err(invalid("is not a directory")),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(invalid("does not exist").hint("create it on the machine of the service"))
        }
        Err(error) => Err(invalid(&format!("cannot be used: {error}"))),
    }
}

fn check_environment(new: &NewSession) -> Result<()> {
    let usable = |name: &str| !name.is_empty() && !name.contains(['=', '\0']);
    let name = new.env.keys().find(|name| !usable(name));
    if let Some(name) = name {
        let message = format!("`{}` is no name of a variable", name.escape_debug());
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
