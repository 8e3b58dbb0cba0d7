use std::collections::BTreeMap;

use agentd_api::{Agent, Labels, PastSession, State};
use agentd_host::session::{Remains, Session};
use agentd_host::{KeyedRequest, now};
use rusqlite::{Connection, OptionalExtension, params};
use serde::Serialize;
use serde_json::json;

use crate::agent::{AgentRecord, Unseen, Wish, status};
use crate::events::{Event, Keep};
use crate::outputs::OutputLimits;
use crate::records::{self, now_millis};
use crate::restart::Backoff;

mod plans;
mod prompts;
#[cfg(test)]
mod tests;

pub use plans::PLANNED;

/// So many ended sessions of an agent are remembered.
const REMEMBERED: i64 = 20;

/// So many sessions without an agent are remembered, of those that had ended and of the others each.
const ABANDONED: i64 = 1000;

/// Answers to requests with a key are kept for a day, in milliseconds.
const KEPT_ANSWERS: i64 = 24 * 60 * 60 * 1000;

/// A transaction: all of it is there when it has been answered, or nothing of it.
pub struct Transaction<'a> {
    connection: &'a Connection,
    keep: Keep,
    keeps_env: bool,
    backoff: Backoff,
    events: Vec<Event>,
}

impl<'a> Transaction<'a> {
    /// Of which `keep` is kept of the events, and the values of variables if `keeps_env`.
    pub fn new(connection: &'a Connection, keep: Keep, keeps_env: bool, backoff: Backoff) -> Self {
        Transaction {
            connection,
            keep,
            keeps_env,
            backoff,
            events: Vec::new(),
        }
    }

    /// For tables that are no agents'.
    pub fn connection(&self) -> &Connection {
        self.connection
    }

    /// What has happened in it.
    pub fn into_events(self) -> Vec<Event> {
        self.events
    }

    /// The agent with that id.
    pub fn get(&self, id: &str) -> rusqlite::Result<Option<AgentRecord>> {
        records::get(self.connection, id)
    }

    /// Adds an agent. False when its name is taken.
    pub fn insert(&self, agent: &AgentRecord) -> rusqlite::Result<bool> {
        let keeps = |value: &Option<String>| value.clone().filter(|_| self.keeps_env);
        let env: BTreeMap<_, _> = agent
            .env
            .iter()
            .map(|(name, value)| (name, keeps(value)))
            .collect();
        let insert = "INSERT INTO agents
            (id, name, created_at, spec, env, wish, status, session_id, session, restart,
             max_restarts)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
        let inserted = self.connection.prepare_cached(insert)?.execute(params![
            agent.id,
            agent.name,
            agent.created_at,
            to_json(&agent.spec)?,
            to_json(&env)?,
            agent.wish.as_str(),
            agent.status.as_str(),
            agent.session_id,
            agent.session.as_ref().map(to_json).transpose()?,
            agent.restart.policy.as_str(),
            agent.restart.max,
        ])?;
        if inserted == 1 && !agent.labels.is_empty() {
            self.set_labels(&agent.id, &agent.labels)?;
        }
        Ok(inserted == 1)
    }

    /// Gives an agent another name, also for its next sessions. False when that is taken.
    pub fn rename(&self, agent: &mut AgentRecord, name: &str) -> rusqlite::Result<bool> {
        let (mut spec, id) = (agent.spec.clone(), &agent.id);
        name.clone_into(&mut spec.name);
        let update = "UPDATE OR IGNORE agents SET name = ?, spec = ? WHERE id = ?";
        let mut update = self.connection.prepare_cached(update)?;
        if update.execute(params![name, to_json(&spec)?, id])? == 0 {
            return Ok(false);
        }
        name.clone_into(&mut agent.name);
        agent.spec = spec;
        Ok(true)
    }

    /// Sets all labels of an agent.
    pub fn set_labels(&self, id: &str, labels: &Labels) -> rusqlite::Result<()> {
        let number = "SELECT number FROM agents WHERE id = ?";
        let mut number = self.connection.prepare_cached(number)?;
        let number: i64 = number.query_row([id], |row| row.get(0))?;
        let remove = "DELETE FROM labels WHERE agent = ?";
        self.connection.prepare_cached(remove)?.execute([number])?;
        let insert = "INSERT INTO labels (agent, key, value) VALUES (?, ?, ?)";
        let mut insert = self.connection.prepare_cached(insert)?;
        for (key, value) in labels {
            insert.execute(params![number, key, value])?;
        }
        Ok(())
    }

