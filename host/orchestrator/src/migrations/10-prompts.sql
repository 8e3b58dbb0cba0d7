-- What became of the prompt that an agent was created with, if it was.
ALTER TABLE agents ADD COLUMN prompt_state TEXT
    CHECK (prompt_state IN ('pending', 'delivered', 'failed'));

-- The texts of those that are pending.
CREATE TABLE prompts (
    agent INTEGER PRIMARY KEY REFERENCES agents (number) ON DELETE CASCADE,
    text TEXT NOT NULL
) STRICT;
