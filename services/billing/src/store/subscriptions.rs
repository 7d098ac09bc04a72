//! Subscriptions: at most one that is not ended per owner.

use std::collections::BTreeMap;

use bursar_db::{DbError, Tx, exactly_one, on};
use bursar_id::{OwnerId, SubscriptionId};
use bursar_money::{Credits, Currency, Price};
use bursar_rpc::Kept;
use bursar_time::Timestamp;

use super::contracts::{features, read_features};
use super::included::{included, read_included};
use super::rollovers::{grace, read_grace, read_rollover, rollover};
use super::sql::Both;
use super::{unreadable, years};
use crate::domain::{ExtraSeats, Month, ProductId, Subscription, SubscriptionState};

macro_rules! columns {
    () => {
        "owner, id, plan_id, state, credits, seats, currency, price, payment_method, payment_reference, \
         started_at, period_number, period_start, period_end, ended_at, failures, next_retry_at, cancel_at_period_end, \
         extra_seats, seat_price, seat_credits, pending_change, changes, prepaid, features, rollover, grace, \
         included, included_plan"
    };
}

pub(super) use columns;

const INSERT: &str = concat!(
    "INSERT INTO subscriptions (",
    columns!(),
    ", request, request_hash, first_answer) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, NULL, 0, NULL, $15, $16, $17, $18, $19, $20, \
     $21, $22, $23, $24, $25, $3, $26, $27, $28) \
     ON CONFLICT (owner) WHERE state <> 'ENDED' DO NOTHING"
);
const LIVE: &str = concat!("SELECT ", columns!(), " FROM subscriptions WHERE owner = $1 AND state <> 'ENDED'");
const KEPT: &str = "SELECT request_hash, first_answer FROM subscriptions WHERE owner = $1 AND request = $2";
const LATEST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM subscriptions WHERE owner = $1 ORDER BY ended_at IS NULL DESC, ended_at DESC, id DESC LIMIT 1"
);
const FIND: &str = concat!("SELECT ", columns!(), " FROM subscriptions WHERE owner = $1 AND id = $2");
const RENEW_MANY_POSTGRES: &str = "UPDATE subscriptions AS s SET period_number = r.number, period_start = r.starts, period_end = r.ends, \
     payment_reference = r.reference, failures = 0, next_retry_at = NULL, plan_id = r.plan, credits = r.credits, \
     seats = r.seats, price = r.price, extra_seats = r.extra_seats, seat_price = r.seat_price, \
     seat_credits = r.seat_credits, pending_change = NULL, prepaid = r.prepaid, features = r.features, \
     payment_method = r.method, rollover = r.rollover, grace = r.grace, \
     included = COALESCE(r.included, CASE WHEN s.included_plan = r.plan THEN s.included END), included_plan = r.plan \
     FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::text[], $8::text[], \
     $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[], \
     $16::text[], $17::text[], $18::text[], $19::text[], $20::text[], $21::text[]) \
     AS r (owner, id, was, number, starts, ends, reference, plan, credits, seats, price, extra_seats, seat_price, \
     seat_credits, changes, prepaid, features, method, rollover, grace, included) \
     WHERE s.owner = r.owner AND s.id = r.id AND s.period_number = r.was AND s.changes = r.changes \
     AND s.state <> 'ENDED' AND s.cancel_at_period_end = 0";
const CLAIM_POSTGRES: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM subscriptions WHERE owner = ANY ($1::text[]) AND state <> 'ENDED' AND period_end <= $2 \
     ORDER BY owner FOR UPDATE SKIP LOCKED"
);
/// Shorter than it takes the server to find a deadlock (`deadlock_timeout`, a second): whoever locked a payment first, as the
/// order of locks has it, and waits for a subscription that is claimed, is not the one who is told to come again.
const WAIT_BRIEFLY_POSTGRES: &str = "SELECT set_config('lock_timeout', '200ms', true)";
const NOT_PAID: &str = "UPDATE subscriptions SET failures = $4, next_retry_at = $5 \
     WHERE owner = $1 AND id = $2 AND period_number = $3 AND state <> 'ENDED' AND cancel_at_period_end = 0 \
     AND $4 = 1 + CASE WHEN next_retry_at > period_end THEN failures ELSE 0 END";
const END: &str = "UPDATE subscriptions SET state = $4, ended_at = $5 \
     WHERE owner = $1 AND id = $2 AND period_number = $3 AND changes = $7 AND state <> 'ENDED' AND cancel_at_period_end = $6";
