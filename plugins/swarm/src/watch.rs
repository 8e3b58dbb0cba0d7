//! What becomes of the tasks. The engines of today have no events of tasks, so all of them are
//! asked for with one request: often while one of them starts or ends, else once a second, and not
//! at all while there are no agents.
//!
//! While the manager does not answer, the agents are `unknown`, and so are those on a node that is
//! down. Swarm waits for the manager, and gives up on a node that is down: the tasks there are ended
//! when it is back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use agentd_docker_engine::engine::status;
use agentd_plugin_api::prelude::*;
use agentd_plugin_api::tokio::sync::Notify;
use agentd_plugin_api::tokio::task::AbortHandle;
use agentd_plugin_api::tokio::time::{Instant, sleep};
use agentd_plugin_api::{tokio, tracing};
use bollard::models::Task;
use bollard::query_parameters::{InspectServiceOptions, ListTasksOptionsBuilder};
use futures_util::StreamExt;

use crate::Shared;
use crate::member::Member;
use crate::nodes::Nodes;

const OFTEN: Duration = Duration::from_millis(100);
const SELDOM: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(3);

/// So many agents are looked at at a time.
const LOOKS: usize = 16;

/// The services that are watched.
#[derive(Default)]
pub(crate) struct Watch {
    watched: Mutex<Watched>,
    /// There is a new member.
    joined: Notify,
    /// There is something to be removed.
    doom: Notify,
}

#[derive(Default)]
struct Watched {
    /// By the service's id.
    members: HashMap<String, Arc<Member>>,
    /// Sessions of which nothing may be left, and until when something of them may still appear.
    doomed: HashMap<String, Instant>,
    /// The manager is out of reach.
    away: bool,
}

impl Watch {
    pub(crate) fn add(&self, service: &str, member: &Arc<Member>) {
        self.lock()
            .members
            .insert(service.to_owned(), member.clone());
        self.joined.notify_one();
    }

    pub(crate) fn forget(&self, service: &str) {
        self.lock().members.remove(service);
    }

    pub(crate) fn is_away(&self) -> bool {
        self.lock().away
    }

    /// Removes what there is of a session, and what comes to be there until `late` is over.
    pub(crate) fn remove_later(&self, session: &str, late: Duration) {
        let until = Instant::now() + late;
        let mut watched = self.lock();
        let known = watched.doomed.entry(session.to_owned()).or_insert(until);
        *known = until.max(*known);
        self.doom.notify_one();
    }

    fn is_removed(&self, session: &str) {
        self.lock().doomed.remove(session);
    }

    /// Returns what was the case before.
    fn set_away(&self, away: bool) -> bool {
        std::mem::replace(&mut self.lock().away, away)
    }

    fn all(&self) -> Vec<(String, Arc<Member>)> {
        let watched = self.lock();
        let members = watched.members.iter();
        members
            .map(|(id, member)| (id.clone(), member.clone()))
            .collect()
    }

