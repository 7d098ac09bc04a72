//! Erasing what a deleted organization had, once the grace is over.
//!
//! A job, enqueued by the deletion for the end of the grace, in portions of a transaction each. It may be killed anywhere and
//! begun again: every portion is of what is still there. Whether it begins is decided under the organization's lock, as is
//! whether a deletion is taken back; a mark says that it has begun. From the deletion on nobody makes anything in the
//! organization, so what is found empty stays so.
//!
//! What stays: the row without a name, which keeps the id and tells latecomers; who was a member, by ids; the audit log, for
//! as long as it is kept; the slugs, until they are free ([`Organization::free_slugs`]).

use bursar_db::{DbError, Tx, idempotency};
use bursar_id::{OrganizationId, OwnerId, ServiceAccountId};
use bursar_jobs::{Jobs, Kind};
use bursar_members::{OwnPolicy, policies};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Asked, Call, Caller, Done, Mutation, Permission, ServiceCaller, ServiceRole};
use bursar_time::Timestamp;
use serde::{Deserialize, Serialize};

use super::deleting::moved;
use super::{Organization, events};
use crate::Error;
use crate::domain::Refusal;
use crate::domain::standing::{Due, SLUGS_KEPT};
use crate::store::{
    avatars, invitations, memberships, nominations, organizations, preferences, projects, seats, slugs, standings,
};

/// Erasing one organization.
pub const PURGE: Kind<Purge> = Kind::new("organization.purge");

/// What the audit log calls it: the tombstone.
const ERASED: &str = "organization purge";

/// Rows of one sort that one transaction erases at most.
const PORTION: i64 = 100;

/// Such transactions in one attempt.
const PORTIONS: usize = 40;

/// Which organization to erase, and by which of its deletions.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Purge {
    /// The organization.
    pub organization: OrganizationId,
    /// The version of its standing since the deletion: by another one it was taken back.
    pub standing: i64,
}

impl Purge {
    /// By which there is one job for each deletion.
    pub(super) fn key(&self) -> String {
        format!("{}/{}", self.organization, self.standing)
    }
}

