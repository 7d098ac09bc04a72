//! People who leave Bursar: whether they may, and seeing off those whose accounts were deleted.
//!
//! Identity asks before it deletes an account ([`Organization::confirm_departure`]). Under the lock on the person it is
//! looked whether they own anything, and written down that they leave; whoever makes somebody an owner holds the same lock
//! and refuses who leaves. So between the look and the deletion nobody becomes an owner of anything.
//!
//! The consumer of identity's events writes down who is gone and enqueues a job, in the transaction that moves its cursor
//! ([`depart`]); the job finishes it in transactions of its own, which lock one organization each. It can be interrupted at
//! any point and begun again.

use bursar_db::{DbError, Tx, idempotency};
use bursar_id::{OrganizationId, OwnerId, Role, UserId};
use bursar_jobs::{Jobs, Kind};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, Mutation};
use bursar_time::Timestamp;
use serde::{Deserialize, Serialize};

use super::forgetting::{hurry, keep_to_forget};
use super::purging::forget_answers_of_services;
use super::{Organization, events};
use crate::Error;
use crate::domain::departure::{self as domain, Standing};
use crate::store::memberships::{self, Ending};
use crate::store::{invitations, nominations, organizations, preferences, projects, users};

/// Seeing off one person.
pub const DEPARTURE: Kind<Departure> = Kind::new("organization.departure");

/// Memberships that one attempt ends at most.
const BATCH: usize = 100;

/// Projects that one transaction hands over or erases at most.
const PROJECTS: i64 = 100;

/// Such transactions in one attempt.
const PORTIONS: usize = 20;

/// Organizations in which one attempt takes an address out of invitations at most.
const INVITING: i64 = 100;

/// How many answers are forgotten at once.
const ANSWERS: i64 = 500;

/// Of the organizations that somebody owns this many are named.
const OWNED_NAMED: i64 = 20;

/// Who is about to leave, and by which departure.
#[derive(Clone, Debug)]
pub struct Leaving {
    /// The person.
    pub user: UserId,
    /// The departure.
    pub departure: domain::Departure,
    /// The address that the person has proven; empty: none is known.
    pub email: String,
}

/// What stands against a departure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// How many organizations the person owns; with none, the departure is confirmed.
    pub count: u32,
    /// The first of them.
    pub first: Vec<OrganizationId>,
}

/// Whom to see off.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Departure {
    /// Whose account was deleted.
    pub user: UserId,
}

/// Remembers that somebody's account was deleted, and has the memberships end.
pub async fn depart(tx: &mut Tx, jobs: &Jobs, user: UserId, now: Timestamp) -> Result<(), DbError> {
    if users::delete(tx, user, now).await? {
        jobs.enqueue(tx, DEPARTURE, &Departure { user }, now, Some(&user.to_string())).await?;
        hurry(tx, jobs, user, now).await?;
    }
    Ok(())
}

/// Remembers that a departure of somebody is over, and those before it; of a later one that is nothing to say.
pub async fn stay(tx: &mut Tx, user: UserId, over: domain::Departure) -> Result<(), DbError> {
    let person = users::lock(tx, user).await?;
    if person.last_departure()? <= over {
        users::set_departure(tx, user, over, None).await?;
    }
    Ok(())
}

