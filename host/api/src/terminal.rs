//! The text frames of the terminal WebSocket. Binary frames are output (from the server) or
//! keyboard input (from the client) and nothing else.

use serde::{Deserialize, Serialize};

/// The largest message that the server takes, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 1024 * 1024;

/// Why the server closed the socket.
pub mod close {
    /// Detached, or ended by the client.
    pub const NORMAL: u16 = 1000;
    /// The client sent what is not a WebSocket frame.
    pub const PROTOCOL: u16 = 1002;
    /// The client sent text that is not UTF-8.
    pub const NOT_TEXT: u16 = 1007;
    /// A message was too large.
    pub const TOO_LARGE: u16 = 1009;
    /// Something that should not have happened.
    pub const INTERNAL: u16 = 1011;
    /// The process exited.
    pub const EXITED: u16 = 4000;
    /// This client is no longer allowed to see the session.
    pub const NOT_ALLOWED: u16 = 4003;
    /// The session was deleted.
    pub const DELETED: u16 = 4004;
    /// The backend is gone.
    pub const BACKEND_GONE: u16 = 4010;
}

/// What a viewer may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Watch and type.
    #[default]
    Rw,
    /// Watch.
    Ro,
}

impl Mode {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Rw => "rw",
            Mode::Ro => "ro",
        }
    }
}

/// The query of the WebSocket's URL.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalQuery {
    /// `rw` unless given.
    #[serde(default)]
    pub mode: Mode,
    /// The position to go on from; together with `epoch`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<u64>,
    /// The `epoch` of the hello that `seq` belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<String>,
    /// 1: this client acknowledges what it has parsed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ack: Option<u8>,
    /// A single-use ticket, for browsers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// The session that is shown, where it is not the newest one: as in
    /// [`LogQuery`](crate::LogQuery).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
}

/// A text frame from the server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ServerFrame {
    /// The first frame.
    Hello {
        /// The session's name.
        session: String,
        /// What this viewer may do.
        mode: Mode,
        /// Columns now.
        cols: u16,
        /// Rows now.
        rows: u16,
        /// Changes when positions of an earlier connection mean nothing any more.
        epoch: String,
        /// The position of the first byte that follows.
        seq: u64,
    },
    /// The next binary frame restores the whole screen and does not count towards `seq`.
    Snapshot {
        /// The position that the snapshot stands for.
        seq: u64,
        /// The length of that binary frame.
        bytes: u64,
    },
    /// After the hello: output that was lost while there was no service.
    Lost {
        /// The position of its first byte.
        from: u64,
        /// The position after its last byte.
        to: u64,
    },
    /// The terminal's size changed at this point of the output.
    Resize {
        /// Columns from now on.
        cols: u16,
        /// Rows from now on.
        rows: u16,
    },
    /// The process ended; after the last output.
    Exit {
        /// 0 to 255, after an ordinary end.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        code: Option<i32>,
        /// The signal's number.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signal: Option<i32>,
    },
    /// A frame of the client was refused; the connection goes on.
    Error {
        /// A stable word.
        code: String,
        /// What happened.
        detail: String,
    },
    /// A frame of a newer server.
    #[serde(other)]
    Unrecognised,
}

/// A text frame from the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ClientFrame {
    /// The viewer's window has this size.
    Resize {
        /// Columns, 1 to 1000.
        cols: u32,
        /// Rows, 1 to 1000.
        rows: u32,
    },
    /// Everything before this position has been parsed. Only after `ack=1`.
    Ack {
        /// Absolute and cumulative.
        seq: u64,
    },
    /// A frame of a newer client.
    #[serde(other)]
    Unrecognised,
}