const END_WITH_OWNER: &str = "UPDATE subscriptions SET state = $4, ended_at = $5, ended_with_owner = 1 \
     WHERE owner = $1 AND id = $2 AND period_number = $3 AND changes = $7 AND state <> 'ENDED' AND cancel_at_period_end = $6";
const CANCEL: &str = "UPDATE subscriptions SET cancel_at_period_end = $4 \
     WHERE owner = $1 AND id = $2 AND period_number = $3 AND changes = $5 AND state <> 'ENDED' \
     AND (next_retry_at IS NULL OR next_retry_at <= period_end)";
const CHANGE: &str = "UPDATE subscriptions SET plan_id = $5, credits = $6, seats = $7, price = $8, \
     extra_seats = $9, seat_price = $10, seat_credits = $11, pending_change = $12, changes = $4, prepaid = $13, \
     features = $14, payment_method = $15, rollover = $16, grace = $17, \
     included = COALESCE($18, CASE WHEN included_plan = $5 THEN included END), included_plan = $5 \
     WHERE owner = $1 AND id = $2 AND period_number = $3 AND changes = $4 - 1 AND state <> 'ENDED' AND cancel_at_period_end = 0 \
     AND (next_retry_at IS NULL OR next_retry_at <= period_end)";
const ENDED_WITH_OWNER: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM subscriptions WHERE owner = $1 AND ended_with_owner = 1 AND (period_end > $2 OR prepaid IS NOT NULL) ORDER BY ended_at DESC, id DESC LIMIT 1"
);
const REVIVE: &str = "UPDATE subscriptions SET state = $3, ended_at = NULL, ended_with_owner = 0 \
     WHERE owner = $1 AND id = $2 AND ended_with_owner = 1 AND NOT EXISTS \
     (SELECT 1 FROM subscriptions AS other WHERE other.owner = $1 AND other.state <> 'ENDED')";

const RESUME: &str =
    "UPDATE subscriptions SET resumed_until = $1 WHERE state <> 'ENDED' AND period_end <= $1 AND owner = $2";
const RESUME_ALL: &str = "UPDATE subscriptions SET resumed_until = $1 WHERE state <> 'ENDED' AND period_end <= $1";

const LIVE_AFTER: &str =
    concat!("SELECT ", columns!(), " FROM subscriptions WHERE state <> 'ENDED' AND owner > $1 ORDER BY owner LIMIT $2");

pub(super) const LIVE_OF: Both = Both {
    sqlite: concat!(
        "SELECT ",
        columns!(),
        " FROM subscriptions WHERE state <> 'ENDED' AND owner IN (SELECT value FROM json_each($1)) ORDER BY owner"
    ),
    postgres: concat!(
        "SELECT ",
        columns!(),
        " FROM subscriptions WHERE state <> 'ENDED' AND owner = ANY ($1::text[]) ORDER BY owner"
    ),
};

pub(super) const RESUMED_OF: Both = Both {
    sqlite: "SELECT id, resumed_until FROM subscriptions WHERE state <> 'ENDED' AND resumed_until IS NOT NULL \
        AND owner IN (SELECT value FROM json_each($1))",
    postgres: "SELECT id, resumed_until FROM subscriptions WHERE state <> 'ENDED' AND resumed_until IS NOT NULL \
        AND owner = ANY ($1::text[])",
};

/// Every statement here that is the same on both engines, by its name; what is named for an engine is for that one alone.
#[cfg(test)]
pub(super) const STATEMENTS: [(&str, &str); 18] = [
    ("INSERT", INSERT),
    ("LIVE", LIVE),
    ("KEPT", KEPT),
    ("LATEST", LATEST),
    ("FIND", FIND),
    ("RENEW_MANY_POSTGRES", RENEW_MANY_POSTGRES),
    ("CLAIM_POSTGRES", CLAIM_POSTGRES),
    ("WAIT_BRIEFLY_POSTGRES", WAIT_BRIEFLY_POSTGRES),
    ("NOT_PAID", NOT_PAID),
    ("END", END),
    ("END_WITH_OWNER", END_WITH_OWNER),
    ("CANCEL", CANCEL),
    ("CHANGE", CHANGE),
    ("ENDED_WITH_OWNER", ENDED_WITH_OWNER),
    ("REVIVE", REVIVE),
    ("RESUME", RESUME),
    ("RESUME_ALL", RESUME_ALL),
    ("LIVE_AFTER", LIVE_AFTER),
];