impl Organization {
    /// Holds fast that somebody leaves, or says what they own; see [`domain::confirm`].
    pub async fn confirm_departure(&self, asked: &Asked<Leaving>) -> Result<Answer<Owned>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.confirm(&mut m, asked).await;
        self.0.mutations.end(m, done).await
    }

    async fn confirm(&self, m: &mut Mutation, asked: &Asked<Leaving>) -> Result<Done<Owned, Payload>, Error> {
        m.admit(None);
        let Some(Leaving { user, departure, email }) = m.open(asked).await? else { return Ok(Done::Replay) };
        let user = *user;
        m.about(&user);
        let now = m.now();
        let person = users::lock(m.tx(), user).await?;
        let (count, first) = memberships::owned(m.tx(), user, OWNED_NAMED).await?;
        let standing = domain::confirm(person.standing(), person.last_departure()?, *departure, count)?;
        let since = (standing == Standing::Leaving).then(|| person.departing_since.unwrap_or(now));
        users::set_departure(m.tx(), user, *departure, since).await?;
        if standing != Standing::Staying {
            keep_to_forget(m.tx(), &self.0.jobs, (user, *departure), email, now).await?;
        }
        Ok(Done::New(Owned { count, first }, Vec::new()))
    }

    /// Ends memberships that a deleted account still has, hands the projects that it was responsible for to their
    /// organizations' owners, and erases the addresses, the personal projects, the personal library and what is kept for
    /// repetitions; says whether there may be more.
    pub async fn see_off(&self, Departure { user }: Departure) -> Result<bool, Error> {
        let mut tx = self.0.db.read().await?;
        let memberships = memberships::of_user(&mut tx, user).await?;
        tx.commit().await?;
        let (owned, others): (Vec<_>, Vec<_>) = memberships.into_iter().partition(|(_, role)| *role == Role::Owner);
        let mut ended = 0;
        for (organization, _) in others.iter().take(BATCH) {
            ended += usize::from(self.end_deleted(*organization, user).await?);
        }
        tracing::info!(memberships = ended, "ended memberships of a deleted account");
        // Each of those has ended, here or meanwhile, or is the owner's: the next list is shorter, whoever ended them.
        if others.len() > BATCH {
            return Ok(true);
        }
        for (organization, _) in owned {
            ownerless(organization);
        }
        // Memberships say which addresses these are: they are the last to forget them.
        self.forget_mails(user).await?;
        if self.forget_invited(user).await? {
            return Ok(true);
        }
        // Once more: until now somebody may have sent an invitation again.
        self.forget_mails(user).await?;
        let mut tx = self.0.db.begin().await?;
        memberships::forget_addresses(&mut tx, user).await?;
        preferences::erase(&mut tx, user).await?;
        tx.commit().await?;
        for _ in 0..PORTIONS {
            if !self.hand_projects_over(user).await?
                && !self.erase_projects(user).await?
                && !self.erase_items(OwnerId::User(user), self.now()).await?
                && !self.forget_answers(user).await?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Forgets what waits to be mailed to the addresses that somebody joined with, and what was given up.
    async fn forget_mails(&self, user: UserId) -> Result<(), Error> {
        let mut tx = self.0.db.begin().await?;
        for address in memberships::addresses(&mut tx, user).await? {
            bursar_mail::forget(&self.0.jobs, &mut tx, &address).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Takes the addresses that somebody joined with out of some organizations' invitations; `false` when there were none any more. Under the
    /// lock on each organization, so that nobody sends again meanwhile what is taken back.
    async fn forget_invited(&self, user: UserId) -> Result<bool, Error> {
        let mut tx = self.0.db.read().await?;
        let inviting = invitations::naming(&mut tx, user, INVITING).await?;
        tx.commit().await?;
        for organization in &inviting {
            let mut tx = self.0.db.begin().await?;
            organizations::by_id_locked(&mut tx, *organization).await?;
            invitations::forget_person(&mut tx, *organization, user).await?;
            tx.commit().await?;
        }
        Ok(!inviting.is_empty())
    }

    /// Hands some of the projects that somebody is responsible for to the owner of one organization; `false` when there are
    /// none any more. The lock on the organization keeps its owner from being another one who leaves.
    async fn hand_projects_over(&self, user: UserId) -> Result<bool, Error> {
        let mut tx = self.0.db.begin().await?;
        let Some(organization) = projects::assigned_in(&mut tx, user).await? else {
            return Ok(false);
        };
        let row = organizations::by_id_locked(&mut tx, organization).await?;
        let owner = row.ok_or(Error::Internal("a project without an organization"))?.owner_user_id;
        if owner != user {
            projects::hand_over(&mut tx, organization, [user, owner], self.now(), PROJECTS).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Forgets some of what somebody was answered, and services in the personal context, which says all that again; `false` when
    /// there was nothing any more.
    async fn forget_answers(&self, user: UserId) -> Result<bool, Error> {
        let mut tx = self.0.db.begin().await?;
        let own = idempotency::forget_some_of(&mut tx, &user.to_string(), ANSWERS).await?;
        let handed_on = forget_answers_of_services(&mut tx, OwnerId::User(user), ANSWERS).await?;
        tx.commit().await?;
        Ok(own > 0 || handed_on > 0)
    }

    /// Erases some of somebody's personal projects; `false` when there were none any more.
    async fn erase_projects(&self, user: UserId) -> Result<bool, Error> {
        let owner = OwnerId::User(user);
        let mut tx = self.0.db.begin().await?;
        let erased = projects::erase(&mut tx, owner, PROJECTS).await?;
        if erased.is_empty() {
            return Ok(false);
        }
        self.0.outbox.commit(tx, vec![events::projects_deleted(owner, erased)]).await?;
        Ok(true)
    }

    /// Ends one membership, unless it is the owner's: identity deletes nobody who owns an organization, so only what
    /// came between its look and its word (a transfer, a new organization) can lead here, and no rule says who should
    /// follow.
    async fn end_deleted(&self, organization: OrganizationId, user: UserId) -> Result<bool, Error> {
        let mut tx = self.0.db.begin().await?;
        organizations::by_id_locked(&mut tx, organization).await?;
        let place = memberships::place(&mut tx, organization, user).await?;
        if place.role == Some(Role::Owner) {
            ownerless(organization);
            return Ok(false);
        }
        let now = self.now();
        let version = memberships::end(&mut tx, organization, user, Ending::Deleted, now).await?;
        nominations::forget_nominee(&mut tx, organization, user).await?;
        let events = version.map(|version| events::ended(organization, user, version));
        self.0.outbox.commit(tx, events.into_iter().collect()).await?;
        Ok(version.is_some())
    }
}

fn ownerless(organization: OrganizationId) {
    tracing::error!(%organization, "the owner of an organization has deleted the account");
}
