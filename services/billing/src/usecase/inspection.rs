//! What the check of all stores reads of billing's: which plans hold, how accounts stand, and what is left of people who are
//! gone and of organizations that were deleted. It changes nothing.

use bursar_db::{DbError, Tx};
use bursar_id::{OwnerId, ProjectId};
use bursar_members::Standing;
use bursar_money::Credits;
use bursar_time::Timestamp;

use super::catalogs;
use crate::domain::{Catalog, Subscription};
use crate::error::Error;
use crate::store::{self, accounts, holds, lots, projects, subscriptions};

/// Holds that are looked at of one page of owners.
const HOLDS: usize = 1_000;
/// Catalogs whose free plans are looked at: whoever was told of an earlier one's was told of another one since.
const CATALOGS: i64 = 100;

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

impl From<Subscription> for LivePlan {
    fn from(live: Subscription) -> Self {
        Self { owner: live.owner, plan: live.plan.as_str().to_owned(), seats: live.seats }
    }
}

/// The plans that hold of the owners after one, in the order of the owners' texts.
pub async fn plans_after(tx: &mut Tx, after: Option<OwnerId>, limit: i64) -> Result<Vec<LivePlan>, DbError> {
    let after = after.map(|owner| owner.to_string()).unwrap_or_default();
    let live = subscriptions::live_after(tx, &after, limit).await?;
    Ok(live.into_iter().map(LivePlan::from).collect())
}

/// Those of these owners' plans that hold.
pub async fn plans_of(tx: &mut Tx, owners: &[OwnerId]) -> Result<Vec<LivePlan>, DbError> {
    Ok(subscriptions::live_of(tx, owners).await?.into_iter().map(LivePlan::from).collect())
}

/// How many seats the free plan has in the catalogs that were used last, the last one first.
pub async fn free_seats(tx: &mut Tx) -> Result<Vec<u32>, DbError> {
    let mut seats = Vec::new();
    for row in store::catalogs::latest(tx, CATALOGS).await? {
        let kept = catalogs::read(&row).map_err(|error| match error {
            Error::Store(error) => error,
            error => DbError::corrupt(error.to_string()),
        })?;
        seats.extend(kept.catalog.plan(Catalog::FREE).map(|plan| plan.seats));
    }
    Ok(seats)
}

/// The owners of accounts that stand otherwise than active, after the given one, in the order of owners: what requests are
/// decided by.
pub async fn inactive_after(
    tx: &mut Tx,
    after: Option<OwnerId>,
    limit: i64,
) -> Result<Vec<(OwnerId, Standing)>, DbError> {
    accounts::inactive_after(tx, after, limit).await
}

/// The projects after the given one that organization has told of, whosever they are, in the order of owners and ids.
pub async fn projects_after(
    tx: &mut Tx,
    after: Option<(OwnerId, ProjectId)>,
    limit: i64,
) -> Result<Vec<(OwnerId, ProjectId)>, DbError> {
    projects::made_after(tx, after, limit).await
}

/// Has any word of organization's hold against what is known of a project: it is wrong.
pub async fn doubt_project(tx: &mut Tx, (owner, id): (OwnerId, ProjectId)) -> Result<(), DbError> {
    projects::forget(tx, owner, id).await
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

/// Of these owners, who are purged, the lots that are not voided at `now`: each with its owner, its id's text and what is left
/// of it. What has expired is for the sweep, whoever's it is.
pub async fn unvoided_lots(
    tx: &mut Tx,
    owners: &[OwnerId],
    now: Timestamp,
) -> Result<Vec<(OwnerId, String, Credits)>, DbError> {
    let live = lots::live(tx, owners).await?.into_iter();
    let unvoided = live.filter(|(_, lot)| lot.voided_at.is_none() && !lot.is_expired_at(now));
    Ok(unvoided.map(|(owner, lot)| (owner, lot.id.to_string(), lot.remaining)).collect())
}
