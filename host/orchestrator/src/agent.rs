use std::collections::VecDeque;

use agentd_api::{AgentStatus, NewAgent, PastSession, State};
use agentd_host::session::Session;

/// What the store keeps of an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentRecord {
    /// A UUID.
    pub id: String,
    /// Unique.
    pub name: String,
    /// RFC 3339.
    pub created_at: String,
    /// How often it was started anew.
    pub restarts: u64,
    /// What it is started with, secrets included; never shown.
    pub spec: NewAgent,
    /// Whether a start is under way.
    pub starting: bool,
    /// The sessions that have ended, oldest first.
    pub history: VecDeque<PastSession>,
}

/// So many ended sessions are remembered.
const REMEMBERED: usize = 20;

impl AgentRecord {
    /// The agent as clients see it. `session` is its newest one.
    pub fn describe(&self, session: Option<&Session>) -> agentd_api::Agent {
        let status = match session {
            None if self.starting => AgentStatus::Pending,
            None => AgentStatus::Failed,
            Some(session) => status(session),
        };
        agentd_api::Agent {
            id: self.id.clone(),
            name: self.name.clone(),
            status,
            restarts: self.restarts,
            created_at: self.created_at.clone(),
            session: session.map(Session::describe),
            history: self.history.iter().cloned().collect(),
        }
    }

    /// Remembers a session that has ended.
    pub fn remember(&mut self, ended: PastSession) {
        self.history.push_back(ended);
        if self.history.len() > REMEMBERED {
            self.history.pop_front();
        }
    }
}

fn status(session: &Session) -> AgentStatus {
    let record = session.record();
    match record.state {
        State::Starting => AgentStatus::Pending,
        State::Running | State::Unknown => AgentStatus::Running,
        State::Exited => {
            let exit = record.exit.unwrap_or_default();
            let engine_stopped = exit.reason.as_deref() == Some(ENGINE_STOPPED);
            if exit.code == Some(0) || session.is_stop_requested() || engine_stopped {
                AgentStatus::Stopped
            } else if exit.code.is_none() && exit.signal.is_none() {
                AgentStatus::Lost
            } else {
                AgentStatus::Failed
            }
        }
    }
}

/// The reason of an exit that came because the whole engine was stopped.
const ENGINE_STOPPED: &str = "engine-stopped";
