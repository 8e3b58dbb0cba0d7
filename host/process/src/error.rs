use std::io;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// What a backend's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed: what happened, lower-case and without a final dot, and where it helps what
/// to do about it. The host maps the kind to a status and an exit code.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Decides the HTTP status and the exit code.
    pub kind: ErrorKind,
    /// What happened.
    pub message: String,
    /// What the user can do, shown on a line of its own.
    pub hint: Option<String>,
}

/// The kinds that the host distinguishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting of the daemon is wrong. Exit code 78.
    Invalid,
    /// This request cannot be carried out as it stands. HTTP 422.
    Refused,
    /// Such a thing exists already. HTTP 409.
    Conflict,
    /// The session is gone. HTTP 404.
    Gone,
    /// The backend cannot do this at all. HTTP 409.
    Unsupported,
    /// What the backend needs cannot be reached. HTTP 503, at start exit code 69.
    Unavailable,
    /// The backend panicked; the message is the panic's. HTTP 500.
    Panicked,
    /// Anything else, also kinds of a newer API. HTTP 500.
    #[serde(other)]
    Internal,
}

impl Error {
    /// An error of the given kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error {
            kind,
            message: message.into(),
            hint: None,
        }
    }

    /// A setting of the daemon is wrong.
    pub fn invalid(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Invalid, message)
    }

    /// The request cannot be carried out as it stands.
    pub fn refused(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Refused, message)
    }

    /// What the backend needs cannot be reached.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Unavailable, message)
    }

    /// Something that should not have happened.
    pub fn internal(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Internal, message)
    }

    /// The session is gone.
    pub fn gone(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Gone, message)
    }

    /// The backend has no such function; `what` completes "the backend does not support …".
    pub fn unsupported(what: &str) -> Self {
        Error::new(
            ErrorKind::Unsupported,
            format!("the backend does not support {what}"),
        )
    }

    /// Adds what the user can do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// A shortage is [`ErrorKind::Unavailable`], everything else [`ErrorKind::Internal`].
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match is_shortage(&error) {
            true => Error::unavailable(error.to_string()).hint(SHORTAGE_HINT),
            false => Error::internal(error.to_string()),
        }
    }
}

/// What to do where [`is_shortage`].
pub const SHORTAGE_HINT: &str =
    "end other sessions, or raise the limits of the daemon (`ulimit -n`, `ulimit -u`)";

/// Whether the machine or the user has no more of something (descriptors, processes, memory), so
/// that a later try may succeed.
pub fn is_shortage(error: &io::Error) -> bool {
    let shortages = [
        Errno::MFILE,
        Errno::NFILE,
        Errno::AGAIN,
        Errno::NOMEM,
        Errno::NOSPC,
    ];
    Errno::from_io_error(error).is_some_and(|error| shortages.contains(&error))
}
