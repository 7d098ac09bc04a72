//! The rows of a guide's table of roles as calls: what a role may not do, each of it refused. Each function gives how many
//! calls it made. What changes nothing comes first, so that a role that still counts somewhere changes nothing either.

use bursar_proto::organization::v1::{Policy, Role, UpdatePolicyRequest};

use super::steps::not_allowed;
use crate::demo::cast::Actor;

/// Nothing about members and invitations; `other` is one of them.
pub(super) async fn may_not_manage_members(actor: &Actor, other: &Actor) -> anyhow::Result<usize> {
    not_allowed(actor.invitations().await)?;
    not_allowed(actor.invite("somebody@example.com", Role::Member).await)?;
    not_allowed(actor.set_role(&other.user, Role::Admin).await)?;
    not_allowed(actor.remove(&other.user).await)?;
    Ok(4)
}

/// Nothing about the plan, packs and what they gave.
pub(super) async fn may_not_see_billing(actor: &Actor) -> anyhow::Result<usize> {
    not_allowed(actor.subscription().await)?;
    not_allowed(actor.lots().await)?;
    not_allowed(actor.purchases().await)?;
    not_allowed(actor.invoices().await)?;
    not_allowed(actor.subscribe("business").await)?;
    not_allowed(actor.buy("starter").await)?;
    Ok(6)
}

/// Nothing about name, slug and picture.
pub(super) async fn may_not_change_settings(actor: &Actor) -> anyhow::Result<usize> {
    not_allowed(actor.rename("Another name", "").await)?;
    not_allowed(actor.set_avatar(&[]).await)?;
    Ok(2)
}

/// Nothing that is the owner's alone; `other` would be the next owner.
pub(super) async fn may_not_own(actor: &Actor, other: &Actor) -> anyhow::Result<usize> {
    let policy = Some(Policy::default());
    let request =
        UpdatePolicyRequest { organization_id: actor.owner.clone(), policy, ..UpdatePolicyRequest::default() };
    not_allowed(actor.wire.organizations().update_policy(request).await)?;
    not_allowed(actor.transfer(&other.user).await)?;
    not_allowed(actor.delete("whatever-its-slug").await)?;
    Ok(3)
}
