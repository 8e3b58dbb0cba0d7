use std::collections::HashMap;

use agentd_api::{Activity, Agent};
use agentd_host::to_rfc3339;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::events::Event;
use crate::records::now_millis;

/// What one request says.
#[derive(Debug)]
pub struct Message {
    /// The same in each attempt, so that a receiver can tell a repetition.
    pub delivery: String,
    /// JSON.
    pub body: String,
}

/// Makes messages of what happens to agents, without what their programs print.
#[derive(Debug)]
pub struct Messages {
    /// Whether also what comes from the output of programs: titles and reasons.
    with_output: bool,
    /// What was said last of what agents do, by their ids.
    said: HashMap<String, Activity>,
}

#[derive(Deserialize)]
struct OfAgent {
    agent: Agent,
}

#[derive(Deserialize)]
struct OfActivity {
    id: String,
    name: String,
    activity: Activity,
}

impl Messages {
    pub fn new(with_output: bool) -> Self {
        Messages {
            with_output,
            said: HashMap::new(),
        }
    }

    /// Of an end or a restart; None of what else happens.
    pub fn of_event(&mut self, event: &Event) -> Option<Message> {
        if event.kind == "deleted" {
            let data: Value = serde_json::from_str(&event.data).ok()?;
            self.said.remove(data["id"].as_str()?);
            return None;
        }
        if !["exited", "restarted", "restart_scheduled"].contains(&event.kind.as_str()) {
            return None;
        }
        let OfAgent { agent } = serde_json::from_str(&event.data).ok()?;
        let exit = agent.session.and_then(|session| session.exit);
        let mut shown = json!({
            "id": agent.id, "name": agent.name, "status": agent.status, "labels": agent.labels,
            "restarts": agent.restarts,
        });
        if let Some(at) = agent.next_restart_at {
            shown["next_restart_at"] = at.into();
        }
        let more = exit.map(|exit| ("exit", json!(exit)));
        Some(Message::new(&event.kind, event.at, &shown, more))
    }

    /// Of what a program does; None where that is nothing new.
    pub fn of_activity(&mut self, data: &str) -> Option<Message> {
        let OfActivity { id, name, activity } = serde_json::from_str(data).ok()?;
        let mut activity = activity;
        if !self.with_output {
            (activity.title, activity.reason) = (None, None);
        }
        let before = self.said.get(&id);
        let is_same = before.is_some_and(|before| {
            before.state == activity.state && before.reason == activity.reason
        });
        if is_same {
            return None;
        }
        self.said.insert(id.clone(), activity.clone());
        let agent = json!({ "id": id, "name": name });
        let more = Some(("activity", json!(activity)));
        Some(Message::new("activity", now_millis(), &agent, more))
    }
}

impl Message {
    fn new(event: &str, at: i64, agent: &Value, more: Option<(&str, Value)>) -> Self {
        let delivery = Uuid::new_v4().to_string();
        let mut body = json!({
            "delivery": delivery, "event": event, "at": to_rfc3339(at), "agent": agent,
        });
        if let Some((key, value)) = more {
            body[key] = value;
        }
        Message {
            delivery,
            body: body.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn activity(state: &str, title: &str, reason: &str) -> String {
        let activity = json!({"state": state, "title": title, "since": "s", "reason": reason});
        json!({"id": "7", "name": "demo", "activity": activity}).to_string()
    }

    #[test]
    fn nothing_of_the_output_is_in_it_unless_that_is_wanted() {
        let mut without = Messages::new(false);
        let said = without.of_activity(&activity("waiting", "t-secret", "r-secret"));
        let said = said.unwrap().body;
        assert!(said.contains(r#""state":"waiting""#), "{said}");
        assert!(!said.contains("secret"), "{said}");
        let mut with = Messages::new(true);
        let said = with.of_activity(&activity("waiting", "t-secret", "r-secret"));
        let said = said.unwrap().body;
        assert!(
            said.contains("t-secret") && said.contains("r-secret"),
            "{said}"
        );
    }

    #[test]
    fn what_is_nothing_new_is_not_sent() {
        let mut messages = Messages::new(false);
        assert!(messages.of_activity(&activity("idle", "a", "")).is_some());
        assert!(messages.of_activity(&activity("idle", "b", "x")).is_none());
        assert!(
            messages
                .of_activity(&activity("waiting", "b", "x"))
                .is_some()
        );
        let deleted = Event {
            id: 1,
            at: 0,
            kind: "deleted".to_owned(),
            data: r#"{"id":"7","name":"demo"}"#.to_owned(),
        };
        assert!(messages.of_event(&deleted).is_none());
        assert!(messages.said.is_empty());
    }
}
