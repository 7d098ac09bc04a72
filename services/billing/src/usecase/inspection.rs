//! What the check of all stores reads of billing's: which plans hold, and what is left of people who are gone. It changes
//! nothing.

use bursar_db::{DbError, Tx};
use bursar_id::OwnerId;
use bursar_time::Timestamp;

use crate::store::{holds, subscriptions};

/// Holds that are looked at of one page of owners.
const HOLDS: usize = 1_000;

/// A plan that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LivePlan {
    /// Whose.
    pub owner: OwnerId,
    /// Its name.
    pub plan: String,
    /// How many seats it has.
    pub seats: u32,
}

/// The plans that hold of the owners after one, in the order of the owners' texts.
pub async fn plans_after(tx: &mut Tx, after: Option<OwnerId>, limit: i64) -> Result<Vec<LivePlan>, DbError> {
    let after = after.map(|owner| owner.to_string()).unwrap_or_default();
    let live = subscriptions::live_after(tx, &after, limit).await?;
    let plan = |it: crate::domain::Subscription| LivePlan {
        owner: it.owner,
        plan: it.plan.as_str().to_owned(),
        seats: it.seats,
    };
    Ok(live.into_iter().map(plan).collect())
}

/// The plan that an owner has.
pub async fn plan(tx: &mut Tx, owner: OwnerId) -> Result<Option<String>, DbError> {
    Ok(subscriptions::live(tx, owner).await?.map(|it| it.plan.as_str().to_owned()))
}

/// Of these owners, the holds that are open though their deadline came before `until`: each with its owner, its id's text and
/// its deadline.
pub async fn overdue_holds(
    tx: &mut Tx,
    owners: &[OwnerId],
    until: Timestamp,
) -> Result<Vec<(OwnerId, String, Timestamp)>, DbError> {
    let found = holds::overdue(tx, owners, until, HOLDS).await?;
    Ok(found.into_iter().map(|(owner, hold)| (owner, hold.id.to_string(), hold.deadline)).collect())
}
