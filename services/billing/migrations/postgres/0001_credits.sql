-- Accounts, lots, the ledger, holds and usage: what the credit engine reads and writes.
--
-- Every primary and unique key leads with the owner, so the tables can be distributed by it. An owner is 17 bytes: 0 for
-- an organization or 1 for a user, and the UUID. Words are not enumerated in CHECKs: the program parses them strictly,
-- and a new word must not rebuild a table.

-- One row per owner: the balances after the last ledger entry, and the ledger's head.
-- A charge locks this row; whoever holds the lock may append to the owner's ledger.
CREATE TABLE accounts (
    owner         BYTEA  PRIMARY KEY,
    seq           BIGINT NOT NULL CHECK (seq >= 0),
    head_hash     BYTEA  NOT NULL,
    -- The time of the last entry: a replica whose clock is behind must not book before it.
    last_at       BIGINT NOT NULL,
    available     BIGINT NOT NULL CHECK (available >= 0),
    held          BIGINT NOT NULL CHECK (held >= 0),
    -- Credits that were spent and whose payment was taken back.
    debt          BIGINT NOT NULL CHECK (debt >= 0),
    open_holds    BIGINT NOT NULL CHECK (open_holds >= 0),
    -- Raised by whatever changes how requests are decided without booking anything: limits, policies, members, plan.
    terms         BIGINT NOT NULL CHECK (terms >= 0),
    -- Everything ever charged; charging stops before it overflows, and with it every total.
    charged       BIGINT NOT NULL CHECK (charged >= 0),
    -- The period is the month with this number, counted from the anchor.
    period_anchor BIGINT NOT NULL,
    period_number BIGINT NOT NULL CHECK (period_number >= 0),
    period_spent  BIGINT NOT NULL CHECK (period_spent >= 0),
    renews_at     BIGINT,
    -- No open hold lapses before this.
    next_lapse    BIGINT,
    -- When the next lot expires or the next hold may lapse: what the sweeper looks for.
    next_due      BIGINT,
    opened_at     BIGINT NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX accounts_due ON accounts (next_due) WHERE next_due IS NOT NULL;

-- Credits granted at one time from one source with one expiry.
CREATE TABLE lots (
    owner     BYTEA  NOT NULL,
    -- The number of the ledger entry that granted it: the order in which lots came to be. The id leads to it.
    number    BIGINT NOT NULL,
    id        UUID   NOT NULL,
    -- What was agreed: source, priority, scope, effect, expiry, origin.
    terms     BYTEA  NOT NULL,
    granted   BIGINT NOT NULL CHECK (granted > 0),
    remaining BIGINT NOT NULL CHECK (remaining >= 0),
    held      BIGINT NOT NULL CHECK (held >= 0),
    spent     BIGINT NOT NULL CHECK (spent >= 0),
    expired   BIGINT NOT NULL CHECK (expired >= 0),
    voided    BIGINT NOT NULL CHECK (voided >= 0),
    voided_at BIGINT,
    note      TEXT,
    -- Something remains or is held: what a charge has to look at. A column of its own, because
    -- an index on the amounts themselves would have to be rewritten with every charge.
    live      BOOLEAN NOT NULL,
    PRIMARY KEY (owner, number),
    CONSTRAINT lots_conserve CHECK (granted = spent + remaining + held + expired + voided),
    CONSTRAINT lots_live_is_true CHECK (live = (remaining + held > 0))
) WITH (fillfactor = 70);
CREATE INDEX lots_live ON lots (owner) WHERE live;

-- The ledger: append-only, numbered without gaps per owner, chained by hash. The body is the entry; the columns beside
-- it are what is looked up: the request that booked it (a digest of actor and request id), and the charge that a refund
-- gives back.
CREATE TABLE ledger_entries (
    owner       BYTEA  NOT NULL,
    seq         BIGINT NOT NULL CHECK (seq > 0),
    at          BIGINT NOT NULL,
    request_key UUID,
    refunds     UUID,
    body        BYTEA  NOT NULL,
    hash        BYTEA  NOT NULL,
    PRIMARY KEY (owner, seq)
);
CREATE UNIQUE INDEX ledger_request_keys ON ledger_entries (owner, request_key) WHERE request_key IS NOT NULL;
CREATE INDEX ledger_refunds ON ledger_entries (owner, refunds, seq) WHERE refunds IS NOT NULL;

CREATE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ledger_entries is append-only';
END $$;
CREATE TRIGGER ledger_append_only BEFORE UPDATE OR DELETE ON ledger_entries
    FOR EACH ROW EXECUTE FUNCTION ledger_is_append_only();

-- What entries say in free text (labels, notes, request ids and fingerprints), in pages of up to 64 entries, each under
-- the number of its last one. The ledger has salted digests of it; it may be erased.
CREATE TABLE entry_details (
    owner    BYTEA  NOT NULL,
    last_seq BIGINT NOT NULL,
    page     BYTEA  NOT NULL,
    PRIMARY KEY (owner, last_seq)
);

-- Reservations for work in progress. The id leads to the number of the entry that placed it.
CREATE TABLE holds (
    owner      BYTEA  NOT NULL,
    number     BIGINT NOT NULL,
    id         UUID   NOT NULL,
    state      TEXT   NOT NULL,
    deadline   BIGINT NOT NULL,
    settled_at BIGINT,
    captured   BIGINT NOT NULL CHECK (captured >= 0),
    charge     UUID,
    member     UUID   NOT NULL,
    labels     TEXT,
    -- What was agreed: amount, earmarks, attribution, who placed it.
    terms      BYTEA  NOT NULL,
    PRIMARY KEY (owner, number)
) WITH (fillfactor = 70);
CREATE INDEX holds_open ON holds (owner, deadline) WHERE state = 'OPEN';

-- What was spent, by hour: written in the charge's own transaction, so that a report costs as much as its rows and never
-- reads the ledger. Empty text stands for "none named".
CREATE TABLE usage_hours (
    owner     BYTEA  NOT NULL,
    starts_at BIGINT NOT NULL,
    member    UUID   NOT NULL,
    project   TEXT COLLATE "C" NOT NULL,
    model     TEXT COLLATE "C" NOT NULL,
    charged   BIGINT NOT NULL CHECK (charged >= 0),
    refunded  BIGINT NOT NULL CHECK (refunded >= 0),
    charges   BIGINT NOT NULL CHECK (charges >= 0),
    PRIMARY KEY (owner, starts_at, member, project, model)
) WITH (fillfactor = 70);

-- Whole UTC days, rolled up from the hours, and up to where that was done.
CREATE TABLE usage_days (
    owner     BYTEA  NOT NULL,
    starts_at BIGINT NOT NULL,
    member    UUID   NOT NULL,
    project   TEXT COLLATE "C" NOT NULL,
    model     TEXT COLLATE "C" NOT NULL,
    charged   BIGINT NOT NULL CHECK (charged >= 0),
    refunded  BIGINT NOT NULL CHECK (refunded >= 0),
    charges   BIGINT NOT NULL CHECK (charges >= 0),
    PRIMARY KEY (owner, starts_at, member, project, model)
);
CREATE TABLE usage_rollups (
    owner   BYTEA  PRIMARY KEY,
    through BIGINT NOT NULL
);

-- What meters counted, by hour, gross of refunds. Quantities are millionths of the meter's unit.
CREATE TABLE usage_meters (
    owner     BYTEA  NOT NULL,
    starts_at BIGINT NOT NULL,
    model     TEXT COLLATE "C" NOT NULL,
    meter     TEXT COLLATE "C" NOT NULL,
    quantity  BIGINT NOT NULL CHECK (quantity >= 0),
    charged   BIGINT NOT NULL CHECK (charged >= 0),
    PRIMARY KEY (owner, starts_at, model, meter)
) WITH (fillfactor = 70);

-- The installation's key for operation ids, sealed. Made once: without it no id leads anywhere.
CREATE TABLE installation (
    one           INTEGER PRIMARY KEY CHECK (one = 1),
    operation_key BYTEA NOT NULL
);
