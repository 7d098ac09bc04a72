-- expand: programs that know version 1 go on. The PostgreSQL twin of this file differs in types only.

-- How organizations and people stand, as organization and identity told (bursar_members): suspended, deleted, and whoever was.
-- owner: as in members, and the byte 1 and the user's UUID for a person. Of two words the later incarnation's holds, then the
-- greater version's.
CREATE TABLE standings (
    owner       BLOB NOT NULL PRIMARY KEY CHECK (length(owner) = 17),
    standing    TEXT    NOT NULL,
    incarnation INTEGER NOT NULL,
    version     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
