//! What both services answer in the same way, and how errors become answers. One function a route;
//! its first doc line is the request line.

mod access;
mod admission;
mod collection;
mod connections;
mod handshakes;
mod logs;
mod metrics;
mod patient;
pub mod problem;
mod rates;
mod recording;
mod request_id;
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
use tokio::sync::watch;
use warp::filters::BoxedFilter;
use warp::http::header::{CACHE_CONTROL, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use warp::http::{HeaderMap, Method, StatusCode};
use warp::{Filter, Rejection, Reply};

use crate::collection::Collection;
use crate::daemon::Daemon;
use crate::doors::{Caller, Limit, Pass, Peer, no_longer};
use crate::{Error, ErrorKind, IdempotencyKey, Result};

pub use access::{Need, Reach};
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

/// What the doors said of a request, on its way to the routes.
#[derive(Clone)]
struct Credentials(Result<Pass>);

/// What the request was let in with, or why it was not.
fn credentials() -> impl Filter<Extract = (Result<Pass>,), Error = std::convert::Infallible> + Clone
{
    warp::ext::optional::<Credentials>().map(|credentials: Option<Credentials>| {
        let unchecked = || {
            let message = "the request was not looked at";
            Err(Error::new(ErrorKind::Unauthorized, "unauthorized", message))
        };
        credentials.map_or_else(unchecked, |Credentials(pass)| pass)
    })
}

/// What the request was let in with.
pub fn pass() -> impl Filter<Extract = (Pass,), Error = Rejection> + Clone {
    credentials().and_then(async |pass: Result<Pass>| pass.map_err(reject))
}

/// A JSON body, whose size and depth are limited before it comes here. Its client may take its time with
/// it: what let it in has to be valid still when all has come.
pub fn body<T: serde::de::DeserializeOwned + Send>()
-> impl Filter<Extract = (T,), Error = Rejection> + Clone {
    open_body()
        .and(credentials())
        .and_then(async |body, pass: Result<Pass>| match pass {
            Ok(pass) if pass.is_withdrawn() => Err(reject(no_longer())),
            _ => Ok(body),
        })
}

/// The same of a request that needs no credentials.
fn open_body<T: serde::de::DeserializeOwned + Send>()
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
/// `closed` needs credentials, as the collection does, and what [`Collection::NEEDS`] says; `open` needs
/// none.
pub fn service<C: Collection>(
    daemon: &Arc<Daemon>,
    collection: &Arc<C>,
    open: BoxedFilter<(Response,)>,
    closed: BoxedFilter<(Response,)>,
) -> BoxedFilter<(Response,)> {
    let closed = routes::closed(daemon)
        .or(metrics::route(daemon, collection))
        .unify()
        .or(collection::routes(daemon, collection))
        .unify()
        .or(closed)
        .unify();
    let all = routes::open(daemon, collection)
        // Takes a ticket too, so it checks the credentials itself.
        .or(terminal::route(daemon, collection))
        .unify()
        .or(allowed(collection).and(closed).map(while_allowed))
        .unify()
        .or(open)
        .unify();
    let answered = address(daemon)
        .and(all)
        .recover(problem::recover)
        .unify()
        .map(guarded);
    warp::method()
        .and(warp::path::full())
        .and(answered)
        .map(
            |method: Method, path: warp::path::FullPath, mut reply: Response| {
                let route = Route(access::route::<C>(&method, path.as_str()));
                reply.extensions_mut().insert(route);
                reply
            },
        )
        .boxed()
}

/// The path of the route that a request was for, with names for its variable parts.
#[derive(Clone)]
struct Route(String);

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

/// What one request may go on with.
struct Allowed<C> {
    pass: Pass,
    collection: Arc<C>,
    /// What of the collection it is about.
    id: Option<String>,
}

impl<C: Collection> Allowed<C> {
    /// Refuses what the pass does not allow.
    async fn check(
        pass: Pass,
        collection: Arc<C>,
        method: &Method,
        path: &str,
    ) -> Result<Allowed<C>> {
        access::check(&*collection, &pass, method, path).await?;
        Ok(Allowed {
            pass,
            collection,
            id: access::id::<C>(path),
        })
    }

    /// A pass for what goes on, which also ends when its limit leaves out what the answer is about.
    fn lasting(self) -> Pass {
        let Allowed {
            mut pass,
            collection,
            id,
        } = self;
        if let (Limit::Label(..), Some(id)) = (pass.limit(), id) {
            let (limit, (sender, receiver)) = (pass.limit().clone(), watch::channel(()));
            tokio::spawn(async move {
                tokio::select! {
                    () = collection.left(&limit, &id) => {}
                    () = sender.closed() => {}
                }
            });
            pass.end_with(receiver, None);
        }
        pass
    }
}

/// Refuses requests without credentials, and what these do not allow.
fn allowed<C: Collection>(collection: &Arc<C>) -> BoxedFilter<(Allowed<C>,)> {
    with(collection)
        .and(pass())
        .and(warp::method())
        .and(warp::path::full())
        .and_then(
            async |collection: Arc<C>, pass: Pass, method: Method, path: warp::path::FullPath| {
                let allowed = Allowed::check(pass, collection, &method, path.as_str());
                allowed.await.map_err(reject)
            },
        )
        .boxed()
}

/// Ends an answer that goes on, such as one of events, when what its client was let in with is
/// withdrawn.
fn while_allowed<C: Collection>(allowed: Allowed<C>, reply: Response) -> Response {
    let (parts, body) = reply.into_parts();
    if !allowed.pass.may_end() || body.size_hint().exact().is_some() {
        return Response::from_parts(parts, body);
    }
    let frames = stream::unfold((body, allowed.lasting()), async |(mut body, pass)| {
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
