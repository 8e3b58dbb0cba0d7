//! The routes of sessions.

use std::sync::Arc;

use agentd_api::{Input, LogQuery, NewSession, Page};
use agentd_host::http::{Response, body, created, logs, respond, with};
use agentd_host::{Daemon, Result};
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::{Filter, Reply};

/// All of them; the terminal is the host's.
pub fn routes(daemon: &Arc<Daemon>) -> BoxedFilter<(Response,)> {
    create(daemon)
        .or(list(daemon))
        .unify()
        .or(show(daemon))
        .unify()
        .or(delete(daemon))
        .unify()
        .or(input(daemon))
        .unify()
        .or(read_logs(daemon))
        .unify()
        .boxed()
}

/// POST /sessions
fn create(daemon: &Arc<Daemon>) -> BoxedFilter<(Response,)> {
    warp::path!("sessions")
        .and(warp::post())
        .and(with(daemon))
        .and(body())
        .then(async |daemon: Arc<Daemon>, new: NewSession| {
            let session = daemon.sessions.create(new, None).await;
            respond(session.map(|session| created(&session.describe())))
        })
        .boxed()
}

/// GET /sessions
fn list(daemon: &Arc<Daemon>) -> BoxedFilter<(Response,)> {
    warp::path!("sessions")
        .and(warp::get())
        .and(with(daemon))
        .map(|daemon: Arc<Daemon>| {
            let sessions = daemon.sessions.list();
            let items: Vec<_> = sessions.iter().map(|session| session.describe()).collect();
            let total = items.len() as u64;
            warp::reply::json(&Page { items, total }).into_response()
        })
        .boxed()
}

/// GET /sessions/{name}
fn show(daemon: &Arc<Daemon>) -> BoxedFilter<(Response,)> {
    warp::path!("sessions" / String)
        .and(warp::get())
        .and(with(daemon))
        .map(|name: String, daemon: Arc<Daemon>| {
            let session = daemon.sessions.get(&name);
            respond(session.map(|session| warp::reply::json(&session.describe())))
        })
        .boxed()
}

/// DELETE /sessions/{name}
fn delete(daemon: &Arc<Daemon>) -> BoxedFilter<(Response,)> {
    warp::path!("sessions" / String)
        .and(warp::delete())
        .and(with(daemon))
        .then(async |name: String, daemon: Arc<Daemon>| {
            let delete = async {
                let session = daemon.sessions.get(&name)?;
                daemon.sessions.delete(&session).await
            };
            respond(delete.await.map(|()| StatusCode::NO_CONTENT))
        })
        .boxed()
}

/// POST /sessions/{name}/input
fn input(daemon: &Arc<Daemon>) -> BoxedFilter<(Response,)> {
    warp::path!("sessions" / String / "input")
        .and(warp::post())
        .and(with(daemon))
        .and(body())
        .then(async |name: String, daemon: Arc<Daemon>, input: Input| {
            let prompt = async {
                let session = daemon.sessions.get(&name)?;
                session.prompt(&input).await
            };
            respond(prompt.await.map(|()| StatusCode::ACCEPTED))
        })
        .boxed()
}

/// GET /sessions/{name}/logs?tail=&since=&follow=
fn read_logs(daemon: &Arc<Daemon>) -> BoxedFilter<(Response,)> {
    warp::path!("sessions" / String / "logs")
        .and(warp::get())
        .and(with(daemon))
        .and(warp::query())
        .then(async |name: String, daemon: Arc<Daemon>, query: LogQuery| {
            let answer: Result<Response> = async {
                let session = daemon.sessions.get(&name)?;
                logs(daemon, session, query).await
            }
            .await;
            respond(answer)
        })
        .boxed()
}
