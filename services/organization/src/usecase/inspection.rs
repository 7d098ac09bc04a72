//! What the check of all stores reads of organization's: who belongs where, how organizations stand, and what others told of it.

use bursar_db::{DbError, Tx};
use bursar_id::{OrganizationId, OwnerId, ProjectId, UserId};
use bursar_members::Standing;
use bursar_time::Timestamp;

use super::as_told;
use crate::domain::entitlements::Entitlements;
use crate::domain::standing::Standing as Life;
use crate::store::memberships::{self, PlaceRow};
use crate::store::organizations::{self, OrganizationRow};
use crate::store::{projects, seats, standings, users};

/// Where an organization is on its way to be used, or to be gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It was made then, and waits for its creator's plan.
    Pending(Timestamp),
    /// It was deleted; from then on what it has is erased.
    Deleted(Timestamp),
    /// What it has is being erased, which was due then.
    Purging(Timestamp),
    /// Nothing is left of it.
    Purged,
}

impl Way {
    fn of(row: &OrganizationRow) -> Option<Self> {
        match row.life.standing {
            Life::Pending => Some(Self::Pending(row.created_at)),
            Life::Deleted(deletion) => Some(Self::Deleted(deletion.purge_at)),
            Life::Purging(deletion) => Some(Self::Purging(deletion.purge_at)),
            Life::Purged(_) => Some(Self::Purged),
            Life::Active | Life::Suspended => None,
        }
    }
}

/// The memberships after the given one, ended ones too, in the order of organizations and users.
pub async fn places_after(
    tx: &mut Tx,
    after: Option<(OrganizationId, UserId)>,
    limit: i64,
) -> Result<Vec<PlaceRow>, DbError> {
    let (organization, user) =
        after.map(|(organization, user)| (organization.to_string(), user.to_string())).unwrap_or_default();
    memberships::after(tx, &organization, &user, limit).await
}

/// How the organizations after the given one stand, purged ones too, as the others are told, and under which version, in the
/// order of the ids. Of one that is being made nobody is told.
pub async fn standings_after(
    tx: &mut Tx,
    after: Option<OrganizationId>,
    limit: i64,
) -> Result<Vec<(OrganizationId, Standing, u64)>, DbError> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let rows = organizations::told_after(tx, &after, limit).await?;
    let told = |row: OrganizationRow| (row.id, as_told(row.life.standing), row.life.version.unsigned_abs());
    Ok(rows.into_iter().map(told).collect())
}

/// Where those of the organizations after the given one are that are not ready yet or were deleted, purged ones too, in the
/// order of the ids.
pub async fn passing_after(
    tx: &mut Tx,
    after: Option<OrganizationId>,
    limit: i64,
) -> Result<Vec<(OrganizationId, Way)>, DbError> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let rows = organizations::passing_after(tx, &after, limit).await?;
    Ok(rows.iter().filter_map(|row| Some((row.id, Way::of(row)?))).collect())
}

/// Whether an organization must have an owner with an account: what was deleted goes without.
pub async fn is_owned(tx: &mut Tx, id: OrganizationId) -> Result<bool, DbError> {
    Ok(standings::find(tx, id).await?.is_some_and(crate::domain::standing::Standing::is_owned))
}

/// The projects after the given one, whosever they are, in the order of owners and ids.
pub async fn projects_after(
    tx: &mut Tx,
    after: Option<(OwnerId, ProjectId)>,
    limit: i64,
) -> Result<Vec<(OwnerId, ProjectId)>, DbError> {
    let (owner, id) = after.map(|(owner, id)| (owner.to_string(), id.to_string())).unwrap_or_default();
    projects::after(tx, &owner, &id, limit).await
}

/// Of whom it is known that they have deleted the account, after the given one, in the order of the ids.
pub async fn gone_after(tx: &mut Tx, after: Option<UserId>, limit: i64) -> Result<Vec<UserId>, DbError> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    users::gone_after(tx, &after, limit).await
}

/// What is known of an organization's plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownPlan {
    /// Its seats.
    pub seats: u32,
    /// Its name, and the names of what else it allows; `None` unless both are known.
    pub allows: Option<(String, Vec<String>)>,
}

impl KnownPlan {
    fn of(seats: u32, all: Option<&Entitlements>) -> Self {
        let names = |it: &Entitlements| it.features.names().map(str::to_owned).collect();
        Self { seats, allows: all.map(|it| (it.plan.as_str().to_owned(), names(it))) }
    }
}

/// What the plans of the organizations after the given one allow, where their seats are known, in the order of the ids.
pub async fn plans_after(
    tx: &mut Tx,
    after: Option<OrganizationId>,
    limit: i64,
) -> Result<Vec<(OrganizationId, KnownPlan)>, DbError> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let known = seats::known_after(tx, &after, limit).await?.into_iter();
    Ok(known.map(|(id, seats, all)| (id, KnownPlan::of(seats, all.as_ref()))).collect())
}

/// Has any word of billing's hold against what is known of an organization's plan: it is wrong.
pub async fn doubt_seats(tx: &mut Tx, id: OrganizationId) -> Result<(), DbError> {
    seats::doubt(tx, id).await
}
