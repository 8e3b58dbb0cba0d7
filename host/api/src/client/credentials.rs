use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, Request, Response, StatusCode};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

use super::builder::Builder;
use super::{ClientError, address::Address};
use crate::{Proof, ScopedToken};

/// The token, which is sent to nobody over TCP: the service first proves that it has it, and then
/// gets what is derived from it for this one service.
#[derive(Clone)]
pub(super) struct Credentials {
    token: Option<Arc<str>>,
    /// Makes a client that goes to one address only.
    builder: Builder,
    proven: Arc<Mutex<Option<Proven>>>,
}

/// A service that has proven to have the token.
#[derive(Clone)]
struct Proven {
    http: reqwest::Client,
    authorization: HeaderValue,
}

impl Credentials {
    pub(super) fn new(token: Option<&str>, builder: &Builder) -> Result<Credentials, ClientError> {
        if let Some(token) = token {
            secret_header(&format!("Bearer {token}"))?;
        }
        Ok(Credentials {
            token: token.map(Arc::from),
            builder: builder.clone(),
            proven: Arc::default(),
        })
    }

    /// Of somebody who has no token.
    pub(super) fn none(&self) -> Credentials {
        Credentials {
            token: None,
            builder: self.builder.clone(),
            proven: Arc::default(),
        }
    }

    /// Sends the request with what the service wants to see.
    pub(super) async fn send(
        &self,
        http: &reqwest::Client,
        at: &Address,
        mut request: Request,
    ) -> Result<Response, ClientError> {
        let failed = |error: reqwest::Error| ClientError::request(at, &error);
        let Some(token) = &self.token else {
            return http.execute(request).await.map_err(failed);
        };
        if at.socket.is_some() {
            // Its owner was looked at (`own_socket.rs`).
            let bearer = secret_header(&format!("Bearer {token}"))?;
            request.headers_mut().insert(AUTHORIZATION, bearer);
            return http.execute(request).await.map_err(failed);
        }
        let known = self.lock().clone();
        let is_known = known.is_some();
        let proven = match known {
            Some(proven) => proven,
            None => self.prove(http, at, token).await?,
        };
        let again = request.try_clone();
        let response = proven.execute(request).await.map_err(failed)?;
        match again {
            // The service has been started again, and so proves itself again.
            Some(request) if is_known && response.status() == StatusCode::UNAUTHORIZED => {
                let proven = self.prove(http, at, token).await?;
                proven.execute(request).await.map_err(failed)
            }
            _ => Ok(response),
        }
    }

    async fn prove(
        &self,
        http: &reqwest::Client,
        at: &Address,
        token: &str,
    ) -> Result<Proven, ClientError> {
        let failed = |error: reqwest::Error| ClientError::request(at, &error);
        let nonce = generate_key();
        let mut url = at.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("proof");
        }
        let scoped = ScopedToken::parse(token);
        let mut question = http.request(Method::GET, url).query(&[("nonce", &nonce)]);
        if let Some(scoped) = &scoped {
            question = question.query(&[("token", scoped.id())]);
        }
        let answer = question.send().await.map_err(failed)?;
        let remote = answer.remote_addr();
        if !answer.status().is_success() {
            return Err(ClientError::refusal(at, answer).await);
        }
        let body = answer
            .bytes()
            .await
            .map_err(|error| ClientError::lost(at, &error))?;
        let proof: Proof =
            serde_json::from_slice(&body).map_err(|error| ClientError::protocol(at, error))?;
        let is_there = |remote: SocketAddr| remote.to_string() == proof.address;
        let (is_proven, credential) = match &scoped {
            Some(scoped) => (
                proof.is_with(&scoped.key(), &nonce),
                scoped.credential(&proof, &nonce),
            ),
            None => (
                proof.is_with(token, &nonce),
                proof.credential(token, &nonce),
            ),
        };
        if !is_proven || (at.is_own && !remote.is_some_and(is_there)) {
            let url = at.shown.clone();
            return Err(ClientError::Unproven { url });
        }
        let mut builder = self.builder.builder();
        // All that follows goes to the one that has proven itself, whatever the name stands for.
        if let (Some(host), Some(remote)) = (at.base.host_str(), remote) {
            builder = builder.resolve(host, remote);
        }
        let proven = Proven {
            http: builder.build().map_err(failed)?,
            authorization: secret_header(&format!("Agentd {credential}"))?,
        };
        *self.lock() = Some(proven.clone());
        Ok(proven)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Proven>> {
        self.proven.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Proven {
    async fn execute(&self, mut request: Request) -> reqwest::Result<Response> {
        let headers = request.headers_mut();
        headers.insert(AUTHORIZATION, self.authorization.clone());
        self.http.execute(request).await
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}

fn secret_header(text: &str) -> Result<HeaderValue, ClientError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| ClientError::Token)?;
    value.set_sensitive(true);
    Ok(value)
}
