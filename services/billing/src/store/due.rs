//! Subscriptions whose period is over, or soon will be, in the order in which they are renewed.

use bursar_db::{DbError, Tx, on};
use bursar_time::Timestamp;

use super::subscriptions::{Row, columns};
use crate::domain::Subscription;

const ENDING: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM subscriptions WHERE state <> 'ENDED' AND period_end <= $1 AND (period_end, id) > ($2, $3) \
     AND (next_retry_at IS NULL OR next_retry_at <= $1) \
     ORDER BY period_end, id LIMIT $4"
);
const SOMEWHERE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM subscriptions WHERE state <> 'ENDED' AND period_end <= $1 ORDER BY period_end, id LIMIT 1 OFFSET $2"
);

/// Every statement here, by its name.
#[cfg(test)]
pub(super) const STATEMENTS: [(&str, &str); 2] = [("ENDING", ENDING), ("SOMEWHERE", SOMEWHERE)];

/// Up to `limit` subscriptions whose period is over at `now`, the longest overdue first, after the given one.
pub(crate) async fn page(
    tx: &mut Tx,
    now: Timestamp,
    after: Option<&Subscription>,
    limit: i64,
) -> Result<Vec<Subscription>, DbError> {
    ending(tx, (Timestamp::MIN, now), after, limit).await
}

/// The same of those whose period is over at `until`, and not before `from`.
pub(crate) async fn ending(
    tx: &mut Tx,
    (from, until): (Timestamp, Timestamp),
    after: Option<&Subscription>,
    limit: i64,
) -> Result<Vec<Subscription>, DbError> {
    let end = after.map_or(from, |last| last.month.end);
    let id = after.map(|last| last.id.to_string()).unwrap_or_default();
    let rows: Vec<Row> =
        on!(tx, c => sqlx::query_as(ENDING).bind(until).bind(end).bind(id).bind(limit).fetch_all(c).await?);
    rows.into_iter().map(Row::read).collect()
}

/// The one of those that are due at `now` before which so many are longer overdue; none where there are no more. It reads the
/// index up to there.
pub(crate) async fn somewhere(tx: &mut Tx, now: Timestamp, number: i64) -> Result<Option<Subscription>, DbError> {
    let row: Option<Row> = on!(tx, c => sqlx::query_as(SOMEWHERE).bind(now).bind(number).fetch_optional(c).await?);
    row.map(Row::read).transpose()
}
