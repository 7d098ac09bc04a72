-- expand: programs that know version 1 go on. The PostgreSQL twin of this file differs in types only.

-- Whom operators have suspended, and who was. since: while the user is; reason: what the operator said. version counts the
-- changes, by which others know the later of two words.
CREATE TABLE suspensions (
    user_id TEXT NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    since   INTEGER,
    reason  TEXT NOT NULL,
    version INTEGER NOT NULL CHECK (version >= 1)
) STRICT;
CREATE INDEX suspensions_live ON suspensions (user_id) WHERE since IS NOT NULL;
