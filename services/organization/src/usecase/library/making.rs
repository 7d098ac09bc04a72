//! Making an item.

use bursar_id::{ItemId, OwnerId};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, Mutation, Problem};

use super::super::Organization;
use super::{Item, NewItem};
use crate::Error;
use crate::domain::kind::Kind;
use crate::domain::{Refusal, item};
use crate::store::items::{self, ItemRow};
use crate::store::libraries;

impl Organization {
    /// Makes an item.
    pub async fn create_item(&self, owner: OwnerId, asked: &Asked<NewItem>) -> Result<Answer<Item>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.make_item(&mut m, owner, asked).await;
        self.0.mutations.end(m, done).await
    }

    async fn make_item(
        &self,
        m: &mut Mutation,
        owner: OwnerId,
        asked: &Asked<NewItem>,
    ) -> Result<Done<Item, Payload>, Error> {
        let visitor = self.visit(m, asked.caller(), owner).await?;
        let Some(new) = m.open(asked).await? else { return Ok(Done::Replay) };
        self.demand_workspace(m.tx(), owner).await?;
        let created_by = self.writer(m.tx(), visitor, owner, new.member).await?;
        let kind = self.0.kinds.get(&new.kind);
        let kind = kind.ok_or_else(|| Problem::invalid_field("kind", "is no kind that there is; see ListKinds"))?;
        let taken = libraries::lock(m.tx(), owner).await?;
        let parent = self.place(m, owner, kind, new.parent, "parent").await?;
        let now = m.now();
        let mut row = ItemRow {
            id: self.new_id(now),
            owner,
            kind: kind.name.clone(),
            name: new.name.as_str().to_owned(),
            document: String::new(),
            parent: new.parent,
            project: parent.and_then(|parent| parent.project),
            secrets: None,
            secrets_set: String::new(),
            bytes: 0,
            created_by,
            version: 1,
            created_at: now,
            updated_at: now,
            sha256: None,
            size: None,
            media_type: None,
        };
        m.about(&row.id);
        self.fill(&mut row, kind, new.document.clone())?;
        libraries::set(m.tx(), owner, item::within(self.0.config.library.quota, taken, row.bytes)?).await?;
        items::insert(m.tx(), &row).await?;
        Ok(Done::New(self.shown(row)?, Vec::new()))
    }

    /// The item under which one of this kind shall stand, if it may; `field` is what the request calls it.
    pub(super) async fn place(
        &self,
        m: &mut Mutation,
        owner: OwnerId,
        kind: &Kind,
        parent: Option<ItemId>,
        field: &str,
    ) -> Result<Option<ItemRow>, Error> {
        let Some(parent) = parent else {
            if kind.may_stand_alone {
                return Ok(None);
            }
            let parents = kind.parents.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
            let what = format!("is required: a {} stands under one of these: {parents}", kind.name);
            return Err(Problem::invalid_field(field, what).into());
        };
        let parent = items::by_id(m.tx(), owner, parent).await?.ok_or(Refusal::ItemNotFound)?;
        item::under(kind, &parent.kind)?;
        Ok(Some(parent))
    }
}
