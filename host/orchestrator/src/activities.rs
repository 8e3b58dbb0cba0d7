use std::collections::HashMap;
use std::sync::Arc;

use agentd_api::{Activity, ActivityState};
use agentd_host::session::Session;
use serde_json::json;
use tokio::sync::watch;

/// What the programs of agents do, for those who listen to the events. It is not kept: whoever comes
/// back is shown what there is.
#[derive(Debug, Default)]
pub struct Activities {
    shown: watch::Sender<Shown>,
}

#[derive(Debug, Default)]
struct Shown {
    /// How often any of them changed.
    changes: u64,
    /// By the agent's id.
    agents: HashMap<String, One>,
}

#[derive(Debug)]
struct One {
    name: String,
    activity: Activity,
    /// The number of its last change.
    change: u64,
}

/// One who is shown all that are known, and then those that change.
#[derive(Debug)]
pub struct Listener {
    shown: watch::Receiver<Shown>,
    seen: u64,
}

impl Activities {
    /// The session's has changed.
    pub fn show(&self, session: &Arc<Session>) {
        let Some(owner) = session.label.owner.clone() else {
            return;
        };
        self.shown.send_if_modified(|shown| {
            // Asked for here, so that the last one to come knows the newest.
            let activity = session.activity();
            let is_same = match shown.agents.get(&owner) {
                Some(before) => before.activity == activity,
                // It may have been deleted, too.
                None => activity.state == ActivityState::Unknown,
            };
            if is_same {
                return false;
            }
            shown.changes += 1;
            let one = One {
                name: session.name.to_string(),
                activity,
                change: shown.changes,
            };
            shown.agents.insert(owner, one);
            true
        });
    }

    /// That agent is deleted.
    pub fn forget(&self, agent: &str) {
        self.shown.send_if_modified(|shown| {
            shown.agents.remove(agent);
            // Who listens is notified of that by an event.
            false
        });
    }

    /// One more listener.
    pub fn listen(&self) -> Listener {
        Listener {
            shown: self.shown.subscribe(),
            seen: 0,
        }
    }
}

impl Listener {
    /// All of them are taken once more, as by a new listener.
    pub fn begin_anew(&mut self) {
        self.seen = 0;
        self.shown.mark_changed();
    }

    /// Those that changed since the last call, as JSON, the oldest change first, of the agents whose ids
    /// `is_seen` wants. Of one that is new to the listener, only what is known.
    pub fn take(&mut self, is_seen: impl Fn(&str) -> bool) -> Vec<String> {
        let shown = self.shown.borrow_and_update();
        let seen = self.seen;
        let is_new = |one: &One| {
            one.change > seen && (seen > 0 || one.activity.state != ActivityState::Unknown)
        };
        let mut new: Vec<_> = shown
            .agents
            .iter()
            .filter(|(id, one)| is_new(one) && is_seen(id))
            .collect();
        new.sort_by_key(|(_, one)| one.change);
        self.seen = shown.changes;
        let data = |(id, one): (&String, &One)| {
            json!({ "id": id, "name": one.name, "activity": one.activity }).to_string()
        };
        new.into_iter().map(data).collect()
    }

    /// Waits until there may be something to [`take`](Self::take).
    pub async fn changed(&mut self) {
        if self.shown.changed().await.is_err() {
            // There will be nothing more.
            std::future::pending().await
        }
    }
}
