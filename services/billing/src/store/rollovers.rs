//! How many credits of a month that is over are there for one more at most, as that is stored with a subscription: of this plan and
//! for the month that it is in. Programs that know nothing of it change the plan alone, and the month not at all: a trigger sees to
//! that.

use bursar_db::DbError;
use bursar_money::Credits;
use serde::{Deserialize, Serialize};

use super::unreadable;
use crate::domain::{ProductId, Subscription};

/// That a month's allowance is granted in grace, stored in the same way and for the same reasons.
#[derive(Serialize, Deserialize)]
struct StoredGrace {
    plan: ProductId,
    /// Whoever begins a month writes it anew.
    month: u32,
}

#[derive(Serialize, Deserialize)]
struct StoredRollover {
    plan: ProductId,
    /// Whoever begins a month writes it anew.
    month: u32,
    cap: Credits,
}

/// What is stored of it.
pub(super) fn rollover(of: &Subscription) -> Result<Option<String>, DbError> {
    let stored = of.rollover.map(|cap| StoredRollover { plan: of.plan.clone(), month: of.month.number, cap });
    stored.as_ref().map(serde_json::to_string).transpose().map_err(unreadable)
}

/// The same of a subscription to this plan, from what is stored.
pub(super) fn read_rollover(text: Option<&str>, plan: &str) -> Result<Option<Credits>, DbError> {
    let stored = text.map(serde_json::from_str::<StoredRollover>).transpose().map_err(unreadable)?;
    Ok(stored.filter(|it| it.plan.as_str() == plan).map(|it| it.cap))
}

/// What is stored of whether a month's allowance is granted before its payment.
pub(super) fn grace(of: &Subscription) -> Result<Option<String>, DbError> {
    let stored = of.grant_in_grace.then(|| StoredGrace { plan: of.plan.clone(), month: of.month.number });
    stored.as_ref().map(serde_json::to_string).transpose().map_err(unreadable)
}

/// The same of a subscription to this plan, from what is stored.
pub(super) fn read_grace(text: Option<&str>, plan: &str) -> Result<bool, DbError> {
    let stored = text.map(serde_json::from_str::<StoredGrace>).transpose().map_err(unreadable)?;
    Ok(stored.is_some_and(|it| it.plan.as_str() == plan))
}