/// A subscription as it is stored.
#[derive(sqlx::FromRow)]
pub(super) struct Row {
    owner: OwnerId,
    id: SubscriptionId,
    plan_id: String,
    state: String,
    credits: Credits,
    seats: i64,
    currency: String,
    price: i64,
    payment_method: String,
    payment_reference: String,
    started_at: Timestamp,
    period_number: i64,
    period_start: Timestamp,
    period_end: Timestamp,
    ended_at: Option<Timestamp>,
    failures: i64,
    next_retry_at: Option<Timestamp>,
    cancel_at_period_end: i64,
    extra_seats: i64,
    seat_price: i64,
    seat_credits: Credits,
    pending_change: Option<String>,
    changes: i64,
    prepaid: Option<String>,
    features: Option<String>,
    rollover: Option<String>,
    grace: Option<String>,
    included: Option<String>,
    included_plan: Option<String>,
}

impl Row {
    pub(super) fn read(self) -> Result<Subscription, DbError> {
        let plan = ProductId::parse(&self.plan_id);
        // Earlier programs renew and leave what was tried for the month before.
        let tried = self.next_retry_at.filter(|retry| *retry > self.period_end);
        let extra = match u32::try_from(self.extra_seats).map_err(unreadable)? {
            0 => None,
            count => {
                let (price, credits) = (price(&self.currency, self.seat_price)?, self.seat_credits);
                Some(ExtraSeats { count, price, credits })
            }
        };
        let pending = self.pending_change.filter(|_| self.ended_at.is_none());
        let features = read_features(self.features.as_deref(), &self.plan_id)?;
        let rollover = read_rollover(self.rollover.as_deref(), &self.plan_id)?;
        let included = read_included(self.included.as_deref(), self.included_plan.as_deref(), &self.plan_id)?;
        let grant_in_grace = read_grace(self.grace.as_deref(), &self.plan_id)?;
        Ok(Subscription {
            id: self.id,
            owner: self.owner,
            plan: plan.ok_or_else(|| unreadable("a subscription's plan is unreadable"))?,
            state: match self.state.parse::<SubscriptionState>().map_err(unreadable)? {
                // Programs that do not know of it take it for one that is due.
                SubscriptionState::Active if tried.is_some() => SubscriptionState::PastDue,
                state => state,
            },
            price: price(&self.currency, self.price)?,
            credits: self.credits,
            seats: self.seats.try_into().map_err(unreadable)?,
            extra,
            features,
            included,
            rollover,
            grant_in_grace,
            payment_method: self.payment_method,
            payment_reference: self.payment_reference,
            started_at: self.started_at,
            month: Month {
                number: self.period_number.try_into().map_err(unreadable)?,
                start: self.period_start,
                end: self.period_end,
            },
            prepaid: self.prepaid.map(|text| serde_json::from_str(&text)).transpose().map_err(unreadable)?,
            ended_at: self.ended_at,
            failures: tried.map_or(Ok(0), |_| self.failures.try_into()).map_err(unreadable)?,
            // Of one that has ended it says when it was tried last.
            next_retry_at: tried.filter(|_| self.ended_at.is_none()),
            cancel_at_period_end: self.cancel_at_period_end != 0,
            pending: pending.map(|text| serde_json::from_str(&text)).transpose().map_err(unreadable)?,
            changes: self.changes.try_into().map_err(unreadable)?,
        })
    }
}

/// A price from its stored parts.
pub(super) fn price(currency: &str, micros: i64) -> Result<Price, DbError> {
    let currency: Currency = currency.parse().map_err(unreadable)?;
    Price::from_micros(currency, micros).map_err(unreadable)
}

/// Writes a new subscription with what is kept of its request, unless the owner has one that is not ended: then nothing,
/// and `false`. Waits for whoever is writing one for the same owner.
pub(crate) async fn insert(tx: &mut Tx, new: &Subscription, kept: Option<&Kept>) -> Result<bool, DbError> {
    let extra = extra(new);
    let rows = on!(tx, c => sqlx::query(INSERT)
        .bind(new.owner).bind(new.id).bind(new.plan.as_str()).bind(new.state.as_str())
        .bind(new.credits).bind(i64::from(new.seats))
        .bind(new.price.currency().as_str().to_owned()).bind(new.price.micros())
        .bind(&new.payment_method).bind(&new.payment_reference)
        .bind(new.started_at).bind(i64::from(new.month.number)).bind(new.month.start).bind(new.month.end)
        .bind(i64::from(new.cancel_at_period_end))
        .bind(extra.0).bind(extra.1).bind(extra.2).bind(pending(new)?).bind(i64::from(new.changes)).bind(prepaid(new)?)
        .bind(features(new)?).bind(rollover(new)?).bind(grace(new)?).bind(included(new)?)
        .bind(kept.map(|kept| kept.request.as_slice())).bind(kept.map(|kept| kept.body_hash.as_slice()))
        .bind(kept.map(|kept| kept.answer.as_slice()))
        .execute(c).await?.rows_affected());
    Ok(rows == 1)
}

