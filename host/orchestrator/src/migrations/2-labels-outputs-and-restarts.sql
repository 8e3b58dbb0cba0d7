CREATE TABLE labels (
    -- The agent's number.
    agent INTEGER NOT NULL REFERENCES agents (number) ON DELETE CASCADE,
    key TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (agent, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX labels_by_key ON labels (key, value, agent);

-- What sessions have left that have ended.
CREATE TABLE outputs (
    -- The number of the session, so that they are in the order of their ends.
    session INTEGER PRIMARY KEY REFERENCES ended_sessions (number) ON DELETE CASCADE,
    -- Its agent's id.
    agent TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    -- The last lines of the log, NDJSON.
    lines BLOB NOT NULL,
    cols INTEGER NOT NULL,
    rows INTEGER NOT NULL,
    -- The position after the last byte of output.
    seq INTEGER NOT NULL,
    -- The last screen of a terminal.
    screen BLOB
) STRICT;

CREATE INDEX outputs_by_agent ON outputs (agent, session, bytes);

CREATE TABLE output_bytes (total INTEGER NOT NULL) STRICT;

INSERT INTO output_bytes VALUES (0);

CREATE TRIGGER output_kept AFTER INSERT ON outputs BEGIN
    UPDATE output_bytes SET total = total + NEW.bytes;
END;

CREATE TRIGGER output_dropped AFTER DELETE ON outputs BEGIN
    UPDATE output_bytes SET total = total - OLD.bytes;
END;

-- After which ends an agent is started again, and how often in a row at most.
ALTER TABLE agents ADD COLUMN restart TEXT NOT NULL DEFAULT 'never'
    CHECK (restart IN ('never', 'on-failure', 'always'));
ALTER TABLE agents ADD COLUMN max_restarts INTEGER;
-- How often in a row it was.
ALTER TABLE agents ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
-- When it is next: milliseconds since 1970.
ALTER TABLE agents ADD COLUMN next_restart_at INTEGER;
-- JSON.
ALTER TABLE agents ADD COLUMN last_exit TEXT;
ALTER TABLE agents ADD COLUMN restart_reason TEXT;

CREATE INDEX agents_by_next_restart ON agents (next_restart_at)
    WHERE next_restart_at IS NOT NULL;
CREATE INDEX agents_to_restart ON agents (status) WHERE restart <> 'never';
CREATE INDEX agents_to_delete ON agents (number) WHERE wish = 'deleted';

-- Whether what follows from the end of the session was decided.
ALTER TABLE ended_sessions ADD COLUMN settled INTEGER NOT NULL DEFAULT 0;

UPDATE ended_sessions SET settled = 1;
