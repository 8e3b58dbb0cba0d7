//! The routes that only agents have.

use std::convert::Infallible;
use std::sync::Arc;

use agentd_host::Daemon;
use agentd_host::http::{Response, respond, with};
use futures_util::stream;
use warp::filters::BoxedFilter;
use warp::{Filter, Reply};

use crate::agents::Agents;

/// All of them.
pub fn routes(daemon: &Arc<Daemon>, agents: &Arc<Agents>) -> BoxedFilter<(Response,)> {
    stop(agents)
        .or(restart(agents))
        .unify()
        .or(events(daemon, agents))
        .unify()
        .boxed()
}

/// POST /agents/{id}/stop
fn stop(agents: &Arc<Agents>) -> BoxedFilter<(Response,)> {
    warp::path!("agents" / String / "stop")
        .and(warp::post())
        .and(with(agents))
        .then(async |id: String, agents: Arc<Agents>| {
            let agent = agents.stop(&id).await;
            respond(agent.map(|agent| warp::reply::json(&agent)))
        })
        .boxed()
}

/// POST /agents/{id}/restart
fn restart(agents: &Arc<Agents>) -> BoxedFilter<(Response,)> {
    warp::path!("agents" / String / "restart")
        .and(warp::post())
        .and(with(agents))
        .then(async |id: String, agents: Arc<Agents>| {
            let agent = agents.restart(&id).await;
            respond(agent.map(|agent| warp::reply::json(&agent)))
        })
        .boxed()
}

/// GET /events
fn events(daemon: &Arc<Daemon>, agents: &Arc<Agents>) -> BoxedFilter<(Response,)> {
    warp::path!("events")
        .and(warp::get())
        .and(with(daemon))
        .and(with(agents))
        .and(warp::sse::last_event_id())
        .map(
            |daemon: Arc<Daemon>, agents: Arc<Agents>, last: Option<u64>| {
                let changes = agents.events().subscribe();
                let last = last.unwrap_or_else(|| agents.events().last());
                let stream = stream::unfold((last, changes), move |(last, mut changes)| {
                    let (daemon, agents) = (daemon.clone(), agents.clone());
                    async move {
                        loop {
                            changes.mark_unchanged();
                            if let Some(event) = agents.events().after(last) {
                                let frame = warp::sse::Event::default()
                                    .id(event.id.to_string())
                                    .event(event.kind)
                                    .data(event.data);
                                return Some((Ok::<_, Infallible>(frame), (event.id, changes)));
                            }
                            tokio::select! {
                                changed = changes.changed() => changed.ok()?,
                                () = daemon.shutting_down() => return None,
                            }
                        }
                    }
                });
                warp::sse::reply(warp::sse::keep_alive().stream(stream)).into_response()
            },
        )
        .boxed()
}
