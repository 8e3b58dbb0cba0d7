use std::collections::HashMap;

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::tokio::time::timeout;
use bollard::models::NodeState;
use bollard::query_parameters::ListNodesOptions;

use crate::Shared;

/// The machines of the Swarm, by their ids.
pub(crate) type Nodes = HashMap<String, Node>;

/// A machine of the Swarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    pub(crate) name: String,
    /// The managers hear nothing of it.
    pub(crate) is_down: bool,
}

/// How long a manager may take to answer before it counts as out of reach.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

impl Shared {
    pub(crate) async fn nodes(&self) -> Result<Nodes> {
        let client = self.engine.client();
        let listed = timeout(PATIENCE, client.list_nodes(None::<ListNodesOptions>)).await;
        let listed = listed.unwrap_or(Err(bollard::errors::Error::RequestTimeoutError));
        let listed = listed.map_err(|error| self.engine.error("listing the nodes", error))?;
        Ok(listed
            .into_iter()
            .filter_map(|node| {
                let id = node.id?;
                let name = node.description.and_then(|node| node.hostname);
                let state = node.status.and_then(|status| status.state);
                let name = name.filter(|name| !name.is_empty());
                let node = Node {
                    name: name.unwrap_or_else(|| id.clone()),
                    // A new leader has heard of no node yet: `unknown` is not `down`.
                    is_down: matches!(state, Some(NodeState::DOWN | NodeState::DISCONNECTED)),
                };
                Some((id, node))
            })
            .collect())
    }
}
