use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a backend gets from the daemon when it connects. Crosses the boundary as JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Config {
    /// Names this daemon among all others, the same after a restart. Everything that outlives the
    /// daemon carries it, and nothing without it is ever listed, adopted or ended.
    pub instance: String,
    /// Holds the token and other state of the daemon; no agent may see it.
    pub state_dir: PathBuf,
    /// The daemon's settings by the name of their variable (`AGENTD_DOCKER_IMAGE`), from the
    /// environment or a flag. The token is not among them.
    #[serde(default)]
    pub settings: BTreeMap<String, String>,
    /// What else no agent may see, file or directory, there or not yet: recordings, keys, sockets. Since
    /// 1.2; an older daemon names none.
    #[serde(default)]
    pub private: Vec<PathBuf>,
}

impl Config {
    /// All that no agent may see: the state directory and what is elsewhere.
    pub fn all_private(&self) -> Vec<PathBuf> {
        let mut all = vec![self.state_dir.clone()];
        all.extend_from_slice(&self.private);
        all
    }

    /// A setting that is set and not empty.
    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings
            .get(name)
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    }
}

/// What to run. Crosses the boundary as JSON.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionSpec {
    /// A UUID, new for each start; the variable `AGENTD_SESSION` of every process of the agent.
    pub id: String,
    /// `[A-Za-z0-9][A-Za-z0-9_-]{0,62}`, one living session per name.
    pub name: String,
    /// Absolute. On the daemon's machine it existed a moment ago, unless the backend
    /// [runs elsewhere](crate::Manifest::runs_elsewhere).
    pub working_dir: PathBuf,
    /// The program and its arguments, never empty. Never a shell string.
    pub command: Vec<String>,
    /// Variables of this agent. They may be secrets: never put them into a process's arguments.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// The size to begin with.
    pub size: Size,
    /// What the request gave as `options`; an object, not checked.
    #[serde(default)]
    pub options: serde_json::Map<String, Value>,
    /// Opaque to the backend. A persistent one stores it beside the session and gives it back in
    /// [`Found::label`]; it holds no secrets.
    #[serde(default)]
    pub label: String,
}

/// Without variables and options, which may be secrets: this gets into panics and logs.
impl fmt::Debug for SessionSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionSpec")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("working_dir", &self.working_dir)
            .field("command", &self.command)
            .finish_non_exhaustive()
    }
}

/// A session that outlived an earlier daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// [`SessionSpec::id`] of the session.
    pub id: String,
    /// [`SessionSpec::label`] of the session.
    pub label: String,
}

/// Columns and rows of a terminal, each 1 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Size {
    /// Characters in a line.
    pub cols: u16,
    /// Lines.
    pub rows: u16,
}
