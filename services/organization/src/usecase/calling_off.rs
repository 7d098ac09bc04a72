//! Calling a creation off: the owner deletes an organization that waits for its plan ([`super::founding`]).
//!
//! 1. a mutation looks whether the caller may, and whether the slug is confirmed; it writes nothing
//! 2. billing is asked to move no plan there any more, which is one request with the move itself: it answers as it has before
//!    to whoever asked to move it, or refuses the move for good
//! 3. where it refuses, the organization is removed as after any other refusal: slug, request id and the day's count are free, it
//!    is owned no more, and the plan is still its creator's. Where the plan has moved before, or the organization has one of its
//!    own, it becomes ACTIVE, and may be deleted as any other: its owner is told so, and decides again, since that ends the plan
//!
//! Whatever asks billing at the same time, the call that creates it, its repetition, the job or a twin of this call, has the
//! same answer, and under the lock on the organization's row does the same with it. So a crash anywhere leaves it waiting as
//! before, or removed or opened by whoever comes next. Where billing does not answer nothing is changed.
//!
//! Nothing is kept under the call's request id: there is nothing left to which a repetition could belong.

use bursar_db::audit::{AuditRow, Outcome};
use bursar_id::{OrganizationId, OwnerId, Role};
use bursar_proto::billing::v1::MoveSubscriptionRequest;
use bursar_rpc::{Asked, Looked, Mutation};
use bursar_time::Timestamp;
use tonic::{Code, Status};

use super::{Deletion, Organization};
use crate::Error;
use crate::domain::Refusal;
use crate::domain::standing::{self, Standing};
use crate::store::foundings::{self, FoundingRow};
use crate::store::nominations::Nominee;
use crate::store::organizations::{self, OrganizationOfUser, OrganizationRow};
use crate::store::seats::Seating;
use crate::store::standings;

/// What became of a creation that was to be called off.
pub(super) enum CalledOff {
    /// The organization never was.
    Removed(Box<OrganizationOfUser>),
    /// It has got its plan before, or in this moment.
    Founded,
    /// It did not wait.
    NotWaiting,
}

/// What is found before billing is asked.
enum Found {
    /// It waits, and the caller may call it off.
    Waiting(Box<Waiting>),
    /// Somebody else has just finished it.
    Finished,
}

/// A pending organization whose owner may call it off.
struct Waiting {
    founding: FoundingRow,
    organization: OrganizationRow,
    /// What the audit log is told once it is removed.
    row: AuditRow,
    now: Timestamp,
}

impl Organization {
    /// Calls the creation of an organization off, if it waits for its plan.
    pub(super) async fn call_off(&self, id: OrganizationId, asked: &Asked<Deletion>) -> Result<CalledOff, Error> {
        let standing = standings::find(&mut self.0.db.read().await?, id).await?;
        if standing != Some(Standing::Pending) {
            return Ok(CalledOff::NotWaiting);
        }
        let mut m = self.0.mutations.begin(asked).await?;
        let looked = self.look_whether_to_call_off(&mut m, id, asked).await;
        let looked: Looked<_, OrganizationOfUser> = self.0.mutations.look(m, looked).await?;
        let waiting = match looked {
            Looked::On(Found::Waiting(waiting)) => waiting,
            Looked::On(Found::Finished) => return Ok(CalledOff::Founded),
            Looked::Before(_) => return Ok(CalledOff::NotWaiting),
        };
        let message = MoveSubscriptionRequest {
            to_owner: id.to_string(),
            called_off_for: waiting.founding.creator.to_string(),
            ..Default::default()
        };
        let answered = self.ask_billing(message).await;
        match self.settle(id, answered, Some(&waiting.row)).await {
            Ok(_) => Ok(CalledOff::Founded),
            Err(Error::Refused(_)) => Ok(CalledOff::Removed(Box::new(waiting.never_was()))),
            // A billing of before cannot call anything off, and moves nothing when it is asked to: it is replaced soon.
            Err(Error::Billing(status)) if status.code() == Code::InvalidArgument => {
                Err(Error::Billing(Box::new(Status::unavailable(status.message()))))
            }
            Err(error) => Err(error),
        }
    }

    async fn look_whether_to_call_off(
        &self,
        m: &mut Mutation,
        id: OrganizationId,
        asked: &Asked<Deletion>,
    ) -> Result<Option<Found>, Error> {
        let caller = asked.user()?;
        m.about(&id);
        self.admit_move(m, caller, id).await?;
        let Some(deletion) = m.open(asked).await? else { return Ok(None) };
        let row = organizations::by_id(m.tx(), id).await?.ok_or(Refusal::NotAMember)?;
        let Some(founding) = foundings::find(m.tx(), id).await? else { return Ok(Some(Found::Finished)) };
        if deletion.confirm_slug != row.slug {
            return Err(Refusal::SlugNotConfirmed.into());
        }
        let (now, begun) = (m.now(), m.leave_to_be_finished()?);
        let audited = AuditRow {
            id: self.new_id(now),
            at: now,
            owner: Some(OwnerId::Organization(id)),
            actor: begun.actor,
            on_behalf_of: begun.on_behalf_of,
            method: begun.method.to_owned(),
            target: Some(id.to_string()),
            outcome: Outcome::Done,
            reason: None,
            request_id: begun.request_id.map(|id| id.as_str().to_owned()),
        };
        Ok(Some(Found::Waiting(Box::new(Waiting { founding, organization: row, row: audited, now }))))
    }
}

impl Waiting {
    /// What its owner is told, once it is removed.
    fn never_was(self) -> OrganizationOfUser {
        let Self { mut organization, now, .. } = self;
        organization.life.standing = Standing::Purged(standing::Deletion { at: now, purge_at: now });
        let (seating, nominee) = (Seating::UNKNOWN, Nominee::NOBODY);
        OrganizationOfUser { organization, role: Some(Role::Owner), seating, nominee }
    }
}
