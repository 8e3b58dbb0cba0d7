//! `agentd-orchestrator`: agents by id, the events of their lives, and the web UI.

mod agent;
mod agents;
mod events;
mod routes;
mod store;
mod ui;

use std::sync::Arc;

use agentd_host::session::Session;
use agentd_host::{Collection, Foundation, Result, Service, http};

use agents::Agents;
use events::Events;
use store::{MemoryStore, Store};

/// What tells this service from the other.
pub static SERVICE: Service = Service {
    name: "agentd-orchestrator",
    about: "Runs AI coding agents, keeps track of them, and serves the web UI",
    default_port: 17006,
};

/// Serves until `shutdown`.
pub async fn run(foundation: Foundation, shutdown: impl Future<Output = ()>) {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let events = Arc::new(Events::new());
    let observer = agents::Watch {
        store: store.clone(),
        events: events.clone(),
    };
    let sessions = foundation.sessions(Arc::new(observer));
    let agents = Arc::new(Agents::new(store, sessions.clone(), events));
    if let Err(error) = agents.adopt().await {
        tracing::warn!(%error, "agents of an earlier run cannot be listed");
    }
    let collection = Arc::new(ById(agents.clone()));
    let routes = |daemon: &_| http::service(daemon, ui::routes(), routes::routes(daemon, &agents));
    foundation
        .serve(sessions, collection, routes, shutdown)
        .await;
}

struct ById(Arc<Agents>);

impl Collection for ById {
    fn path(&self) -> &'static str {
        "agents"
    }

    fn find(&self, id: &str) -> Result<Arc<Session>> {
        self.0.session(id)
    }

    fn agents_active(&self) -> Option<u64> {
        Some(self.0.active())
    }
}
