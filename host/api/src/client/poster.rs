use reqwest::Url;
use reqwest::header::CONTENT_TYPE;

use super::builder::Builder;
use super::{Authorities, ClientError};
use crate::client::address::Address;

/// Sends JSON to an address that is not a service of agentd: no token goes there, and nothing follows a
/// redirect.
#[derive(Clone, Debug)]
pub struct Poster {
    http: reqwest::Client,
    address: Address,
}

impl Poster {
    /// For this address, `http://` or `https://`. It is in no error that [`post`](Poster::post) gives:
    /// there may be a secret in it.
    pub fn new(url: &str, authorities: &Authorities) -> Result<Poster, ClientError> {
        let refuse = |reason: String| ClientError::Address {
            url: "…".to_owned(),
            reason,
        };
        let base = Url::parse(url).map_err(|error| refuse(error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || !base.has_host() {
            return Err(refuse(
                "it must begin with `https://` or `http://` and a host".to_owned(),
            ));
        }
        let shown = base.origin().ascii_serialization();
        let address = Address {
            base,
            shown,
            socket: None,
            is_own: false,
        };
        let http = Builder::new(&address, authorities)?
            .builder()
            .build()
            .map_err(|error| ClientError::request(&address, &error))?;
        Ok(Poster { http, address })
    }

    /// The address without its path.
    pub fn origin(&self) -> &str {
        &self.address.shown
    }

    /// Sends it once; the status of the answer, whose body is not read.
    pub async fn post(&self, headers: &[(&str, &str)], body: String) -> Result<u16, ClientError> {
        let mut request = self.http.post(self.address.base.clone());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.header(CONTENT_TYPE, "application/json").body(body);
        let answer = request.send().await;
        let answer =
            answer.map_err(|error| ClientError::request(&self.address, &error.without_url()))?;
        Ok(answer.status().as_u16())
    }
}
