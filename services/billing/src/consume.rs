//! What other services' events do here. Organization's: memberships, policies and projects are remembered, an organization's
//! account opens with it, and stands as it does; who becomes an organization's owner finds its top-up switched off, and who
//! was it pays for it no longer than until what is paid for ends.
//! Identity's: whoever deleted the account spends and pays nothing any more, nor does the account of who is suspended.

use bursar_db::{DbError, Tx};
use bursar_events::{Consumer, Unapplied};
use bursar_id::{OrganizationId, OwnerId, ProjectId, Role, UserId};
use bursar_jobs::Jobs;
use bursar_members::projection::Learned;
use bursar_members::{Members, projection, words};
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{Event, OrganizationCreated, ProjectsChanged};
use bursar_proto::event_type;
use bursar_rpc::convert;
use bursar_time::Clock;

use crate::store::accounts;
use crate::store::projects::{self, Fate};
use crate::usecase::ownership::{self, Turn};
use crate::usecase::{farewells, standings, subjects};

/// The types of organization's events that mean something to billing alone.
const OWN: [&str; 2] = [event_type::ORGANIZATION_CREATED, event_type::PROJECTS_CHANGED];

/// Applies organization's events to billing's store.
pub(crate) struct FromOrganization {
    pub(crate) clock: Clock,
    pub(crate) jobs: Jobs,
    /// Told of each event that was applied.
    pub(crate) members: Members,
}

impl Consumer for FromOrganization {
    const NAME: &'static str = "billing's memberships, policies, accounts and projects";
    const WHOLE: &'static [&'static str] = &projection::WHOLE;

    fn types() -> &'static [&'static str] {
        const TYPES: [&str; 6] = {
            let [memberships, policies, standings, deployment] = projection::TYPES;
            let [created, projects] = OWN;
            [created, memberships, policies, standings, deployment, projects]
        };
        &TYPES
    }

    async fn apply(&self, tx: &mut Tx, event: &Event) -> Result<(), Unapplied> {
        match &event.payload {
            Some(Payload::OrganizationCreated(created)) => self.open(tx, created).await,
            Some(Payload::ProjectsChanged(changed)) => learn_projects(tx, event, changed).await,
            None if OWN.contains(&event.r#type.as_str()) => Err(Unapplied::unreadable("it has no payload")),
            _ => self.learn(tx, event).await,
        }
    }

    async fn forget_before(&self, tx: &mut Tx, incarnation: u64) -> Result<(), DbError> {
        projection::forget_before(tx, incarnation).await?;
        projects::forget_before(tx, incarnation).await?;
        ownership::settle(tx, self.clock.now()).await?;
        standings::follow_all(tx, &self.jobs, self.clock.now()).await?;
        // Anybody's membership may have ended with it.
        accounts::raise_all_terms(tx).await
    }

    fn applied(&self) {
        self.members.announce();
        self.jobs.wake();
    }
}

impl FromOrganization {
    async fn open(&self, tx: &mut Tx, created: &OrganizationCreated) -> Result<(), Unapplied> {
        let organization: OrganizationId = created.organization_id.parse().map_err(Unapplied::unreadable)?;
        Ok(accounts::open(tx, &[OwnerId::Organization(organization)], self.clock.now()).await?)
    }

    /// Remembers who belongs and what holds. What lanes remember of the account counts no longer.
    async fn learn(&self, tx: &mut Tx, event: &Event) -> Result<(), Unapplied> {
        let about = named(event);
        let was = match about {
            Some(name) => role_of(tx, name).await?,
            None => None,
        };
        if let Learned::Standing { owner, .. } = projection::learn(tx, event).await? {
            return Ok(standings::follow(tx, &self.jobs, owner, self.clock.now()).await?);
        }
        if let Ok(owner) = event.owner.parse() {
            accounts::raise_terms(tx, owner).await?;
        }
        if let Some(name) = about {
            let (is, now) = (role_of(tx, name).await?, self.clock.now());
            // It may be heard of long after it was so; but nothing is so before its time.
            let said = convert::optional_timestamp(event.occurred_at).ok().flatten();
            let since = said.map_or(now, |at| at.min(now));
            ownership::follow(tx, name, Turn { was, is }, (since, now)).await?;
        }
        Ok(())
    }
}

/// Remembers that there are projects, or that they are gone.
async fn learn_projects(tx: &mut Tx, event: &Event, changed: &ProjectsChanged) -> Result<(), Unapplied> {
    let owner: OwnerId = changed.owner.parse().map_err(Unapplied::unreadable)?;
    let ids: Result<Vec<ProjectId>, _> = changed.project_ids.iter().map(|id| id.parse()).collect();
    let ids = ids.map_err(Unapplied::unreadable)?;
    let fate = if changed.deleted { Fate::Deleted } else { Fate::Made };
    Ok(subjects::learn(tx, (owner, ids.as_slice()), fate, event.incarnation).await?)
}

/// Whose membership an event is about.
fn named(event: &Event) -> Option<(OwnerId, UserId)> {
    let Some(Payload::MembershipChanged(changed)) = &event.payload else { return None };
    let organization = changed.organization_id.parse().ok()?;
    Some((OwnerId::Organization(organization), changed.user_id.parse().ok()?))
}

async fn role_of(tx: &mut Tx, name: (OwnerId, UserId)) -> Result<Option<Role>, DbError> {
    Ok(words::named(tx, &[name]).await?.get(&name).and_then(|word| word.role))
}

/// Applies identity's events to billing's store.
pub(crate) struct FromIdentity {
    pub(crate) clock: Clock,
    pub(crate) jobs: Jobs,
    /// Told of each event that was applied.
    pub(crate) members: Members,
}

impl Consumer for FromIdentity {
    const NAME: &'static str = "billing's farewells and suspensions";
    const WHOLE: &'static [&'static str] = &[event_type::USER_STANDING_CHANGED];

    fn types() -> &'static [&'static str] {
        &[event_type::USER_DELETED, event_type::USER_STANDING_CHANGED]
    }

    async fn apply(&self, tx: &mut Tx, event: &Event) -> Result<(), Unapplied> {
        match &event.payload {
            Some(Payload::UserDeleted(deleted)) => {
                let user: UserId = deleted.user_id.parse().map_err(Unapplied::unreadable)?;
                Ok(farewells::depart(tx, &self.jobs, user, (event.incarnation, self.clock.now())).await?)
            }
            _ => match projection::learn_person(tx, event).await? {
                Learned::Standing { owner, .. } => {
                    Ok(standings::follow(tx, &self.jobs, owner, self.clock.now()).await?)
                }
                _ => Err(Unapplied::unreadable("it has no payload known here")),
            },
        }
    }

    /// Whoever was gone stays gone: a restored identity may know the account again, and its ids are never given twice. Who
    /// is suspended it knows.
    async fn forget_before(&self, tx: &mut Tx, incarnation: u64) -> Result<(), DbError> {
        projection::forget_people_before(tx, incarnation).await?;
        standings::follow_all(tx, &self.jobs, self.clock.now()).await
    }

    fn applied(&self) {
        self.members.announce();
        self.jobs.wake();
    }
}
