-- expand: programs that know version 1 go on. The PostgreSQL twin of this file differs in types only.

-- Libraries of owners (usr_… or org_…): what they take of the quota. The row is locked by whatever changes its items.
CREATE TABLE libraries (
    owner TEXT NOT NULL PRIMARY KEY,
    bytes INTEGER NOT NULL CHECK (bytes >= 0)
) STRICT;

-- Items. document is JSON without what is secret; secrets are sealed JSON, bound to the id, and secrets_set the names of the
-- fields in there, separated by commas. parent and project belong to the same owner. bytes is what the item takes of the
-- quota. created_by may have left.
CREATE TABLE items (
    id          TEXT NOT NULL PRIMARY KEY,
    owner       TEXT NOT NULL REFERENCES libraries (owner),
    kind        TEXT NOT NULL,
    name        TEXT NOT NULL,
    document    TEXT NOT NULL,
    parent      TEXT,
    project     TEXT,
    secrets     BLOB,
    secrets_set TEXT NOT NULL,
    bytes       INTEGER NOT NULL CHECK (bytes > 0),
    created_by  TEXT NOT NULL,
    version     INTEGER NOT NULL CHECK (version >= 1),
    created_at  INTEGER NOT NULL,
    updated_at  INTEGER NOT NULL,
    -- Also what lists go by.
    CONSTRAINT items_owner UNIQUE (owner, id),
    CONSTRAINT items_parent FOREIGN KEY (owner, parent) REFERENCES items (owner, id)
) STRICT;
CREATE INDEX items_kind ON items (owner, kind, id);
CREATE INDEX items_children ON items (owner, parent, id) WHERE parent IS NOT NULL;
CREATE INDEX items_project ON items (owner, project, id) WHERE project IS NOT NULL;
