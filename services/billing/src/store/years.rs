//! How a subscription goes from one month to the next, whatever it is paid by; and what the months of years are paid with.

use std::collections::{BTreeMap, BTreeSet};

use bursar_db::{DbError, Tx, on};
use bursar_id::{OwnerId, PaymentId, SubscriptionId};
use bursar_time::Timestamp;

use super::contracts::features;
use super::included::included;
use super::rollovers::{grace, rollover};
use super::subscriptions::{extra, once, pending, prepaid};
use super::{column, payments, unreadable};
use crate::domain::{Payment, Subscription};

const ADVANCE: &str = "UPDATE subscriptions SET period_number = $5, period_start = $6, period_end = $7, \
     payment_reference = $8, failures = 0, next_retry_at = NULL, plan_id = $9, credits = $10, seats = $11, price = $12, \
     extra_seats = $13, seat_price = $14, seat_credits = $15, pending_change = $16, changes = $17, prepaid = $18, \
     features = $20, payment_method = $21, rollover = $22, grace = $23, \
     included = COALESCE($24, CASE WHEN included_plan = $9 THEN included END), included_plan = $9 \
     WHERE owner = $1 AND id = $2 AND period_number = $3 AND changes = $4 AND state <> 'ENDED' AND cancel_at_period_end = $19";

const NOTE_MONTHS_POSTGRES: &str = "UPDATE payments AS p SET months = r.months \
     FROM unnest($1::text[], $2::text[], $3::text[]) AS r (owner, id, months) WHERE p.owner = r.owner AND p.id = r.id";

/// Of a payment that is there, and was not given up or delivered since it was locked.
const DELIVER_MONTHS_POSTGRES: &str = "UPDATE payments AS p SET lot_id = r.lot, invoice_id = r.invoice, fulfilled_at = r.fulfilled \
     FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[]) AS r (owner, id, lot, invoice, fulfilled) \
     WHERE p.owner = r.owner AND p.id = r.id AND p.state = 'PAID' AND p.fulfilled_at IS NULL AND p.returned = 0";

const CHANGED_POSTGRES: &str = "SELECT subscription_id, id, period FROM payments WHERE owner = ANY ($1::text[]) \
     AND subscription_id = ANY ($2::text[]) AND change IS NOT NULL AND fulfilled_at IS NOT NULL";

/// What they bought is found by the payments and not by their lots, of which nothing may be left.
const CHANGES_SINCE: &str = "SELECT id FROM payments WHERE owner = $1 AND subscription_id = $2 AND period >= $3 \
     AND change IS NOT NULL AND fulfilled_at IS NOT NULL ORDER BY id LIMIT $4";

/// Every statement here, by its name; what is named for an engine is for that one alone.
#[cfg(test)]
pub(super) const STATEMENTS: [(&str, &str); 5] = [
    ("ADVANCE", ADVANCE),
    ("NOTE_MONTHS_POSTGRES", NOTE_MONTHS_POSTGRES),
    ("DELIVER_MONTHS_POSTGRES", DELIVER_MONTHS_POSTGRES),
    ("CHANGED_POSTGRES", CHANGED_POSTGRES),
    ("CHANGES_SINCE", CHANGES_SINCE),
];

/// Moves a subscription on from what it was read as, to the period and the terms that it has now, and remembers its payment and
/// until when it is paid for. `false`: somebody else has moved, changed, canceled, resumed or ended it.
pub(crate) async fn advance(tx: &mut Tx, to: &Subscription, from: &Subscription) -> Result<bool, DbError> {
    let (month, extra) = (to.month, extra(to));
    once(on!(tx, c => sqlx::query(ADVANCE)
        .bind(from.owner).bind(from.id).bind(i64::from(from.month.number)).bind(i64::from(from.changes))
        .bind(i64::from(month.number)).bind(month.start).bind(month.end).bind(&to.payment_reference)
        .bind(to.plan.as_str()).bind(to.credits).bind(i64::from(to.seats)).bind(to.price.micros())
        .bind(extra.0).bind(extra.1).bind(extra.2).bind(pending(to)?).bind(i64::from(to.changes)).bind(prepaid(to)?)
        .bind(i64::from(from.cancel_at_period_end)).bind(features(to)?).bind(&to.payment_method)
        .bind(rollover(to)?).bind(grace(to)?).bind(included(to)?)
        .execute(c).await?.rows_affected()))
}

