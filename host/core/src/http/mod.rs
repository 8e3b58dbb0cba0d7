//! What both services answer in the same way, and how errors become answers. One function a route;
//! its first doc line is the request line.

mod admission;
mod collection;
mod connections;
mod logs;
mod patient;
pub mod problem;
mod rates;
mod routes;
mod seats;
mod secured;
mod terminal;
mod timely;
mod websocket;

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream;
use hyper::body::{Body, Frame};
use warp::filters::BoxedFilter;
use warp::http::header::{CACHE_CONTROL, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use warp::http::{HeaderMap, StatusCode};
use warp::{Filter, Rejection, Reply};

use crate::collection::Collection;
use crate::daemon::Daemon;
use crate::doors::{Caller, Pass, Peer};
use crate::{Error, IdempotencyKey, Result};

pub(crate) use admission::Admission;
pub(crate) use connections::{Listener, serve_connections};
use connections::{Local, Secure};

/// An answer.
pub type Response = warp::reply::Response;

/// The largest body of a request, in bytes, that may be allowed.
pub(crate) const LARGEST_BODY: u64 = 64 * 1024 * 1024;

/// Gives a handler a value that all requests share.
pub fn with<T: Send + Sync + 'static>(
    value: &Arc<T>,
) -> impl Filter<Extract = (Arc<T>,), Error = std::convert::Infallible> + Clone + use<T> {
    let value = value.clone();
    warp::any().map(move || value.clone())
}

/// Who sends the request.
pub fn caller() -> impl Filter<Extract = (Caller,), Error = std::convert::Infallible> + Clone {
    warp::header::headers_cloned()
        .and(warp::ext::optional::<Peer>())
        .and(warp::ext::optional::<Local>())
        .and(warp::ext::optional::<Secure>())
        .map(
            |headers: HeaderMap, peer, local: Option<Local>, secure: Option<Secure>| Caller {
                headers,
                peer,
                local: local.map(|Local(address)| address),
                is_secure: secure.is_some(),
            },
        )
}

/// A JSON body, whose size and depth are limited before it comes here.
pub fn body<T: serde::de::DeserializeOwned + Send>()
-> impl Filter<Extract = (T,), Error = Rejection> + Copy {
    warp::body::content_length_limit(LARGEST_BODY).and(warp::body::json())
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
        .or(credentials(daemon).and(closed).map(while_allowed))
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
        .and(caller())
        .and(warp::host::optional())
        .and_then(
            async |daemon: Arc<Daemon>,
                   caller: Caller,
                   authority: Option<warp::host::Authority>| {
                let authority = authority.as_ref().map(|authority| authority.as_str());
                daemon
                    .doors
                    .check_address(&caller, authority)
                    .map_err(reject)
            },
        )
        .untuple_one()
        .boxed()
}

/// Refuses requests without the token or a browser's sign-in.
fn credentials(daemon: &Arc<Daemon>) -> BoxedFilter<(Pass,)> {
    with(daemon)
        .and(caller())
        .and_then(async |daemon: Arc<Daemon>, caller: Caller| {
            daemon
                .doors
                .check_credentials(&caller, None)
                .map_err(reject)
        })
        .boxed()
}

/// Ends an answer that goes on, such as one of events, when the browser that gets it is signed out.
fn while_allowed(pass: Pass, reply: Response) -> Response {
    let (parts, body) = reply.into_parts();
    if !pass.is_of_browser() || body.size_hint().exact().is_some() {
        return Response::from_parts(parts, body);
    }
    let frames = stream::unfold((body, pass), async |(mut body, pass)| {
        let frame = tokio::select! {
            frame = next_frame(&mut body) => frame?,
            () = pass.withdrawn() => return None,
        };
        let data = frame.map(|frame| frame.into_data().unwrap_or_default());
        Some((data, (body, pass)))
    });
    let mut reply = warp::reply::stream(frames).into_response();
    (*reply.status_mut(), *reply.headers_mut()) = (parts.status, parts.headers);
    reply
}

async fn next_frame<B: Body + Unpin>(
    body: &mut B,
) -> Option<std::result::Result<Frame<B::Data>, B::Error>> {
    poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await
}

fn reject(error: Error) -> Rejection {
    warp::reject::custom(problem::Rejected(error))
}
