use agentd_api::Size;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What a persistent backend stores beside a session, as JSON, so that a later daemon can show and
/// adopt it from this alone. It holds no value of any variable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Label {
    /// The session's name.
    pub name: String,
    /// Absolute.
    pub working_dir: String,
    /// The argv.
    pub command: Vec<String>,
    /// The names of the agent's own variables.
    #[serde(default)]
    pub env: Vec<String>,
    /// The backend's own options.
    #[serde(default)]
    pub options: Map<String, Value>,
    /// The size at the start.
    pub size: Size,
    /// RFC 3339.
    pub created_at: String,
    /// What the service that made the session adds, such as the agent's id.
    #[serde(default)]
    pub owner: Option<String>,
}
