-- expand: programs that know version 1 go on. The PostgreSQL twin of this file differs in types only.

-- Who shall own an organization on accepting: one at a time, by the word of whoever owned it then, until a time.
CREATE TABLE nominations (
    organization_id TEXT    NOT NULL PRIMARY KEY REFERENCES organizations (id) ON DELETE CASCADE,
    nominee_user_id TEXT    NOT NULL,
    nominated_by    TEXT    NOT NULL,
    nominated_until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
