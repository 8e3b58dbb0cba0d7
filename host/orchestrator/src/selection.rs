use std::collections::HashMap;

use agentd_api::{AgentQuery, AgentSort, AgentStatus, Order};
use agentd_host::doors::Limit;
use agentd_host::{Error, Result};
use rusqlite::{Connection, ToSql};
use serde_json::json;

use crate::agent::AgentRecord;
use crate::records::{self, COLUMNS};

/// Entries on a page when the request does not say.
const DEFAULT_LIMIT: i64 = 50;
/// Entries on a page at most.
const MAX_LIMIT: i64 = 200;

/// Which agents a list has, and in which order.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The one that may be seen.
    id: Option<String>,
    name: Option<String>,
    /// The word of it.
    status: Option<&'static str>,
    backend: Option<String>,
    /// A key, and the value that it must have.
    labels: Vec<(String, Option<String>)>,
    sort: AgentSort,
    order: Order,
    /// Since when those wait that do; and the same as JSON.
    waiting: Waiting,
    waiting_json: String,
    limit: i64,
    offset: i64,
    after: Option<Place>,
}

/// Ids of agents that wait for a person, each with since when in milliseconds since 1970.
pub type Waiting = HashMap<String, i64>;

/// Since when an agent waits that does not.
const NEVER: i64 = i64::MAX;
const SINCE_AND_NUMBER: &str = "ifnull(since, 9223372036854775807), number";

/// A place in the order, between two agents.
#[derive(Clone, Debug, Default, PartialEq)]
struct Place {
    /// What stands before it: the name, or the status.
    word: Option<String>,
    /// Since when the agent before it waits.
    since: Option<i64>,
    /// The number of the agent before it.
    number: Option<i64>,
}

/// Some of the selected agents.
pub struct Selected {
    /// In order.
    pub records: Vec<AgentRecord>,
    /// How many there are on all pages.
    pub total: u64,
    /// Where the next page begins, if there is one.
    pub next_cursor: Option<String>,
}

impl Selection {
    /// What a client asks for.
    pub fn parse(query: AgentQuery) -> Result<Self> {
        let limit = page_limit(query.limit, "agents")?;
        if query.cursor.is_some() && query.offset.is_some() {
            return Err(
                invalid("`cursor` and `offset` exclude each other".to_owned())
                    .hint("leave `offset` out"),
            );
        }
        let (sort, order) = (query.sort, query.order);
        let place = |cursor| Place::parse(cursor, sort, order);
        let label = |label: String| match label.split_once('=') {
            Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
            None => (label, None),
        };
        Ok(Selection {
            id: None,
            name: query.name,
            status: query.status.map(AgentStatus::as_str),
            backend: query.backend,
            labels: query.labels.into_iter().map(label).collect(),
            sort,
            order,
            waiting: Waiting::new(),
            waiting_json: "{}".to_owned(),
            limit,
            offset: query.offset.map_or(0, whole),
            after: query.cursor.as_deref().map(place).transpose()?,
        })
    }

    /// Only those that the limit leaves.
    #[must_use]
    pub fn within(mut self, limit: &Limit) -> Self {
        match limit {
            Limit::None => {}
            Limit::Agent(id) => self.id = Some(id.clone()),
            Limit::Label(key, value) => self.labels.push((key.clone(), Some(value.clone()))),
        }
        self
    }

    /// Whether it depends on the agents' status.
    pub fn asks_for_status(&self) -> bool {
        self.status.is_some() || self.sort == AgentSort::Status
    }

    /// Whether it has to be known who waits.
    pub fn asks_who_waits(&self) -> bool {
        self.sort == AgentSort::Waiting
    }

    /// In the order of these.
    #[must_use]
    pub fn by_waiting(mut self, waiting: Waiting) -> Self {
        self.waiting_json = json!(waiting).to_string();
        self.waiting = waiting;
        self
    }

