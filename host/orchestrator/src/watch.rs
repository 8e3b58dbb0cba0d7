use std::sync::Arc;

use agentd_api::State;
use agentd_host::session::{Change, End, Observer, Session};

use crate::activities::Activities;
use crate::agent::past;
use crate::crash_point::CrashPoint;
use crate::outputs::Outputs;
use crate::store::Store;
use crate::transaction::PLANNED;

/// Keeps what happens to sessions, and makes events of it.
pub struct Watch {
    /// Where the agents are kept.
    pub store: Arc<Store>,
    /// Keeps the output of ended sessions.
    pub outputs: Arc<Outputs>,
    /// Has what agents do.
    pub activities: Arc<Activities>,
}

impl Observer for Watch {
    fn changed(&self, session: &Arc<Session>, change: &Change) {
        let Change { before, after } = change;
        let kind = match (before.state, after.state) {
            (before, State::Exited) if before != State::Exited => "exited",
            (State::Starting, State::Running) => "started",
            _ if before.health != after.health => "health",
            _ => "progress",
        };
        let Some(owner) = session.label.owner.clone() else {
            return;
        };
        if kind == "exited" {
            CrashPoint::SessionEnded.reached();
        }
        let ended = (kind == "exited").then(|| past(session, after.exit.clone()));
        let has_ended = ended.is_some();
        let start = (kind == "started").then(|| self.store.unwritten_start());
        let matters = has_ended || start.is_some();
        let (kept, change) = (session.clone(), change.clone());
        self.store.change(matters, move |transaction| {
            let _until_written = &start;
            let mut planned = false;
            transaction.note(&owner, &kept)?;
            if let Some(ended) = &ended {
                transaction.remember(&owner, ended)?;
                if transaction.settle(&kept.id)? {
                    planned = transaction.session_ended(&owner, &kept, &change)?;
                }
            }
            let Some(record) = transaction.get(&owner)? else {
                return Ok(());
            };
            let agent = record.describe_as(&kept, change.after.clone());
            transaction.event(kind, &agent)?;
            match planned {
                true => transaction.event(PLANNED, &agent),
                false => Ok(()),
            }
        });
        // Written after the end: a keeper forgets the session once both are.
        if has_ended {
            self.outputs.keep_soon(session);
        }
    }

    fn active(&self, session: &Arc<Session>) {
        self.activities.show(session);
    }

    fn recording_ended(&self, session: &Arc<Session>) {
        let Some(owner) = session.label.owner.clone() else {
            return;
        };
        let kept = session.clone();
        self.store.change(false, move |transaction| {
            transaction.note(&owner, &kept)?;
            match transaction.get(&owner)? {
                // It may have another session by now.
                Some(record) if record.session_id.as_deref() == Some(&kept.id) => {
                    transaction.event("recording_ended", &record.describe(Some(&kept)))
                }
                _ => Ok(()),
            }
        });
    }

    fn end<'a>(&'a self, session: &'a Arc<Session>, end: End<'a>) -> End<'a> {
        Box::pin(self.outputs.keep_after(session, end))
    }
}
