use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use agentd_api::State;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};
use warp::filters::BoxedFilter;

use crate::audit::AuditTrail;
use crate::backends::Claims;
use crate::daemon::Daemon;
use crate::http::{Admission, Listener, Response, serve_connections};
use crate::service_manager;
use crate::session::Session;

/// Together with what `service.rs` adds these stay below the 12 seconds that a shutdown may take.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(8);
/// Of the grace, this is kept for each session, to be removed after its end.
const REMOVAL: Duration = Duration::from_millis(15);
const LEAST_GRACE: Duration = Duration::from_secs(3);
const SHUTDOWN_LIMIT: Duration = Duration::from_millis(10_200);
/// Longer than a prompt is waited for on the screen before its Enter.
const TYPING_LIMIT: Duration = Duration::from_secs(6);
const FORGETTING_LIMIT: Duration = Duration::from_millis(300);
const CONNECTIONS_LIMIT: Duration = Duration::from_millis(500);
const AT_END_LIMIT: Duration = Duration::from_millis(400);

/// A service that is ready to run.
pub struct Server {
    pub(crate) daemon: Arc<Daemon>,
    pub(crate) routes: BoxedFilter<(Response,)>,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) leave_running: bool,
    pub(crate) trail: Option<Arc<dyn AuditTrail>>,
    pub(crate) at_end: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    /// Held until the sessions have ended.
    pub(crate) _claims: Claims,
}

impl Server {
    /// Where it listens; none when that is only on Unix sockets.
    pub fn address(&self) -> Option<SocketAddr> {
        self.daemon.address
    }

    /// The scheme of its addresses.
    pub fn scheme(&self) -> &'static str {
        scheme(self.listeners.iter().any(Listener::has_tls))
    }

    /// Keeps there who asked for what.
    #[must_use]
    pub fn audited(mut self, trail: Arc<dyn AuditTrail>) -> Self {
        self.trail = Some(trail);
        self
    }

    /// Does this at the end, when nothing changes any more.
    #[must_use]
    pub fn at_end(mut self, end: impl Future<Output = ()> + Send + 'static) -> Self {
        self.at_end = Some(Box::pin(end));
        self
    }

    /// Serves until `shutdown`, then ends the sessions (or leaves those that can be left, where that was
    /// asked for) and the connections.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let sessions = &self.daemon.sessions;
        let backends = sessions.backends();
        backends.serve();
        let admission = Admission::new(self.daemon.clone(), self.trail);
        let mut connections = JoinSet::new();
        for listener in self.listeners {
            match &listener {
                Listener::Tcp(listener, tls) => {
                    if let Ok(address) = listener.local_addr() {
                        tracing::info!("listening on {}://{address}", scheme(tls.is_some()));
                    }
                }
                Listener::Unix(file, _) => {
                    tracing::info!("listening on unix:{}", file.path().display());
                }
            }
            let (routes, stopped) = (self.routes.clone(), self.stop.subscribe());
            let serve = serve_connections(listener, routes, admission.clone(), stopped);
            connections.spawn(serve);
        }

        let known = sessions.clone();
        let status = move || {
            let running = |one: &&Arc<Session>| one.record().state == State::Running;
            format!(
                "{} sessions run",
                known.list().iter().filter(running).count()
            )
        };
        service_manager::ready(status()).await;
        let alive = tokio::spawn(service_manager::keep_alive(status));
        shutdown.await;
        service_manager::stopping().await;
        let deadline =
            Instant::now() + SHUTDOWN_LIMIT + FORGETTING_LIMIT + CONNECTIONS_LIMIT + AT_END_LIMIT;
        sessions.close();
        let count = sessions.list().len();
        let removals = REMOVAL * u32::try_from(count).unwrap_or(u32::MAX);
        let grace = SHUTDOWN_GRACE.saturating_sub(removals).max(LEAST_GRACE);
        // In a task: a library may block the thread on which it is asked to end something.
        if self.leave_running && backends.are_any_persistent() {
            // No client was answered that these are there.
            let all = sessions.clone();
            let ends = tokio::spawn(async move {
                let typed = timeout(TYPING_LIMIT, all.typed());
                tokio::join!(all.end_passing(grace), typed).1
            });
            match timeout(SHUTDOWN_LIMIT, ends).await {
                Err(_) => tracing::warn!("some starts were not undone in time"),
                Ok(Ok(Err(_))) => tracing::warn!("some prompts may be typed without their Enter"),
                Ok(_) => {}
            }
            backends.leave();
            let all = sessions.list();
            let stay = all.iter().filter(|one| one.backend().is_persistent());
            tracing::info!("shutting down; {} sessions stay", stay.count());
        } else {
            tracing::info!("shutting down; ending {count} sessions");
            let all = sessions.clone();
            let ends = tokio::spawn(async move { all.end_all(grace).await });
            if timeout(SHUTDOWN_LIMIT, ends).await.is_err() {
                tracing::warn!("some sessions did not end in time");
            }
        }
        // What is not needed of the time for the sessions is there for the keepers.
        let forgetting = deadline - CONNECTIONS_LIMIT - AT_END_LIMIT;
        if timeout_at(forgetting, backends.forgotten()).await.is_err() {
            tracing::warn!("a keeper has something left that has ended");
        }
        self.stop.send_replace(true);
        let sockets = &self.daemon.sockets;
        let ends = async {
            tokio::join!(
                connections.join_all(),
                sockets.closed(),
                sessions.recorded(),
                sessions.typed()
            )
        };
        if timeout(CONNECTIONS_LIMIT, ends).await.is_err() {
            tracing::debug!("some connections, recordings or prompts did not end in time");
        }
        if let Some(end) = self.at_end
            && timeout_at(deadline, end).await.is_err()
        {
            tracing::warn!("what happened last is not on the disk");
        }
        alive.abort();
    }
}

fn scheme(has_tls: bool) -> &'static str {
    if has_tls { "https" } else { "http" }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("address", &self.daemon.address)
            .finish_non_exhaustive()
    }
}
