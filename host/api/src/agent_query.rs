use serde::{Deserialize, Serialize};

use crate::{Agent, AgentStatus};

/// The query of `DELETE /agents/{id}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteQuery {
    /// Whether the agent is forgotten even if its session cannot be ended now.
    #[serde(default)]
    pub force: bool,
}

/// The query of `GET /agents`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Pairs", into = "Pairs")]
pub struct AgentQuery {
    /// Only the agent of exactly this name.
    pub name: Option<String>,
    /// Only agents of this status.
    pub status: Option<AgentStatus>,
    /// Only agents of this backend.
    pub backend: Option<String>,
    /// Only agents that have all of these labels: each a `key=value`, or a key with any value.
    pub labels: Vec<String>,
    /// What decides the order.
    pub sort: AgentSort,
    /// Its direction.
    pub order: Order,
    /// 1 to 200 on a page; 50 unless given.
    pub limit: Option<u64>,
    /// How many to leave out before the page.
    pub offset: Option<u64>,
    /// The `next_cursor` of the page before this one.
    pub cursor: Option<String>,
}

impl AgentQuery {
    /// Whether the agent is in the list, on some page.
    pub fn selects(&self, agent: &Agent) -> bool {
        let has = |label: &String| match label.split_once('=') {
            Some((key, value)) => agent.labels.get(key).is_some_and(|has| has == value),
            None => agent.labels.contains_key(label),
        };
        let session = agent.session.as_ref();
        let is_of = |name: &String| session.is_some_and(|session| session.backend_type == *name);
        self.name.as_ref().is_none_or(|name| *name == agent.name)
            && self.status.is_none_or(|status| status == agent.status)
            && self.backend.as_ref().is_none_or(is_of)
            && self.labels.iter().all(has)
    }
}

/// What the order of a list of agents goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AgentSort {
    /// Since when they exist.
    #[default]
    Created,
    /// The name, byte by byte.
    Name,
    /// The word of the status, and since when they exist.
    Status,
    /// Those that wait for a person, who waits longest first; then the others, since when they exist.
    Waiting,
}

/// The direction of an order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The smallest or oldest first.
    #[default]
    Asc,
    /// The greatest or newest first.
    Desc,
}

/// A query as it is written: `label` may come several times.
type Pairs = Vec<(String, String)>;

impl TryFrom<Pairs> for AgentQuery {
    type Error = serde_json::Error;

    fn try_from(pairs: Pairs) -> Result<Self, serde_json::Error> {
        let mut query = AgentQuery::default();
        for (field, value) in pairs {
            match field.as_str() {
                "name" => query.name = Some(value),
                "status" => query.status = Some(word(value)?),
                "backend" => query.backend = Some(value),
                "label" => query.labels.push(value),
                "sort" => query.sort = word(value)?,
                "order" => query.order = word(value)?,
                "limit" => query.limit = Some(serde_json::from_str(&value)?),
                "offset" => query.offset = Some(serde_json::from_str(&value)?),
                "cursor" => query.cursor = Some(value),
                _ => {}
            }
        }
        Ok(query)
    }
}

impl From<AgentQuery> for Pairs {
    fn from(query: AgentQuery) -> Self {
        let AgentQuery {
            name,
            status,
            backend,
            labels,
            sort,
            order,
            limit,
            offset,
            cursor,
        } = query;
        let labels = labels.into_iter().map(|label| ("label", Some(label)));
        let others = [
            ("name", name),
            ("status", status.map(|status| status.as_str().to_owned())),
            ("backend", backend),
            (
                "sort",
                (sort != AgentSort::Created).then(|| sort.as_str().to_owned()),
            ),
            (
                "order",
                (order != Order::Asc).then(|| order.as_str().to_owned()),
            ),
            ("limit", limit.map(|limit| limit.to_string())),
            ("offset", offset.map(|offset| offset.to_string())),
            ("cursor", cursor),
        ];
        let all = others.into_iter().chain(labels);
        all.filter_map(|(field, value)| Some((field.to_owned(), value?)))
            .collect()
    }
}

fn word<T: serde::de::DeserializeOwned>(word: String) -> Result<T, serde_json::Error> {
    serde_json::from_value(word.into())
}

impl AgentSort {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            AgentSort::Created => "created",
            AgentSort::Name => "name",
            AgentSort::Status => "status",
            AgentSort::Waiting => "waiting",
        }
    }
}

impl Order {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Order::Asc => "asc",
            Order::Desc => "desc",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_what_its_pairs_say() {
        let query = AgentQuery {
            name: Some("demo".to_owned()),
            status: Some(AgentStatus::Lost),
            backend: Some("docker".to_owned()),
            labels: vec!["team=a=b".to_owned(), "urgent".to_owned()],
            sort: AgentSort::Name,
            order: Order::Desc,
            limit: Some(3),
            offset: Some(4),
            cursor: Some("x".to_owned()),
        };
        let pairs = Pairs::from(query.clone());
        assert_eq!(pairs.len(), 10);
        assert_eq!(AgentQuery::try_from(pairs).unwrap(), query);
        assert!(Pairs::from(AgentQuery::default()).is_empty());
    }

    #[test]
    fn what_is_not_a_value_of_a_field_is_an_error() {
        for (field, value) in [
            ("status", "gone"),
            ("sort", "age"),
            ("order", "up"),
            ("limit", "-1"),
        ] {
            let pair = (field.to_owned(), value.to_owned());
            assert!(AgentQuery::try_from(vec![pair]).is_err(), "{field}");
        }
    }
}
