use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::WebhookHealth;

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
    /// With `?verbose=1`, what the orchestrator last did to bring about what is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reconcile: Option<Reconciliation>,
    /// The same of the backends beside the default one, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub reconcile_others: BTreeMap<String, Reconciliation>,
    /// With `?verbose=1`, the processes that keep terminals; only for those who show credentials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keepers: Vec<KeeperHealth>,
    /// With `?verbose=1`, how it goes with the webhook, where one is set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub webhook: Option<WebhookHealth>,
}

/// A process in which terminals outlive the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeeperHealth {
    /// Its number.
    pub pid: u32,
    /// Which build of the service started it; new sessions go to that of the present one.
    pub build: String,
    /// How many sessions the service has in it.
    pub sessions: u64,
    /// Why it cannot be used, if it cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// One comparison of what is wanted of agents with the sessions that the backend has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconciliation {
    /// When it began: RFC 3339.
    pub at: String,
    /// How long it took, with all that it did.
    pub duration_ms: u64,
    /// Why the backend could not be asked; then nothing was ended or called lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How often it did what.
    pub counts: BTreeMap<String, u64>,
    /// The first of them; only for those who show credentials.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<ReconcileAction>,
}

/// Something that was done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReconcileAction {
    /// `adopted`, `gone`, `unknown`, `stopped`, `deleted`, `ended` or `failed`.
    pub action: String,
    /// The agent's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The session's id, where the agent's does not say enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
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
    /// Whether its agents are programs on terminals of the service, so that `keep` is for them.
    #[serde(default)]
    pub on_terminals: bool,
    /// Whether what terminals show is recorded unless a session says otherwise.
    #[serde(default)]
    pub records_all: bool,
    /// JSON Schema of the `options` of a session, or null where there are none.
    pub options_schema: Option<serde_json::Value>,
    /// The file that was loaded.
    pub library: String,
}

/// An item of `GET /backends`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadedBackend {
    /// The name in `AGENTD_BACKEND`, and the version and the capabilities of the library.
    #[serde(flatten)]
    pub info: Info,
    /// Whether it has the agents that name none.
    pub default: bool,
    /// Whether agents can be started on it.
    pub state: BackendState,
    /// Why they cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether its sessions outlive the daemon.
    #[serde(default, skip_serializing_if = "is_false")]
    pub persistent: bool,
    /// Whether its agents are programs on terminals of the service, so that `keep` is for them.
    #[serde(default, skip_serializing_if = "is_false")]
    pub on_terminals: bool,
    /// Whether what its terminals show is recorded unless a session says otherwise.
    #[serde(default, skip_serializing_if = "is_false")]
    pub records_all: bool,
    /// JSON Schema of the `options` of a session, or null where there are none.
    pub options_schema: Option<serde_json::Value>,
}

impl LoadedBackend {
    /// One of `AGENTD_BACKENDS` that is not there, for a reason.
    pub fn missing(name: &str, reason: &str) -> Self {
        LoadedBackend {
            info: Info {
                backend_type: name.to_owned(),
                version: String::new(),
                capabilities: Vec::new(),
            },
            default: false,
            state: BackendState::Unavailable,
            reason: Some(reason.to_owned()),
            persistent: false,
            on_terminals: false,
            records_all: false,
            options_schema: None,
        }
    }
}

fn is_false(value: &bool) -> bool {
    !value
}

/// Whether a backend is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackendState {
    /// It is loaded.
    Ready,
    /// It could not be loaded or connected, or cannot be reached now; that is tried again.
    Unavailable,
}
