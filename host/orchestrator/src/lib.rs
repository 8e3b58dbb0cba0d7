//! `agentd-orchestrator`: agents by id, the events of their lives, and the web UI.

mod activities;
mod agent;
mod agents;
mod audit;
mod audit_rows;
mod busy;
mod collection;
mod crash_point;
mod database;
mod deletion;
mod diffs;
mod events;
mod keyed;
mod labels;
mod looks;
mod migrations;
mod outputs;
mod previews;
mod prompts;
mod reconcile;
mod reconciliation;
mod records;
mod restart;
mod restarts;
mod routes;
mod runs;
mod search;
mod selection;
mod sight;
mod store;
mod token_routes;
mod token_rows;
mod tokens;
mod transaction;
mod ui;
mod unfinished;
mod watch;
mod webhook;
mod writes;

use std::sync::Arc;
use std::time::Duration;

use agentd_host::{
    Backend, IdempotencyKey, Prepared, Server, Service, StartError, StoreEnv, Turns, http,
};
use warp::Filter;

pub use crash_point::CrashPoint;

use activities::Activities;
use agents::Agents;
use audit::Audit;
use diffs::Diffs;
use events::Keep;
use outputs::{OutputLimits, Outputs};
use reconcile::{Pace, Reconcile};
use restart::Backoff;
use restarts::Restarts;
use store::Store;
use tokens::TokenDesk;
use watch::Watch;
use webhook::Webhook;

/// What distinguishes this service from the other.
pub static SERVICE: Service = Service {
    name: "agentd-orchestrator",
    about: "Runs AI coding agents, keeps track of them, and serves the web UI",
    default_port: 17006,
};

/// The service, with the agents of an earlier one.
pub async fn server(prepared: Prepared) -> Result<Server, StartError> {
    let config = prepared.config();
    let keep = Keep {
        count: config.events_kept,
        age: Duration::from_secs(config.events_kept_hours * 60 * 60),
    };
    let audit_keep = Keep {
        count: config.audit_kept,
        age: Duration::from_secs(config.audit_kept_hours * 60 * 60),
    };
    let backoff = Backoff {
        first: Duration::from_millis(config.restart_backoff_ms),
        reset: Duration::from_millis(config.restart_reset_ms),
    };
    let pace = Pace {
        interval: Duration::from_secs(config.reconcile_interval_secs),
        grace: Duration::from_secs(config.unowned_grace_secs),
    };
    // Before anything is done: it may be set wrongly.
    let webhook = Webhook::open(config)?;
    let keeps_env = config.store_env == StoreEnv::On;
    let store = Arc::new(Store::open(prepared.state_dir(), keep, keeps_env, backoff).await?);
    let limits = OutputLimits {
        of_agent: config.output_kept_bytes,
        in_all: config.output_kept_bytes_in_all,
    };
    let outputs = Arc::new(Outputs::new(store.clone(), limits));
    let activities = Arc::<Activities>::default();
    let observer = Watch {
        store: store.clone(),
        outputs: outputs.clone(),
        activities: activities.clone(),
    };
    if let Some(webhook) = &webhook {
        webhook.begin(store.events(), &activities);
    }
    let sessions = prepared.sessions(Arc::new(observer));
    let turns = Arc::<Turns<IdempotencyKey>>::default();
    let agents = Arc::new(Agents::new(
        store.clone(),
        outputs.clone(),
        sessions.clone(),
        prepared.tokens().clone(),
        activities,
        turns.clone(),
        webhook.clone(),
    ));
    let diffs = Arc::new(Diffs::new(prepared.state_dir()));
    let all = (*agents).clone();
    let begin = move |backend| begin(all.clone(), backend, pace);
    sessions.backends().each(begin).await?;
    agents.remove_old_recordings().await?;
    let desk = Arc::new(TokenDesk::open(store.clone(), &prepared, turns).await?);
    tokio::spawn((*desk).clone().note_uses());
    let audit = Arc::new(Audit::new(store.clone(), audit_keep));
    let server = prepared.server(sessions, |daemon| {
        let routes = routes::routes(daemon, &agents, &diffs);
        let routes = routes
            .or(token_routes::routes(daemon, &desk))
            .unify()
            .or(routes::audit(&audit))
            .unify()
            .boxed();
        http::service(daemon, &agents, ui::routes(), routes)
    });
    Ok(server.audited(audit.clone()).at_end(async move {
        audit.idle().await;
        desk.write_uses();
        outputs.idle().await;
        store.flush().await;
        // The ends of the agents among it. Its time is short, and it may not take what the disk needs.
        if let Some(webhook) = webhook {
            webhook.end().await;
        }
    }))
}

/// Adopts a backend's agents of an earlier service, and looks after them from then on.
async fn begin(agents: Agents, backend: Arc<Backend>, pace: Pace) -> agentd_host::Result<()> {
    let mut reconcile = Reconcile::new(agents.clone(), backend.clone(), pace);
    reconcile.begin().await?;
    tokio::spawn(reconcile.repeat());
    tokio::spawn(Restarts::new(agents, backend).repeat());
    Ok(())
}
