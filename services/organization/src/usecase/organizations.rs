//! Organizations: creating, finding, listing, renaming.

use std::slice;

use bursar_db::Tx;
use bursar_id::{OrganizationId, OwnerId, Role};
use bursar_members::{Policy, policies};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::page::{Page, PageRequest};
use bursar_rpc::{Answer, Asked, Caller, Done, Mutation, Permission, Problem, UserCaller};
use bursar_time::Timestamp;

use super::access::{acting, demand_verified, is_personal};
use super::rationing::{Ration, creations, rationed};
use super::{Organization, events};
use crate::Error;
use crate::domain::entitlements::Entitlements;
use crate::domain::name::Name;
use crate::domain::slug::{Slug, SlugError};
use crate::domain::standing::Standing;
use crate::domain::{Refusal, etag, former_slugs};
use crate::store::memberships::{self, Joining};
use crate::store::nominations::{self, Nominee};
use crate::store::organizations::{self, Listed, OrganizationOfUser, OrganizationRow};
use crate::store::seats::{self, Seating};
use crate::store::standings::Life;
use crate::store::{slugs, users};

/// How many attempts at making an organization there may be for each that may be made in a day.
const ATTEMPTS: u32 = 10;

/// How often a slug is made up before that is called a fault; each time it has more random characters.
const SLUG_ATTEMPTS: u32 = 5;

/// An organization to create.
pub struct NewOrganization {
    /// Its name.
    pub name: Name,
    /// The slug that was asked for; `None` makes one from the name.
    pub slug: Option<Slug>,
}

