//! Erasing a library whose owner is gone.

use bursar_id::{ItemId, OwnerId};
use bursar_time::Timestamp;

use super::super::Organization;
use super::contents::detach;
use crate::Error;
use crate::domain::item;
use crate::store::{items, libraries};

/// Items that one transaction erases at most.
const PORTION: i64 = 100;

impl Organization {
    /// Erases some of the items of an owner who is gone at `now`; `false` when there were none any more.
    pub(in crate::usecase) async fn erase_items(&self, owner: OwnerId, now: Timestamp) -> Result<bool, Error> {
        let mut tx = self.0.db.begin().await?;
        let taken = libraries::lock(&mut tx, owner).await?;
        let leaves = items::leaves(&mut tx, owner, PORTION).await?;
        if leaves.is_empty() {
            return Ok(false);
        }
        let ids: Vec<ItemId> = leaves.iter().map(|key| key.id).collect();
        let freed = leaves.iter().fold(0_i64, |sum, key| sum.saturating_add(key.bytes));
        let freed = freed.saturating_add(detach(&mut tx, owner, &ids, now).await?);
        items::delete(&mut tx, owner, &ids).await?;
        let left = item::within(self.0.config.library.quota, taken, freed.saturating_neg())?;
        libraries::set(&mut tx, owner, left).await?;
        tx.commit().await?;
        Ok(true)
    }
}
