use serde::{Deserialize, Serialize};

/// `GET /info`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// The name in `AGENTD_BACKEND`.
    pub backend_type: String,
    /// The version of the backend's library.
    pub version: String,
    /// What the backend can do, in the library's order.
    pub capabilities: Vec<String>,
}

impl Info {
    /// Whether the backend declares `capability`.
    pub fn has(&self, capability: &str) -> bool {
        self.capabilities
            .iter()
            .any(|declared| declared == capability)
    }
}

/// `GET /health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// `ok`.
    pub status: String,
    /// `agentd-wrap` or `agentd-orchestrator`.
    pub service: String,
    /// The version of the service.
    pub version: String,
    /// Agents that are pending or running; only the orchestrator says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agents_active: Option<u64>,
}

/// `GET /backend`: more about the loaded library than `GET /info` may say.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackendDescription {
    /// The name in `AGENTD_BACKEND`.
    pub name: String,
    /// The version of the library.
    pub version: String,
    /// What it can do.
    pub capabilities: Vec<String>,
    /// Whether its sessions outlive the daemon.
    pub persistent: bool,
    /// JSON Schema of the `options` of a session, or null where there are none.
    pub options_schema: Option<serde_json::Value>,
    /// The file that was loaded.
    pub library: String,
}
