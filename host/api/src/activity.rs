use serde::{Deserialize, Serialize};

/// What the program of a session is doing, by what its terminal says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Activity {
    /// Which of the four.
    pub state: ActivityState,
    /// The title that the program has given its window, without what spins in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Since when it is in this state: RFC 3339.
    pub since: String,
    /// What makes it so: a word or phrase of a rule, `bell`, or the text of a notification.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whether somebody is needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActivityState {
    /// It does something.
    Working,
    /// It needs a person: it asks something, or has called for one.
    Waiting,
    /// It does nothing, and asks for nothing.
    Idle,
    /// There is no terminal that could tell, or the session does not run.
    #[default]
    Unknown,
}

impl ActivityState {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            ActivityState::Working => "working",
            ActivityState::Waiting => "waiting",
            ActivityState::Idle => "idle",
            ActivityState::Unknown => "unknown",
        }
    }
}
