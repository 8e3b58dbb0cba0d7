//! The routes of what a service keeps; `{collection}` is `sessions` or `agents`, and `{id}` the
//! name of a session or the id of an agent.

use std::sync::Arc;

use agentd_api::{DeleteQuery, Input, Keys, LogQuery, NewSession, RecordingQuery, ScreenQuery};
use serde::de::DeserializeOwned;
use warp::Filter;
use warp::filters::BoxedFilter;
use warp::http::{Method, StatusCode};
use warp::path::FullPath;

use super::logs::logs;
use super::recording::recording;
use super::{Response, access, body, created, idempotency_key, pass, respond, with};
use crate::audit::Noted;
use crate::collection::Collection;
use crate::daemon::Daemon;
use crate::doors::Pass;
use crate::session::Session;
use crate::{IdempotencyKey, Result};

/// All of them but the terminal.
pub fn routes<C: Collection>(
    daemon: &Arc<Daemon>,
    collection: &Arc<C>,
) -> BoxedFilter<(Response,)> {
    create(collection)
        .or(list(collection))
        .unify()
        .or(show(collection))
        .unify()
        .or(delete(collection))
        .unify()
        .or(input(collection))
        .unify()
        .or(keys(collection))
        .unify()
        .or(read_logs(daemon, collection))
        .unify()
        .or(read_screen(daemon, collection))
        .unify()
        .or(read_recording(daemon, collection))
        .unify()
        .boxed()
}

/// POST /{collection}
fn create<C: Collection>(collection: &Arc<C>) -> BoxedFilter<(Response,)> {
    warp::path(C::PATH)
        .and(warp::path::end())
        .and(warp::post())
        .and(with(collection))
        .and(idempotency_key())
        .and(body())
        .then(
            async |collection: Arc<C>, key: Result<Option<IdempotencyKey>>, new: NewSession| {
                let item = async { collection.create(new, key?).await };
                respond(item.await.map(|item| {
                    let mut reply = created(&item);
                    reply.extensions_mut().insert(Noted {
                        subject: Some(C::key(&item).to_owned()),
                        ..Noted::default()
                    });
                    reply
                }))
            },
        )
        .boxed()
}

/// GET /{collection}
fn list<C: Collection>(collection: &Arc<C>) -> BoxedFilter<(Response,)> {
    warp::path(C::PATH)
        .and(warp::path::end())
        .and(warp::get())
        .and(with(collection))
        .and(pass())
        .and(warp::query())
        .then(async |collection: Arc<C>, pass: Pass, query: C::Query| {
            let page = collection.list(query, pass.limit()).await;
            respond(page.map(|page| warp::reply::json(&page)))
        })
        .boxed()
}

/// GET /{collection}/{id}
fn show<C: Collection>(collection: &Arc<C>) -> BoxedFilter<(Response,)> {
    warp::path(C::PATH)
        .and(warp::path!(String))
        .and(warp::get())
        .and(with(collection))
        .then(async |id: String, collection: Arc<C>| {
            let item = collection.show(&id).await;
            respond(item.map(|item| warp::reply::json(&item)))
        })
        .boxed()
}

/// DELETE /{collection}/{id}?force=
fn delete<C: Collection>(collection: &Arc<C>) -> BoxedFilter<(Response,)> {
    warp::path(C::PATH)
        .and(warp::path!(String))
        .and(warp::delete())
        .and(with(collection))
        .and(warp::query())
        .then(
            async |id: String, collection: Arc<C>, DeleteQuery { force }: DeleteQuery| {
                let deleted = collection.delete(&id, force).await;
                respond(deleted.map(|()| StatusCode::NO_CONTENT))
            },
        )
        .boxed()
}

