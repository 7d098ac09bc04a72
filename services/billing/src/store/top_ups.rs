//! How far accounts' automatic top-ups have come, and the payments that they began. What managers have set of them is in
//! [`super::settings`].

use bursar_db::{DbError, Tx, exactly_one, on};
use bursar_id::{OwnerId, PaymentId};
use bursar_money::{Currency, Price};
use bursar_time::Timestamp;

use super::{subscriptions, unreadable};

const FIND: &str = "SELECT crossing, declines, attempted_at, capped_until FROM top_ups WHERE owner = $1";
const PUT: &str = "INSERT INTO top_ups (owner, crossing, declines, attempted_at, capped_until) VALUES ($1, $2, $3, $4, $5) \
     ON CONFLICT (owner) DO UPDATE SET crossing = excluded.crossing, declines = excluded.declines, \
     attempted_at = excluded.attempted_at, capped_until = excluded.capped_until";
const BEGIN: &str = "INSERT INTO top_up_payments (payment_id, owner, began_at, currency, net, set_by, told, counted) \
     VALUES ($1, $2, $3, $4, $5, $6, 0, 0)";
const BEGUN: &str = "SELECT set_by, told, counted FROM top_up_payments WHERE payment_id = $1";
const NOTE: &str = "UPDATE top_up_payments SET told = $2, counted = $3 WHERE payment_id = $1";
/// What was given up, and what goes back, has cost nothing. What was declined may be paid after all.
const SPENT: &str = "SELECT CAST(COALESCE(SUM(t.net), 0) AS BIGINT) FROM top_up_payments AS t \
     JOIN payments AS p ON p.id = t.payment_id WHERE t.owner = $1 AND t.began_at >= $2 AND t.currency = $3 \
     AND t.payment_id <> $4 AND p.returned = 0 AND p.state <> 'CANCELED'";

/// Every statement here, by its name.
#[cfg(test)]
pub(super) const STATEMENTS: [(&str, &str); 6] =
    [("FIND", FIND), ("PUT", PUT), ("BEGIN", BEGIN), ("BEGUN", BEGUN), ("NOTE", NOTE), ("SPENT", SPENT)];

/// How far an account's top-ups have come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Which need of credits is looked after, counted from 0.
    pub(crate) crossing: u32,
    /// How many attempts in a row came to nothing.
    pub(crate) declines: u32,
    /// When the last attempt began.
    pub(crate) attempted_at: Option<Timestamp>,
    /// Until when the audit log has heard that nothing more is bought.
    pub(crate) capped_until: Option<Timestamp>,
}

/// A payment that a top-up began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Begun {
    /// Who had set the top-up.
    pub(crate) set_by: String,
    /// Whether the audit log has heard of it.
    pub(crate) told: bool,
    /// Whether it is one of the declines.
    pub(crate) counted: bool,
}

/// How far an account's top-ups have come.
pub(crate) async fn of(tx: &mut Tx, owner: OwnerId) -> Result<Progress, DbError> {
    let row: Option<(i64, i64, Option<Timestamp>, Option<Timestamp>)> =
        on!(tx, c => sqlx::query_as(FIND).bind(owner).fetch_optional(c).await?);
    let Some((crossing, declines, attempted_at, capped_until)) = row else { return Ok(Progress::default()) };
    let number = |value: i64| u32::try_from(value).map_err(unreadable);
    Ok(Progress { crossing: number(crossing)?, declines: number(declines)?, attempted_at, capped_until })
}

/// Writes it. The account is locked.
pub(crate) async fn put(tx: &mut Tx, owner: OwnerId, it: Progress) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(PUT)
        .bind(owner).bind(i64::from(it.crossing)).bind(i64::from(it.declines)).bind(it.attempted_at).bind(it.capped_until)
        .execute(c).await?.rows_affected()))
}

/// Writes that a payment, at a net price, is a top-up's.
pub(crate) async fn begin(
    tx: &mut Tx,
    (owner, payment): (OwnerId, PaymentId),
    net: Price,
    set_by: &str,
    now: Timestamp,
) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(BEGIN)
        .bind(payment).bind(owner).bind(now).bind(net.currency().as_str().to_owned()).bind(net.micros()).bind(set_by)
        .execute(c).await?.rows_affected()))
}

/// A payment as a top-up's, if it is one.
pub(crate) async fn begun(tx: &mut Tx, payment: PaymentId) -> Result<Option<Begun>, DbError> {
    let row: Option<(String, i64, i64)> = on!(tx, c => sqlx::query_as(BEGUN).bind(payment).fetch_optional(c).await?);
    Ok(row.map(|(set_by, told, counted)| Begun { set_by, told: told != 0, counted: counted != 0 }))
}

/// Writes what was noted of it.
pub(crate) async fn note(tx: &mut Tx, payment: PaymentId, it: &Begun) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(NOTE)
        .bind(payment).bind(i64::from(it.told)).bind(i64::from(it.counted)).execute(c).await?.rows_affected()))
}

/// What an account's top-ups have cost since `since`, and will where they are not paid yet, but for one of them.
pub(crate) async fn spent(
    tx: &mut Tx,
    owner: OwnerId,
    (since, currency): (Timestamp, Currency),
    but: Option<PaymentId>,
) -> Result<Price, DbError> {
    let but = but.map(|id| id.to_string()).unwrap_or_default();
    let (micros,): (i64,) = on!(tx, c => sqlx::query_as(SPENT)
        .bind(owner).bind(since).bind(currency.as_str().to_owned()).bind(but).fetch_one(c).await?);
    subscriptions::price(currency.as_str(), micros)
}
