use std::collections::BTreeMap;
use std::fmt;

use agentd_api::{
    AgentStatus, Exit, Health, Labels, NewAgent, PastSession, PromptState, RecordingState, State,
};
use agentd_host::session::{Label, Record, Session};
use agentd_host::{Error, Result, now, to_rfc3339};

use crate::restart::Restart;

/// What is kept of an agent.
#[derive(Clone, PartialEq)]
pub struct AgentRecord {
    /// A UUID.
    pub id: String,
    /// Unique.
    pub name: String,
    /// RFC 3339.
    pub created_at: String,
    /// What somebody wants of it.
    pub wish: Wish,
    /// What was last known of it.
    pub status: AgentStatus,
    /// How often it was restarted.
    pub restarts: u64,
    /// How it is started again without anybody asking for it.
    pub restart: Restart,
    /// What its users sort it by.
    pub labels: Labels,
    /// What became of the prompt that it was created with, if it was.
    pub prompt: Option<PromptState>,
    /// What it is started with, without the variables, the labels, the policy and the prompt.
    pub spec: NewAgent,
    /// Its variables; never shown. None is a value that is not kept.
    pub env: BTreeMap<String, Option<String>>,
    /// The id of its newest session.
    pub session_id: Option<String>,
    /// The newest session as it was last seen.
    pub session: Option<agentd_api::Session>,
    /// The sessions that have ended, oldest first.
    pub history: Vec<PastSession>,
}

/// Without variables, which may be secrets: this gets into panics and logs.
impl fmt::Debug for AgentRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AgentRecord")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("wish", &self.wish)
            .field("status", &self.status)
            .field("session_id", &self.session_id)
            .finish_non_exhaustive()
    }
}

/// What somebody wants of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// That it runs.
    Running,
    /// That it does not run.
    Stopped,
    /// That it is ended and forgotten.
    Deleted,
}

/// What became of a session that an earlier service had, and why that is all that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unseen {
    /// It has ended, and nobody knows how.
    Ended(String),
    /// It may run.
    Unknown(String),
}

impl Wish {
    /// The word in the database.
    pub fn as_str(self) -> &'static str {
        match self {
            Wish::Running => "running",
            Wish::Stopped => "stopped",
            Wish::Deleted => "deleted",
        }
    }
}

impl AgentRecord {
    /// An agent that is about to be started for the first time.
    pub fn new(id: String, created_at: String, mut spec: NewAgent) -> Self {
        let env = std::mem::take(&mut spec.env);
        let labels = std::mem::take(&mut spec.labels);
        AgentRecord {
            id,
            name: spec.name.clone(),
            created_at,
            wish: Wish::Running,
            status: AgentStatus::Pending,
            restarts: 0,
            restart: Restart {
                policy: spec.restart.take().unwrap_or_default(),
                max: spec.max_restarts.take(),
                ..Restart::default()
            },
            labels,
            prompt: spec.prompt.take().map(|_| PromptState::Pending),
            spec,
            env: env
                .into_iter()
                .map(|(name, value)| (name, Some(value)))
                .collect(),
            session_id: None,
            session: None,
            history: Vec::new(),
        }
    }

    /// An agent that was found running, and of which nothing but its session's label is known.
    pub fn found(id: String, label: &Label) -> Self {
        let mut record = AgentRecord::new(id, label.created_at.clone(), label.request());
        record.env = label.env.iter().map(|name| (name.clone(), None)).collect();
        record
    }

    /// A request for the same once more.
    pub fn request(&self) -> Result<NewAgent> {
        let missing: Vec<&str> = self
            .env
            .iter()
            .filter(|(_, value)| value.is_none())
            .map(|(name, _)| name.as_str())
            .collect();
        if !missing.is_empty() {
            let (name, missing) = (&self.name, missing.join("`, `"));
            let message = format!("`{name}` needs the values of `{missing}`, which are not kept");
            return Err(Error::conflict("env-missing", message)
                .hint("delete the agent and create it again with its variables"));
        }
        let value =
            |(name, value): (&String, &Option<String>)| Some((name.clone(), value.clone()?));
        Ok(NewAgent {
            env: self.env.iter().filter_map(value).collect(),
            ..self.spec.clone()
        })
    }

