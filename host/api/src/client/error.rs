use std::error::Error;
use std::fmt::Display;
use std::io;

use reqwest::Response;

use super::address::Address;

use crate::Problem;

/// Why a request did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The service's address is not a URL.
    #[error("`{url}` is not a usable address: {reason}")]
    Address {
        /// As it was given.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The token does not fit into a header.
    #[error("the token cannot be sent: it has characters other than visible ASCII")]
    Token,
    /// Who answers does not show that it has the token.
    #[error(
        "what answers at `{url}` does not prove that it is the service, and was sent nothing else"
    )]
    Unproven {
        /// The service's address.
        url: String,
    },
    /// Another user, who is not root, listens at the socket.
    #[error("user {user} listens at `{url}`, and nothing was sent there")]
    Stranger {
        /// The socket's address.
        url: String,
        /// Who that is.
        user: u32,
    },
    /// The authorities whose certificates are to be taken cannot be used.
    #[error("the certificates of authorities cannot be used: {reason}")]
    Authorities {
        /// What the library says.
        reason: String,
    },
    /// Who answers has no certificate that is taken.
    #[error("what answers at `{url}` shows no certificate that is known: {reason}")]
    Untrusted {
        /// The service's address.
        url: String,
        /// What is wrong with the one that it shows.
        reason: String,
    },
    /// Nobody answers at the service's address.
    #[error("cannot reach `{url}`: {reason}")]
    Unreachable {
        /// The service's address.
        url: String,
        /// What the operating system says.
        reason: String,
    },
    /// The service answered and refused.
    #[error("{}", .0.detail)]
    Problem(Box<Problem>),
    /// The answer is not one of agentd.
    #[error("`{url}` does not answer as an agentd service would: {reason}")]
    Protocol {
        /// The service's address.
        url: String,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The connection broke in the middle of an answer.
    #[error("lost the connection to `{url}`: {reason}")]
    Lost {
        /// The service's address.
        url: String,
        /// What the operating system says.
        reason: String,
    },
}

impl ClientError {
    /// What to do about it, where there is something to say.
    pub fn hint(&self) -> Option<String> {
        match self {
            ClientError::Address { .. } | ClientError::Lost { .. } => None,
            ClientError::Authorities { .. } => {
                Some("name a file with them in PEM with `--ca` or `AGENTD_CA`".to_owned())
            }
            ClientError::Untrusted { .. } => Some(
                "name the file of its authority with `--ca` or `AGENTD_CA`, and the service by a \
                 name that is in its certificate"
                    .to_owned(),
            ),
            ClientError::Token => Some("take it from the file `token` as it is".to_owned()),
            ClientError::Unreachable { .. } => {
                Some("is the service running, and at this address?".to_owned())
            }
            ClientError::Unproven { .. } => {
                Some("has it another token, or does another program listen there?".to_owned())
            }
            ClientError::Stranger { .. } => {
                Some("look whose socket that is, or name another address".to_owned())
            }
            ClientError::Problem(problem) => problem.hint.clone().or_else(|| in_log(problem)),
            ClientError::Protocol { .. } => {
                Some("is it another program that listens at this address?".to_owned())
            }
        }
    }

    /// The stable word of a refusal.
    pub fn code(&self) -> Option<&str> {
        match self {
            ClientError::Problem(problem) => Some(&problem.code),
            _ => None,
        }
    }

    /// The HTTP status of a refusal.
    pub fn status(&self) -> Option<u16> {
        match self {
            ClientError::Problem(problem) => Some(problem.status),
            _ => None,
        }
    }

    /// A request that got no answer.
    pub(super) fn request(at: &Address, error: &reqwest::Error) -> ClientError {
        let (url, reason) = (at.shown.clone(), innermost(error));
        if let Some(reason) = wrong_certificate(error) {
            return ClientError::Untrusted { url, reason };
        }
        if error.is_connect() || error.is_timeout() {
            ClientError::Unreachable { url, reason }
        } else {
            ClientError::Lost { url, reason }
        }
    }

    pub(super) fn lost(at: &Address, error: &(dyn Error + 'static)) -> ClientError {
        ClientError::Lost {
            url: at.shown.clone(),
            reason: innermost(error),
        }
    }

    pub(super) fn protocol(at: &Address, reason: impl Display) -> ClientError {
        ClientError::Protocol {
            url: at.shown.clone(),
            reason: reason.to_string(),
        }
    }

    /// An answer whose status is not one of success.
    pub(super) async fn refusal(at: &Address, response: Response) -> ClientError {
        let status = response.status();
        let explained = response.json::<Problem>().await;
        explained
            .map(|problem| ClientError::Problem(Box::new(problem)))
            .unwrap_or_else(|_| {
                ClientError::protocol(at, format!("{status} without an explanation"))
            })
    }
}

/// What TLS says against a service's certificate.
fn wrong_certificate(error: &(dyn Error + 'static)) -> Option<String> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(rustls::Error::InvalidCertificate(reason)) = error.downcast_ref() {
            return Some(reason.to_string());
        }
        // What an error of the operating system's kind has inside is not its source.
        let inside = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        cause = inside.map(|inside| inside as _).or_else(|| error.source());
    }
    None
}

/// The first cause: what is around it only says that a request failed.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// Where to read more of what is the service's own fault.
fn in_log(problem: &Problem) -> Option<String> {
    let request = problem
        .request_id
        .as_ref()
        .filter(|_| problem.status == 500)?;
    Some(format!("look for `{request}` in the service's log"))
}
