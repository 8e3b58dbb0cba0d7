//! The routes that only agents have.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;

use agentd_api::{AgentPatch, AuditQuery, SearchQuery};
use agentd_host::doors::{Limit, Pass};
use agentd_host::http::{Response, body, idempotency_key, pass, respond, with};
use agentd_host::{Daemon, IdempotencyKey, Result};
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::watch;
use warp::filters::BoxedFilter;
use warp::{Filter, sse};

use crate::activities;
use crate::agents::Agents;
use crate::audit::Audit;
use crate::diffs::Diffs;
use crate::events::Resumed;
use crate::previews;
use crate::search::Searches;
use crate::sight::Sight;

/// All of them.
pub fn routes(
    daemon: &Arc<Daemon>,
    agents: &Arc<Agents>,
    diffs: &Arc<Diffs>,
) -> BoxedFilter<(Response,)> {
    let searches = Arc::<Searches>::default();
    edit(agents)
        .or(stop(agents))
        .unify()
        .or(restart(agents))
        .unify()
        .or(sessions(agents))
        .unify()
        .or(diff(agents, diffs))
        .unify()
        .or(search(agents, &searches))
        .unify()
        .or(search_one(agents, &searches))
        .unify()
        .or(events(daemon, agents))
        .unify()
        .boxed()
}

/// PATCH /agents/{id}
fn edit(agents: &Arc<Agents>) -> BoxedFilter<(Response,)> {
    warp::path!("agents" / String)
        .and(warp::patch())
        .and(with(agents))
        .and(body())
        .then(async |id: String, agents: Arc<Agents>, patch: AgentPatch| {
            let agent = agents.edit(&id, patch).await;
            respond(agent.map(|agent| warp::reply::json(&agent)))
        })
        .boxed()
}

/// POST /agents/{id}/stop
fn stop(agents: &Arc<Agents>) -> BoxedFilter<(Response,)> {
    warp::path!("agents" / String / "stop")
        .and(warp::post())
        .and(with(agents))
        .and(pass())
        .then(async |id: String, agents: Arc<Agents>, pass: Pass| {
            let agent = agents.stop(&id, pass.name()).await;
            respond(agent.map(|agent| warp::reply::json(&agent)))
        })
        .boxed()
}

/// POST /agents/{id}/restart
fn restart(agents: &Arc<Agents>) -> BoxedFilter<(Response,)> {
    warp::path!("agents" / String / "restart")
        .and(warp::post())
        .and(with(agents))
        .and(pass())
        .and(idempotency_key())
        .then(
            async |id: String,
                   agents: Arc<Agents>,
                   pass: Pass,
                   key: Result<Option<IdempotencyKey>>| {
                let agent = async { agents.restart(&id, pass.name(), key?).await };
                respond(agent.await.map(|agent| warp::reply::json(&agent)))
            },
        )
        .boxed()
}

/// GET /audit?agent=&limit=&cursor=
pub fn audit(audit: &Arc<Audit>) -> BoxedFilter<(Response,)> {
    warp::path!("audit")
        .and(warp::get())
        .and(with(audit))
        .and(warp::query())
        .then(async |audit: Arc<Audit>, query: AuditQuery| {
            let page = audit.list(query).await;
            respond(page.map(|page| warp::reply::json(&page)))
        })
        .boxed()
}

/// GET /agents/{id}/sessions
fn sessions(agents: &Arc<Agents>) -> BoxedFilter<(Response,)> {
    warp::path!("agents" / String / "sessions")
        .and(warp::get())
        .and(with(agents))
        .then(async |id: String, agents: Arc<Agents>| {
            let sessions = agents.past_sessions(&id).await;
            respond(sessions.map(|sessions| warp::reply::json(&sessions)))
        })
        .boxed()
}

/// GET /agents/{id}/diff
fn diff(agents: &Arc<Agents>, diffs: &Arc<Diffs>) -> BoxedFilter<(Response,)> {
    warp::path!("agents" / String / "diff")
        .and(warp::get())
        .and(with(agents))
        .and(with(diffs))
        .then(async |id: String, agents: Arc<Agents>, diffs: Arc<Diffs>| {
            let diff = async { diffs.of(&agents.working_dir(&id).await?).await };
            respond(diff.await.map(|diff| warp::reply::json(&diff)))
        })
        .boxed()
}

/// GET /search?q=&regex=&context=&limit=&cursor=
fn search(agents: &Arc<Agents>, searches: &Arc<Searches>) -> BoxedFilter<(Response,)> {
    warp::path!("search")
        .and(warp::get())
        .and(with(agents))
        .and(with(searches))
        .and(pass())
        .and(warp::query())
        .then(
            async |agents: Arc<Agents>, searches: Arc<Searches>, pass: Pass, query: SearchQuery| {
                let found = searches.find(&agents, &pass, None, query).await;
                respond(found.map(|found| warp::reply::json(&found)))
            },
        )
        .boxed()
}

