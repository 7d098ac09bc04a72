-- Accounts, lots, the ledger, holds and usage: what the credit engine reads and writes.
-- Every primary and unique key leads with the owner, so the tables can be distributed by it.

-- One row per owner: the balances after the last ledger entry, and the ledger's head.
-- A charge locks this row; whoever holds the lock may append to the owner's ledger.
CREATE TABLE accounts (
    owner        TEXT COLLATE "C" PRIMARY KEY,
    seq          BIGINT NOT NULL CHECK (seq >= 0),
    head_hash    BYTEA  NOT NULL,
    available    BIGINT NOT NULL CHECK (available >= 0),
    held         BIGINT NOT NULL CHECK (held >= 0),
    period_start BIGINT NOT NULL,
    period_end   BIGINT NOT NULL,
    period_spent BIGINT NOT NULL CHECK (period_spent >= 0),
    -- The time of the last entry: a replica whose clock is behind must not book before it.
    last_at      BIGINT NOT NULL,
    -- When the next lot expires or the next hold lapses: what the sweeper looks for.
    next_due     BIGINT,
    opened_at    BIGINT NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX accounts_due ON accounts (next_due) WHERE next_due IS NOT NULL;

-- Credits granted at one time from one source with one expiry.
CREATE TABLE lots (
    owner        TEXT COLLATE "C" NOT NULL,
    id           TEXT COLLATE "C" NOT NULL,
    -- The number of the ledger entry that granted it: the order in which lots came to be.
    number       BIGINT NOT NULL,
    source       TEXT NOT NULL CHECK (source IN ('ALLOWANCE', 'PACK', 'PROMOTION', 'GOODWILL', 'ADJUSTMENT')),
    priority     INTEGER NOT NULL,
    granted      BIGINT NOT NULL CHECK (granted > 0),
    remaining    BIGINT NOT NULL CHECK (remaining >= 0),
    held         BIGINT NOT NULL CHECK (held >= 0),
    spent        BIGINT NOT NULL CHECK (spent >= 0),
    expired      BIGINT NOT NULL CHECK (expired >= 0),
    voided       BIGINT NOT NULL CHECK (voided >= 0),
    effective_at BIGINT NOT NULL,
    expires_at   BIGINT,
    voided_at    BIGINT,
    note         TEXT,
    -- Something remains or is held: what a charge has to look at. A column of its own, because
    -- an index on the amounts themselves would have to be rewritten with every charge.
    live         BOOLEAN NOT NULL,
    PRIMARY KEY (owner, id),
    CONSTRAINT lots_conserve CHECK (granted = spent + remaining + held + expired + voided),
    CONSTRAINT lots_pack_never_expires CHECK (source <> 'PACK' OR expires_at IS NULL),
    CONSTRAINT lots_live_is_true CHECK (live = (remaining + held > 0))
) WITH (fillfactor = 70);
CREATE INDEX lots_live ON lots (owner) WHERE live;
CREATE INDEX lots_by_number ON lots (owner, number);
CREATE INDEX lots_by_id ON lots (id);

-- The ledger: append-only, numbered without gaps per owner, chained by hash.
CREATE TABLE ledger_entries (
    owner           TEXT COLLATE "C" NOT NULL,
    seq             BIGINT NOT NULL CHECK (seq > 0),
    kind            TEXT NOT NULL,
    at              BIGINT NOT NULL,
    amount          BIGINT NOT NULL CHECK (amount >= 0),
    available_after BIGINT NOT NULL CHECK (available_after >= 0),
    held_after      BIGINT NOT NULL CHECK (held_after >= 0),
    -- What the operation made (chg_, hld_, ref_, lot_) and what it was about (hld_, chg_, lot_).
    operation_id    TEXT COLLATE "C",
    subject         TEXT COLLATE "C",
    member          TEXT COLLATE "C",
    project         TEXT COLLATE "C",
    model           TEXT COLLATE "C",
    quantity        BIGINT,
    labels          TEXT,
    occurred_at     BIGINT,
    expires_at      BIGINT,
    -- The terms of a granted lot.
    source          TEXT,
    priority        INTEGER,
    effective_at    BIGINT,
    note            TEXT,
    request_key     TEXT COLLATE "C",
    body_hash       BIGINT NOT NULL,
    postings        TEXT NOT NULL,
    hash            BYTEA NOT NULL,
    PRIMARY KEY (owner, seq)
);
CREATE UNIQUE INDEX ledger_request_keys ON ledger_entries (owner, request_key) WHERE request_key IS NOT NULL;
CREATE INDEX ledger_operations ON ledger_entries (operation_id) WHERE operation_id IS NOT NULL;
CREATE INDEX ledger_refunds ON ledger_entries (owner, subject) WHERE kind = 'REFUND';

CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ledger_entries is append-only';
END $$;
CREATE TRIGGER ledger_append_only BEFORE UPDATE OR DELETE ON ledger_entries
    FOR EACH ROW EXECUTE FUNCTION ledger_is_append_only();

-- Reservations for work in progress. Earmarks are [lot, amount] pairs in the order they were taken.
CREATE TABLE holds (
    owner      TEXT COLLATE "C" NOT NULL,
    id         TEXT COLLATE "C" NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('OPEN', 'CAPTURED', 'RELEASED', 'LAPSED')),
    amount     BIGINT NOT NULL CHECK (amount > 0),
    captured   BIGINT NOT NULL CHECK (captured >= 0),
    earmarks   TEXT NOT NULL,
    deadline   BIGINT NOT NULL,
    member     TEXT COLLATE "C",
    project    TEXT COLLATE "C",
    model      TEXT COLLATE "C",
    quantity   BIGINT,
    labels     TEXT,
    charge     TEXT COLLATE "C",
    created_at BIGINT NOT NULL,
    settled_at BIGINT,
    PRIMARY KEY (owner, id)
);
CREATE INDEX holds_open ON holds (owner, deadline) WHERE state = 'OPEN';
CREATE INDEX holds_by_id ON holds (id);

-- What was spent, by hour and by day: written in the charge's own transaction, so that a report
-- costs as much as its rows and never reads the ledger. Empty text stands for "none named".
CREATE TABLE usage_totals (
    owner     TEXT COLLATE "C" NOT NULL,
    grain     TEXT COLLATE "C" NOT NULL CHECK (grain IN ('HOUR', 'DAY')),
    starts_at BIGINT NOT NULL,
    member    TEXT COLLATE "C" NOT NULL,
    project   TEXT COLLATE "C" NOT NULL,
    model     TEXT COLLATE "C" NOT NULL,
    charged   BIGINT NOT NULL CHECK (charged >= 0),
    refunded  BIGINT NOT NULL CHECK (refunded >= 0),
    charges   BIGINT NOT NULL CHECK (charges >= 0),
    quantity  BIGINT NOT NULL CHECK (quantity >= 0),
    PRIMARY KEY (owner, grain, starts_at, member, project, model)
) WITH (fillfactor = 70);
