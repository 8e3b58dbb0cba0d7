//! What becomes of the containers: one stream of the engine's events for all of them.
//!
//! An engine that is being stopped ends its containers first and still reports that on open
//! connections, so an exit counts only after a ping on a new connection. Otherwise the agents are
//! `unknown` until the engine is back, and then:
//!
//! - the events that it still remembers are read again, from the last one seen on;
//! - if the last one seen is not among them, this is another run of the engine, which has ended
//!   what was left of the run before;
//! - each container is inspected. One that has ended over a new run of the engine went down with
//!   it: reason `engine-stopped`. Not so when containers are set to go on without their engine
//!   (`live-restore`): then its end was its own.
//!
//! The engine remembers 256 events. If there were more while it was out of reach, an end of the
//! agent's own is taken for the engine's.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use agentd_plugin_api::prelude::*;
use agentd_plugin_api::tokio::task::AbortHandle;
use agentd_plugin_api::tokio::time::{Instant, interval, sleep};
use agentd_plugin_api::{tokio, tracing};
use bollard::models::{ContainerState, EventMessage};
use bollard::query_parameters::{EventsOptions, EventsOptionsBuilder};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt, TryStreamExt};

use crate::Shared;
use agentd_docker_engine::agent::{self, Agent, ENGINE_STOPPED, Stage};
use agentd_docker_engine::labels::{INSTANCE, SESSION};

/// How often an engine that reports nothing is asked whether it is there.
const HEARTBEAT: Duration = Duration::from_secs(10);

const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_secs(3);

/// An engine may learn that the kernel killed an agent for its memory after it learns of the end: containerd's
/// monitor of a control group reports on a way of its own (containerd/containerd#8180, #12714). So long it is
/// asked again how an agent was killed.
const REASON_PATIENCE: Duration = Duration::from_millis(500);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// So many containers are inspected at a time.
const INSPECTIONS: usize = 16;

/// The containers that are watched.
#[derive(Default)]
pub(crate) struct Watch(Mutex<Watched>);

#[derive(Default)]
struct Watched {
    /// By the container's id.
    agents: HashMap<String, Arc<Agent>>,
    /// Sessions whose containers could not be removed.
    doomed: HashSet<String>,
    /// Sessions whose containers the engine may still make, although the start has failed.
    unanswered: HashSet<String>,
    /// The engine is out of reach.
    away: bool,
}

impl Watch {
    pub(crate) fn add(&self, container: &str, agent: &Arc<Agent>) {
        self.lock()
            .agents
            .insert(container.to_owned(), agent.clone());
    }

    pub(crate) fn remove(&self, agent: &Agent) {
        if let Stage::Made(container) = &*agent.stage.borrow() {
            self.forget(container);
        }
    }

    pub(crate) fn forget(&self, container: &str) {
        self.lock().agents.remove(container);
    }

    pub(crate) fn is_away(&self) -> bool {
        self.lock().away
    }

    /// Returns what was the case before.
    fn set_away(&self, away: bool) -> bool {
        std::mem::replace(&mut self.lock().away, away)
    }

    pub(crate) fn remove_later(&self, session: &str) {
        self.lock().doomed.insert(session.to_owned());
    }

    /// The engine has not answered whether it makes a container for this session.
    pub(crate) fn remove_when_created(&self, session: &str) {
        self.lock().unanswered.insert(session.to_owned());
    }

    fn get(&self, container: &str) -> Option<Arc<Agent>> {
        self.lock().agents.get(container).cloned()
    }

