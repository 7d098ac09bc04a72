//! Whether a member has made all that stands under something, where that is more than is looked through with the library
//! locked. It is looked through before, in portions that keep nobody waiting; with the library locked, only what has come since.
//!
//! What stands under what never changes, and nobody else becomes its maker: so whatever was not there when its place was looked
//! at has come since, and its id says so.

use std::collections::BTreeSet;

use bursar_db::{Db, Tx};
use bursar_id::{ItemId, OwnerId, UserId};
use bursar_time::{CLOCKS_APART, Span, Timestamp};

use crate::Error;
use crate::store::erasures;
use crate::store::items::{self, By, ItemKey};

/// Items that are looked at at once, each time in a transaction of its own.
const PORTION: u32 = 1_000;

/// Under how many items at once.
const PARENTS: usize = 100;

/// What somebody wants to be rid of, with everything under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tree {
    /// Whose it is.
    pub(super) owner: OwnerId,
    /// What stands above all of it.
    pub(super) root: ItemId,
    /// Who wants it, and may if nobody else has made any of it.
    pub(super) maker: UserId,
}

/// What is known of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Makers {
    tree: Tree,
    /// Whether somebody else has made some of it.
    others: bool,
    /// What has an id from here on may have come since.
    since: ItemId,
}

/// Where to look next: under these, or under this one before one of its children.
#[derive(Debug)]
enum Below {
    Of(Vec<ItemId>),
    Rest(ItemId, Option<ItemId>),
}

/// Looks through a tree at `now`, until there is somebody else's. No call takes longer than `longest`.
pub(super) async fn look_through(db: &Db, tree: Tree, now: Timestamp, longest: Span) -> Result<Makers, Error> {
    // What is made at this moment may have its id from another clock, and from when its call began.
    let began = now.saturating_sub(longest).saturating_sub(CLOCKS_APART);
    let since = ItemId::from_parts(began.as_millis(), [0; 10]);
    let mut places = vec![Below::Of(vec![tree.root])];
    let mut others = false;
    while let Some(place) = places.pop() {
        let found = look_at(&mut db.read().await?, tree.owner, place, &mut places).await?;
        others = found.iter().any(|key| key.created_by != tree.maker);
        if others {
            break;
        }
        let ids: Vec<ItemId> = found.iter().map(|key| key.id).collect();
        places.extend(ids.chunks(PARENTS).map(|ids| Below::Of(ids.to_vec())));
    }
    Ok(Makers { tree, others, since })
}

/// What stands at a place, as far as a portion goes; where else it stands is added to the places. The lowest are looked at first,
/// so that there are never many places.
async fn look_at(tx: &mut Tx, owner: OwnerId, place: Below, places: &mut Vec<Below>) -> Result<Vec<ItemKey>, Error> {
    match place {
        Below::Of(parents) => {
            let found = items::children(tx, owner, &parents, i64::from(PORTION) + 1).await?;
            if found.len() <= PORTION as usize {
                return Ok(found);
            }
            places.extend(parents.into_iter().map(|parent| Below::Rest(parent, None)));
            Ok(Vec::new())
        }
        Below::Rest(parent, before) => {
            let found = items::keys(tx, owner, &By::Parent(parent), before, i64::from(PORTION)).await?;
            if found.len() == PORTION as usize {
                places.extend(found.last().map(|last| Below::Rest(parent, Some(last.id))));
            }
            kept(tx, owner, found).await
        }
    }
}

/// Those of these that are not being erased.
async fn kept(tx: &mut Tx, owner: OwnerId, found: Vec<ItemKey>) -> Result<Vec<ItemKey>, Error> {
    if found.is_empty() || !erasures::any(tx, owner).await? {
        return Ok(found);
    }
    let ids: Vec<ItemId> = found.iter().map(|key| key.id).collect();
    let gone: BTreeSet<ItemId> = erasures::among(tx, owner, &ids).await?.into_iter().collect();
    Ok(found.into_iter().filter(|key| !gone.contains(&key.id)).collect())
}

impl Makers {
    /// Whether this is known of that tree.
    pub(super) fn are_of(&self, tree: Tree) -> bool {
        self.tree == tree
    }

    /// Whether somebody else than who wants it has made some of it by now. Needs the library's lock.
    pub(super) async fn have_others(&self, tx: &mut Tx) -> Result<bool, Error> {
        if self.others {
            return Ok(true);
        }
        let Tree { owner, root, maker } = self.tree;
        let mut before = None;
        loop {
            let keys = items::keys(tx, owner, &By::Owner, before, i64::from(PORTION)).await?;
            before = keys.last().map(|last| last.id);
            let came = keys.into_iter().filter(|key| key.id >= self.since && key.created_by != maker);
            if is_any_under(tx, owner, root, came.map(|key| key.id).collect()).await? {
                return Ok(true);
            }
            if before.is_none_or(|last| last < self.since) {
                return Ok(false);
            }
        }
    }
}

/// Whether any of these stands under `root` and is not being erased.
async fn is_any_under(tx: &mut Tx, owner: OwnerId, root: ItemId, ids: Vec<ItemId>) -> Result<bool, Error> {
    let (mut level, mut seen) = (ids, BTreeSet::new());
    while !level.is_empty() {
        let keys = items::keys_of(tx, owner, &level).await?;
        let above: BTreeSet<ItemId> = keys.into_iter().filter_map(|key| key.parent).collect();
        if above.contains(&root) {
            return Ok(true);
        }
        level = above.into_iter().filter(|id| seen.insert(*id)).collect();
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
