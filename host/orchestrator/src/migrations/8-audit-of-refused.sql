-- The id of the token or link that was made.
ALTER TABLE audit ADD COLUMN made TEXT;

-- Those who were let in and those who were refused have room of their own each.
DROP INDEX audit_of_strangers;
CREATE INDEX audit_of_refused ON audit (id) WHERE who IS NULL OR ifnull(status, 0) IN (401, 403);
CREATE INDEX audit_of_allowed ON audit (id) WHERE NOT (who IS NULL OR ifnull(status, 0) IN (401, 403));
