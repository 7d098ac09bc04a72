-- Accounts, lots, the ledger, holds and usage: what the credit engine reads and writes.
-- Every primary and unique key leads with the owner, so the tables can be distributed by it.

-- One row per owner: the balances after the last ledger entry, and the ledger's head.
-- A charge locks this row; whoever holds the lock may append to the owner's ledger.
CREATE TABLE accounts (
    owner        TEXT PRIMARY KEY,
    seq          INTEGER NOT NULL CHECK (seq >= 0),
    head_hash    BLOB  NOT NULL,
    available    INTEGER NOT NULL CHECK (available >= 0),
    held         INTEGER NOT NULL CHECK (held >= 0),
    period_start INTEGER NOT NULL,
    period_end   INTEGER NOT NULL,
    period_spent INTEGER NOT NULL CHECK (period_spent >= 0),
    -- The time of the last entry: a replica whose clock is behind must not book before it.
    last_at      INTEGER NOT NULL,
    -- When the next lot expires or the next hold lapses: what the sweeper looks for.
    next_due     INTEGER,
    opened_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX accounts_due ON accounts (next_due) WHERE next_due IS NOT NULL;

-- Credits granted at one time from one source with one expiry.
CREATE TABLE lots (
    owner        TEXT NOT NULL,
    id           TEXT NOT NULL,
    -- The number of the ledger entry that granted it: the order in which lots came to be.
    number       INTEGER NOT NULL,
    source       TEXT NOT NULL CHECK (source IN ('ALLOWANCE', 'PACK', 'PROMOTION', 'GOODWILL', 'ADJUSTMENT')),
    priority     INTEGER NOT NULL,
    granted      INTEGER NOT NULL CHECK (granted > 0),
    remaining    INTEGER NOT NULL CHECK (remaining >= 0),
    held         INTEGER NOT NULL CHECK (held >= 0),
    spent        INTEGER NOT NULL CHECK (spent >= 0),
    expired      INTEGER NOT NULL CHECK (expired >= 0),
    voided       INTEGER NOT NULL CHECK (voided >= 0),
    effective_at INTEGER NOT NULL,
    expires_at   INTEGER,
    voided_at    INTEGER,
    note         TEXT,
    -- Something remains or is held: what a charge has to look at. A column of its own, because
    -- an index on the amounts themselves would have to be rewritten with every charge.
    live         INTEGER NOT NULL CHECK (live IN (0, 1)),
    PRIMARY KEY (owner, id),
    CONSTRAINT lots_conserve CHECK (granted = spent + remaining + held + expired + voided),
    CONSTRAINT lots_pack_never_expires CHECK (source <> 'PACK' OR expires_at IS NULL),
    CONSTRAINT lots_live_is_true CHECK (live = (remaining + held > 0))
) STRICT, WITHOUT ROWID;
CREATE INDEX lots_live ON lots (owner) WHERE live;
CREATE INDEX lots_by_number ON lots (owner, number);
CREATE INDEX lots_by_id ON lots (id);

-- The ledger: append-only, numbered without gaps per owner, chained by hash.
CREATE TABLE ledger_entries (
    owner           TEXT NOT NULL,
    seq             INTEGER NOT NULL CHECK (seq > 0),
    kind            TEXT NOT NULL,
    at              INTEGER NOT NULL,
    amount          INTEGER NOT NULL CHECK (amount >= 0),
    available_after INTEGER NOT NULL CHECK (available_after >= 0),
    held_after      INTEGER NOT NULL CHECK (held_after >= 0),
    -- What the operation made (chg_, hld_, ref_, lot_) and what it was about (hld_, chg_, lot_).
    operation_id    TEXT,
    subject         TEXT,
    member          TEXT,
    project         TEXT,
    model           TEXT,
    quantity        INTEGER,
    labels          TEXT,
    occurred_at     INTEGER,
    expires_at      INTEGER,
    -- The terms of a granted lot.
    source          TEXT,
    priority        INTEGER,
    effective_at    INTEGER,
    note            TEXT,
    request_key     TEXT,
    body_hash       INTEGER NOT NULL,
    postings        TEXT NOT NULL,
    hash            BLOB NOT NULL,
    PRIMARY KEY (owner, seq)
) STRICT;
CREATE UNIQUE INDEX ledger_request_keys ON ledger_entries (owner, request_key) WHERE request_key IS NOT NULL;
CREATE INDEX ledger_operations ON ledger_entries (operation_id) WHERE operation_id IS NOT NULL;
CREATE INDEX ledger_refunds ON ledger_entries (owner, subject) WHERE kind = 'REFUND';

CREATE TRIGGER ledger_append_only_update BEFORE UPDATE ON ledger_entries
BEGIN
    SELECT RAISE(ABORT, 'ledger_entries is append-only');
END;
CREATE TRIGGER ledger_append_only_delete BEFORE DELETE ON ledger_entries
BEGIN
    SELECT RAISE(ABORT, 'ledger_entries is append-only');
END;

-- Reservations for work in progress. Earmarks are [lot, amount] pairs in the order they were taken.
CREATE TABLE holds (
    owner      TEXT NOT NULL,
    id         TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('OPEN', 'CAPTURED', 'RELEASED', 'LAPSED')),
    amount     INTEGER NOT NULL CHECK (amount > 0),
    captured   INTEGER NOT NULL CHECK (captured >= 0),
    earmarks   TEXT NOT NULL,
    deadline   INTEGER NOT NULL,
    member     TEXT,
    project    TEXT,
    model      TEXT,
    quantity   INTEGER,
    labels     TEXT,
    charge     TEXT,
    created_at INTEGER NOT NULL,
    settled_at INTEGER,
    PRIMARY KEY (owner, id)
) STRICT;
CREATE INDEX holds_open ON holds (owner, deadline) WHERE state = 'OPEN';
CREATE INDEX holds_by_id ON holds (id);

-- What was spent, by hour and by day: written in the charge's own transaction, so that a report
-- costs as much as its rows and never reads the ledger. Empty text stands for "none named".
CREATE TABLE usage_totals (
    owner     TEXT NOT NULL,
    grain     TEXT NOT NULL CHECK (grain IN ('HOUR', 'DAY')),
    starts_at INTEGER NOT NULL,
    member    TEXT NOT NULL,
    project   TEXT NOT NULL,
    model     TEXT NOT NULL,
    charged   INTEGER NOT NULL CHECK (charged >= 0),
    refunded  INTEGER NOT NULL CHECK (refunded >= 0),
    charges   INTEGER NOT NULL CHECK (charges >= 0),
    quantity  INTEGER NOT NULL CHECK (quantity >= 0),
    PRIMARY KEY (owner, grain, starts_at, member, project, model)
) STRICT, WITHOUT ROWID;
