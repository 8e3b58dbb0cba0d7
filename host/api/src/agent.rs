use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::{Exit, NewSession, Session};

/// Labels of an agent: by key, its value.
pub type Labels = BTreeMap<String, String>;

/// The body of `POST /agents`.
pub type NewAgent = NewSession;

/// An agent: a name that outlives its sessions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agent {
    /// A UUID.
    pub id: String,
    /// Unique.
    pub name: String,
    /// What became of it.
    pub status: AgentStatus,
    /// How often it was restarted.
    pub restarts: u64,
    /// RFC 3339.
    pub created_at: String,
    /// What its users sort it by; none on an answer of an older service.
    #[serde(default)]
    pub labels: Labels,
    /// After which ends it is started again without anybody asking for it.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// How often in a row at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_restarts: Option<u32>,
    /// When it is started again: RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_restart_at: Option<String>,
    /// How its newest session that has ended did so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<Exit>,
    /// Why it is started again, or why it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart_reason: Option<String>,
    /// What became of the prompt that it was created with, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<PromptState>,
    /// The newest session, kept after its end, or null.
    pub session: Option<Session>,
    /// The sessions that have ended, oldest first; the last 20 of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<PastSession>,
}

/// What became of the prompt that an agent was created with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PromptState {
    /// It waits until the program reads keys, perhaps that of a later session.
    Pending,
    /// It was typed, or was about to be when the service ended. It is not typed again.
    Delivered,
    /// It could not be typed, at least not all of it. It is not typed again.
    Failed,
}

impl PromptState {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            PromptState::Pending => "pending",
            PromptState::Delivered => "delivered",
            PromptState::Failed => "failed",
        }
    }
}

/// A session that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PastSession {
    /// A UUID; of an agent's logs, what `session` names.
    #[serde(default)]
    pub id: String,
    /// RFC 3339.
    pub started_at: String,
    /// RFC 3339.
    pub ended_at: String,
    /// How it ended.
    pub exit: Option<Exit>,
}

/// The body of `PATCH /agents/{id}`: what is left out stays as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentPatch {
    /// Another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Labels to set, and with null those to remove; the others stay.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, Option<String>>,
    /// After which ends it is started again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<RestartPolicy>,
    /// How often in a row at most; null: without a bound.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "given"
    )]
    pub max_restarts: Option<Option<u32>>,
}

/// Null is a value, and not the same as nothing.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<u32>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// After which ends an agent is started again without anybody asking for it. What a person stops
/// stays stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// After none.
    #[default]
    Never,
    /// When it has failed or is lost.
    OnFailure,
    /// After each that nobody asked for, the end of the service among them.
    Always,
}

impl RestartPolicy {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            RestartPolicy::Never => "never",
            RestartPolicy::OnFailure => "on-failure",
            RestartPolicy::Always => "always",
        }
    }
}

/// What became of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentStatus {
    /// Not running yet.
    Pending,
    /// Running, as far as is known.
    Running,
    /// Ended with code 0, or because somebody asked for it.
    Stopped,
    /// Ended in any other way.
    Failed,
    /// Gone without an exit.
    Lost,
}

impl AgentStatus {
    /// All of them.
    pub const ALL: [AgentStatus; 5] = [
        AgentStatus::Pending,
        AgentStatus::Running,
        AgentStatus::Stopped,
        AgentStatus::Failed,
        AgentStatus::Lost,
    ];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            AgentStatus::Pending => "pending",
            AgentStatus::Running => "running",
            AgentStatus::Stopped => "stopped",
            AgentStatus::Failed => "failed",
            AgentStatus::Lost => "lost",
        }
    }
}
