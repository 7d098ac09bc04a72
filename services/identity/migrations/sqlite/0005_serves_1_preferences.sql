-- expand: programs that know version 1 go on. The PostgreSQL twin of this file differs in types only.

-- What users prefer outside of organizations, as JSON. It ends with the account.
CREATE TABLE preferences (
    user_id    TEXT    NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    document   TEXT    NOT NULL,
    changed_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
