use std::path::Path;

use agentd_host::StartError;
use rusqlite::Connection;

use crate::database::refused;

/// A step of the schema.
pub struct Migration {
    /// Its number, and what it is about.
    pub name: &'static str,
    /// SQL.
    pub script: &'static str,
}

macro_rules! step {
    ($name:literal) => {
        Migration {
            name: $name,
            script: include_str!(concat!("migrations/", $name, ".sql")),
        }
    };
}

/// The schema, a step for each version of it. A step is never changed once it was released.
pub const MIGRATIONS: [Migration; 11] = [
    step!("1-agents"),
    step!("2-labels-outputs-and-restarts"),
    step!("3-counts"),
    step!("4-abandoned-sessions"),
    step!("5-tokens"),
    step!("6-abandoned-that-had-ended"),
    step!("7-audit"),
    step!("8-audit-of-refused"),
    step!("9-indexes-of-requests"),
    step!("10-prompts"),
    step!("11-backends"),
];

/// Brings the schema of that file up to date, step by step: one that fails leaves those before it.
pub fn migrate(connection: &Connection, path: &Path) -> Result<(), StartError> {
    let newest = MIGRATIONS.len();
    let version = connection
        .pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0))
        .map_err(|error| refused(path, &error))?;
    let version = usize::try_from(version).unwrap_or(usize::MAX);
    let Some(missing) = MIGRATIONS.get(version..) else {
        let message = format!(
            "the database `{}` was made by a newer agentd: its schema is {version}, and this \
             version knows {newest}",
            path.display()
        );
        return Err(StartError::config(message)
            .hint("run the newer version, or set AGENTD_STATE_DIR to another directory"));
    };
    for (Migration { name, script }, number) in missing.iter().zip(version + 1..) {
        let script = format!("BEGIN IMMEDIATE; {script}; PRAGMA user_version = {number}; COMMIT;");
        connection
            .execute_batch(&script)
            .map_err(|error| refused(path, &error))?;
        if version > 0 {
            tracing::info!(migration = name, "the database has a newer schema now");
        }
    }
    Ok(())
}

/// A database in memory, with the newest schema.
#[cfg(test)]
pub fn in_memory() -> Connection {
    let connection = Connection::open_in_memory().unwrap();
    crate::database::decide(&connection).unwrap();
    for step in MIGRATIONS {
        connection.execute_batch(step.script).unwrap();
    }
    connection
}

#[cfg(test)]
mod tests {
    use agentd_api::{AgentQuery, AgentStatus};

    use super::*;
    use crate::database::Database;
    use crate::records;
    use crate::selection::Selection;

    /// An agent of the first schema, with a session that has ended.
    const OLD_AGENT: &str = r#"
        INSERT INTO agents (id, name, created_at, spec, env, wish, status, session_id, session) VALUES (
            'a', 'old', '2026-01-01T00:00:00Z',
            '{"name":"old","working_dir":"/","command":["true"]}', '{"KEY":"value"}', 'running', 'failed', 's',
            '{"name":"old","backend_type":"pty","state":"exited","health":"unknown","exit":{"code":3},
              "working_dir":"/","command":["true"],"size":{"cols":80,"rows":24},"viewers":0,"created_at":"2026-01-01T00:00:00Z"}'
        );
        INSERT INTO ended_sessions (id, agent, started_at, ended_at, exit) VALUES (
            's', 'a', '2026-01-01T00:00:00Z', '2026-01-01T00:00:01Z', '{"code":3}'
        );
        INSERT INTO events (at, kind, data) VALUES (1767225600000, 'created', '{}');
    "#;

    #[tokio::test]
    async fn an_agent_of_any_earlier_schema_is_there_in_the_newest_one() {
        for version in 1..=MIGRATIONS.len() {
            let state = tempfile::tempdir().unwrap();
            let earlier = Connection::open(state.path().join("orchestrator.db")).unwrap();
            for (number, step) in MIGRATIONS[..version].iter().enumerate() {
                earlier.execute_batch(step.script).unwrap();
                if number == 0 {
                    earlier.execute_batch(OLD_AGENT).unwrap();
                }
            }
            earlier
                .pragma_update(None, "user_version", i64::try_from(version).unwrap())
                .unwrap();
            drop(earlier);

            let database = Database::open(state.path()).unwrap();
            let query = AgentQuery {
                status: Some(AgentStatus::Failed),
                backend: Some("pty".to_owned()),
                ..AgentQuery::default()
            };
            let selection = Selection::parse(query).unwrap();
            let found = database.read(move |connection| {
                let found = selection.read(connection)?;
                let unsound: i64 = connection.query_row(
                    "SELECT count(*) FROM pragma_foreign_key_check",
                    [],
                    |row| row.get(0),
                )?;
                Ok((found, records::count(connection)?, unsound))
            });
            let (found, counts, unsound) = found.await.unwrap();
            assert_eq!((found.total, unsound), (1, 0), "schema {version}");
            assert_eq!(counts, [(Some("pty".to_owned()), "failed".to_owned(), 1)]);
            let agent = &found.records[0];
            assert_eq!((&*agent.name, agent.history.len()), ("old", 1));
            assert_eq!(agent.env["KEY"].as_deref(), Some("value"));
        }
    }

    #[test]
    fn steps_are_numbered_in_their_order() {
        for (number, step) in MIGRATIONS.iter().enumerate() {
            let prefix = format!("{}-", number + 1);
            assert!(step.name.starts_with(&prefix), "{}", step.name);
        }
    }
}
