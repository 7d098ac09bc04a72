//! Copying items: into another of the caller's contexts, or within one, alone or with what stands under them.
//!
//! New items with new ids: nothing moves, and nothing secret goes along. Content is not read: the other owner gets an address
//! of its own for the same object, in the same transaction.

use std::collections::{BTreeSet, HashMap};

use bursar_db::Tx;
use bursar_id::{ItemId, OwnerId, ProjectId, UserId};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, Mutation, Problem};
use bursar_time::Timestamp;

use super::super::Organization;
use super::access::enter;
use super::contents::give;
use super::deleting::under;
use super::{Children, Item, ItemCopy, portion};
use crate::Error;
use crate::domain::item::MAX_TOUCHED;
use crate::domain::{Refusal, item};
use crate::store::items::{self, ItemKey, ItemRow};
use crate::store::{contents, libraries};

/// The most bytes of rows that are read at once; one row is.
const AT_ONCE: i64 = 1024 * 1024;

/// Where copies come to stand.
pub(super) struct Target {
    /// Whose they will be.
    pub(super) owner: OwnerId,
    /// Under which item the uppermost of them stand.
    pub(super) parent: Option<ItemId>,
    /// In which project.
    pub(super) project: Option<ProjectId>,
    /// Who makes them.
    pub(super) created_by: UserId,
}

/// What was copied.
#[derive(Default)]
pub(super) struct Copied {
    /// The copy of each item.
    pub(super) ids: HashMap<ItemId, ItemId>,
    /// How many bytes more the target's library takes.
    pub(super) bytes: i64,
}

