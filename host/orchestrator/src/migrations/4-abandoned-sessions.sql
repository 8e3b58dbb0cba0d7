-- The sessions of agents that were deleted while these could not be reached: they are ended when they
-- are seen again.
CREATE TABLE abandoned (
    session TEXT PRIMARY KEY,
    -- Milliseconds since 1970.
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
