//! Starts agents again when that is planned. The plans are in the records, so they outlive the
//! service.

use std::collections::HashSet;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use agentd_api::State;
use agentd_host::session::Pending;
use agentd_host::telemetry::RESTARTS;
use agentd_host::{Backend, Error, ErrorKind, Result};
use metrics::counter;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::agent::{AgentRecord, Wish};
use crate::agents::Agents;
use crate::crash_point::CrashPoint;
use crate::records::{Share, now_millis};

/// So many agents are started again at a time, however many are due.
const AT_ONCE: usize = 4;

/// How long to wait before a restart that cannot be tried now is looked at again.
const RETRY: Duration = Duration::from_secs(1);

/// The clock is looked at again after so long, since it may be set.
const LONGEST_SLEEP: Duration = Duration::from_secs(60);

/// The restarts that are planned of one backend's agents: one that hangs holds up no other's.
pub struct Restarts {
    agents: Agents,
    backend: Arc<Backend>,
}

impl Restarts {
    /// Of these agents, as far as they are that backend's.
    pub fn new(agents: Agents, backend: Arc<Backend>) -> Self {
        Restarts { agents, backend }
    }

    /// Does them until the service ends.
    pub async fn repeat(self) {
        let mut starting = JoinSet::new();
        let mut ids: HashSet<String> = HashSet::new();
        let mut plans = self.agents.store.plans();
        let share = Share::of(&self.backend, self.agents.sessions.backends());
        while !self.agents.sessions.is_closed() {
            let store = &self.agents.store;
            // Once: the clock may be set meanwhile.
            let now = now_millis();
            let planned = match store
                .planned_restarts(share.clone(), now, AT_ONCE + ids.len())
                .await
            {
                Ok(planned) => planned,
                Err(error) => {
                    tracing::warn!(%error, "the planned restarts are not known");
                    sleep(RETRY).await;
                    continue;
                }
            };
            let mut next = None;
            for (id, at) in planned {
                if ids.contains(&id) {
                    continue;
                }
                CrashPoint::PolicyPlanned.reached();
                if at > now {
                    next = Some(Duration::from_millis(at.abs_diff(now)).min(LONGEST_SLEEP));
                    break;
                }
                if ids.len() == AT_ONCE {
                    break;
                }
                ids.insert(id.clone());
                let agents = self.agents.clone();
                starting.spawn(async move {
                    let agent = id.clone();
                    // An error is a panic, which is reported by itself.
                    let _ = tokio::spawn(async move { restart(&agents, &agent).await }).await;
                    id
                });
            }
            let due = async {
                match next {
                    Some(wait) => sleep(wait).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                // The store outlives this.
                _ = plans.changed() => {}
                () = due => {}
                Some(done) = starting.join_next() => {
                    if let Ok(id) = done {
                        ids.remove(&id);
                    }
                }
            }
        }
    }
}

async fn restart(agents: &Agents, id: &str) {
    if let Err(error) = try_restart(agents, id).await {
        tracing::info!(agent = id, %error, "not started again yet");
        sleep(RETRY).await;
    }
}

/// An error means that nothing was tried.
async fn try_restart(agents: &Agents, id: &str) -> Result<()> {
    let busy = || Error::conflict("starting", "somebody is changing it");
    let _doing = agents.busy.begin_alone(id).ok_or_else(busy)?;
    CrashPoint::PolicyDue.reached();
    let (store, agent) = (&agents.store, id.to_owned());
    let record = match store.get(id).await? {
        Some(record) if record.wish == Wish::Running => record,
        _ => return store.write(move |t| t.unplan(&agent, None)).await,
    };
    let backends = agents.sessions.backends();
    if let Some(name) = record.backend()
        && !backends.has(name)
    {
        let default = backends.default().name();
        let reason = format!("it belongs to another backend than `{default}`");
        let unplan = store.write(move |t| t.unplan(&agent, Some(&reason)));
        return unplan.await;
    }
    if backends.get(record.backend())?.silence().is_some() {
        let message = "its backend could not be reached";
        return Err(Error::unavailable("backend-unavailable", message));
    }
    let pending = match prepare(agents, &record).await {
        Ok(Some(pending)) => pending,
        Ok(None) => return store.write(move |t| t.unplan(&agent, None)).await,
        Err(error) if error.kind == ErrorKind::Unavailable => return Err(error),
        Err(error) => {
            tracing::warn!(agent = record.name, %error, "not started again");
            let refused = store.write(move |t| t.refused(&agent, error.to_string()));
            return refused.await;
        }
    };
    CrashPoint::PolicyOldEnded.reached();
    let session = pending.session().clone();
    let begun = store.write_ahead({
        let (agent, session) = (agent.clone(), session.clone());
        move |t| t.begin_planned(&agent, &session)
    });
    // Without an answer a person was faster; what is listed is forgotten again.
    let Some(planned) = begun.await? else {
        return Ok(());
    };
    CrashPoint::PolicyRecorded.reached();
    let started = pending.start().await;
    let outcome = if started.is_ok() { "started" } else { "failed" };
    let backend = session.backend().name().to_owned();
    counter!(RESTARTS, "backend" => backend, "outcome" => outcome).increment(1);
    match started {
        Ok(_) => {
            CrashPoint::PolicyStarted.reached();
            tracing::info!(agent = record.name, "started again");
            let done = store.write({
                let (agent, session) = (agent.clone(), session.clone());
                move |t| t.restarted_as_planned(&agent, &session, planned)
            });
            done.await?;
            CrashPoint::PolicyNoted.reached();
            if record.has_pending_prompt() {
                agents.deliver_prompt(&agent, &session);
            }
        }
        Err(error) => {
            // The next one was planned when the session ended.
            CrashPoint::PolicyFailed.reached();
            tracing::warn!(agent = record.name, %error, "not started again");
            store.write(move |t| t.fail(&agent, &session.id)).await?;
            CrashPoint::PolicyFailureNoted.reached();
        }
    }
    Ok(())
}

/// Removes what is left of the last session, and lists a new one. None while the last one runs, or may run
/// where it cannot be reached: its end plans a restart when it is known.
async fn prepare(agents: &Agents, record: &AgentRecord) -> Result<Option<Pending>> {
    let checked = agents.check_again(record)?;
    let old = agents.newest(&record.id);
    if let Some(old) = &old {
        if old.record().state != State::Exited {
            return Ok(None);
        }
        agents.sessions.end_for_another(old, None).await?;
    } else if record.is_out_of_reach() {
        return Ok(None);
    }
    agents.sessions.register(checked, old).map(Some)
}
