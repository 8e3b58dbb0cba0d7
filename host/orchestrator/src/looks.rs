//! What the last comparisons with a backend have shown, for the next one.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

/// What is remembered of one backend from one run to the next.
#[derive(Debug, Default)]
pub struct Looks {
    /// Whether it has listed its sessions to this service. Until then a session whose agent
    /// has no record is an agent's of a state directory that was lost, and later a remainder.
    pub has_listed: bool,
    /// Since when there are sessions that belong to no agent.
    unowned: HashMap<String, Instant>,
    /// The sessions that it did not have when it was last asked, and should have had.
    missing: HashSet<String>,
}

/// What one look at a backend came to. By their ids, why sessions could not be taken over now; and why
/// there may be others.
#[derive(Debug, Default)]
pub struct Reach {
    pub left_alone: HashMap<String, String>,
    pub silence: Option<String>,
}

impl Looks {
    /// Which of the sessions that belong to no agent have been there for `grace`.
    pub fn overdue(&mut self, unowned: Vec<String>, grace: Duration) -> Vec<String> {
        let now = Instant::now();
        let known = std::mem::take(&mut self.unowned);
        for session in unowned {
            let since = known.get(&session).copied();
            if since.is_none() {
                tracing::warn!(session, "it belongs to no agent, and is ended in {grace:?}");
            }
            self.unowned.insert(session, since.unwrap_or(now));
        }
        let overdue = self
            .unowned
            .iter()
            .filter(|(_, since)| now.duration_since(**since) >= grace);
        overdue.map(|(session, _)| session.clone()).collect()
    }

    /// Notes which sessions are missing `now`, and gives those that were missing before, too.
    pub fn missing(&mut self, now: HashSet<String>) -> HashSet<String> {
        let before = std::mem::replace(&mut self.missing, now);
        self.missing.intersection(&before).cloned().collect()
    }
}
