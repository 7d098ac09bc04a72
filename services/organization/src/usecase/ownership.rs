//! Handing an organization over: at once, or to a nominee who accepts.

use bursar_db::Tx;
use bursar_id::{OrganizationId, OwnerId, Role, UserId};
use bursar_members::Transfer;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, Mutation, UserCaller};
use bursar_time::Timestamp;

use super::mails::{self, NewOwnerMail, OwnershipMail};
use super::organizations::seen;
use super::rationing::ration;
use super::{Organization, events};
use crate::Error;
use crate::domain::nomination::{self, LIFETIME, Nomination, PER_DAY};
use crate::domain::{Refusal, member};
use crate::store::organizations::{self, OrganizationOfUser, OrganizationRow};
use crate::store::{memberships, nominations, users};

/// From whom to whom an organization goes.
#[derive(Clone, Copy)]
struct Handover {
    from: UserId,
    to: UserId,
}

impl Organization {
    /// Makes a member the owner and the caller an Admin, in one commit; or nominates the member, where that is the policy.
    /// At no committed instant does the organization have no owner or two: the schema itself would refuse that.
    pub async fn transfer_ownership(
        &self,
        id: OrganizationId,
        asked: &Asked<UserId>,
    ) -> Result<Answer<OrganizationOfUser>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.transfer(&mut m, id, asked).await;
        let answer = self.0.mutations.end(m, done).await?;
        self.0.jobs.wake();
        Ok(answer)
    }

    /// Makes the caller, who was nominated, the owner, and the former owner an Admin, in one commit.
    pub async fn accept_ownership(
        &self,
        id: OrganizationId,
        asked: &Asked<()>,
    ) -> Result<Answer<OrganizationOfUser>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.accept_nomination(&mut m, id, asked).await;
        let answer = self.0.mutations.end(m, done).await?;
        self.0.jobs.wake();
        Ok(answer)
    }

    /// Ends a nomination: the caller was nominated, or is the owner who did that.
    pub async fn decline_ownership(
        &self,
        id: OrganizationId,
        asked: &Asked<()>,
    ) -> Result<Answer<OrganizationOfUser>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.end_nomination(&mut m, id, asked).await;
        self.0.mutations.end(m, done).await
    }

    async fn transfer(
        &self,
        m: &mut Mutation,
        id: OrganizationId,
        asked: &Asked<UserId>,
    ) -> Result<Done<OrganizationOfUser, Payload>, Error> {
        let caller = asked.user()?;
        self.admit(m, caller, id).await?;
        let Some(&to) = m.open(asked).await? else { return Ok(Done::Replay) };
        m.about(&to);
        // Before the organization, as everywhere: who is leaving becomes no owner, and who becomes one does not leave.
        let person = users::lock_known(m.tx(), to).await?;
        let (organization, _) = self.enter(m.tx(), caller, id).await?;
        let (handover, now) = (Handover { from: caller.user, to }, m.now());
        let place = memberships::place(m.tx(), id, to).await?;
        member::transfer(caller.user, to, place.role)?;
        person.unwrap_or_default().standing().demand_to_stay()?;
        // Suspended, the new owner could neither sign in nor pass it on.
        self.demand_able(m.tx(), to).await?;
        match self.policy(m.tx(), id).await?.transfer {
            Transfer::Immediate => {
                let (organization, events) = hand_over(m.tx(), organization, handover, now).await?;
                // Whoever passes it to and fro reaches the same two again and again; the transfer itself is never refused.
                if ration(m.tx(), &format!("transfers:{id}"), PER_DAY, now).await?.is_none() {
                    self.tell_of_owner(m.tx(), &organization, (caller, handover), now).await?;
                }
                Ok(Done::New(seen(m.tx(), organization, Some((Role::Admin, caller)), now).await?, events))
            }
            Transfer::NomineeAccepts => {
                self.nominate(m.tx(), &organization, (caller, handover), now).await?;
                Ok(Done::New(seen(m.tx(), organization, Some((Role::Owner, caller)), now).await?, Vec::new()))
            }
        }
    }

    /// The caller nominates a member in whosever stead, and both are told.
    async fn nominate(
        &self,
        tx: &mut Tx,
        organization: &OrganizationRow,
        (caller, handover): (&UserCaller, Handover),
        now: Timestamp,
    ) -> Result<(), Error> {
        let id = organization.id;
        if let Some(retry_after) = ration(tx, &format!("nominations:{id}"), PER_DAY, now).await? {
            return Err(Refusal::TooManyNominations { retry_after }.into());
        }
        let until = now.saturating_add(LIFETIME);
        nominations::set(tx, id, &Nomination { nominee: handover.to, by: handover.from, until }).await?;
        let [owner, nominee] = addresses(tx, id, caller, handover).await?;
        let about = OwnershipMail { organization, owner: &owner, nominee: &nominee };
        let mails = [mails::nomination(&about, until, &self.0.config), mails::nominated(&about, until, &self.0.config)];
        for mail in mails {
            bursar_mail::queue(&self.0.jobs, tx, now, &mail, OwnerId::Organization(id)).await?;
        }
        Ok(())
    }

    async fn accept_nomination(
        &self,
        m: &mut Mutation,
        id: OrganizationId,
        asked: &Asked<()>,
    ) -> Result<Done<OrganizationOfUser, Payload>, Error> {
        let caller = asked.user()?;
        self.admit(m, caller, id).await?;
        let Some(()) = m.open(asked).await? else { return Ok(Done::Replay) };
        m.about(&caller.user);
        users::lock(m.tx(), caller.user).await?.standing().demand_staying()?;
        let (organization, _) = self.enter(m.tx(), caller, id).await?;
        let (handover, now) = (Handover { from: organization.owner_user_id, to: caller.user }, m.now());
        let nomination = nominations::of(m.tx(), id).await?;
        nomination::accept(nomination, caller.user, organization.owner_user_id, now)?;
        // An owner who is suspended gives nothing away, as by no call of now, so by none of before: what an operator has stopped
        // does not go to whom a thief of the account has nominated.
        self.demand_able(m.tx(), handover.from).await?;
        let (organization, events) = hand_over(m.tx(), organization, handover, now).await?;
        self.tell_of_owner(m.tx(), &organization, (caller, handover), now).await?;
        Ok(Done::New(seen(m.tx(), organization, Some((Role::Owner, caller)), now).await?, events))
    }

    /// Tells both by mail that the organization has another owner.
    async fn tell_of_owner(
        &self,
        tx: &mut Tx,
        organization: &OrganizationRow,
        (caller, handover): (&UserCaller, Handover),
        now: Timestamp,
    ) -> Result<(), Error> {
        let [former, owner] = addresses(tx, organization.id, caller, handover).await?;
        let about = NewOwnerMail { organization, owner: &owner, former: Some(&former) };
        for mail in mails::new_owner(&about, &self.0.config) {
            bursar_mail::queue(&self.0.jobs, tx, now, &mail, OwnerId::Organization(organization.id)).await?;
        }
        Ok(())
    }

    async fn end_nomination(
        &self,
        m: &mut Mutation,
        id: OrganizationId,
        asked: &Asked<()>,
    ) -> Result<Done<OrganizationOfUser, Payload>, Error> {
        let caller = asked.user()?;
        self.admit(m, caller, id).await?;
        let Some(()) = m.open(asked).await? else { return Ok(Done::Replay) };
        m.about(&id);
        let (organization, role) = self.enter(m.tx(), caller, id).await?;
        let now = m.now();
        let nomination = nominations::of(m.tx(), id).await?;
        nomination::end(nomination, caller.user, organization.owner_user_id, now)?;
        nominations::forget(m.tx(), id).await?;
        Ok(Done::New(seen(m.tx(), organization, Some((role, caller)), now).await?, Vec::new()))
    }
}