/// Seats beside the plan's own, as they are stored: how many, and the price and the credits of each.
pub(super) fn extra(of: &Subscription) -> (i64, i64, Credits) {
    of.extra.map_or((0, 0, Credits::ZERO), |it| (i64::from(it.count), it.price.micros(), it.credits))
}

pub(super) fn prepaid(of: &Subscription) -> Result<Option<String>, DbError> {
    of.prepaid.as_ref().map(serde_json::to_string).transpose().map_err(unreadable)
}

pub(super) fn pending(of: &Subscription) -> Result<Option<String>, DbError> {
    of.pending.as_ref().map(serde_json::to_string).transpose().map_err(unreadable)
}

/// What is kept of the request that began one of the owner's subscriptions, however it went on.
pub(crate) async fn kept(tx: &mut Tx, owner: OwnerId, request: [u8; 16]) -> Result<Option<Kept>, DbError> {
    let row = on!(tx, c => sqlx::query_as(KEPT).bind(owner).bind(request.as_slice()).fetch_optional(c).await?);
    read_kept(request, row)
}

/// What is kept of a request, from its stored parts.
pub(super) fn read_kept(request: [u8; 16], row: Option<(Vec<u8>, Vec<u8>)>) -> Result<Option<Kept>, DbError> {
    row.map(|(hash, answer)| {
        let body_hash = hash.try_into().map_err(|_| unreadable("the digest of a request is unreadable"))?;
        Ok(Kept { request, body_hash, answer })
    })
    .transpose()
}

/// The owner's subscription that is not ended.
pub(crate) async fn live(tx: &mut Tx, owner: OwnerId) -> Result<Option<Subscription>, DbError> {
    let row: Option<Row> = on!(tx, c => sqlx::query_as(LIVE).bind(owner).fetch_optional(c).await?);
    row.map(Row::read).transpose()
}

/// The subscriptions that are not ended, of the owners after one (as text; empty for the first), in the order of owners.
pub(crate) async fn live_after(tx: &mut Tx, owner: &str, limit: i64) -> Result<Vec<Subscription>, DbError> {
    let rows: Vec<Row> = on!(tx, c => sqlx::query_as(LIVE_AFTER).bind(owner).bind(limit).fetch_all(c).await?);
    rows.into_iter().map(Row::read).collect()
}

/// Those of these owners' subscriptions that are not ended, in the order of owners.
pub(crate) async fn live_of(tx: &mut Tx, owners: &[OwnerId]) -> Result<Vec<Subscription>, DbError> {
    let owners: Vec<String> = owners.iter().map(ToString::to_string).collect();
    let rows: Vec<Row> = match tx {
        Tx::Sqlite(t) => {
            let owners = serde_json::Value::from(owners).to_string();
            sqlx::query_as(LIVE_OF.sqlite).bind(owners).fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) => sqlx::query_as(LIVE_OF.postgres).bind(owners).fetch_all(&mut **t).await?,
    };
    rows.into_iter().map(Row::read).collect()
}

/// The owner's subscription that is not ended, or else the one that ended last.
pub(crate) async fn latest(tx: &mut Tx, owner: OwnerId) -> Result<Option<Subscription>, DbError> {
    let row: Option<Row> = on!(tx, c => sqlx::query_as(LATEST).bind(owner).fetch_optional(c).await?);
    row.map(Row::read).transpose()
}

/// One of the owner's subscriptions, however it stands.
pub(crate) async fn find(tx: &mut Tx, owner: OwnerId, id: SubscriptionId) -> Result<Option<Subscription>, DbError> {
    let row: Option<Row> = on!(tx, c => sqlx::query_as(FIND).bind(owner).bind(id).fetch_optional(c).await?);
    row.map(Row::read).transpose()
}

