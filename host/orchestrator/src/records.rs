use std::time::{SystemTime, UNIX_EPOCH};

use agentd_api::{PastSession, Size};
use agentd_host::session::Remains;
use agentd_host::{Backend, Backends, KeyedRequest};
use rusqlite::types::{FromSqlError, Type, ValueRef};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::agent::{AgentRecord, Wish};
use crate::events::{Event, Keep};
use crate::keyed::Known;
use crate::restart::Restart;

/// The agent with that id.
pub fn get(connection: &Connection, id: &str) -> rusqlite::Result<Option<AgentRecord>> {
    let query = format!("SELECT {COLUMNS} FROM agents WHERE id = ?");
    let mut statement = connection.prepare_cached(&query)?;
    let mut record = statement.query_row([id], record).optional()?;
    add_histories(connection, record.as_mut_slice())?;
    Ok(record)
}

/// Whether the agent with that id has this label.
pub fn has_label(
    connection: &Connection,
    id: &str,
    key: &str,
    value: &str,
) -> rusqlite::Result<bool> {
    let query = "SELECT 1 FROM agents JOIN labels ON labels.agent = agents.number
        WHERE agents.id = ? AND key = ? AND value = ?";
    connection
        .prepare_cached(query)?
        .exists(params![id, key, value])
}

/// The ids of the agents with this label.
pub fn labelled(connection: &Connection, key: &str, value: &str) -> rusqlite::Result<Vec<String>> {
    let query = "SELECT id FROM labels JOIN agents ON labels.agent = agents.number
        WHERE key = ? AND value = ?";
    let mut statement = connection.prepare_cached(query)?;
    statement
        .query_map([key, value], |row| row.get(0))?
        .collect()
}

/// How many agents there are, by backend and status. None is the default backend.
pub fn count(connection: &Connection) -> rusqlite::Result<Vec<(Option<String>, String, u64)>> {
    let query = "SELECT backend, status, count(*) FROM agents
        WHERE wish <> 'deleted' GROUP BY backend, status";
    let mut statement = connection.prepare_cached(query)?;
    let counts = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    counts.collect()
}

/// The agents that are taken to run, and those that are to be deleted, without their histories.
pub fn unsettled(connection: &Connection) -> rusqlite::Result<Vec<AgentRecord>> {
    let query = format!(
        "SELECT {COLUMNS} FROM agents
         WHERE status IN ('pending', 'running') OR wish = 'deleted' ORDER BY number"
    );
    let mut statement = connection.prepare_cached(&query)?;
    statement.query_map([], record)?.collect()
}

/// Which agents a backend has: its own, and as the default one those of backends that the service is not
/// to have.
#[derive(Clone, Debug)]
pub struct Share {
    backend: String,
    is_default: bool,
    /// The names of all that the service is to have, as JSON.
    all: String,
}

/// In a query, with the values of [`Share::values`] before all others.
const IN_SHARE: &str = "(backend = ? OR ? AND
    (backend IS NULL OR backend NOT IN (SELECT value FROM json_each(?))))";

impl Share {
    /// That of one of the service's backends.
    pub fn of(backend: &Backend, backends: &Backends) -> Self {
        Share {
            backend: backend.name().to_owned(),
            is_default: backend.name() == backends.default().name(),
            all: json!(backends.names()).to_string(),
        }
    }

    fn values(&self) -> [&dyn ToSql; 3] {
        [&self.backend, &self.is_default, &self.all]
    }
}

/// The ids of the agents that have ended and are to run, and of which nobody has planned when.
pub fn unplanned(connection: &Connection, share: &Share) -> rusqlite::Result<Vec<String>> {
    let query = format!(
        "SELECT id FROM agents
        WHERE {IN_SHARE} AND restart <> 'never' AND status IN ('stopped', 'failed', 'lost')
        AND wish = 'running' AND next_restart_at IS NULL
        AND (max_restarts IS NULL OR attempts < max_restarts)"
    );
    let mut statement = connection.prepare_cached(&query)?;
    statement
        .query_map(share.values(), |row| row.get(0))?
        .collect()
}

