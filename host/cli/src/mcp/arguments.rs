//! What the tools take. The comments are shown to the client.

use std::collections::BTreeMap;

use rmcp::schemars::{self, JsonSchema};
use serde::Deserialize;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ListAgents {
    /// Only agents of this status: pending, running, stopped, failed or lost
    pub status: Option<String>,
    /// Only agents that have all of these labels: each a `key=value`, or a key with any value
    #[serde(default)]
    pub labels: Vec<String>,
    /// So many at most, 1 to 200; 50 unless given
    pub limit: Option<u64>,
    /// The `next_cursor` of the answer before this one
    pub cursor: Option<String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CreateAgent {
    /// Its name: letters, digits, `-` and `_`; one is made up unless given
    pub name: Option<String>,
    /// The program: claude-code, codex, opencode, gemini, crush or general (a shell)
    pub agent: Option<String>,
    /// A command to run instead: the program and its arguments; no shell reads it
    pub command: Option<Vec<String>>,
    /// The backend that runs it; the service's default one unless given
    pub backend: Option<String>,
    /// The directory it works in, absolute; that of this server unless given
    pub working_dir: Option<String>,
    /// What is typed into it, with Enter, once it reads keys
    pub prompt: Option<String>,
    /// The model that it uses
    pub model: Option<String>,
    /// Labels to find it by
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Variables for it
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PromptAgent {
    /// The agent's name or id
    pub agent: String,
    /// What is typed, of one or several lines
    pub text: String,
    /// Whether Enter follows; it does unless this is false
    pub submit: Option<bool>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WaitForAgent {
    /// The agent's name or id
    pub agent: String,
    /// Until it waits for a person, until it has nothing to do, or until its session has ended
    pub until: Until,
    /// At most so many seconds, 1 to 3600; 60 unless given
    pub timeout_seconds: Option<u64>,
}

#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Until {
    Waiting,
    Idle,
    Exit,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OfAgent {
    /// The agent's name or id
    pub agent: String,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReadLogs {
    /// The agent's name or id
    pub agent: String,
    /// So many of the last lines, 1 to 2000; 100 unless given
    pub tail: Option<u64>,
    /// Only lines in which this text is, of all its sessions, the newest first
    pub search: Option<String>,
    /// Whether `search` is a regular expression
    #[serde(default)]
    pub regex: bool,
}
