-- Accounts, lots, the ledger, holds and usage: what the credit engine reads and writes.
--
-- Every primary and unique key leads with the owner, so the tables can be distributed by it. An owner is 17 bytes: 0 for
-- an organization or 1 for a user, and the UUID. Words are not enumerated in CHECKs: the program parses them strictly,
-- and a new word must not rebuild a table.

-- One row per owner: the balances after the last ledger entry, and the ledger's head.
-- A charge locks this row; whoever holds the lock may append to the owner's ledger.
CREATE TABLE accounts (
    owner         BLOB  PRIMARY KEY,
    seq           INTEGER NOT NULL CHECK (seq >= 0),
    head_hash     BLOB  NOT NULL,
    -- The time of the last entry: a replica whose clock is behind must not book before it.
    last_at       INTEGER NOT NULL,
    available     INTEGER NOT NULL CHECK (available >= 0),
    held          INTEGER NOT NULL CHECK (held >= 0),
    -- Credits that were spent and whose payment was taken back.
    debt          INTEGER NOT NULL CHECK (debt >= 0),
    open_holds    INTEGER NOT NULL CHECK (open_holds >= 0),
    -- Raised by whatever changes how requests are decided without booking anything: limits, policies, members, plan.
    terms         INTEGER NOT NULL CHECK (terms >= 0),
    -- Everything ever charged; charging stops before it overflows, and with it every total.
    charged       INTEGER NOT NULL CHECK (charged >= 0),
    -- The period is the month with this number, counted from the anchor.
    period_anchor INTEGER NOT NULL,
    period_number INTEGER NOT NULL CHECK (period_number >= 0),
    period_spent  INTEGER NOT NULL CHECK (period_spent >= 0),
    renews_at     INTEGER,
    -- No open hold lapses before this.
    next_lapse    INTEGER,
    -- When the next lot expires or the next hold may lapse: what the sweeper looks for.
    next_due      INTEGER,
    opened_at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX accounts_due ON accounts (next_due) WHERE next_due IS NOT NULL;

-- Credits granted at one time from one source with one expiry.
CREATE TABLE lots (
    owner     BLOB  NOT NULL,
    -- The number of the ledger entry that granted it: the order in which lots came to be. The id leads to it.
    number    INTEGER NOT NULL,
    id        BLOB   NOT NULL,
    -- What was agreed: source, priority, scope, effect, expiry, origin.
    terms     BLOB  NOT NULL,
    granted   INTEGER NOT NULL CHECK (granted > 0),
    remaining INTEGER NOT NULL CHECK (remaining >= 0),
    held      INTEGER NOT NULL CHECK (held >= 0),
    spent     INTEGER NOT NULL CHECK (spent >= 0),
    expired   INTEGER NOT NULL CHECK (expired >= 0),
    voided    INTEGER NOT NULL CHECK (voided >= 0),
    voided_at INTEGER,
    note      TEXT,
    -- Something remains or is held: what a charge has to look at. A column of its own, because
    -- an index on the amounts themselves would have to be rewritten with every charge.
    live      INTEGER NOT NULL CHECK (live IN (0, 1)),
    PRIMARY KEY (owner, number),
    CONSTRAINT lots_conserve CHECK (granted = spent + remaining + held + expired + voided),
    CONSTRAINT lots_live_is_true CHECK (live = (remaining + held > 0))
) STRICT, WITHOUT ROWID;
CREATE INDEX lots_live ON lots (owner) WHERE live;

-- The ledger: append-only, numbered without gaps per owner, chained by hash. The body is the entry; the columns beside
-- it are what is looked up: the request that booked it (a digest of actor and request id), and the charge that a refund
-- gives back.
CREATE TABLE ledger_entries (
    owner       BLOB  NOT NULL,
    seq         INTEGER NOT NULL CHECK (seq > 0),
    at          INTEGER NOT NULL,
    request_key BLOB,
    refunds     BLOB,
    body        BLOB  NOT NULL,
    hash        BLOB  NOT NULL,
    PRIMARY KEY (owner, seq)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX ledger_request_keys ON ledger_entries (owner, request_key) WHERE request_key IS NOT NULL;
CREATE INDEX ledger_refunds ON ledger_entries (owner, refunds, seq) WHERE refunds IS NOT NULL;

CREATE TRIGGER ledger_no_update BEFORE UPDATE ON ledger_entries
BEGIN
    SELECT RAISE(ABORT, 'ledger_entries is append-only');
END;
CREATE TRIGGER ledger_no_delete BEFORE DELETE ON ledger_entries
BEGIN
    SELECT RAISE(ABORT, 'ledger_entries is append-only');
END;

-- What entries say in free text (labels, notes, request ids and fingerprints), in pages of up to 64 entries, each under
-- the number of its last one. The ledger has salted digests of it; it may be erased.
CREATE TABLE entry_details (
    owner    BLOB  NOT NULL,
    last_seq INTEGER NOT NULL,
    page     BLOB  NOT NULL,
    PRIMARY KEY (owner, last_seq)
) STRICT, WITHOUT ROWID;

-- Reservations for work in progress. The id leads to the number of the entry that placed it.
CREATE TABLE holds (
    owner      BLOB  NOT NULL,
    number     INTEGER NOT NULL,
    id         BLOB   NOT NULL,
    state      TEXT   NOT NULL,
    deadline   INTEGER NOT NULL,
    settled_at INTEGER,
    captured   INTEGER NOT NULL CHECK (captured >= 0),
    charge     BLOB,
    member     BLOB   NOT NULL,
    labels     TEXT,
    -- What was agreed: amount, earmarks, attribution, who placed it.
    terms      BLOB  NOT NULL,
    PRIMARY KEY (owner, number)
) STRICT, WITHOUT ROWID;
CREATE INDEX holds_open ON holds (owner, deadline) WHERE state = 'OPEN';

-- What was spent, by hour: written in the charge's own transaction, so that a report costs as much as its rows and never
-- reads the ledger. Empty text stands for "none named".
CREATE TABLE usage_hours (
    owner     BLOB  NOT NULL,
    starts_at INTEGER NOT NULL,
    member    BLOB   NOT NULL,
    project   TEXT NOT NULL,
    model     TEXT NOT NULL,
    charged   INTEGER NOT NULL CHECK (charged >= 0),
    refunded  INTEGER NOT NULL CHECK (refunded >= 0),
    charges   INTEGER NOT NULL CHECK (charges >= 0),
    PRIMARY KEY (owner, starts_at, member, project, model)
) STRICT, WITHOUT ROWID;

-- Whole UTC days, rolled up from the hours, and up to where that was done.
CREATE TABLE usage_days (
    owner     BLOB  NOT NULL,
    starts_at INTEGER NOT NULL,
    member    BLOB   NOT NULL,
    project   TEXT NOT NULL,
    model     TEXT NOT NULL,
    charged   INTEGER NOT NULL CHECK (charged >= 0),
    refunded  INTEGER NOT NULL CHECK (refunded >= 0),
    charges   INTEGER NOT NULL CHECK (charges >= 0),
    PRIMARY KEY (owner, starts_at, member, project, model)
) STRICT, WITHOUT ROWID;
CREATE TABLE usage_rollups (
    owner   BLOB  PRIMARY KEY,
    through INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What meters counted, by hour, gross of refunds. Quantities are millionths of the meter's unit.
CREATE TABLE usage_meters (
    owner     BLOB  NOT NULL,
    starts_at INTEGER NOT NULL,
    model     TEXT NOT NULL,
    meter     TEXT NOT NULL,
    quantity  INTEGER NOT NULL CHECK (quantity >= 0),
    charged   INTEGER NOT NULL CHECK (charged >= 0),
    PRIMARY KEY (owner, starts_at, model, meter)
) STRICT, WITHOUT ROWID;

-- The installation's key for operation ids, sealed. Made once: without it no id leads anywhere.
CREATE TABLE installation (
    one           INTEGER PRIMARY KEY CHECK (one = 1),
    operation_key BLOB NOT NULL
) STRICT, WITHOUT ROWID;