    /// Reads them. But by `waiting`, a page costs the same however many agents there are, or however many have one
    /// of the labels; only to count those that have labels
    /// or a backend is a pass over an index.
    pub fn read(&self, connection: &Connection) -> rusqlite::Result<Selected> {
        let (count, values) = self.count();
        let mut count = connection.prepare_cached(&count)?;
        let total = count.query_row(&values[..], |row| row.get(0))?;

        let (page, values) = self.page();
        let mut page = connection.prepare_cached(&page)?;
        let found = page.query_map(&values[..], |row| {
            Ok((row.get::<_, i64>(records::NUMBER)?, records::record(row)?))
        })?;
        let mut found: Vec<(i64, AgentRecord)> = found.collect::<rusqlite::Result<_>>()?;
        let limit = usize::try_from(self.limit).unwrap_or(usize::MAX);
        let has_more = found.len() > limit;
        found.truncate(limit);
        let last = found.last().filter(|_| has_more);
        let next_cursor = last.map(|(number, record)| self.cursor(*number, record));
        let mut records: Vec<_> = found.into_iter().map(|(_, record)| record).collect();
        records::add_histories(connection, &mut records)?;
        Ok(Selected {
            records,
            total,
            next_cursor,
        })
    }

    /// Counts those on all pages.
    fn count(&self) -> (String, Vec<&dyn ToSql>) {
        let (filters, values) = self.filters();
        let is_all = self.id.is_none()
            && self.name.is_none()
            && self.backend.is_none()
            && self.labels.is_empty();
        let count = match is_all {
            true => "ifnull(sum(agents), 0) FROM agent_counts",
            false => "count(*) FROM agents",
        };
        (format!("SELECT {count} WHERE {filters}"), values)
    }

    /// Finds one more than are on the page, so that it is known whether there is a next one.
    fn page(&self) -> (String, Vec<&dyn ToSql>) {
        let (mut filters, of_filters) = self.filters();
        let mut values = of_filters;
        let mut from = "agents";
        let columns = match self.sort {
            AgentSort::Created => "number",
            AgentSort::Name => "name",
            AgentSort::Status => "status, number",
            AgentSort::Waiting => {
                from = "agents LEFT JOIN (SELECT key AS agent, value AS since FROM json_each(?))
                    AS waiting ON waiting.agent = agents.id";
                values.insert(0, &self.waiting_json);
                SINCE_AND_NUMBER
            }
        };
        if let Some(place) = &self.after {
            let sign = match self.order {
                Order::Asc => ">",
                Order::Desc => "<",
            };
            let marks = match (&place.word, place.since, place.number) {
                (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => "?, ?",
                _ => "?",
            };
            filters += &format!(" AND ({columns}) {sign} ({marks})");
            values.extend(place.word.iter().map(|word| word as &dyn ToSql));
            values.extend(place.since.iter().map(|since| since as &dyn ToSql));
            values.extend(place.number.iter().map(|number| number as &dyn ToSql));
        }
        let direction = self.order.as_str();
        let order = columns.replace(", number", &format!(" {direction}, number"));
        let page = format!(
            "SELECT {COLUMNS} FROM {from} WHERE {filters}
             ORDER BY {order} {direction} LIMIT ? + 1 OFFSET ?"
        );
        values.extend([&self.limit as &dyn ToSql, &self.offset]);
        (page, values)
    }

    fn filters(&self) -> (String, Vec<&dyn ToSql>) {
        let mut filters = "true".to_owned();
        let mut values: Vec<&dyn ToSql> = Vec::new();
        if let Some(status) = &self.status {
            filters += " AND status = ?";
            values.push(status);
        }
        if let Some(backend) = &self.backend {
            filters += " AND backend = ?";
            values.push(backend);
        }
        if let Some(id) = &self.id {
            filters += " AND id = ?";
            values.push(id);
        }
        if let Some(name) = &self.name {
            filters += " AND name = ?";
            values.push(name);
        }
        for (key, value) in &self.labels {
            filters += " AND number IN (SELECT agent FROM labels WHERE key = ?";
            values.push(key);
            if let Some(value) = value {
                filters += " AND value = ?";
                values.push(value);
            }
            filters += ")";
        }
        (filters, values)
    }

    /// After this agent.
    fn cursor(&self, number: i64, record: &AgentRecord) -> String {
        let begin = beginning(self.sort, self.order);
        match self.sort {
            AgentSort::Created => format!("{begin}{number}"),
            AgentSort::Name => format!("{begin}{}", record.name),
            AgentSort::Status => format!("{begin}{}.{number}", record.status.as_str()),
            AgentSort::Waiting => {
                let since = self.waiting.get(&record.id).unwrap_or(&NEVER);
                format!("{begin}{since}.{number}")
            }
        }
    }
}

impl Place {
    fn parse(cursor: &str, sort: AgentSort, order: Order) -> Result<Self> {
        let foreign = || {
            invalid("the `cursor` is not one of this list".to_owned())
                .hint("use `next_cursor` of the page before, with the same `sort` and `order`")
        };
        let place = cursor.strip_prefix(&beginning(sort, order));
        let place = place.ok_or_else(foreign)?;
        let number = |digits: &str| digits.parse().map(Some).map_err(|_| foreign());
        let both = || place.split_once('.').ok_or_else(foreign);
        let mut since = None;
        let (word, number) = match sort {
            AgentSort::Created => (None, number(place)?),
            AgentSort::Name => (Some(place), None),
            AgentSort::Status => {
                let (status, digits) = both()?;
                (Some(status), number(digits)?)
            }
            AgentSort::Waiting => {
                let (time, digits) = both()?;
                since = number(time)?;
                (None, number(digits)?)
            }
        };
        let word = word.map(str::to_owned);
        Ok(Place {
            word,
            since,
            number,
        })
    }
}

/// What a cursor in such an order begins with.
fn beginning(sort: AgentSort, order: Order) -> String {
    format!("{}.{}.", sort.as_str(), order.as_str())
}

/// How many `entries` a client wants on a page.
pub fn page_limit(limit: Option<u64>, entries: &str) -> Result<i64> {
    let limit = limit.map_or(DEFAULT_LIMIT, whole);
    match (1..=MAX_LIMIT).contains(&limit) {
        true => Ok(limit),
        false => Err(invalid(format!("`limit` cannot be {limit}"))
            .hint(format!("a page has 1 to {MAX_LIMIT} {entries}"))),
    }
}

fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn invalid(message: String) -> Error {
    Error::invalid("invalid-query", message)
}

#[cfg(test)]
mod tests {
    use agentd_api::NewAgent;
    use rusqlite::StatementStatus;

