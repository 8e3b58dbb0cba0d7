//! When agents are started again.

use std::time::Duration;

use agentd_api::{AgentPatch, AgentStatus, State};
use agentd_host::session::{Change, SERVICE_STOPPED, Session};
use agentd_host::{from_rfc3339, now};
use rusqlite::{OptionalExtension, params};

use super::{Transaction, to_json};
use crate::agent::{AgentRecord, Unseen, Wish, status};
use crate::records::now_millis;
use crate::restart::{Ended, reason};

/// The event of a restart that is planned.
pub const PLANNED: &str = "restart_scheduled";

impl Transaction<'_> {
    /// Plans what comes after the end of a session, if it is the agent's newest one. True when that
    /// is a restart.
    pub fn session_ended(
        &self,
        id: &str,
        session: &Session,
        Change { before, after }: &Change,
    ) -> rusqlite::Result<bool> {
        let Some(mut agent) = self.get(id)? else {
            return Ok(false);
        };
        if agent.session_id.as_ref() != Some(&session.id) {
            return Ok(false);
        }
        let exit = after.exit.clone().unwrap_or_default();
        let never_ran = before.state == State::Starting;
        let with_service = exit.reason.as_deref() == Some(SERVICE_STOPPED);
        let unknown = exit.code.is_none() && exit.signal.is_none();
        let is_first = agent.restarts == 0 && agent.history.len() < 2;
        agent.restart.last_exit = Some(exit);
        let left_to_others = match after.ended_on_request {
            // A restart that was under way is what was planned; else a person goes on with it.
            true => !with_service || never_ran,
            // Whoever creates the agent gets the error.
            false => never_ran && is_first && unknown,
        };
        if !left_to_others && agent.wish == Wish::Running {
            if with_service {
                agent.restart.attempts = 0;
            }
            let started = &session.label.created_at;
            self.plan_after(&mut agent, status(after), started, with_service);
        }
        self.save_plan(&agent)?;
        Ok(!left_to_others && agent.restart.next_at.is_some())
    }

    /// As [`session_ended`](Self::session_ended), of a session that this service never had.
    pub(super) fn unseen_ended(
        &self,
        agent: &mut AgentRecord,
        unseen: &Unseen,
    ) -> rusqlite::Result<bool> {
        if !matches!(unseen, Unseen::Ended(_)) || agent.wish != Wish::Running {
            return Ok(false);
        }
        let session = agent.session.clone();
        agent.restart.last_exit = session.as_ref().and_then(|session| session.exit.clone());
        let started = session.map_or_else(now, |session| session.created_at);
        // One that was under way when the service ended is made up for at once.
        if agent.restart.next_at.is_none() {
            self.plan_after(agent, agent.status, &started, true);
        }
        self.save_plan(agent)?;
        Ok(agent.restart.next_at.is_some())
    }

    /// Plans what comes after the end of a session that was started then.
    fn plan_after(
        &self,
        agent: &mut AgentRecord,
        status: AgentStatus,
        started: &str,
        with_service: bool,
    ) {
        let now = now_millis();
        let started = from_rfc3339(started).unwrap_or(now);
        let ran = Duration::from_millis(u64::try_from(now - started).unwrap_or(0));
        let ended = Ended {
            status,
            reason: reason(agent.restart.last_exit.as_ref()),
            ran,
            with_service,
        };
        agent.restart.after(&ended, &self.backoff, now);
    }

    /// Plans what comes after a start that has come to nothing.
    fn plan_again(&self, agent: &mut AgentRecord, reason: String) {
        let ended = Ended {
            status: agent.status,
            reason,
            ran: Duration::ZERO,
            with_service: false,
        };
        agent.restart.after(&ended, &self.backoff, now_millis());
    }

    /// A restart that was planned was refused: plans the next one.
    pub fn refused(&mut self, id: &str, reason: String) -> rusqlite::Result<()> {
        let Some(mut agent) = self.get(id)? else {
            return Ok(());
        };
        if agent.wish != Wish::Running || agent.restart.next_at.is_none() {
            return Ok(());
        }
        self.plan_again(&mut agent, reason);
        self.save_plan(&agent)?;
        let kind = match agent.restart.next_at {
            Some(_) => PLANNED,
            None => "progress",
        };
        self.event(kind, &agent.describe(None))
    }

    /// Plans a restart that is wanted and that nobody has planned, where there `is` the agent's backend.
    pub fn plan_overlooked(&mut self, id: &str, is: impl Fn(&str) -> bool) -> rusqlite::Result<()> {
        let Some(mut agent) = self.get(id)? else {
            return Ok(());
        };
        let wanted = agent.wish == Wish::Running && agent.restart.wants(agent.status);
        if wanted && agent.restart.next_at.is_none() && agent.backend().is_none_or(is) {
            let reason = reason(agent.restart.last_exit.as_ref());
            self.plan_again(&mut agent, reason);
            self.save_plan(&agent)?;
            if agent.restart.next_at.is_some() {
                self.event(PLANNED, &agent.describe(None))?;
            }
        }
        Ok(())
    }

    /// A session is about to be started as it was planned. Gives the time for which that was, or
    /// none if it is not wanted any more.
    pub fn begin_planned(&self, id: &str, session: &Session) -> rusqlite::Result<Option<i64>> {
        let update = "UPDATE agents SET session_id = ? WHERE id = ? AND wish = 'running'
            AND next_restart_at IS NOT NULL RETURNING next_restart_at";
        let mut update = self.connection.prepare_cached(update)?;
        let planned = update.query_row([session.id.as_str(), id], |row| row.get(0));
        let planned = planned.optional()?;
        if planned.is_some() {
            self.note(id, session)?;
        }
        Ok(planned)
    }

    /// A session runs that was started as it was planned for that time. It may have ended again, and
    /// the next one be planned.
    pub fn restarted_as_planned(
        &mut self,
        id: &str,
        session: &Session,
        planned: i64,
    ) -> rusqlite::Result<()> {
        let done = "UPDATE agents SET next_restart_at = NULL
            WHERE id = ? AND session_id = ? AND next_restart_at = ?";
        let mut done = self.connection.prepare_cached(done)?;
        done.execute(params![id, session.id, planned])?;
        self.note(id, session)?;
        match self.get(id)? {
            Some(agent) if agent.wish == Wish::Running => {
                self.count_restart(id)?;
                if let Some(agent) = self.get(id)? {
                    self.event("restarted", &agent.describe(Some(session)))?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// What was planned is not done.
    pub fn unplan(&self, id: &str, reason: Option<&str>) -> rusqlite::Result<()> {
        let update = "UPDATE agents SET next_restart_at = NULL,
            restart_reason = coalesce(?, restart_reason) WHERE id = ?";
        let mut update = self.connection.prepare_cached(update)?;
        update.execute(params![reason, id])?;
        Ok(())
    }

    /// Changes when an agent is started again, as the patch says. True when that changes anything.
    pub fn edit_restart(
        &mut self,
        agent: &mut AgentRecord,
        patch: &AgentPatch,
    ) -> rusqlite::Result<bool> {
        let before = agent.restart.clone();
        let restart = &mut agent.restart;
        restart.policy = patch.restart.unwrap_or(restart.policy);
        restart.max = patch.max_restarts.unwrap_or(restart.max);
        if *restart == before {
            return Ok(false);
        }
        if !restart.wants(agent.status) || restart.max.is_some_and(|max| max < restart.attempts) {
            restart.next_at = None;
        }
        self.save_plan(agent)?;
        Ok(true)
    }

    fn save_plan(&self, agent: &AgentRecord) -> rusqlite::Result<()> {
        let restart = &agent.restart;
        let update = "UPDATE agents SET restart = ?, max_restarts = ?, attempts = ?,
            next_restart_at = ?, last_exit = ?, restart_reason = ? WHERE id = ?";
        self.connection.prepare_cached(update)?.execute(params![
            restart.policy.as_str(),
            restart.max,
            restart.attempts,
            restart.next_at,
            restart.last_exit.as_ref().map(to_json).transpose()?,
            restart.last_reason,
            agent.id,
        ])?;
        Ok(())
    }
}
