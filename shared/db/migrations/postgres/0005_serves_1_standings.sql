-- expand: programs that know version 1 go on. The SQLite twin of this file differs in types only.

-- How organizations and people stand, as organization and identity told (bursar_members): suspended, deleted, and whoever was.
-- owner: as in members, and the byte 1 and the user's UUID for a person. Of two words the later incarnation's holds, then the
-- greater version's.
CREATE TABLE standings (
    owner       BYTEA NOT NULL PRIMARY KEY CHECK (length(owner) = 17),
    standing    TEXT COLLATE "C" NOT NULL,
    incarnation BIGINT NOT NULL,
    version     BIGINT NOT NULL
);
