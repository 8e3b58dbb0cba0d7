//! The routes that only agents have.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use agentd_host::Daemon;
use agentd_host::http::{Response, respond, with};
use futures_util::stream;
use tokio::sync::watch;
use warp::filters::BoxedFilter;
use warp::{Filter, Reply, sse};

use crate::agents::Agents;
use crate::previews;

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
        .and(sse::last_event_id())
        .map(
            |daemon: Arc<Daemon>, agents: Arc<Agents>, last: Option<u64>| {
                let listener = Listener::new(&daemon, &agents, last);
                let stream = stream::unfold(listener, async |mut listener| {
                    let event = listener.next().await?;
                    Some((Ok::<_, Infallible>(event), listener))
                });
                sse::reply(sse::keep_alive().stream(stream)).into_response()
            },
        )
        .boxed()
}

/// One who hears what happens to agents, and what they show.
struct Listener {
    daemon: Arc<Daemon>,
    agents: Arc<Agents>,
    /// The number of the last event.
    last: u64,
    changes: watch::Receiver<()>,
    previews: previews::Listener,
    outputs: VecDeque<String>,
}

impl Listener {
    fn new(daemon: &Arc<Daemon>, agents: &Arc<Agents>, last: Option<u64>) -> Self {
        Listener {
            daemon: daemon.clone(),
            agents: agents.clone(),
            changes: agents.events().subscribe(),
            last: last.unwrap_or_else(|| agents.events().last()),
            previews: agents.previews().listen(),
            outputs: VecDeque::new(),
        }
    }

    /// None when the service ends. An `output` has no number: nobody resumes after it, since
    /// whoever comes back is shown all of them.
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            self.changes.mark_unchanged();
            if let Some(event) = self.agents.events().after(self.last) {
                self.last = event.id;
                let numbered = sse::Event::default().id(event.id.to_string());
                return Some(numbered.event(event.kind).data(event.data));
            }
            if self.outputs.is_empty() {
                self.outputs.extend(self.previews.take());
            }
            if let Some(data) = self.outputs.pop_front() {
                return Some(sse::Event::default().event("output").data(data));
            }
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                () = self.previews.changed() => {}
                () = self.daemon.shutting_down() => return None,
            }
        }
    }
}
