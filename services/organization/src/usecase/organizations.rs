//! Organizations: creating, finding, listing, renaming.

use bursar_db::Tx;
use bursar_id::{OrganizationId, Role};
use bursar_rpc::UserCaller;
use bursar_rpc::page::{Page, PageRequest};
use bursar_time::Timestamp;
use prost::Message;

use super::{Asked, Begun, Organization, events};
use crate::Error;
use crate::domain::name::Name;
use crate::domain::slug::Slug;
use crate::domain::{Refusal, etag};
use crate::store::memberships::{self, Joining};
use crate::store::organizations::{self, OrganizationOfUser, OrganizationRow};
use crate::store::{slugs, users};

/// How often a slug is made up before that is called a fault; each time it has more random characters.
const SLUG_ATTEMPTS: u32 = 5;

/// An organization to create.
pub struct NewOrganization {
    /// Its name.
    pub name: Name,
    /// The slug that was asked for; `None` makes one from the name.
    pub slug: Option<Slug>,
}

/// What to change about an organization; `None` stays as it is.
pub struct OrganizationChange {
    /// The new name.
    pub name: Option<Name>,
    /// The new slug.
    pub slug: Option<Slug>,
    /// The state that the change is meant for.
    pub etag: String,
}

/// How an organization is named.
pub enum OrganizationKey {
    /// By its id.
    Id(OrganizationId),
    /// By a slug, present or former. `None` is a text that is nobody's slug.
    Slug(Option<Slug>),
}

impl Organization {
    /// Creates an organization whose owner is the caller.
    pub async fn create_organization<R: Message + Default>(
        &self,
        caller: &UserCaller,
        asked: Asked<NewOrganization>,
        answer: impl FnOnce(OrganizationOfUser) -> R,
    ) -> Result<R, Error> {
        let (mut tx, now) = match self.begin(&asked).await? {
            Begun::Replay(answer) => return Ok(answer),
            Begun::New(tx, now) => (tx, now),
        };
        let asked = asked?;
        if !users::lock_living(&mut tx, caller.user).await? {
            return Err(Refusal::AccountDeleted.into());
        }
        let id = self.new_id(now);
        let slug = self.take_slug(&mut tx, id, &asked.what, now).await?;
        let organization = OrganizationRow {
            id,
            name: asked.what.name.as_str().to_owned(),
            slug: slug.as_str().to_owned(),
            owner_user_id: caller.user,
            version: 1,
            created_at: now,
            updated_at: now,
        };
        organizations::insert(&mut tx, &organization).await?;
        let owner = Joining {
            organization: id,
            user: caller.user,
            role: Role::Owner,
            email: &caller.email,
            email_key: &bursar_email::fold(&caller.email),
        };
        let version = memberships::join(&mut tx, &owner, now).await?;
        let version = version.ok_or(Error::Internal("a new organization has members already"))?;
        let events = vec![
            events::created(&organization, caller.session),
            events::member(id, caller.user, Role::Owner, version, &caller.email),
        ];
        let answer = answer(OrganizationOfUser { organization, role: Role::Owner });
        self.finish(tx, &asked.key, &answer, events).await?;
        Ok(answer)
    }

    /// Takes the slug that was asked for, or makes one up until it is free.
    async fn take_slug(
        &self,
        tx: &mut Tx,
        id: OrganizationId,
        new: &NewOrganization,
        now: Timestamp,
    ) -> Result<Slug, Error> {
        if let Some(slug) = &new.slug {
            if slugs::take(tx, slug, id, now).await? {
                return Ok(slug.clone());
            }
            return Err(Refusal::SlugTaken.into());
        }
        for attempt in 0..SLUG_ATTEMPTS {
            let random = u64::from_be_bytes(self.0.entropy.bytes());
            let slug = Slug::generate(new.name.as_str(), attempt, random);
            if slugs::take(tx, &slug, id, now).await? {
                return Ok(slug);
            }
        }
        Err(Error::Internal("every slug that was made up is taken"))
    }

    /// An organization of the caller's, and whether it was named by a former slug.
    pub async fn get_organization(
        &self,
        caller: &UserCaller,
        key: &OrganizationKey,
    ) -> Result<(OrganizationOfUser, bool), Error> {
        let mut tx = self.0.db.read().await?;
        let id = match key {
            OrganizationKey::Id(id) => Some(*id),
            OrganizationKey::Slug(Some(slug)) => slugs::find(&mut tx, slug).await?,
            OrganizationKey::Slug(None) => None,
        };
        let id = id.ok_or(Refusal::NotAMember)?;
        let role = self.authorize(&mut tx, caller, id).await?;
        let organization = organizations::by_id(&mut tx, id).await?.ok_or(Refusal::NotAMember)?;
        let moved = match key {
            OrganizationKey::Slug(Some(slug)) => organization.slug != slug.as_str(),
            OrganizationKey::Id(_) | OrganizationKey::Slug(None) => false,
        };
        Ok((OrganizationOfUser { organization, role }, moved))
    }

    /// The caller's organizations by name.
    pub async fn list_organizations(
        &self,
        caller: &UserCaller,
        page: &PageRequest<(Name, OrganizationId)>,
    ) -> Result<Page<OrganizationOfUser>, Error> {
        let mut tx = self.0.db.read().await?;
        let rows = organizations::of_user(&mut tx, caller.user, page.after(), page.limit()).await?;
        // A stored name is a name: it was read as one before it was written.
        let key = |row: &OrganizationOfUser| (Name::stored(&row.organization.name), row.organization.id);
        Ok(page.page(rows, key)?)
    }

    /// Gives an organization another name or slug. What is the same already is no change.
    pub async fn update_organization<R: Message + Default>(
        &self,
        caller: &UserCaller,
        id: OrganizationId,
        asked: Asked<OrganizationChange>,
        answer: impl FnOnce(OrganizationOfUser) -> R,
    ) -> Result<R, Error> {
        let (mut tx, now) = match self.begin(&asked).await? {
            Begun::Replay(answer) => return Ok(answer),
            Begun::New(tx, now) => (tx, now),
        };
        let (mut organization, role) = self.enter(&mut tx, caller, id).await?;
        let asked = asked?;
        let change = asked.what;
        etag::demand(&change.etag, organization.version)?;
        let name = change.name.filter(|name| name.as_str() != organization.name);
        let slug = change.slug.filter(|slug| slug.as_str() != organization.slug);
        let mut events = Vec::new();
        if name.is_some() || slug.is_some() {
            if let Some(slug) = slug {
                self.move_to(&mut tx, id, &slug, now).await?;
                slug.as_str().clone_into(&mut organization.slug);
            }
            if let Some(name) = name {
                organization.name = name.into();
            }
            let (name, slug) = (&organization.name, &organization.slug);
            organizations::update(&mut tx, id, name, slug, now).await?;
            organization.version += 1;
            organization.updated_at = now;
            events.push(events::updated(&organization));
        }
        let answer = answer(OrganizationOfUser { organization, role });
        self.finish(tx, &asked.key, &answer, events).await?;
        Ok(answer)
    }

    /// Takes a slug for an organization, which may have had it before.
    async fn move_to(&self, tx: &mut Tx, id: OrganizationId, slug: &Slug, now: Timestamp) -> Result<(), Error> {
        if slugs::take(tx, slug, id, now).await? || slugs::find(tx, slug).await? == Some(id) {
            Ok(())
        } else {
            Err(Refusal::SlugTaken.into())
        }
    }
}