/// The ids of the agents that are to run, and whose prompts wait for their programs.
pub fn pending_prompts(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let query = "SELECT id FROM prompts JOIN agents ON number = agent WHERE wish = 'running'";
    let mut statement = connection.prepare_cached(query)?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// The next restarts, the first one first: ids of agents, and times in milliseconds since 1970. None is
/// after `latest` when it is planned, so where one is, the clock was set back since: it comes first, as of 0.
pub fn planned(
    connection: &Connection,
    share: &Share,
    latest: i64,
    count: usize,
) -> rusqlite::Result<Vec<(String, i64)>> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let restart = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let [backend, is_default, all] = share.values();
    let values: [&dyn ToSql; 5] = [backend, is_default, all, &latest, &count];
    let overlooked =
        format!("SELECT id, 0 FROM agents WHERE {IN_SHARE} AND next_restart_at > ? LIMIT ?");
    let mut statement = connection.prepare_cached(&overlooked)?;
    let overlooked = statement.query_map(values, restart)?;
    let mut planned = overlooked.collect::<rusqlite::Result<Vec<_>>>()?;
    let next = format!(
        "SELECT id, next_restart_at FROM agents WHERE {IN_SHARE} AND next_restart_at <= ?
        ORDER BY next_restart_at LIMIT ?"
    );
    let mut statement = connection.prepare_cached(&next)?;
    for restart in statement.query_map(values, restart)? {
        planned.push(restart?);
    }
    Ok(planned)
}

/// Adds to the agents the sessions that have ended.
pub fn add_histories(connection: &Connection, agents: &mut [AgentRecord]) -> rusqlite::Result<()> {
    // One by one: SQLite would make a table of a list of ids.
    let query = "SELECT id, started_at, ended_at, exit FROM ended_sessions
        WHERE agent = ? ORDER BY number";
    let mut statement = connection.prepare_cached(query)?;
    let past = |row: &Row<'_>| {
        Ok(PastSession {
            id: row.get(0)?,
            started_at: row.get(1)?,
            ended_at: row.get(2)?,
            exit: from_json(row, 3)?,
        })
    };
    for agent in agents {
        let history = statement.query_map([&agent.id], past)?;
        agent.history = history.collect::<rusqlite::Result<_>>()?;
    }
    Ok(())
}

/// What [`record`] reads, in a query of `agents`.
pub const COLUMNS: &str =
    "id, name, created_at, wish, status, restarts, spec, env, session_id, session,
    (SELECT json_group_object(key, value) FROM labels WHERE agent = agents.number), number,
    restart, max_restarts, attempts, next_restart_at, last_exit, restart_reason, prompt_state";

/// The place of the agent's number in [`COLUMNS`].
pub const NUMBER: usize = 11;

/// The agent of a row.
pub fn record(row: &Row<'_>) -> rusqlite::Result<AgentRecord> {
    let wish = match row.get_ref(3)?.as_str()? {
        "running" => Wish::Running,
        "stopped" => Wish::Stopped,
        "deleted" => Wish::Deleted,
        _ => return Err(FromSqlError::InvalidType.into()),
    };
    let session: Option<String> = row.get(9)?;
    let last_exit: Option<String> = row.get(16)?;
    Ok(AgentRecord {
        id: row.get(0)?,
        name: row.get(1)?,
        created_at: row.get(2)?,
        wish,
        status: word(row, 4)?,
        restarts: row.get(5)?,
        spec: from_json(row, 6)?,
        env: from_json(row, 7)?,
        session_id: row.get(8)?,
        session: session.map(|json| parse(9, &json)).transpose()?,
        labels: from_json(row, 10)?,
        prompt: match row.get_ref(18)? {
            ValueRef::Null => None,
            _ => Some(word(row, 18)?),
        },
        restart: Restart {
            policy: word(row, 12)?,
            max: row.get(13)?,
            attempts: row.get(14)?,
            next_at: row.get(15)?,
            last_exit: last_exit.map(|json| parse(16, &json)).transpose()?,
            last_reason: row.get(17)?,
        },
        history: Vec::new(),
    })
}

/// Whether what that session left is kept.
pub fn has_output(connection: &Connection, session: &str) -> rusqlite::Result<bool> {
    let query = "SELECT 1 FROM ended_sessions JOIN outputs ON session = number WHERE id = ?";
    connection.prepare_cached(query)?.exists([session])
}

/// What that session of the agent left, if it is kept.
pub fn output(
    connection: &Connection,
    agent: &str,
    session: &str,
) -> rusqlite::Result<Option<Remains>> {
    let query = "SELECT s.id, a.name, s.exit, o.lines, o.cols, o.rows, o.seq, o.screen
        FROM ended_sessions s JOIN agents a ON a.id = s.agent JOIN outputs o ON o.session = s.number
        WHERE s.id = ? AND s.agent = ?";
    let remains = |row: &Row<'_>| {
        let screen: Option<Vec<u8>> = row.get(7)?;
        Ok(Remains {
            id: row.get(0)?,
            name: row.get(1)?,
            exit: from_json(row, 2)?,
            lines: row.get::<_, Vec<u8>>(3)?.into(),
            size: Size {
                cols: row.get(4)?,
                rows: row.get(5)?,
            },
            seq: row.get(6)?,
            screen: screen.map(Into::into),
        })
    };
    let mut statement = connection.prepare_cached(query)?;
    statement.query_row([session, agent], remains).optional()
}

