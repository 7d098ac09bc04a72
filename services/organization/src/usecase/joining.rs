//! Invitations, from the invited person's side: looking, accepting, declining.

use bursar_db::{Db, Tx};
use bursar_id::UserId;
use bursar_rpc::UserCaller;
use bursar_secret::{Token, TokenDigest};
use bursar_time::Timestamp;
use prost::Message;

use super::invitations::{lock, view};
use super::{Asked, Begun, Keyed, Organization, Preview, events};
use crate::Error;
use crate::domain::Refusal;
use crate::domain::invitation::{Acceptance, State, convert};
use crate::store::invitations::{self, InvitationRow};
use crate::store::memberships::{self, Joining, MemberRow};
use crate::store::{organizations, users};

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

    /// Makes the caller a member. The seat that the invitation holds becomes the member's.
    pub async fn accept_invitation<R: Message + Default>(
        &self,
        caller: &UserCaller,
        token: &str,
        asked: Asked<()>,
        answer: impl FnOnce(MemberRow) -> R,
    ) -> Result<R, Error> {
        let digest = digest(token)?;
        if let Some(answer) = self.answered(&asked).await? {
            return Ok(answer);
        }
        let invitation = look(&self.0.db, caller, &digest, self.now()).await?;
        let asked = Ok(asked?);
        let seats = self.seats(invitation.organization_id).await?;
        let (mut tx, now) = match self.begin(&asked).await? {
            Begun::Replay(answer) => return Ok(answer),
            Begun::New(tx, now) => (tx, now),
        };
        let Keyed { key, .. } = asked?;
        if !users::lock_living(&mut tx, caller.user).await? {
            return Err(Refusal::AccountDeleted.into());
        }
        let organization = lock(&mut tx, invitation.organization_id).await?.id;
        // Again, now that nobody else can change it; the token may have been replaced meanwhile.
        let invitation = find(&mut tx, &digest).await?;
        let place = memberships::place(&mut tx, organization, caller.user).await?;
        let mut events = Vec::new();
        if !acceptance(&invitation, caller, place.role.is_some(), now)?.decide()? {
            convert(memberships::head_count(&mut tx, organization).await?, seats)?;
            let joining = Joining {
                organization,
                user: caller.user,
                role: invitation.role,
                email: &caller.email,
                email_key: &bursar_email::fold(&caller.email),
            };
            let version = memberships::join(&mut tx, &joining, now).await?;
            let version = version.ok_or(Refusal::AlreadyAMember)?;
            invitations::settle(&mut tx, invitation.id, State::Accepted, Some(caller.user)).await?;
            let role = invitation.role;
            events.push(events::member(organization, caller.user, role, version, &caller.email));
        }
        let member = memberships::member(&mut tx, organization, caller.user).await?;
        let answer = answer(member.ok_or(Error::Internal("a new member is none"))?);
        self.finish(tx, &key, &answer, events).await?;
        Ok(answer)
    }

    /// Declines an invitation for good.
    pub async fn decline_invitation(&self, token: &str) -> Result<(), Error> {
        let digest = digest(token)?;
        let mut tx = self.0.db.begin().await?;
        let invitation = find(&mut tx, &digest).await?;
        lock(&mut tx, invitation.organization_id).await?;
        let invitation = find(&mut tx, &digest).await?;
        if !invitation.state_at(self.now())?.decline()? {
            invitations::settle(&mut tx, invitation.id, State::Declined, None).await?;
        }
        Ok(tx.commit().await?)
    }
}

/// What no invitation can have as its token has no digest, either.
fn digest(token: &str) -> Result<TokenDigest, Error> {
    let token = Token::parse(token).map_err(|_| Refusal::InvitationNotFound)?;
    Ok(token.digest())
}

async fn find(tx: &mut Tx, digest: &TokenDigest) -> Result<InvitationRow, Error> {
    Ok(invitations::by_token(tx, digest).await?.ok_or(Refusal::InvitationNotFound)?)
}

/// Refuses what is certain to be refused, before billing is asked.
async fn look(db: &Db, caller: &UserCaller, digest: &TokenDigest, now: Timestamp) -> Result<InvitationRow, Error> {
    let mut tx = db.read().await?;
    let invitation = find(&mut tx, digest).await?;
    let place = memberships::place(&mut tx, invitation.organization_id, caller.user).await?;
    acceptance(&invitation, caller, place.role.is_some(), now)?.decide()?;
    Ok(invitation)
}

fn acceptance<'a>(
    invitation: &'a InvitationRow,
    caller: &UserCaller,
    is_member: bool,
    now: Timestamp,
) -> Result<Acceptance<'a>, Error> {
    let accepted_by: Option<UserId> = invitation.accepted_by;
    Ok(Acceptance {
        state: invitation.state_at(now)?,
        invited_key: &invitation.email_key,
        accepted_by,
        user: caller.user,
        email_key: bursar_email::fold(&caller.email),
        email_verified: caller.email_verified,
        is_member,
    })
}
