//! Invitations, from the organization's side: inviting, listing, sending again, taking back.

use bursar_db::{DbError, Tx};
use bursar_email::Email;
use bursar_id::{InvitationId, OrganizationId, OwnerId, Role};
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::page::{Page, PageRequest};
use bursar_rpc::{Answer, Asked, Call, Done, Looked, Mutation, Origin, Problem, UserCaller};
use bursar_secret::Token;
use bursar_time::{Span, Timestamp, lasts};

use super::Organization;
use super::access::demand_verified;
use super::mails::{self, InvitationMail};
use super::rationing::{Ration, rationed, to_address, to_address_by};
use super::seats::Wanting;
use crate::Error;
use crate::domain::Refusal;
use crate::domain::invitation::{Counts, State};
use crate::store::invitations::{self, Filter, InvitationRow};
use crate::store::organizations::OrganizationRow;
use crate::store::{memberships, organizations};

/// The span in which an organization's invitations are counted.
const DAY: Span = Span::DAY;
/// Invitations that a page looks at, however few of them match its filter: what a page costs at most.
const SCAN: i64 = 5_000;
/// How long an organization is new.
const NEW: Span = Span::from_days(7);

/// Whom to invite.
pub struct NewInvitation {
    /// The address.
    pub email: Email,
    /// Admin or Member.
    pub role: Role,
    /// How long it can be accepted.
    pub lifetime: Span,
    /// Where the call comes from.
    pub origin: Origin,
}

/// That an invitation is to be mailed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendAgain {
    /// Where the call comes from.
    pub origin: Origin,
}

/// An invitation with its state at the time of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvitationView {
    /// The invitation.
    pub invitation: InvitationRow,
    /// Where it is in its life.
    pub state: State,
}

/// What whoever has an invitation's token may know.
pub struct Preview {
    /// The organization.
    pub organization: OrganizationRow,
    /// The invitation.
    pub view: InvitationView,
}

/// Which invitations to list.
pub struct InvitationsWanted {
    /// Only those in this state.
    pub state: Option<State>,
    /// Which page.
    pub page: PageRequest<InvitationId>,
}

/// In which organization an invitation needs a seat before it can be sent again; `None` for one that holds its seat.
struct NeedsSeat(Option<OrganizationId>);