    /// Sets what a person wants of an agent, instead of what was planned. False when there is none.
    pub fn set_wish(&self, id: &str, wish: Wish) -> rusqlite::Result<bool> {
        let update = "UPDATE agents SET wish = ?, next_restart_at = NULL, attempts = 0,
            restart_reason = NULL WHERE id = ?";
        let mut update = self.connection.prepare_cached(update)?;
        Ok(update.execute([wish.as_str(), id])? == 1)
    }

    /// A session of the agent is about to be started, as a person wants. False when there is no such
    /// agent, or it is being deleted.
    pub fn begin(&self, id: &str, session: &Session) -> rusqlite::Result<bool> {
        let update = "UPDATE agents SET wish = 'running', session_id = ?, next_restart_at = NULL,
            attempts = 0, restart_reason = NULL
            WHERE id = ? AND wish <> 'deleted'";
        let mut update = self.connection.prepare_cached(update)?;
        let begun = update.execute([session.id.as_str(), id])? == 1;
        self.note(id, session)?;
        Ok(begun)
    }

    /// The start of a session has failed, and nothing is left of it.
    pub fn fail(&self, id: &str, session_id: &str) -> rusqlite::Result<()> {
        let update = "UPDATE agents SET status = 'failed', session = NULL
            WHERE id = ? AND session_id = ?";
        let mut update = self.connection.prepare_cached(update)?;
        update.execute([id, session_id])?;
        Ok(())
    }

    /// One more restart.
    pub fn count_restart(&self, id: &str) -> rusqlite::Result<()> {
        let update = "UPDATE agents SET restarts = restarts + 1 WHERE id = ?";
        self.connection.prepare_cached(update)?.execute([id])?;
        Ok(())
    }

    /// Keeps what is known of the agent's session now, if it is the newest one.
    pub fn note(&self, id: &str, session: &Session) -> rusqlite::Result<()> {
        let known = session.record();
        let status = status(&known).as_str();
        let described = to_json(&session.describe_as(known))?;
        let update = "UPDATE agents SET status = ?, session = ? WHERE id = ? AND session_id = ?";
        let mut update = self.connection.prepare_cached(update)?;
        update.execute(params![status, described, id, session.id])?;
        Ok(())
    }

    /// Keeps what is known of the agent's newest session, which this service does not have, and
    /// notes that as an event. False when that is known already, or the agent has another session
    /// by now.
    pub fn note_unseen(
        &mut self,
        id: &str,
        session_id: Option<&str>,
        unseen: &Unseen,
    ) -> rusqlite::Result<bool> {
        let Some(known) = self.get(id)? else {
            return Ok(false);
        };
        let mut agent = known.clone();
        agent.take_unseen(unseen);
        if known.session_id.as_deref() != session_id || known == agent {
            return Ok(false);
        }
        if let (Unseen::Ended(_), Some(session_id), Some(session)) =
            (unseen, session_id, &agent.session)
        {
            let ended = PastSession {
                id: session_id.to_owned(),
                started_at: session.created_at.clone(),
                ended_at: now(),
                exit: session.exit.clone(),
            };
            self.remember(id, &ended)?;
            self.settle(session_id)?;
        }
        let session = agent.session.as_ref().map(to_json).transpose()?;
        let update = "UPDATE agents SET status = ?, session = ? WHERE id = ?";
        let mut update = self.connection.prepare_cached(update)?;
        update.execute(params![agent.status.as_str(), session, agent.id])?;
        let kind = match unseen {
            Unseen::Ended(_) => "exited",
            Unseen::Unknown(_) => "progress",
        };
        let planned = self.unseen_ended(&mut agent, unseen)?;
        self.event(kind, &agent.describe(None))?;
        if planned {
            self.event(PLANNED, &agent.describe(None))?;
        }
        Ok(true)
    }

    /// As [`note`](Self::note), and gives the agent as it is then, which is the answer to `request`.
    /// None when there is no such agent any more.
    pub fn answer(
        &self,
        id: &str,
        session: &Session,
        request: Option<&KeyedRequest>,
    ) -> rusqlite::Result<Option<Agent>> {
        self.note(id, session)?;
        let Some(record) = self.get(id)? else {
            return Ok(None);
        };
        let is_newest = record.session_id.as_ref() == Some(&session.id);
        let agent = record.describe(is_newest.then_some(session));
        if let Some(request) = request {
            self.answer_request(request, &agent)?;
        }
        Ok(Some(agent))
    }

    /// The agent as it is, which is the answer to a request that an earlier service has begun with it. None
    /// when it is not there any more, or is to be deleted.
    pub fn answer_begun(
        &self,
        id: &str,
        session: Option<&Session>,
        request: &KeyedRequest,
    ) -> rusqlite::Result<Option<Agent>> {
        let record = self.get(id)?;
        let Some(record) = record.filter(|record| record.wish != Wish::Deleted) else {
            return Ok(None);
        };
        let agent = record.describe(session);
        self.answer_request(request, &agent)?;
        Ok(Some(agent))
    }

