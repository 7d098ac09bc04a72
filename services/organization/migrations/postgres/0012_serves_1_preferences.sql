-- expand: programs that know version 1 go on. The SQLite twin of this file differs in types only.

-- What members prefer, as JSON: there while the membership is, kept while it is not, erased with the account.
CREATE TABLE preferences (
    organization_id TEXT COLLATE "C" NOT NULL,
    user_id         TEXT COLLATE "C" NOT NULL,
    document        TEXT COLLATE "C" NOT NULL,
    version         BIGINT NOT NULL CHECK (version >= 1),
    changed_at      BIGINT NOT NULL,
    PRIMARY KEY (user_id, organization_id),
    FOREIGN KEY (organization_id, user_id) REFERENCES memberships (organization_id, user_id) ON DELETE CASCADE
);
CREATE INDEX preferences_organization ON preferences (organization_id, user_id);
