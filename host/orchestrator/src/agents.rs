use std::collections::VecDeque;
use std::sync::Arc;

use agentd_api::{Agent, AgentStatus, NewAgent, PastSession, State};
use agentd_host::session::{Observer, Record, Session, Sessions};
use agentd_host::{Error, Result, now};

use crate::agent::AgentRecord;
use crate::events::Events;
use crate::store::Store;

/// All agents. An agent's session has the agent's name, and its label the agent's id.
pub struct Agents {
    store: Arc<dyn Store>,
    sessions: Sessions,
    events: Arc<Events>,
}

impl Agents {
    /// The agents that `store` keeps, run by `sessions`.
    pub fn new(store: Arc<dyn Store>, sessions: Sessions, events: Arc<Events>) -> Self {
        Agents {
            store,
            sessions,
            events,
        }
    }

    /// What happens to them.
    pub fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// Adopts the agents whose sessions outlived an earlier service; their secrets did not.
    pub async fn adopt(&self) -> Result<()> {
        for session in self.sessions.adopt().await? {
            let label = &session.label;
            let Some(id) = label.owner.clone() else {
                continue;
            };
            let spec = NewAgent {
                name: label.name.clone(),
                working_dir: label.working_dir.clone(),
                command: Some(label.command.clone()),
                size: Some(label.size),
                options: label.options.clone(),
                ..NewAgent::default()
            };
            self.store.insert(AgentRecord {
                id,
                name: label.name.clone(),
                created_at: label.created_at.clone(),
                restarts: 0,
                spec,
                starting: false,
                history: VecDeque::new(),
            });
        }
        Ok(())
    }

    /// Starts a new agent.
    pub async fn create(&self, spec: NewAgent) -> Result<Agent> {
        let record = AgentRecord {
            id: uuid::Uuid::new_v4().to_string(),
            name: spec.name.clone(),
            created_at: now(),
            restarts: 0,
            spec,
            starting: true,
            history: VecDeque::new(),
        };
        if !self.store.insert(record.clone()) {
            let message = format!("the name `{}` is taken", record.name);
            return Err(Error::conflict("name-taken", message)
                .hint("delete the agent of that name, or choose another name"));
        }
        self.events.changed("created", &record.describe(None));
        let unfinished = Unfinished {
            agents: self,
            id: &record.id,
        };
        let session = self.start(&record).await?;
        std::mem::forget(unfinished);
        self.started(&record.id, &session)
    }

    /// All agents that pass `filter`, oldest first.
    pub fn list(&self, filter: impl Fn(&Agent) -> bool) -> Vec<Agent> {
        let agents = self.store.list().into_iter();
        agents
            .map(|record| self.describe(&record))
            .filter(filter)
            .collect()
    }

    /// The agent with that id.
    pub fn get(&self, id: &str) -> Result<Agent> {
        Ok(self.describe(&self.record(id)?))
    }

    /// The newest session of the agent with that id.
    pub fn session(&self, id: &str) -> Result<Arc<Session>> {
        let record = self.record(id)?;
        self.newest(&record).ok_or_else(|| {
            Error::conflict(
                "no-session",
                format!("agent `{}` has no session", record.name),
            )
            .hint("restart the agent")
        })
    }

    /// How many agents are pending or running.
    pub fn active(&self) -> u64 {
        let active = [AgentStatus::Pending, AgentStatus::Running];
        self.list(|agent| active.contains(&agent.status)).len() as u64
    }

    /// Ends the agent's session and keeps it.
    pub async fn stop(&self, id: &str) -> Result<Agent> {
        let session = self.session(id)?;
        self.sessions.stop(&session).await?;
        self.get(id)
    }

    /// Ends the agent's session, where there is one, and starts a new one.
    pub async fn restart(&self, id: &str) -> Result<Agent> {
        let record = self.record(id)?;
        if let Some(session) = self.newest(&record) {
            self.sessions.delete(&session).await?;
        }
        self.store.update(id, &mut |record| record.starting = true);
        let started = self.start(&record).await;
        self.store.update(id, &mut |record| {
            record.starting = false;
            record.restarts += u64::from(started.is_ok());
        });
        let agent = self.started(id, &*started?)?;
        self.events.changed("restarted", &agent);
        Ok(agent)
    }

    /// Ends the agent and forgets it.
    pub async fn delete(&self, id: &str) -> Result<()> {
        let record = self.record(id)?;
        if let Some(session) = self.newest(&record) {
            self.sessions.delete(&session).await?;
        }
        if self.store.remove(id).is_some() {
            self.events.deleted(id, &record.name);
        }
        Ok(())
    }

    async fn start(&self, record: &AgentRecord) -> Result<Arc<Session>> {
        self.sessions
            .create(record.spec.clone(), Some(record.id.clone()))
            .await
    }

    fn started(&self, id: &str, session: &Session) -> Result<Agent> {
        let record = self.store.update(id, &mut |record| record.starting = false);
        Ok(record.ok_or_else(|| gone(id))?.describe(Some(session)))
    }

    fn record(&self, id: &str) -> Result<AgentRecord> {
        self.store.get(id).ok_or_else(|| gone(id))
    }

    fn describe(&self, record: &AgentRecord) -> Agent {
        record.describe(self.newest(record).as_deref())
    }

    /// The session of the agent's name, unless somebody else's has it.
    fn newest(&self, record: &AgentRecord) -> Option<Arc<Session>> {
        let session = self.sessions.get(&record.name).ok()?;
        (session.label.owner.as_deref() == Some(record.id.as_str())).then_some(session)
    }
}

fn gone(id: &str) -> Error {
    Error::not_found("agent", id)
}

/// An agent that is forgotten again unless its first start succeeds.
struct Unfinished<'a> {
    agents: &'a Agents,
    id: &'a str,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(record) = self.agents.store.remove(self.id) {
            self.agents.events.deleted(self.id, &record.name);
        }
    }
}

/// Makes events of what happens to sessions.
pub struct Watch {
    /// Where the agents are kept.
    pub store: Arc<dyn Store>,
    /// Where the events go.
    pub events: Arc<Events>,
}

impl Observer for Watch {
    fn changed(&self, session: &Arc<Session>, before: &Record, after: &Record) {
        let kind = match (before.state, after.state) {
            (before, State::Exited) if before != State::Exited => "exited",
            (State::Starting, State::Running) => "started",
            _ if before.health != after.health => "health",
            _ => "progress",
        };
        let Some(owner) = &session.label.owner else {
            return;
        };
        let record = self.store.update(owner, &mut |record| {
            if kind == "exited" {
                record.remember(PastSession {
                    started_at: session.label.created_at.clone(),
                    ended_at: now(),
                    exit: after.exit.clone(),
                });
            }
        });
        if let Some(record) = record {
            self.events.changed(kind, &record.describe(Some(session)));
        }
    }
}
