//! Erasing what was deleted and is too much for one transaction, and a library whose owner is gone.
//!
//! A deletion writes down what goes (`store::erasures`) and enqueues a job, in one commit under the library's lock: from then on
//! nobody reads any of it, and nothing comes under it. The job erases the lowest first, a portion in a transaction, so that what
//! is left always stands under what was deleted, and what was deleted is erased with the last. It may be killed anywhere and
//! begun again: every portion is of what is still there. The quota has room again for each as soon as it is erased.

use bursar_db::Tx;
use bursar_id::{ItemId, OwnerId};
use bursar_jobs::Kind;
use bursar_rpc::Mutation;
use bursar_time::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::Organization;
use crate::Error;
use crate::domain::item::Root;
use crate::store::items::{self, By, ItemKey};
use crate::store::{erasures, libraries};

/// Erasing what was deleted, with everything that belongs to it.
pub const ERASURE: Kind<Erasure> = Kind::new("library.erase");

/// Items that one transaction erases at most.
const PORTION: i64 = 100;

/// Such transactions in one attempt.
const PORTIONS: usize = 40;

/// What to erase.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Erasure {
    /// Whose it was.
    pub owner: OwnerId,
    /// What was deleted.
    pub root: Root,
}

impl Organization {
    /// With this commit something is gone with everything that belongs to it, and a job erases that. Needs the library's lock.
    pub(super) async fn erase_later(&self, m: &mut Mutation, erasure: Erasure) -> Result<(), Error> {
        let now = m.now();
        erasures::insert(m.tx(), erasure.owner, erasure.root).await?;
        let key = erasure.root.to_string();
        Ok(self.0.jobs.enqueue(m.tx(), ERASURE, &erasure, now, Some(&key)).await?)
    }

    /// Erases what was deleted, as far as it comes at `now`; says whether there may be more.
    pub async fn erase_deleted(&self, erasure: Erasure, now: Timestamp) -> Result<bool, Error> {
        for _ in 0..PORTIONS {
            if !self.erase_lowest(erasure, now).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Erases some of what was deleted; `false` when nothing is left of it.
    async fn erase_lowest(&self, Erasure { owner, root }: Erasure, now: Timestamp) -> Result<bool, Error> {
        let mut tx = self.0.db.begin().await?;
        let taken = libraries::lock(&mut tx, owner).await?;
        // With what it stood under, or with its owner's library, it may be gone already.
        if !erasures::is_there(&mut tx, owner, root).await? {
            return Ok(false);
        }
        let gone: Vec<_> = lowest(&mut tx, owner, root).await?.iter().map(|key| (key.id, key.bytes)).collect();
        if gone.is_empty() {
            erasures::forget(&mut tx, owner, root).await?;
        } else {
            self.remove_items(&mut tx, owner, taken, &gone, now).await?;
        }
        tx.commit().await?;
        Ok(!gone.is_empty())
    }

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

/// Some of what belongs to something, so low that nothing stands under any of it; nothing when nothing is left.
async fn lowest(tx: &mut Tx, owner: OwnerId, root: Root) -> Result<Vec<ItemKey>, Error> {
    let mut level: Vec<ItemKey> = match root {
        Root::Item(id) => items::key(tx, owner, id).await?.into_iter().collect(),
        Root::Project(id) => items::keys(tx, owner, &By::Project(id), None, PORTION).await?,
    };
    // As often as kinds stand under one another.
    loop {
        let ids: Vec<ItemId> = level.iter().map(|key| key.id).collect();
        let under = items::all_children(tx, owner, &ids, PORTION).await?;
        if under.is_empty() {
            return Ok(level);
        }
        level = under;
    }
}
