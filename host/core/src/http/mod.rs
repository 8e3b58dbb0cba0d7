//! What both services answer in the same way, and how errors become answers. One function a route;
//! its first doc line is the request line.

mod collection;
mod connections;
mod logs;
pub mod problem;
mod routes;
mod terminal;
mod websocket;

use std::sync::Arc;

use warp::filters::BoxedFilter;
use warp::http::header::{CACHE_CONTROL, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use warp::http::{HeaderMap, StatusCode};
use warp::{Filter, Rejection, Reply};

use crate::collection::Collection;
use crate::daemon::Daemon;
use crate::{Error, IdempotencyKey, Result};

pub(crate) use connections::serve_connections;

/// An answer.
pub type Response = warp::reply::Response;

/// The largest body of a request, in bytes.
const MAX_BODY: u64 = 1024 * 1024;

/// Gives a handler a value that all requests share.
pub fn with<T: Send + Sync + 'static>(
    value: &Arc<T>,
) -> impl Filter<Extract = (Arc<T>,), Error = std::convert::Infallible> + Clone + use<T> {
    let value = value.clone();
    warp::any().map(move || value.clone())
}

/// A JSON body of limited size.
pub fn body<T: serde::de::DeserializeOwned + Send>()
-> impl Filter<Extract = (T,), Error = Rejection> + Copy {
    warp::body::content_length_limit(MAX_BODY).and(warp::body::json())
}

/// The header by which a repetition of the request is known.
pub fn idempotency_key()
-> impl Filter<Extract = (Result<Option<IdempotencyKey>>,), Error = Rejection> + Copy {
    warp::header::optional("idempotency-key")
        .map(|key: Option<String>| key.as_deref().map(IdempotencyKey::parse).transpose())
}

/// The only way into a service: all routes behind the doors, and every error as a problem.
///
/// `closed` needs credentials, as the collection does; `open` needs none.
pub fn service<C: Collection>(
    daemon: &Arc<Daemon>,
    collection: &Arc<C>,
    open: BoxedFilter<(Response,)>,
    closed: BoxedFilter<(Response,)>,
) -> BoxedFilter<(Response,)> {
    let closed = routes::closed(daemon)
        .or(collection::routes(daemon, collection))
        .unify()
        .or(closed)
        .unify();
    let all = routes::open(daemon, collection)
        // Takes a ticket too, so it checks the credentials itself.
        .or(terminal::route(daemon, collection))
        .unify()
        .or(credentials(daemon).and(closed))
        .unify()
        .or(open)
        .unify();
    address(daemon)
        .and(all)
        .recover(problem::recover)
        .unify()
        .map(guarded)
        .boxed()
}

/// Nothing is kept by a browser or a proxy unless its route says so, and nothing is taken for
/// something else than it says to be.
fn guarded(mut reply: Response) -> Response {
    let headers = reply.headers_mut();
    headers
        .entry(CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}

/// No routes.
pub fn nothing() -> BoxedFilter<(Response,)> {
    warp::any()
        .and_then(async || Err(warp::reject::not_found()))
        .boxed()
}

/// Answers that something was made.
pub fn created<T: serde::Serialize>(body: &T) -> Response {
    warp::reply::with_status(warp::reply::json(body), StatusCode::CREATED).into_response()
}

/// Answers with what a handler returned.
pub fn respond<R: Reply>(result: Result<R>) -> Response {
    match result {
        Ok(reply) => reply.into_response(),
        Err(error) => problem::reply(&error),
    }
}

/// Refuses foreign hosts and origins.
fn address(daemon: &Arc<Daemon>) -> BoxedFilter<()> {
    with(daemon)
        .and(warp::header::headers_cloned())
        .and(warp::host::optional())
        .and_then(
            async |daemon: Arc<Daemon>,
                   headers: HeaderMap,
                   authority: Option<warp::host::Authority>| {
                let authority = authority.as_ref().map(|authority| authority.as_str());
                daemon
                    .doors
                    .check_address(&headers, authority)
                    .map_err(reject)
            },
        )
        .untuple_one()
        .boxed()
}

/// Refuses requests without the token or a browser's sign-in.
fn credentials(daemon: &Arc<Daemon>) -> BoxedFilter<()> {
    with(daemon)
        .and(warp::header::headers_cloned())
        .and_then(async |daemon: Arc<Daemon>, headers: HeaderMap| {
            daemon
                .doors
                .check_credentials(&headers, None)
                .map_err(reject)
        })
        .untuple_one()
        .boxed()
}

fn reject(error: Error) -> Rejection {
    warp::reject::custom(problem::Rejected(error))
}
