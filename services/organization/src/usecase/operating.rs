//! What operators do about organizations: finding, suspending, and opening them again.

use bursar_id::{OrganizationId, OwnerId, UserId};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::page::{Page, PageRequest};
use bursar_rpc::{Answer, Asked, Done, Mutation};

use super::deleting::moved;
use super::{Organization, events};
use crate::Error;
use crate::domain::Refusal;
use crate::domain::description::Description;
use crate::domain::slug::Slug;
use crate::store::organizations::{self, FoundOrganization, OrganizationRow, Wanted};
use crate::store::{slugs, standings};

/// By what an operator looks for organizations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Query {
    /// The one with this id, purged or not.
    Id(OrganizationId),
    /// The one that has or had this slug; `None` is a text that is nobody's slug.
    Slug(Option<Slug>),
    /// Those whose names begin so, however their ASCII letters are written; empty: all that are not purged.
    Name(String),
    /// Those that somebody owns.
    Owner(UserId),
}

/// Which organizations to list for an operator.
pub struct OrganizationsWanted {
    /// By what.
    pub query: Query,
    /// Which page.
    pub page: PageRequest<(String, OrganizationId)>,
}

/// Why an organization is suspended; for operators.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspension {
    /// In the operator's words; may be empty.
    pub reason: Description,
}

impl Organization {
    /// Organizations that an operator looks for, by name.
    pub async fn find_organizations(&self, wanted: OrganizationsWanted) -> Result<Page<FoundOrganization>, Error> {
        let OrganizationsWanted { query, page } = wanted;
        let mut tx = self.0.db.read().await?;
        let wanted = match query {
            Query::Id(id) => Some(Wanted::Id(id)),
            Query::Slug(Some(slug)) => slugs::find(&mut tx, &slug).await?.map(Wanted::Id),
            Query::Slug(None) => None,
            Query::Name(name) => Some(Wanted::Name(organizations::key(&name))),
            Query::Owner(user) => Some(Wanted::Owner(user)),
        };
        let rows = match wanted {
            Some(wanted) => organizations::look_for(&mut tx, &wanted, page.after(), page.limit()).await?,
            None => Vec::new(),
        };
        Ok(page.page(rows, place)?)
    }

    /// Closes an organization to its members.
    pub async fn suspend_organization(
        &self,
        id: OrganizationId,
        asked: &Asked<Suspension>,
    ) -> Result<Answer<FoundOrganization>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.suspend(&mut m, id, asked).await;
        self.0.mutations.end(m, done).await
    }

    async fn suspend(
        &self,
        m: &mut Mutation,
        id: OrganizationId,
        asked: &Asked<Suspension>,
    ) -> Result<Done<FoundOrganization, Payload>, Error> {
        admit_operator(m, id);
        let Some(suspension) = m.open(asked).await? else { return Ok(Done::Replay) };
        let row = lock(m, id).await?;
        let from = row.life.standing;
        let to = from.suspend()?;
        let mut events = Vec::new();
        if to != from {
            events.push(events::standing(&moved(m.tx(), id, to).await?));
        }
        standings::set_reason(m.tx(), id, suspension.reason.as_str()).await?;
        answer(m, id, events).await
    }

    /// Opens an organization that was suspended.
    pub async fn unsuspend_organization(
        &self,
        id: OrganizationId,
        asked: &Asked<()>,
    ) -> Result<Answer<FoundOrganization>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.unsuspend(&mut m, id, asked).await;
        self.0.mutations.end(m, done).await
    }

    async fn unsuspend(
        &self,
        m: &mut Mutation,
        id: OrganizationId,
        asked: &Asked<()>,
    ) -> Result<Done<FoundOrganization, Payload>, Error> {
        admit_operator(m, id);
        let Some(()) = m.open(asked).await? else { return Ok(Done::Replay) };
        let row = lock(m, id).await?;
        let from = row.life.standing;
        let to = from.unsuspend()?;
        let mut events = Vec::new();
        if to != from {
            events.push(events::standing(&moved(m.tx(), id, to).await?));
            standings::set_reason(m.tx(), id, "").await?;
        }
        answer(m, id, events).await
    }
}

/// An operator stands in every organization alike; what is done stands in that organization's audit log.
fn admit_operator(m: &mut Mutation, id: OrganizationId) {
    m.admit(OwnerId::Organization(id));
    m.about(&id);
}

async fn lock(m: &mut Mutation, id: OrganizationId) -> Result<OrganizationRow, Error> {
    Ok(organizations::by_id_locked(m.tx(), id).await?.ok_or(Refusal::OrganizationNotFound)?)
}

async fn answer(
    m: &mut Mutation,
    id: OrganizationId,
    events: Vec<Payload>,
) -> Result<Done<FoundOrganization, Payload>, Error> {
    let found = organizations::found(m.tx(), id).await?.ok_or(Refusal::OrganizationNotFound)?;
    Ok(Done::New(found, events))
}

fn place(row: &FoundOrganization) -> (String, OrganizationId) {
    (organizations::key(&row.organization.name), row.organization.id)
}
