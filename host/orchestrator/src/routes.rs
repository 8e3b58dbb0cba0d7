//! The routes of agents and their events.

use std::convert::Infallible;
use std::sync::Arc;

use agentd_api::{AgentStatus, Input, LogQuery, NewAgent, Page};
use agentd_host::http::{Response, body, created, logs, respond, with};
use agentd_host::{Daemon, Error, Result};
use futures_util::stream;
use serde::Deserialize;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::{Filter, Reply};

use crate::agents::Agents;

/// Agents on a page when the request does not say.
const DEFAULT_LIMIT: usize = 50;
/// Agents on a page at most.
const MAX_LIMIT: usize = 200;

/// All of them; the terminal is the host's.
pub fn routes(daemon: &Arc<Daemon>, agents: &Arc<Agents>) -> BoxedFilter<(Response,)> {
    create(agents)
        .or(list(agents))
        .unify()
        .or(show(agents))
        .unify()
        .or(delete(agents))
        .unify()
        .or(stop(agents))
        .unify()
        .or(restart(agents))
        .unify()
        .or(input(agents))
        .unify()
        .or(read_logs(daemon, agents))
        .unify()
        .or(events(daemon, agents))
        .unify()
        .boxed()
}

fn with_agents(
    agents: &Arc<Agents>,
) -> impl Filter<Extract = (Arc<Agents>,), Error = Infallible> + Clone + use<> {
    let agents = agents.clone();
    warp::any().map(move || agents.clone())
}

/// POST /agents
fn create(agents: &Arc<Agents>) -> BoxedFilter<(Response,)> {
    warp::path!("agents")
        .and(warp::post())
        .and(with_agents(agents))
        .and(body())
        .then(async |agents: Arc<Agents>, new: NewAgent| {
            respond(agents.create(new).await.map(|agent| created(&agent)))
        })
        .boxed()
}

#[derive(Deserialize)]
struct ListQuery {
    name: Option<String>,
    status: Option<AgentStatus>,
    limit: Option<usize>,
    offset: Option<usize>,
}

/// GET /agents?name=&status=&limit=&offset=
fn list(agents: &Arc<Agents>) -> BoxedFilter<(Response,)> {
    warp::path!("agents")
        .and(warp::get())
        .and(with_agents(agents))
        .and(warp::query())
        .map(|agents: Arc<Agents>, query: ListQuery| respond(page(&agents, &query)))
        .boxed()
}

fn page(agents: &Agents, query: &ListQuery) -> Result<Response> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(
            Error::invalid("invalid-query", format!("`limit` cannot be {limit}"))
                .hint(format!("a page has 1 to {MAX_LIMIT} agents")),
        );
    }
    let mut items = agents.list(|agent| {
        query.name.as_ref().is_none_or(|name| agent.name == *name)
            && query.status.is_none_or(|status| agent.status == status)
    });
    let total = items.len() as u64;
    items = items
        .into_iter()
        .skip(query.offset.unwrap_or(0))
        .take(limit)
        .collect();
    Ok(warp::reply::json(&Page { items, total }).into_response())
}

/// GET /agents/{id}
fn show(agents: &Arc<Agents>) -> BoxedFilter<(Response,)> {
    warp::path!("agents" / String)
        .and(warp::get())
        .and(with_agents(agents))
        .map(|id: String, agents: Arc<Agents>| {
            respond(agents.get(&id).map(|agent| warp::reply::json(&agent)))
        })
        .boxed()
}

/// DELETE /agents/{id}
fn delete(agents: &Arc<Agents>) -> BoxedFilter<(Response,)> {
    warp::path!("agents" / String)
        .and(warp::delete())
        .and(with_agents(agents))
        .then(async |id: String, agents: Arc<Agents>| {
            respond(agents.delete(&id).await.map(|()| StatusCode::NO_CONTENT))
        })
        .boxed()
}

/// POST /agents/{id}/stop
fn stop(agents: &Arc<Agents>) -> BoxedFilter<(Response,)> {
    warp::path!("agents" / String / "stop")
        .and(warp::post())
        .and(with_agents(agents))
        .then(async |id: String, agents: Arc<Agents>| {
            respond(
                agents
                    .stop(&id)
                    .await
                    .map(|agent| warp::reply::json(&agent)),
            )
        })
        .boxed()
}

/// POST /agents/{id}/restart
fn restart(agents: &Arc<Agents>) -> BoxedFilter<(Response,)> {
    warp::path!("agents" / String / "restart")
        .and(warp::post())
        .and(with_agents(agents))
        .then(async |id: String, agents: Arc<Agents>| {
            respond(
                agents
                    .restart(&id)
                    .await
                    .map(|agent| warp::reply::json(&agent)),
            )
        })
        .boxed()
}

/// POST /agents/{id}/input
fn input(agents: &Arc<Agents>) -> BoxedFilter<(Response,)> {
    warp::path!("agents" / String / "input")
        .and(warp::post())
        .and(with_agents(agents))
        .and(body())
        .then(async |id: String, agents: Arc<Agents>, input: Input| {
            let prompt = async { agents.session(&id)?.prompt(&input).await };
            respond(prompt.await.map(|()| StatusCode::ACCEPTED))
        })
        .boxed()
}

/// GET /agents/{id}/logs?tail=&since=&follow=
fn read_logs(daemon: &Arc<Daemon>, agents: &Arc<Agents>) -> BoxedFilter<(Response,)> {
    warp::path!("agents" / String / "logs")
        .and(warp::get())
        .and(with(daemon))
        .and(with_agents(agents))
        .and(warp::query())
        .then(
            async |id: String, daemon: Arc<Daemon>, agents: Arc<Agents>, query: LogQuery| {
                let answer: Result<Response> =
                    async { logs(daemon, agents.session(&id)?, query).await }.await;
                respond(answer)
            },
        )
        .boxed()
}

/// GET /events
fn events(daemon: &Arc<Daemon>, agents: &Arc<Agents>) -> BoxedFilter<(Response,)> {
    warp::path!("events")
        .and(warp::get())
        .and(with(daemon))
        .and(with_agents(agents))
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
