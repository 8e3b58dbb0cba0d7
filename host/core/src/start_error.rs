use agentd_plugin_api::ErrorKind as BackendErrorKind;

use crate::loader::LoadError;
use crate::start_call::StartCallError;
use crate::text;
use crate::{Error, ErrorKind};

/// Why a service did not start, as its user reads it.
#[derive(Debug)]
pub struct StartError {
    /// What happened.
    pub message: String,
    /// What to do, a line each.
    pub hints: Vec<String>,
    /// The exit code of the service.
    pub exit_code: ExitCode,
    /// Whether a call into a library has not returned in time, and may never.
    pub is_overdue: bool,
}

/// The exit codes of the services besides 0 (sysexits.h), so that a service manager can distinguish "never
/// restart" from "try again".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Anything else.
    Failure = 1,
    /// What the backend needs is not there.
    Unavailable = 69,
    /// Wrong configuration.
    Config = 78,
}

impl StartError {
    /// A failure that may pass.
    pub fn failure(message: impl Into<String>) -> Self {
        StartError {
            message: message.into(),
            hints: Vec::new(),
            exit_code: ExitCode::Failure,
            is_overdue: false,
        }
    }

    /// A setting is wrong.
    pub fn config(message: impl Into<String>) -> Self {
        StartError {
            exit_code: ExitCode::Config,
            ..StartError::failure(message)
        }
    }

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl From<LoadError> for StartError {
    fn from(error: LoadError) -> Self {
        StartError {
            message: error.to_string(),
            hints: error.hints(),
            exit_code: ExitCode::Config,
            is_overdue: false,
        }
    }
}

impl From<agentd_plugin_api::Error> for StartError {
    fn from(error: agentd_plugin_api::Error) -> Self {
        let exit_code = match error.kind {
            BackendErrorKind::Unavailable => ExitCode::Unavailable,
            BackendErrorKind::Invalid | BackendErrorKind::Refused => ExitCode::Config,
            _ => ExitCode::Failure,
        };
        StartError {
            message: text::line(&error.message),
            hints: error.hint.iter().map(|hint| text::line(hint)).collect(),
            exit_code,
            is_overdue: false,
        }
    }
}

impl From<StartCallError> for StartError {
    fn from(error: StartCallError) -> Self {
        let exit_code = match error {
            StartCallError::Overdue { .. } => ExitCode::Unavailable,
            StartCallError::Failed { .. } => ExitCode::Failure,
        };
        StartError {
            message: error.to_string(),
            hints: vec![error.hint().to_owned()],
            exit_code,
            is_overdue: matches!(error, StartCallError::Overdue { .. }),
        }
    }
}

impl From<Error> for StartError {
    fn from(error: Error) -> Self {
        StartError {
            is_overdue: error.is_overdue(),
            message: error.message,
            hints: error.hint.into_iter().collect(),
            exit_code: match error.kind {
                ErrorKind::Unavailable => ExitCode::Unavailable,
                _ => ExitCode::Failure,
            },
        }
    }
}