/// Writes which lots the months of some years have, nothing else of whose payments has changed.
pub(crate) async fn note_months(tx: &mut Tx, of: &[Payment]) -> Result<(), DbError> {
    let Tx::Postgres(t) = tx else {
        for payment in of {
            payments::update(tx, payment).await?;
        }
        return Ok(());
    };
    if of.is_empty() {
        return Ok(());
    }
    let query = sqlx::query(NOTE_MONTHS_POSTGRES)
        .bind(column(of, |it| it.owner.to_string()))
        .bind(column(of, |it| it.id.to_string()))
        .bind(of.iter().map(payments::months).collect::<Result<Vec<_>, _>>()?);
    let rows = query.execute(&mut **t).await?.rows_affected();
    if usize::try_from(rows) == Ok(of.len()) { Ok(()) } else { Err(unreadable("a payment that is locked is missing")) }
}

/// Writes that the months which these payments are for have begun, nothing else of which has changed. Returns of how many that was
/// not so yet: where that is not all of them, drop the transaction.
pub(crate) async fn deliver_months(tx: &mut Tx, of: &[Payment]) -> Result<usize, DbError> {
    if of.is_empty() {
        return Ok(0);
    }
    let Tx::Postgres(t) = tx else {
        // On SQLite whoever writes is alone.
        for payment in of {
            payments::update(tx, payment).await?;
        }
        return Ok(of.len());
    };
    let query = sqlx::query(DELIVER_MONTHS_POSTGRES)
        .bind(column(of, |it| it.owner.to_string()))
        .bind(column(of, |it| it.id.to_string()))
        .bind(column(of, |it| it.lot.map(|id| id.to_string())))
        .bind(column(of, |it| it.invoice.map(|id| id.to_string())))
        .bind(column(of, |it| it.fulfilled_at.map(Timestamp::as_micros)));
    let rows = query.execute(&mut **t).await?.rows_affected();
    usize::try_from(rows).map_err(unreadable)
}

/// The payments with which these subscriptions, each with who has paid for its year, were changed since that began: these have
/// paid for their months, too. Up to `limit` of each owner's of one, or more.
pub(crate) async fn changed(
    tx: &mut Tx,
    of: &[(&Subscription, OwnerId)],
    limit: i64,
) -> Result<BTreeMap<SubscriptionId, BTreeSet<PaymentId>>, DbError> {
    let mut found: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    let Tx::Postgres(t) = tx else {
        for (it, payer) in of {
            for owner in BTreeSet::from([it.owner, *payer]) {
                let paid = changes_since(tx, owner, (it.id, it.paid_from()), limit).await?;
                if !paid.is_empty() {
                    found.entry(it.id).or_default().extend(paid);
                }
            }
        }
        return Ok(found);
    };
    if of.is_empty() {
        return Ok(found);
    }
    let owners: Vec<String> = of.iter().flat_map(|(it, payer)| [it.owner, *payer]).map(|it| it.to_string()).collect();
    let rows: Vec<(SubscriptionId, PaymentId, i64)> = sqlx::query_as(CHANGED_POSTGRES)
        .bind(owners)
        .bind(column(of, |(it, _)| it.id.to_string()))
        .fetch_all(&mut **t)
        .await?;
    let from: BTreeMap<_, _> = of.iter().map(|(it, _)| (it.id, i64::from(it.paid_from()))).collect();
    for (subscription, payment, period) in rows {
        if from.get(&subscription).is_some_and(|it| *it <= period) {
            found.entry(subscription).or_default().insert(payment);
        }
    }
    Ok(found)
}

/// Up to `limit` of the payments with which the owner has changed a subscription in a period or after it, whatever is left of
/// what they bought.
pub(crate) async fn changes_since(
    tx: &mut Tx,
    owner: OwnerId,
    (subscription, period): (SubscriptionId, u32),
    limit: i64,
) -> Result<Vec<PaymentId>, DbError> {
    let rows: Vec<(PaymentId,)> = on!(tx, c => sqlx::query_as(CHANGES_SINCE)
        .bind(owner).bind(subscription).bind(i64::from(period)).bind(limit).fetch_all(c).await?);
    Ok(rows.into_iter().map(|(id,)| id).collect())
}
