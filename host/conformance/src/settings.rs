use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use agentd_plugin_api::Manifest;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// How a backend is tested.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// The `options` of every session.
    pub options: Map<String, Value>,
    /// What the daemon's variables would be, such as `AGENTD_DOCKER_IMAGE`.
    pub settings: BTreeMap<String, String>,
    /// Where each clause makes a directory for its agents, with the same owner; absolute. Without
    /// it the system's directory for temporary files, and an owner who is not root.
    pub working_dir: Option<PathBuf>,
    /// A session whose health can be changed; without it a declared `health-check` is not tried.
    pub health: Option<HealthProbe>,
    /// Names of clauses; when there are any, only these are run.
    pub only: Vec<String>,
    /// Whether the library's owner and permissions are looked at, see [`agentd_host::loader::Trust`].
    pub check_trust: bool,
    /// How long one thing may take that a clause waits for.
    pub patience: Duration,
    /// How long one clause may take.
    pub deadline: Duration,
}

/// A session whose health check passes while a file exists in its working directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HealthProbe {
    /// The session's options, on top of [`Settings::options`].
    pub options: Map<String, Value>,
    /// The file's name.
    pub file: String,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            options: Map::new(),
            settings: BTreeMap::new(),
            working_dir: None,
            health: None,
            only: Vec::new(),
            check_trust: true,
            patience: Duration::from_secs(20),
            deadline: Duration::from_secs(300),
        }
    }
}

impl Settings {
    /// Whether programs on terminals run in a keeper, as in a service.
    pub(crate) fn has_keeper(&self) -> bool {
        let keeper = self.settings.get("AGENTD_KEEPER");
        keeper.is_none_or(|keeper| keeper != "off")
    }

    /// Whether the sessions of this backend outlive the daemon.
    pub(crate) fn has_lasting_sessions(&self, backend: &Manifest) -> bool {
        backend.persistent || backend.on_terminals && self.has_keeper()
    }

    /// The defaults, with what a daemon that is started here would pass to its backend.
    pub fn from_environment() -> Self {
        let is_setting = |name: &str| name.starts_with("AGENTD_") && name != "AGENTD_TOKEN";
        Settings {
            settings: std::env::vars_os()
                .filter_map(|(name, value)| {
                    Some((name.into_string().ok()?, value.into_string().ok()?))
                })
                .filter(|(name, _)| is_setting(name) || name == "DOCKER_HOST")
                .collect(),
            ..Settings::default()
        }
    }
}
