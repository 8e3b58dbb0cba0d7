use serde::{Deserialize, Serialize};

use crate::terminal::Mode;

/// Who asked for what, and what came of it: an item of `GET /audit`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Greater by one each time.
    pub id: u64,
    /// When it was answered (RFC 3339).
    pub at: String,
    /// The name of the token and its id in parentheses, or what else let them in. None of somebody who was not let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub who: Option<String>,
    /// From where: an address, or `user` and a number on a Unix socket.
    pub peer: String,
    /// The method and the path, such as `POST /agents/{id}/stop`.
    pub request: String,
    /// The id of the agent that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Of a terminal: whether they could type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// The status of the answer. None if they had left before there was one; what they asked for may
    /// have been done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The id of the token or link that was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub made: Option<String>,
}

/// The query of `GET /audit`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditQuery {
    /// Only about the agent with this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// 1 to 200 on a page; 50 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// The `next_cursor` of the page before this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}
