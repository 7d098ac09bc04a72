//! Erasing a library whose owner is gone.

use bursar_id::OwnerId;
use bursar_time::Timestamp;

use super::super::Organization;
use crate::Error;
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
        let gone: Vec<_> = leaves.iter().map(|key| (key.id, key.bytes)).collect();
        self.remove_items(&mut tx, owner, taken, &gone, now).await?;
        tx.commit().await?;
        Ok(true)
    }
}
