use std::sync::Arc;

use agentd_api::{Agent, AgentStatus, NewAgent};
use agentd_host::session::{Session, Sessions, finish};
use agentd_host::{Error, Result, now};
use tokio::runtime::Handle;

use crate::agent::AgentRecord;
use crate::events::Events;
use crate::previews::Previews;
use crate::store::Store;

/// All agents. The owner on the label of an agent's session is the agent's id, by which the
/// session is listed.
///
/// A session is registered for an agent, and an agent is removed, under the lock of the store: no
/// session is ever without its agent.
#[derive(Clone)]
pub struct Agents {
    store: Arc<Store>,
    sessions: Sessions,
    events: Arc<Events>,
    previews: Arc<Previews>,
}

impl Agents {
    /// The agents that `store` keeps, run by `sessions`.
    pub fn new(store: Arc<Store>, sessions: Sessions, events: Arc<Events>) -> Self {
        Agents {
            store,
            previews: Arc::new(Previews::new(sessions.clone())),
            sessions,
            events,
        }
    }

    /// What happens to them.
    pub fn events(&self) -> &Arc<Events> {
        &self.events
    }

    /// What they show.
    pub fn previews(&self) -> &Previews {
        &self.previews
    }

    /// Adopts the agents whose sessions outlived an earlier service; their secrets did not.
    pub async fn adopt(&self) -> Result<()> {
        for session in self.sessions.adopt().await? {
            let label = &session.label;
            let adopted = match label.owner.clone() {
                Some(id) => {
                    let created_at = label.created_at.clone();
                    let record = AgentRecord::new(id, created_at, label.request());
                    self.store.insert(record, || Ok(()))
                }
                None => Err(Error::internal("its label names no agent")),
            };
            if let Err(error) = adopted {
                tracing::warn!(session = %session.name, %error, "not listed as an agent");
            }
        }
        Ok(())
    }

    /// Starts a new agent. When the client goes away meanwhile, nothing is left of it.
    pub async fn create(&self, spec: NewAgent) -> Result<Agent> {
        let id = uuid::Uuid::new_v4().to_string();
        let request = self.sessions.check(spec.clone(), Some(id.clone()))?;
        let record = AgentRecord::new(id.clone(), now(), spec);
        let pending = self
            .store
            .insert(record.clone(), || self.sessions.register(request, None))?;
        let created = record.describe(Some(pending.session()));
        self.events.changed("created", &created);
        let unfinished = Unfinished {
            agents: self,
            id: &id,
        };
        pending.start().await?;
        std::mem::forget(unfinished);
        self.get(&id)
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
        self.newest(id).ok_or_else(|| {
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

    /// Ends the agent's session, where there is one, and starts a new one. When the client goes
    /// away during the end, the agent is stopped; during the start, that is undone and has failed.
    pub async fn restart(&self, id: &str) -> Result<Agent> {
        let record = self.record(id)?;
        let request = self.sessions.check(record.spec, Some(record.id))?;
        let old = self.newest(id);
        if let Some(old) = &old {
            self.sessions.end_for_another(old).await?;
        }
        let register = |_: &mut AgentRecord| self.sessions.register(request, old);
        let pending = self.store.update(id, register);
        let session = pending.ok_or_else(|| gone(id))??.start().await?;
        let restarted = self.store.update(id, |record| {
            record.restarts += 1;
            record.describe(Some(&session))
        });
        let agent = restarted.ok_or_else(|| gone(id))?;
        self.events.changed("restarted", &agent);
        Ok(agent)
    }

    /// Ends the agent and forgets it; also when the client goes away meanwhile.
    pub async fn delete(&self, id: &str) -> Result<()> {
        self.record(id)?;
        let (agents, id) = (self.clone(), id.to_owned());
        finish(async move { agents.end_and_remove(&id).await }).await
    }

    async fn end_and_remove(&self, id: &str) -> Result<()> {
        while self.store.get(id).is_some() {
            if let Some(session) = self.newest(id) {
                self.sessions.delete(&session).await?;
            }
            // Unless it was restarted just now.
            self.remove_without_session(id);
        }
        Ok(())
    }

    fn remove_without_session(&self, id: &str) {
        let removed = self.store.remove(id, || self.newest(id).is_none());
        if let Some(record) = removed {
            self.events.deleted(id, &record.name);
        }
    }

    fn record(&self, id: &str) -> Result<AgentRecord> {
        self.store.get(id).ok_or_else(|| gone(id))
    }

    fn describe(&self, record: &AgentRecord) -> Agent {
        record.describe(self.newest(&record.id).as_deref())
    }

    fn newest(&self, id: &str) -> Option<Arc<Session>> {
        self.sessions.get(id).ok()
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
        self.agents.remove_without_session(self.id);
        // What is not removed yet is still being undone.
        if self.agents.store.get(self.id).is_some()
            && let Ok(runtime) = Handle::try_current()
        {
            let (agents, id) = (self.agents.clone(), self.id.to_owned());
            runtime.spawn(async move {
                if let Err(error) = agents.end_and_remove(&id).await {
                    tracing::warn!(agent = id, %error, "a start that was given up");
                }
            });
        }
    }
}
