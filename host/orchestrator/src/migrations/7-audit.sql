-- Who asked for what, and what came of it.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    -- Milliseconds since 1970.
    at INTEGER NOT NULL,
    -- NULL of somebody who was not let in.
    who TEXT,
    peer TEXT NOT NULL,
    request TEXT NOT NULL,
    agent TEXT,
    mode TEXT,
    -- NULL if they had left before there was an answer.
    status INTEGER
) STRICT;

CREATE INDEX audit_by_agent ON audit (agent, id) WHERE agent IS NOT NULL;
CREATE INDEX audit_by_time ON audit (at);
CREATE INDEX audit_of_strangers ON audit (id) WHERE who IS NULL;