/// Up to when an operator has said that missed periods are made up for, of the subscriptions of these owners that are not
/// ended; one of which nothing was said is missing.
pub(crate) async fn resumed_of(
    tx: &mut Tx,
    owners: &[OwnerId],
) -> Result<BTreeMap<SubscriptionId, Timestamp>, DbError> {
    let owners: Vec<String> = owners.iter().map(ToString::to_string).collect();
    let rows: Vec<(SubscriptionId, Timestamp)> = match tx {
        Tx::Sqlite(t) => {
            let owners = serde_json::Value::from(owners).to_string();
            sqlx::query_as(RESUMED_OF.sqlite).bind(owners).fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) => sqlx::query_as(RESUMED_OF.postgres).bind(owners).fetch_all(&mut **t).await?,
    };
    Ok(rows.into_iter().collect())
}

/// Says that what is due at `now` is made up for, of one owner or of everybody. Returns for how many subscriptions.
pub(crate) async fn resume(tx: &mut Tx, owner: Option<OwnerId>, now: Timestamp) -> Result<u64, DbError> {
    Ok(match owner {
        Some(owner) => on!(tx, c => sqlx::query(RESUME).bind(now).bind(owner).execute(c).await?.rows_affected()),
        None => on!(tx, c => sqlx::query(RESUME_ALL).bind(now).execute(c).await?.rows_affected()),
    })
}

/// Those of these owners' subscriptions whose month is over at `now`, locked until the transaction ends, in the order of owners.
/// What somebody else has locked is left out: nobody is waited for, and afterwards in this transaction for a moment only.
pub(crate) async fn claim(tx: &mut Tx, owners: &[OwnerId], now: Timestamp) -> Result<Vec<Subscription>, DbError> {
    let Tx::Postgres(t) = tx else {
        // On SQLite whoever writes is alone.
        return live_of(tx, owners).await;
    };
    let owners: Vec<String> = owners.iter().map(ToString::to_string).collect();
    sqlx::query(WAIT_BRIEFLY_POSTGRES).execute(&mut **t).await?;
    let rows: Vec<Row> = sqlx::query_as(CLAIM_POSTGRES).bind(owners).bind(now).fetch_all(&mut **t).await?;
    rows.into_iter().map(Row::read).collect()
}

/// Moves many subscriptions on ([`years::advance`]), each with what it was read as: of each what is planned is over, and none
/// ends with its period. Returns how many there were to move.
pub(crate) async fn renew_many(tx: &mut Tx, renewed: &[(Subscription, Subscription)]) -> Result<usize, DbError> {
    let Tx::Postgres(t) = tx else {
        let mut moved = 0;
        for (it, from) in renewed {
            moved += usize::from(years::advance(tx, it, from).await?);
        }
        return Ok(moved);
    };
    let text = |of: fn(&Subscription) -> String| renewed.iter().map(|(it, _)| of(it)).collect::<Vec<_>>();
    let number = |of: fn(&Subscription) -> i64| renewed.iter().map(|(it, _)| of(it)).collect::<Vec<_>>();
    let query = sqlx::query(RENEW_MANY_POSTGRES)
        .bind(text(|it| it.owner.to_string()))
        .bind(text(|it| it.id.to_string()))
        .bind(renewed.iter().map(|(_, from)| i64::from(from.month.number)).collect::<Vec<_>>())
        .bind(number(|it| i64::from(it.month.number)))
        .bind(number(|it| it.month.start.as_micros()))
        .bind(number(|it| it.month.end.as_micros()))
        .bind(text(|it| it.payment_reference.clone()))
        .bind(text(|it| it.plan.to_string()))
        .bind(number(|it| it.credits.micro()))
        .bind(number(|it| i64::from(it.seats)))
        .bind(number(|it| it.price.micros()))
        .bind(number(|it| extra(it).0))
        .bind(number(|it| extra(it).1))
        .bind(number(|it| extra(it).2.micro()))
        .bind(renewed.iter().map(|(_, from)| i64::from(from.changes)).collect::<Vec<_>>())
        .bind(renewed.iter().map(|(it, _)| prepaid(it)).collect::<Result<Vec<_>, _>>()?)
        .bind(renewed.iter().map(|(it, _)| features(it)).collect::<Result<Vec<_>, _>>()?)
        .bind(text(|it| it.payment_method.clone()))
        .bind(renewed.iter().map(|(it, _)| rollover(it)).collect::<Result<Vec<_>, _>>()?)
        .bind(renewed.iter().map(|(it, _)| grace(it)).collect::<Result<Vec<_>, _>>()?)
        .bind(renewed.iter().map(|(it, _)| included(it)).collect::<Result<Vec<_>, _>>()?);
    let rows = query.execute(&mut **t).await?.rows_affected();
    usize::try_from(rows).map_err(unreadable)
}

