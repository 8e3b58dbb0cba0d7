//! The table `tokens`.

use agentd_api::Scope;
use agentd_host::doors::{Grant, KnownToken, Limit};
use rusqlite::types::FromSqlError;
use rusqlite::{Connection, Row, params};

/// So many there are at most.
const MOST: i64 = 10_000;

/// A token as it is kept.
#[derive(Clone, Debug)]
pub struct TokenRow {
    /// What counts at the doors.
    pub known: KnownToken,
    /// Whether it is that of a link to its agent.
    pub is_link: bool,
    /// Milliseconds since 1970.
    pub created_at: i64,
}

/// What came of adding one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It is there.
    Yes,
    /// Another one has its name.
    NameTaken,
    /// Its agent is not there.
    NoAgent,
    /// There are as many as there may be.
    TooMany,
}

/// Adds one, and forgets those that have expired at `now`.
pub fn add(connection: &Connection, token: &TokenRow, now: i64) -> rusqlite::Result<Added> {
    forget_expired(connection, now)?;
    let TokenRow { known, .. } = token;
    let count: i64 = connection.query_row("SELECT count(*) FROM tokens", [], |row| row.get(0))?;
    if count >= MOST {
        return Ok(Added::TooMany);
    }
    let agent = known.grant.limit.agent();
    if let Some(agent) = &agent {
        let query = "SELECT 1 FROM agents WHERE id = ? AND wish <> 'deleted'";
        if !connection.prepare_cached(query)?.exists([agent])? {
            return Ok(Added::NoAgent);
        }
    }
    let (label_key, label_value) = match &known.grant.limit {
        Limit::Label(key, value) => (Some(key), Some(value)),
        _ => (None, None),
    };
    let insert = "INSERT INTO tokens
        (id, name, scope, agent, label_key, label_value, key, link, created_at, expires_at)
        VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING";
    let added = connection.prepare_cached(insert)?.execute(params![
        known.id,
        known.name,
        known.grant.scope.as_str(),
        agent,
        label_key,
        label_value,
        known.key,
        token.is_link,
        token.created_at,
        known.expires_at,
    ])?;
    Ok(match added {
        0 => Added::NameTaken,
        _ => Added::Yes,
    })
}

/// All that have not expired at `now`, oldest first.
pub fn all(connection: &Connection, now: i64) -> rusqlite::Result<Vec<TokenRow>> {
    let query = "SELECT id, name, scope, agent, label_key, label_value, key, link, created_at,
        expires_at, last_used_at FROM tokens WHERE expires_at IS NULL OR expires_at > ?
        ORDER BY created_at, id";
    let mut statement = connection.prepare_cached(query)?;
    statement.query_map([now], row)?.collect()
}

/// Forgets those that have expired at `now`.
pub fn forget_expired(connection: &Connection, now: i64) -> rusqlite::Result<()> {
    let forget = "DELETE FROM tokens WHERE expires_at <= ?";
    connection.prepare_cached(forget)?.execute([now])?;
    Ok(())
}

/// Forgets one: of all, or of the links to `agent`. False when it is not there.
pub fn remove(connection: &Connection, id: &str, agent: Option<&str>) -> rusqlite::Result<bool> {
    let remove = "DELETE FROM tokens WHERE id = ?1 AND (?2 IS NULL OR (agent = ?2 AND link))";
    let removed = connection
        .prepare_cached(remove)?
        .execute(params![id, agent])?;
    Ok(removed > 0)
}

/// Notes when some were used last.
pub fn note_uses(connection: &Connection, uses: &[(String, i64)]) -> rusqlite::Result<()> {
    let mut note = connection.prepare_cached("UPDATE tokens SET last_used_at = ? WHERE id = ?")?;
    for (id, at) in uses {
        note.execute(params![at, id])?;
    }
    Ok(())
}

fn row(row: &Row<'_>) -> rusqlite::Result<TokenRow> {
    let scope = match row.get_ref(2)?.as_str()? {
        "read" => Scope::Read,
        "write" => Scope::Write,
        "admin" => Scope::Admin,
        _ => return Err(FromSqlError::InvalidType.into()),
    };
    let (agent, key, value) = (row.get(3)?, row.get(4)?, row.get(5)?);
    let limit = match (agent, key, value) {
        (None, None, None) => Limit::None,
        (Some(agent), None, None) => Limit::Agent(agent),
        (None, Some(key), Some(value)) => Limit::Label(key, value),
        _ => return Err(FromSqlError::InvalidType.into()),
    };
    Ok(TokenRow {
        known: KnownToken {
            id: row.get(0)?,
            name: row.get(1)?,
            grant: Grant { scope, limit },
            key: row.get(6)?,
            expires_at: row.get(9)?,
            last_used_at: row.get(10)?,
        },
        is_link: row.get(7)?,
        created_at: row.get(8)?,
    })
}
