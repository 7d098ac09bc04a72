//! The statements of the credit path for **one owner**, on PostgreSQL.
//!
//! Where billing's tables are distributed by owner over several servers (`billing.distributed`), a statement must name
//! its one server: its only filter on a distributed table is `owner = $1`, it has no LATERAL and no LIMIT in a subquery,
//! and joins no second distributed table. These are the forms that were tried on such an engine. They serve a batch of one
//! owner everywhere else as well; a test proves on hash-partitioned tables that each touches one partition.

/// Opens an account that does not exist yet.
pub(crate) const OPEN_ACCOUNT: &str =
    "INSERT INTO accounts (owner, seq, head_hash, last_at, available, held, debt, open_holds, terms, charged, period_anchor, period_number, period_spent, opened_at)
     VALUES ($1, 0, $2, $3, 0, 0, 0, 0, 0, 0, $4, 0, 0, $3) ON CONFLICT (owner) DO NOTHING";

/// Locks an account and reads it.
pub(crate) const LOCK_ACCOUNT: &str =
    concat!("SELECT ", account_columns!(""), " FROM accounts WHERE owner = $1 FOR UPDATE");

/// The lots that have something left or held.
pub(crate) const LIVE_LOTS: &str =
    concat!("SELECT ", lot_columns!(""), " FROM lots WHERE owner = $1 AND live ORDER BY number");

/// Lots named by their numbers, live or not.
pub(crate) const LOTS_NAMED: &str =
    concat!("SELECT ", lot_columns!(""), " FROM lots WHERE owner = $1 AND number = ANY ($2::bigint[])");

/// What earlier requests under these keys booked.
pub(crate) const ENTRIES_BY_KEY: &str =
    concat!("SELECT ", entry_columns!(""), " FROM ledger_entries WHERE owner = $1 AND request_key = ANY ($2::uuid[])");

/// The entries with these numbers.
pub(crate) const ENTRIES_BY_SEQ: &str =
    concat!("SELECT ", entry_columns!(""), " FROM ledger_entries WHERE owner = $1 AND seq = ANY ($2::bigint[])");

/// The last refund of each of these charges.
pub(crate) const LAST_REFUNDS: &str = concat!(
    "SELECT DISTINCT ON (refunds) ",
    entry_columns!(""),
    " FROM ledger_entries WHERE owner = $1 AND refunds = ANY ($2::uuid[]) ORDER BY refunds, seq DESC"
);

/// The pages of details that end with these numbers.
pub(crate) const DETAILS_PAGES: &str = "SELECT owner, last_seq, page FROM entry_details WHERE owner = $1 AND last_seq = ANY ($2::bigint[]) ORDER BY last_seq";

/// Open holds whose deadline has come.
pub(crate) const OVERDUE_HOLDS: &str = concat!(
    "SELECT ",
    hold_columns!(""),
    " FROM holds WHERE owner = $1 AND state = 'OPEN' AND deadline <= $2 ORDER BY deadline, number LIMIT $3"
);

/// Holds named by their numbers.
pub(crate) const HOLDS_NAMED: &str =
    concat!("SELECT ", hold_columns!(""), " FROM holds WHERE owner = $1 AND number = ANY ($2::bigint[])");

/// The next deadline after a time.
pub(crate) const NEXT_DEADLINE: &str =
    "SELECT owner, MIN(deadline) FROM holds WHERE owner = $1 AND state = 'OPEN' AND deadline > $2 GROUP BY owner";

/// The account's limits.
pub(crate) const LIMITS_OF: &str = concat!("SELECT ", limit_columns!(""), " FROM limits WHERE owner = $1 ORDER BY id");

/// How much of limits is used of these subjects, in windows that begin then.
pub(crate) const LIMITS_USED: &str = concat!(
    "SELECT ",
    use_columns!(""),
    " FROM limit_uses WHERE owner = $1 AND subject = ANY ($2::bytea[]) AND starts_at = ANY ($3::bigint[])"
);

