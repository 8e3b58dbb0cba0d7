use std::sync::Arc;

use agentd_api::{PastSession, State};
use agentd_host::now;
use agentd_host::session::{Change, End, Observer, Session};

use crate::outputs::Outputs;
use crate::store::Store;

/// Keeps what happens to sessions, and makes events of it.
pub struct Watch {
    /// Where the agents are kept.
    pub store: Arc<Store>,
    /// Where it is kept what they leave.
    pub outputs: Arc<Outputs>,
}

impl Observer for Watch {
    fn changed(&self, session: &Arc<Session>, Change { before, after }: &Change) {
        let kind = match (before.state, after.state) {
            (before, State::Exited) if before != State::Exited => "exited",
            (State::Starting, State::Running) => "started",
            _ if before.health != after.health => "health",
            _ => "progress",
        };
        let Some(owner) = session.label.owner.clone() else {
            return;
        };
        let ended = (kind == "exited").then(|| PastSession {
            id: session.id.clone(),
            started_at: session.label.created_at.clone(),
            ended_at: now(),
            exit: after.exit.clone(),
        });
        if ended.is_some() {
            self.outputs.keep_soon(session);
        }
        let (session, after) = (session.clone(), after.clone());
        self.store.write_later(move |transaction| {
            if let Some(ended) = &ended {
                transaction.remember(&owner, ended)?;
            }
            transaction.note(&owner, &session)?;
            match transaction.get(&owner)? {
                Some(record) => transaction.event(kind, &record.describe_as(&session, after)),
                None => Ok(()),
            }
        });
    }

    fn end<'a>(&'a self, session: &'a Arc<Session>, end: End<'a>) -> End<'a> {
        Box::pin(self.outputs.keep_after(session, end))
    }
}
