-- The backend of the newest session, or else the one that the agent is for; none is the default one.
ALTER TABLE agents ADD COLUMN backend TEXT
    GENERATED ALWAYS AS (coalesce(session ->> '$.backend_type', spec ->> '$.backend')) VIRTUAL;

CREATE INDEX agents_by_backend ON agents (backend, number);
