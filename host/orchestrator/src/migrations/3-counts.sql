-- How many agents have each status, so that nobody has to count them.
CREATE TABLE agent_counts (
    status TEXT PRIMARY KEY,
    agents INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO agent_counts SELECT status, count(*) FROM agents GROUP BY status;

CREATE TRIGGER agent_added AFTER INSERT ON agents BEGIN
    INSERT INTO agent_counts VALUES (NEW.status, 1)
        ON CONFLICT (status) DO UPDATE SET agents = agents + 1;
END;

CREATE TRIGGER agent_removed AFTER DELETE ON agents BEGIN
    UPDATE agent_counts SET agents = agents - 1 WHERE status = OLD.status;
END;

CREATE TRIGGER agent_changed AFTER UPDATE OF status ON agents WHEN OLD.status <> NEW.status BEGIN
    UPDATE agent_counts SET agents = agents - 1 WHERE status = OLD.status;
    INSERT INTO agent_counts VALUES (NEW.status, 1)
        ON CONFLICT (status) DO UPDATE SET agents = agents + 1;
END
