//! The events that organization tells the others.

use bursar_id::{OrganizationId, OwnerId, ProjectId, Role, UserId};
use bursar_members::{OwnPolicy, Policy, Standing as Told};
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{
    DeploymentPolicyChanged, MembershipChanged, OrganizationCreated, OrganizationPolicyChanged,
    OrganizationStandingChanged, OrganizationUpdated, ProjectsChanged,
};
use bursar_rpc::UserCaller;
use bursar_rpc::convert::{to_optional_role, to_role};

use crate::domain::standing::Standing;
use crate::store::memberships::MemberRow;
use crate::store::organizations::OrganizationRow;

/// An organization came to be.
pub(super) fn created(row: &OrganizationRow, by: &UserCaller) -> Payload {
    created_in(row, by.session.to_string(), by.branch.map(|branch| branch.to_string()).unwrap_or_default())
}

/// An organization as it is, and in which session and which of its branches it was created; empty when that is past.
pub(super) fn created_in(row: &OrganizationRow, session: String, branch: String) -> Payload {
    Payload::OrganizationCreated(OrganizationCreated {
        organization_id: row.id.to_string(),
        owner_user_id: row.owner_user_id.to_string(),
        name: row.name.clone(),
        slug: row.slug.clone(),
        created_by_session_id: session,
        created_by_branch: branch,
    })
}

/// An organization has another name or slug.
pub(super) fn updated(row: &OrganizationRow) -> Payload {
    Payload::OrganizationUpdated(OrganizationUpdated {
        organization_id: row.id.to_string(),
        name: row.name.clone(),
        slug: row.slug.clone(),
    })
}

/// Somebody is a member with this role, at this version of the membership.
pub(super) fn member(organization: OrganizationId, user: UserId, role: Role, version: u64) -> Payload {
    Payload::MembershipChanged(MembershipChanged {
        organization_id: organization.to_string(),
        user_id: user.to_string(),
        role: to_role(role).into(),
        version,
    })
}

/// What a member's row says now.
pub(super) fn member_as(row: &MemberRow) -> Payload {
    let version = row.version.unsigned_abs();
    member(row.organization_id, row.user_id, row.role, version)
}

/// Somebody is not a member any more.
pub(super) fn ended(organization: OrganizationId, user: UserId, version: u64) -> Payload {
    Payload::MembershipChanged(MembershipChanged {
        organization_id: organization.to_string(),
        user_id: user.to_string(),
        role: to_optional_role(None).into(),
        version,
    })
}

/// There are these projects of one owner.
pub(super) fn projects(owner: OwnerId, ids: impl IntoIterator<Item = ProjectId>) -> Payload {
    projects_changed(owner, ids, false)
}

/// These projects of one owner are gone.
pub(super) fn projects_deleted(owner: OwnerId, ids: impl IntoIterator<Item = ProjectId>) -> Payload {
    projects_changed(owner, ids, true)
}

fn projects_changed(owner: OwnerId, ids: impl IntoIterator<Item = ProjectId>, deleted: bool) -> Payload {
    let project_ids = ids.into_iter().map(|id| id.to_string()).collect();
    Payload::ProjectsChanged(ProjectsChanged { owner: owner.to_string(), project_ids, deleted })
}

/// There are these projects, in the order of their owners: what tells of each owner's.
pub(super) fn projects_by_owner(all: &[(OwnerId, ProjectId)]) -> Vec<Payload> {
    let of_one = all.chunk_by(|(one, _), (other, _)| one == other);
    let told = of_one.filter_map(|some| Some(projects(some.first()?.0, some.iter().map(|(_, id)| *id))));
    told.collect()
}

/// Where an organization is in its life now.
pub(super) fn standing(row: &OrganizationRow) -> Payload {
    let (state, purged) = as_told(row.life.standing).to_state();
    Payload::OrganizationStandingChanged(OrganizationStandingChanged {
        organization_id: row.id.to_string(),
        state: state.into(),
        purged,
        version: row.life.version.unsigned_abs(),
    })
}

/// How a standing is told: to others, what is being purged is deleted.
pub(crate) const fn as_told(standing: Standing) -> Told {
    match standing {
        Standing::Pending => Told::Pending,
        Standing::Active => Told::Active,
        Standing::Suspended => Told::Suspended,
        Standing::Deleted(_) | Standing::Purging(_) => Told::Deleted,
        Standing::Purged(_) => Told::Purged,
    }
}

/// What an organization has set of its policies now.
pub(super) fn policy(organization: OrganizationId, own: OwnPolicy, version: u64) -> Payload {
    let organization_id = organization.to_string();
    let policy = Some(own.into());
    Payload::OrganizationPolicyChanged(OrganizationPolicyChanged { organization_id, policy, version })
}

/// What the deployment has.
pub(super) fn deployment_policy(policy: Policy, version: u64) -> Payload {
    Payload::DeploymentPolicyChanged(DeploymentPolicyChanged { policy: Some(policy.into()), version })
}
