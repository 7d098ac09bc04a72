-- The tables that every service's store has; they are made before the service's own. The SQLite twin of this file differs
-- in types only. Times are microseconds since 1970 (UTC).

-- Answers to requests that carry a request id (bursar_db::idempotency). Written in the transaction of the effect.
-- scope: whose id it is. response: NULL only inside the transaction that claimed it.
CREATE TABLE requests (
    scope      TEXT COLLATE "C" NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL,
    method     TEXT COLLATE "C" NOT NULL,
    body_hash  BYTEA  NOT NULL,
    response   BYTEA,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (scope, request_id)
);
CREATE INDEX requests_by_age ON requests (created_at);

-- Events of this service for the others (bursar_events). seq has no gaps and its order is the order of commits.
-- payload: the encoded bursar.event.v1.Event.
CREATE TABLE outbox (
    seq        BIGINT NOT NULL PRIMARY KEY,
    id         TEXT COLLATE "C" NOT NULL,
    type       TEXT COLLATE "C" NOT NULL,
    payload    BYTEA  NOT NULL,
    created_at BIGINT NOT NULL
);

-- The last seq given out. Its single row is updated last in a transaction and stays locked until the commit: that
-- makes the order of seq the order of commits. Room is left on its page for updates that touch no index.
CREATE TABLE outbox_head (
    one INTEGER NOT NULL PRIMARY KEY CHECK (one = 1),
    seq BIGINT  NOT NULL
) WITH (fillfactor = 10);
INSERT INTO outbox_head (one, seq) VALUES (1, 0);

-- How far this service has applied another one's events. Moves in the transaction that applies one.
-- source: the other service. cursor: its word for the last event applied, opaque here; empty before the first.
CREATE TABLE consumer_cursors (
    source TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    cursor TEXT COLLATE "C" NOT NULL
);

-- Mail waiting to be delivered (bursar_mail). sealed: the whole mail, encrypted, because its links carry tokens.
CREATE TABLE mail_queue (
    id              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    sealed          BYTEA  NOT NULL,
    attempts        BIGINT NOT NULL,
    next_attempt_at BIGINT NOT NULL,
    created_at      BIGINT NOT NULL
);
CREATE INDEX mail_queue_due ON mail_queue (next_attempt_at);
