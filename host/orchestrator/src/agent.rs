use std::collections::VecDeque;

use agentd_api::{AgentStatus, NewAgent, PastSession, State};
use agentd_host::session::{Record, Session};

/// What the store keeps of an agent.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentRecord {
    /// A UUID.
    pub id: String,
    /// Unique.
    pub name: String,
    /// RFC 3339.
    pub created_at: String,
    /// How often it was restarted.
    pub restarts: u64,
    /// What it is started with, secrets included; never shown.
    pub spec: NewAgent,
    /// The sessions that have ended, oldest first.
    pub history: VecDeque<PastSession>,
}

/// So many ended sessions are remembered.
const REMEMBERED: usize = 20;

impl AgentRecord {
    /// An agent that is about to be started for the first time.
    pub fn new(id: String, created_at: String, spec: NewAgent) -> Self {
        AgentRecord {
            id,
            name: spec.name.clone(),
            created_at,
            restarts: 0,
            spec,
            history: VecDeque::new(),
        }
    }

    /// The agent as clients see it. `session` is its newest one.
    pub fn describe(&self, session: Option<&Session>) -> agentd_api::Agent {
        match session {
            Some(session) => self.describe_as(session, session.record()),
            // Only a start that failed leaves an agent without a session.
            None => self.with(AgentStatus::Failed, None),
        }
    }

    /// The agent as clients saw it when `known` was known of its session.
    pub fn describe_as(&self, session: &Session, known: Record) -> agentd_api::Agent {
        self.with(status(&known), Some(session.describe_as(known)))
    }

    fn with(&self, status: AgentStatus, session: Option<agentd_api::Session>) -> agentd_api::Agent {
        agentd_api::Agent {
            id: self.id.clone(),
            name: self.name.clone(),
            status,
            restarts: self.restarts,
            created_at: self.created_at.clone(),
            session,
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

fn status(known: &Record) -> AgentStatus {
    match known.state {
        State::Starting => AgentStatus::Pending,
        State::Running | State::Unknown => AgentStatus::Running,
        State::Exited => {
            let exit = known.exit.clone().unwrap_or_default();
            let engine_stopped = exit.reason.as_deref() == Some(ENGINE_STOPPED);
            if exit.code == Some(0) || known.ended_on_request || engine_stopped {
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
