-- expand: programs that know version 3 go on. The SQLite twin of this file differs in types only.

-- Payments: money that is asked for, what it buys and what became of it. They stay with the coordinator where the credits
-- are distributed, so a reference is there once in the whole deployment.
CREATE TABLE payments (
    id              TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    owner           TEXT COLLATE "C" NOT NULL,
    purpose         TEXT NOT NULL,
    state           TEXT NOT NULL,
    -- What is paid for (a request, or a period of a subscription) and which attempt at it this is.
    thing           BYTEA NOT NULL CHECK (length(thing) = 16),
    attempt         BIGINT NOT NULL CHECK (attempt > 0),
    currency        TEXT NOT NULL,
    -- In millionths of the currency's unit.
    amount          BIGINT NOT NULL CHECK (amount >= 0),
    refunded        BIGINT NOT NULL DEFAULT 0 CHECK (refunded >= 0 AND refunded <= amount),
    dispute         TEXT NOT NULL DEFAULT 'NONE',
    disputed        BIGINT NOT NULL DEFAULT 0 CHECK (disputed >= 0 AND disputed <= amount),
    decline_code    TEXT,
    method          TEXT NOT NULL,
    reference       TEXT COLLATE "C" UNIQUE,
    -- What is bought, on the terms that were agreed: the pack or plan, its credits, what they may pay for (JSON), seats, and
    -- which period of a subscription.
    product         TEXT NOT NULL,
    credits         BIGINT NOT NULL CHECK (credits >= 0),
    scope           TEXT,
    seats           BIGINT,
    period          BIGINT,
    purchase_id     TEXT COLLATE "C",
    subscription_id TEXT COLLATE "C",
    -- Its credits once it is fulfilled, and what refunds and disputes took back of them.
    fulfilled_at    BIGINT,
    returned        BIGINT NOT NULL DEFAULT 0 CHECK (returned IN (0, 1)),
    lot_id          TEXT COLLATE "C",
    taken_back      BIGINT NOT NULL DEFAULT 0 CHECK (taken_back >= 0),
    voided          BIGINT NOT NULL DEFAULT 0 CHECK (voided >= 0),
    owed            BIGINT NOT NULL DEFAULT 0 CHECK (owed >= 0),
    started_by      TEXT NOT NULL,
    created_at      BIGINT NOT NULL,
    -- What repetitions need for ever: who asked and under which id, what was asked, what was answered.
    request         BYTEA CHECK (length(request) = 16),
    request_hash    BYTEA CHECK (length(request_hash) = 32),
    first_answer    BYTEA,
    UNIQUE (thing, attempt),
    CHECK ((request IS NULL) = (request_hash IS NULL) AND (request IS NULL) = (first_answer IS NULL))
);
CREATE UNIQUE INDEX payments_of_owner ON payments (owner, id);
CREATE UNIQUE INDEX payments_request ON payments (owner, request) WHERE request IS NOT NULL;
CREATE INDEX payments_waiting ON payments (owner) WHERE state IN ('CREATED', 'PENDING', 'REQUIRES_ACTION');

-- Ways to pay that are saved: never a card's number, only the provider's name for it.
CREATE TABLE payment_methods (
    owner      TEXT COLLATE "C" NOT NULL,
    id         TEXT COLLATE "C" NOT NULL,
    token      TEXT NOT NULL,
    brand      TEXT NOT NULL,
    last4      TEXT NOT NULL,
    exp_month  BIGINT NOT NULL CHECK (exp_month BETWEEN 1 AND 12),
    exp_year   BIGINT NOT NULL,
    is_default BIGINT NOT NULL CHECK (is_default IN (0, 1)),
    added_by   TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    removed_at BIGINT,
    PRIMARY KEY (owner, id)
);
CREATE UNIQUE INDEX payment_methods_default ON payment_methods (owner) WHERE is_default = 1 AND removed_at IS NULL;

-- A purchase that is neither paid nor declined: for programs that know only those it was declined.
ALTER TABLE purchases ADD COLUMN phase TEXT;
ALTER TABLE purchases ADD COLUMN payment_id TEXT COLLATE "C";

-- A subscription whose period is over and was not paid (PAST_DUE): how often it was tried, and when it is tried again. To
-- programs that do not know of it, it is due.
ALTER TABLE subscriptions ADD COLUMN failures BIGINT NOT NULL DEFAULT 0;
ALTER TABLE subscriptions ADD COLUMN next_retry_at BIGINT;