impl Organization {
    /// Invites an address and mails the token. Billing is asked for the seats between two mutations: the first looks at
    /// the caller's standing and the request id, so that a stranger or a repetition asks nobody.
    pub async fn create_invitation(
        &self,
        id: OrganizationId,
        asked: &Asked<NewInvitation>,
    ) -> Result<Answer<InvitationView>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let looked = self.may_invite(&mut m, id, asked).await;
        if let Looked::Before(answer) = self.0.mutations.look(m, looked).await? {
            return Ok(answer);
        }
        let seats = self.seats(id, Wanting::OneMore).await?;
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.invite(&mut m, id, asked, seats).await;
        let answer = self.0.mutations.end(m, done).await?;
        self.0.jobs.wake();
        Ok(answer)
    }

    async fn may_invite(
        &self,
        m: &mut Mutation,
        id: OrganizationId,
        asked: &Asked<NewInvitation>,
    ) -> Result<Option<()>, Error> {
        let caller = asked.user()?;
        self.admit(m, caller, id).await?;
        demand_verified(caller)?;
        Ok(m.open(asked).await?.map(|_| ()))
    }

    async fn invite(
        &self,
        m: &mut Mutation,
        id: OrganizationId,
        asked: &Asked<NewInvitation>,
        seats: u32,
    ) -> Result<Done<InvitationView, Payload>, Error> {
        let caller = asked.user()?;
        self.admit(m, caller, id).await?;
        demand_verified(caller)?;
        let Some(new) = m.open(asked).await? else { return Ok(Done::Replay) };
        let now = m.now();
        let (organization, _) = self.enter(m.tx(), caller, id).await?;
        if memberships::has_address(m.tx(), id, new.email.key()).await? {
            return Err(Refusal::AlreadyAMember.into());
        }
        if let Some(pending) = invitations::pending_for(m.tx(), id, new.email.key(), now).await? {
            return Err(Refusal::AlreadyInvited { pending }.into());
        }
        let counts = counts(m.tx(), &organization, now).await?;
        self.0.config.caps.send(counts)?;
        let place = counts.is_new.then_some(new.origin);
        self.count_mail(m.tx(), (caller, id, place), new.email.key(), now).await?;
        self.0.config.caps.reserve(counts, seats)?;
        let token = Token::generate(&self.0.entropy);
        let invitation = InvitationRow {
            id: self.new_id(now),
            organization_id: id,
            email: new.email.address().to_owned(),
            email_key: new.email.key().to_owned(),
            role: new.role,
            state: State::Pending.to_string(),
            lifetime: new.lifetime,
            invited_by: caller.user,
            accepted_by: None,
            created_at: now,
            expires_at: now.saturating_add(new.lifetime),
        };
        m.about(&invitation.id);
        invitations::expire(m.tx(), id, now).await?;
        invitations::insert(m.tx(), &invitation, &token.digest()).await?;
        self.mail(m.tx(), caller, &organization, &invitation, &token, now).await?;
        Ok(Done::New(InvitationView { invitation, state: State::Pending }, Vec::new()))
    }

    /// Invitations, the latest first. A filtered page may be short, even empty, and still not be the last.
    pub async fn list_invitations(
        &self,
        call: &Call,
        organization: OrganizationId,
        wanted: Result<InvitationsWanted, Problem>,
    ) -> Result<Page<InvitationView>, Error> {
        self.see(call, call.caller().user()?, organization).await?;
        let mut tx = self.0.db.read().await?;
        let InvitationsWanted { state, page } = wanted?;
        let now = self.now();
        let filter = Filter { organization, state, now };
        let found = invitations::list(&mut tx, &filter, page.after().copied(), (page.limit(), SCAN)).await?;
        page.page_within(found.rows, |row| row.id, found.edge)?.try_map(|row| view(row, now))
    }

    /// Mails an invitation again, with a new token and a new deadline. Who still holds a seat keeps it; an expired one
    /// needs a new one, for which billing is asked between two mutations.
    pub async fn resend_invitation(
        &self,
        id: InvitationId,
        asked: &Asked<SendAgain>,
    ) -> Result<Answer<InvitationView>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let looked = self.may_resend(&mut m, id, asked).await;
        let seats = match self.0.mutations.look(m, looked).await? {
            Looked::Before(answer) => return Ok(answer),
            Looked::On(NeedsSeat(Some(organization))) => Some(self.seats(organization, Wanting::OneMore).await?),
            Looked::On(NeedsSeat(None)) => None,
        };
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.resend(&mut m, id, asked, seats).await;
        let answer = self.0.mutations.end(m, done).await?;
        self.0.jobs.wake();
        Ok(answer)
    }

    async fn may_resend(
        &self,
        m: &mut Mutation,
        id: InvitationId,
        asked: &Asked<SendAgain>,
    ) -> Result<Option<NeedsSeat>, Error> {
        let caller = asked.user()?;
        let invitation = self.admit_to(m, caller, id).await?;
        demand_verified(caller)?;
        let Some(_) = m.open(asked).await? else { return Ok(None) };
        let keeps_seat = invitation.state_at(m.now())?.resend()?;
        Ok(Some(NeedsSeat((!keeps_seat).then_some(invitation.organization_id))))
    }

    async fn resend(
        &self,
        m: &mut Mutation,
        id: InvitationId,
        asked: &Asked<SendAgain>,
        seats: Option<u32>,
    ) -> Result<Done<InvitationView, Payload>, Error> {
        let caller = asked.user()?;
        let invitation = self.admit_to(m, caller, id).await?;
        demand_verified(caller)?;
        let Some(&SendAgain { origin }) = m.open(asked).await? else { return Ok(Done::Replay) };
        let now = m.now();
        let organization = lock(m.tx(), invitation.organization_id).await?;
        let mut invitation = self.own_invitation(m.tx(), caller, id).await?;
        let keeps_seat = invitation.state_at(now)?.resend()?;
        let counts = counts(m.tx(), &organization, now).await?;
        self.0.config.caps.send(counts)?;
        let place = counts.is_new.then_some(origin);
        self.count_mail(m.tx(), (caller, organization.id, place), &invitation.email_key, now).await?;
        let email_key = &invitation.email_key;
        if memberships::has_address(m.tx(), organization.id, email_key).await? {
            return Err(Refusal::AlreadyAMember.into());
        }
        if !keeps_seat {
            // It expired since the look, which asked billing for none: the caller's next attempt does.
            let seats = seats.ok_or(DbError::Serialization)?;
            if let Some(pending) = invitations::pending_for(m.tx(), organization.id, email_key, now).await? {
                return Err(Refusal::AlreadyInvited { pending }.into());
            }
            self.0.config.caps.reserve(counts, seats)?;
        }
        let token = Token::generate(&self.0.entropy);
        invitation.expires_at = now.saturating_add(invitation.lifetime);
        // Whoever sends it answers for it.
        invitation.invited_by = caller.user;
        invitations::expire(m.tx(), organization.id, now).await?;
        invitations::renew(m.tx(), &invitation, &token.digest()).await?;
        self.mail(m.tx(), caller, &organization, &invitation, &token, now).await?;
        Ok(Done::New(InvitationView { invitation, state: State::Pending }, Vec::new()))
    }

    /// Takes an invitation back.
    pub async fn revoke_invitation(
        &self,
        id: InvitationId,
        asked: &Asked<()>,
    ) -> Result<Answer<InvitationView>, Error> {
        let mut m = self.0.mutations.begin(asked).await?;
        let done = self.revoke(&mut m, id, asked).await;
        self.0.mutations.end(m, done).await
    }

    async fn revoke(
        &self,
        m: &mut Mutation,
        id: InvitationId,
        asked: &Asked<()>,
    ) -> Result<Done<InvitationView, Payload>, Error> {
        let caller = asked.user()?;
        let invitation = self.admit_to(m, caller, id).await?;
        let Some(()) = m.open(asked).await? else { return Ok(Done::Replay) };
        lock(m.tx(), invitation.organization_id).await?;
        let invitation = self.own_invitation(m.tx(), caller, id).await?;
        if !invitation.state_at(m.now())?.revoke()? {
            invitations::settle(m.tx(), id, State::Revoked, None).await?;
        }
        Ok(Done::New(InvitationView { invitation, state: State::Revoked }, Vec::new()))
    }

    /// The address of an invitation, as long as there is one: for whoever was admitted to be told it again.
    pub async fn invited_address(&self, id: InvitationId) -> Result<Option<String>, Error> {
        let mut tx = self.0.db.read().await?;
        Ok(invitations::by_id(&mut tx, id).await?.map(|row| row.email))
    }

    /// The caller's standing in the organization of an invitation.
    async fn admit_to(&self, m: &mut Mutation, caller: &UserCaller, id: InvitationId) -> Result<InvitationRow, Error> {
        m.about(&id);
        let invitation = invitations::by_id(m.tx(), id).await?.ok_or(Refusal::InvitationNotFound)?;
        hidden(self.admit(m, caller, invitation.organization_id).await)?;
        Ok(invitation)
    }

    /// An invitation of an organization in which the caller may manage members. To everybody else but its
    /// members it does not exist.
    async fn own_invitation(&self, tx: &mut Tx, caller: &UserCaller, id: InvitationId) -> Result<InvitationRow, Error> {
        let invitation = invitations::by_id(tx, id).await?.ok_or(Refusal::InvitationNotFound)?;
        hidden(self.authorize(tx, caller, invitation.organization_id).await)?;
        Ok(invitation)
    }

    /// Counts one more mail by its sender, to its address (from everybody, from the organization and from the sender) and, of a new
    /// organization, from where the call comes and from the network of that, unless it is one too many. The rows stay locked
    /// until the transaction ends, always in this order.
    ///
    /// A place is shared with strangers: nobody whose organization has stood for a week is refused for what they send from there.
    /// Who stands behind a service that does not say so, or in this process, cannot be told apart: that is no place to count by.
    async fn count_mail(
        &self,
        tx: &mut Tx,
        (caller, organization, origin): (&UserCaller, OrganizationId, Option<Origin>),
        email_key: &str,
        now: Timestamp,
    ) -> Result<(), Error> {
        let caps = &self.0.config.caps;
        let place = origin.filter(|origin| matches!(origin, Origin::Address(_)));
        // One holder may have many places in one network.
        let network = place.filter(|place| place.within_site().is_some());
        // What an address may get is everybody's: nobody may use up all of it.
        let by_one = caps.to_address_by_one_per_day();
        let mut subjects = vec![
            (format!("by:{}", caller.user), caps.by_sender_per_day),
            (to_address(email_key), caps.to_address_per_day),
            (to_address_by(email_key, &organization), by_one),
            (to_address_by(email_key, &caller.user), by_one),
        ];
        let from = |text: &str| format!("from:{}", bursar_email::digest(text));
        subjects.extend(place.map(|place| (from(&place.to_string()), caps.by_origin_per_day)));
        subjects.extend(network.map(|place| (from(&place.site().to_string()), caps.by_network_per_day())));
        match rationed(tx, &subjects, now).await? {
            Ration::Left(_) => Ok(()),
            Ration::Over(retry_after) => Err(Refusal::TooManyToday { retry_after }.into()),
        }
    }

    /// Queues an invitation's mail and counts it.
    async fn mail(
        &self,
        tx: &mut Tx,
        caller: &UserCaller,
        organization: &OrganizationRow,
        invitation: &InvitationRow,
        token: &Token,
        now: Timestamp,
    ) -> Result<(), Error> {
        let about = InvitationMail {
            to: &invitation.email,
            from: &caller.email,
            organization: &organization.name,
            role: invitation.role,
            expires_at: invitation.expires_at,
        };
        let mail = mails::invitation(&about, &self.0.config, token);
        bursar_mail::queue(&self.0.jobs, tx, now, &mail, OwnerId::Organization(organization.id)).await?;
        invitations::note_mail(tx, organization.id, now, now.saturating_sub(DAY)).await?;
        Ok(())
    }
}