/// Appends to the ledger. A number or a request key that is taken fails the transaction.
pub(crate) const APPEND_ENTRIES: &str = "INSERT INTO ledger_entries (owner, seq, at, request_key, refunds, body, hash)
     SELECT $1, u.* FROM unnest($2::bigint[], $3::bigint[], $4::uuid[], $5::uuid[], $6::bytea[], $7::bytea[]) AS u";

/// Keeps the details of what was appended.
pub(crate) const KEEP_DETAILS: &str =
    "INSERT INTO entry_details (owner, last_seq, page) SELECT $1, u.* FROM unnest($2::bigint[], $3::bytea[]) AS u";

/// Lots that were granted or changed.
pub(crate) const SAVE_LOTS: &str =
    "INSERT INTO lots (owner, number, id, terms, granted, remaining, held, spent, expired, voided, voided_at, note, live)
     SELECT $1, u.*, u.remaining + u.held > 0
     FROM unnest($2::bigint[], $3::uuid[], $4::bytea[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::text[])
          AS u (number, id, terms, granted, remaining, held, spent, expired, voided, voided_at, note)
     ON CONFLICT (owner, number) DO UPDATE SET remaining = excluded.remaining, held = excluded.held, spent = excluded.spent, expired = excluded.expired,
        voided = excluded.voided, voided_at = excluded.voided_at, live = excluded.live";

/// Holds that were made or settled.
pub(crate) const SAVE_HOLDS: &str =
    "INSERT INTO holds (owner, number, id, state, deadline, settled_at, captured, charge, member, labels, terms)
     SELECT $1, u.* FROM unnest($2::bigint[], $3::uuid[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::uuid[], $9::uuid[], $10::text[], $11::bytea[]) AS u
     ON CONFLICT (owner, number) DO UPDATE SET state = excluded.state, settled_at = excluded.settled_at, captured = excluded.captured, charge = excluded.charge";

/// Adds to the hours.
pub(crate) const ADD_HOURS: &str =
    "INSERT INTO usage_hours AS h (owner, starts_at, member, project, model, charged, refunded, charges)
     SELECT $1, u.* FROM unnest($2::bigint[], $3::uuid[], $4::text[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[]) AS u
     ON CONFLICT (owner, starts_at, member, project, model) DO UPDATE SET charged = h.charged + excluded.charged, refunded = h.refunded + excluded.refunded,
        charges = h.charges + excluded.charges";

/// Adds to the hours of meters.
pub(crate) const ADD_METERS: &str = "INSERT INTO usage_meters AS m (owner, starts_at, model, meter, quantity, charged)
     SELECT $1, u.* FROM unnest($2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::bigint[]) AS u
     ON CONFLICT (owner, starts_at, model, meter) DO UPDATE SET charged = m.charged + excluded.charged,
        quantity = CASE WHEN m.quantity > 9223372036854775807 - excluded.quantity THEN 9223372036854775807 ELSE m.quantity + excluded.quantity END";

/// How much of limits is used now.
pub(crate) const SAVE_LIMITS_USED: &str = "INSERT INTO limit_uses (owner, subject, span, starts_at, ends_at, used, peak, retold)
     SELECT $1, u.* FROM unnest($2::bytea[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[]) AS u
     ON CONFLICT (owner, subject, span, starts_at) DO UPDATE SET used = excluded.used, peak = excluded.peak, retold = excluded.retold";

/// The account's row, which is locked.
pub(crate) const SAVE_ACCOUNT: &str =
    "UPDATE accounts SET seq = $2, head_hash = $3, last_at = $4, available = $5, held = $6, debt = $7, open_holds = $8, charged = $9, period_anchor = $10,
        period_number = $11, period_spent = $12, renews_at = $13, next_lapse = $14, next_due = $15, allowance = $16 WHERE owner = $1";
