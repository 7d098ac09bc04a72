-- The tables that every service's store has; they are made before the service's own. The PostgreSQL twin of this file differs
-- in types and triggers only. Times are microseconds since 1970 (UTC).

-- Answers to requests that carry a request id (bursar_db::idempotency). Written in the transaction of the effect.
-- scope: whose id it is. response: NULL only inside the transaction that claimed it.
CREATE TABLE requests (
    scope      TEXT    NOT NULL,
    request_id TEXT    NOT NULL,
    method     TEXT    NOT NULL,
    body_hash  BLOB    NOT NULL,
    response   BLOB,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (scope, request_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX requests_by_age ON requests (created_at);

-- Events of this service for the others (bursar_events). seq has no gaps and its order is the order of commits.
-- incarnation: in which it was told. owner: to whom it belongs, usr_… or org_…; empty for the whole deployment.
-- payload: the encoded bursar.event.v1.Event.
CREATE TABLE outbox (
    seq         INTEGER NOT NULL PRIMARY KEY,
    incarnation INTEGER NOT NULL,
    id          TEXT    NOT NULL,
    owner       TEXT    NOT NULL,
    type        TEXT    NOT NULL,
    payload     BLOB NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;

-- The last seq given out. Its single row is updated last in a transaction and stays locked until the commit: that
-- makes the order of seq the order of commits.
-- incarnation: grows when the store was restored from a backup and so gives out numbers for the second time.
CREATE TABLE outbox_head (
    one         INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    seq         INTEGER NOT NULL,
    incarnation INTEGER NOT NULL
) STRICT;
INSERT INTO outbox_head (one, seq, incarnation) VALUES (1, 0, 1);

-- How far this service has applied another one's events. Moves in the transaction that applies one.
-- source: the other service. cursor: its word for the last event applied, opaque here; empty before the first.
CREATE TABLE consumer_cursors (
    source TEXT    NOT NULL PRIMARY KEY,
    cursor TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- Events of another service that could not be read (bursar_events). What is known of their owner may be wrong.
CREATE TABLE events_set_aside (
    source       TEXT    NOT NULL,
    id           TEXT    NOT NULL,
    owner        TEXT    NOT NULL,
    type         TEXT    NOT NULL,
    problem      TEXT    NOT NULL,
    event        BLOB NOT NULL,
    set_aside_at INTEGER NOT NULL,
    PRIMARY KEY (source, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX events_set_aside_owner ON events_set_aside (source, owner);

-- Who belongs to which organization, as organization told (bursar_members). owner: the byte 0 and the organization's UUID,
-- user_id: the user's UUID. role NULL: not a member any more. Of two words the later incarnation's holds, then the
-- greater version's.
CREATE TABLE members (
    owner       BLOB NOT NULL CHECK (length(owner) = 17),
    user_id     BLOB NOT NULL CHECK (length(user_id) = 16),
    role        TEXT,
    incarnation INTEGER NOT NULL,
    version     INTEGER NOT NULL,
    PRIMARY KEY (owner, user_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX members_user ON members (user_id);

-- What was decided about policies, as organization told it (bursar_members); in organization's own store, what it tells.
-- owner: as in members, and empty for the deployment's own. policy: JSON; what an organization leaves out is as the
-- deployment has it.
CREATE TABLE policies (
    owner       BLOB NOT NULL PRIMARY KEY CHECK (length(owner) IN (0, 17)),
    policy      TEXT    NOT NULL,
    incarnation INTEGER NOT NULL,
    version     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The audit log (bursar_db::audit): who did what, one row for each mutating call and each refused privileged one. Written in
-- the transaction of the effect.
-- owner: whose context it was, NULL for the deployment's own. actor and on_behalf_of: ids. reason: NULL unless refused.
-- request_id: the caller's, if it sent one. No row holds a secret, an address or a name.
CREATE TABLE audit (
    id           TEXT    NOT NULL PRIMARY KEY,
    at           INTEGER NOT NULL,
    owner        TEXT,
    actor        TEXT    NOT NULL,
    on_behalf_of TEXT,
    method       TEXT    NOT NULL,
    target       TEXT,
    outcome      TEXT    NOT NULL,
    reason       TEXT,
    request_id   TEXT
) STRICT, WITHOUT ROWID;
-- Ids begin with their time: an owner's rows in order.
CREATE INDEX audit_by_owner ON audit (owner, id);
CREATE INDEX audit_by_age ON audit (at);

-- Append-only. Retention may take what is thirty days older than the newest row, whatever a clock says.
CREATE TRIGGER audit_is_not_changed BEFORE UPDATE ON audit
BEGIN
    SELECT RAISE(ABORT, 'audit is append-only');
END;
CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit
WHEN OLD.at > (SELECT max(at) FROM audit) - 2592000000000
BEGIN
    SELECT RAISE(ABORT, 'audit is append-only');
END;

-- Work that is done later (bursar_jobs). kind: who does it. sealed: what it carries, encrypted. unique_key: of the jobs of a
-- kind that are not dead, one has it; asked counts how often. leased: somebody works on it, and lease, which only grows,
-- says who. due_at: not before; of a leased job, when the lease lapses. attempts: since it last went well.
-- failure: why the last attempt failed, without secrets. dead_at: given up.
CREATE TABLE jobs (
    id          TEXT    NOT NULL PRIMARY KEY,
    kind        TEXT    NOT NULL,
    unique_key  TEXT,
    sealed      BLOB    NOT NULL,
    attempts    INTEGER NOT NULL,
    lease       INTEGER NOT NULL,
    leased      INTEGER NOT NULL,
    asked       INTEGER NOT NULL,
    due_at      INTEGER NOT NULL,
    enqueued_at INTEGER NOT NULL,
    failure     TEXT,
    dead_at     INTEGER
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX jobs_unique ON jobs (kind, unique_key) WHERE unique_key IS NOT NULL AND dead_at IS NULL;
CREATE INDEX jobs_due ON jobs (kind, due_at, id) WHERE dead_at IS NULL;
CREATE INDEX jobs_dead ON jobs (dead_at, id) WHERE dead_at IS NOT NULL;