/// An invitation with its state at `now`.
pub(super) fn view(invitation: InvitationRow, now: Timestamp) -> Result<InvitationView, Error> {
    let state = invitation.state_at(now)?;
    Ok(InvitationView { invitation, state })
}

/// To whoever is not a member of its organization an invitation does not exist.
fn hidden(standing: Result<Role, Error>) -> Result<(), Error> {
    match standing {
        Ok(_) => Ok(()),
        Err(Error::Refused(Refusal::NotAMember)) => Err(Refusal::InvitationNotFound.into()),
        Err(other) => Err(other),
    }
}

/// Locks the organization of an invitation, which always exists.
pub(super) async fn lock(tx: &mut Tx, id: OrganizationId) -> Result<OrganizationRow, Error> {
    let row = organizations::by_id_locked(tx, id).await?;
    row.ok_or(Error::Internal("an invitation without an organization"))
}

/// What an organization has already; needs the lock on it.
async fn counts(tx: &mut Tx, organization: &OrganizationRow, now: Timestamp) -> Result<Counts, Error> {
    let id = organization.id;
    let (pending, first_expiry) = invitations::pending(tx, id, now).await?;
    let (sent, first_sent) = invitations::mails_after(tx, id, now.saturating_sub(DAY), now).await?;
    let until = |time: Option<Timestamp>| time.map_or(Span::ZERO, |time| time.since(now));
    Ok(Counts {
        // What a clock far ahead made would be new until a week after that clock's time.
        is_new: lasts(organization.created_at.saturating_add(NEW), NEW, now),
        members: memberships::head_count(tx, id).await?,
        pending,
        sent,
        until_expiry: until(first_expiry),
        until_fewer: until(first_sent.map(|sent| sent.saturating_add(DAY))),
    })
}
