//! The statements that read for the credit path, and the small ones that write beside it. Each is a `const` and
//! prepared on both engines by a test. What a batch writes stands in `sql_write`.
//!
//! Where the engines differ it is in how a list travels: PostgreSQL takes arrays (`unnest`), SQLite one JSON text
//! (`json_each`) with bytes as hexadecimal. Look-ups over lists are written so that the plan can only be "for each
//! row of the list, one index probe", whatever the statistics said when it was cached: `CROSS JOIN LATERAL …
//! LIMIT 1` on PostgreSQL, `CROSS JOIN` (which fixes the order) on SQLite.

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

macro_rules! account_columns {
    ($prefix:literal) => {
        columns!($prefix: owner seq head_hash last_at available held debt open_holds terms standing charged period_anchor period_number period_spent renews_at limits top_up_below allowance_alerts allowance next_lapse)
    };
}

/// Opens accounts that do not exist yet.
pub(crate) const OPEN_ACCOUNTS: Both = Both {
    sqlite: "INSERT INTO accounts (owner, seq, head_hash, last_at, available, held, debt, open_holds, terms, charged, period_anchor, period_number, period_spent, opened_at)
             SELECT unhex(value ->> 0), 0, unhex(value ->> 1), $2, 0, 0, 0, 0, 0, 0, $3, 0, 0, $2 FROM json_each($1) WHERE true
             ON CONFLICT (owner) DO NOTHING",
    postgres: "INSERT INTO accounts (owner, seq, head_hash, last_at, available, held, debt, open_holds, terms, charged, period_anchor, period_number, period_spent, opened_at)
               SELECT owner, 0, head_hash, $3, 0, 0, 0, 0, 0, 0, $4, 0, 0, $3 FROM unnest($1::bytea[], $2::bytea[]) AS r (owner, head_hash) ORDER BY owner
               ON CONFLICT (owner) DO NOTHING",
};

/// Locks accounts in the order of their owners and reads them.
pub(crate) const LOCK_ACCOUNTS: Both = Both {
    sqlite: concat!(
        "SELECT ",
        account_columns!("a."),
        " FROM json_each($1) AS r CROSS JOIN accounts AS a ON a.owner = unhex(r.value) ORDER BY a.owner"
    ),
    postgres: concat!(
        "SELECT ",
        account_columns!(""),
        " FROM accounts WHERE owner = ANY ($1::bytea[]) ORDER BY owner FOR UPDATE"
    ),
};

/// One account without the lock, for readers.
pub(crate) const READ_ACCOUNT: &str = concat!("SELECT ", account_columns!(""), " FROM accounts WHERE owner = $1");

/// The accounts that have something to book: a lot that expired or a hold that lapsed.
pub(crate) const DUE_ACCOUNTS: &str =
    "SELECT owner FROM accounts WHERE next_due IS NOT NULL AND next_due <= $1 ORDER BY next_due LIMIT $2";

/// Every account's owner in order, a page at a time (audit).
pub(crate) const OWNERS_AFTER: &str = "SELECT owner FROM accounts WHERE owner > $1 ORDER BY owner LIMIT $2";

/// Those of a page of owners who have an account (audit).
pub(crate) const OWNERS_AMONG: Both = Both {
    sqlite: "SELECT a.owner FROM json_each($1) AS r CROSS JOIN accounts AS a ON a.owner = unhex(r.value)",
    postgres: "SELECT owner FROM accounts WHERE owner = ANY ($1::bytea[])",
};

