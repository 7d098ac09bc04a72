-- expand: programs that know version 1 go on. The SQLite twin of this file differs in types only.

-- Who is about to delete the account: since when, until it is deleted or the departure is taken back. A user's departures
-- are ordered by the incarnation of identity's store, then by their number; this is the last one that is known.
ALTER TABLE users ADD COLUMN departing_since BIGINT;
ALTER TABLE users ADD COLUMN departure_incarnation BIGINT NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN departure BIGINT NOT NULL DEFAULT 0;
CREATE INDEX users_departing ON users (departing_since) WHERE departing_since IS NOT NULL;

-- Whose account was deleted is responsible for nothing any more.
CREATE INDEX projects_assigned ON projects (assigned_to);
