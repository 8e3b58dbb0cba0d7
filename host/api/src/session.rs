use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{Activity, Recording, RestartPolicy};

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T> {
    /// The items of this page.
    pub items: Vec<T>,
    /// How many there are on all pages.
    pub total: u64,
    /// The `cursor` of the next page, when there is more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
}

/// The body of `POST /sessions`.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewSession {
    /// `[A-Za-z0-9][A-Za-z0-9_-]{0,62}`, unique.
    pub name: String,
    /// An absolute directory, which exists on the service's machine unless the backend runs programs elsewhere.
    pub working_dir: String,
    /// The backend that runs it; the default one unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    /// `claude-code`, `codex`, `opencode`, `gemini`, `crush` or `general` (the default).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The argv to run instead of the agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Vec<String>>,
    /// What the agent's own argv ends with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// For agents that name a model as `provider/model`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The model that the agent uses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Variables on top of the inherited ones. In answers every value is `***`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The terminal's size to begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// The backend's own options.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub options: Map<String, Value>,
    /// What the program does while no service takes its output; it waits unless given. Only where it
    /// runs on a terminal of the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// Of an agent only: what is typed into its program once that reads keys, with Enter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Whether what its terminal shows is recorded; as the service is set unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<bool>,
    /// Of an agent only: by key, its value.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Of an agent only: after which ends it is started again; never unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartPolicy>,
    /// Of an agent only: how often in a row at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_restarts: Option<u32>,
}

/// Without variables and the prompt, which may be secrets: this gets into panics and logs.
impl fmt::Debug for NewSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewSession")
            .field("name", &self.name)
            .field("working_dir", &self.working_dir)
            .field("agent", &self.agent)
            .field("command", &self.command)
            .finish_non_exhaustive()
    }
}

/// What a program does whose output nobody takes, as there is no service, once what is kept of it is
/// full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// It waits, and nothing is lost.
    Block,
    /// It goes on, and the oldest output is lost.
    Drop,
}

/// The body of `POST /sessions/{name}/input`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// The prompt, typed as one paste where the program takes pastes.
    pub text: String,
    /// Whether the Enter key follows (it does unless this is false).
    #[serde(default = "yes")]
    pub submit: bool,
}

fn yes() -> bool {
    true
}

/// A session, running or ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Unique in its service.
    pub name: String,
    /// The name in `AGENTD_BACKEND`.
    pub backend_type: String,
    /// What that backend can do. Empty of a session that an earlier version kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// Where it is in its life.
    pub state: State,
    /// The health check's verdict.
    pub health: Health,
    /// How it ended, once it has.
    pub exit: Option<Exit>,
    /// The process id on the service's machine, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// What a starting session is busy with, or why its state is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress: Option<String>,
    /// Absolute.
    pub working_dir: String,
    /// The argv.
    pub command: Vec<String>,
    /// The names of the variables that the request gave; every value is `***`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// The backend's own options, as the request gave them.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub options: Map<String, Value>,
    /// As the request gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// The terminal's size.
    pub size: Size,
    /// How many WebSockets show it now.
    pub viewers: u64,
    /// RFC 3339.
    pub created_at: String,
    /// What its program is doing; none on an answer of an older service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub activity: Option<Activity>,
    /// How its recording is, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recording: Option<Recording>,
    /// The argv that shows the session in the user's own terminal (capability `attach-tmux`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attach_command: Option<Vec<String>>,
}

impl Session {
    /// Whether its backend declares `capability`; not of a session that an earlier version kept.
    pub fn has(&self, capability: &str) -> bool {
        self.capabilities
            .iter()
            .any(|declared| declared == capability)
    }
}

/// Where a session is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Not running yet.
    Starting,
    /// Running.
    Running,
    /// Ended; `exit` says how, as far as it is known.
    Exited,
    /// The backend cannot be reached.
    Unknown,
}

impl State {
    /// All of them.
    pub const ALL: [State; 4] = [
        State::Starting,
        State::Running,
        State::Exited,
        State::Unknown,
    ];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Running => "running",
            State::Exited => "exited",
            State::Unknown => "unknown",
        }
    }
}

/// The verdict of a health check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// The check passes.
    Healthy,
    /// The check fails.
    Unhealthy,
    /// The check may still pass.
    Starting,
    /// There is no check.
    #[default]
    Unknown,
}

/// How a session ended: `code` after an ordinary end, `signal` after a signal, neither when it
/// was lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// 0 to 255.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The signal's number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// A word or phrase that says more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Columns and rows of a terminal, each 1 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Characters in a line.
    pub cols: u16,
    /// Lines.
    pub rows: u16,
}