/// The next owner of whom one of these has something, whether there is an account or not (audit).
pub(crate) const NEXT_WITH_ENTRIES: &str = "SELECT owner FROM ledger_entries WHERE owner > $1 ORDER BY owner LIMIT 1";
pub(crate) const NEXT_WITH_LOTS: &str = "SELECT owner FROM lots WHERE owner > $1 ORDER BY owner LIMIT 1";
pub(crate) const NEXT_WITH_PAYMENTS: &str = "SELECT owner FROM payments WHERE owner > $1 ORDER BY owner LIMIT 1";
pub(crate) const NEXT_WITH_PURCHASES: &str = "SELECT owner FROM purchases WHERE owner > $1 ORDER BY owner LIMIT 1";
pub(crate) const NEXT_WITH_INVOICES: &str = "SELECT owner FROM invoices WHERE owner > $1 ORDER BY owner LIMIT 1";
pub(crate) const NEXT_WITH_DETAILS: &str = "SELECT owner FROM entry_details WHERE owner > $1 ORDER BY owner LIMIT 1";
pub(crate) const NEXT_WITH_HOLDS: &str = "SELECT owner FROM holds WHERE owner > $1 ORDER BY owner LIMIT 1";
pub(crate) const NEXT_WITH_HOURS: &str = "SELECT owner FROM usage_hours WHERE owner > $1 ORDER BY owner LIMIT 1";
pub(crate) const NEXT_WITH_DAYS: &str = "SELECT owner FROM usage_days WHERE owner > $1 ORDER BY owner LIMIT 1";
pub(crate) const NEXT_WITH_METERS: &str = "SELECT owner FROM usage_meters WHERE owner > $1 ORDER BY owner LIMIT 1";
pub(crate) const NEXT_WITH_USES: &str = "SELECT owner FROM limit_uses WHERE owner > $1 ORDER BY owner LIMIT 1";
pub(crate) const NEXT_WITH_SUBSCRIPTIONS: &str =
    "SELECT owner FROM subscriptions WHERE owner > $1 ORDER BY owner LIMIT 1";

/// A row where there is anything of an owner's that nobody has without an account (audit).
pub(crate) const LEFT_OF_ACCOUNT: &str = "SELECT owner FROM ledger_entries WHERE owner = $1
     UNION ALL SELECT owner FROM lots WHERE owner = $1
     UNION ALL SELECT owner FROM entry_details WHERE owner = $1
     UNION ALL SELECT owner FROM holds WHERE owner = $1
     UNION ALL SELECT owner FROM usage_hours WHERE owner = $1
     UNION ALL SELECT owner FROM usage_days WHERE owner = $1
     UNION ALL SELECT owner FROM usage_meters WHERE owner = $1
     UNION ALL SELECT owner FROM limit_uses WHERE owner = $1 LIMIT 1";

/// Where the ledgers of a page of owners end, in the order of owners.
pub(crate) const HEADS_AFTER: &str =
    "SELECT owner, seq, head_hash, last_at FROM accounts WHERE owner > $1 ORDER BY owner LIMIT $2";

/// Notes that nothing renews an account that seemed to be due at a time.
pub(crate) const NO_RENEWAL: &str =
    "UPDATE accounts SET renews_at = NULL, terms = terms + 1 WHERE owner = $1 AND renews_at <= $2";

/// Begins a month that nothing was granted for, unless the account is in it or past it already.
pub(crate) const BEGIN_PERIOD: &str = "UPDATE accounts SET period_anchor = $2, \
     period_number = CASE WHEN period_anchor = $2 AND period_number > $3 THEN period_number ELSE $3 END, \
     period_spent = CASE WHEN period_anchor = $2 AND period_number >= $3 THEN period_spent ELSE 0 END, \
     renews_at = $4, terms = terms + 1 WHERE owner = $1";

/// What is remembered of an account counts no more.
pub(crate) const RAISE_TERMS: &str = "UPDATE accounts SET terms = terms + 1 WHERE owner = $1";

/// How an account's owner stands from now on; what is remembered of it counts no more.
pub(crate) const SET_STANDING: &str = "UPDATE accounts SET standing = $2, terms = terms + 1 WHERE owner = $1";

/// Below what an account is topped up from now on; what is remembered of it counts no more.
pub(crate) const SET_TOP_UP: &str = "UPDATE accounts SET top_up_below = $2, terms = terms + 1 WHERE owner = $1";

/// At which percentages of an allowance an account's managers want to be told from now on; what is used of it is counted anew.
pub(crate) const SET_ALERTS: &str =
    "UPDATE accounts SET allowance_alerts = $2, allowance = NULL, terms = terms + 1 WHERE owner = $1";

/// The owners that are not active, a page at a time.
pub(crate) const INACTIVE_AFTER: &str =
    "SELECT owner, standing FROM accounts WHERE standing <> 0 AND owner > $1 ORDER BY owner LIMIT $2";

/// The same for all organizations.
pub(crate) const RAISE_ALL_TERMS: &str = "UPDATE accounts SET terms = terms + 1 WHERE owner < $1";

macro_rules! lot_columns {
    ($prefix:literal) => {
        columns!($prefix: owner number id terms granted remaining held spent expired voided voided_at note)
    };
}

