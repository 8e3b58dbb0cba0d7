-- Tokens with a scope, without their secrets.
CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    scope TEXT NOT NULL CHECK (scope IN ('read', 'write', 'admin')),
    -- The id of the one agent that it reaches.
    agent TEXT REFERENCES agents (id) ON DELETE CASCADE,
    -- The label of the agents that it reaches.
    label_key TEXT,
    label_value TEXT,
    -- Made from the secret; shows whether a secret is the right one.
    key TEXT NOT NULL,
    -- Whether it is that of a link to its agent.
    link INTEGER NOT NULL DEFAULT 0,
    -- Milliseconds since 1970.
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE UNIQUE INDEX tokens_by_name ON tokens (name);
CREATE INDEX tokens_by_agent ON tokens (agent) WHERE agent IS NOT NULL;
