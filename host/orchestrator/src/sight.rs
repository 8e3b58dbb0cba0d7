use std::collections::HashSet;

use agentd_host::Result;
use agentd_host::doors::Limit;
use serde_json::{Value, json};

use crate::events::Event;
use crate::store::Store;

/// What somebody may see of the events.
///
/// An agent that loses the label by which one sees it is `deleted` for them; one that gets it is there
/// with the event that says so.
#[derive(Debug)]
pub struct Sight {
    limit: Limit,
    /// Of a label, the ids of the agents that have it as of the last event.
    seen: HashSet<String>,
}

/// One event for somebody.
#[derive(Debug, PartialEq)]
pub struct Shown {
    /// Its name.
    pub kind: String,
    /// JSON.
    pub data: String,
    /// Whether they see other agents from now on.
    pub changes_sight: bool,
}

impl Sight {
    /// What the limit leaves, as the agents are now.
    pub async fn of(limit: &Limit, store: &Store) -> Result<Self> {
        let mut sight = Sight {
            limit: limit.clone(),
            seen: HashSet::new(),
        };
        sight.renew(store).await?;
        Ok(sight)
    }

    /// Looks at the agents again, when events were missed.
    pub async fn renew(&mut self, store: &Store) -> Result<()> {
        if let Limit::Label(key, value) = &self.limit {
            let (key, value) = (key.clone(), value.clone());
            let labelled = store.labelled(key, value).await?;
            self.seen = labelled.into_iter().collect();
        }
        Ok(())
    }

    /// Whether what events before the present ones said has to be read again: which agents somebody saw
    /// then is not known.
    pub fn forgets(&self) -> bool {
        matches!(self.limit, Limit::Label(..))
    }

    /// Whether they see the agent.
    pub fn sees(&self, id: &str) -> bool {
        match &self.limit {
            Limit::None => true,
            Limit::Agent(agent) => agent == id,
            Limit::Label(..) => self.seen.contains(id),
        }
    }

    /// What they see of the next event.
    pub fn show(&mut self, event: Event) -> Option<Shown> {
        let Event { kind, data, .. } = event;
        let as_it_is = |data| Shown {
            kind,
            data,
            changes_sight: false,
        };
        if self.limit == Limit::None {
            return Some(as_it_is(data));
        }
        let about: Value = serde_json::from_str(&data).ok()?;
        let agent = about.get("agent");
        let text = |name: &str| agent.unwrap_or(&about)[name].as_str();
        let id = text("id")?;
        let Limit::Label(key, value) = &self.limit else {
            return self.sees(id).then(|| as_it_is(data));
        };
        let has_label = agent.is_some_and(|agent| agent["labels"][key] == value.as_str());
        if has_label {
            let changes_sight = self.seen.insert(id.to_owned());
            return Some(Shown {
                changes_sight,
                ..as_it_is(data)
            });
        }
        let gone = json!({ "id": id, "name": text("name")? }).to_string();
        self.seen.remove(id).then(|| Shown {
            kind: "deleted".to_owned(),
            data: gone,
            changes_sight: true,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, data: &Value) -> Event {
        Event {
            id: 1,
            at: 0,
            kind: kind.to_owned(),
            data: data.to_string(),
        }
    }

    fn about(id: &str, labels: &Value) -> Event {
        let agent = json!({"id": id, "name": "demo", "labels": labels});
        event("edited", &json!({ "agent": agent }))
    }

    fn sight(limit: Limit) -> Sight {
        let seen = HashSet::new();
        Sight { limit, seen }
    }

    #[test]
    fn one_agent_is_seen_alone() {
        let mut sight = sight(Limit::Agent("one".to_owned()));
        assert!(sight.sees("one") && !sight.sees("two") && !sight.forgets());
        assert!(sight.show(about("two", &json!({}))).is_none());
        assert_eq!(sight.show(about("one", &json!({}))).unwrap().kind, "edited");
        let deleted = |id: &str| event("deleted", &json!({"id": id, "name": "demo"}));
        assert!(sight.show(deleted("two")).is_none());
        assert_eq!(sight.show(deleted("one")).unwrap().kind, "deleted");
    }

    #[test]
    fn an_agent_comes_and_goes_with_its_label() {
        let mut sight = sight(Limit::Label("team".to_owned(), "a".to_owned()));
        assert!(sight.forgets());
        assert!(sight.show(about("one", &json!({"team": "b"}))).is_none());
        let shown = sight.show(about("one", &json!({"team": "a"}))).unwrap();
        assert!(shown.changes_sight && shown.kind == "edited" && sight.sees("one"));
        let again = sight.show(about("one", &json!({"team": "a", "x": "y"})));
        assert!(!again.unwrap().changes_sight);
        let gone = sight.show(about("one", &json!({}))).unwrap();
        assert_eq!(gone.kind, "deleted");
        let data: Value = serde_json::from_str(&gone.data).unwrap();
        assert_eq!(data, json!({"id": "one", "name": "demo"}));
        assert!(!sight.sees("one"));
        let deleted = event("deleted", &json!({"id": "one", "name": "demo"}));
        assert!(sight.show(deleted).is_none());
    }
}
