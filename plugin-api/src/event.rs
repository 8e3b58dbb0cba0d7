use serde::{Deserialize, Serialize};

/// What a backend reports of a session. Crosses the library boundary as JSON, so that new kinds
/// and fields can be added; a receiver ignores what it does not know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// Not running yet; `progress` is for people, such as `pulling image: 43%`.
    Starting {
        /// One short phrase.
        progress: String,
    },
    /// The agent runs, also again after `Unknown`.
    Running {
        /// Its process id as this machine sees it, where there is one.
        pid: Option<u32>,
    },
    /// The backend cannot be reached; the agent may well be running.
    Unknown {
        /// What is out of reach.
        reason: String,
    },
    /// The health check's verdict changed. Needs the capability `health-check`.
    Health {
        /// The new verdict.
        health: Health,
    },
    /// The agent ended; the last event of a session, after its last output.
    Exited {
        /// How it ended.
        #[serde(flatten)]
        status: ExitStatus,
    },
    /// The agent is gone and nobody knows how it ended; the last event of a session.
    Lost {
        /// What became of it, as far as is known.
        reason: String,
    },
    /// What the agent's terminal shows now, where the daemon has no output of it. Since 1.2.
    Screen {
        /// All of it.
        #[serde(flatten)]
        screen: Screen,
    },
    /// An event of a newer API.
    #[serde(other)]
    Unrecognised,
}

/// How an agent ended: `code` after an ordinary end, `signal` after a signal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitStatus {
    /// The exit code, 0 to 255.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<i32>,
    /// The number of the signal that killed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<i32>,
    /// A stable word that says more, such as `oom-killed`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl ExitStatus {
    /// An ordinary end.
    pub fn code(code: i32) -> Self {
        ExitStatus {
            code: Some(code),
            ..ExitStatus::default()
        }
    }

    /// Death by a signal.
    pub fn signal(signal: i32) -> Self {
        ExitStatus {
            signal: Some(signal),
            ..ExitStatus::default()
        }
    }
}

/// What a terminal shows that only the backend has. Make it with `..Screen::default()`: more may be
/// added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Screen {
    /// The rows from the top, without trailing blanks.
    pub lines: Vec<String>,
    /// The column and the row of the cursor, from 0.
    pub cursor: Option<(u16, u16)>,
    /// The window's title, empty if the agent gave it none.
    pub title: String,
    /// The agent has rung the bell, and nobody has attended to it since.
    pub bell: bool,
}

/// The verdict of a health check.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// The check passes.
    Healthy,
    /// The check fails.
    Unhealthy,
    /// The check has not passed yet but still may.
    Starting,
    /// There is no check, or its result cannot be had.
    #[default]
    #[serde(other)]
    Unknown,
}

/// Which lines of a session's log are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogQuery {
    /// Only so many of the last lines.
    #[serde(default)]
    pub tail: Option<u64>,
    /// Only lines since then, in milliseconds since 1970. Without times per line: all.
    #[serde(default)]
    pub since_ms: Option<i64>,
    /// Go on with new lines as they come.
    #[serde(default)]
    pub follow: bool,
    /// With `follow`: for somebody who looks at the last lines and keeps none. Where a screen is at
    /// hand, the last `tail` lines on it may be sent as one, a line feed after each, and again when
    /// they have changed. Lines as without this are right as well.
    #[serde(default)]
    pub preview: bool,
}

/// One line of a session's log. With the capability `logs` both `ts` and `stream` are set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogLine {
    /// When it was written, RFC 3339.
    pub ts: Option<String>,
    /// Where it was written to.
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