    /// Makes a session that was found the agent's newest one.
    pub fn adopt(&self, id: &str, session: &Session) -> rusqlite::Result<()> {
        let update = "UPDATE agents SET session_id = ? WHERE id = ?";
        let mut update = self.connection.prepare_cached(update)?;
        update.execute([session.id.as_str(), id])?;
        // A session that is known to have ended is adopted too, and reports that once more.
        let ended = "SELECT EXISTS (SELECT 1 FROM ended_sessions WHERE id = ?)";
        let mut ended = self.connection.prepare_cached(ended)?;
        let has_ended: bool = ended.query_row([&session.id], |row| row.get(0))?;
        if !has_ended && session.record().state != State::Exited {
            self.unplan(id, None)?;
        }
        self.note(id, session)
    }

    /// Remembers a session of the agent that has ended, once.
    pub fn remember(&self, id: &str, ended: &PastSession) -> rusqlite::Result<()> {
        let insert = "INSERT INTO ended_sessions (agent, id, started_at, ended_at, exit)
            SELECT ?1, ?2, ?3, ?4, ?5 WHERE EXISTS (SELECT 1 FROM agents WHERE id = ?1)
            ON CONFLICT DO NOTHING";
        self.connection.prepare_cached(insert)?.execute(params![
            id,
            ended.id,
            ended.started_at,
            ended.ended_at,
            to_json(&ended.exit)?
        ])?;
        let forget = "DELETE FROM ended_sessions WHERE agent = ?1 AND number <=
            (SELECT number FROM ended_sessions WHERE agent = ?1
             ORDER BY number DESC LIMIT 1 OFFSET ?2)";
        let mut forget = self.connection.prepare_cached(forget)?;
        forget.execute(params![id, REMEMBERED])?;
        Ok(())
    }

    /// What follows from the end of the session is about to be decided. False when it was before.
    pub fn settle(&self, session_id: &str) -> rusqlite::Result<bool> {
        let update = "UPDATE ended_sessions SET settled = 1 WHERE id = ? AND settled = 0";
        let mut update = self.connection.prepare_cached(update)?;
        Ok(update.execute([session_id])? == 1)
    }

