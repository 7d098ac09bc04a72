-- expand: programs that know version 1 go on. The SQLite twin of this file differs in types only.

-- What users prefer outside of organizations, as JSON. It ends with the account.
CREATE TABLE preferences (
    user_id    TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    document   TEXT COLLATE "C" NOT NULL,
    changed_at BIGINT NOT NULL
);
