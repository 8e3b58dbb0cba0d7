//! Brings together what is wanted of agents and the sessions that the backend has: after an end of
//! the service of any kind, and again and again, since a request may fail and the backend may have
//! been out of reach.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use agentd_api::{ReconcileAction, State};
use agentd_host::session::{FoundSession, Look, Session};
use agentd_host::{Backend, Error, Phase, Result};
use futures_util::{StreamExt, stream};
use tokio::time::timeout;

use crate::agent::{AgentRecord, Unseen, Wish};
use crate::agents::Agents;
use crate::busy::Doing;
use crate::crash_point::CrashPoint;
use crate::looks::{Looks, Reach};
use crate::reconciliation::Run;
use crate::records::Share;
use crate::transaction::Transaction;

/// So many sessions are adopted or ended at a time.
const AT_ONCE: usize = 8;

/// How long an end is waited for. One that takes longer goes on, and is not begun again meanwhile.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often is compared, and how long what belongs to nobody may stay.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Between two comparisons.
    pub interval: Duration,
    /// Before a session that belongs to no agent is ended.
    pub grace: Duration,
}

/// Compares and repairs, of one backend and once at a time: one that hangs holds up no other.
pub struct Reconcile {
    agents: Agents,
    backend: Arc<Backend>,
    pace: Pace,
    /// The first run, whose ends are not waited for by the start.
    begun: Option<(Run, Vec<End>)>,
    looks: Looks,
}

/// Something that has to end.
enum End {
    /// An agent's session: the agent is to be stopped.
    Stop(String, Arc<Session>),
    /// An agent and its session.
    Delete(String),
    /// A session that belongs to no agent.
    Unowned(String),
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
    /// For these agents, as far as they are that backend's.
    pub fn new(agents: Agents, backend: Arc<Backend>, pace: Pace) -> Self {
        Reconcile {
            agents,
            backend,
            pace,
            begun: None,
            looks: Looks::default(),
        }
    }

    /// Adopts what outlived an earlier service, and explains the records that have no session. An
    /// error means that the service cannot start.
    pub async fn begin(&mut self) -> Result<()> {
        let (run, ends) = match self.agents.sessions.backends().is_optional(&self.backend) {
            true => self.compare_again().await,
            false => {
                let mut run = Run::begin();
                let ends = self.compare(Phase::Starting, &mut run).await?;
                (run, ends)
            }
        };
        self.show(&run);
        self.begun = Some((run, ends));
        Ok(())
    }

    /// Reconciles until the service ends.
    pub async fn repeat(mut self) {
        while !self.agents.sessions.is_closed() {
            let (mut run, ends) = match self.begun.take() {
                Some(begun) => begun,
                None => self.compare_again().await,
            };
            if let Err(error) = self.agents.deliver_prompts().await {
                tracing::warn!(%error, "the prompts that wait are not known");
            }
            self.end(ends, &mut run).await;
            self.show(&run);
            run.count(&self.backend);
            tokio::time::sleep(self.pace.interval).await;
        }
    }

