//! How a subscription goes from one month to the next, whatever it is paid by; and what the months of years are paid with.

use bursar_db::{DbError, Tx, on};

use super::contracts::features;
use super::subscriptions::{extra, once, pending, prepaid};
use super::{column, payments, unreadable};
use crate::domain::{Payment, Subscription};

const ADVANCE: &str = "UPDATE subscriptions SET period_number = $5, period_start = $6, period_end = $7, \
     payment_reference = $8, failures = 0, next_retry_at = NULL, plan_id = $9, credits = $10, seats = $11, price = $12, \
     extra_seats = $13, seat_price = $14, seat_credits = $15, pending_change = $16, changes = $17, prepaid = $18, \
     features = $20, payment_method = $21 \
     WHERE owner = $1 AND id = $2 AND period_number = $3 AND changes = $4 AND state <> 'ENDED' AND cancel_at_period_end = $19";

const NOTE_MONTHS_POSTGRES: &str = "UPDATE payments AS p SET months = r.months \
     FROM unnest($1::text[], $2::text[], $3::text[]) AS r (owner, id, months) WHERE p.owner = r.owner AND p.id = r.id";

/// Every statement here, by its name; what is named for an engine is for that one alone.
#[cfg(test)]
pub(super) const STATEMENTS: [(&str, &str); 2] = [("ADVANCE", ADVANCE), ("NOTE_MONTHS_POSTGRES", NOTE_MONTHS_POSTGRES)];

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
