//! Copying items: into another of the caller's contexts, or within one, alone or with what stands under them.
//!
//! New items with new ids: nothing moves, and nothing secret goes along. Content is not read: the other owner gets an address
//! of its own for the same object, in the same transaction.

use std::collections::{BTreeSet, HashMap};

use bursar_db::Tx;
use bursar_id::{ItemId, OwnerId, ProjectId, UserId};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Caller, Done, Mutation, Problem};

use super::super::Organization;
use super::super::access::acting;
use super::contents::give;
use super::deleting::under;
use super::{Children, Item, ItemCopy};
use crate::Error;
use crate::domain::item::MAX_TOUCHED;
use crate::domain::{Refusal, item};
use crate::store::items::{self, ItemKey, ItemRow};
use crate::store::{contents, libraries, memberships};

/// Where copies come to stand.
pub(in crate::usecase) struct Target {
    /// Whose they will be.
    pub(in crate::usecase) owner: OwnerId,
    /// Under which item the uppermost of them stand.
    pub(in crate::usecase) parent: Option<ItemId>,
    /// In which project.
    pub(in crate::usecase) project: Option<ProjectId>,
    /// Who makes them.
    pub(in crate::usecase) created_by: UserId,
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
        self.demand_entry(m, asked.caller(), to).await?;
        let Some(copy) = m.open(asked).await? else { return Ok(Done::Replay) };
        self.demand_workspace(m.tx(), to).await?;
        let found = self.item(m.tx(), asked.caller(), copy.item).await?;
        m.about(&found.id);
        m.admit(found.owner);
        let created_by = self.writer(m.tx(), visitor, found.owner, copy.member).await?;
        self.writer(m.tx(), visitor, to, copy.member).await?;
        let taken = self.lock_both(m, found.owner, to).await?;
        let row = items::by_id(m.tx(), found.owner, found.id).await?.ok_or(Refusal::ItemNotFound)?;
        let children = chosen(m.tx(), &row, &copy.children).await?;
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
        if merged.is_none() {
            let kind = self.0.kinds.get(&row.kind).ok_or(Refusal::KindUnknown)?;
            self.place(m, to, kind, copy.to_parent, "to_parent").await?;
        }
        let mut target =
            Target { owner: to, parent: copy.to_parent, project: into.and_then(|parent| parent.project), created_by };
        let mut more = 0_i64;
        let answer = if let Some(parent) = merged {
            parent
        } else {
            let (id, bytes) = self.copy_one(m, row.clone(), &target).await?;
            target.parent = Some(id);
            more = bytes;
            id
        };
        more = more.saturating_add(self.copy_all(m, row.owner, &children, &target).await?);
        libraries::set(m.tx(), to, item::within(self.0.config.library.quota, taken, more)?).await?;
        let copied = items::by_id(m.tx(), to, answer).await?.ok_or(Refusal::ItemNotFound)?;
        Ok(Done::New(self.shown(copied)?, Vec::new()))
    }

    /// Demands that the caller belongs to a context, in whichever one the token acts.
    async fn demand_entry(&self, m: &mut Mutation, caller: &Caller, to: OwnerId) -> Result<(), Error> {
        let Some(user) = acting(caller)? else { return Ok(()) };
        match to {
            OwnerId::User(owner) if owner == user.user => Ok(()),
            OwnerId::User(_) => Err(Refusal::NotAMember.into()),
            OwnerId::Organization(organization) => {
                let role = memberships::place(m.tx(), organization, user.user).await?.open()?;
                let permitted = self.policy(m.tx(), organization).await?.permits(role, user.permission);
                if permitted { Ok(()) } else { Err(Refusal::RoleNotAllowed.into()) }
            }
        }
    }

    /// Locks two libraries in the order of their owners. Says what the second one takes.
    pub(in crate::usecase) async fn lock_both(
        &self,
        m: &mut Mutation,
        from: OwnerId,
        to: OwnerId,
    ) -> Result<i64, Error> {
        if from.to_string() < to.to_string() {
            libraries::lock(m.tx(), from).await?;
        }
        let taken = libraries::lock(m.tx(), to).await?;
        if from.to_string() > to.to_string() {
            libraries::lock(m.tx(), from).await?;
        }
        Ok(taken)
    }

    /// Copies items, those above before those under them. Says how many bytes more the target's library takes.
    pub(in crate::usecase) async fn copy_all(
        &self,
        m: &mut Mutation,
        from: OwnerId,
        keys: &[ItemKey],
        target: &Target,
    ) -> Result<i64, Error> {
        let (mut copies, mut more) = (HashMap::new(), 0_i64);
        for key in keys {
            let row = items::by_id(m.tx(), from, key.id).await?.ok_or(Refusal::ItemNotFound)?;
            let above = key.parent.and_then(|parent| copies.get(&parent).copied());
            let target = Target { parent: above.or(target.parent), ..*target };
            let (id, bytes) = self.copy_one(m, row, &target).await?;
            copies.insert(key.id, id);
            more = more.saturating_add(bytes);
        }
        Ok(more)
    }

    /// Copies one item, without what is secret. Says its id, and how many bytes more the target's library takes.
    async fn copy_one(&self, m: &mut Mutation, mut row: ItemRow, target: &Target) -> Result<(ItemId, i64), Error> {
        let now = m.now();
        let content = contents::of_item(m.tx(), row.owner, row.id).await?;
        self.strip(&mut row)?;
        let copy = ItemRow {
            id: self.new_id(now),
            owner: target.owner,
            parent: target.parent,
            project: target.project,
            created_by: target.created_by,
            version: 1,
            created_at: now,
            updated_at: now,
            ..row
        };
        items::insert(m.tx(), &copy).await?;
        let more = match content {
            Some(content) => give(m.tx(), target.owner, copy.id, &content).await?,
            None => 0,
        };
        Ok((copy.id, copy.bytes.saturating_add(more)))
    }
}

/// Which of the items under one are meant; those above before those under them.
pub(super) async fn chosen(tx: &mut Tx, row: &ItemRow, children: &Children) -> Result<Vec<ItemKey>, Error> {
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
    if chosen.len() >= MAX_TOUCHED as usize {
        return Err(Refusal::TooManyItems { limit: MAX_TOUCHED }.into());
    }
    Ok(chosen)
}
