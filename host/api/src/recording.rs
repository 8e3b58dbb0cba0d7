use serde::{Deserialize, Serialize};

/// How the recording of a session is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recording {
    /// Whether it goes on.
    pub state: RecordingState,
    /// Why it ended before its session did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Whether a recording goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordingState {
    /// It goes on.
    Recording,
    /// Nothing is added to it any more.
    Ended,
}

/// The query of `GET …/recording`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordingQuery {
    /// An earlier session of an agent: its id, or `previous` for the one before the newest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}
