//! Who may: always by the membership at this moment, whatever the token says.

use bursar_db::Tx;
use bursar_id::{OrganizationId, OwnerId, Role, UserId};
use bursar_members::{Policy, Standing as Told, standings as told};
use bursar_rpc::{Call, Caller, Mutation, Permission, UserCaller};

use super::Organization;
use crate::Error;
use crate::domain::Refusal;
use crate::domain::standing::Standing;
use crate::store::memberships::{self, Place};
use crate::store::organizations::OrganizationRow;
use crate::store::{organizations, standings, users};

impl Organization {
    /// The caller's role in an organization that is open to its members, if it allows what the RPC demands.
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

    /// The same for taking home what an organization has: its owner does so with the personal token also when it was
    /// deleted.
    pub(super) async fn authorize_export(
        &self,
        tx: &mut Tx,
        caller: &UserCaller,
        organization: OrganizationId,
    ) -> Result<Role, Error> {
        let role = place_in(tx, caller, organization).await?.kept(is_personal(caller))?;
        may(&self.policy(tx, organization).await?, caller, role)?;
        Ok(role)
    }

    /// The same for looking at an organization, which its owner does also before it is ready.
    pub(super) async fn authorize_look(
        &self,
        tx: &mut Tx,
        caller: &UserCaller,
        organization: OrganizationId,
    ) -> Result<Role, Error> {
        let role = place_in(tx, caller, organization).await?.shown(is_personal(caller))?;
        may(&self.policy(tx, organization).await?, caller, role)?;
        Ok(role)
    }

    /// The same for the moves of an organization's life, which are its owner's: whether they are allowed where it is in that,
    /// is the next question. To everybody else it is as to other calls.
    pub(super) async fn authorize_move(
        &self,
        tx: &mut Tx,
        caller: &UserCaller,
        organization: OrganizationId,
    ) -> Result<Role, Error> {
        let place = place_in(tx, caller, organization).await?;
        let role = place.role.ok_or(Refusal::NotAMember)?;
        if role != Role::Owner || matches!(place.standing, Standing::Purged(_)) {
            place.open()?;
        }
        may(&self.policy(tx, organization).await?, caller, role)?;
        Ok(role)
    }

    /// Demands that the caller may look at an organization: the role of a user there, or none of a service, which may look
    /// at every one that there is.
    pub(super) async fn look_at(
        &self,
        tx: &mut Tx,
        caller: &Caller,
        organization: OrganizationId,
    ) -> Result<Option<Role>, Error> {
        if let Some(user) = acting(caller)? {
            return Ok(Some(self.authorize(tx, user, organization).await?));
        }
        demand_there(tx, organization).await?;
        Ok(None)
    }

    /// Demands that the caller may look at what only few see. A member's refusal stands in the audit log, as that of a
    /// change does, but of many that are alike one in an hour.
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
            Err(Error::Refused(refusal)) if refusal != Refusal::NotAMember => {
                let error = Error::from(refusal);
                Err(self.0.mutations.refused_look(call, OwnerId::Organization(organization), error).await)
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
        self.admitted(m, caller, OwnerId::Organization(organization), role).await
    }

    /// The owner's standing for a move of an organization's life; see [`Self::authorize_move`].
    pub(super) async fn admit_move(
        &self,
        m: &mut Mutation,
        caller: &UserCaller,
        organization: OrganizationId,
    ) -> Result<(), Error> {
        let role = self.authorize_move(m.tx(), caller, organization).await;
        self.admitted(m, caller, OwnerId::Organization(organization), role).await.map(drop)
    }

    /// The owner's standing for taking an organization home; see [`Self::authorize_export`].
    pub(super) async fn admit_export(
        &self,
        m: &mut Mutation,
        caller: &UserCaller,
        organization: OrganizationId,
    ) -> Result<(), Error> {
        let role = self.authorize_export(m.tx(), caller, organization).await;
        self.admitted(m, caller, OwnerId::Organization(organization), role).await.map(drop)
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
        self.admitted(m, caller, OwnerId::Organization(organization), role).await
    }

