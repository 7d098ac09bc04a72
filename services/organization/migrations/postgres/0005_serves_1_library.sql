-- expand: programs that know version 1 go on. The SQLite twin of this file differs in types only.

-- Libraries of owners (usr_… or org_…): what they take of the quota. The row is locked by whatever changes its items.
CREATE TABLE libraries (
    owner TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    bytes BIGINT NOT NULL CHECK (bytes >= 0)
);

-- Items. document is JSON without what is secret; secrets are sealed JSON, bound to the id, and secrets_set the names of the
-- fields in there, separated by commas. parent and project belong to the same owner. bytes is what the item takes of the
-- quota. created_by may have left.
CREATE TABLE items (
    id          TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    owner       TEXT COLLATE "C" NOT NULL REFERENCES libraries (owner),
    kind        TEXT COLLATE "C" NOT NULL,
    name        TEXT COLLATE "C" NOT NULL,
    document    TEXT COLLATE "C" NOT NULL,
    parent      TEXT COLLATE "C",
    project     TEXT COLLATE "C",
    secrets     BYTEA,
    secrets_set TEXT COLLATE "C" NOT NULL,
    bytes       BIGINT NOT NULL CHECK (bytes > 0),
    created_by  TEXT COLLATE "C" NOT NULL,
    version     BIGINT NOT NULL CHECK (version >= 1),
    created_at  BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL,
    -- Also what lists go by.
    CONSTRAINT items_owner UNIQUE (owner, id),
    CONSTRAINT items_parent FOREIGN KEY (owner, parent) REFERENCES items (owner, id)
);
CREATE INDEX items_kind ON items (owner, kind, id);
CREATE INDEX items_children ON items (owner, parent, id) WHERE parent IS NOT NULL;
CREATE INDEX items_project ON items (owner, project, id) WHERE project IS NOT NULL;
