-- Every catalog that was ever used, by version: what the catalog_version of a charge means.

-- version counts 1, 2, 3 … in the order of first use. body: the catalog's canonical text (JSON), by whose SHA-256 it is
-- recognised. format: what a program must know to read the body.
CREATE TABLE catalogs (
    version       INTEGER NOT NULL PRIMARY KEY CHECK (version > 0),
    digest        BLOB    NOT NULL UNIQUE,
    format        INTEGER NOT NULL CHECK (format > 0),
    body          TEXT    NOT NULL,
    first_used_at INTEGER NOT NULL
) STRICT;