    fn show(&self, run: &Run) {
        let last = &self.agents.reconciliations;
        last.set(&self.backend, run.so_far());
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
        let look = self.agents.sessions.look(&self.backend, phase).await?;
        CrashPoint::ReconcileLooked.reached();
        let mut ends = Vec::new();
        // None when it cannot list its sessions.
        let reach = match look {
            Look::Unknown(reason) => {
                let backend = self.backend.name();
                tracing::warn!(reason, backend, "its sessions cannot be listed");
                run.failed(reason);
                None
            }
            Look::Known {
                found,
                missing,
                silence,
            } => {
                if let Some(reason) = &silence {
                    let backend = self.backend.name();
                    tracing::warn!(reason, backend, "not all of its sessions can be listed");
                    run.failed(reason.clone());
                }
                let mut left_alone = HashMap::new();
                let unowned = self.adopt(found, phase, run, &mut left_alone).await?;
                self.looks.has_listed |= silence.is_none();
                let overdue = self.looks.overdue(unowned, self.pace.grace);
                ends.extend(overdue.into_iter().map(End::Unowned));
                self.explain_missing(&missing, run);
                self.plan_restarts().await?;
                Some(Reach {
                    left_alone,
                    silence,
                })
            }
        };
        CrashPoint::ReconcileListed.reached();
        for record in self.agents.store.unsettled().await? {
            if !self.is_for(&record) || self.agents.busy.is(&record.id) {
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
                    let unseen = self.unseen(&record, reach.as_ref());
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

    /// Whether the agent is this backend's. The default one also has those whose own is not there.
    fn is_for(&self, record: &AgentRecord) -> bool {
        let backends = self.agents.sessions.backends();
        let name = record.backend().filter(|name| backends.is_there(name));
        name.unwrap_or(backends.default().name()) == self.backend.name()
    }

    /// Plans the restarts that policies want and nobody has planned: a person has begun one and left.
    async fn plan_restarts(&self) -> Result<()> {
        let share = Share::of(&self.backend, self.agents.sessions.backends());
        for id in self.agents.store.unplanned_restarts(share).await? {
            let newest = self.agents.newest(&id);
            let runs = newest.is_some_and(|session| session.record().state != State::Exited);
            if !runs && let Some(_doing) = self.agents.busy.begin_alone(&id) {
                let backend = self.backend.name().to_owned();
                CrashPoint::OverlookedFound.reached();
                let plan =
                    move |t: &mut Transaction<'_>| t.plan_overlooked(&id, |name| name == backend);
                self.agents.store.write(plan).await?;
                CrashPoint::OverlookedPlanned.reached();
            }
        }
        Ok(())
    }

    /// What is to be said of an agent whose newest session this service does not have.
    fn unseen(&self, record: &AgentRecord, reach: Option<&Reach>) -> Unseen {
        let (backends, this) = (self.agents.sessions.backends(), self.backend.name());
        if let Some(name) = record.backend().filter(|name| *name != this) {
            let reason = match backends.get(Some(name)) {
                Err(error) if backends.has(name) => error.message,
                _ => format!("it was started by the backend `{name}`, and this is `{this}`"),
            };
            return Unseen::Unknown(reason);
        }
        let Some(reach) = reach else {
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
                let found = self.adopt_one(session, phase).await;
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

    async fn adopt_one(&self, mut found: FoundSession, phase: Phase) -> Result<Found> {
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
            let mut record = AgentRecord::found(owner.clone(), label);
            let backends = self.agents.sessions.backends();
            let is_default = Arc::ptr_eq(&self.backend, backends.default());
            record.spec.backend = (!is_default).then(|| self.backend.name().to_owned());
            record.session_id = Some(found.id.clone());
            let insert = async { store.write(move |t| t.insert(&record)).await };
            if self.looks.has_listed || !insert.await? {
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

    /// A session that the backend does not have twice is lost: the first time its end may not have been
    /// reported yet.
    fn explain_missing(&mut self, missing: &[Arc<Session>], run: &mut Run) {
        let ids = missing.iter().map(|session| session.id.clone());
        let again = self.looks.missing(ids.collect());
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
        let (agents, backend) = (self.agents.clone(), self.backend.clone());
        let (action, agent, session) = match &end {
            End::Stop(agent, session) => ("stopped", Some(agent.clone()), Some(session.id.clone())),
            End::Delete(agent) => ("deleted", Some(agent.clone()), None),
            End::Unowned(session) => ("ended", None, Some(session.clone())),
        };
        let doing = agents
            .busy
            .begin_alone(agent.as_ref().or(session.as_ref())?)?;
        CrashPoint::ReconcileEnding.reached();
        let ended = in_time(doing, async move {
            match end {
                End::Stop(_, session) => agents.sessions.stop(&session).await,
                End::Delete(agent) => agents.end_and_remove(&agent).await,
                End::Unowned(session) => {
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
