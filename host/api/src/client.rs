//! A client for both services.

mod address;
mod agents;
mod builder;
mod cast;
mod console;
mod credentials;
mod error;
mod events;
mod lines;
mod log_lines;
mod own_socket;
mod poster;
mod sessions;
mod terminal;
mod tokens;

use std::sync::{Arc, OnceLock};

use reqwest::header::SERVER;
use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;

use address::Address;
pub use builder::Authorities;
use builder::Builder;
pub use cast::Cast;
pub use console::Console;
use credentials::Credentials;
pub use error::ClientError;
pub use events::Events;
pub use log_lines::LogLines;
use own_socket::OwnSocket;
pub use poster::Poster;
pub use terminal::{Position, Terminal, TerminalEvent, TerminalReader, TerminalWriter};

use crate::{BackendDescription, Info, LoadedBackend, LoginCode, Page, ServiceHealth};

/// One service, reached over HTTP/1.1, plain or by TLS, also by a Unix socket. Clones share their
/// connections.
#[derive(Clone, Debug)]
pub struct Client {
    /// Makes all requests, and sends those to a port.
    http: reqwest::Client,
    /// Where the others go.
    socket: Option<OwnSocket>,
    address: Address,
    credentials: Credentials,
    /// Of the service that has answered.
    version: Arc<OnceLock<String>>,
}

impl Client {
    /// A client for the service at `url`, which is `unix:` and a path for a socket. Nothing is sent
    /// yet, to a socket of another user nothing ever is, and the token is to no other: over TCP the
    /// service proves that it has it, also inside TLS.
    pub fn new(url: &str, token: Option<&str>) -> Result<Client, ClientError> {
        Client::trusting(url, token, &Authorities::System)
    }

    /// The same, which takes certificates of these authorities.
    pub fn trusting(
        url: &str,
        token: Option<&str>,
        authorities: &Authorities,
    ) -> Result<Client, ClientError> {
        Client::at(Address::parse(url)?, token, authorities)
    }

    /// The same for a service on this machine: who answers must listen at that very address, and not
    /// pass on what is sent there.
    pub fn of_this_machine(url: &str, token: Option<&str>) -> Result<Client, ClientError> {
        let address = Address {
            is_own: true,
            ..Address::parse(url)?
        };
        Client::at(address, token, &Authorities::System)
    }

    fn at(
        address: Address,
        token: Option<&str>,
        authorities: &Authorities,
    ) -> Result<Client, ClientError> {
        let builder = Builder::new(&address, authorities)?;
        let credentials = Credentials::new(token, &builder)?;
        let socket = address.socket.as_deref();
        let socket = socket.map(|path| OwnSocket::new(path, &builder));
        let http = builder
            .builder()
            .build()
            .map_err(|error| ClientError::request(&address, &error))?;
        Ok(Client {
            http,
            socket,
            address,
            credentials,
            version: Arc::default(),
        })
    }

    /// The service's address.
    pub fn url(&self) -> &str {
        &self.address.shown
    }

    /// The version of the service, once it has answered; an early one does not say it.
    pub fn service_version(&self) -> Option<&str> {
        self.version.get().map(String::as_str)
    }

    /// `GET /health?verbose=1`, also of a service that has another token.
    pub async fn health(&self) -> Result<ServiceHealth, ClientError> {
        let ask = || {
            let request = self.request(Method::GET, &["health"]);
            request.query(&[("verbose", "1")])
        };
        match self.json(ask()).await {
            Err(ClientError::Unproven { .. }) => self.anonymous().json(ask()).await,
            health => health,
        }
    }

    /// `GET /info`
    pub async fn info(&self) -> Result<Info, ClientError> {
        self.anonymous().get(&["info"]).await
    }

    /// The same without the token, for what is open to all.
    fn anonymous(&self) -> Client {
        Client {
            credentials: self.credentials.none(),
            ..self.clone()
        }
    }

    /// `GET /backends`
    pub async fn backends(&self) -> Result<Page<LoadedBackend>, ClientError> {
        self.get(&["backends"]).await
    }

    /// `GET /backend`
    pub async fn backend(&self) -> Result<BackendDescription, ClientError> {
        self.get(&["backend"]).await
    }

    /// `POST /login/codes`: a link that signs a browser in, once.
    pub async fn create_login_code(&self) -> Result<LoginCode, ClientError> {
        let request = self.request(Method::POST, &["login", "codes"]);
        self.json(request).await
    }

    async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, ClientError> {
        self.json(self.request(Method::GET, path)).await
    }

    async fn post<T: DeserializeOwned>(
        &self,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        self.json(self.request(Method::POST, path).json(body)).await
    }

    async fn delete(&self, path: &[&str]) -> Result<(), ClientError> {
        self.send(self.request(Method::DELETE, path)).await?;
        Ok(())
    }

    fn request(&self, method: Method, path: &[&str]) -> RequestBuilder {
        let mut url = self.address.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        self.http.request(method, url)
    }

    /// The answer, when its status is one of success.
    async fn send(&self, request: RequestBuilder) -> Result<Response, ClientError> {
        let request = request
            .build()
            .map_err(|error| ClientError::request(&self.address, &error))?;
        let http = match &self.socket {
            Some(socket) => &socket.http(&self.address)?,
            None => &self.http,
        };
        let sent = self.credentials.send(http, &self.address, request);
        let response = sent.await?;
        let server = response.headers().get(SERVER);
        let server = server.and_then(|server| server.to_str().ok());
        if let Some(version) = server.and_then(|server| server.strip_prefix("agentd/")) {
            self.version.get_or_init(|| version.to_owned());
        }
        if response.status().is_success() || response.status().is_informational() {
            Ok(response)
        } else {
            Err(ClientError::refusal(&self.address, response).await)
        }
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, ClientError> {
        let response = self.send(request).await?;
        let body = response
            .bytes()
            .await
            .map_err(|error| ClientError::lost(&self.address, &error))?;
        serde_json::from_slice(&body).map_err(|error| ClientError::protocol(&self.address, error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_appended_to_the_base_and_encoded() {
        let client = Client::new("http://localhost:17005/proxied/", None).unwrap();
        let request = client.request(Method::GET, &["sessions", "a/b?c"]);
        let url = request.build().unwrap().url().to_string();
        assert_eq!(url, "http://localhost:17005/proxied/sessions/a%2Fb%3Fc");
    }

    #[test]
    fn addresses_that_cannot_work_are_refused() {
        for url in [
            "localhost:17005",
            "https://",
            "ftp://x",
            "",
            "http://",
            "unix:",
            "unix:relative",
        ] {
            let refused = Client::new(url, None);
            assert!(matches!(refused, Err(ClientError::Address { .. })), "{url}");
        }
    }

    #[test]
    fn a_token_that_would_break_the_header_is_refused() {
        let refused = Client::new("http://localhost", Some("a\nb"));
        assert!(matches!(refused, Err(ClientError::Token)));
    }
}
