use std::io;
use std::process::ExitCode;

use agentd_api::ClientError;

use crate::visible::visible_lines;

/// How a verb ends: an exit code of its own, or a failure (exit code 1).
pub(crate) type Outcome = Result<ExitCode, Failure>;

/// What is reported to the user when something did not work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What happened, and what to do.
    Said {
        message: String,
        hint: Option<String>,
    },
    /// A failure that its own verb has reported already.
    Reported,
    /// The reader of our output has gone: nobody would see a report.
    BrokenPipe,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Failure {
        Failure::Said {
            message: message.into(),
            hint: None,
        }
    }

    pub(crate) fn hint(self, text: impl Into<String>) -> Failure {
        match self {
            Failure::Said { message, .. } => Failure::Said {
                message,
                hint: Some(text.into()),
            },
            other => other,
        }
    }

    /// What happened, and what to do, for a program that shows it to somebody.
    pub(crate) fn text(&self) -> String {
        match self {
            Failure::Said { message, hint } => {
                let hint = hint.as_ref().map(|hint| format!("\nhint: {hint}"));
                visible_lines(&format!("{message}{}", hint.unwrap_or_default()))
            }
            Failure::Reported | Failure::BrokenPipe => "it did not work".to_owned(),
        }
    }

    /// Prints it on stderr, and gives the exit code that goes with it.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Failure::Said { message, hint } => {
                note(&visible_lines(&format!("error: {message}")));
                if let Some(hint) = hint {
                    note(&visible_lines(&format!("\nhint: {hint}")));
                }
                ExitCode::FAILURE
            }
            Failure::Reported => ExitCode::FAILURE,
            Failure::BrokenPipe => ExitCode::SUCCESS,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Failure::BrokenPipe
        } else {
            Failure::new(error.to_string())
        }
    }
}

impl From<rustix::io::Errno> for Failure {
    fn from(errno: rustix::io::Errno) -> Failure {
        io::Error::from(errno).into()
    }
}

impl From<serde_json::Error> for Failure {
    fn from(error: serde_json::Error) -> Failure {
        io::Error::from(error).into()
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Failure {
        Failure::Said {
            message: error.to_string(),
            hint: error.hint(),
        }
    }
}

/// A line on stderr: for people, never for programs.
#[expect(clippy::print_stderr, reason = "the one place that does")]
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}
