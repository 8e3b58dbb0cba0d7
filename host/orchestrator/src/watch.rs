use std::sync::Arc;

use agentd_api::{PastSession, State};
use agentd_host::now;
use agentd_host::session::{Change, Observer, Session};

use crate::events::Events;
use crate::store::Store;

/// Makes events of what happens to sessions.
pub struct Watch {
    /// Where the agents are kept.
    pub store: Arc<Store>,
    /// Where the events go.
    pub events: Arc<Events>,
}

impl Observer for Watch {
    fn changed(&self, session: &Arc<Session>, Change { before, after }: &Change) {
        let kind = match (before.state, after.state) {
            (before, State::Exited) if before != State::Exited => "exited",
            (State::Starting, State::Running) => "started",
            _ if before.health != after.health => "health",
            _ => "progress",
        };
        let Some(owner) = &session.label.owner else {
            return;
        };
        let agent = self.store.update(owner, |record| {
            if kind == "exited" {
                record.remember(PastSession {
                    started_at: session.label.created_at.clone(),
                    ended_at: now(),
                    exit: after.exit.clone(),
                });
            }
            record.describe_as(session, after.clone())
        });
        if let Some(agent) = agent {
            self.events.changed(kind, &agent);
        }
    }
}
