use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The agents that somebody is doing something about, so that nobody else repairs what is only half
/// done. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Busy {
    /// By id, how many do.
    agents: Arc<Mutex<HashMap<String, usize>>>,
}

/// Somebody is doing something about an agent.
#[derive(Debug)]
pub struct Doing {
    busy: Busy,
    agent: String,
}

impl Busy {
    /// Begins to do something about an agent; others may be at it too.
    pub fn begin(&self, agent: &str) -> Doing {
        *self.lock().entry(agent.to_owned()).or_default() += 1;
        Doing {
            busy: self.clone(),
            agent: agent.to_owned(),
        }
    }

    /// As [`begin`](Self::begin), if nobody else is at it.
    pub fn begin_alone(&self, agent: &str) -> Option<Doing> {
        let mut agents = self.lock();
        if agents.contains_key(agent) {
            return None;
        }
        agents.insert(agent.to_owned(), 1);
        Some(Doing {
            busy: self.clone(),
            agent: agent.to_owned(),
        })
    }

    /// Whether somebody is doing something about it.
    pub fn is(&self, agent: &str) -> bool {
        self.lock().contains_key(agent)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, usize>> {
        self.agents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Doing {
    fn drop(&mut self) {
        let mut agents = self.busy.lock();
        if let Some(count) = agents.get_mut(&self.agent) {
            *count -= 1;
            if *count == 0 {
                agents.remove(&self.agent);
            }
        }
    }
}
