use std::sync::{Mutex, MutexGuard, PoisonError};

use agentd_host::{Error, Result};

use crate::agent::AgentRecord;

/// Agents in memory: they are forgotten when the service ends, except for those whose sessions
/// live on in a persistent backend.
#[derive(Debug, Default)]
pub struct Store {
    agents: Mutex<Vec<AgentRecord>>,
}

impl Store {
    /// Adds an agent whose name is free, if `register` succeeds.
    pub fn insert<T>(&self, agent: AgentRecord, register: impl FnOnce() -> Result<T>) -> Result<T> {
        let mut agents = self.lock();
        let same = |other: &AgentRecord| other.name == agent.name || other.id == agent.id;
        if agents.iter().any(same) {
            let message = format!("the name `{}` is taken", agent.name);
            return Err(Error::conflict("name-taken", message)
                .hint("delete the agent of that name, or choose another name"));
        }
        let registered = register()?;
        agents.push(agent);
        Ok(registered)
    }

    /// The agent with that id.
    pub fn get(&self, id: &str) -> Option<AgentRecord> {
        self.lock().iter().find(|agent| agent.id == id).cloned()
    }

    /// All agents, oldest first.
    pub fn list(&self) -> Vec<AgentRecord> {
        self.lock().clone()
    }

    /// Does something to an agent, which nobody removes meanwhile; none when there is no such
    /// agent.
    pub fn update<T>(&self, id: &str, change: impl FnOnce(&mut AgentRecord) -> T) -> Option<T> {
        let mut agents = self.lock();
        let agent = agents.iter_mut().find(|agent| agent.id == id)?;
        Some(change(agent))
    }

    /// Removes an agent if `may` says so then, and returns it.
    pub fn remove(&self, id: &str, may: impl FnOnce() -> bool) -> Option<AgentRecord> {
        let mut agents = self.lock();
        let index = agents.iter().position(|agent| agent.id == id)?;
        may().then(|| agents.remove(index))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<AgentRecord>> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
