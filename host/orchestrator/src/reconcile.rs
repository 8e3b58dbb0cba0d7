//! Brings together what is wanted of agents and the sessions that the backend has: after an end of
//! the service of any kind, and again and again, since a request may fail and the backend may have
//! been out of reach.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use agentd_api::{ReconcileAction, State};
use agentd_host::session::{FoundSession, Look, Session};
use agentd_host::{Backend, Error, Phase, Prepared, Result};
use futures_util::stream::FuturesUnordered;
use futures_util::{StreamExt, stream};
use tokio::time::timeout;

use crate::agent::{AgentRecord, Unseen, Wish};
use crate::agents::Agents;
use crate::busy::Doing;
use crate::crash_point::CrashPoint;
use crate::looks::{Looks, Reach};
use crate::reconciliation::Run;
use crate::transaction::Transaction;

/// So many sessions are adopted or ended at a time.
const AT_ONCE: usize = 8;

/// How long an end is waited for. One that takes longer goes on, and is not begun again meanwhile.
const PATIENCE: Duration = Duration::from_secs(30);

/// Compares and repairs, once at a time.
pub struct Reconcile {
    agents: Agents,
    interval: Duration,
    grace: Duration,
    /// The first run, whose ends are not waited for by the start.
    begun: Option<(Run, Vec<End>)>,
    /// What is known of the backends, by their names.
    looks: HashMap<String, Looks>,
}

/// Something that has to end.
enum End {
    /// An agent's session: the agent is to be stopped.
    Stop(String, Arc<Session>),
    /// An agent and its session.
    Delete(String),
    /// A session that belongs to no agent, and what has it.
    Unowned(Arc<Backend>, String),
}

/// What becomes of a session that was found.
enum Found {
    Adopted,
    /// Its agent is being changed; to be looked at the next time.
    Busy,
    /// It belongs to no agent.
    Unowned,
    /// It could not be adopted, for this reason.
    LeftAlone(String),
}

impl Reconcile {
    /// For these agents, as often as the operator wants.
    pub fn new(agents: Agents, prepared: &Prepared) -> Self {
        let config = prepared.config();
        Reconcile {
            agents,
            interval: Duration::from_secs(config.reconcile_interval_secs),
            grace: Duration::from_secs(config.unowned_grace_secs),
            begun: None,
            looks: HashMap::new(),
        }
    }

    /// Adopts what outlived an earlier service, and explains the records that have no session. An
    /// error means that the service cannot start.
    pub async fn begin(&mut self) -> Result<()> {
        let mut run = Run::begin();
        let ends = self.compare(Phase::Starting, &mut run).await?;
        self.agents.set_reconciliation(run.so_far());
        self.begun = Some((run, ends));
        Ok(())
    }

    /// Reconciles until the service ends.
    pub async fn repeat(mut self) {
        let mut arrivals = self.agents.sessions.backends().arrivals();
        while !self.agents.sessions.is_closed() {
            let (mut run, ends) = match self.begun.take() {
                Some(begun) => begun,
                None => self.compare_again().await,
            };
            if let Err(error) = self.agents.deliver_prompts().await {
                tracing::warn!(%error, "the prompts that wait are not known");
            }
            self.end(ends, &mut run).await;
            self.agents.set_reconciliation(run.so_far());
            // One that is there now may have agents of an earlier service.
            let _ = timeout(self.interval, arrivals.changed()).await;
        }
    }

    async fn compare_again(&mut self) -> (Run, Vec<End>) {
        let mut run = Run::begin();
        let ends = self.compare(Phase::Serving, &mut run).await;
        let ends = ends.unwrap_or_else(|error| {
            tracing::warn!(%error, "agents are not reconciled");
            run.failed(error.to_string());
            Vec::new()
        });
        (run, ends)
    }

