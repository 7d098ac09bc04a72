//! What the check of all stores reads of organization's: who belongs where, how organizations stand, and what others told of it.

use std::collections::BTreeSet;

use bursar_db::{DbError, Tx};
use bursar_id::{OrganizationId, UserId};
use bursar_members::Standing;

use super::as_told;
use crate::store::memberships::{self, PlaceRow};
use crate::store::organizations::{self, OrganizationRow};
use crate::store::{seats, standings, users};

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

/// How the organizations after the given one stand, as the others are told, and under which version, in the order of the ids.
pub async fn standings_after(
    tx: &mut Tx,
    after: Option<OrganizationId>,
    limit: i64,
) -> Result<Vec<(OrganizationId, Standing, u64)>, DbError> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    let rows = organizations::after(tx, &after, limit).await?;
    let told = |row: OrganizationRow| (row.id, as_told(row.life.standing), row.life.version.unsigned_abs());
    Ok(rows.into_iter().map(told).collect())
}

/// Whether an organization must have an owner with an account: what was deleted goes without.
pub async fn is_owned(tx: &mut Tx, id: OrganizationId) -> Result<bool, DbError> {
    Ok(standings::find(tx, id).await?.is_some_and(crate::domain::standing::Standing::is_owned))
}

/// Those of some users of whom it is known that they have deleted the account.
pub async fn gone(tx: &mut Tx, ids: &[UserId]) -> Result<BTreeSet<UserId>, DbError> {
    let mut gone = BTreeSet::new();
    for id in ids {
        if users::person(tx, *id).await?.deleted_at.is_some() {
            gone.insert(*id);
        }
    }
    Ok(gone)
}

/// How many seats an organization's plan has, as far as that is known.
pub async fn seats(tx: &mut Tx, id: OrganizationId) -> Result<Option<u32>, DbError> {
    Ok(seats::known(tx, id).await?.seats)
}

/// Has any word of billing's hold against what is known of an organization's seats: it is wrong.
pub async fn doubt_seats(tx: &mut Tx, id: OrganizationId) -> Result<(), DbError> {
    seats::doubt(tx, id).await
}
