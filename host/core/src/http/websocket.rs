//! The upgrade of a request to a WebSocket (RFC 6455, section 4.2).
//!
//! `warp::ws` does not let the size of the read buffer be set, and every read fills all of that
//! buffer with zeros first: 128 KiB of them took a tenth of a key's way to its echo, and stayed in
//! memory for every viewer.

use std::sync::{Arc, Mutex, PoisonError};

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use warp::http::header::{
    AsHeaderName, CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION,
    UPGRADE,
};
use warp::http::{HeaderMap, HeaderValue, Request, StatusCode};
use warp::{Filter, Reply};

use super::Response;

/// So much is read from a socket at a time, in bytes: more than anybody types.
const READ_BUFFER: usize = 8 * 1024;

/// The service's end of a WebSocket.
pub type WebSocket = WebSocketStream<TokioIo<Upgraded>>;

/// A connection that can become a WebSocket, on its way from the server to a route.
#[derive(Clone)]
struct Connection(Arc<Mutex<Option<OnUpgrade>>>);

/// Keeps with the request what is needed to upgrade it. warp copies what it gives to a route, and
/// this cannot be copied as it is.
pub fn keep_connection<B>(request: &mut Request<B>) {
    let extensions = request.extensions_mut();
    if let Some(upgrade) = extensions.remove::<OnUpgrade>() {
        extensions.insert(Connection(Arc::new(Mutex::new(Some(upgrade)))));
    }
}

/// A request to become a WebSocket.
pub struct Handshake {
    accept: String,
    connection: OnUpgrade,
}

/// None for a request that is not one.
pub fn handshake()
-> impl Filter<Extract = (Option<Handshake>,), Error = std::convert::Infallible> + Clone {
    warp::header::headers_cloned()
        .and(warp::ext::optional::<Connection>())
        .map(|headers: HeaderMap, connection| Handshake::of(&headers, connection))
}

impl Handshake {
    fn of(headers: &HeaderMap, connection: Option<Connection>) -> Option<Self> {
        let upgrades = has_token(headers, CONNECTION, "upgrade")
            && has_token(headers, UPGRADE, "websocket")
            && has_token(headers, SEC_WEBSOCKET_VERSION, "13");
        if !upgrades {
            return None;
        }
        let key = headers.get(SEC_WEBSOCKET_KEY)?;
        let mut connection = connection
            .as_ref()?
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Some(Handshake {
            accept: derive_accept_key(key.as_bytes()),
            connection: connection.take()?,
        })
    }

    /// Agrees, and has `serve` use the socket. It is not called when the client is gone by then.
    pub fn agree<F>(
        self,
        config: WebSocketConfig,
        serve: impl FnOnce(WebSocket) -> F + Send + 'static,
    ) -> Response
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let Handshake { accept, connection } = self;
        let config = config.read_buffer_size(READ_BUFFER);
        tokio::spawn(async move {
            match connection.await {
                Ok(upgraded) => {
                    let upgraded = TokioIo::new(upgraded);
                    let config = Some(config);
                    serve(WebSocket::from_raw_socket(upgraded, Role::Server, config).await).await;
                }
                Err(error) => tracing::debug!(%error, "a connection ended during its upgrade"),
            }
        });
        let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
        let headers = response.headers_mut();
        headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
        if let Ok(accept) = HeaderValue::try_from(accept) {
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
        }
        response
    }
}

/// Whether a header that is a list, or several of them, has the word `token` in any case.
fn has_token(headers: &HeaderMap, name: impl AsHeaderName, token: &str) -> bool {
    let mut values = headers.get_all(name).iter();
    values.any(|value| {
        let mut words = value.to_str().unwrap_or_default().split(',');
        words.any(|word| word.trim().eq_ignore_ascii_case(token))
    })
}
