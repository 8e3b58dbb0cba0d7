//! `agentd-orchestrator`: agents by id, the events of their lives, and the web UI.

mod agent;
mod agents;
mod collection;
mod events;
mod previews;
mod routes;
mod store;
mod ui;
mod watch;

use std::sync::Arc;

use agentd_host::{Prepared, Server, Service, StartError, http};

use agents::Agents;
use events::Events;
use store::Store;
use watch::Watch;

/// What distinguishes this service from the other.
pub static SERVICE: Service = Service {
    name: "agentd-orchestrator",
    about: "Runs AI coding agents, keeps track of them, and serves the web UI",
    default_port: 17006,
};

/// The service, with the agents that outlived an earlier one.
pub async fn server(prepared: Prepared) -> Result<Server, StartError> {
    let store = Arc::new(Store::default());
    let events = Arc::new(Events::new());
    let observer = Watch {
        store: store.clone(),
        events: events.clone(),
    };
    let sessions = prepared.sessions(Arc::new(observer));
    let agents = Arc::new(Agents::new(store, sessions.clone(), events));
    agents.adopt().await?;
    Ok(prepared.server(sessions, |daemon| {
        http::service(
            daemon,
            &agents,
            ui::routes(),
            routes::routes(daemon, &agents),
        )
    }))
}