/// The lots of these owners that have something left or held.
pub(crate) const LIVE_LOTS: Both = Both {
    sqlite: concat!(
        "SELECT ",
        lot_columns!("l."),
        " FROM json_each($1) AS r CROSS JOIN lots AS l ON l.owner = unhex(r.value) AND l.live ORDER BY l.owner, l.number"
    ),
    postgres: concat!(
        "SELECT ",
        lot_columns!("l."),
        " FROM lots AS l WHERE l.owner = ANY ($1::bytea[]) AND l.live ORDER BY l.owner, l.number"
    ),
};

/// Lots named one by one as (owner, number), live or not.
pub(crate) const LOTS_NAMED: Both = Both {
    sqlite: concat!(
        "SELECT ",
        lot_columns!("l."),
        " FROM json_each($1) AS r CROSS JOIN lots AS l ON l.owner = unhex(r.value ->> 0) AND l.number = r.value ->> 1"
    ),
    postgres: concat!(
        "SELECT ",
        lot_columns!("l."),
        " FROM unnest($1::bytea[], $2::bigint[]) AS r (owner, number)
              CROSS JOIN LATERAL (SELECT * FROM lots WHERE lots.owner = r.owner AND lots.number = r.number LIMIT 1) AS l"
    ),
};

/// One page of an owner's lots, newest first.
pub(crate) const LOTS_PAGE: &str =
    concat!("SELECT ", lot_columns!(""), " FROM lots WHERE owner = $1 AND number < $2 ORDER BY number DESC LIMIT $3");

/// All of an owner's lots in the order they were granted, a page at a time (audit).
pub(crate) const LOTS_AFTER: &str =
    concat!("SELECT ", lot_columns!(""), " FROM lots WHERE owner = $1 AND number > $2 ORDER BY number LIMIT $3");

/// Takes the notes off an owner's lots that were granted before an entry.
pub(crate) const ERASE_LOT_NOTES: &str =
    "UPDATE lots SET note = NULL WHERE owner = $1 AND number >= $2 AND number < $3 AND note IS NOT NULL";

macro_rules! entry_columns {
    ($prefix:literal) => {
        columns!($prefix: owner seq at request_key body hash)
    };
}