    fn all(&self) -> Vec<(String, Arc<Agent>)> {
        let watched = self.lock();
        let agents = watched.agents.iter();
        agents
            .map(|(id, agent)| (id.clone(), agent.clone()))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that watches; it ends with this.
pub(crate) struct Watching(AbortHandle);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Begins to watch, from the engine's time `since` on.
pub(crate) fn begin(shared: Arc<Shared>, since: i64) -> Watching {
    let watching = async move {
        let mut watcher = Watcher {
            shared,
            followed: false,
            since,
            last_event: None,
            exits: HashMap::new(),
        };
        watcher.run().await;
    };
    Watching(tokio::spawn(watching).abort_handle())
}

struct Watcher {
    shared: Arc<Shared>,
    /// The events were followed before.
    followed: bool,
    /// The engine's time up to which everything is known.
    since: i64,
    /// The time of the last event seen: the engine's memory of it shows that it is the same run.
    last_event: Option<i64>,
    /// Of containers whose end is not reported yet.
    exits: HashMap<String, Exit>,
}

/// What an event said of a container's end.
struct Exit {
    code: i64,
    at: i64,
}

/// What an inspection found, `None` if the container is gone.
type Inspected = Result<(String, Option<ContainerState>)>;

impl Watcher {
    async fn run(&mut self) {
        let mut retry = FIRST_RETRY;
        loop {
            let Err(broken) = self.follow(&mut retry).await;
            // A stream may also break by itself: then the engine answers, and no more is said.
            if let Err(error) = self.shared.engine.ping_anew().await {
                if !self.shared.watch.set_away(true) {
                    tracing::warn!(%broken, "{error}");
                }
                for (_, agent) in self.shared.watch.all() {
                    agent.unknown(&error.message);
                }
            }
            sleep(retry).await;
            retry = (retry * 2).min(LAST_RETRY);
        }
    }

    /// Follows the events until the engine is out of reach.
    async fn follow(&mut self, retry: &mut Duration) -> Result<Infallible> {
        let shared = self.shared.clone();
        let engine = &shared.engine;
        let facts = engine.facts().await?;
        if std::mem::replace(&mut self.followed, true) {
            self.catch_up(facts.now, facts.live_restore).await?;
        }
        if shared.watch.set_away(false) {
            tracing::info!("the Docker engine is back");
        }
        *retry = FIRST_RETRY;

        let events = engine.client().events(Some(self.query(None)));
        let mut events = std::pin::pin!(events);
        let mut inspections = FuturesUnordered::new();
        let mut heartbeat = interval(HEARTBEAT);
        let mut ping = futures_util::future::pending().boxed();
        loop {
            // The order matters: by the time an inspection is done, everything that the old
            // connection still had to say, its end included, has been read.
            tokio::select! {
                biased;
                event = events.next() => {
                    let event = event
                        .unwrap_or_else(|| Err(std::io::Error::other("the stream ended").into()))
                        .map_err(|error| engine.error("reading the engine's events", error))?;
                    if let Some(container) = self.take(&event) {
                        inspections.push(confirm(shared.clone(), container));
                    }
                }
                Some(inspected) = inspections.next() => {
                    let (container, state) = inspected?;
                    self.settle(&container, state, true);
                }
                pinged = &mut ping => {
                    pinged?;
                    ping = futures_util::future::pending().boxed();
                }
                _ = heartbeat.tick() => {
                    let engine = engine.clone();
                    ping = async move { engine.ping_anew().await }.boxed();
                }
            }
        }
    }

    /// Finds out what happened while the engine was out of reach.
    async fn catch_up(&mut self, now: i64, live_restore: bool) -> Result<()> {
        let engine = self.shared.engine.clone();
        let last_event = self.last_event;
        let past = engine.client().events(Some(self.query(Some(now))));
        let past: Vec<EventMessage> = past
            .try_collect()
            .await
            .map_err(|error| engine.error("reading the engine's events", error))?;
        let remembered: HashSet<String> =
            past.iter().filter_map(|event| self.take(event)).collect();
        self.since = self.since.max(now);
        let same_run =
            last_event.map(|last| past.iter().any(|event| event.time_nano == Some(last)));

        let shared = &self.shared;
        let inspections = self
            .shared
            .watch
            .all()
            .into_iter()
            .map(|(id, _)| inspect(shared, id));
        let inspected: Vec<_> = futures_util::stream::iter(inspections)
            .buffer_unordered(INSPECTIONS)
            .try_collect()
            .await?;
        for (container, state) in inspected {
            let own = live_restore
                || same_run.unwrap_or(remembered.contains(&container))
                || state
                    .as_ref()
                    .and_then(finished)
                    .is_some_and(|at| at >= now);
            self.settle(&container, state, own);
        }
        let doomed = std::mem::take(&mut self.shared.watch.lock().doomed);
        for session in doomed {
            self.shared.discard(&session).await;
        }
        Ok(())
    }

    /// Takes note of an event. Returns a container that may have ended.
    fn take(&mut self, event: &EventMessage) -> Option<String> {
        self.since = self.since.max(event.time_nano.unwrap_or_default());
        self.last_event = event.time_nano.or(self.last_event);
        let actor = event.actor.as_ref()?;
        let container = actor.id.as_ref()?;
        if event.action.as_deref() == Some("create") {
            let session = actor.attributes.as_ref()?.get(SESSION)?;
            if self.shared.watch.lock().unanswered.remove(session) {
                let (shared, session) = (self.shared.clone(), session.clone());
                tokio::spawn(async move { shared.discard(&session).await });
            }
            return None;
        }
        let agent = self.shared.watch.get(container)?;
        let action = event.action.as_deref()?;
        if let Some(verdict) = action.strip_prefix("health_status: ") {
            agent.health(match verdict {
                "healthy" => Health::Healthy,
                "unhealthy" => Health::Unhealthy,
                "starting" => Health::Starting,
                _ => Health::Unknown,
            });
        }
        if action == "die" {
            let attributes = actor.attributes.as_ref();
            let code = attributes.and_then(|attributes| attributes.get("exitCode"));
            if let Some(code) = code.and_then(|code| code.parse().ok()) {
                let at = event.time_nano.unwrap_or(self.since);
                self.exits.insert(container.clone(), Exit { code, at });
            }
        }
        matches!(action, "die" | "destroy").then(|| container.clone())
    }

    /// Reports what an inspection found. `own`: if it has ended, that was not the engine's doing.
    fn settle(&mut self, container: &str, state: Option<ContainerState>, own: bool) {
        let reported = self.exits.remove(container);
        let Some(agent) = self.shared.watch.get(container) else {
            return;
        };
        let mut status = match (state, reported) {
            (Some(state), _) if agent::is_alive(&state) => return agent.alive(container, &state),
            // Being started at this very moment.
            (Some(state), _) if agent::is_new(&state) => return,
            (Some(state), _) => agent::end(&state),
            (None, Some(exit)) => agent::exit_status(exit.code, false),
            (None, None) => return agent.lost("the container was removed"),
        };
        if !own {
            status
                .reason
                .get_or_insert_with(|| ENGINE_STOPPED.to_owned());
        }
        agent.exited(status);
    }

    fn query(&self, until: Option<i64>) -> EventsOptions {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let filters: HashMap<&str, Vec<String>> = HashMap::from([
            ("type", words(&["container"])),
            (
                "event",
                words(&["create", "start", "die", "destroy", "health_status"]),
            ),
            (
                "label",
                vec![format!("{INSTANCE}={}", self.shared.instance)],
            ),
        ]);
        // An end that is not reported yet has to be reported again.
        let unsettled = self.exits.values().map(|exit| exit.at).min();
        let options = EventsOptionsBuilder::new().filters(&filters);
        match until {
            Some(until) => {
                let known = [Some(self.since), self.last_event, unsettled];
                let since = known.into_iter().flatten().min().unwrap_or(self.since);
                options
                    .since(&seconds(since))
                    .until(&seconds(until))
                    .build()
            }
            None => options.since(&seconds(self.since)).build(),
        }
    }
}

/// The engine is there, and this is what it reports about the container.
async fn confirm(shared: Arc<Shared>, container: String) -> Inspected {
    shared.engine.ping_anew().await?;
    let deadline = Instant::now() + REASON_PATIENCE;
    let mut found = inspect(&shared, container).await?;
    while found
        .1
        .as_ref()
        .is_some_and(agent::is_killed_without_reason)
        && Instant::now() < deadline
        && shared
            .watch
            .get(&found.0)
            .is_some_and(|agent| !agent.has_ended())
    {
        sleep(LOOK_AGAIN).await;
        match inspect(&shared, found.0.clone()).await {
            Ok(again) => found = again,
            // It has ended in any case.
            Err(_) => break,
        }
    }
    Ok(found)
}

async fn inspect(shared: &Shared, container: String) -> Inspected {
    let found = shared.engine.inspect(&container).await?;
    Ok((container, found.and_then(|found| found.state)))
}

/// The engine's time of a container's end.
fn finished(state: &ContainerState) -> Option<i64> {
    let at = state
        .finished_at
        .as_ref()?
        .parse::<jiff::Timestamp>()
        .ok()?;
    i64::try_from(at.as_nanosecond()).ok()
}

/// As the engine takes times: seconds, a dot, nine digits.
fn seconds(nanoseconds: i64) -> String {
    let (seconds, rest) = (
        nanoseconds.div_euclid(1_000_000_000),
        nanoseconds.rem_euclid(1_000_000_000),
    );
    format!("{seconds}.{rest:09}")
}
