-- expand: programs that know version 1 go on. The SQLite twin of this file differs in types only.

-- Who shall own an organization on accepting: one at a time, by the word of whoever owned it then, until a time.
CREATE TABLE nominations (
    organization_id TEXT COLLATE "C" NOT NULL PRIMARY KEY REFERENCES organizations (id) ON DELETE CASCADE,
    nominee_user_id TEXT COLLATE "C" NOT NULL,
    nominated_by    TEXT COLLATE "C" NOT NULL,
    nominated_until BIGINT NOT NULL
);
