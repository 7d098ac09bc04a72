//! What a subscription's plan includes, as it was sold: how that is stored, and of whom it is not known yet. It is kept with the
//! plan that it is of (`included_plan`): programs that know nothing of it change the plan alone, and then it counts no more. Whoever
//! has read a subscription before that was written down takes nothing of it away, unless it is on another plan then.

use bursar_db::{DbError, Tx, on};
use bursar_id::OwnerId;

use super::subscriptions::{once, pending};
use super::unreadable;
use crate::domain::{Bought, Included, Subscription};

/// As the index is (`subscriptions_not_kept`), which has nobody once all of them are known but whose plan no catalog has.
const NOT_KEPT: &str = "SELECT id, owner FROM subscriptions WHERE state <> 'ENDED' \
     AND (included IS NULL OR included_plan <> plan_id) AND id > $1 ORDER BY id LIMIT $2";
const KEEP: &str = "UPDATE subscriptions SET included = $6, included_plan = $5, pending_change = $7 \
     WHERE owner = $1 AND id = $2 AND period_number = $3 AND changes = $4 AND plan_id = $5 AND seats = $8 \
     AND cancel_at_period_end = $9 AND state <> 'ENDED' AND (included IS NULL OR included_plan <> plan_id)";

/// Every statement here, by its name.
#[cfg(test)]
pub(super) const STATEMENTS: [(&str, &str); 2] = [("NOT_KEPT", NOT_KEPT), ("KEEP", KEEP)];

/// What a subscription's plan includes, as it is stored.
pub(super) fn included(of: &Subscription) -> Result<Option<String>, DbError> {
    written(of.included.as_deref())
}

/// The same from what is stored, and of which plan; of another one than this it says nothing.
pub(super) fn read_included(
    text: Option<&str>,
    of: Option<&str>,
    plan: &str,
) -> Result<Option<Box<Included>>, DbError> {
    read(text.filter(|_| of == Some(plan)))
}

/// What the plan of a subscription includes that a payment begins, as it is stored.
pub(super) fn included_at_start(bought: &Bought) -> Result<Option<String>, DbError> {
    match bought {
        Bought::Start { included, .. } => written(included.as_deref()),
        _ => Ok(None),
    }
}

/// What is stored of it.
pub(super) fn read(text: Option<&str>) -> Result<Option<Box<Included>>, DbError> {
    text.map(serde_json::from_str).transpose().map_err(unreadable)
}

fn written(included: Option<&Included>) -> Result<Option<String>, DbError> {
    included.map(serde_json::to_string).transpose().map_err(unreadable)
}

/// The ids and owners of up to `limit` subscriptions that are not ended and of which it is not known what their plan includes, in
/// the order of ids, after one (as text; empty for the first).
pub(crate) async fn not_kept(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<(String, OwnerId)>, DbError> {
    let rows: Vec<(String, OwnerId)> =
        on!(tx, c => sqlx::query_as(NOT_KEPT).bind(after).bind(limit).fetch_all(c).await?);
    Ok(rows)
}

/// Writes what its plan includes, and the planned one. `false`: somebody has changed it since it was read, or has written that.
pub(crate) async fn keep(tx: &mut Tx, it: &Subscription) -> Result<bool, DbError> {
    once(on!(tx, c => sqlx::query(KEEP)
        .bind(it.owner).bind(it.id).bind(i64::from(it.month.number)).bind(i64::from(it.changes))
        .bind(it.plan.as_str()).bind(included(it)?).bind(pending(it)?)
        .bind(i64::from(it.seats)).bind(i64::from(it.cancel_at_period_end))
        .execute(c).await?.rows_affected()))
}
