-- What an agent was created with to be typed into its program; NULL once it is.
ALTER TABLE agents ADD COLUMN prompt TEXT;
ALTER TABLE agents ADD COLUMN prompt_state TEXT
    CHECK (prompt_state IN ('pending', 'delivered', 'failed'));
