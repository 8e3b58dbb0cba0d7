use std::collections::HashMap;

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::tokio::time::timeout;
use bollard::errors::Error as ClientError;
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
const PATIENCE: Duration = Duration::from_secs(5);

/// What managers answer, with the status 500, while the Swarm has no leader.
const LEADERLESS: [&str; 3] = ["have a leader", "lost leader", "DeadlineExceeded"];

impl Shared {
    /// A failed request. `doing` is a participle: `creating the …`.
    pub(crate) fn error(&self, doing: &str, error: ClientError) -> Error {
        let error = self.engine.error(doing, error);
        match LEADERLESS.iter().any(|sign| error.message.contains(sign)) {
            true => Error::unavailable(error.message).hint(
                "most of the Swarm's managers have to be reachable: see `docker node ls` on one of them",
            ),
            false => error,
        }
    }

    /// A manager that hangs is one that is out of reach.
    pub(crate) async fn in_time<T>(&self, call: impl Future<Output = Result<T>>) -> Result<T> {
        let silent = |_| Err(self.error("waiting", ClientError::RequestTimeoutError));
        timeout(PATIENCE, call).await.unwrap_or_else(silent)
    }

    pub(crate) async fn nodes(&self) -> Result<Nodes> {
        let list = async {
            let client = self.engine.client();
            let listed = client.list_nodes(None::<ListNodesOptions>).await;
            listed.map_err(|error| self.error("listing the nodes", error))
        };
        let listed = self.in_time(list).await?;
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