    /// The caller's standing in the context `owner`; see [`Self::authorize_context`].
    pub(super) async fn admit_context(
        &self,
        m: &mut Mutation,
        caller: &UserCaller,
        owner: OwnerId,
    ) -> Result<Option<Role>, Error> {
        let role = self.authorize_context(m.tx(), caller, owner).await;
        self.admitted(m, caller, owner, role).await
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

    /// What a caller's standing in a context means for a mutation: whoever is refused for another reason than being a stranger
    /// belongs there, and whoever is leaving is refused.
    async fn admitted<R>(
        &self,
        m: &mut Mutation,
        caller: &UserCaller,
        owner: OwnerId,
        standing: Result<R, Error>,
    ) -> Result<R, Error> {
        if !matches!(standing, Err(Error::Refused(Refusal::NotAMember))) {
            m.admit(owner);
        }
        let standing = standing?;
        self.demand_staying(m.tx(), caller).await?;
        Ok(standing)
    }

    /// Whoever is leaving Bursar, or has left, changes nothing any more: a token outlives its account by minutes. Nor does
    /// whoever may have left, for all that is known here ([`Self::demand_certain`]).
    pub(super) async fn demand_staying(&self, tx: &mut Tx, caller: &UserCaller) -> Result<(), Error> {
        users::person(tx, caller.user).await?.standing().demand_staying()?;
        self.demand_certain(caller.user)
    }

    /// Demands that somebody else, whom a call makes the owner of something or has answer for it, can do so now, beside being
    /// here to stay: nothing that identity told of the person is unread, and no operator has suspended the person. What the
    /// suspended have stays theirs, but they can do nothing with what they would be given: an owner who cannot sign in is
    /// none, and work that such a person answers for waits for nobody.
    pub(super) async fn demand_able(&self, tx: &mut Tx, user: UserId) -> Result<(), Error> {
        self.demand_certain(user)?;
        demand_active(tx, user).await
    }

    /// Demands that the caller belongs to a context, in whichever one the token acts; a service alone does to all.
    pub(super) async fn authorize_entry(&self, tx: &mut Tx, caller: &Caller, owner: OwnerId) -> Result<(), Error> {
        let Some(user) = acting(caller)? else { return Ok(()) };
        match owner {
            OwnerId::User(own) if own == user.user => Ok(demand_reach(user, owner)?),
            OwnerId::User(_) => Err(Refusal::NotAMember.into()),
            OwnerId::Organization(organization) => self.authorize(tx, user, organization).await.map(drop),
        }
    }

    /// Demands again what was demanded when something began that takes long.
    pub(super) async fn look_again(&self, caller: &Caller, owner: OwnerId) -> Result<(), Error> {
        let mut tx = self.0.db.read().await?;
        self.look_into(&mut tx, caller, owner).await?;
        match acting(caller)? {
            Some(user) => {
                demand_not_suspended(&mut tx, user).await?;
                self.demand_certain(user.user)
            }
            None => Ok(()),
        }
    }

    /// Demands that the caller may read what a context has: a user in the token's own one, or one of the product's services.
    pub(super) async fn look_into(&self, tx: &mut Tx, caller: &Caller, owner: OwnerId) -> Result<(), Error> {
        match acting(caller)? {
            Some(user) => self.authorize_context(tx, user, owner).await.map(drop),
            None => demand_served(tx, owner).await,
        }
    }
}

/// The user who calls, or for whom a service calls; `None` is a service alone.
///
/// # Errors
/// Nobody calls: that is no service.
pub(super) fn acting(caller: &Caller) -> Result<Option<&UserCaller>, Refusal> {
    match caller {
        Caller::User(user) => Ok(Some(user)),
        Caller::Service(service) => Ok(service.on_behalf_of.as_ref()),
        Caller::Anonymous => Err(Refusal::NotAMember),
    }
}

/// Demands that there is an organization for a service to look at, and that it is open: one that was purged is none, and none
/// yet one that waits for its plan.
async fn demand_there(tx: &mut Tx, organization: OrganizationId) -> Result<(), Error> {
    match standings::find(tx, organization).await? {
        None | Some(Standing::Pending | Standing::Purged(_)) => Err(Refusal::OrganizationNotFound.into()),
        Some(standing) => Ok(standing.demand_open()?),
    }
}

/// What the caller is in an organization that is open to its members.
pub(super) async fn role_in(tx: &mut Tx, caller: &UserCaller, organization: OrganizationId) -> Result<Role, Error> {
    Ok(place_in(tx, caller, organization).await?.open()?)
}

/// What the caller is in an organization, wherever that is in its life.
async fn place_in(tx: &mut Tx, caller: &UserCaller, organization: OrganizationId) -> Result<Place, Error> {
    let place = memberships::place(tx, organization, caller.user).await?;
    place.role.ok_or(Refusal::NotAMember)?;
    demand_reach(caller, OwnerId::Organization(organization))?;
    Ok(place)
}

/// Demands that a token reaches a context of its user's: an API key was made for one, and knows no other.
fn demand_reach(caller: &UserCaller, owner: OwnerId) -> Result<(), Refusal> {
    if caller.key.is_some() && caller.context != owner { Err(Refusal::WrongContext) } else { Ok(()) }
}

/// As what the caller deletes what others made or answer for: an API key that was not given to manage the organization does
/// so as a Member, whoever made the key.
pub(super) fn power(caller: &UserCaller, role: Option<Role>) -> Option<Role> {
    role.map(|role| if caller.key_permits(Permission::ManageOrganization) { role } else { Role::Member })
}

/// Whether the organization's policies let the caller, who has this role there, do what the RPC demands: a token that
/// shows no second factor counts for nothing where members must have one, in whatever context it is.
fn may(policy: &Policy, caller: &UserCaller, role: Role) -> Result<(), Refusal> {
    if !policy.admits(caller) {
        return Err(Refusal::SecondFactorRequired);
    }
    if policy.permits(role, caller.permission) { Ok(()) } else { Err(Refusal::RoleNotAllowed) }
}

/// Demands that an owner's context is open, and keeps it so until the transaction ends: an organization is not moved
/// meanwhile, so nothing comes to be in one that was deleted. After the lock on a person, before that on a library.
pub(super) async fn hold_open(tx: &mut Tx, owner: OwnerId) -> Result<(), Error> {
    let Some(organization) = owner.organization() else { return Ok(()) };
    let standing = standings::hold(tx, organization).await?.ok_or(Refusal::NotAMember)?;
    Ok(standing.demand_open()?)
}

/// Demands that an owner's context is open to services. One that there is not, not yet or no more, has nothing and is no
/// secret.
pub(super) async fn demand_served(tx: &mut Tx, owner: OwnerId) -> Result<(), Error> {
    let Some(organization) = owner.organization() else { return Ok(()) };
    match standings::find(tx, organization).await? {
        None | Some(Standing::Pending | Standing::Purged(_)) => Ok(()),
        Some(standing) => Ok(standing.demand_open()?),
    }
}

/// Whether the token acts in the user's own context.
pub(super) fn is_personal(caller: &UserCaller) -> bool {
    caller.context == OwnerId::User(caller.user)
}

/// Whoever is suspended is let in nowhere. The stack sees to that when a call comes; this is for one that goes on and on.
pub(super) async fn demand_not_suspended(tx: &mut Tx, caller: &UserCaller) -> Result<(), Error> {
    if is_suspended(tx, caller.user).await? { Err(Refusal::UserSuspended.into()) } else { Ok(()) }
}

/// The same of somebody who is meant by a call of another's.
pub(super) async fn demand_active(tx: &mut Tx, user: UserId) -> Result<(), Error> {
    if is_suspended(tx, user).await? { Err(Refusal::MemberSuspended.into()) } else { Ok(()) }
}

/// Whether an operator has suspended somebody, as identity told last.
pub(super) async fn is_suspended(tx: &mut Tx, user: UserId) -> Result<bool, Error> {
    let user = OwnerId::User(user);
    Ok(told::of(tx, &[user]).await?.get(&user) == Some(&Told::Suspended))
}

/// Whoever reaches others does so from an address that is proven to be theirs: who makes organizations, who invites.
pub(super) fn demand_verified(caller: &UserCaller) -> Result<(), Refusal> {
    if caller.email_verified { Ok(()) } else { Err(Refusal::EmailNotVerified) }
}