/// POST /{collection}/{id}/input
fn input<C: Collection>(collection: &Arc<C>) -> BoxedFilter<(Response,)> {
    warp::path(C::PATH)
        .and(warp::path!(String / "input"))
        .and(warp::post())
        .and(sent(collection))
        .then(async |id: String, sent: Sent<C, Input>| {
            let prompt = async { sent.session(&id).await?.prompt(sent.body).await };
            respond(prompt.await.map(|()| StatusCode::ACCEPTED))
        })
        .boxed()
}

/// POST /{collection}/{id}/keys
fn keys<C: Collection>(collection: &Arc<C>) -> BoxedFilter<(Response,)> {
    warp::path(C::PATH)
        .and(warp::path!(String / "keys"))
        .and(warp::post())
        .and(sent(collection))
        .then(async |id: String, sent: Sent<C, Keys>| {
            let press = async { sent.session(&id).await?.press(&sent.body.keys).await };
            respond(press.await.map(|()| StatusCode::ACCEPTED))
        })
        .boxed()
}

/// What is sent to a session, and by whom.
struct Sent<C, B> {
    collection: Arc<C>,
    pass: Pass,
    path: FullPath,
    body: B,
}

impl<C: Collection, B> Sent<C, B> {
    /// The session, if it may still be sent to: while the body came, a label may have been
    /// taken away.
    async fn session(&self, id: &str) -> Result<Arc<Session>> {
        access::check(
            &*self.collection,
            &self.pass,
            &Method::POST,
            self.path.as_str(),
        )
        .await?;
        self.collection.session(id).await
    }
}

fn sent<C: Collection, B: DeserializeOwned + Send + 'static>(
    collection: &Arc<C>,
) -> BoxedFilter<(Sent<C, B>,)> {
    with(collection)
        .and(pass())
        .and(warp::path::full())
        .and(body())
        .map(|collection, pass, path, body| Sent {
            collection,
            pass,
            path,
            body,
        })
        .boxed()
}

/// GET /{collection}/{id}/logs?tail=&since=&follow=&session=
fn read_logs<C: Collection>(daemon: &Arc<Daemon>, collection: &Arc<C>) -> BoxedFilter<(Response,)> {
    warp::path(C::PATH)
        .and(warp::path!(String / "logs"))
        .and(warp::get())
        .and(with(daemon))
        .and(with(collection))
        .and(warp::query())
        .then(
            async |id: String, daemon: Arc<Daemon>, collection: Arc<C>, query: LogQuery| {
                let lines = async {
                    let run = collection.run(&id, query.session.as_deref()).await?;
                    logs(daemon, run, query).await
                };
                respond(lines.await)
            },
        )
        .boxed()
}

/// GET /{collection}/{id}/screen?cells=&session=
fn read_screen<C: Collection>(
    daemon: &Arc<Daemon>,
    collection: &Arc<C>,
) -> BoxedFilter<(Response,)> {
    warp::path(C::PATH)
        .and(warp::path!(String / "screen"))
        .and(warp::get())
        .and(with(daemon))
        .and(with(collection))
        .and(warp::query())
        .then(
            async |id: String, daemon: Arc<Daemon>, collection: Arc<C>, query: ScreenQuery| {
                let screen = async {
                    let run = collection.run(&id, query.session.as_deref()).await?;
                    daemon.sessions.screen(run, query).await
                };
                respond(screen.await.map(|screen| warp::reply::json(&screen)))
            },
        )
        .boxed()
}

/// GET /{collection}/{id}/recording?session=
fn read_recording<C: Collection>(
    daemon: &Arc<Daemon>,
    collection: &Arc<C>,
) -> BoxedFilter<(Response,)> {
    warp::path(C::PATH)
        .and(warp::path!(String / "recording"))
        .and(warp::get())
        .and(with(daemon))
        .and(with(collection))
        .and(warp::query())
        .then(
            async |id: String, daemon: Arc<Daemon>, collection: Arc<C>, query: RecordingQuery| {
                let cast = async {
                    let (key, session) = collection.recorded(&id, query.session.as_deref()).await?;
                    recording(daemon, &key, &session).await
                };
                respond(cast.await)
            },
        )
        .boxed()
}
