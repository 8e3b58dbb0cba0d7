//! `agentd-wrap`: sessions by name.

mod sessions;

use std::sync::Arc;

use agentd_host::session::{Session, Sessions, Unobserved};
use agentd_host::{Collection, Foundation, Result, Service, http};

/// What tells this service from the other.
pub static SERVICE: Service = Service {
    name: "agentd-wrap",
    about: "Runs AI coding agents in sessions and lets people and programs watch and steer them",
    default_port: 17005,
};

/// Serves until `shutdown`.
pub async fn run(foundation: Foundation, shutdown: impl Future<Output = ()>) {
    let sessions = foundation.sessions(Arc::new(Unobserved));
    if let Err(error) = sessions.adopt().await {
        tracing::warn!(%error, "sessions of an earlier run cannot be listed");
    }
    let collection = Arc::new(ByName(sessions.clone()));
    let routes = |daemon: &_| http::service(daemon, http::nothing(), sessions::routes(daemon));
    foundation
        .serve(sessions, collection, routes, shutdown)
        .await;
}

struct ByName(Sessions);

impl Collection for ByName {
    fn path(&self) -> &'static str {
        "sessions"
    }

    fn find(&self, name: &str) -> Result<Arc<Session>> {
        self.0.get(name)
    }
}