    use super::*;
    use crate::events::Keep;
    use crate::migrations::in_memory;
    use crate::restart::Backoff;
    use crate::transaction::Transaction;

    /// So many agents, of which ten have failed and have a label.
    fn agents(count: u32) -> Connection {
        let connection = in_memory();
        connection.execute_batch("BEGIN").unwrap();
        let keep = Keep {
            count: 1,
            age: std::time::Duration::ZERO,
        };
        let backoff = Backoff {
            first: std::time::Duration::ZERO,
            reset: std::time::Duration::ZERO,
        };
        let transaction = Transaction::new(&connection, keep, true, backoff);
        for number in 0..count {
            let mut spec = NewAgent {
                name: format!("agent-{number}"),
                ..NewAgent::default()
            };
            let is_odd = number % (count / 10) == 0;
            if is_odd {
                spec.labels.insert("team".to_owned(), "a".to_owned());
            }
            let id = number.to_string();
            let mut record = AgentRecord::new(id, String::new(), spec);
            if is_odd {
                record.status = AgentStatus::Failed;
            }
            assert!(transaction.insert(&record).unwrap());
        }
        connection.execute_batch("COMMIT").unwrap();
        connection
    }

    /// The work that each of the first two pages takes.
    fn two_pages(connection: &Connection, query: &AgentQuery) -> [i32; 2] {
        let mut query = query.clone();
        [(), ()].map(|()| {
            let selection = Selection::parse(query.clone()).unwrap();
            query.cursor = selection.read(connection).unwrap().next_cursor;
            let (found, work) = work(connection, selection.page());
            assert!(found >= 5);
            let counts_labels = !query.labels.is_empty();
            match counts_labels {
                true => work,
                false => work + self::work(connection, selection.count()).1,
            }
        })
    }

    /// How many rows that finds, and the work that it takes.
    fn work(connection: &Connection, (query, values): (String, Vec<&dyn ToSql>)) -> (usize, i32) {
        let mut statement = connection.prepare(&query).unwrap();
        let found = statement.query_map(&values[..], |_| Ok(())).unwrap();
        let found = found.count();
        (found, statement.get_status(StatementStatus::VmStep))
    }

