//! What a batch writes: everything that was decided about its accounts.
//!
//! On PostgreSQL it is **one statement**: lock the accounts, compare them with what the decisions rest on, and write
//! every table, or nothing. It takes one round trip, needs no BEGIN when nothing went before it, and its commit is
//! the end of the statement. On SQLite, which runs in this process, it is one statement for each table, in the
//! transaction of the single writer.
//!
//! Writes that change rows are upserts, because an upsert can only go by the key: an `UPDATE … FROM` scans on SQLite,
//! and on PostgreSQL a plan that was made while the table was tiny goes on to.

/// `write_batch!(MORE)`: the statement, with more tables to write where the batch has something for them.
macro_rules! write_batch {
    ($more:literal) => {
        concat!(
            r"
WITH locked AS MATERIALIZED (
    SELECT owner, seq, head_hash, terms FROM accounts WHERE owner = ANY ($1::bytea[]) ORDER BY owner FOR UPDATE
), go AS MATERIALIZED (
    SELECT COALESCE(array_agg(owner) = $1::bytea[] AND array_agg(seq) = $2::bigint[] AND array_agg(head_hash) = $3::bytea[]
           AND array_agg(terms) = $4::bigint[], false) AS yes FROM (SELECT * FROM locked ORDER BY owner) AS l
), entries AS (
    INSERT INTO ledger_entries (owner, seq, at, request_key, refunds, body, hash)
    SELECT r.* FROM unnest($5::bytea[], $6::bigint[], $7::bigint[], $8::uuid[], $9::uuid[], $10::bytea[], $11::bytea[]) AS r
    WHERE (SELECT yes FROM go)
), pages AS (
    INSERT INTO entry_details (owner, last_seq, page)
    SELECT r.* FROM unnest($12::bytea[], $13::bigint[], $14::bytea[]) AS r WHERE (SELECT yes FROM go)
), changed_lots AS (
    INSERT INTO lots (owner, number, id, terms, granted, remaining, held, spent, expired, voided, voided_at, note, live)
    SELECT r.*, r.remaining + r.held > 0
    FROM unnest($15::bytea[], $16::bigint[], $17::uuid[], $18::bytea[], $19::bigint[], $20::bigint[], $21::bigint[], $22::bigint[], $23::bigint[], $24::bigint[],
                $25::bigint[], $26::text[])
         AS r (owner, number, id, terms, granted, remaining, held, spent, expired, voided, voided_at, note)
    WHERE (SELECT yes FROM go)
    ON CONFLICT (owner, number) DO UPDATE SET remaining = excluded.remaining, held = excluded.held, spent = excluded.spent, expired = excluded.expired,
        voided = excluded.voided, voided_at = excluded.voided_at, live = excluded.live
), changed_holds AS (
    INSERT INTO holds (owner, number, id, state, deadline, settled_at, captured, charge, member, labels, terms)
    SELECT r.* FROM unnest($27::bytea[], $28::bigint[], $29::uuid[], $30::text[], $31::bigint[], $32::bigint[], $33::bigint[], $34::uuid[], $35::uuid[], $36::text[],
                           $37::bytea[]) AS r
    WHERE (SELECT yes FROM go)
    ON CONFLICT (owner, number) DO UPDATE SET state = excluded.state, settled_at = excluded.settled_at, captured = excluded.captured, charge = excluded.charge
), hours AS (
    INSERT INTO usage_hours AS u (owner, starts_at, member, project, model, charged, refunded, charges)
    SELECT r.* FROM unnest($38::bytea[], $39::bigint[], $40::uuid[], $41::text[], $42::text[], $43::bigint[], $44::bigint[], $45::bigint[]) AS r
    WHERE (SELECT yes FROM go)
    ON CONFLICT (owner, starts_at, member, project, model) DO UPDATE SET charged = u.charged + excluded.charged,
        refunded = u.refunded + excluded.refunded, charges = u.charges + excluded.charges
), meters AS (
    INSERT INTO usage_meters AS u (owner, starts_at, model, meter, quantity, charged)
    SELECT r.* FROM unnest($46::bytea[], $47::bigint[], $48::text[], $49::text[], $50::bigint[], $51::bigint[]) AS r
    WHERE (SELECT yes FROM go)
    ON CONFLICT (owner, starts_at, model, meter) DO UPDATE SET charged = u.charged + excluded.charged,
        quantity = CASE WHEN u.quantity > 9223372036854775807 - excluded.quantity THEN 9223372036854775807 ELSE u.quantity + excluded.quantity END
), heads AS (
    INSERT INTO accounts (owner, seq, head_hash, last_at, available, held, debt, open_holds, terms, charged, period_anchor, period_number, period_spent,
                          renews_at, next_lapse, next_due, allowance, opened_at)
    SELECT r.*, r.last_at
    FROM unnest($52::bytea[], $53::bigint[], $54::bytea[], $55::bigint[], $56::bigint[], $57::bigint[], $58::bigint[], $59::bigint[], $60::bigint[], $61::bigint[],
                $62::bigint[], $63::bigint[], $64::bigint[], $65::bigint[], $66::bigint[], $67::bigint[], $68::bytea[])
         AS r (owner, seq, head_hash, last_at, available, held, debt, open_holds, terms, charged, period_anchor, period_number, period_spent, renews_at, next_lapse, next_due, allowance)
    WHERE (SELECT yes FROM go)
    ON CONFLICT (owner) DO UPDATE SET seq = excluded.seq, head_hash = excluded.head_hash, last_at = excluded.last_at, available = excluded.available,
        held = excluded.held, debt = excluded.debt, open_holds = excluded.open_holds, charged = excluded.charged, period_anchor = excluded.period_anchor,
        period_number = excluded.period_number, period_spent = excluded.period_spent, renews_at = excluded.renews_at, next_lapse = excluded.next_lapse,
        next_due = excluded.next_due, allowance = excluded.allowance
)",
            $more,
            "
SELECT yes FROM go"
        )
    };
}