    /// Compares, adopts, and writes down what is known. Gives what is to be ended.
    async fn compare(&mut self, phase: Phase, run: &mut Run) -> Result<Vec<End>> {
        CrashPoint::ReconcileBegun.reached();
        let sessions = self.agents.sessions.clone();
        // None waits for another.
        let looks = sessions.backends().all().into_iter().map(async |backend| {
            let look = sessions.look(&backend, phase).await;
            (backend, look)
        });
        let mut looks: FuturesUnordered<_> = looks.collect();
        let (mut ends, mut reached) = (Vec::new(), HashMap::new());
        while let Some((backend, look)) = looks.next().await {
            CrashPoint::ReconcileLooked.reached();
            let reach = self.take(&backend, look?, phase, run, &mut ends).await?;
            reached.extend(reach.map(|reach| (backend.name().to_owned(), reach)));
        }
        self.plan_restarts(reached.keys().cloned().collect())
            .await?;
        CrashPoint::ReconcileListed.reached();
        for record in self.agents.store.unsettled().await? {
            if self.agents.busy.is(&record.id) {
                continue;
            }
            match (self.agents.newest(&record.id), record.wish) {
                (Some(_), Wish::Running) => {}
                (Some(session), Wish::Stopped) => {
                    if session.record().state != State::Exited {
                        ends.push(End::Stop(record.id, session));
                    }
                }
                (Some(_), Wish::Deleted) => ends.push(End::Delete(record.id)),
                (None, wish) => {
                    let unseen = self.unseen(&record, &reached);
                    let gone = matches!(unseen, Unseen::Ended(_));
                    self.explain(&record, unseen, run).await?;
                    if gone && wish == Wish::Deleted {
                        ends.push(End::Delete(record.id));
                    }
                }
            }
        }
        Ok(ends)
    }

    /// Adopts what a backend has, and explains what it does not have any more. None when it cannot list
    /// its sessions.
    async fn take(
        &mut self,
        backend: &Arc<Backend>,
        look: Look,
        phase: Phase,
        run: &mut Run,
        ends: &mut Vec<End>,
    ) -> Result<Option<Reach>> {
        let name = backend.name();
        // Whether the service is well is up to the default one; each has its own reason.
        let is_default = Arc::ptr_eq(backend, self.agents.sessions.backends().default());
        let mut failed = |reason: &String| {
            tracing::warn!(reason, backend = name, "not all sessions can be listed");
            if is_default {
                run.failed(reason.clone());
            }
        };
        let (found, missing, silence) = match look {
            Look::Unknown(reason) => {
                failed(&reason);
                return Ok(None);
            }
            Look::Known {
                found,
                missing,
                silence,
            } => (found, missing, silence),
        };
        if let Some(reason) = &silence {
            failed(reason);
        }
        let mut reach = Reach {
            silence,
            ..Reach::default()
        };
        let has_listed = self.looks.get(name).is_some_and(|looks| looks.has_listed);
        let adopted = self.adopt(found, has_listed, phase, run, &mut reach.left_alone);
        let unowned = adopted.await?;
        let looks = self.looks.entry(name.to_owned()).or_default();
        looks.has_listed |= reach.silence.is_none();
        let overdue = looks.overdue(unowned, self.grace).into_iter();
        ends.extend(overdue.map(|session| End::Unowned(backend.clone(), session)));
        explain_missing(looks, &missing, run);
        Ok(Some(reach))
    }

