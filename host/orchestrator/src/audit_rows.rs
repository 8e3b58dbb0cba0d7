use agentd_api::terminal::Mode;
use agentd_api::{AuditEntry, Page};
use agentd_host::{AuditRecord, to_rfc3339};
use rusqlite::types::Type;
use rusqlite::{Connection, Row, params};

use crate::events::Keep;

/// What is beyond the bounds is removed at every so many, at most, unless many more are kept.
const SWEEP: usize = 64;

/// So many that are kept are looked at for each that is added, about.
const LOOKS: usize = 1024;

/// For so many, one that was refused is kept beside them: they must not push out the others.
pub const SHARE_OF_REFUSED: usize = 4;

/// Those that were refused, as their index has it.
const REFUSED: &str = "(who IS NULL OR ifnull(status, 0) IN (401, 403))";

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
    let insert = "INSERT INTO audit (at, who, peer, request, agent, mode, status, made)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    let mut insert = connection.prepare_cached(insert)?;
    let id = insert.insert(params![
        at,
        record.who,
        record.peer,
        record.request,
        record.subject,
        record.mode.map(Mode::as_str),
        record.status,
        record.made,
    ])?;
    let every = (keep.count / 16).clamp(1, SWEEP).max(keep.count / LOOKS);
    if id % i64::try_from(every).unwrap_or(1) == 0 {
        sweep(connection, at, keep)?;
    }
    Ok(())
}

fn sweep(connection: &Connection, at: i64, keep: Keep) -> rusqlite::Result<()> {
    let too_old = "DELETE FROM audit WHERE at < ?";
    let mut too_old = connection.prepare_cached(too_old)?;
    too_old.execute([keep.oldest(at)])?;
    // Neither counts for the other: ids are of both.
    for (of_them, count) in [
        (format!("NOT {REFUSED}"), keep.count),
        (REFUSED.to_owned(), keep.count / SHARE_OF_REFUSED),
    ] {
        let mut too_many = connection.prepare_cached(&too_many(&of_them))?;
        too_many.execute([i64::try_from(count).unwrap_or(i64::MAX)])?;
    }
    Ok(())
}

/// Removes all of them but the newest.
fn too_many(of_them: &str) -> String {
    format!(
        "DELETE FROM audit WHERE {of_them} AND id <=
            (SELECT id FROM audit WHERE {of_them} ORDER BY id DESC LIMIT 1 OFFSET ?)"
    )
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
        "SELECT id, at, who, peer, request, agent, mode, status, made FROM audit
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
        made: row.get(8)?,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::migrations::in_memory;

    const KEEP: Keep = Keep {
        count: 40,
        age: Duration::from_millis(1000),
    };

    fn add(connection: &Connection, at: i64, who: Option<&str>, agent: &str) {
        add_with(connection, at, who, agent, 200);
    }

    fn add_with(connection: &Connection, at: i64, who: Option<&str>, agent: &str, status: u16) {
        let record = AuditRecord {
            who: who.map(str::to_owned),
            peer: "127.0.0.1".to_owned(),
            request: "POST /agents/{id}/stop".to_owned(),
            subject: Some(agent.to_owned()),
            mode: Some(Mode::Ro),
            status: Some(status),
            made: None,
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
        let connection = in_memory();
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
        let connection = in_memory();
        for _ in 0..100 {
            add(&connection, 0, Some("me"), "a");
        }
        assert_eq!(ids(&connection, None).len(), KEEP.count);
        add(&connection, 2000, Some("me"), "a");
        add(&connection, 2000, Some("me"), "a");
        assert_eq!(ids(&connection, None), [102, 101]);
    }

    #[test]
    fn who_is_refused_pushes_out_nobody_else() {
        let connection = in_memory();
        for _ in 0..20 {
            add(&connection, 0, Some("me"), "a");
        }
        for _ in 0..500 {
            add(&connection, 0, None, "a");
            add_with(&connection, 0, Some("a guest"), "a", 403);
        }
        let left = ids(&connection, None);
        assert_eq!(left.len(), 20 + KEEP.count / SHARE_OF_REFUSED, "{left:?}");
        assert!((1..=20).all(|id| left.contains(&id)), "{left:?}");
        for _ in 0..KEEP.count {
            add(&connection, 0, Some("me"), "a");
        }
        let left = ids(&connection, None);
        let both = KEEP.count + KEEP.count / SHARE_OF_REFUSED;
        assert_eq!(left.len(), both, "{left:?}");
    }

    #[test]
    fn what_is_too_much_is_found_by_an_index() {
        let connection = in_memory();
        for (of_them, index) in [
            (format!("NOT {REFUSED}"), "audit_of_allowed"),
            (REFUSED.to_owned(), "audit_of_refused"),
        ] {
            let query = format!("EXPLAIN QUERY PLAN {}", too_many(&of_them));
            let mut plan = connection.prepare(&query).unwrap();
            let steps = plan.query_map([1], |row| row.get(3)).unwrap();
            let steps: Vec<String> = steps.collect::<rusqlite::Result<_>>().unwrap();
            let is_by_it = |step: &&String| step.contains(index);
            assert!(steps.iter().filter(is_by_it).count() >= 1, "{steps:?}");
            assert!(!steps.iter().any(|step| step == "SCAN audit"), "{steps:?}");
        }
    }
}
