//! Seeing off people whose accounts were deleted: their memberships end, one organization at a time.
//!
//! That is done beside the consumer of identity's events, not in it: the consumer writes down who is gone,
//! in the transaction that moves its cursor, and this finishes it in transactions of its own, which lock
//! one organization each. It can be interrupted at any point and run on any number of replicas.

use bursar_id::{OrganizationId, Role, UserId};

use super::{Organization, events};
use crate::Error;
use crate::store::memberships::{self, Ending};
use crate::store::{organizations, users};

/// People that are looked up at once.
const BATCH: i64 = 100;

impl Organization {
    /// Ends what memberships the deleted accounts still have; says how many. Pending invitations to their
    /// addresses stay as they are: an address is not an account.
    pub async fn see_off(&self) -> Result<u64, Error> {
        let mut ended = 0;
        loop {
            let mut tx = self.0.db.read().await?;
            let leaving = users::parting(&mut tx, BATCH).await?;
            tx.commit().await?;
            if leaving.is_empty() {
                return Ok(ended);
            }
            for user in leaving {
                ended += self.see_off_one(user).await?;
            }
        }
    }

    async fn see_off_one(&self, user: UserId) -> Result<u64, Error> {
        let mut tx = self.0.db.read().await?;
        let memberships = memberships::of_user(&mut tx, user).await?;
        tx.commit().await?;
        let mut ended = 0;
        for (organization, _) in memberships {
            ended += u64::from(self.end_deleted(organization, user).await?);
        }
        let mut tx = self.0.db.begin().await?;
        memberships::forget_addresses(&mut tx, user).await?;
        users::parted(&mut tx, user).await?;
        tx.commit().await?;
        Ok(ended)
    }

    /// Ends one membership, unless it is the owner's: identity deletes nobody who owns an organization, so
    /// only a transfer at that very moment can lead here, and no rule says who should follow.
    async fn end_deleted(&self, organization: OrganizationId, user: UserId) -> Result<bool, Error> {
        let mut tx = self.0.db.begin().await?;
        organizations::by_id_locked(&mut tx, organization).await?;
        let place = memberships::place(&mut tx, organization, user).await?;
        if place.role == Some(Role::Owner) {
            tracing::error!(%organization, "the owner of an organization has deleted the account");
            return Ok(false);
        }
        let now = self.now();
        let version = memberships::end(&mut tx, organization, user, Ending::Deleted, now).await?;
        let events = version.map(|version| events::ended(organization, user, version));
        self.0.outbox.commit(tx, events.into_iter().collect()).await?;
        Ok(version.is_some())
    }
}
