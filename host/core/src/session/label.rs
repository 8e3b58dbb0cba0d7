use std::collections::BTreeMap;

use agentd_api::{Keep, NewSession, Size};
use agentd_plugin_api::SessionSpec;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Error, Result};

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
    /// What the program does while no service takes its output, if the request says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// Whether it is recorded, if the request says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<bool>,
    /// The size at the start.
    pub size: Size,
    /// RFC 3339.
    pub created_at: String,
    /// What the service that made the session adds, such as the agent's id.
    #[serde(default)]
    pub owner: Option<String>,
}

impl Label {
    /// What the backend is asked to start. All of it but the values of the variables is in the
    /// label.
    pub(super) fn spec(&self, id: String, env: BTreeMap<String, String>) -> Result<SessionSpec> {
        let label = serde_json::to_string(self)
            .map_err(|error| Error::internal(format!("writing the label: {error}")))?;
        Ok(SessionSpec {
            id,
            name: self.name.clone(),
            working_dir: self.working_dir.clone().into(),
            command: self.command.clone(),
            env,
            size: agentd_plugin_api::Size {
                cols: self.size.cols,
                rows: self.size.rows,
            },
            options: self.options.clone(),
            label,
        })
    }

    /// A request for the same once more, without the values of the variables.
    pub fn request(&self) -> NewSession {
        NewSession {
            name: self.name.clone(),
            working_dir: self.working_dir.clone(),
            command: Some(self.command.clone()),
            size: Some(self.size),
            options: self.options.clone(),
            keep: self.keep,
            record: self.record,
            ..NewSession::default()
        }
    }
}
