use agentd_api::terminal::Mode;
use agentd_api::{AuditEntry, Page};
use agentd_host::{AuditRecord, to_rfc3339};
use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};

use crate::events::Keep;

/// What is beyond the bounds is removed at every so many, at most.
const SWEEP: usize = 64;

/// Of so many, one may be of somebody who was not let in: they must not push out the others.
const SHARE_OF_STRANGERS: usize = 4;

/// Which of them are asked for, newest first.
#[derive(Clone, Debug)]
pub struct AuditPage {
    /// Only those about this agent.
    pub agent: Option<String>,
    /// At most so many.
    pub limit: usize,
    /// Only those from before this one.
    pub before: Option<i64>,
}

/// Adds one, and removes what is too much or too old.
pub fn insert(
    connection: &Connection,
    at: i64,
    record: &AuditRecord,
    keep: Keep,
) -> rusqlite::Result<()> {
    let insert = "INSERT INTO audit (at, who, peer, request, agent, mode, status)
        VALUES (?, ?, ?, ?, ?, ?, ?)";
    let mut insert = connection.prepare_cached(insert)?;
    let id = insert.insert(params![
        at,
        record.who,
        record.peer,
        record.request,
        record.subject,
        record.mode.map(word),
        record.status
    ])?;
    let every = i64::try_from((keep.count / 16).clamp(1, SWEEP)).unwrap_or(1);
    if id % every == 0 {
        sweep(connection, id, at, keep)?;
    }
    Ok(())
}

fn sweep(connection: &Connection, newest: i64, at: i64, keep: Keep) -> rusqlite::Result<()> {
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let too_many = "DELETE FROM audit WHERE id <= ?";
    let mut too_many = connection.prepare_cached(too_many)?;
    too_many.execute([newest.saturating_sub(count(keep.count))])?;
    let too_old = "DELETE FROM audit WHERE at < ?";
    let mut too_old = connection.prepare_cached(too_old)?;
    too_old.execute([keep.oldest(at)])?;
    let strangers = "DELETE FROM audit WHERE who IS NULL AND id <=
        (SELECT id FROM audit WHERE who IS NULL ORDER BY id DESC LIMIT 1 OFFSET ?)";
    let mut strangers = connection.prepare_cached(strangers)?;
    strangers.execute([count(keep.count / SHARE_OF_STRANGERS)])?;
    Ok(())
}

/// Reads a page.
pub fn page(connection: &Connection, page: &AuditPage) -> rusqlite::Result<Page<AuditEntry>> {
    let filter = match page.agent {
        Some(_) => "agent = ?1",
        None => "?1 IS NULL",
    };
    let count = format!("SELECT count(*) FROM audit WHERE {filter}");
    let mut count = connection.prepare_cached(&count)?;
    let total = count.query_row([&page.agent], |row| row.get(0))?;
    let query = format!(
        "SELECT id, at, who, peer, request, agent, mode, status FROM audit
         WHERE {filter} AND id < ?2 ORDER BY id DESC LIMIT ?3"
    );
    let mut query = connection.prepare_cached(&query)?;
    let before = page.before.unwrap_or(i64::MAX);
    // One more, to see whether there is a next page.
    let most = i64::try_from(page.limit + 1).unwrap_or(i64::MAX);
    let found = query.query_map(params![page.agent, before, most], entry)?;
    let mut items: Vec<AuditEntry> = found.collect::<rusqlite::Result<_>>()?;
    let has_more = items.len() > page.limit;
    items.truncate(page.limit);
    let last = items.last().filter(|_| has_more);
    Ok(Page {
        next_cursor: last.map(|entry| entry.id.to_string()),
        items,
        total,
    })
}

fn entry(row: &Row<'_>) -> rusqlite::Result<AuditEntry> {
    let mode: Option<String> = row.get(6)?;
    let mode = mode.map(|mode| match mode.as_str() {
        "rw" => Ok(Mode::Rw),
        "ro" => Ok(Mode::Ro),
        _ => {
            let error = format!("`{mode}` is not a mode").into();
            Err(rusqlite::Error::FromSqlConversionFailure(
                6,
                Type::Text,
                error,
            ))
        }
    });
    Ok(AuditEntry {
        id: row.get(0)?,
        at: to_rfc3339(row.get(1)?),
        who: row.get(2)?,
        peer: row.get(3)?,
        request: row.get(4)?,
        agent: row.get(5)?,
        mode: mode.transpose()?,
        status: row.get(7)?,
    })
}

fn word(mode: Mode) -> &'static str {
    match mode {
        Mode::Rw => "rw",
        Mode::Ro => "ro",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const KEEP: Keep = Keep {
        count: 40,
        age: Duration::from_millis(1000),
    };

    fn database() -> Connection {
        let connection = Connection::open_in_memory().unwrap();
        let schema = include_str!("migrations/7.sql");
        connection.execute_batch(schema).unwrap();
        connection
    }

    fn add(connection: &Connection, at: i64, who: Option<&str>, agent: &str) {
        let record = AuditRecord {
            who: who.map(str::to_owned),
            peer: "127.0.0.1".to_owned(),
            request: "POST /agents/{id}/stop".to_owned(),
            subject: Some(agent.to_owned()),
            mode: Some(Mode::Ro),
            status: Some(200),
        };
        insert(connection, at, &record, KEEP).unwrap();
    }

    fn ids(connection: &Connection, agent: Option<&str>) -> Vec<u64> {
        let mut asked = AuditPage {
            agent: agent.map(str::to_owned),
            limit: 7,
            before: None,
        };
        let mut ids = Vec::new();
        loop {
            let page = page(connection, &asked).unwrap();
            ids.extend(page.items.iter().map(|entry| entry.id));
            let Some(next) = page.next_cursor else {
                assert_eq!(page.total, ids.len() as u64);
                return ids;
            };
            asked.before = Some(next.parse().unwrap());
        }
    }

    #[test]
    fn pages_have_each_once_newest_first() {
        let connection = database();
        for number in 0..30 {
            add(&connection, 0, Some("me"), ["a", "b"][number % 2]);
        }
        let newest_first: Vec<u64> = (1..=30).rev().collect();
        assert_eq!(ids(&connection, None), newest_first);
        let of_b: Vec<u64> = newest_first.into_iter().filter(|id| id % 2 == 0).collect();
        assert_eq!(ids(&connection, Some("b")), of_b);
        assert!(ids(&connection, Some("c")).is_empty());
    }

    #[test]
    fn there_are_no_more_and_no_older_ones_than_are_kept() {
        let connection = database();
        for _ in 0..100 {
            add(&connection, 0, Some("me"), "a");
        }
        assert_eq!(ids(&connection, None).len(), KEEP.count);
        add(&connection, 2000, Some("me"), "a");
        add(&connection, 2000, Some("me"), "a");
        assert_eq!(ids(&connection, None), [102, 101]);
    }

    #[test]
    fn strangers_push_out_nobody_else() {
        let connection = database();
        for _ in 0..20 {
            add(&connection, 0, Some("me"), "a");
        }
        for _ in 0..18 {
            add(&connection, 0, None, "a");
        }
        let left = ids(&connection, None);
        assert_eq!(left.len(), 20 + KEEP.count / SHARE_OF_STRANGERS, "{left:?}");
        assert!(left.contains(&1));
    }
}