    /// Keeps what a session of the agent has left, and drops what is older where that is too much.
    pub fn keep_output(
        &self,
        id: &str,
        ended: &PastSession,
        remains: &Remains,
        limits: OutputLimits,
    ) -> rusqlite::Result<()> {
        self.remember(id, ended)?;
        let insert = "INSERT INTO outputs (session, agent, bytes, lines, cols, rows, seq, screen)
            SELECT number, agent, ?, ?, ?, ?, ?, ? FROM ended_sessions WHERE id = ?
            ON CONFLICT DO NOTHING";
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.connection.prepare_cached(insert)?.execute(params![
            number(remains.bytes()),
            &remains.lines[..],
            remains.size.cols,
            remains.size.rows,
            i64::try_from(remains.seq).unwrap_or(i64::MAX),
            remains.screen.as_deref(),
            ended.id,
        ])?;
        let drop = "DELETE FROM outputs WHERE agent = ?1 AND session IN (
            SELECT session FROM (
                SELECT session, sum(bytes) OVER (ORDER BY session DESC) AS bytes_since
                FROM outputs WHERE agent = ?1
            ) WHERE bytes_since > ?2)";
        let mut drop = self.connection.prepare_cached(drop)?;
        drop.execute(params![id, number(limits.of_agent)])?;
        let drop = "DELETE FROM outputs WHERE session = (SELECT min(session) FROM outputs)
            AND (SELECT total FROM output_bytes) > ?";
        let mut drop = self.connection.prepare_cached(drop)?;
        while drop.execute([number(limits.in_all)])? > 0 {}
        Ok(())
    }

    /// Forgets an agent, and notes that as an event, unless it is not there any more.
    pub fn remove(&mut self, id: &str) -> rusqlite::Result<()> {
        let delete = "DELETE FROM agents WHERE id = ? RETURNING name";
        let mut delete = self.connection.prepare_cached(delete)?;
        let name: Option<String> = delete.query_row([id], |row| row.get(0)).optional()?;
        let forget = "DELETE FROM requests WHERE agent = ? AND answer IS NULL";
        self.connection.prepare_cached(forget)?.execute([id])?;
        match name {
            Some(name) => self.push("deleted", json!({ "id": id, "name": name }).to_string()),
            None => Ok(()),
        }
    }

    /// The newest session of the agent, which is about to be forgotten, is to be ended when it is seen
    /// again; `ended` says whether it was ended now.
    pub fn abandon(&self, id: &str, ended: bool) -> rusqlite::Result<()> {
        let note = "INSERT OR REPLACE INTO abandoned (session, at, ended)
            SELECT session_id, ?, ? FROM agents WHERE id = ? AND session_id IS NOT NULL";
        let mut note = self.connection.prepare_cached(note)?;
        note.execute(params![now_millis(), ended, id])?;
        let forget = "DELETE FROM abandoned WHERE session IN
            (SELECT session FROM abandoned WHERE ended = ? ORDER BY at DESC LIMIT -1 OFFSET ?)";
        let mut forget = self.connection.prepare_cached(forget)?;
        forget.execute(params![ended, ABANDONED])?;
        Ok(())
    }

    /// That session has been ended.
    pub fn end_abandoned(&self, session: &str) -> rusqlite::Result<()> {
        let forget = "DELETE FROM abandoned WHERE session = ?";
        self.connection.prepare_cached(forget)?.execute([session])?;
        Ok(())
    }

    /// An agent is to go, of which nobody is answered that it is there.
    pub fn give_up(&self, id: &str) -> rusqlite::Result<()> {
        self.set_wish(id, Wish::Deleted)?;
        self.forget_requests_for(id)
    }

    /// What has that id, an agent or a token, is the answer to no request.
    pub fn forget_requests_for(&self, id: &str) -> rusqlite::Result<()> {
        let forget = "DELETE FROM requests WHERE agent = ?";
        self.connection.prepare_cached(forget)?.execute([id])?;
        Ok(())
    }

    /// This request has come to nothing, and may be begun again.
    pub fn forget_request(&self, request: &KeyedRequest) -> rusqlite::Result<()> {
        let forget = "DELETE FROM requests WHERE key = ? AND fingerprint = ?";
        let mut forget = self.connection.prepare_cached(forget)?;
        forget.execute([request.key.as_str(), &request.fingerprint])?;
        Ok(())
    }

    /// This request is begun with what has that id: an agent, or a token.
    pub fn begin_request(&self, request: &KeyedRequest, id: &str) -> rusqlite::Result<()> {
        let now = now_millis();
        let forget = "DELETE FROM requests WHERE at < ?";
        let mut forget = self.connection.prepare_cached(forget)?;
        forget.execute([now - KEPT_ANSWERS])?;
        let begin = "INSERT INTO requests (key, fingerprint, at, agent) VALUES (?, ?, ?, ?)
            ON CONFLICT (key) DO UPDATE SET agent = excluded.agent, at = excluded.at";
        let mut begin = self.connection.prepare_cached(begin)?;
        begin.execute(params![request.key.as_str(), request.fingerprint, now, id])?;
        Ok(())
    }

    /// This is the answer to a request that is begun.
    pub fn answer_request(
        &self,
        request: &KeyedRequest,
        answer: &impl Serialize,
    ) -> rusqlite::Result<()> {
        let update = "UPDATE requests SET answer = ? WHERE key = ?";
        let mut update = self.connection.prepare_cached(update)?;
        update.execute(params![to_json(answer)?, request.key.as_str()])?;
        Ok(())
    }

    /// Something happened to `agent`.
    pub fn event(&mut self, kind: &str, agent: &Agent) -> rusqlite::Result<()> {
        self.push(kind, json!({ "agent": agent }).to_string())
    }

    fn push(&mut self, kind: &str, data: String) -> rusqlite::Result<()> {
        let at = now_millis();
        let insert = "INSERT INTO events (at, kind, data) VALUES (?, ?, ?)";
        let mut insert = self.connection.prepare_cached(insert)?;
        let id = insert.insert(params![at, kind, data])?;
        let count = i64::try_from(self.keep.count).unwrap_or(i64::MAX);
        let too_many = "DELETE FROM events WHERE id <= ?";
        let mut too_many = self.connection.prepare_cached(too_many)?;
        too_many.execute([id - count])?;
        // Looks at those that are too old, and at one more.
        let too_old = "DELETE FROM events WHERE id < (
            SELECT id FROM events WHERE at >= ? ORDER BY id LIMIT 1)";
        let mut too_old = self.connection.prepare_cached(too_old)?;
        too_old.execute([self.keep.oldest(at)])?;
        self.events.push(Event {
            id: id.unsigned_abs(),
            at,
            kind: kind.to_owned(),
            data,
        });
        Ok(())
    }
}

fn to_json(value: &impl Serialize) -> rusqlite::Result<String> {
    serde_json::to_string(value)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}
