CREATE TABLE agents (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    created_at TEXT NOT NULL,
    -- The request as JSON, without the values of its variables.
    spec TEXT NOT NULL,
    -- JSON: by name, the value, or null where it is not kept.
    env TEXT NOT NULL,
    wish TEXT NOT NULL CHECK (wish IN ('running', 'stopped', 'deleted')),
    status TEXT NOT NULL,
    restarts INTEGER NOT NULL DEFAULT 0,
    -- The newest session's id.
    session_id TEXT,
    -- The newest session as clients last saw it, as JSON.
    session TEXT
) STRICT;

CREATE INDEX agents_by_status ON agents (status, number);

-- The sessions that have ended.
CREATE TABLE ended_sessions (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    agent TEXT NOT NULL REFERENCES agents (id) ON DELETE CASCADE,
    started_at TEXT NOT NULL,
    ended_at TEXT NOT NULL,
    -- JSON.
    exit TEXT NOT NULL
) STRICT;

CREATE INDEX ended_sessions_by_agent ON ended_sessions (agent, number);

CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    -- JSON.
    data TEXT NOT NULL
) STRICT
;

-- Requests with an `Idempotency-Key`.
CREATE TABLE requests (
    key TEXT PRIMARY KEY,
    fingerprint TEXT NOT NULL,
    at INTEGER NOT NULL,
    -- The agent's id.
    agent TEXT NOT NULL,
    -- JSON, once it has been answered.
    answer TEXT
) STRICT
