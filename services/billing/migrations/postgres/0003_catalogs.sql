-- Every catalog that was ever used, by version: what the catalog_version of a charge means.

-- version counts 1, 2, 3 … in the order of first use. body: the catalog's canonical text (JSON), by whose SHA-256 it is
-- recognised. format: what a program must know to read the body.
CREATE TABLE catalogs (
    version       BIGINT NOT NULL PRIMARY KEY CHECK (version > 0),
    digest        BYTEA  NOT NULL UNIQUE,
    format        BIGINT NOT NULL CHECK (format > 0),
    body          TEXT   NOT NULL,
    first_used_at BIGINT NOT NULL
);