/// The agents whose newest session has ended and left something that is kept, each with that session, the
/// last end first.
pub fn ended(connection: &Connection, count: usize) -> rusqlite::Result<Vec<(String, String)>> {
    let query = "SELECT a.id, s.id FROM ended_sessions s
        JOIN agents a ON a.id = s.agent AND a.session_id = s.id
        WHERE EXISTS (SELECT 1 FROM outputs WHERE session = s.number)
        ORDER BY s.number DESC LIMIT ?";
    let mut statement = connection.prepare_cached(query)?;
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let ended = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    statement.query_map([count], ended)?.collect()
}

/// The last bytes of the log that this session left, if it is kept.
pub fn end_of_log(
    connection: &Connection,
    session: &str,
    bytes: usize,
) -> rusqlite::Result<Option<Vec<u8>>> {
    let query = "SELECT substr(lines, -?) FROM ended_sessions JOIN outputs ON session = number
        WHERE id = ?";
    let mut statement = connection.prepare_cached(query)?;
    let bytes = i64::try_from(bytes).unwrap_or(i64::MAX);
    let read = statement.query_row(params![bytes, session], |row| row.get(0));
    read.optional()
}

/// Whether the session is to be ended when it is seen, since its agent was forgotten without it.
pub fn is_abandoned(connection: &Connection, session: &str) -> rusqlite::Result<bool> {
    let query = "SELECT EXISTS (SELECT 1 FROM abandoned WHERE session = ?)";
    connection
        .prepare_cached(query)?
        .query_row([session], |row| row.get(0))
}

/// What is known of a request.
pub fn known<A: DeserializeOwned>(
    connection: &Connection,
    request: &KeyedRequest,
) -> rusqlite::Result<Known<A>> {
    let query = "SELECT fingerprint, agent, answer FROM requests WHERE key = ?";
    let mut statement = connection.prepare_cached(query)?;
    let known = |row: &Row<'_>| {
        let answer: Option<String> = row.get(2)?;
        Ok(match answer {
            _ if row.get_ref(0)?.as_str()? != request.fingerprint => Known::Another,
            Some(answer) => Known::Answered(Box::new(parse(2, &answer)?)),
            None => Known::Begun(row.get(1)?),
        })
    };
    let known = statement
        .query_row([request.key.as_str()], known)
        .optional()?;
    Ok(known.unwrap_or(Known::New))
}

/// The events that are kept, oldest first, and the number of the last one that there ever was.
pub fn kept_events(connection: &Connection, keep: Keep) -> rusqlite::Result<(Vec<Event>, u64)> {
    let last = "SELECT seq FROM sqlite_sequence WHERE name = 'events'";
    let last = connection
        .query_row(last, [], |row| row.get(0))
        .optional()?
        .unwrap_or(0);
    let query = "SELECT id, at, kind, data FROM
        (SELECT * FROM events WHERE at >= ? ORDER BY id DESC LIMIT ?) ORDER BY id";
    let mut statement = connection.prepare(query)?;
    let event = |row: &Row<'_>| {
        Ok(Event {
            id: row.get(0)?,
            at: row.get(1)?,
            kind: row.get(2)?,
            data: row.get(3)?,
        })
    };
    let count = i64::try_from(keep.count).unwrap_or(i64::MAX);
    let kept = statement.query_map(params![keep.oldest(now_millis()), count], event)?;
    Ok((kept.collect::<rusqlite::Result<_>>()?, last))
}

/// Milliseconds since 1970.
pub fn now_millis() -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since_1970.unwrap_or_default().as_millis();
    i64::try_from(millis).unwrap_or(i64::MAX)
}

fn word<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    parse(column, &json!(row.get_ref(column)?.as_str()?).to_string())
}

fn from_json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    parse(column, row.get_ref(column)?.as_str()?)
}

fn parse<T: DeserializeOwned>(column: usize, json: &str) -> rusqlite::Result<T> {
    serde_json::from_str(json).map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, Type::Text, error.into())
    })
}
