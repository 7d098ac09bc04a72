//! What the check of all stores reads of billing's: which plans hold, how accounts stand, and what is left of people who are
//! gone and of organizations that were deleted. It changes nothing.

use bursar_db::{DbError, Tx};
use bursar_id::{OwnerId, ProjectId};
use bursar_members::Standing;
use bursar_money::Credits;
use bursar_time::Timestamp;

use super::catalogs;
use crate::domain::{Catalog, Features, Subscription};
use crate::error::Error;
use crate::store::{self, accounts, holds, lots, projects, subscriptions};

/// Holds that are looked at of one page of owners.
const HOLDS: usize = 1_000;
/// Catalogs whose plans are looked at, where nothing is kept: whoever was told of an earlier one's was told of another one since.
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
    /// What it includes, by its contract or as it was sold; `None` where an earlier program has not kept that, and the catalog says
    /// it.
    includes: Option<Features>,
}

impl From<Subscription> for LivePlan {
    fn from(live: Subscription) -> Self {
        let plan = live.plan.as_str().to_owned();
        let includes = live.kept_features();
        Self { owner: live.owner, plan, seats: live.seats, includes }
    }
}

/// What an owner's plan allows, as the others are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The plan.
    pub plan: String,
    /// How many seats it has.
    pub seats: u32,
    /// What else it allows, by name, in the order of the letters.
    pub features: Vec<String>,
}

impl Allowed {
    fn of(plan: &str, seats: u32, features: Features) -> Self {
        let mut features: Vec<String> = features.list().map(|feature| feature.as_str().to_owned()).collect();
        features.sort_unstable();
        Self { plan: plan.to_owned(), seats, features }
    }
}

/// What plans allow by the catalogs that were used last, the last one first.
#[derive(Clone, Debug, Default)]
pub struct Sold(Vec<Vec<Allowed>>);

impl Sold {
    /// What the free plan allows, and has allowed.
    pub fn free(&self) -> Vec<Allowed> {
        self.of(Catalog::FREE).cloned().collect()
    }

    /// What a plan that holds allows, as it was sold; where an earlier program has not kept that, whatever the catalogs have said.
    pub fn by(&self, live: &LivePlan) -> Vec<Allowed> {
        let said = self.of(&live.plan).map(|it| Allowed { seats: live.seats, ..it.clone() });
        let said: Vec<_> = if live.includes.is_none() { said.collect() } else { Vec::new() };
        if said.is_empty() {
            // Of a plan that no catalog has any more, nobody knows what it includes.
            return vec![Allowed::of(&live.plan, live.seats, live.includes.unwrap_or_default())];
        }
        said
    }

    fn of(&self, plan: &str) -> impl Iterator<Item = &Allowed> {
        self.0.iter().filter_map(move |plans| plans.iter().find(|it| it.plan == plan))
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

/// What was sold by the catalogs that were used last.
pub async fn sold(tx: &mut Tx) -> Result<Sold, DbError> {
    let mut sold = Vec::new();
    for row in store::catalogs::latest(tx, CATALOGS).await? {
        let kept = catalogs::read(&row).map_err(|error| match error {
            Error::Store(error) => error,
            error => DbError::corrupt(error.to_string()),
        })?;
        let plans = kept.catalog.plans().iter();
        sold.push(plans.map(|plan| Allowed::of(plan.id.as_str(), plan.seats, Features::of(plan))).collect());
    }
    Ok(Sold(sold))
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
    projects::forget(tx, owner, &[id]).await
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