impl Organization {
    /// Erases what an organization had, as far as it is due at `now`; says whether there may be more.
    pub async fn purge(&self, purge: Purge, now: Timestamp) -> Result<bool, Error> {
        if !self.begin_purge(purge, now).await? {
            return Ok(false);
        }
        for _ in 0..PORTIONS {
            if !self.erase_portion(purge.organization, now).await? {
                self.finish_purge(purge.organization).await?;
                tracing::info!(organization = %purge.organization, "erased a deleted organization");
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Marks the organization as being purged, so that its deletion is not taken back any more. `false`: it was taken back
    /// before, is not due yet, or done.
    async fn begin_purge(&self, purge: Purge, now: Timestamp) -> Result<bool, Error> {
        let mut tx = self.0.db.begin().await?;
        let row = organizations::by_id_locked(&mut tx, purge.organization).await?;
        let Some(row) = row.filter(|row| row.life.version == purge.standing) else { return Ok(false) };
        let grace = self.policy(&mut tx, purge.organization).await?.deletion_grace.span();
        if let Some(deletion) = row.life.standing.redated(now, grace) {
            // Jobs that a clock enqueued which was far ahead are caught, and so this comes soon.
            standings::redate(&mut tx, purge.organization, deletion.purge_at).await?;
            self.0.jobs.enqueue(&mut tx, PURGE, &purge, deletion.purge_at, None).await?;
            tx.commit().await?;
            let (organization, purge_at) = (purge.organization, deletion.purge_at);
            tracing::warn!(%organization, %purge_at, "it was deleted by a clock that was far off: its grace ends then");
            return Ok(false);
        }
        let due = match row.life.standing.purge(now) {
            Due::Now(purging) => {
                standings::begin_purge(&mut tx, purge.organization, purging).await?;
                true
            }
            // Taken too early, by a clock that was ahead.
            Due::Then(at) => {
                self.0.jobs.enqueue(&mut tx, PURGE, &purge, at, None).await?;
                false
            }
            Due::Never => false,
        };
        tx.commit().await?;
        Ok(due)
    }

    /// Erases some of what is left; `false` when nothing was left any more.
    async fn erase_portion(&self, id: OrganizationId, now: Timestamp) -> Result<bool, Error> {
        let owner = OwnerId::Organization(id);
        if self.erase_items(owner, now).await? {
            return Ok(true);
        }
        let mut tx = self.0.db.begin().await?;
        organizations::by_id_locked(&mut tx, id).await?;
        let gone = projects::erase(&mut tx, owner, PORTION).await?;
        let mut erased = invitations::erase(&mut tx, id, PORTION).await?;
        erased += bursar_mail::forget_owned(&self.0.jobs, &mut tx, owner, PORTION).await?;
        erased += preferences::erase_some(&mut tx, id, PORTION).await?;
        erased += memberships::forget_some(&mut tx, id, PORTION).await?;
        let ended = memberships::end_some(&mut tx, id, now, PORTION).await?;
        // Last what was answered, which says the same again: every member is looked at for it, and every service.
        if erased == 0 && gone.is_empty() && ended.is_empty() {
            erased += memberships::forget_answers(&mut tx, id, PORTION).await?;
            erased += forget_answers_of_services(&mut tx, owner, PORTION).await?;
        }
        let any = erased > 0 || !gone.is_empty() || !ended.is_empty();
        let gone = (!gone.is_empty()).then(|| events::projects_deleted(owner, gone));
        let ended = ended.into_iter().map(|(user, version)| events::ended(id, user, version));
        self.0.outbox.commit(tx, gone.into_iter().chain(ended).collect()).await?;
        Ok(any)
    }

    /// Writes down that nothing is left, tells the others, and leaves a row in the audit log.
    async fn finish_purge(&self, id: OrganizationId) -> Result<(), Error> {
        let service = ServiceCaller {
            account: ServiceAccountId::ORGANIZATION,
            role: ServiceRole::Organization,
            on_behalf_of: None,
            permission: Permission::Operate,
        };
        let asked = Asked::read(Call::new(Caller::Service(service), ERASED), "", &(), |(), _| Some(()));
        let mut m = self.0.mutations.begin(&asked).await?;
        let done = bury(&mut m, &self.0.jobs, id).await;
        match self.0.mutations.end(m, done).await {
            // A twin whose lease had lapsed was faster.
            Err(Error::Refused(Refusal::OrganizationNotFound)) => Ok(()),
            ended => ended.map(drop),
        }
    }

    /// Frees slugs of purged organizations that have been kept for long enough at `now`; says whether there may be more.
    pub async fn free_slugs(&self, now: Timestamp) -> Result<bool, Error> {
        let before = now.saturating_sub(SLUGS_KEPT);
        let kept = slugs::kept(&mut self.0.db.read().await?, before, PORTION).await?;
        let full = i64::try_from(kept.len()).is_ok_and(|found| found >= PORTION);
        for id in kept {
            let mut tx = self.0.db.begin().await?;
            let row = organizations::by_id_locked(&mut tx, id).await?;
            // Another replica may have done it meanwhile.
            if row.is_some_and(|row| row.slug != id.to_string()) {
                slugs::free_all(&mut tx, id, now).await?;
            }
            tx.commit().await?;
        }
        Ok(full)
    }
}

/// Forgets up to `limit` of what services were answered in a context that has ended, whether they acted for themselves, for somebody
/// or as operators; says how many.
pub(super) async fn forget_answers_of_services(tx: &mut Tx, owner: OwnerId, limit: i64) -> Result<u64, DbError> {
    let services = format!("{}_", ServiceAccountId::PREFIX);
    idempotency::forget_some_in(tx, &services, &owner.to_string(), limit).await
}

async fn bury(m: &mut Mutation, jobs: &Jobs, id: OrganizationId) -> Result<Done<(), Payload>, Error> {
    let now = m.now();
    let row = organizations::by_id_locked(m.tx(), id).await?.ok_or(Refusal::OrganizationNotFound)?;
    let purged = row.life.standing.purged().ok_or(Refusal::OrganizationNotFound)?;
    m.admit(OwnerId::Organization(id));
    m.about(&id);
    // What was queued by somebody who had looked before it was marked.
    bursar_mail::forget_owned(jobs, m.tx(), OwnerId::Organization(id), PORTION).await?;
    avatars::replace(m.tx(), id, &[]).await?;
    invitations::erase_mails(m.tx(), id).await?;
    seats::forget(m.tx(), id).await?;
    nominations::forget(m.tx(), id).await?;
    standings::erase_name(m.tx(), id).await?;
    let mut told = Vec::new();
    if let Some(version) = policies::erase(m.tx(), id).await? {
        told.push(events::policy(id, OwnPolicy::default(), version));
    }
    let (owner, version) = memberships::end_owners(m.tx(), id, now).await?;
    told.push(events::ended(id, owner, version));
    // The last word of all.
    told.push(events::standing(&moved(m.tx(), id, purged).await?));
    Ok(Done::New((), told))
}
