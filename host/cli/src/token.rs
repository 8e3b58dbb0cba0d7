use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use crate::failure::Failure;
use crate::state_dir::state_dir;

/// The token that is sent, and where it comes from.
#[derive(Debug)]
pub(crate) enum Token {
    /// `--token` or `AGENTD_TOKEN`.
    Given(String),
    /// The file in the state directory.
    File { path: PathBuf, token: String },
    /// That file is not there (None: not even a place for it).
    Missing(Option<PathBuf>),
}

impl Token {
    /// The token that was `given`, else the one in the state directory.
    pub(crate) fn find(given: Option<&str>) -> Result<Token, Failure> {
        if let Some(token) = given {
            return Ok(Token::Given(token.to_owned()));
        }
        let Some(path) = state_dir().map(|dir| dir.join("token")) else {
            return Ok(Token::Missing(None));
        };
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Token::File {
                token: text.trim().to_owned(),
                path,
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Token::Missing(Some(path))),
            Err(error) => Err(Failure::new(format!(
                "cannot read the token in `{}`: {error}",
                path.display()
            ))
            .hint("run as the user the service runs as, or give the token with `--token`")),
        }
    }

    pub(crate) fn value(&self) -> Option<&str> {
        match self {
            Token::Given(token) | Token::File { token, .. } => Some(token),
            Token::Missing(_) => None,
        }
    }

    /// What to do when the service does not take it.
    pub(crate) fn hint(&self) -> String {
        match self {
            Token::Given(_) => "`--token` or `AGENTD_TOKEN` is not this service's token".to_owned(),
            Token::File { path, .. } => format!(
                "the token in `{}` is not this service's: set `AGENTD_STATE_DIR` to its state \
                 directory, or give its token with `--token`",
                path.display()
            ),
            Token::Missing(Some(path)) => format!(
                "there is no token in `{}`: set `AGENTD_STATE_DIR` to the service's state \
                 directory, or give its token with `--token`",
                path.display()
            ),
            Token::Missing(None) => "give the service's token with `--token`".to_owned(),
        }
    }
}
