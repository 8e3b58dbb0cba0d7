//! How agents go.

use std::time::Duration;

use agentd_host::session::finish;
use agentd_host::{Error, Result};
use tokio::time::timeout;

use crate::agent::{AgentRecord, Wish};
use crate::agents::Agents;
use crate::crash_point::CrashPoint;
use crate::transaction::Transaction;

/// How long the end of a session is waited for that is to be left to itself if need be: longer than
/// any end takes whose backend can be reached.
const PATIENCE: Duration = Duration::from_secs(15);

impl Agents {
    /// Ends the agent and forgets it; also when the client goes away meanwhile. With `force` it is
    /// forgotten even if its session cannot be ended, which is made up for when that is seen again.
    pub async fn delete(&self, id: &str, force: bool) -> Result<()> {
        let (agents, id) = (self.clone(), id.to_owned());
        finish(async move {
            let _doing = agents.busy.begin(&id);
            agents.about_to_edit();
            CrashPoint::DeleteBegun.reached();
            agents.wish(&id, Wish::Deleted).await?;
            CrashPoint::DeleteWished.reached();
            let removed = match force {
                true => agents.end_or_abandon(&id).await,
                false => agents.end_and_remove(&id).await,
            };
            if removed.is_err() {
                // The client knows that it is still there, and may go on with it.
                CrashPoint::DeleteFailed.reached();
                let agent = id.clone();
                let keep = move |t: &mut Transaction<'_>| t.set_wish(&agent, Wish::Stopped);
                agents.store.write(keep).await?;
                CrashPoint::DeleteKept.reached();
            }
            removed
        })
        .await
    }

    async fn end_or_abandon(&self, id: &str) -> Result<()> {
        let reason = match timeout(PATIENCE, self.end_and_remove(id)).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it has not ended in {PATIENCE:?}"),
        };
        CrashPoint::DeleteAbandoning.reached();
        self.abandon_and_remove(id, false).await?;
        CrashPoint::DeleteAbandoned.reached();
        tracing::warn!(agent = id, reason, "deleted; its session may still run");
        if let Some(session) = self.newest(id) {
            self.sessions.abandon(&session);
        }
        Ok(())
    }

    /// A backend may list a session for a moment after its end, and the service be killed in that moment:
    /// no agent is to be made of it again.
    async fn abandon_and_remove(&self, id: &str, ended: bool) -> Result<()> {
        let agent = id.to_owned();
        let remove = move |t: &mut Transaction<'_>| {
            t.abandon(&agent, ended)?;
            t.remove(&agent)
        };
        self.store.write(remove).await?;
        self.forget(id).await;
        Ok(())
    }

    /// What there is of an agent beside its record.
    async fn forget(&self, id: &str) {
        self.tokens.remove_of(id);
        self.previews().forget(id);
        self.activities().forget(id);
        // A service that is killed before this leaves it to the next one.
        if let Some(recordings) = self.sessions.recordings() {
            recordings.remove(id).await;
        }
    }

    /// Has nothing be left of an agent of which nobody is answered that it is there, and of the request for it.
    /// What cannot be done now is done as soon as the disk and the backend allow it.
    pub(crate) async fn give_up(&self, id: &str) {
        let agent = id.to_owned();
        let give_up = move |t: &mut Transaction<'_>| t.give_up(&agent);
        self.store.change(true, give_up);
        if !self.let_go(id).await {
            return;
        }
        let agent = id.to_owned();
        let remove = move |t: &mut Transaction<'_>| {
            t.abandon(&agent, true)?;
            t.remove(&agent)
        };
        self.store.change(true, remove);
        self.store.flush().await;
    }

    /// Has nothing be left of an agent that has no record. False if its session cannot be ended now.
    pub(crate) async fn let_go(&self, id: &str) -> bool {
        if let Err(error) = self.end_sessions(id).await {
            tracing::warn!(agent = id, %error, "a start that was given up");
            return false;
        }
        self.forget(id).await;
        true
    }

    /// No session is started for the agent any more, as its record says.
    pub(crate) async fn end_and_remove(&self, id: &str) -> Result<()> {
        self.end_sessions(id).await?;
        CrashPoint::DeleteEnded.reached();
        self.abandon_and_remove(id, true).await?;
        CrashPoint::DeleteRemoved.reached();
        Ok(())
    }

    async fn end_sessions(&self, id: &str) -> Result<()> {
        while let Some(session) = self.newest(id) {
            self.sessions.delete(&session).await?;
        }
        if let Some(record) = self.store.get(id).await?
            && record.is_out_of_reach()
        {
            self.end_out_of_reach(&record, "delete").await?;
        }
        Ok(())
    }

    /// Ends a session that could not be reached when the backend was looked at last, for somebody who wants
    /// to `act` on its agent. It may be reached now, or be gone.
    pub(crate) async fn end_out_of_reach(&self, record: &AgentRecord, act: &str) -> Result<()> {
        let name = &record.name;
        let message = format!("`{name}` may run where this service cannot reach it now");
        let out_of_reach = Error::unavailable("backend-unavailable", message).hint(format!(
            "make its backend reachable and {act} it then, or delete it with `force`: it is ended when it \
             is seen again"
        ));
        let backend = self.sessions.backends().get(record.backend());
        let (Some(session), Ok(backend)) = (&record.session_id, backend) else {
            return Err(out_of_reach);
        };
        match self.sessions.end_unlisted(&backend, session).await {
            Ok(()) => Ok(()),
            Err(error) if error.is_gone() => Ok(()),
            Err(error) => {
                tracing::warn!(agent = name, %error, "its session cannot be ended");
                Err(out_of_reach)
            }
        }
    }
}
