-- expand: programs that know version 1 go on. The SQLite twin of this file differs in types only.

-- Whom operators have suspended, and who was. since: while the user is; reason: what the operator said. version counts the
-- changes, by which others know the later of two words.
CREATE TABLE suspensions (
    user_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    since   BIGINT,
    reason  TEXT COLLATE "C" NOT NULL,
    version BIGINT NOT NULL CHECK (version >= 1)
);
CREATE INDEX suspensions_live ON suspensions (user_id) WHERE since IS NOT NULL;
