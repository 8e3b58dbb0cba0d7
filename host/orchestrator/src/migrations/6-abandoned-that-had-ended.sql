-- Whether the session had ended when its agent was deleted: its backend may list it for a moment all the
-- same. There are many of these, and they must not push out the others.
ALTER TABLE abandoned ADD COLUMN ended INTEGER NOT NULL DEFAULT 0