/// An organization that somebody has just created. What is kept of it is its creator's and outlives it, so it does not say
/// what it was called.
pub struct Created(pub OrganizationOfUser);

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
    /// Creates an organization whose owner is the caller. Where that takes a paid plan it is pending at first
    /// ([`Organization::founded`]).
    pub async fn create_organization(&self, asked: &Asked<NewOrganization>) -> Result<Answer<Created>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.create(&mut m, asked).await;
        self.0.mutations.end(m, done).await
    }

    async fn create(&self, m: &mut Mutation, asked: &Asked<NewOrganization>) -> Result<Done<Created, Payload>, Error> {
        let caller = asked.user()?;
        self.demand_staying(m.tx(), caller).await?;
        demand_verified(caller)?;
        let Some(new) = m.open(asked).await? else { return Ok(Done::Replay) };
        // Only now, as one that was created before the word was reserved is told again.
        if new.slug.as_ref().is_some_and(Slug::is_reserved) {
            return Err(reserved());
        }
        users::lock(m.tx(), caller.user).await?.standing().demand_staying()?;
        let now = m.now();
        let most = self.0.config.created_per_day;
        // What comes to nothing is given back to the first count, and not to the second: each attempt is work.
        let counts = [
            (creations(caller.user), most),
            (format!("creations-tried:{}", caller.user), most.saturating_mul(ATTEMPTS)),
        ];
        if let Ration::Over(retry_after) = rationed(m.tx(), &counts, now).await? {
            return Err(Refusal::TooManyOrganizations { retry_after }.into());
        }
        let id = self.new_id(now);
        let slug = self.take_slug(m.tx(), id, new, now).await?;
        let standing = self.beginning();
        let organization = OrganizationRow {
            id,
            name: new.name.as_str().to_owned(),
            slug: slug.as_str().to_owned(),
            owner_user_id: caller.user,
            version: 1,
            created_at: now,
            updated_at: now,
            life: Life { standing, version: 0 },
        };
        organizations::insert(m.tx(), &organization).await?;
        let owner = Joining {
            organization: id,
            user: caller.user,
            role: Role::Owner,
            email: &caller.email,
            email_key: &bursar_email::fold(&caller.email),
        };
        let version = memberships::join(m.tx(), &owner, now).await?;
        let version = version.ok_or(Error::Internal("a new organization has members already"))?;
        m.admit(OwnerId::Organization(id));
        m.about(&id);
        let events = if standing == Standing::Pending {
            let begun = m.leave_to_be_finished()?;
            self.await_plan(m.tx(), id, (caller, begun), now).await?;
            Vec::new()
        } else {
            vec![events::created(&organization, caller), events::member(id, caller.user, Role::Owner, version)]
        };
        let (seating, nominee) = (Seating::UNKNOWN, Nominee::NOBODY);
        let created = Created(OrganizationOfUser { organization, role: Some(Role::Owner), seating, nominee });
        Ok(Done::New(created, events))
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

    /// An organization of the caller's, or for a service any, and whether it was named by a former slug.
    pub async fn get_organization(
        &self,
        caller: &Caller,
        key: &OrganizationKey,
    ) -> Result<(OrganizationOfUser, bool), Error> {
        let mut tx = self.0.db.read().await?;
        let id = match key {
            OrganizationKey::Id(id) => Some(*id),
            OrganizationKey::Slug(Some(slug)) => slugs::find(&mut tx, slug).await?,
            OrganizationKey::Slug(None) => None,
        };
        let user = acting(caller)?;
        let nothing = if user.is_some() { Refusal::NotAMember } else { Refusal::OrganizationNotFound };
        let id = id.ok_or(nothing)?;
        let role = match user {
            Some(user) => Some(self.authorize_look(&mut tx, user, id).await?),
            None => self.look_at(&mut tx, caller, id).await?,
        };
        let organization = organizations::by_id(&mut tx, id).await?.ok_or(nothing)?;
        let moved = match key {
            OrganizationKey::Slug(Some(slug)) => organization.slug != slug.as_str(),
            OrganizationKey::Id(_) | OrganizationKey::Slug(None) => false,
        };
        Ok((seen(&mut tx, organization, role.zip(user), self.now()).await?, moved))
    }

    /// What an organization is called, and its slug, as far as a caller may see that now: for who is told again of having created
    /// it.
    pub async fn words_of(&self, caller: &UserCaller, id: OrganizationId) -> Result<Option<(String, String)>, Error> {
        let mut tx = self.0.db.read().await?;
        match self.authorize_look(&mut tx, caller, id).await {
            Ok(_) => {}
            Err(Error::Refused(_)) => return Ok(None),
            Err(error) => return Err(error),
        }
        Ok(organizations::by_id(&mut tx, id).await?.map(|row| (row.name, row.slug)))
    }

    /// What an organization's plan allows, as far as a caller may see that now: for who is told again of a change that came
    /// about before.
    pub async fn entitlements_of(
        &self,
        caller: &UserCaller,
        id: OrganizationId,
    ) -> Result<Option<Entitlements>, Error> {
        let mut tx = self.0.db.read().await?;
        let role = match self.authorize_look(&mut tx, caller, id).await {
            Ok(role) => role,
            Err(Error::Refused(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some(organization) = organizations::by_id(&mut tx, id).await? else { return Ok(None) };
        let seen = seen(&mut tx, organization, Some((role, caller)), self.now()).await?;
        Ok(seen.seating.entitlements())
    }

    /// The caller's organizations by name. A service that asks for somebody sees those that can be used; with the personal
    /// token, an owner sees also what was deleted and can be taken back.
    pub async fn list_organizations(
        &self,
        caller: &Caller,
        page: &PageRequest<(Name, OrganizationId)>,
    ) -> Result<Page<OrganizationOfUser>, Error> {
        let user = caller.user()?;
        let listed = match caller {
            Caller::User(user) if is_personal(user) => Listed::Kept,
            Caller::User(_) => Listed::Known,
            Caller::Service(_) | Caller::Anonymous => Listed::Open,
        };
        let mut tx = self.0.db.read().await?;
        let (after, limit) = (page.after(), page.limit());
        let mut rows = organizations::of_user(&mut tx, user.user, listed, after, limit, self.now()).await?;
        hide_plans(&mut tx, &mut rows, user).await?;
        // A stored name is a name: it was read as one before it was written.
        let key = |row: &OrganizationOfUser| (Name::stored(&row.organization.name), row.organization.id);
        Ok(page.page(rows, key)?)
    }

    /// Gives an organization another name or slug. What is the same already is no change.
    pub async fn update_organization(
        &self,
        id: OrganizationId,
        asked: &Asked<OrganizationChange>,
    ) -> Result<Answer<OrganizationOfUser>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.update(&mut m, id, asked).await;
        self.0.mutations.end(m, done).await
    }

    async fn update(
        &self,
        m: &mut Mutation,
        id: OrganizationId,
        asked: &Asked<OrganizationChange>,
    ) -> Result<Done<OrganizationOfUser, Payload>, Error> {
        let caller = asked.user()?;
        m.about(&id);
        self.admit(m, caller, id).await?;
        let Some(change) = m.open(asked).await? else { return Ok(Done::Replay) };
        let (mut organization, role) = self.enter(m.tx(), caller, id).await?;
        etag::demand(&change.etag, organization.version)?;
        let now = m.now();
        let name = change.name.as_ref().filter(|name| name.as_str() != organization.name);
        let slug = change.slug.as_ref().filter(|slug| slug.as_str() != organization.slug);
        let mut events = Vec::new();
        if name.is_some() || slug.is_some() {
            if let Some(slug) = slug {
                self.move_to(m.tx(), &organization, slug, now).await?;
                slug.as_str().clone_into(&mut organization.slug);
            }
            if let Some(name) = name {
                name.as_str().clone_into(&mut organization.name);
            }
            let (name, slug) = (&organization.name, &organization.slug);
            organizations::update(m.tx(), id, name, slug, now).await?;
            organization.version += 1;
            organization.updated_at = now;
            events.push(events::updated(&organization));
        }
        Ok(Done::New(seen(m.tx(), organization, Some((role, caller)), now).await?, events))
    }

    /// Takes another slug for an organization, which may have had it before, also since before the word was reserved. The
    /// present one becomes a former one; where that is one too many, the oldest is freed.
    async fn move_to(
        &self,
        tx: &mut Tx,
        organization: &OrganizationRow,
        slug: &Slug,
        now: Timestamp,
    ) -> Result<(), Error> {
        let id = organization.id;
        let mut former = slugs::former(tx, id).await?;
        if slug.is_reserved() && former.iter().all(|former| former.slug != slug.as_str()) {
            return Err(reserved());
        }
        if !slugs::take(tx, slug, id, now).await? {
            let had = former.len();
            former.retain(|former| former.slug != slug.as_str());
            if former.len() == had {
                return Err(Refusal::SlugTaken.into());
            }
            slugs::retire(tx, id, slug.as_str(), None).await?;
        }
        let since: Vec<Timestamp> = former.iter().map(|former| former.since).collect();
        let freed = former_slugs::make_room(&since, now)?;
        slugs::retire(tx, id, &organization.slug, Some(now)).await?;
        for former in former.iter().take(freed) {
            slugs::free(tx, id, &former.slug).await?;
        }
        Ok(())
    }
}

/// A slug that nobody may choose.
fn reserved() -> Error {
    Problem::invalid_field("slug", SlugError::Reserved.to_string()).into()
}

/// An organization as somebody with this role sees it, by this token; `None` is a service alone, which sees all of it.
pub(super) async fn seen(
    tx: &mut Tx,
    organization: OrganizationRow,
    caller: Option<(Role, &UserCaller)>,
    now: Timestamp,
) -> Result<OrganizationOfUser, Error> {
    let seating = seats::seating(tx, organization.id, now).await?;
    let nominee = nominations::at(tx, organization.id, now).await?;
    let role = caller.map(|(role, _)| role);
    let mut seen = OrganizationOfUser { organization, role, seating, nominee };
    if let Some((_, caller)) = caller {
        hide_plans(tx, slice::from_mut(&mut seen), caller).await?;
    }
    Ok(seen)
}

/// Leaves out what the plans allow where the caller may not see billing; of all that are shown together at once.
async fn hide_plans(tx: &mut Tx, rows: &mut [OrganizationOfUser], caller: &UserCaller) -> Result<(), Error> {
    let owner = |row: &OrganizationOfUser| OwnerId::Organization(row.organization.id);
    let told: Vec<OwnerId> = rows.iter().filter(|it| it.seating.tells_plan()).map(owner).collect();
    if told.is_empty() {
        return Ok(());
    }
    let policies = policies::of(tx, &told).await?;
    let by_key = caller.key_permits(Permission::ViewBilling);
    for row in rows {
        let Some(role) = row.role else { continue };
        let may = |policy: Policy| policy.admits(caller) && by_key && policy.permits(role, Permission::ViewBilling);
        if !policies.of(owner(row)).is_some_and(may) {
            row.seating.hide_plan();
        }
    }
    Ok(())
}