/// Locks, compares and writes. `$1..$4` are the accounts as the decisions rest on them, in the order of owners. The
/// answer says whether they were so; if not, nothing was written.
pub(crate) const WRITE_BATCH: &str = write_batch!("");

/// The same for accounts with limits, of which more or less is used now.
pub(crate) const WRITE_BATCH_LIMITED: &str = write_batch!(
    r", used AS (
    INSERT INTO limit_uses (owner, subject, span, starts_at, ends_at, used, peak, retold)
    SELECT r.* FROM unnest($69::bytea[], $70::bytea[], $71::bigint[], $72::bigint[], $73::bigint[], $74::bigint[], $75::bigint[], $76::bigint[]) AS r
    WHERE (SELECT yes FROM go)
    ON CONFLICT (owner, subject, span, starts_at) DO UPDATE SET used = excluded.used, peak = excluded.peak, retold = excluded.retold
)"
);

/// Appends to the ledgers. A number or a request key that is taken fails the transaction.
pub(crate) const APPEND_ENTRIES: &str =
    "INSERT INTO ledger_entries (owner, seq, at, request_key, refunds, body, hash) VALUES (?, ?, ?, ?, ?, ?, ?)";

/// Keeps the details of what was appended.
pub(crate) const KEEP_DETAILS: &str = "INSERT INTO entry_details (owner, last_seq, page) VALUES (?, ?, ?)";

/// Lots that a batch granted or changed.
pub(crate) const SAVE_LOTS: &str =
    "INSERT INTO lots (owner, number, id, terms, granted, remaining, held, spent, expired, voided, voided_at, note, live)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (owner, number) DO UPDATE SET remaining = excluded.remaining, held = excluded.held, spent = excluded.spent, expired = excluded.expired,
        voided = excluded.voided, voided_at = excluded.voided_at, live = excluded.live";

/// Holds that a batch made or settled.
pub(crate) const SAVE_HOLDS: &str =
    "INSERT INTO holds (owner, number, id, state, deadline, settled_at, captured, charge, member, labels, terms)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (owner, number) DO UPDATE SET state = excluded.state, settled_at = excluded.settled_at, captured = excluded.captured, charge = excluded.charge";

/// Adds to the hours.
pub(crate) const ADD_HOURS: &str =
    "INSERT INTO usage_hours (owner, starts_at, member, project, model, charged, refunded, charges) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (owner, starts_at, member, project, model) DO UPDATE SET charged = usage_hours.charged + excluded.charged,
        refunded = usage_hours.refunded + excluded.refunded, charges = usage_hours.charges + excluded.charges";

/// Adds to the hours of meters.
pub(crate) const ADD_METERS: &str =
    "INSERT INTO usage_meters (owner, starts_at, model, meter, quantity, charged) VALUES (?, ?, ?, ?, ?, ?)
     ON CONFLICT (owner, starts_at, model, meter) DO UPDATE SET charged = usage_meters.charged + excluded.charged,
        quantity = CASE WHEN usage_meters.quantity > 9223372036854775807 - excluded.quantity THEN 9223372036854775807
                   ELSE usage_meters.quantity + excluded.quantity END";

/// How much of limits is used after a batch.
pub(crate) const SAVE_LIMITS_USED: &str =
    "INSERT INTO limit_uses (owner, subject, span, starts_at, ends_at, used, peak, retold) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (owner, subject, span, starts_at) DO UPDATE SET used = excluded.used, peak = excluded.peak, retold = excluded.retold";

/// Balances and heads after a batch.
pub(crate) const SAVE_ACCOUNTS: &str =
    "INSERT INTO accounts (owner, seq, head_hash, last_at, available, held, debt, open_holds, terms, charged, period_anchor, period_number, period_spent,
            renews_at, next_lapse, next_due, allowance, opened_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (owner) DO UPDATE SET seq = excluded.seq, head_hash = excluded.head_hash, last_at = excluded.last_at, available = excluded.available,
        held = excluded.held, debt = excluded.debt, open_holds = excluded.open_holds, charged = excluded.charged, period_anchor = excluded.period_anchor,
        period_number = excluded.period_number, period_spent = excluded.period_spent, renews_at = excluded.renews_at, next_lapse = excluded.next_lapse,
        next_due = excluded.next_due, allowance = excluded.allowance";
