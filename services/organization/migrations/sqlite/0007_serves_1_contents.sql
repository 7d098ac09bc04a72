-- expand: programs that know version 1 go on. The PostgreSQL twin of this file differs in types only.

-- What lies in the object store, from before its first byte is written until after its last one is removed. refs counts the
-- owners whose contents it is; with none it is written (uploader says for whom, and lease_until how long that counts) or
-- waits to be removed, which begins once lease_until is past. segment is the length of its parts.
CREATE TABLE objects (
    id          TEXT NOT NULL PRIMARY KEY,
    uploader    TEXT,
    size        INTEGER NOT NULL CHECK (size >= 0),
    segment     INTEGER NOT NULL CHECK (segment > 0),
    refs        INTEGER NOT NULL CHECK (refs >= 0),
    lease_until INTEGER NOT NULL
) STRICT;
CREATE INDEX objects_loose ON objects (lease_until, id) WHERE refs = 0;
CREATE INDEX objects_uploads ON objects (uploader) WHERE uploader IS NOT NULL;

-- What an owner's items have as content, by its SHA-256, and how many of them do. The same bytes of another owner's are
-- another row.
CREATE TABLE contents (
    owner  TEXT NOT NULL REFERENCES libraries (owner),
    sha256 BLOB NOT NULL,
    object TEXT NOT NULL REFERENCES objects (id),
    size   INTEGER NOT NULL CHECK (size >= 0),
    items  INTEGER NOT NULL CHECK (items > 0),
    PRIMARY KEY (owner, sha256)
) STRICT;

-- Which item has which content, and of which type.
CREATE TABLE item_contents (
    owner      TEXT NOT NULL,
    item       TEXT NOT NULL,
    sha256     BLOB NOT NULL,
    size       INTEGER NOT NULL,
    media_type TEXT NOT NULL,
    PRIMARY KEY (owner, item),
    CONSTRAINT item_contents_item FOREIGN KEY (owner, item) REFERENCES items (owner, id),
    CONSTRAINT item_contents_content FOREIGN KEY (owner, sha256) REFERENCES contents (owner, sha256)
) STRICT;
CREATE INDEX item_contents_by_content ON item_contents (owner, sha256);
CREATE INDEX contents_object ON contents (object);