/// Makes one member the owner in another's stead: the organization afterwards, and what is told of it. Needs the lock on
/// the organization, and before it on who becomes the owner.
async fn hand_over(
    tx: &mut Tx,
    mut organization: OrganizationRow,
    Handover { from, to }: Handover,
    now: Timestamp,
) -> Result<(OrganizationRow, Vec<Payload>), Error> {
    let id = organization.id;
    // In this order: there is never a second owner, not even inside the transaction.
    memberships::set_role(tx, id, from, Role::Admin, now).await?;
    memberships::set_role(tx, id, to, Role::Owner, now).await?;
    organizations::set_owner(tx, id, to).await?;
    nominations::forget(tx, id).await?;
    let mut events = Vec::new();
    for user in [from, to] {
        let row = memberships::member(tx, id, user).await?;
        events.push(events::member_as(&row.ok_or(Refusal::MemberNotFound)?));
    }
    organization.owner_user_id = to;
    organization.version += 1;
    Ok((organization, events))
}

/// Where the two can be reached: the caller by the address of now, the other by that of the joining, which is all that is
/// known here.
async fn addresses(
    tx: &mut Tx,
    id: OrganizationId,
    caller: &UserCaller,
    Handover { from, to }: Handover,
) -> Result<[String; 2], Error> {
    let other = if from == caller.user { to } else { from };
    let other = memberships::member(tx, id, other).await?.ok_or(Refusal::MemberNotFound)?.email;
    let own = caller.email.to_string();
    Ok(if from == caller.user { [own, other] } else { [other, own] })
}
