//! Who may: always by the membership at this moment, whatever the token says.

use bursar_db::Tx;
use bursar_id::{OrganizationId, OwnerId, Role};
use bursar_members::Policy;
use bursar_rpc::{Call, Mutation, UserCaller};

use super::Organization;
use crate::Error;
use crate::domain::Refusal;
use crate::store::organizations::OrganizationRow;
use crate::store::{memberships, organizations, users};

impl Organization {
    /// The caller's role in an organization, if it allows what the RPC demands.
    pub(super) async fn authorize(
        &self,
        tx: &mut Tx,
        caller: &UserCaller,
        organization: OrganizationId,
    ) -> Result<Role, Error> {
        let role = role_in(tx, caller, organization).await?;
        may(&self.policy(tx, organization).await?, caller, role)?;
        Ok(role)
    }

    /// Demands that the caller may look at what only few see. A member's refusal stands in the audit log, as that of a
    /// change does.
    pub(super) async fn see(
        &self,
        call: &Call,
        caller: &UserCaller,
        organization: OrganizationId,
    ) -> Result<(), Error> {
        let mut tx = self.0.db.read().await?;
        let looked = self.authorize(&mut tx, caller, organization).await.map(drop);
        drop(tx);
        match looked {
            Err(error @ Error::Refused(Refusal::RoleNotAllowed)) => {
                Err(self.0.mutations.refused(call, OwnerId::Organization(organization), error).await)
            }
            looked => looked,
        }
    }

    /// The caller's standing in an organization: a member, with a role that allows what the RPC demands.
    pub(super) async fn admit(
        &self,
        m: &mut Mutation,
        caller: &UserCaller,
        organization: OrganizationId,
    ) -> Result<Role, Error> {
        let role = self.authorize(m.tx(), caller, organization).await;
        admitted(m, OwnerId::Organization(organization), &role);
        let role = role?;
        demand_staying(m.tx(), caller).await?;
        Ok(role)
    }

    /// Locks an organization until the transaction ends, and authorizes the caller in it.
    pub(super) async fn enter(
        &self,
        tx: &mut Tx,
        caller: &UserCaller,
        organization: OrganizationId,
    ) -> Result<(OrganizationRow, Role), Error> {
        let row = organizations::by_id_locked(tx, organization).await?;
        let row = row.ok_or(Refusal::NotAMember)?;
        let role = self.authorize(tx, caller, organization).await?;
        Ok((row, role))
    }

    /// The standing of a caller who wants nothing there but to go: any member's, whatever the policies demand of those who
    /// stay.
    pub(super) async fn admit_to_go(
        &self,
        m: &mut Mutation,
        caller: &UserCaller,
        organization: OrganizationId,
    ) -> Result<Role, Error> {
        let role = role_in(m.tx(), caller, organization).await;
        admitted(m, OwnerId::Organization(organization), &role);
        let role = role?;
        demand_staying(m.tx(), caller).await?;
        Ok(role)
    }

    /// The caller's standing in the context `owner`; see [`Self::authorize_context`].
    pub(super) async fn admit_context(
        &self,
        m: &mut Mutation,
        caller: &UserCaller,
        owner: OwnerId,
    ) -> Result<Option<Role>, Error> {
        let role = self.authorize_context(m.tx(), caller, owner).await;
        admitted(m, owner, &role);
        let role = role?;
        demand_staying(m.tx(), caller).await?;
        Ok(role)
    }

    /// Demands that the token acts in the context `owner` and that the caller has a place there now. `None`
    /// is the personal context, where everything is allowed.
    pub(super) async fn authorize_context(
        &self,
        tx: &mut Tx,
        caller: &UserCaller,
        owner: OwnerId,
    ) -> Result<Option<Role>, Error> {
        let role = match owner {
            OwnerId::User(user) if user == caller.user => None,
            OwnerId::User(_) => return Err(Refusal::NotAMember.into()),
            OwnerId::Organization(organization) => Some(role_in(tx, caller, organization).await?),
        };
        if owner != caller.context {
            return Err(Refusal::WrongContext.into());
        }
        if let (Some(role), Some(organization)) = (role, owner.organization()) {
            may(&self.policy(tx, organization).await?, caller, role)?;
        }
        Ok(role)
    }
}

/// What the caller is in an organization.
pub(super) async fn role_in(tx: &mut Tx, caller: &UserCaller, organization: OrganizationId) -> Result<Role, Error> {
    let place = memberships::place(tx, organization, caller.user).await?;
    Ok(place.role.ok_or(Refusal::NotAMember)?)
}

/// Whether the organization's policies let the caller, who has this role there, do what the RPC demands: a token that
/// shows no second factor counts for nothing where members must have one, in whatever context it is.
fn may(policy: &Policy, caller: &UserCaller, role: Role) -> Result<(), Refusal> {
    if !policy.admits(caller) {
        return Err(Refusal::SecondFactorRequired);
    }
    if policy.permits(role, caller.permission) { Ok(()) } else { Err(Refusal::RoleNotAllowed) }
}

/// Whoever is leaving Bursar, or has left, changes nothing any more: a token outlives its account by minutes.
pub(super) async fn demand_staying(tx: &mut Tx, caller: &UserCaller) -> Result<(), Error> {
    Ok(users::person(tx, caller.user).await?.standing().demand_staying()?)
}

/// Whoever reaches others does so from an address that is proven to be theirs: who makes organizations, who invites.
pub(super) fn demand_verified(caller: &UserCaller) -> Result<(), Refusal> {
    if caller.email_verified { Ok(()) } else { Err(Refusal::EmailNotVerified) }
}

/// Whoever is refused for another reason than being a stranger belongs there.
fn admitted<R>(m: &mut Mutation, owner: OwnerId, standing: &Result<R, Error>) {
    if !matches!(standing, Err(Error::Refused(Refusal::NotAMember))) {
        m.admit(owner);
    }
}