impl Organization {
    /// Copies an item.
    pub async fn copy_item(&self, to: OwnerId, asked: &Asked<ItemCopy>) -> Result<Answer<Item>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.copy(&mut m, to, asked).await;
        self.0.mutations.end(m, done).await
    }

    async fn copy(&self, m: &mut Mutation, to: OwnerId, asked: &Asked<ItemCopy>) -> Result<Done<Item, Payload>, Error> {
        let visitor = self.visit_for_item(m, asked.caller()).await?;
        self.authorize_entry(m.tx(), asked.caller(), to).await?;
        let Some(copy) = m.open(asked).await? else { return Ok(Done::Replay) };
        self.demand_workspace(m.tx(), to).await?;
        let found = self.item(m.tx(), asked.caller(), copy.item).await?;
        m.about(&found.id);
        m.admit(found.owner);
        let created_by = self.locked_writer(m.tx(), visitor, copy.member).await?;
        enter(m.tx(), visitor, found.owner, created_by).await?;
        enter(m.tx(), visitor, to, created_by).await?;
        let taken = lock_both(m.tx(), found.owner, to).await?;
        let row = items::by_id(m.tx(), found.owner, found.id).await?.ok_or(Refusal::ItemNotFound)?;
        let into = match copy.to_parent {
            Some(parent) => Some(items::by_id(m.tx(), to, parent).await?.ok_or(Refusal::ItemNotFound)?),
            None => None,
        };
        // What stands under one agent, into another agent.
        let merged = into.as_ref().filter(|parent| parent.kind == row.kind).map(|parent| parent.id);
        if merged.is_some() && copy.children == Children::None {
            let what = "must be named, or with_children set: the item itself does not stand under one of its own kind";
            return Err(Problem::invalid_field("child_ids", what).into());
        }
        // The item itself is one of so many, where it is copied, too.
        let most = MAX_TOUCHED - u32::from(merged.is_none());
        let mut keys = chosen(m.tx(), &row, &copy.children, most).await?;
        if merged.is_none() {
            let kind = self.0.kinds.get(&row.kind).ok_or(Refusal::KindUnknown)?;
            self.place(m, to, kind, copy.to_parent, "to_parent").await?;
            keys.insert(0, row.key());
        }
        let project = into.and_then(|parent| parent.project);
        let target = Target { owner: to, parent: copy.to_parent, project, created_by };
        let copied = self.copy_all(m, row.owner, &keys, &target).await?;
        libraries::set(m.tx(), to, item::within(self.0.config.library.quota, taken, copied.bytes)?).await?;
        let answer =
            merged.or_else(|| copied.ids.get(&row.id).copied()).ok_or(Error::Internal("nothing was copied"))?;
        let answer = items::by_id(m.tx(), to, answer).await?.ok_or(Refusal::ItemNotFound)?;
        if to != found.owner {
            // Something was taken from there and came here: whoever looks after either learns of it.
            m.also_in(to, &answer.id);
        }
        Ok(Done::New(self.shown(answer)?, Vec::new()))
    }

    /// Copies items, those above before those under them.
    ///
    /// Their content is given to the copies last, and in the order in which whoever takes content from items goes: objects that
    /// several owners share are locked in one order.
    pub(super) async fn copy_all(
        &self,
        m: &mut Mutation,
        from: OwnerId,
        keys: &[ItemKey],
        target: &Target,
    ) -> Result<Copied, Error> {
        let (mut copied, mut carrying, mut left) = (Copied::default(), Vec::new(), keys);
        while !left.is_empty() {
            let (next, rest) = left.split_at(portion(left, AT_ONCE, |_| true).len());
            left = rest;
            let ids: Vec<ItemId> = next.iter().map(|key| key.id).collect();
            let rows = items::by_ids(m.tx(), from, &ids).await?;
            let mut rows: HashMap<ItemId, ItemRow> = rows.into_iter().map(|row| (row.id, row)).collect();
            for key in next {
                let mut row = rows.remove(&key.id).ok_or(Refusal::ItemNotFound)?;
                let above = key.parent.and_then(|parent| copied.ids.get(&parent).copied());
                let sha256 = row.sha256.take();
                let copy = self.copied(row, &Target { parent: above.or(target.parent), ..*target }, m.now())?;
                items::insert(m.tx(), &copy).await?;
                copied.ids.insert(key.id, copy.id);
                copied.bytes = copied.bytes.saturating_add(copy.bytes);
                carrying.extend(sha256.map(|sha256| (sha256, key.id, copy.id)));
            }
        }
        carrying.sort_unstable();
        for (_, item, copy) in carrying {
            let content = contents::of_item(m.tx(), from, item).await?;
            let content = content.ok_or(Error::Internal("an item's content is not among its owner's"))?;
            copied.bytes = copied.bytes.saturating_add(give(m.tx(), target.owner, copy, &content).await?);
        }
        Ok(copied)
    }

    /// An item as its copy will be, without what is secret.
    fn copied(&self, mut row: ItemRow, target: &Target, now: Timestamp) -> Result<ItemRow, Error> {
        self.strip(&mut row)?;
        Ok(ItemRow {
            id: self.new_id(now),
            owner: target.owner,
            parent: target.parent,
            project: target.project,
            created_by: target.created_by,
            version: 1,
            created_at: now,
            updated_at: now,
            ..row
        })
    }
}

/// Locks two libraries in the order of their owners. Says what the second one takes.
async fn lock_both(tx: &mut Tx, from: OwnerId, to: OwnerId) -> Result<i64, Error> {
    if from.to_string() < to.to_string() {
        libraries::lock(tx, from).await?;
    }
    let taken = libraries::lock(tx, to).await?;
    if from.to_string() > to.to_string() {
        libraries::lock(tx, from).await?;
    }
    Ok(taken)
}

/// Which of the items under one are meant, of which there may be so many; those above before those under them.
pub(super) async fn chosen(tx: &mut Tx, row: &ItemRow, children: &Children, most: u32) -> Result<Vec<ItemKey>, Error> {
    let chosen = match children {
        Children::None => Vec::new(),
        Children::All => under(tx, row.owner, vec![row.id]).await?,
        Children::These(ids) => {
            let ids: BTreeSet<ItemId> = ids.iter().copied().collect();
            let ids: Vec<ItemId> = ids.into_iter().collect();
            let mut chosen = items::keys_of(tx, row.owner, &ids).await?;
            if chosen.len() != ids.len() || chosen.iter().any(|key| key.parent != Some(row.id)) {
                return Err(Refusal::ItemNotFound.into());
            }
            chosen.extend(under(tx, row.owner, ids).await?);
            chosen
        }
    };
    if chosen.len() > most as usize {
        return Err(Refusal::TooManyItems { limit: MAX_TOUCHED }.into());
    }
    Ok(chosen)
}
