use std::time::Duration;

use agentd_plugin_api::{Error as BackendError, ErrorKind as BackendErrorKind};

use crate::start_call::StartCallError;
use crate::text;

/// The code of a call that the backend has not finished in time.
const BACKEND_OVERDUE: &str = "backend-overdue";

/// The backend does not have what it was asked about.
const BACKEND_GONE: &str = "gone";

/// What the domain's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a request failed. Knows no transport; `http::problem` maps the kind to a status.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// Decides the HTTP status.
    pub kind: ErrorKind,
    /// A stable word for programs.
    pub code: &'static str,
    /// What happened: lower-case, without a final dot.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// When it may be tried again, where that is known.
    pub retry_after: Option<Duration>,
}

/// The kinds of failure that clients distinguish by status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is malformed.
    Invalid,
    /// No or wrong credentials.
    Unauthorized,
    /// This address or page may not send requests at all.
    Forbidden,
    /// There is no such thing.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// The request did not come as a whole in time.
    Timeout,
    /// It contradicts what is there, or what the backend can do.
    Conflict,
    /// The body is too large.
    TooLarge,
    /// Somebody asks for more than they may in a while.
    TooMany,
    /// The backend refuses this request as it stands.
    Refused,
    /// The backend, or this service, cannot do it now.
    Unavailable,
    /// Something that should not have happened.
    Internal,
}

impl Error {
    /// An error of the given kind.
    pub fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Error {
            kind,
            code,
            message: message.into(),
            hint: None,
            retry_after: None,
        }
    }

    /// The request is malformed.
    pub fn invalid(code: &'static str, message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Invalid, code, message)
    }

    /// There is no `what` of this name or id.
    pub fn not_found(what: &str, name: &str) -> Self {
        Error::new(
            ErrorKind::NotFound,
            "not-found",
            format!("there is no {what} `{name}`"),
        )
    }

    /// The request contradicts what is there.
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Conflict, code, message)
    }

    /// It cannot be done now.
    pub fn unavailable(code: &'static str, message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Unavailable, code, message)
    }

    /// Nothing is started any more.
    pub(crate) fn shutting_down() -> Self {
        Error::unavailable("shutting-down", "the service is shutting down")
    }

    /// Whether the backend has not answered in time.
    pub fn is_overdue(&self) -> bool {
        self.code == BACKEND_OVERDUE
    }

    /// Whether the backend does not have what it was asked about.
    pub fn is_gone(&self) -> bool {
        self.code == BACKEND_GONE
    }

    /// Something that should not have happened.
    pub fn internal(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Internal, "internal", message)
    }

    /// Adds when to try again.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<StartCallError> for Error {
    fn from(error: StartCallError) -> Self {
        let hint = error.hint();
        Error::unavailable(BACKEND_OVERDUE, error.to_string()).hint(hint)
    }
}

impl From<BackendError> for Error {
    fn from(error: BackendError) -> Self {
        let (kind, code) = match error.kind {
            BackendErrorKind::Refused | BackendErrorKind::Invalid => {
                (ErrorKind::Refused, "refused")
            }
            BackendErrorKind::Conflict => (ErrorKind::Conflict, "conflict"),
            BackendErrorKind::Gone => (ErrorKind::NotFound, BACKEND_GONE),
            BackendErrorKind::Unsupported => (ErrorKind::Conflict, "unsupported"),
            BackendErrorKind::Unavailable => (ErrorKind::Unavailable, "backend-unavailable"),
            BackendErrorKind::Panicked => (ErrorKind::Internal, "backend-panicked"),
            _ => (ErrorKind::Internal, "backend-failed"),
        };
        Error {
            kind,
            code,
            message: text::line(&error.message),
            hint: error.hint.map(|hint| text::line(&hint)),
            retry_after: None,
        }
    }
}