    fn doomed(&self) -> Vec<(String, Instant)> {
        let watched = self.lock();
        let doomed = watched.doomed.iter();
        doomed.map(|(id, until)| (id.clone(), *until)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that watches; it ends with this.
pub(crate) struct Watching(AbortHandle);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Begins to watch.
pub(crate) fn begin(shared: Arc<Shared>) -> Watching {
    let working = async move { tokio::join!(watch(&shared), sweep(&shared)) };
    Watching(tokio::spawn(working).abort_handle())
}

async fn watch(shared: &Shared) {
    let mut retry = OFTEN;
    // The last time that the manager answered.
    let mut answered = jiff::Timestamp::now();
    loop {
        let joined = shared.watch.joined.notified();
        if shared.watch.all().is_empty() {
            joined.await;
            continue;
        }
        let now = jiff::Timestamp::now();
        let away_since = shared.watch.is_away().then_some(answered);
        let began = Instant::now();
        let pause = match shared.look_at_all(away_since).await {
            Ok(pause) => {
                (retry, answered) = (OFTEN, now);
                pause
            }
            Err(error) => {
                shared.lose_sight(&error);
                retry = (retry * 2).min(LAST_RETRY);
                retry
            }
        };
        tokio::select! {
            // A manager with much to say is asked less often.
            () = sleep(pause.max(began.elapsed())) => {}
            () = joined => {}
        }
    }
}

/// Removes what is doomed, as long as it takes.
async fn sweep(shared: &Shared) {
    loop {
        let doom = shared.watch.doom.notified();
        let doomed = shared.watch.doomed();
        if doomed.is_empty() {
            doom.await;
            continue;
        }
        let removals = doomed.into_iter().map(|(session, until)| async move {
            // What is over now was over before it was looked for.
            let is_late = Instant::now() >= until;
            match shared.remove_all(&session).await {
                Ok(()) if is_late => shared.watch.is_removed(&session),
                Ok(()) => {}
                Err(error) => tracing::debug!(%session, %error, "not removed yet"),
            }
        });
        futures_util::future::join_all(removals).await;
        sleep(SELDOM).await;
    }
}

impl Shared {
    /// Fails at once when the manager is known to be out of reach, and still is: one that hangs
    /// would keep a request waiting for minutes.
    pub(crate) async fn within_reach(&self) -> Result<()> {
        match self.watch.is_away() {
            true => self.nodes().await.map(drop),
            false => Ok(()),
        }
    }

    /// The tasks of all of this daemon's services, or of one session's, the latest last.
    pub(crate) async fn tasks(&self, session: Option<&str>) -> Result<Vec<Task>> {
        let options = ListTasksOptionsBuilder::new()
            .filters(&self.ours(session))
            .build();
        let list = async {
            let listed = self.engine.client().list_tasks(Some(options)).await;
            listed.map_err(|error| self.error("listing the tasks", error))
        };
        let mut tasks = self.in_time(list).await?;
        tasks.sort_by(|one, other| one.created_at.cmp(&other.created_at));
        Ok(tasks)
    }

    /// Reports what has become of one agent.
    pub(crate) async fn look_at(&self, service: &str, member: &Member) -> Result<()> {
        let session = &member.agent.id;
        let (tasks, nodes) = (self.tasks(Some(session)).await?, self.nodes().await?);
        self.settle(service, member, tasks.last(), &nodes, None)
            .await
    }

    /// Reports what has become of all of them, and says when to look again. `away_since`: until
    /// now the manager was out of reach.
    async fn look_at_all(&self, away_since: Option<jiff::Timestamp>) -> Result<Duration> {
        let (members, nodes) = (self.watch.all(), self.nodes().await?);
        let tasks: HashMap<String, Task> = self
            .tasks(None)
            .await?
            .into_iter()
            .filter_map(|task| Some((task.service_id.clone()?, task)))
            .collect();
        let looks: Vec<_> = members
            .iter()
            .map(|(service, member)| {
                let look = self.settle(service, member, tasks.get(service), &nodes, away_since);
                // One that cannot be looked at keeps no other from being seen.
                async move {
                    if let Err(error) = look.await {
                        member.unknown(&error.message);
                    }
                }
            })
            .collect();
        let looks = futures_util::stream::iter(looks).buffer_unordered(LOOKS);
        looks.collect::<()>().await;
        if self.watch.set_away(false) {
            tracing::info!("the Swarm's manager is back");
        }
        let is_restless = members.iter().any(|(_, member)| member.is_restless());
        Ok(if is_restless { OFTEN } else { SELDOM })
    }

    async fn settle(
        &self,
        service: &str,
        member: &Member,
        task: Option<&Task>,
        nodes: &Nodes,
        away_since: Option<jiff::Timestamp>,
    ) -> Result<()> {
        match task {
            _ if member.agent.has_ended() => {}
            Some(task) => self.report(member, task, nodes, away_since).await?,
            None if member.is_ending() => {}
            None => {
                let why = match self.has_service(service).await? {
                    false => "the service was removed",
                    true if member.place.borrow().task.is_some() => "Swarm has removed its task",
                    // It has none yet.
                    true => return Ok(()),
                };
                member.agent.lost(why);
                member.over();
            }
        }
        Ok(())
    }

    async fn has_service(&self, service: &str) -> Result<bool> {
        let inspect = async {
            let client = self.engine.client();
            let options = None::<InspectServiceOptions>;
            match client.inspect_service(service, options).await {
                Ok(_) => Ok(true),
                Err(error) if status(&error) == Some(404) => Ok(false),
                Err(error) => Err(self.error("looking for the service", error)),
            }
        };
        self.in_time(inspect).await
    }

    fn lose_sight(&self, error: &Error) {
        if !self.watch.set_away(true) {
            tracing::warn!("{error}");
        }
        for (_, member) in self.watch.all() {
            member.unknown(&error.message);
        }
    }
}