/// What earlier requests under these (owner, key) pairs booked.
pub(crate) const ENTRIES_BY_KEY: Both = Both {
    sqlite: concat!("SELECT ", entry_columns!("e."), " FROM json_each($1) AS r
             CROSS JOIN ledger_entries AS e ON e.owner = unhex(r.value ->> 0) AND e.request_key = unhex(r.value ->> 1) AND e.request_key IS NOT NULL"),
    postgres: concat!("SELECT ", entry_columns!("e."), " FROM unnest($1::bytea[], $2::uuid[]) AS r (owner, request_key)
              CROSS JOIN LATERAL (SELECT * FROM ledger_entries AS le WHERE le.owner = r.owner AND le.request_key = r.request_key LIMIT 1) AS e"),
};

/// The entries with these numbers, as (owner, number).
pub(crate) const ENTRIES_BY_SEQ: Both = Both {
    sqlite: concat!("SELECT ", entry_columns!("e."), " FROM json_each($1) AS r
             CROSS JOIN ledger_entries AS e ON e.owner = unhex(r.value ->> 0) AND e.seq = r.value ->> 1"),
    postgres: concat!("SELECT ", entry_columns!("e."), " FROM unnest($1::bytea[], $2::bigint[]) AS r (owner, seq)
              CROSS JOIN LATERAL (SELECT * FROM ledger_entries AS le WHERE le.owner = r.owner AND le.seq = r.seq LIMIT 1) AS e"),
};

/// The last refund of each of these charges, as (owner, charge).
pub(crate) const LAST_REFUNDS: Both = Both {
    sqlite: concat!("SELECT ", entry_columns!("e."), " FROM json_each($1) AS r
             CROSS JOIN ledger_entries AS e ON e.owner = unhex(r.value ->> 0) AND e.seq =
                 (SELECT le.seq FROM ledger_entries AS le WHERE le.owner = unhex(r.value ->> 0) AND le.refunds = unhex(r.value ->> 1) AND le.refunds IS NOT NULL
                  ORDER BY le.seq DESC LIMIT 1)"),
    postgres: concat!("SELECT ", entry_columns!("e."), " FROM unnest($1::bytea[], $2::uuid[]) AS r (owner, refunds)
              CROSS JOIN LATERAL (SELECT * FROM ledger_entries AS le WHERE le.owner = r.owner AND le.refunds = r.refunds ORDER BY le.seq DESC LIMIT 1) AS e"),
};

/// Entries before a number, newest first.
pub(crate) const ENTRIES_BEFORE: &str = concat!(
    "SELECT ",
    entry_columns!(""),
    " FROM ledger_entries WHERE owner = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3"
);

/// Entries after a number, oldest first.
pub(crate) const ENTRIES_AFTER: &str =
    concat!("SELECT ", entry_columns!(""), " FROM ledger_entries WHERE owner = $1 AND seq > $2 ORDER BY seq LIMIT $3");

/// The time of one entry: an owner's entries are in order of time, so a period is found by bisection.
pub(crate) const TIME_OF_ENTRY: &str = "SELECT at FROM ledger_entries WHERE owner = $1 AND seq = $2";

/// The hash of an entry.
pub(crate) const HASH_OF_ENTRY: &str = "SELECT hash FROM ledger_entries WHERE owner = $1 AND seq = $2";

/// The page of details that a given entry's would stand on, as (owner, number).
pub(crate) const DETAILS_OF: Both = Both {
    sqlite: "SELECT d.owner, d.last_seq, d.page FROM json_each($1) AS r
             CROSS JOIN entry_details AS d ON d.owner = unhex(r.value ->> 0) AND d.last_seq =
                 (SELECT p.last_seq FROM entry_details AS p WHERE p.owner = unhex(r.value ->> 0) AND p.last_seq >= r.value ->> 1 ORDER BY p.last_seq LIMIT 1)",
    postgres: "SELECT d.owner, d.last_seq, d.page FROM unnest($1::bytea[], $2::bigint[]) AS r (owner, seq)
               CROSS JOIN LATERAL (SELECT * FROM entry_details AS p WHERE p.owner = r.owner AND p.last_seq >= r.seq ORDER BY p.last_seq LIMIT 1) AS d",
};

/// An owner's pages of details from the one that a given entry's would stand on, in order.
pub(crate) const DETAILS_FROM: &str =
    "SELECT owner, last_seq, page FROM entry_details WHERE owner = $1 AND last_seq >= $2 ORDER BY last_seq LIMIT $3";

/// Puts a page of details in another's place.
pub(crate) const REPLACE_DETAILS: Both = Both {
    sqlite: "UPDATE entry_details SET page = $3 WHERE owner = $1 AND last_seq = $2",
    postgres: "UPDATE entry_details AS d SET page = u.page FROM unnest($2::bigint[], $3::bytea[]) AS u (last_seq, page) WHERE d.owner = $1 AND d.last_seq = u.last_seq",
};

macro_rules! hold_columns {
    ($prefix:literal) => {
        columns!($prefix: owner number id state deadline settled_at captured charge member labels terms)
    };
}

/// Open holds of these owners whose deadline has come.
pub(crate) const OVERDUE_HOLDS: Both = Both {
    sqlite: concat!("SELECT ", hold_columns!("h."), " FROM json_each($1) AS r
             CROSS JOIN holds AS h ON h.owner = unhex(r.value) AND h.state = 'OPEN' AND h.deadline <= $2 ORDER BY h.owner, h.deadline, h.number LIMIT $3"),
    postgres: concat!("SELECT ", hold_columns!("h."), " FROM holds AS h
              WHERE h.owner = ANY ($1::bytea[]) AND h.state = 'OPEN' AND h.deadline <= $2 ORDER BY h.owner, h.deadline, h.number LIMIT $3"),
};

/// An owner's open holds whose deadline has come, a page at a time, without what erasures take.
pub(crate) const LAPSED_HOLDS: &str = "SELECT number, id, deadline, terms FROM holds
     WHERE owner = $1 AND state = 'OPEN' AND deadline <= $2 AND (deadline, number) > ($3, $4) ORDER BY deadline, number LIMIT $5";

/// An owner's open holds, oldest first, a page at a time.
pub(crate) const OPEN_HOLDS: &str = concat!(
    "SELECT ",
    hold_columns!(""),
    " FROM holds WHERE owner = $1 AND state = 'OPEN' AND (deadline, number) > ($2, $3) ORDER BY deadline, number LIMIT $4"
);

/// Holds named one by one as (owner, number).
pub(crate) const HOLDS_NAMED: Both = Both {
    sqlite: concat!(
        "SELECT ",
        hold_columns!("h."),
        " FROM json_each($1) AS r CROSS JOIN holds AS h ON h.owner = unhex(r.value ->> 0) AND h.number = r.value ->> 1"
    ),
    postgres: concat!(
        "SELECT ",
        hold_columns!("h."),
        " FROM unnest($1::bytea[], $2::bigint[]) AS r (owner, number)
              CROSS JOIN LATERAL (SELECT * FROM holds WHERE holds.owner = r.owner AND holds.number = r.number LIMIT 1) AS h"
    ),
};

/// The next deadline after a time of each of these owners that has an open hold then.
pub(crate) const NEXT_DEADLINES: Both = Both {
    sqlite: "SELECT h.owner, MIN(h.deadline) FROM json_each($1) AS r CROSS JOIN holds AS h ON h.owner = unhex(r.value) AND h.state = 'OPEN' AND h.deadline > $2
             GROUP BY h.owner",
    postgres: "SELECT r.owner, h.deadline FROM unnest($1::bytea[]) AS r (owner)
               CROSS JOIN LATERAL (SELECT deadline FROM holds WHERE holds.owner = r.owner AND state = 'OPEN' AND deadline > $2 ORDER BY deadline LIMIT 1) AS h",
};

macro_rules! limit_columns {
    ($prefix:literal) => {
        columns!($prefix: owner id subject span mode amount alerts zone)
    };
}

/// The limits of these owners.
pub(crate) const LIMITS_OF: Both = Both {
    sqlite: concat!(
        "SELECT ",
        limit_columns!("l."),
        " FROM json_each($1) AS r CROSS JOIN limits AS l ON l.owner = unhex(r.value) ORDER BY l.owner, l.id"
    ),
    postgres: concat!(
        "SELECT ",
        limit_columns!("l."),
        " FROM limits AS l WHERE l.owner = ANY ($1::bytea[]) ORDER BY l.owner, l.id"
    ),
};

macro_rules! use_columns {
    ($prefix:literal) => {
        columns!($prefix: owner subject span starts_at ends_at used peak retold)
    };
}

/// How much of limits is used, as (owner, subject, window, its start).
pub(crate) const LIMITS_USED: Both = Both {
    sqlite: concat!("SELECT ", use_columns!("u."), " FROM json_each($1) AS r
             CROSS JOIN limit_uses AS u ON u.owner = unhex(r.value ->> 0) AND u.subject = unhex(r.value ->> 1) AND u.span = r.value ->> 2
                 AND u.starts_at = r.value ->> 3"),
    postgres: concat!("SELECT ", use_columns!("u."), " FROM unnest($1::bytea[], $2::bytea[], $3::bigint[], $4::bigint[]) AS r (owner, subject, span, starts_at)
              CROSS JOIN LATERAL (SELECT * FROM limit_uses AS lu WHERE lu.owner = r.owner AND lu.subject = r.subject AND lu.span = r.span
                  AND lu.starts_at = r.starts_at LIMIT 1) AS u"),
};

/// Forgets an owner's use in windows that are named, as (subject, window, its start).
pub(crate) const FORGET_USES: Both = Both {
    sqlite: "DELETE FROM limit_uses WHERE owner = $1 AND (subject, span, starts_at) IN (SELECT unhex(value ->> 0), value ->> 1, value ->> 2 FROM json_each($2))",
    postgres: "DELETE FROM limit_uses WHERE owner = $1 AND (subject, span, starts_at) IN (SELECT * FROM unnest($2::bytea[], $3::bigint[], $4::bigint[]))",
};

/// Takes the labels off a member's holds that an owner has from numbers of a span.
pub(crate) const ERASE_HOLD_LABELS: &str = "UPDATE holds SET labels = NULL WHERE owner = $1 AND number >= $2 AND number < $3 AND member = $4 AND labels IS NOT NULL";

/// Takes the labels off all holds that an owner has from numbers of a span.
pub(crate) const ERASE_ALL_HOLD_LABELS: &str =
    "UPDATE holds SET labels = NULL WHERE owner = $1 AND number >= $2 AND number < $3 AND labels IS NOT NULL";

/// One owner's totals of a table that start before a time, in the order of their keys: a portion, beginning at a key.
macro_rules! totals_from {
    ($table:literal) => {
        concat!(
            "SELECT starts_at, member, project, model, charged, refunded, charges FROM ",
            $table,
            " WHERE owner = $1 AND starts_at < $2 AND (starts_at, member, project, model) >= ($3, $4, $5, $6) \
             ORDER BY starts_at, member, project, model LIMIT $7"
        )
    };
}

/// Those of one start alone, up to a member.
macro_rules! totals_at {
    ($table:literal) => {
        concat!(
            "SELECT starts_at, member, project, model, charged, refunded, charges FROM ",
            $table,
            " WHERE owner = $1 AND starts_at = $2 AND (member, project, model) >= ($3, $4, $5) AND member <= $6 \
             ORDER BY member, project, model LIMIT $7"
        )
    };
}

/// When the first of one owner's totals at or after a time starts.
macro_rules! first_start {
    ($table:literal) => {
        concat!("SELECT starts_at FROM ", $table, " WHERE owner = $1 AND starts_at >= $2 ORDER BY starts_at LIMIT 1")
    };
}

/// One owner's hours before a time.
pub(crate) const HOURS_FROM: &str = totals_from!("usage_hours");

/// One owner's rolled-up days before a time.
pub(crate) const DAYS_FROM: &str = totals_from!("usage_days");

/// One owner's totals of one hour.
pub(crate) const TOTALS_OF_HOUR: &str = totals_at!("usage_hours");

/// One owner's totals of one rolled-up day.
pub(crate) const TOTALS_OF_DAY: &str = totals_at!("usage_days");

/// One owner's hours of meters before a time, in the order of their keys: a portion, beginning at a key.
pub(crate) const METERS_FROM: &str = "SELECT starts_at, model, meter, quantity, charged FROM usage_meters
     WHERE owner = $1 AND starts_at < $2 AND (starts_at, model, meter) >= ($3, $4, $5) ORDER BY starts_at, model, meter LIMIT $6";

/// Up to where an owner's days are rolled up.
pub(crate) const ROLLED_UP: &str = "SELECT through FROM usage_rollups WHERE owner = $1";

/// When an owner's first hour at or after a time starts.
pub(crate) const FIRST_HOUR: &str = first_start!("usage_hours");

/// When an owner's first rolled-up day at or after a time starts.
pub(crate) const FIRST_DAY: &str = first_start!("usage_days");

/// Rolls an owner's hours of a span up into the day that starts with it; doing it again gives the same.
pub(crate) const ROLL_UP_DAY: &str = "INSERT INTO usage_days (owner, starts_at, member, project, model, charged, refunded, charges)
     SELECT owner, $2, member, project, model, CAST(SUM(charged) AS BIGINT), CAST(SUM(refunded) AS BIGINT), CAST(SUM(charges) AS BIGINT)
     FROM usage_hours WHERE owner = $1 AND starts_at >= $2 AND starts_at < $3 GROUP BY owner, member, project, model
     ON CONFLICT (owner, starts_at, member, project, model) DO UPDATE SET charged = excluded.charged, refunded = excluded.refunded, charges = excluded.charges";

/// Notes up to where an owner's days are rolled up; never back.
pub(crate) const NOTE_ROLL_UP: &str = "INSERT INTO usage_rollups (owner, through) VALUES ($1, $2)
     ON CONFLICT (owner) DO UPDATE SET through = excluded.through WHERE usage_rollups.through < excluded.through";

/// When something was charged for one owner's project, if ever.
pub(crate) const PROJECT_USED: &str =
    "SELECT starts_at FROM usage_hours WHERE owner = $1 AND project = $2 AND project <> '' LIMIT 1";

/// When something was charged with a model for one owner, if ever.
pub(crate) const MODEL_USED: &str =
    "SELECT starts_at FROM usage_hours WHERE owner = $1 AND model = $2 AND model <> '' LIMIT 1";

/// The installation's sealed key for operation ids.
pub(crate) const OPERATION_KEY: &str = "SELECT operation_key FROM installation WHERE one = 1";

/// Keeps the installation's sealed key, unless there is one.
pub(crate) const KEEP_OPERATION_KEY: &str =
    "INSERT INTO installation (one, operation_key) VALUES (1, $1) ON CONFLICT (one) DO NOTHING";