    /// Plans the restarts that policies want and nobody has planned: a person has begun one and left. Not
    /// where the backend is not among those `reached`.
    async fn plan_restarts(&self, reached: Vec<String>) -> Result<()> {
        let reached = Arc::new(reached);
        for id in self.agents.store.unplanned_restarts().await? {
            let newest = self.agents.newest(&id);
            let runs = newest.is_some_and(|session| session.record().state != State::Exited);
            if !runs && let Some(_doing) = self.agents.busy.begin_alone(&id) {
                CrashPoint::OverlookedFound.reached();
                let reached = reached.clone();
                let plan = move |t: &mut Transaction<'_>| {
                    t.plan_overlooked(&id, |name| reached.iter().any(|one| one == name))
                };
                self.agents.store.write(plan).await?;
                CrashPoint::OverlookedPlanned.reached();
            }
        }
        Ok(())
    }

    /// What is to be said of an agent whose newest session this service does not have.
    fn unseen(&self, record: &AgentRecord, reached: &HashMap<String, Reach>) -> Unseen {
        let backends = self.agents.sessions.backends();
        let default = backends.default().name();
        let name = record.backend().unwrap_or(default);
        if !backends.has(name) {
            let reason = format!("it was started by the backend `{name}`, and this is `{default}`");
            return Unseen::Unknown(reason);
        }
        let Some(reach) = reached.get(name) else {
            return Unseen::Unknown("its backend cannot be reached".to_owned());
        };
        let left = record.session_id.as_ref();
        let left = left.and_then(|id| reach.left_alone.get(id));
        match left.or(reach.silence.as_ref()) {
            Some(reason) => Unseen::Unknown(reason.clone()),
            None => Unseen::Ended("the service ended first".to_owned()),
        }
    }

    async fn explain(&self, record: &AgentRecord, unseen: Unseen, run: &mut Run) -> Result<()> {
        let (id, session_id) = (record.id.clone(), record.session_id.clone());
        let (action, reason) = match &unseen {
            Unseen::Ended(reason) => ("gone", reason.clone()),
            Unseen::Unknown(reason) => ("unknown", reason.clone()),
        };
        let noted = self
            .agents
            .store
            .write(move |transaction| transaction.note_unseen(&id, session_id.as_deref(), &unseen));
        let noted = noted.await?;
        CrashPoint::ReconcileExplained.reached();
        if noted {
            tracing::info!(agent = record.name, reason, "its session is not there");
            run.note(ReconcileAction {
                action: action.to_owned(),
                agent: Some(record.id.clone()),
                reason: Some(reason),
                ..ReconcileAction::default()
            });
        }
        Ok(())
    }

    /// Adopts sessions, and gives those that belong to no agent. What cannot be adopted is added to
    /// `left_alone`, with the reason.
    async fn adopt(
        &self,
        found: Vec<FoundSession>,
        has_listed: bool,
        phase: Phase,
        run: &mut Run,
        left_alone: &mut HashMap<String, String>,
    ) -> Result<Vec<String>> {
        // Of two sessions of one agent the one that its record names comes first.
        let (mut newest, mut others) = (Vec::new(), Vec::new());
        for session in found {
            let record = match session.owner() {
                Some(owner) => self.agents.store.get(owner).await?,
                None => None,
            };
            match record.is_some_and(|r| r.session_id.as_deref() == Some(&session.id)) {
                true => newest.push(session),
                false => others.push(session),
            }
        }
        let mut unowned = Vec::new();
        for group in [newest, others] {
            let adoptions = stream::iter(group).map(async |session| {
                let (id, owner) = (session.id.clone(), session.owner().map(str::to_owned));
                let found = self.adopt_one(session, has_listed, phase).await;
                (id, owner, found)
            });
            let mut adoptions = adoptions.buffer_unordered(AT_ONCE);
            while let Some((session, agent, found)) = adoptions.next().await {
                let (action, reason) = match found? {
                    Found::Adopted => ("adopted", None),
                    Found::LeftAlone(reason) => {
                        let shown = format!("it cannot be taken over: {reason}");
                        left_alone.insert(session.clone(), shown);
                        ("failed", Some(reason))
                    }
                    Found::Busy => {
                        left_alone.insert(session, "it is being changed".to_owned());
                        continue;
                    }
                    Found::Unowned => {
                        unowned.push(session);
                        continue;
                    }
                };
                run.note(ReconcileAction {
                    action: action.to_owned(),
                    agent,
                    session: Some(session),
                    reason,
                });
            }
        }
        Ok(unowned)
    }

    async fn adopt_one(
        &self,
        mut found: FoundSession,
        has_listed: bool,
        phase: Phase,
    ) -> Result<Found> {
        let Some((owner, label)) = found.owner().zip(found.label()) else {
            return Ok(Found::Unowned);
        };
        let owner = owner.to_owned();
        if self.agents.newest(&owner).is_some() {
            return Ok(match self.agents.busy.is(&owner) {
                true => Found::Busy,
                false => Found::Unowned,
            });
        }
        let Some(_doing) = self.agents.busy.begin_alone(&owner) else {
            return Ok(Found::Busy);
        };
        let store = &self.agents.store;
        if let Some(record) = store.get(&owner).await? {
            found.end_asked = record.ends_on_request();
        } else {
            if store.is_abandoned(&found.id).await? {
                return Ok(Found::Unowned);
            }
            let record = AgentRecord::found(owner.clone(), label);
            let insert = async { store.write(move |t| t.insert(&record)).await };
            if has_listed || !insert.await? {
                return Ok(Found::Unowned);
            }
        }
        CrashPoint::AdoptBegun.reached();
        let session = match self.agents.sessions.adopt(found, phase).await {
            Err(error) if phase == Phase::Starting && error.is_overdue() => return Err(error),
            Err(error) => {
                tracing::warn!(agent = owner, %error, "its session is not adopted");
                return Ok(Found::LeftAlone(error.to_string()));
            }
            Ok(session) => session,
        };
        CrashPoint::AdoptTaken.reached();
        store
            .write({
                let (owner, session) = (owner.clone(), session.clone());
                move |transaction| {
                    transaction.adopt(&owner, &session)?;
                    // Without one it was deleted meanwhile, which ends the session too.
                    let Some(record) = transaction.get(&owner)? else {
                        return Ok(());
                    };
                    transaction.event("adopted", &record.describe(Some(&session)))
                }
            })
            .await?;
        CrashPoint::AdoptNoted.reached();
        Ok(Found::Adopted)
    }

    /// Ends what has to end. What fails is logged, and comes again the next time.
    async fn end(&self, ends: Vec<End>, run: &mut Run) {
        let ends = stream::iter(ends).map(|end| self.end_one(end));
        let mut ends = ends.buffer_unordered(AT_ONCE);
        while let Some(action) = ends.next().await {
            if let Some(action) = action {
                run.note(action);
            }
        }
    }

    /// None when somebody else is at it.
    async fn end_one(&self, end: End) -> Option<ReconcileAction> {
        let agents = self.agents.clone();
        let (action, agent, session) = match &end {
            End::Stop(agent, session) => ("stopped", Some(agent.clone()), Some(session.id.clone())),
            End::Delete(agent) => ("deleted", Some(agent.clone()), None),
            End::Unowned(_, session) => ("ended", None, Some(session.clone())),
        };
        let doing = agents
            .busy
            .begin_alone(agent.as_ref().or(session.as_ref())?)?;
        CrashPoint::ReconcileEnding.reached();
        let ended = in_time(doing, async move {
            match end {
                End::Stop(_, session) => agents.sessions.stop(&session).await,
                End::Delete(agent) => agents.end_and_remove(&agent).await,
                End::Unowned(backend, session) => {
                    agents.sessions.end_unlisted(&backend, &session).await?;
                    CrashPoint::UnownedEnded.reached();
                    let forget = move |t: &mut Transaction<'_>| t.end_abandoned(&session);
                    agents.store.write(forget).await
                }
            }
        });
        let ended = ended.await;
        CrashPoint::ReconcileEnded.reached();
        let (action, reason) = match ended {
            Ok(()) => {
                tracing::info!(agent, session, "{action}, as was wanted");
                (action, None)
            }
            Err(error) => {
                tracing::warn!(agent, session, %error, "not {action}; tried again later");
                ("failed", Some(error.to_string()))
            }
        };
        Some(ReconcileAction {
            action: action.to_owned(),
            agent,
            session,
            reason,
        })
    }
}

/// A session that a backend does not have twice is lost: the first time its end may not have been
/// reported yet.
fn explain_missing(looks: &mut Looks, missing: &[Arc<Session>], run: &mut Run) {
    let again = looks.missing(missing.iter().map(|session| session.id.clone()).collect());
    for session in missing.iter().filter(|session| again.contains(&session.id)) {
        session.report_missing();
        run.note(ReconcileAction {
            action: "gone".to_owned(),
            agent: session.label.owner.clone(),
            session: Some(session.id.clone()),
            reason: Some("the backend does not have it any more".to_owned()),
        });
    }
}

/// Waits for `work`, which goes on when it takes too long.
async fn in_time(
    doing: Doing,
    work: impl Future<Output = Result<()>> + Send + 'static,
) -> Result<()> {
    let work = tokio::spawn(async move {
        let done = work.await;
        drop(doing);
        done
    });
    match timeout(PATIENCE, work).await {
        Ok(Ok(done)) => done,
        Ok(Err(error)) => Err(Error::internal(format!("it was not finished: {error}"))),
        Err(_) => Err(Error::internal(format!(
            "the backend has not ended it in {} s",
            PATIENCE.as_secs()
        ))),
    }
}
