//! Seeing off people whose accounts were deleted: their memberships end, one organization at a time.
//!
//! The consumer of identity's events writes down who is gone and enqueues a job, in the transaction that moves its cursor
//! ([`depart`]); the job finishes it in transactions of its own, which lock one organization each. It can be interrupted at
//! any point and begun again.

use bursar_db::{DbError, Tx};
use bursar_id::{OrganizationId, Role, UserId};
use bursar_jobs::{Jobs, Kind};
use bursar_time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Organization, events};
use crate::Error;
use crate::store::memberships::{self, Ending};
use crate::store::{organizations, users};

/// Seeing off one person.
pub const DEPARTURE: Kind<Departure> = Kind::new("organization.departure");

/// Memberships that one attempt ends at most.
const BATCH: usize = 100;

/// Whom to see off.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Departure {
    /// Whose account was deleted.
    pub user: UserId,
}

/// Remembers that somebody's account was deleted, and has the memberships end.
pub async fn depart(tx: &mut Tx, jobs: &Jobs, user: UserId, now: Timestamp) -> Result<(), DbError> {
    if users::delete(tx, user, now).await? {
        jobs.enqueue(tx, DEPARTURE, &Departure { user }, now, Some(&user.to_string())).await?;
    }
    Ok(())
}

impl Organization {
    /// Ends memberships that a deleted account still has; says whether there may be more. Pending invitations to the
    /// address stay as they are: an address is not an account.
    pub async fn see_off(&self, Departure { user }: Departure) -> Result<bool, Error> {
        let mut tx = self.0.db.read().await?;
        let memberships = memberships::of_user(&mut tx, user).await?;
        tx.commit().await?;
        let (owned, others): (Vec<_>, Vec<_>) = memberships.into_iter().partition(|(_, role)| *role == Role::Owner);
        let mut ended = 0;
        for (organization, _) in others.iter().take(BATCH) {
            ended += usize::from(self.end_deleted(*organization, user).await?);
        }
        tracing::info!(memberships = ended, "ended memberships of a deleted account");
        // Each of those has ended, here or meanwhile, or is the owner's: the next list is shorter, whoever ended them.
        if others.len() > BATCH {
            return Ok(true);
        }
        for (organization, _) in owned {
            ownerless(organization);
        }
        let mut tx = self.0.db.begin().await?;
        memberships::forget_addresses(&mut tx, user).await?;
        tx.commit().await?;
        Ok(false)
    }

    /// Ends one membership, unless it is the owner's: identity deletes nobody who owns an organization, so only what
    /// came between its look and its word (a transfer, a new organization) can lead here, and no rule says who should
    /// follow.
    async fn end_deleted(&self, organization: OrganizationId, user: UserId) -> Result<bool, Error> {
        let mut tx = self.0.db.begin().await?;
        organizations::by_id_locked(&mut tx, organization).await?;
        let place = memberships::place(&mut tx, organization, user).await?;
        if place.role == Some(Role::Owner) {
            ownerless(organization);
            return Ok(false);
        }
        let now = self.now();
        let version = memberships::end(&mut tx, organization, user, Ending::Deleted, now).await?;
        let events = version.map(|version| events::ended(organization, user, version));
        self.0.outbox.commit(tx, events.into_iter().collect()).await?;
        Ok(version.is_some())
    }
}

fn ownerless(organization: OrganizationId) {
    tracing::error!(%organization, "the owner of an organization has deleted the account");
}
