use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::agent::AgentRecord;

/// Where agents are kept.
pub trait Store: Send + Sync + 'static {
    /// Adds an agent; false when its name is taken.
    fn insert(&self, agent: AgentRecord) -> bool;
    /// The agent with that id.
    fn get(&self, id: &str) -> Option<AgentRecord>;
    /// All agents, oldest first.
    fn list(&self) -> Vec<AgentRecord>;
    /// Changes an agent, and gives it as it is then; none when there is no such agent.
    fn update(&self, id: &str, change: &mut dyn FnMut(&mut AgentRecord)) -> Option<AgentRecord>;
    /// Removes an agent, and gives it back.
    fn remove(&self, id: &str) -> Option<AgentRecord>;
}

/// Agents in memory: they are forgotten when the service ends, except for those whose sessions
/// live on in a persistent backend.
#[derive(Debug, Default)]
pub struct MemoryStore {
    agents: Mutex<Vec<AgentRecord>>,
}

impl MemoryStore {
    fn lock(&self) -> MutexGuard<'_, Vec<AgentRecord>> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn insert(&self, agent: AgentRecord) -> bool {
        let mut agents = self.lock();
        let free = agents
            .iter()
            .all(|other| other.name != agent.name && other.id != agent.id);
        if free {
            agents.push(agent);
        }
        free
    }

    fn get(&self, id: &str) -> Option<AgentRecord> {
        self.lock().iter().find(|agent| agent.id == id).cloned()
    }

    fn list(&self) -> Vec<AgentRecord> {
        self.lock().clone()
    }

    fn update(&self, id: &str, change: &mut dyn FnMut(&mut AgentRecord)) -> Option<AgentRecord> {
        let mut agents = self.lock();
        let agent = agents.iter_mut().find(|agent| agent.id == id)?;
        change(agent);
        Some(agent.clone())
    }

    fn remove(&self, id: &str) -> Option<AgentRecord> {
        let mut agents = self.lock();
        let index = agents.iter().position(|agent| agent.id == id)?;
        Some(agents.remove(index))
    }
}
