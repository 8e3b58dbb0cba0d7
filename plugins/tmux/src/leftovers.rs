//! Programs whose session somebody has ended while there was no daemon.

use std::collections::HashSet;
use std::time::Duration;

use agentd_plugin_api::process_tree::ProcessTree;
use agentd_plugin_api::{Result, tracing};
use tokio::task::JoinSet;

use crate::place::Place;
use crate::server::Server;
use crate::session::beside;

/// The value of `AGENTD_INSTANCE` of an agent of that instance. Whatever has the instance alone ends
/// with its daemon, and agents in tmux do not.
pub fn mark(instance: &str) -> String {
    format!("tmux:{instance}")
}

/// How long they have to end by themselves.
const GRACE: Duration = Duration::from_secs(1);

/// Ends those that ran in sessions of the `instance` that are no longer there: a program that ignores
/// SIGHUP runs on without its terminal. One that is on a terminal is in a session of another server.
/// What cannot be ended is no reason not to start.
pub async fn end(server: &Server, instance: &str) {
    if let Err(error) = try_to_end(server, instance).await {
        tracing::warn!(%error, "what is left of sessions that are gone");
    }
}

async fn try_to_end(server: &Server, instance: &str) -> Result<()> {
    let lost = ProcessTree::without_terminal(&mark(instance)).await?;
    if lost.is_empty() {
        return Ok(());
    }
    let there = Place::list(server, instance).await?;
    let there: HashSet<String> = there
        .into_iter()
        .flat_map(|(found, _)| [beside(&found.id), found.id])
        .collect();
    let mut ends = JoinSet::new();
    for id in lost.into_iter().filter(|id| !there.contains(id)) {
        tracing::warn!(session = id, "ending what is left of it");
        ends.spawn(async move { ProcessTree::marked(&id).end(GRACE).await });
    }
    ends.join_all().await.into_iter().collect()
}
