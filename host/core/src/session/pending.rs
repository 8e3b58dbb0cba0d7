use std::sync::Arc;
use std::time::Duration;

use agentd_plugin_api::SessionSpec;
use tokio::time::timeout;

use super::life::Asked;
use super::{Released, Session, Sessions};
use crate::backend_session::BackendSession;
use crate::{Error, Phase, Result};

/// How long a backend may take to undo a start.
const UNDO_PATIENCE: Duration = Duration::from_secs(30);

/// A session that is listed and not started yet. When this is dropped before the start is over,
/// the start is undone, and the session is forgotten after that; one that was to be taken over is left
/// as it is.
#[must_use]
pub struct Pending {
    sessions: Sessions,
    session: Arc<Session>,
    spec: SessionSpec,
    /// The one in whose place it is listed.
    replaced: Option<Arc<Session>>,
    /// Done when the backend has nothing of the session, unless its call has returned.
    released: Option<Released>,
    /// Whether the backend has it from an earlier daemon.
    adopts: bool,
    over: bool,
}

impl Pending {
    pub(super) fn new(
        sessions: Sessions,
        session: Arc<Session>,
        spec: SessionSpec,
        replaced: Option<Arc<Session>>,
    ) -> Self {
        Pending {
            sessions,
            session,
            spec,
            replaced,
            released: None,
            adopts: false,
            over: false,
        }
    }

    /// The session.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Starts the session. One that is stopped meanwhile is returned all the same.
    pub async fn start(mut self) -> Result<Arc<Session>> {
        self.forget_replaced();
        let (reports, released) = self.sessions.reports(&self.session);
        self.released = Some(released);
        let mut start = Box::pin(self.session.backend.start(&self.spec, reports));
        let started = tokio::select! {
            biased;
            () = self.session.life.end_asked() => None,
            started = &mut start => Some(started),
        };
        drop(start);
        match started {
            Some(Ok(remote)) => {
                self.started(remote);
                tracing::info!(session = %self.session.name, "started");
            }
            Some(Err(error)) => return Err(self.failed(error)),
            None => self.undo().await,
        }
        self.answer()
    }

    /// Takes over the session of an earlier daemon. An end that is asked for meanwhile comes after
    /// it.
    pub(super) async fn adopt(mut self, phase: Phase) -> Result<Arc<Session>> {
        self.adopts = true;
        let (reports, released) = self.sessions.reports(&self.session);
        self.released = Some(released);
        let adopted = self.session.backend.adopt(&self.spec.id, reports, phase);
        match adopted.await {
            Ok(remote) => self.started(remote),
            Err(error) => {
                self.session.leave_alone(error.to_string());
                return Err(self.failed(error));
            }
        }
        Ok(self.session.clone())
    }

    fn forget_replaced(&mut self) {
        if let Some(replaced) = self.replaced.take() {
            replaced.life.forget();
        }
    }

    fn started(&mut self, remote: BackendSession) {
        // Asked once and here: later it might be while the backend reports something, perhaps
        // under a lock of its own.
        let attach_command = remote.attach_command().unwrap_or_else(|error| {
            tracing::warn!(session = %self.session.name, %error, "no attach command");
            None
        });
        self.session.keep();
        self.session.life.started(remote, attach_command);
        self.sessions.begin_recording(&self.session);
        self.over = true;
    }

    fn failed(&mut self, error: Error) -> Error {
        self.session.life.not_started(error.to_string());
        self.sessions.forget(&self.session);
        self.over = true;
        error
    }

    /// Waits until the backend has undone the start that was dropped.
    async fn undo(&mut self) {
        if let Some(released) = &mut self.released {
            undone(&self.session, released).await;
        }
        let asked = self.session.life.asked();
        self.session.life.not_started(match asked {
            Asked::Delete => "it was deleted before it was started".to_owned(),
            _ => "it was stopped before it was started".to_owned(),
        });
        if asked == Asked::Delete {
            self.sessions.forget(&self.session);
        }
        self.over = true;
    }

    fn answer(&self) -> Result<Arc<Session>> {
        match self.session.life.asked() {
            Asked::Nothing => Ok(self.session.clone()),
            Asked::Shutdown => Err(Error::shutting_down()),
            Asked::Stop => match self.sessions.is_closed() {
                false => Ok(self.session.clone()),
                true => Err(Error::shutting_down()),
            },
            Asked::Delete => Err(Error::conflict(
                "cancelled",
                format!("`{}` was deleted while it was starting", self.session.name),
            )),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.forget_replaced();
        if self.over {
            return;
        }
        let reason = "its start was given up".to_owned();
        match self.adopts {
            true => self.session.leave_alone(reason.clone()),
            false => self.session.life.ask(Asked::Delete),
        }
        let (sessions, session) = (self.sessions.clone(), self.session.clone());
        let released = self.released.take();
        self.sessions.spawn(async move {
            if let Some(mut released) = released {
                undone(&session, &mut released).await;
            }
            session.life.not_started(reason);
            sessions.forget(&session);
        });
    }
}

/// A backend keeps its end of the reports for as long as there is something to undo. One that keeps
/// it for ever does not keep the name.
async fn undone(session: &Session, released: &mut Released) {
    // What comes is the news that the other end is gone.
    if timeout(UNDO_PATIENCE, released).await.is_err() {
        let name = &session.name;
        tracing::warn!(session = %name, "the backend has not undone a start in {UNDO_PATIENCE:?}");
    }
}