/// Writes that the month after the period that a subscription is in was tried once more and not paid. `false`: somebody else
/// has tried it, or has moved or ended the subscription.
pub(crate) async fn not_paid(tx: &mut Tx, it: &Subscription) -> Result<bool, DbError> {
    once(on!(tx, c => sqlx::query(NOT_PAID)
        .bind(it.owner).bind(it.id).bind(i64::from(it.month.number))
        .bind(i64::from(it.failures)).bind(it.next_retry_at)
        .execute(c).await?.rows_affected()))
}

/// Writes a change of a subscription that is still in this period, that goes on after it and was not changed since, or what
/// waits for its next period. `false`: somebody else was first.
pub(crate) async fn change(tx: &mut Tx, it: &Subscription) -> Result<bool, DbError> {
    let extra = extra(it);
    once(on!(tx, c => sqlx::query(CHANGE)
        .bind(it.owner).bind(it.id).bind(i64::from(it.month.number)).bind(i64::from(it.changes))
        .bind(it.plan.as_str()).bind(it.credits).bind(i64::from(it.seats)).bind(it.price.micros())
        .bind(extra.0).bind(extra.1).bind(extra.2).bind(pending(it)?).bind(prepaid(it)?)
        .bind(features(it)?).bind(&it.payment_method).bind(rollover(it)?).bind(grace(it)?).bind(included(it)?)
        .execute(c).await?.rows_affected()))
}

/// Ends a subscription that is still in this period, as it was read, and still to end with it or not. `false`: somebody else
/// has moved, changed, canceled, resumed or ended it.
pub(crate) async fn end(tx: &mut Tx, ended: &Subscription) -> Result<bool, DbError> {
    end_by(tx, END, ended).await
}

/// The same because its owner was deleted: it may be revived.
pub(crate) async fn end_with_owner(tx: &mut Tx, ended: &Subscription) -> Result<bool, DbError> {
    end_by(tx, END_WITH_OWNER, ended).await
}

/// Has a subscription that is still in this period, which is not over, end with it or go on after it, as it says. `false`:
/// somebody else has moved, changed or ended it, or the next period was tried.
pub(crate) async fn cancel(tx: &mut Tx, it: &Subscription) -> Result<bool, DbError> {
    once(on!(tx, c => sqlx::query(CANCEL)
        .bind(it.owner).bind(it.id).bind(i64::from(it.month.number)).bind(i64::from(it.cancel_at_period_end))
        .bind(i64::from(it.changes))
        .execute(c).await?.rows_affected()))
}

/// The subscription that ended last because its owner was deleted, if what is paid for is not over at `now`.
pub(crate) async fn ended_with_owner(
    tx: &mut Tx,
    owner: OwnerId,
    now: Timestamp,
) -> Result<Option<Subscription>, DbError> {
    let row: Option<Row> =
        on!(tx, c => sqlx::query_as(ENDED_WITH_OWNER).bind(owner).bind(now).fetch_optional(c).await?);
    Ok(row.map(Row::read).transpose()?.filter(|it| it.paid_until() > now))
}

/// Has a subscription go on that ended because its owner was deleted. `false`: the owner has another one by now.
pub(crate) async fn revive(tx: &mut Tx, revived: &Subscription) -> Result<bool, DbError> {
    once(on!(tx, c => sqlx::query(REVIVE)
        .bind(revived.owner).bind(revived.id).bind(revived.state.as_str()).execute(c).await?.rows_affected()))
}

async fn end_by(tx: &mut Tx, statement: &'static str, ended: &Subscription) -> Result<bool, DbError> {
    once(on!(tx, c => sqlx::query(statement)
        .bind(ended.owner).bind(ended.id).bind(i64::from(ended.month.number))
        .bind(ended.state.as_str()).bind(ended.ended_at).bind(i64::from(ended.cancel_at_period_end))
        .bind(i64::from(ended.changes))
        .execute(c).await?.rows_affected()))
}

/// Whether the one row was touched.
pub(super) fn once(rows: u64) -> Result<bool, DbError> {
    if rows == 0 { Ok(false) } else { exactly_one(rows).map(|()| true) }
}
