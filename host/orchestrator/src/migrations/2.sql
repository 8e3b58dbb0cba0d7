CREATE TABLE labels (
    -- The agent's number.
    agent INTEGER NOT NULL REFERENCES agents (number) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (agent, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX labels_by_key ON labels (key, value, agent);
