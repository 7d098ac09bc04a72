//! Changing an item's name or document.

use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, Mutation};

use super::super::Organization;
use super::{Item, ItemChange};
use crate::Error;
use crate::domain::{Refusal, etag, item};
use crate::store::{items, libraries};

impl Organization {
    /// Changes an item's name or document. What is the same already is no change.
    pub async fn update_item(&self, asked: &Asked<ItemChange>) -> Result<Answer<Item>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.change_item(&mut m, asked).await;
        self.0.mutations.end(m, done).await
    }

    async fn change_item(&self, m: &mut Mutation, asked: &Asked<ItemChange>) -> Result<Done<Item, Payload>, Error> {
        let visitor = self.visit_for_item(m, asked.caller()).await?;
        let Some(change) = m.open(asked).await? else { return Ok(Done::Replay) };
        let found = self.item(m.tx(), asked.caller(), change.item).await?;
        m.about(&found.id);
        m.admit(found.owner);
        self.demand_workspace(m.tx(), found.owner).await?;
        self.writer(m.tx(), visitor, found.owner, change.member).await?;
        let kind = self.0.kinds.get(&found.kind).ok_or(Refusal::KindUnknown)?;
        let taken = libraries::lock(m.tx(), found.owner).await?;
        let row = items::by_id(m.tx(), found.owner, found.id).await?.ok_or(Refusal::ItemNotFound)?;
        etag::demand(&change.etag, row.version)?;
        let mut changed = row.clone();
        if let Some(name) = &change.name {
            name.as_str().clone_into(&mut changed.name);
        }
        if let Some(document) = &change.document {
            self.fill(&mut changed, kind, document.clone())?;
        }
        if changed != row {
            changed.version = row.version.saturating_add(1);
            changed.updated_at = m.now();
            let more = changed.bytes.saturating_sub(row.bytes);
            libraries::set(m.tx(), row.owner, item::within(self.0.config.library.quota, taken, more)?).await?;
            items::update(m.tx(), &changed).await?;
        }
        Ok(Done::New(self.shown(changed)?, Vec::new()))
    }
}
