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