    #[test]
    fn a_page_of_ten_thousand_agents_is_no_more_work_than_one_of_two_hundred() {
        let (few, many) = (agents(200), agents(10_000));
        let status = Some(AgentStatus::Failed);
        let labels = vec!["team=a".to_owned()];
        let filters = [
            AgentQuery::default(),
            AgentQuery {
                status,
                ..AgentQuery::default()
            },
            AgentQuery {
                labels: labels.clone(),
                ..AgentQuery::default()
            },
            AgentQuery {
                status,
                labels,
                ..AgentQuery::default()
            },
        ];
        for filter in filters {
            for sort in [AgentSort::Created, AgentSort::Name, AgentSort::Status] {
                for order in [Order::Asc, Order::Desc] {
                    let query = AgentQuery {
                        sort,
                        order,
                        limit: Some(5),
                        ..filter.clone()
                    };
                    let (of_few, of_many) = (two_pages(&few, &query), two_pages(&many, &query));
                    for (of_few, of_many) in of_few.into_iter().zip(of_many) {
                        assert!(of_many <= of_few * 2, "{of_few}, {of_many}: {query:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_total_is_right_after_every_kind_of_change() {
        let connection = agents(30);
        let totals = || {
            let total = |status| {
                let query = AgentQuery {
                    status,
                    ..AgentQuery::default()
                };
                let selection = Selection::parse(query).unwrap();
                selection.read(&connection).unwrap().total
            };
            use AgentStatus::*;
            (total(None), [Pending, Failed, Stopped].map(Some).map(total))
        };
        assert_eq!(totals(), (30, [20, 10, 0]));
        let change = |sql| connection.execute(sql, []).unwrap();
        change("UPDATE agents SET status = 'stopped' WHERE status = 'failed' AND number <= 10");
        change("UPDATE agents SET status = status, restarts = 7");
        assert_eq!(totals(), (30, [20, 6, 4]));
        change("DELETE FROM agents WHERE number <= 15");
        assert_eq!(totals(), (15, [10, 5, 0]));
        change("DELETE FROM agents");
        assert_eq!(totals(), (0, [0, 0, 0]));
    }

    #[test]
    fn pages_have_every_agent_once_and_in_order() {
        let agents = agents(30);
        let number_of = |record: &AgentRecord| record.id.parse::<u32>().unwrap();
        // Nobody waits longer than 17, and 9 and 20 do so since the same moment.
        let waiting: Waiting = [("9", 30), ("17", 10), ("20", 30), ("gone", 5)]
            .map(|(id, since)| (id.to_owned(), since))
            .into();
        let since = |record: &AgentRecord| *waiting.get(&record.id).unwrap_or(&NEVER);
        for (sort, order) in [
            (AgentSort::Created, Order::Asc),
            (AgentSort::Created, Order::Desc),
            (AgentSort::Name, Order::Asc),
            (AgentSort::Name, Order::Desc),
            (AgentSort::Status, Order::Asc),
            (AgentSort::Status, Order::Desc),
            (AgentSort::Waiting, Order::Asc),
            (AgentSort::Waiting, Order::Desc),
        ] {
            let mut query = AgentQuery {
                sort,
                order,
                limit: Some(7),
                ..AgentQuery::default()
            };
            let mut all: Vec<AgentRecord> = Vec::new();
            loop {
                let mut selection = Selection::parse(query.clone()).unwrap();
                if selection.asks_who_waits() {
                    selection = selection.by_waiting(waiting.clone());
                }
                let selected = selection.read(&agents).unwrap();
                assert_eq!(selected.total, 30);
                all.extend(selected.records);
                query.cursor = selected.next_cursor;
                if query.cursor.is_none() {
                    break;
                }
            }
            if order == Order::Desc {
                all.reverse();
            }
            let mut expected = all.clone();
            match sort {
                AgentSort::Created => expected.sort_by_key(number_of),
                AgentSort::Name => expected.sort_by_key(|record| record.name.clone()),
                AgentSort::Status => {
                    expected.sort_by_key(|record| (record.status.as_str(), number_of(record)));
                }
                AgentSort::Waiting => {
                    expected.sort_by_key(|record| (since(record), number_of(record)));
                }
            }
            assert_eq!(all, expected, "{sort:?} {order:?}");
            all.dedup_by_key(|record| record.id.clone());
            assert_eq!(all.len(), 30);
        }
    }
}