    /// Whether a prompt waits for its program.
    pub fn has_pending_prompt(&self) -> bool {
        self.prompt == Some(PromptState::Pending)
    }

    /// Keeps what is known of its newest session now.
    pub fn take(&mut self, session: &Session) {
        let known = session.record();
        self.session_id = Some(session.id.clone());
        self.status = status(&known);
        self.session = Some(session.describe_as(known));
    }

    /// The backend of its newest session, or else the one that it is for; none is the default one.
    pub fn backend(&self) -> Option<&str> {
        let of_session = self.session.as_ref().map(|session| &*session.backend_type);
        of_session.or(self.spec.backend.as_deref())
    }

    /// Whether its newest session may run where this service cannot reach it.
    pub fn is_out_of_reach(&self) -> bool {
        let unknown = |session: &agentd_api::Session| session.state == State::Unknown;
        self.session.as_ref().is_some_and(unknown)
    }

    /// Whether its newest session, if it has ended, has as a person wanted.
    pub fn ends_on_request(&self) -> bool {
        let ended = |session: &agentd_api::Session| session.state == State::Exited;
        let is_known = self.session.as_ref().is_some_and(ended);
        self.wish != Wish::Running && (!is_known || self.status == AgentStatus::Stopped)
    }

    /// Keeps what is known of a session that this service does not have.
    pub fn take_unseen(&mut self, unseen: &Unseen) {
        let wanted = self.wish == Wish::Running;
        match unseen {
            Unseen::Ended(_) if !wanted => self.status = AgentStatus::Stopped,
            Unseen::Ended(_) => self.status = AgentStatus::Lost,
            // Its start may have been answered before it was written.
            Unseen::Unknown(_) if self.status == AgentStatus::Pending => {
                self.status = AgentStatus::Running;
            }
            Unseen::Unknown(_) => {}
        }
        let Some(session) = &mut self.session else {
            return;
        };
        session.health = Health::Unknown;
        session.pid = None;
        session.progress = None;
        session.viewers = 0;
        session.attach_command = None;
        session.activity = None;
        match unseen {
            Unseen::Ended(reason) => {
                session.state = State::Exited;
                if let Some(recording) = &mut session.recording {
                    recording.state = RecordingState::Ended;
                }
                session.exit = Some(Exit {
                    reason: Some(reason.clone()),
                    ..Exit::default()
                });
            }
            Unseen::Unknown(reason) => {
                session.state = State::Unknown;
                session.progress = Some(reason.clone());
            }
        }
    }

    /// The agent as clients see it. `session` is its newest one, if the service has it.
    pub fn describe(&self, session: Option<&Session>) -> agentd_api::Agent {
        match session {
            Some(session) => self.describe_as(session, session.record()),
            None => self.with(self.status, self.session.clone()),
        }
    }

    /// The agent as clients saw it when `known` was known of its session.
    pub fn describe_as(&self, session: &Session, known: Record) -> agentd_api::Agent {
        self.with(status(&known), Some(session.describe_as(known)))
    }

    fn with(&self, status: AgentStatus, session: Option<agentd_api::Session>) -> agentd_api::Agent {
        // While it is done, a plan is kept, in case the service is killed.
        let waits = !matches!(status, AgentStatus::Pending | AgentStatus::Running);
        agentd_api::Agent {
            id: self.id.clone(),
            name: self.name.clone(),
            status,
            restarts: self.restarts,
            restart: self.restart.policy,
            max_restarts: self.restart.max,
            next_restart_at: self.restart.next_at.filter(|_| waits).map(to_rfc3339),
            last_exit: self.restart.last_exit.clone(),
            restart_reason: self.restart.last_reason.clone(),
            created_at: self.created_at.clone(),
            labels: self.labels.clone(),
            prompt: self.prompt,
            session,
            history: self.history.clone(),
        }
    }
}

/// A session that has ended just now.
pub fn past(session: &Session, exit: Option<Exit>) -> PastSession {
    PastSession {
        id: session.id.clone(),
        started_at: session.label.created_at.clone(),
        ended_at: now(),
        exit,
    }
}

/// What a session's record means for its agent.
pub fn status(known: &Record) -> AgentStatus {
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
