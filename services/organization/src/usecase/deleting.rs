//! Deleting an organization, and taking that back within the grace.
//!
//! The deletion is one commit: access ends for all, and what is pending ends. What the organization had stays until the end
//! of the grace, when a job erases it (`purging.rs`). One that waits for its plan has nothing yet: its creation is called off
//! (`calling_off.rs`).

use bursar_db::Tx;
use bursar_id::{OrganizationId, Role};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, Mutation, UserCaller};
use bursar_time::Timestamp;

use super::access::is_personal;
use super::calling_off::{CalledOff, CallingOff};
use super::organizations::seen;
use super::purging::{PURGE, Purge};
use super::{Organization, events};
use crate::Error;
use crate::domain::Refusal;
use crate::domain::standing::Standing;
use crate::store::organizations::{self, OrganizationOfUser, OrganizationRow};
use crate::store::{invitations, standings, users};

/// What confirms a deletion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// What was typed as the organization's slug.
    pub confirm_slug: String,
}

impl Organization {
    /// Deletes an organization of the caller's.
    pub async fn delete_organization(
        &self,
        id: OrganizationId,
        asked: &Asked<Deletion>,
    ) -> Result<Answer<OrganizationOfUser>, Error> {
        let found_waiting = match Box::pin(self.call_off(id, asked)).await? {
            CalledOff::Removed(never_was) => return Ok(Answer::New(*never_was)),
            CalledOff::Founded => true,
            CalledOff::NotWaiting => false,
        };
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.delete(&mut m, id, asked, found_waiting).await;
        let answer = self.0.mutations.end(m, done).await?;
        // Said once, however often it is repeated, and whatever becomes of the organization: this request ends no plan.
        if (CallingOff { organization: id }).is_kept(&answer) {
            return Err(Refusal::OrganizationFounded.into());
        }
        // Without a grace the purge is due now.
        self.0.jobs.wake();
        Ok(answer)
    }

    async fn delete(
        &self,
        m: &mut Mutation,
        id: OrganizationId,
        asked: &Asked<Deletion>,
        found_waiting: bool,
    ) -> Result<Done<OrganizationOfUser, Payload>, Error> {
        let caller = asked.user()?;
        m.about(&id);
        self.admit_move(m, caller, id).await?;
        let opened = m.open(asked).await?;
        // Its owner wanted to be rid of what had no plan, and has not asked for the end of the plan.
        if found_waiting {
            return Err(Refusal::OrganizationFounded.into());
        }
        let Some(deletion) = opened else { return Ok(Done::Replay) };
        let row = self.enter_to_move(m.tx(), caller, id).await?;
        let now = m.now();
        let grace = self.policy(m.tx(), id).await?.deletion_grace.span();
        let deleted = row.life.standing.delete(now, grace)?;
        if deletion.confirm_slug != row.slug {
            return Err(Refusal::SlugNotConfirmed.into());
        }
        invitations::revoke_all(m.tx(), id, now).await?;
        let row = moved(m.tx(), id, deleted).await?;
        if let Some(deletion) = deleted.deletion() {
            let purge = Purge { organization: id, standing: row.life.version };
            self.0.jobs.enqueue(m.tx(), PURGE, &purge, deletion.purge_at, Some(&purge.key())).await?;
        }
        self.answer(m.tx(), caller, row, now).await
    }

    /// Takes the deletion of an organization of the caller's back.
    pub async fn undelete_organization(
        &self,
        id: OrganizationId,
        asked: &Asked<()>,
    ) -> Result<Answer<OrganizationOfUser>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.undelete(&mut m, id, asked).await;
        self.0.mutations.end(m, done).await
    }

    async fn undelete(
        &self,
        m: &mut Mutation,
        id: OrganizationId,
        asked: &Asked<()>,
    ) -> Result<Done<OrganizationOfUser, Payload>, Error> {
        let caller = asked.user()?;
        m.about(&id);
        self.admit_move(m, caller, id).await?;
        if !is_personal(caller) {
            self.authorize(m.tx(), caller, id).await?;
        }
        let Some(()) = m.open(asked).await? else { return Ok(Done::Replay) };
        // The caller comes to own a living organization: who is leaving does not.
        users::lock(m.tx(), caller.user).await?.standing().demand_staying()?;
        let row = self.enter_to_move(m.tx(), caller, id).await?;
        let now = m.now();
        let active = row.life.standing.undelete(now)?;
        let row = moved(m.tx(), id, active).await?;
        self.answer(m.tx(), caller, row, now).await
    }

    /// Locks an organization until the transaction ends, for a move by its owner.
    async fn enter_to_move(
        &self,
        tx: &mut Tx,
        caller: &UserCaller,
        id: OrganizationId,
    ) -> Result<OrganizationRow, Error> {
        let row = organizations::by_id_locked(tx, id).await?.ok_or(Refusal::NotAMember)?;
        self.authorize_move(tx, caller, id).await?;
        Ok(row)
    }

    async fn answer(
        &self,
        tx: &mut Tx,
        caller: &UserCaller,
        organization: OrganizationRow,
        now: Timestamp,
    ) -> Result<Done<OrganizationOfUser, Payload>, Error> {
        let event = events::standing(&organization);
        Ok(Done::New(seen(tx, organization, Some((Role::Owner, caller)), now).await?, vec![event]))
    }
}

/// Moves an organization, and gives the row as it is then. Needs the lock on it.
pub(super) async fn moved(tx: &mut Tx, id: OrganizationId, to: Standing) -> Result<OrganizationRow, Error> {
    standings::set(tx, id, to).await?;
    organizations::by_id(tx, id).await?.ok_or(Error::Internal("an organization that was moved is gone"))
}
