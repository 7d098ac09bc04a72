//! The statements of the credit path. Each is a `const` and prepared on both engines by a test.
//!
//! Where the engines differ it is in how a list of rows travels: PostgreSQL takes arrays (`unnest`).
//! SQLite has none: a list to look up is one JSON text (`json_each`), rows to write are as many groups
//! of parameters as there are rows (`bulk`; taking a wide row out of JSON costs more than writing it).
//! So a statement over many rows exists twice under one name. Look-ups over lists are written so that the plan can only be "for each row of
//! the list, one index probe", whatever the statistics said when it was cached: `CROSS JOIN LATERAL
//! … LIMIT 1` (or `OFFSET 0`, which keeps the planner out as well) on PostgreSQL, `CROSS JOIN` (which fixes the order) on SQLite.

/// One statement in the words of each engine.
pub(crate) struct Both {
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
}

/// `columns!("l.": owner id)` is `"l.owner, l.id"`.
macro_rules! columns {
    ($prefix:literal: $first:ident $($other:ident)*) => {
        concat!($prefix, stringify!($first) $(, ", ", $prefix, stringify!($other))*)
    };
}

/// Opens accounts that do not exist yet.
pub(crate) const OPEN_ACCOUNTS: Both = Both {
    sqlite: "INSERT INTO accounts (owner, seq, head_hash, available, held, period_start, period_end, period_spent, last_at, next_due, opened_at)
             SELECT value ->> 0, 0, unhex(value ->> 1), 0, 0, $2, $3, 0, $4, NULL, $4 FROM json_each($1) WHERE true
             ON CONFLICT (owner) DO NOTHING",
    postgres: "INSERT INTO accounts (owner, seq, head_hash, available, held, period_start, period_end, period_spent, last_at, next_due, opened_at)
               SELECT owner, 0, head_hash, 0, 0, $3, $4, 0, $5, NULL, $5 FROM unnest($1::text[], $2::bytea[]) AS r (owner, head_hash) ORDER BY owner
               ON CONFLICT (owner) DO NOTHING",
};

/// Locks accounts in the order of their owners and reads them.
pub(crate) const LOCK_ACCOUNTS: Both = Both {
    sqlite: "SELECT a.owner, a.seq, a.head_hash, a.available, a.held, a.period_start, a.period_end, a.period_spent, a.last_at, a.opened_at
             FROM json_each($1) AS r CROSS JOIN accounts AS a ON a.owner = r.value",
    postgres: "SELECT owner, seq, head_hash, available, held, period_start, period_end, period_spent, last_at, opened_at
               FROM accounts WHERE owner = ANY ($1::text[]) ORDER BY owner FOR UPDATE",
};

/// The same without the lock, for readers.
pub(crate) const READ_ACCOUNT: &str =
    "SELECT owner, seq, head_hash, available, held, period_start, period_end, period_spent, last_at, opened_at
     FROM accounts WHERE owner = $1";

/// The accounts that have something to book: a lot that expired or a hold that lapsed.
pub(crate) const DUE_ACCOUNTS: &str =
    "SELECT owner FROM accounts WHERE next_due IS NOT NULL AND next_due <= $1 ORDER BY next_due LIMIT $2";

/// Every account's owner in the order of ids, a page at a time (audit).
pub(crate) const OWNERS_AFTER: &str = "SELECT owner FROM accounts WHERE owner > $1 ORDER BY owner LIMIT $2";

