use serde::{Deserialize, Serialize};

/// The query of `GET …/logs`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogQuery {
    /// Only so many of the last lines.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tail: Option<u64>,
    /// Only lines since then, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Go on with new lines until the session ends.
    #[serde(default)]
    pub follow: bool,
    /// Of an agent, not of its newest session: the id of an earlier one, or `previous`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

/// One line of the answer, which is NDJSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// RFC 3339; null without the capability `logs`.
    pub ts: Option<String>,
    /// Null without the capability `logs`.
    pub stream: Option<LogStream>,
    /// The text without its line end.
    pub line: String,
}

/// A standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogStream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}