/// GET /agents/{id}/search?q=&regex=&context=&limit=&cursor=
fn search_one(agents: &Arc<Agents>, searches: &Arc<Searches>) -> BoxedFilter<(Response,)> {
    warp::path!("agents" / String / "search")
        .and(warp::get())
        .and(with(agents))
        .and(with(searches))
        .and(pass())
        .and(warp::query())
        .then(
            async |id: String,
                   agents: Arc<Agents>,
                   searches: Arc<Searches>,
                   pass: Pass,
                   query: SearchQuery| {
                let found = searches.find(&agents, &pass, Some(&id), query).await;
                respond(found.map(|found| warp::reply::json(&found)))
            },
        )
        .boxed()
}

/// What of the events is wanted.
#[derive(Debug, Default, Deserialize)]
struct EventsQuery {
    #[serde(default)]
    output: Outputs,
}

/// Whose last lines are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Outputs {
    /// Those of agents whose screens are here, which cost nothing.
    #[default]
    Terminals,
    /// Those of all agents: the logs of the others are followed for that.
    All,
}

/// GET /events
fn events(daemon: &Arc<Daemon>, agents: &Arc<Agents>) -> BoxedFilter<(Response,)> {
    warp::path!("events")
        .and(warp::get())
        .and(with(daemon))
        .and(with(agents))
        .and(pass())
        .and(warp::query())
        .and(sse::last_event_id())
        .then(
            async |daemon: Arc<Daemon>,
                   agents: Arc<Agents>,
                   pass: Pass,
                   query: EventsQuery,
                   last: Option<u64>| {
                let listener = Listener::new(&daemon, &agents, pass.limit(), query.output, last);
                respond(listener.await.map(|listener| {
                    let stream = stream::unfold(listener, async |mut listener| {
                        let event = listener.next().await?;
                        Some((Ok::<_, Infallible>(event), listener))
                    });
                    sse::reply(sse::keep_alive().stream(stream))
                }))
            },
        )
        .boxed()
}

/// The data of a `gap`: what the listener missed is no longer kept, and what there is now can be
/// had there.
const RESYNCHRONIZE: &str = r#"{"resynchronize":"/agents"}"#;

/// One who hears what happens to agents, and what they show.
struct Listener {
    daemon: Arc<Daemon>,
    agents: Arc<Agents>,
    /// The number of the last event.
    last: u64,
    /// Whether the listener missed some before that.
    gap: bool,
    changes: watch::Receiver<()>,
    sight: Sight,
    previews: previews::Listener,
    activities: activities::Listener,
    /// Those without a number that are to come: the event and its data.
    unnumbered: VecDeque<(&'static str, String)>,
}

impl Listener {
    async fn new(
        daemon: &Arc<Daemon>,
        agents: &Arc<Agents>,
        limit: &Limit,
        outputs: Outputs,
        last: Option<u64>,
    ) -> Result<Self> {
        let resumes = last.is_some();
        let (last, gap) = match agents.events().resume(last) {
            Resumed::After(last) => (last, false),
            Resumed::Gap(last) => (last, true),
        };
        let changes = agents.events().subscribe();
        // After the last event is known: what the disk knows beyond that comes again.
        let sight = Sight::of(limit, &agents.store).await?;
        Ok(Listener {
            daemon: daemon.clone(),
            agents: agents.clone(),
            changes,
            last,
            gap: gap || (resumes && sight.forgets()),
            sight,
            previews: agents.previews().listen(outputs == Outputs::All),
            activities: agents.activities().listen(),
            unnumbered: VecDeque::new(),
        })
    }

    /// None when the service ends. An `output` or `activity` has no number: nobody resumes after it,
    /// since whoever comes back is shown all of them.
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            self.changes.mark_unchanged();
            if std::mem::take(&mut self.gap) {
                self.sight.renew(&self.agents.store).await.ok()?;
                let numbered = sse::Event::default().id(self.last.to_string());
                return Some(numbered.event("gap").data(RESYNCHRONIZE));
            }
            match self.agents.events().after(self.last) {
                Ok(Some(event)) => {
                    self.last = event.id;
                    let Some(shown) = self.sight.show(event) else {
                        continue;
                    };
                    if shown.changes_sight {
                        self.unnumbered.clear();
                        self.previews.begin_anew();
                        self.activities.begin_anew();
                    }
                    let numbered = sse::Event::default().id(self.last.to_string());
                    return Some(numbered.event(shown.kind).data(shown.data));
                }
                Ok(None) => {}
                Err(last) => {
                    (self.last, self.gap) = (last, true);
                    continue;
                }
            }
            if self.unnumbered.is_empty() {
                let sees = |id: &str| self.sight.sees(id);
                let activities = self.activities.take(sees).into_iter();
                let outputs = self.previews.take(sees).into_iter();
                self.unnumbered
                    .extend(activities.map(|data| ("activity", data)));
                self.unnumbered.extend(outputs.map(|data| ("output", data)));
            }
            if let Some((kind, data)) = self.unnumbered.pop_front() {
                return Some(sse::Event::default().event(kind).data(data));
            }
            tokio::select! {
                changed = self.changes.changed() => changed.ok()?,
                () = self.previews.changed() => {}
                () = self.activities.changed() => {}
                () = self.daemon.shutting_down() => return None,
            }
        }
    }
}