/// Balances and heads after a batch. An upsert like the other writes, because that can only go by the key: an
/// `UPDATE … FROM` scans on SQLite, and on PostgreSQL a plan that was made while the table was tiny goes on to.
pub(crate) const SAVE_ACCOUNTS: Both = Both {
    sqlite: "INSERT INTO accounts (owner, seq, head_hash, available, held, period_start, period_end, period_spent, last_at, next_due, opened_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (owner) DO UPDATE SET seq = excluded.seq, head_hash = excluded.head_hash, available = excluded.available, held = excluded.held,
                period_start = excluded.period_start, period_end = excluded.period_end, period_spent = excluded.period_spent,
                last_at = excluded.last_at, next_due = excluded.next_due",
    postgres: "INSERT INTO accounts (owner, seq, head_hash, available, held, period_start, period_end, period_spent, last_at, next_due, opened_at)
               SELECT owner, seq, head_hash, available, held, period_start, period_end, period_spent, last_at, next_due, last_at
               FROM unnest($1::text[], $2::bigint[], $3::bytea[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[])
                    AS r (owner, seq, head_hash, available, held, period_start, period_end, period_spent, last_at, next_due)
               ON CONFLICT (owner) DO UPDATE SET seq = excluded.seq, head_hash = excluded.head_hash, available = excluded.available, held = excluded.held,
                  period_start = excluded.period_start, period_end = excluded.period_end, period_spent = excluded.period_spent,
                  last_at = excluded.last_at, next_due = excluded.next_due",
};

macro_rules! lot_columns {
    ($prefix:literal) => {
        columns!($prefix: owner id number source priority granted remaining held spent expired voided effective_at expires_at voided_at note)
    };
}

/// The lots of these owners that have something left or held.
pub(crate) const LIVE_LOTS: Both = Both {
    sqlite: concat!(
        "SELECT ",
        lot_columns!("l."),
        " FROM json_each($1) AS r CROSS JOIN lots AS l ON l.owner = r.value AND l.live ORDER BY l.owner, l.number"
    ),
    postgres: concat!(
        "SELECT ",
        lot_columns!("l."),
        " FROM lots AS l WHERE l.owner = ANY ($1::text[]) AND l.live ORDER BY l.owner, l.number"
    ),
};

/// Lots named one by one as (owner, id), live or not.
pub(crate) const LOTS_NAMED: Both = Both {
    sqlite: concat!(
        "SELECT ",
        lot_columns!("l."),
        " FROM json_each($1) AS r CROSS JOIN lots AS l ON l.owner = r.value ->> 0 AND l.id = r.value ->> 1"
    ),
    postgres: concat!(
        "SELECT ",
        lot_columns!("l."),
        " FROM unnest($1::text[], $2::text[]) AS r (owner, id)
              CROSS JOIN LATERAL (SELECT * FROM lots WHERE lots.owner = r.owner AND lots.id = r.id LIMIT 1) AS l"
    ),
};

/// One page of an owner's lots, newest first.
pub(crate) const LOTS_PAGE: &str =
    concat!("SELECT ", lot_columns!(""), " FROM lots WHERE owner = $1 AND number < $2 ORDER BY number DESC LIMIT $3");

/// All of an owner's lots in the order they were granted, a page at a time (audit).
pub(crate) const LOTS_AFTER: &str =
    concat!("SELECT ", lot_columns!(""), " FROM lots WHERE owner = $1 AND number > $2 ORDER BY number LIMIT $3");

/// Whose lot this is.
pub(crate) const OWNER_OF_LOT: &str = "SELECT owner FROM lots WHERE id = $1";

/// Lots that a batch granted or changed.
pub(crate) const SAVE_LOTS: Both = Both {
    sqlite: "INSERT INTO lots (owner, id, number, source, priority, granted, remaining, held, spent, expired, voided, effective_at, expires_at, voided_at, note, live)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (owner, id) DO UPDATE SET remaining = excluded.remaining, held = excluded.held, spent = excluded.spent, expired = excluded.expired,
                voided = excluded.voided, voided_at = excluded.voided_at, live = excluded.live",
    postgres: "INSERT INTO lots (owner, id, number, source, priority, granted, remaining, held, spent, expired, voided, effective_at, expires_at, voided_at, note, live)
               SELECT owner, id, number, source, priority, granted, remaining, held, spent, expired, voided, effective_at, expires_at, voided_at, note, remaining + held > 0
               FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::integer[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[],
                           $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::text[])
                    AS r (owner, id, number, source, priority, granted, remaining, held, spent, expired, voided, effective_at, expires_at, voided_at, note)
               ON CONFLICT (owner, id) DO UPDATE SET remaining = excluded.remaining, held = excluded.held, spent = excluded.spent, expired = excluded.expired,
                  voided = excluded.voided, voided_at = excluded.voided_at, live = excluded.live",
};

macro_rules! entry_columns {
    ($prefix:literal) => {
        columns!($prefix: owner seq kind at amount available_after held_after operation_id subject member project model quantity labels occurred_at expires_at source priority effective_at note request_key body_hash postings hash)
    };
}

/// What earlier requests under these (owner, key) pairs were answered.
pub(crate) const ENTRIES_BY_KEY: Both = Both {
    sqlite: concat!("SELECT ", entry_columns!("e."), " FROM json_each($1) AS r
             CROSS JOIN ledger_entries AS e ON e.owner = r.value ->> 0 AND e.request_key = r.value ->> 1 AND e.request_key IS NOT NULL"),
    postgres: concat!("SELECT ", entry_columns!("e."), " FROM unnest($1::text[], $2::text[]) AS r (owner, request_key)
              CROSS JOIN LATERAL (SELECT * FROM ledger_entries AS le WHERE le.owner = r.owner AND le.request_key = r.request_key LIMIT 1) AS e"),
};

/// The entries that made these operations, as (owner, operation id).
pub(crate) const ENTRIES_BY_OPERATION: Both = Both {
    sqlite: concat!("SELECT ", entry_columns!("e."), " FROM json_each($1) AS r
             CROSS JOIN ledger_entries AS e ON e.operation_id = r.value ->> 1 AND e.operation_id IS NOT NULL AND e.owner = r.value ->> 0"),
    postgres: concat!("SELECT ", entry_columns!("e."), " FROM unnest($1::text[], $2::text[]) AS r (owner, operation_id)
              CROSS JOIN LATERAL (SELECT * FROM ledger_entries AS le WHERE le.operation_id = r.operation_id AND le.owner = r.owner LIMIT 1) AS e"),
};

/// The refunds of these charges, as (owner, charge id), oldest first.
pub(crate) const REFUNDS_OF: Both = Both {
    sqlite: concat!("SELECT ", entry_columns!("e."), " FROM json_each($1) AS r
             CROSS JOIN ledger_entries AS e ON e.owner = r.value ->> 0 AND e.subject = r.value ->> 1 AND e.kind = 'REFUND' ORDER BY e.owner, e.seq"),
    postgres: concat!("SELECT ", entry_columns!("e."), " FROM unnest($1::text[], $2::text[]) AS r (owner, subject)
              CROSS JOIN LATERAL (SELECT * FROM ledger_entries AS le WHERE le.owner = r.owner AND le.subject = r.subject AND le.kind = 'REFUND' OFFSET 0) AS e
              ORDER BY e.owner, e.seq"),
};

/// Whose operation this is.
pub(crate) const OWNER_OF_OPERATION: &str = "SELECT owner FROM ledger_entries WHERE operation_id = $1";

/// Entries before a number, newest first.
pub(crate) const ENTRIES_BEFORE: &str = concat!(
    "SELECT ",
    entry_columns!(""),
    " FROM ledger_entries WHERE owner = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3"
);

/// Entries after a number, oldest first (audit).
pub(crate) const ENTRIES_AFTER: &str =
    concat!("SELECT ", entry_columns!(""), " FROM ledger_entries WHERE owner = $1 AND seq > $2 ORDER BY seq LIMIT $3");

/// The time of one entry: an owner's entries are in order of time, so a period is found by bisection.
pub(crate) const TIME_OF_ENTRY: &str = "SELECT at FROM ledger_entries WHERE owner = $1 AND seq = $2";

/// Appends to the ledgers. A number or a request key that is taken fails the transaction.
pub(crate) const APPEND_ENTRIES: Both = Both {
    sqlite: "INSERT INTO ledger_entries (owner, seq, kind, at, amount, available_after, held_after, operation_id, subject, member, project, model, quantity, labels,
                    occurred_at, expires_at, source, priority, effective_at, note, request_key, body_hash, postings, hash)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    postgres: "INSERT INTO ledger_entries (owner, seq, kind, at, amount, available_after, held_after, operation_id, subject, member, project, model, quantity, labels,
                    occurred_at, expires_at, source, priority, effective_at, note, request_key, body_hash, postings, hash)
               SELECT * FROM unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[], $9::text[], $10::text[],
                    $11::text[], $12::text[], $13::bigint[], $14::text[], $15::bigint[], $16::bigint[], $17::text[], $18::integer[], $19::bigint[],
                    $20::text[], $21::text[], $22::bigint[], $23::text[], $24::bytea[])",
};

macro_rules! hold_columns {
    ($prefix:literal) => {
        columns!($prefix: owner id state amount captured earmarks deadline member project model quantity labels charge created_at settled_at)
    };
}

/// Active holds of these owners whose deadline has come.
pub(crate) const OVERDUE_HOLDS: Both = Both {
    sqlite: concat!("SELECT ", hold_columns!("h."), " FROM json_each($1) AS r
             CROSS JOIN holds AS h ON h.owner = r.value AND h.state = 'OPEN' AND h.deadline <= $2 ORDER BY h.owner, h.deadline, h.id"),
    postgres: concat!("SELECT ", hold_columns!("h."), " FROM holds AS h
              WHERE h.owner = ANY ($1::text[]) AND h.state = 'OPEN' AND h.deadline <= $2 ORDER BY h.owner, h.deadline, h.id"),
};

/// All open holds of one owner (audit).
pub(crate) const OPEN_HOLDS: &str =
    concat!("SELECT ", hold_columns!(""), " FROM holds WHERE owner = $1 AND state = 'OPEN' ORDER BY id");

/// Holds named one by one as (owner, id).
pub(crate) const HOLDS_NAMED: Both = Both {
    sqlite: concat!(
        "SELECT ",
        hold_columns!("h."),
        " FROM json_each($1) AS r CROSS JOIN holds AS h ON h.owner = r.value ->> 0 AND h.id = r.value ->> 1"
    ),
    postgres: concat!(
        "SELECT ",
        hold_columns!("h."),
        " FROM unnest($1::text[], $2::text[]) AS r (owner, id)
              CROSS JOIN LATERAL (SELECT * FROM holds WHERE holds.owner = r.owner AND holds.id = r.id LIMIT 1) AS h"
    ),
};

/// Whose hold this is.
pub(crate) const OWNER_OF_HOLD: &str = "SELECT owner FROM holds WHERE id = $1";

/// The next deadline of each of these owners that still has an active hold.
pub(crate) const NEXT_DEADLINES: Both = Both {
    sqlite: "SELECT h.owner, MIN(h.deadline) FROM json_each($1) AS r CROSS JOIN holds AS h ON h.owner = r.value AND h.state = 'OPEN' GROUP BY h.owner",
    postgres: "SELECT r.owner, h.deadline FROM unnest($1::text[]) AS r (owner)
               CROSS JOIN LATERAL (SELECT deadline FROM holds WHERE holds.owner = r.owner AND state = 'OPEN' ORDER BY deadline LIMIT 1) AS h",
};

/// Holds that a batch made or settled.
pub(crate) const SAVE_HOLDS: Both = Both {
    sqlite: "INSERT INTO holds (owner, id, state, amount, captured, earmarks, deadline, member, project, model, quantity, labels, charge, created_at, settled_at)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (owner, id) DO UPDATE SET state = excluded.state, captured = excluded.captured, charge = excluded.charge, settled_at = excluded.settled_at",
    postgres: "INSERT INTO holds (owner, id, state, amount, captured, earmarks, deadline, member, project, model, quantity, labels, charge, created_at, settled_at)
               SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[], $8::text[], $9::text[],
                      $10::text[], $11::bigint[], $12::text[], $13::text[], $14::bigint[], $15::bigint[])
               ON CONFLICT (owner, id) DO UPDATE SET state = excluded.state, captured = excluded.captured, charge = excluded.charge, settled_at = excluded.settled_at",
};

/// Adds to the usage totals. Quantities are the caller's word: their sum stays at the greatest number rather than fail a charge.
pub(crate) const ADD_USAGE: Both = Both {
    sqlite: "INSERT INTO usage_totals (owner, grain, starts_at, member, project, model, charged, refunded, charges, quantity)
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
             ON CONFLICT (owner, grain, starts_at, member, project, model) DO UPDATE SET charged = usage_totals.charged + excluded.charged,
                refunded = usage_totals.refunded + excluded.refunded, charges = usage_totals.charges + excluded.charges,
                quantity = CASE WHEN usage_totals.quantity > 9223372036854775807 - excluded.quantity THEN 9223372036854775807 ELSE usage_totals.quantity + excluded.quantity END",
    postgres: "INSERT INTO usage_totals AS u (owner, grain, starts_at, member, project, model, charged, refunded, charges, quantity)
               SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[])
               ON CONFLICT (owner, grain, starts_at, member, project, model) DO UPDATE SET charged = u.charged + excluded.charged,
                  refunded = u.refunded + excluded.refunded, charges = u.charges + excluded.charges,
                  quantity = CASE WHEN u.quantity > 9223372036854775807 - excluded.quantity THEN 9223372036854775807 ELSE u.quantity + excluded.quantity END",
};

/// What all hours and what all days of an owner add up to (audit).
pub(crate) const USAGE_SUMS: &str = "SELECT grain, CAST(SUM(charged) AS BIGINT), CAST(SUM(refunded) AS BIGINT) FROM usage_totals WHERE owner = $1 GROUP BY grain ORDER BY grain";

/// One owner's totals of one grain that start in a span.
pub(crate) const USAGE_BETWEEN: &str =
    "SELECT starts_at, member, project, model, charged, refunded, charges, quantity FROM usage_totals
     WHERE owner = $1 AND grain = $2 AND starts_at >= $3 AND starts_at < $4 ORDER BY starts_at, member, project, model";
