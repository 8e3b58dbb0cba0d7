use std::path::{Path, PathBuf};

use reqwest::Url;

use super::ClientError;

/// Where a service is: `http://` or `https://` and a host, or `unix:` and the path of a socket.
#[derive(Clone, Debug)]
pub(super) struct Address {
    /// What paths are appended to.
    pub(super) base: Url,
    /// As it is named to people.
    pub(super) shown: String,
    pub(super) socket: Option<PathBuf>,
    /// Whoever answers must have this very address.
    pub(super) is_own: bool,
}

impl Address {
    pub(super) fn parse(url: &str) -> Result<Address, ClientError> {
        let refuse = |reason: &str| ClientError::Address {
            url: url.to_owned(),
            reason: reason.to_owned(),
        };
        let socket = url.strip_prefix("unix:").map(Path::new);
        if socket.is_some_and(|path| !path.is_absolute()) {
            return Err(refuse("the path of a socket is absolute"));
        }
        let http = socket.map_or(url, |_| "http://localhost");
        let base = Url::parse(http).map_err(|error| refuse(&error.to_string()))?;
        let shown = match socket {
            Some(_) => url.to_owned(),
            None => base.as_str().trim_end_matches('/').to_owned(),
        };
        match base.scheme() {
            "http" | "https" if base.has_host() => Ok(Address {
                base,
                shown,
                socket: socket.map(Path::to_owned),
                is_own: false,
            }),
            _ => Err(refuse("it must look like `http://localhost:17006`")),
        }
    }
}
