use std::process::ExitCode;

use agentd_api::ClientError;
use agentd_api::terminal::close;

use super::reconnect::may_pass;
use crate::failure::{Failure, Outcome, note};
use crate::service::Service;
use crate::verb::session_text::signal_word;

/// Why an attachment is over.
#[derive(Debug)]
pub(super) enum Ending {
    /// The detach keys were pressed.
    Detached,
    /// The program ended; neither when nobody knows how.
    Exited {
        code: Option<i32>,
        signal: Option<i32>,
    },
    /// The service closed the connection.
    Closed { code: u16, reason: String },
    /// The connection was lost, and did not come back.
    Lost(ClientError),
    /// Nobody reads standard output any more.
    OutputGone,
    /// A signal asked this process to end.
    Signalled(i32),
}

impl Ending {
    /// Reports how it ended; the exit code is the program's own.
    pub(super) fn report(self, service: Service, name: &str) -> Outcome {
        let (noun, what) = match service {
            Service::Wrap => ("wrap", "session"),
            Service::Orchestrator => ("orchestrator", "agent"),
        };
        let again = format!("`agent {noun} attach {name}` attaches again");
        match self {
            Ending::Detached => {
                note(&format!("detached from {what} `{name}`; {again}"));
                Ok(ExitCode::SUCCESS)
            }
            Ending::Exited {
                code: Some(code), ..
            } => {
                note(&format!("{what} `{name}` exited with code {code}"));
                Ok(exit_code(code))
            }
            Ending::Exited {
                signal: Some(signal),
                ..
            } => {
                let signal_name = signal_word(signal);
                note(&format!("{what} `{name}` was ended by {signal_name}"));
                Ok(exit_code(128 + signal))
            }
            Ending::Exited { .. } => Err(Failure::new(format!(
                "{what} `{name}` has ended, and how is not known"
            ))),
            Ending::Closed { code, reason } => {
                let failure = Failure::new(match code {
                    close::NOT_ALLOWED => format!("you may no longer see {what} `{name}`"),
                    close::DELETED => format!("{what} `{name}` was deleted"),
                    close::BACKEND_GONE => format!("the backend of {what} `{name}` is gone"),
                    _ if reason.is_empty() => {
                        format!("the service closed the connection (code {code})")
                    }
                    _ => format!("the service closed the connection: {reason} (code {code})"),
                });
                Err(match code {
                    close::DELETED => failure,
                    close::BACKEND_GONE => failure.hint(format!("when it is back, {again}")),
                    _ => failure.hint(again),
                })
            }
            Ending::Lost(error) if may_pass(&error) => Err(Failure::new(error.to_string())
                .hint(format!("when the service answers again, {again}"))),
            Ending::Lost(error) => Err(error.into()),
            Ending::OutputGone => Err(Failure::BrokenPipe),
            Ending::Signalled(signal) => Ok(exit_code(128 + signal)),
        }
    }
}

/// An exit code has one byte.
fn exit_code(code: i32) -> ExitCode {
    ExitCode::from(u8::try_from(code & 0xff).unwrap_or(1))
}
