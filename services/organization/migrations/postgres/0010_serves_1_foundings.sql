-- expand: programs that know version 1 go on. The PostgreSQL twin of this file is the same.

-- Organizations that wait for their creator's plan (state PENDING), and what it takes to finish or undo them: in which
-- session and on which branch they are created, who acts (for the audit log), and under which request id.
CREATE TABLE foundings (
    organization_id TEXT NOT NULL PRIMARY KEY REFERENCES organizations (id),
    creator         TEXT NOT NULL,
    session         TEXT NOT NULL,
    branch          TEXT NOT NULL,
    actor           TEXT NOT NULL,
    on_behalf_of    TEXT,
    method          TEXT NOT NULL,
    request_id      TEXT,
    scope           TEXT
);
