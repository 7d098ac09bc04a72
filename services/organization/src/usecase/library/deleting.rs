//! Deleting an item, and what stands under it: at once where it is not much; otherwise it is gone at once, and erased by a job
//! (`erasing.rs`). Where somebody may delete only what is the own, that is looked through first (`makers.rs`).

use std::collections::BTreeSet;

use bursar_db::Tx;
use bursar_id::{ItemId, OwnerId};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, Looked, Mutation};
use bursar_time::Timestamp;

use super::super::Organization;
use super::ItemDeletion;
use super::access::Visitor;
use super::contents::detach;
use super::erasing::Erasure;
use super::makers::{Makers, Tree, look_through};
use crate::Error;
use crate::domain::item::{MAX_TOUCHED, Root};
use crate::domain::{Refusal, etag, item};
use crate::store::items::{self, ItemKey};
use crate::store::{erasures, libraries};

/// How a deletion goes on.
#[derive(Debug)]
enum Step {
    /// It is done.
    Done(Done<(), Payload>),
    /// It is to be known first who has made this.
    Asks(Tree),
}

impl Organization {
    /// Deletes an item, with everything under it when that is asked for.
    pub async fn delete_item(&self, asked: &Asked<ItemDeletion>) -> Result<Answer<()>, Error> {
        let mut known = None;
        loop {
            let mut m = self.0.mutations.begin(asked).await?;
            let tree = match self.drop_item(&mut m, asked, known.as_ref()).await {
                Ok(Step::Asks(tree)) => tree,
                Ok(Step::Done(done)) => return self.0.mutations.end(m, Ok::<_, Error>(done)).await,
                Err(error) => return self.0.mutations.end(m, Err(error)).await,
            };
            // Nobody waits for the library meanwhile.
            if let Looked::Before(answer) = self.0.mutations.look(m, Ok::<_, Error>(Some(()))).await? {
                return Ok(answer);
            }
            known = Some(look_through(&self.0.db, tree, self.believed()?, self.0.config.deadline).await?);
        }
    }

    async fn drop_item(
        &self,
        m: &mut Mutation,
        asked: &Asked<ItemDeletion>,
        known: Option<&Makers>,
    ) -> Result<Step, Error> {
        let visitor = self.visit_for_item(m, asked.caller()).await?;
        let Some(wanted) = m.open(asked).await? else { return Ok(Step::Done(Done::Replay)) };
        let found = self.item(m.tx(), asked.caller(), wanted.item).await?;
        m.about(&found.id);
        m.admit(found.owner);
        self.writer(m.tx(), visitor, found.owner, wanted.member).await?;
        let taken = libraries::lock(m.tx(), found.owner).await?;
        let row = items::by_id(m.tx(), found.owner, found.id).await?.ok_or(Refusal::ItemNotFound)?;
        let under = under(m.tx(), row.owner, vec![row.id]).await?;
        let many = under.len() >= MAX_TOUCHED as usize;
        if let Visitor::User(user, role) = visitor {
            let makers = under.iter().map(|key| key.created_by).filter(|_| wanted.with_children);
            item::delete(user, role, makers.chain([row.created_by]))?;
            // Of many the first are known only.
            if many && wanted.with_children && item::only_own(role) {
                let tree = Tree { owner: row.owner, root: row.id, maker: user };
                let Some(known) = known.filter(|known| known.are_of(tree)) else { return Ok(Step::Asks(tree)) };
                if known.have_others(m.tx()).await? {
                    return Err(Refusal::RoleNotAllowed.into());
                }
            }
        }
        etag::demand(&wanted.etag, row.version)?;
        if !under.is_empty() && !wanted.with_children {
            return Err(Refusal::ItemHasChildren.into());
        }
        let all = under.iter().map(|key| (key.id, key.bytes)).chain([(row.id, row.bytes)]).collect::<Vec<_>>();
        let ids: Vec<ItemId> = all.iter().map(|(id, _)| *id).collect();
        // What stands on something that is still to be erased goes after that.
        if many || erasures::is_under(m.tx(), row.owner, &ids).await? {
            self.erase_later(m, Erasure { owner: row.owner, root: Root::Item(row.id) }).await?;
        } else {
            let now = m.now();
            self.remove_items(m.tx(), row.owner, taken, &all, now).await?;
        }
        Ok(Step::Done(Done::New((), Vec::new())))
    }

    /// Removes items of a library that takes so many bytes, each with the bytes of its own; nothing is left under one.
    pub(super) async fn remove_items(
        &self,
        tx: &mut Tx,
        owner: OwnerId,
        taken: i64,
        gone: &[(ItemId, i64)],
        now: Timestamp,
    ) -> Result<(), Error> {
        let freed = gone.iter().fold(0_i64, |sum, (_, bytes)| sum.saturating_add(*bytes));
        let ids: Vec<ItemId> = gone.iter().map(|(id, _)| *id).collect();
        let freed = freed.saturating_add(detach(tx, owner, &ids, now).await?);
        items::delete(tx, owner, &ids).await?;
        erasures::forget_items(tx, owner, &ids).await?;
        let left = item::within(self.0.config.library.quota, taken, freed.saturating_neg())?;
        Ok(libraries::set(tx, owner, left).await?)
    }
}

/// Everything under these items, which are not being erased, over all levels, those that stand right under them first; one more
/// than [`MAX_TOUCHED`] when there are more.
pub(super) async fn under(tx: &mut Tx, owner: OwnerId, of: Vec<ItemId>) -> Result<Vec<ItemKey>, Error> {
    let limit = MAX_TOUCHED as usize + 1;
    let mut seen: BTreeSet<ItemId> = of.iter().copied().collect();
    let (mut found, mut level) = (Vec::new(), of);
    while !level.is_empty() && found.len() < limit {
        let next = items::children(tx, owner, &level, i64::from(MAX_TOUCHED) + 1).await?;
        // Kinds stand under one another without circles; when a deployment's did otherwise before, this ends all the same.
        let next: Vec<ItemKey> = next.into_iter().filter(|key| seen.insert(key.id)).collect();
        level = next.iter().map(|key| key.id).collect();
        found.extend(next);
    }
    found.truncate(limit);
    Ok(found)
}
