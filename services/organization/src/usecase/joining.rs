//! Invitations, from the invited person's side: looking, accepting, declining.

use bursar_db::Tx;
use bursar_id::{OrganizationId, OwnerId, Role};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, Looked, Mutation, Permission, UserCaller};
use bursar_secret::{Secret, Token, TokenDigest};
use bursar_time::Timestamp;

use super::access::is_suspended;
use super::invitations::{lock, view};
use super::seats::Wanting;
use super::{Organization, Preview, events};
use crate::Error;
use crate::domain::Refusal;
use crate::domain::departure::Standing;
use crate::domain::invitation::{Acceptance, State, convert};
use crate::store::invitations::{self, InvitationRow};
use crate::store::memberships::{self, Joining, MemberRow};
use crate::store::{organizations, users};

/// Whom accepting an invitation adds, as things are.
#[derive(Clone, Copy, Debug)]
enum Adds {
    /// A member of this organization.
    To(OrganizationId),
    /// Nobody: it was accepted before.
    Nobody,
}

impl Organization {
    /// What an invitation is about, in any state.
    pub async fn preview_invitation(&self, token: &str) -> Result<Preview, Error> {
        let digest = digest(token)?;
        let mut tx = self.0.db.read().await?;
        let invitation = find(&mut tx, &digest).await?;
        let organization = organizations::by_id(&mut tx, invitation.organization_id).await?;
        let organization = organization.ok_or(Error::Internal("an invitation without an organization"))?;
        Ok(Preview { organization, view: view(invitation, self.now())? })
    }

