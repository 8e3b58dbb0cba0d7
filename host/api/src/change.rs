use serde::{Deserialize, Serialize};

use crate::{Activity, Agent};

/// An event of `GET /events`. There, the tag is the event's name and the rest its data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Change {
    /// A new agent.
    Created {
        /// As it is now.
        agent: Box<Agent>,
    },
    /// Its session runs.
    Started {
        /// As it is now.
        agent: Box<Agent>,
    },
    /// Its session outlived an earlier service.
    Adopted {
        /// As it is now.
        agent: Box<Agent>,
    },
    /// Its session ended.
    Exited {
        /// As it is now.
        agent: Box<Agent>,
    },
    /// It was started again, with a new session.
    Restarted {
        /// As it is now.
        agent: Box<Agent>,
    },
    /// It has ended, and is started again later.
    RestartScheduled {
        /// As it is now.
        agent: Box<Agent>,
    },
    /// Somebody changed its labels or when it is started again.
    Edited {
        /// As it is now.
        agent: Box<Agent>,
    },
    /// Its recording has ended before its session: that says why.
    RecordingEnded {
        /// As it is now.
        agent: Box<Agent>,
    },
    /// Its health check has another verdict.
    Health {
        /// As it is now.
        agent: Box<Agent>,
    },
    /// What its starting session is busy with, or why its state is unknown.
    Progress {
        /// As it is now.
        agent: Box<Agent>,
    },
    /// Its program does something else: this has no number, and comes at most once a second for an
    /// agent. Whoever begins to listen is given it of each agent of which it is known.
    Activity {
        /// Its UUID.
        id: String,
        /// Its name.
        name: String,
        /// As it is now.
        activity: Activity,
    },
    /// It is gone.
    Deleted {
        /// Its UUID.
        id: String,
        /// Its name, free again.
        name: String,
    },
    /// Some changes before this one are no longer kept.
    Gap {
        /// The path where to read what there is now.
        resynchronize: String,
    },
}

impl Change {
    /// Reads the `event:` and `data:` of a server-sent event. None for one of a newer service.
    pub fn from_event(event: &str, data: &str) -> Option<Change> {
        let mut fields: serde_json::Map<_, _> = serde_json::from_str(data).ok()?;
        fields.insert("event".to_owned(), event.into());
        serde_json::from_value(fields.into()).ok()
    }

    /// The agent as it is after this; None where the change has not all of it.
    pub fn into_agent(self) -> Option<Agent> {
        match self {
            Change::Created { agent }
            | Change::Started { agent }
            | Change::Adopted { agent }
            | Change::Exited { agent }
            | Change::Restarted { agent }
            | Change::RestartScheduled { agent }
            | Change::Edited { agent }
            | Change::RecordingEnded { agent }
            | Change::Health { agent }
            | Change::Progress { agent } => Some(*agent),
            Change::Activity { .. } | Change::Deleted { .. } | Change::Gap { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_comes_from_the_event_name() {
        let change = Change::from_event("deleted", r#"{"id":"7","name":"demo"}"#);
        let (id, name) = ("7".to_owned(), "demo".to_owned());
        assert_eq!(change, Some(Change::Deleted { id, name }));
        let resynchronize = "/agents".to_owned();
        let gap = Change::from_event("gap", r#"{"resynchronize":"/agents"}"#);
        assert_eq!(gap, Some(Change::Gap { resynchronize }));
    }

    #[test]
    fn unknown_events_are_ignored() {
        assert_eq!(Change::from_event("renamed", r#"{"id":"7"}"#), None);
        assert_eq!(Change::from_event("deleted", "[]"), None);
    }
}
