//! Calling a creation off: the owner deletes an organization that waits for its plan ([`super::founding`]).
//!
//! 1. a mutation looks whether the caller may, and whether the slug is confirmed; it keeps under the call's request id that this
//!    request calls a creation off ([`CallingOff`]), with a job that does so if nobody else has, and is committed
//! 2. billing is asked to move no plan there any more, which is one request with the move itself: it answers as it has before
//!    to whoever asked to move it, or refuses the move for good
//! 3. where it refuses, the organization is removed as after any other refusal: its slug is free, it does not count as created
//!    that day, it is owned no more, and the plan is still its creator's. Where the plan has moved before, or the organization
//!    has one of its own, it becomes ACTIVE, and may be deleted as any other: its owner is told so, and decides again, since
//!    that ends the plan
//!
//! Whatever asks billing at the same time, the call that creates it, its repetition, the job or a twin of this call, has the
//! same answer, and under the lock on the organization's row does the same with it. So a crash anywhere leaves it waiting as
//! before, or removed or opened by whoever comes next. Where billing does not answer it waits as before, and may still be called
//! off: billing may have heard it, and the job asks again.
//!
//! What is kept in step 1 is never an ordinary deletion's: whoever repeats that request calls the creation off, is told that it is
//! founded, or finds nothing any more. Without it a repetition would find what has been opened meanwhile, and delete it with
//! its plan, though its answer, that it is founded, was perhaps lost. Once it is removed nothing is left to which a repetition
//! could belong.

use bursar_id::{OrganizationId, Role};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, Mutation, Stored as _};
use bursar_time::Timestamp;
use tonic::{Code, Status};

use super::founding::Ending;
use super::{Deletion, Organization};
use crate::Error;
use crate::domain::Refusal;
use crate::domain::standing::{self, Standing};
use crate::store::foundings::{self, FoundingRow};
use crate::store::nominations::Nominee;
use crate::store::organizations::{self, OrganizationOfUser, OrganizationRow};
use crate::store::seats::Seating;
use crate::store::standings;

/// That a request calls a creation off: what is kept under its id, and stays its last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallingOff {
    /// Which one.
    pub organization: OrganizationId,
}

impl CallingOff {
    /// Whether this is what was kept under the id of a deletion.
    pub(super) fn is_kept<T>(self, answer: &Answer<T>) -> bool {
        matches!(answer, Answer::Replay(kept) if *kept == self.to_bytes())
    }
}

/// What became of a creation that was to be called off.
pub(super) enum CalledOff {
    /// The organization never was.
    Removed(Box<OrganizationOfUser>),
    /// It has got its plan before, or in this moment.
    Founded,
    /// It did not wait.
    NotWaiting,
}

/// A pending organization whose owner may call it off.
struct Waiting {
    founding: FoundingRow,
    organization: OrganizationRow,
    /// What the audit log is told once it is removed.
    ending: Ending,
}

impl Organization {
    /// Calls the creation of an organization off, if it waits for its plan.
    pub(super) async fn call_off(&self, id: OrganizationId, asked: &Asked<Deletion>) -> Result<CalledOff, Error> {
        let standing = standings::find(&mut self.0.db.read().await?, id).await?;
        if standing != Some(Standing::Pending) {
            return Ok(CalledOff::NotWaiting);
        }
        let (mut m, mut waiting) = (self.0.mutations.begin(asked).await?, None);
        let done = self.begin_to_call_off(&mut m, id, asked, &mut waiting).await;
        let begun = self.0.mutations.end(m, done).await?;
        let is_repeated = CallingOff { organization: id }.is_kept(&begun);
        if !is_repeated && begun.made().is_none() {
            // It was deleted by this very request.
            return Ok(CalledOff::NotWaiting);
        }
        // Somebody else has just finished it.
        let Some(Waiting { founding, organization, ending }) = waiting else { return Ok(CalledOff::Founded) };
        // What was repeated has a row already, or the job writes it: one request, one row.
        let told = (!is_repeated).then_some(&ending);
        match self.end_creation(id, founding.creator, told).await {
            Ok(_) => Ok(CalledOff::Founded),
            Err(Error::Refused(_)) => Ok(CalledOff::Removed(Box::new(organization.never_was(ending.at())))),
            // A billing of before cannot call anything off, and moves nothing when it is asked to: it is replaced soon.
            Err(Error::Billing(status)) if status.code() == Code::InvalidArgument => {
                Err(Error::Billing(Box::new(Status::unavailable(status.message()))))
            }
            Err(error) => Err(error),
        }
    }

    /// Keeps that this request calls the creation off, and finds what there is to call off, also for a repetition.
    async fn begin_to_call_off(
        &self,
        m: &mut Mutation,
        id: OrganizationId,
        asked: &Asked<Deletion>,
        waiting: &mut Option<Waiting>,
    ) -> Result<Done<CallingOff, Payload>, Error> {
        let caller = asked.user()?;
        m.about(&id);
        self.admit_move(m, caller, id).await?;
        let deletion = m.open(asked).await?;
        let organization = organizations::by_id(m.tx(), id).await?.ok_or(Refusal::NotAMember)?;
        if deletion.is_some_and(|deletion| deletion.confirm_slug != organization.slug) {
            return Err(Refusal::SlugNotConfirmed.into());
        }
        let (now, begun) = (m.now(), m.leave_to_be_finished()?);
        let ending = self.ending(begun, now);
        if let Some(founding) = foundings::find(m.tx(), id).await? {
            if deletion.is_some() {
                self.have_called_off(m.tx(), id, &ending).await?;
            }
            *waiting = Some(Waiting { founding, organization, ending });
        }
        // Kept also where somebody has just finished it: a repetition must not delete that.
        Ok(if deletion.is_some() { Done::New(CallingOff { organization: id }, Vec::new()) } else { Done::Replay })
    }
}

impl OrganizationRow {
    /// What its owner is told, once it is removed.
    pub(super) fn never_was(mut self, now: Timestamp) -> OrganizationOfUser {
        self.life.standing = Standing::Purged(standing::Deletion { at: now, purge_at: now });
        let (seating, nominee) = (Seating::UNKNOWN, Nominee::NOBODY);
        OrganizationOfUser { organization: self, role: Some(Role::Owner), seating, nominee }
    }
}