    /// Makes the caller a member, by an invitation's token. The seat that the invitation holds becomes the member's.
    /// Billing is asked for the seats between two mutations.
    pub async fn accept_invitation(&self, asked: &Asked<Secret>) -> Result<Answer<MemberRow>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let looked = self.look(&mut m, asked).await;
        let seats = match self.0.mutations.look(m, looked).await? {
            Looked::Before(answer) => return Ok(answer),
            Looked::On(Adds::To(organization)) => Some(self.seats(organization, Wanting::Reserved).await?),
            // Whoever has joined already has a seat.
            Looked::On(Adds::Nobody) => None,
        };
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.accept(&mut m, asked, seats).await;
        self.0.mutations.end(m, done).await
    }

    /// Declines an invitation for good, by its token; whoever presents it again within a month gets the same answer.
    pub async fn decline_invitation(&self, asked: &Asked<Secret>) -> Result<Answer<()>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = decline(&mut m, asked).await;
        self.0.mutations.end(m, done).await
    }

    /// Refuses what is certain to be refused, before billing is asked.
    async fn look(&self, m: &mut Mutation, asked: &Asked<Secret>) -> Result<Option<Adds>, Error> {
        let caller = asked.user()?;
        self.demand_staying(m.tx(), caller).await?;
        let Some(token) = m.open(asked).await? else { return Ok(None) };
        let now = m.now();
        let digest = digest(token.expose())?;
        let organization = find(m.tx(), &digest).await?.organization_id;
        // Whoever accepts changes two rows that are read one after the other: without the lock, a twin would be seen half.
        let row = lock(m.tx(), organization).await?;
        let invitation = find(m.tx(), &digest).await?;
        let accepted_before = self.acceptance(m.tx(), &invitation, caller, now).await?.decide()?;
        row.life.standing.demand_open()?;
        Ok(Some(if accepted_before { Adds::Nobody } else { Adds::To(invitation.organization_id) }))
    }

    async fn accept(
        &self,
        m: &mut Mutation,
        asked: &Asked<Secret>,
        seats: Option<u32>,
    ) -> Result<Done<MemberRow, Payload>, Error> {
        let caller = asked.user()?;
        self.demand_staying(m.tx(), caller).await?;
        let Some(token) = m.open(asked).await? else { return Ok(Done::Replay) };
        let digest = digest(token.expose())?;
        users::lock(m.tx(), caller.user).await?.standing().demand_staying()?;
        let invitation = find(m.tx(), &digest).await?;
        let row = lock(m.tx(), invitation.organization_id).await?;
        let organization = row.id;
        // Again, now that nobody else can change it; the token may have been replaced meanwhile.
        let invitation = find(m.tx(), &digest).await?;
        m.about(&invitation.id);
        let now = m.now();
        let mut events = Vec::new();
        let accepted_before = self.acceptance(m.tx(), &invitation, caller, now).await?.decide()?;
        row.life.standing.demand_open()?;
        if !accepted_before {
            if invitation.role == Role::Admin {
                // Whether the inviter still may is decided by whether the inviter is still here.
                self.demand_certain(invitation.invited_by)?;
            }
            // What was accepted is never pending again.
            let seats = seats.ok_or(Error::Internal("an accepted invitation is pending"))?;
            convert(memberships::head_count(m.tx(), organization).await?, seats)?;
            let joining = Joining {
                organization,
                user: caller.user,
                role: invitation.role,
                email: &caller.email,
                email_key: &bursar_email::fold(&caller.email),
            };
            let version = memberships::join(m.tx(), &joining, now).await?;
            let version = version.ok_or(Refusal::AlreadyAMember)?;
            invitations::settle(m.tx(), invitation.id, State::Accepted, Some(caller.user)).await?;
            let role = invitation.role;
            events.push(events::member(organization, caller.user, role, version));
        }
        m.admit(OwnerId::Organization(organization));
        let member = memberships::member(m.tx(), organization, caller.user).await?;
        Ok(Done::New(member.ok_or(Error::Internal("a new member is none"))?, events))
    }

    /// What decides about an invitation; needs the lock on its organization.
    async fn acceptance<'a>(
        &self,
        tx: &mut Tx,
        invitation: &'a InvitationRow,
        caller: &UserCaller,
        now: Timestamp,
    ) -> Result<Acceptance<'a>, Error> {
        let place = memberships::place(tx, invitation.organization_id, caller.user).await?;
        Ok(Acceptance {
            state: invitation.state_at(now)?,
            invited_key: &invitation.email_key,
            accepted_by: invitation.accepted_by,
            user: caller.user,
            email_key: bursar_email::fold(&caller.email),
            email_verified: caller.email_verified,
            is_member: place.role.is_some(),
            inviter_may: self.inviter_may(tx, invitation).await?,
        })
    }

    /// Whether whoever sent an invitation may still make somebody what it says. A Member is made by whoever could invite
    /// when it was sent; an Admin only by somebody who still can, and whoever is suspended can do nothing.
    async fn inviter_may(&self, tx: &mut Tx, invitation: &InvitationRow) -> Result<bool, Error> {
        if invitation.role != Role::Admin {
            return Ok(true);
        }
        let (organization, inviter) = (invitation.organization_id, invitation.invited_by);
        if is_suspended(tx, inviter).await? {
            return Ok(false);
        }
        let stays = users::person(tx, inviter).await?.standing() == Standing::Staying;
        let role = memberships::place(tx, organization, inviter).await?.role.filter(|_| stays);
        let Some(role) = role else { return Ok(false) };
        Ok(self.policy(tx, organization).await?.permits(role, Permission::ManageMembers))
    }
}

async fn decline(m: &mut Mutation, asked: &Asked<Secret>) -> Result<Done<(), Payload>, Error> {
    let Some(token) = m.open(asked).await? else { return Ok(Done::Replay) };
    let digest = digest(token.expose())?;
    let invitation = find(m.tx(), &digest).await?;
    lock(m.tx(), invitation.organization_id).await?;
    let invitation = find(m.tx(), &digest).await?;
    if !invitation.state_at(m.now())?.decline()? {
        invitations::settle(m.tx(), invitation.id, State::Declined, None).await?;
    }
    // Who that was is not known, but that it was somebody who holds the invitation.
    m.prove(&invitation.id);
    m.about(&invitation.id);
    m.admit(OwnerId::Organization(invitation.organization_id));
    Ok(Done::New((), Vec::new()))
}

/// What no invitation can have as its token has no digest, either.
fn digest(token: &str) -> Result<TokenDigest, Error> {
    let token = Token::parse(token).map_err(|_| Refusal::InvitationNotFound)?;
    Ok(token.digest())
}

async fn find(tx: &mut Tx, digest: &TokenDigest) -> Result<InvitationRow, Error> {
    Ok(invitations::by_token(tx, digest).await?.ok_or(Refusal::InvitationNotFound)?)
}
