//! The order of refusals, which is the same for every mutating RPC: standing, what was asked, its request id, state.

use bursar_id::Role;
use bursar_organization::domain::nomination::Nomination;
use bursar_organization::store::nominations;
use bursar_proto::organization::v1 as proto;
use bursar_testkit::Refusal;
use bursar_time::Span;
use prost_types::FieldMask;
use tonic::Status;

use crate::world::{Who, World, invite, remove};

/// The mutating RPCs in an organization that take a state which can be wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Rpc {
    UpdateOrganization,
    SetAvatar,
    UpdateMemberRole,
    RemoveMember,
    TransferOwnership,
    DeleteOrganization,
    AcceptOwnership,
    DeclineOwnership,
    CreateInvitation,
    ResendInvitation,
    RevokeInvitation,
    ReassignProject,
    UpdateProject,
    DeleteProject,
    CreateProject,
    CreateItem,
    UpdateItem,
    DeleteItem,
    UpdatePreferences,
    LeaveOrganization,
}

use Rpc::*;

/// What is sent.
#[derive(Clone, Copy, PartialEq)]
enum Body {
    /// Something that is allowed.
    Good,
    /// Something else that is well-formed, and that the state does not allow.
    Other,
    /// Something with a bad field.
    Bad,
}

/// One grey pixel, as a PNG.
pub(crate) const PIXEL: &[u8] = &[
    137, 80, 78, 71, 13, 10, 26, 10, 0, 0, 0, 13, 73, 72, 68, 82, 0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0, 58, 126, 155,
    85, 0, 0, 0, 10, 73, 68, 65, 84, 120, 156, 99, 104, 0, 0, 0, 130, 0, 129, 119, 205, 114, 182, 0, 0, 0, 0, 73, 69,
    78, 68, 174, 66, 96, 130,
];

/// What the calls are about.
struct Stage {
    world: World,
    organization: String,
    slug: String,
    cem: String,
    project: proto::Project,
    item: String,
    invitation: String,
}

impl Stage {
    async fn call(&self, rpc: Rpc, who: &Who, body: Body, request_id: &str) -> Result<(), Status> {
        let (organization_id, request_id) = (self.organization.clone(), request_id.to_owned());
        // A control character is a bad request id, whatever else is right.
        let request_id = if body == Body::Bad { "\n".to_owned() } else { request_id };
        let nobody = bursar_testkit::id::<bursar_id::kinds::User>(99).to_string();
        let user_id = if body == Body::Other { nobody } else { self.cem.clone() };
        let invitation_id = self.invitation.clone();
        match rpc {
            UpdateOrganization => {
                let request = proto::UpdateOrganizationRequest {
                    organization_id,
                    name: "Renamed".to_owned(),
                    update_mask: Some(FieldMask { paths: vec!["name".to_owned()] }),
                    etag: etag(body),
                    request_id,
                    ..Default::default()
                };
                who.client.organizations().update_organization(request).await.map(drop)
            }
            SetAvatar => {
                let content = if body == Body::Other { Vec::new() } else { PIXEL.to_vec() };
                let request = proto::SetAvatarRequest { organization_id, content, request_id };
                who.client.organizations().set_avatar(request).await.map(drop)
            }
            UpdateMemberRole => {
                let role = proto::Role::Member.into();
                let request =
                    proto::UpdateMemberRoleRequest { organization_id, user_id, role, etag: String::new(), request_id };
                who.client.members().update_member_role(request).await.map(drop)
            }
            RemoveMember => {
                let request = proto::RemoveMemberRequest { organization_id, user_id, request_id };
                who.client.members().remove_member(request).await.map(drop)
            }
            TransferOwnership | AcceptOwnership | DeclineOwnership => {
                self.call_owning(rpc, who, user_id, request_id).await
            }
            DeleteOrganization => self.call_delete(who, body, request_id).await,
            CreateInvitation => {
                let email = if body == Body::Other { "u3@example.com" } else { "new@example.com" }.to_owned();
                let role = proto::Role::Member.into();
                let request =
                    proto::CreateInvitationRequest { organization_id, email, role, request_id, ..Default::default() };
                who.client.invitations().create_invitation(request).await.map(drop)
            }
            ResendInvitation => {
                let request = proto::ResendInvitationRequest { invitation_id, request_id };
                who.client.invitations().resend_invitation(request).await.map(drop)
            }
            RevokeInvitation => {
                let request = proto::RevokeInvitationRequest { invitation_id, request_id };
                who.client.invitations().revoke_invitation(request).await.map(drop)
            }
            UpdatePreferences => self.call_own(who, body, request_id).await,
            LeaveOrganization => {
                let request = proto::LeaveOrganizationRequest { organization_id, request_id };
                who.client.members().leave_organization(request).await.map(drop)
            }
            ReassignProject | UpdateProject | DeleteProject | CreateProject => {
                let acting = self.world.acting(who, &self.organization);
                self.call_projects(rpc, &acting, body, request_id).await
            }
            CreateItem | UpdateItem | DeleteItem => {
                let acting = self.world.acting(who, &self.organization);
                self.call_library(rpc, &acting, body, request_id).await
            }
        }
    }

    async fn call_delete(&self, who: &Who, body: Body, request_id: String) -> Result<(), Status> {
        let confirm_slug = if body == Body::Other { "umbra".to_owned() } else { self.slug.clone() };
        let organization_id = self.organization.clone();
        let request = proto::DeleteOrganizationRequest { organization_id, confirm_slug, request_id };
        who.client.organizations().delete_organization(request).await.map(drop)
    }

    async fn call_own(&self, who: &Who, body: Body, request_id: String) -> Result<(), Status> {
        let organization_id = self.organization.clone();
        let request =
            proto::UpdatePreferencesRequest { organization_id, preferences: None, etag: etag(body), request_id };
        who.client.members().update_preferences(request).await.map(drop)
    }

    async fn call_owning(&self, rpc: Rpc, who: &Who, user_id: String, request_id: String) -> Result<(), Status> {
        let organization_id = self.organization.clone();
        match rpc {
            TransferOwnership => {
                let request = proto::TransferOwnershipRequest { organization_id, user_id, request_id };
                who.client.organizations().transfer_ownership(request).await.map(drop)
            }
            AcceptOwnership => {
                let request = proto::AcceptOwnershipRequest { organization_id, request_id };
                who.client.organizations().accept_ownership(request).await.map(drop)
            }
            DeclineOwnership => {
                let request = proto::DeclineOwnershipRequest { organization_id, request_id };
                who.client.organizations().decline_ownership(request).await.map(drop)
            }
            other => panic!("{other:?} is not about owning"),
        }
    }

    async fn call_projects(&self, rpc: Rpc, acting: &Who, body: Body, request_id: String) -> Result<(), Status> {
        let etag = etag(body);
        let project_id = self.project.id.clone();
        match rpc {
            ReassignProject => {
                let request = proto::ReassignProjectRequest { project_id, user_id: self.cem.clone(), etag, request_id };
                acting.client.projects().reassign_project(request).await.map(drop)
            }
            UpdateProject => {
                let request = proto::UpdateProjectRequest {
                    project_id,
                    name: "Renamed".to_owned(),
                    update_mask: Some(FieldMask { paths: vec!["name".to_owned()] }),
                    etag,
                    request_id,
                    ..Default::default()
                };
                acting.client.projects().update_project(request).await.map(drop)
            }
            DeleteProject => {
                let request = proto::DeleteProjectRequest { project_id, etag, request_id };
                acting.client.projects().delete_project(request).await.map(drop)
            }
            CreateProject => {
                let name = if body == Body::Other { "Other" } else { "New" }.to_owned();
                let request = proto::CreateProjectRequest {
                    owner: self.organization.clone(),
                    name,
                    request_id,
                    ..Default::default()
                };
                acting.client.projects().create_project(request).await.map(drop)
            }
            other => panic!("{other:?} is not about projects"),
        }
    }

    async fn call_library(&self, rpc: Rpc, acting: &Who, body: Body, request_id: String) -> Result<(), Status> {
        let (item_id, etag) = (self.item.clone(), etag(body));
        let mut library = acting.client.libraries();
        match rpc {
            CreateItem => {
                let kind = if body == Body::Other { "persona" } else { "agent" }.to_owned();
                let (owner, name) = (self.organization.clone(), "New".to_owned());
                let request = proto::CreateItemRequest { owner, kind, name, request_id, ..Default::default() };
                library.create_item(request).await.map(drop)
            }
            UpdateItem => {
                let name = "Renamed".to_owned();
                let request = proto::UpdateItemRequest { item_id, name, etag, request_id, ..Default::default() };
                library.update_item(request).await.map(drop)
            }
            DeleteItem => {
                let request = proto::DeleteItemRequest { item_id, etag, request_id, ..Default::default() };
                library.delete_item(request).await.map(drop)
            }
            other => panic!("{other:?} is not about libraries"),
        }
    }
}

/// The state that a change is meant for: any, or one that is no more.
fn etag(body: Body) -> String {
    if body == Body::Other { "stale".to_owned() } else { String::new() }
}

#[track_caller]
fn is(rpc: Rpc, what: &str, outcome: Result<(), Status>, expected: &str) {
    let reason = outcome.map_or_else(|status| Refusal::of(&status).reason, |()| "OK".to_owned());
    assert_eq!(reason, expected, "{rpc:?}: {what}");
}

/// Who may at first, whether others may not, what the state says to another body under another id, and whether there is
/// another body at all.
struct Row {
    rpc: Rpc,
    stranger: &'static str,
    privileged: bool,
    state: Option<&'static str>,
}

const fn row(rpc: Rpc, stranger: &'static str, privileged: bool, state: Option<&'static str>) -> Row {
    Row { rpc, stranger, privileged, state }
}

const TABLE: [Row; 20] = [
    row(UpdateOrganization, "NOT_A_MEMBER", true, Some("ETAG_MISMATCH")),
    row(SetAvatar, "NOT_A_MEMBER", true, Some("OK")),
    row(UpdateMemberRole, "NOT_A_MEMBER", true, Some("NOT_FOUND")),
    row(RemoveMember, "NOT_A_MEMBER", true, Some("NOT_FOUND")),
    row(TransferOwnership, "NOT_A_MEMBER", true, Some("NOT_FOUND")),
    row(DeleteOrganization, "NOT_A_MEMBER", true, Some("INVALID_FIELDS")),
    row(DeclineOwnership, "NOT_A_MEMBER", false, None),
    row(CreateInvitation, "NOT_A_MEMBER", true, Some("ALREADY_A_MEMBER")),
    row(ResendInvitation, "NOT_FOUND", true, None),
    row(RevokeInvitation, "NOT_FOUND", true, None),
    row(ReassignProject, "NOT_A_MEMBER", true, Some("ETAG_MISMATCH")),
    row(UpdateProject, "NOT_A_MEMBER", false, Some("ETAG_MISMATCH")),
    row(DeleteProject, "NOT_A_MEMBER", false, Some("ETAG_MISMATCH")),
    row(CreateProject, "NOT_A_MEMBER", false, Some("OK")),
    row(CreateItem, "NOT_A_MEMBER", false, Some("OK")),
    row(UpdateItem, "NOT_A_MEMBER", false, Some("ETAG_MISMATCH")),
    row(DeleteItem, "NOT_A_MEMBER", false, Some("ETAG_MISMATCH")),
    row(UpdatePreferences, "NOT_A_MEMBER", false, Some("ETAG_MISMATCH")),
    row(LeaveOrganization, "NOT_A_MEMBER", false, None),
    // The last one: it is mailed to people whose next mail is an invitation in the others.
    row(AcceptOwnership, "NOT_A_MEMBER", false, None),
];

/// Has somebody nominated, straight in the store.
async fn nominate(world: &World, organization: &str, by: &Who, nominee: &Who) {
    let until = world.clock.now().saturating_add(Span::DAY);
    let nomination = Nomination { nominee: nominee.user, by: by.user, until };
    let mut tx = world.store.begin().await.expect("a transaction");
    nominations::set(&mut tx, organization.parse().expect("an id"), &nomination).await.expect("nominated");
    tx.commit().await.expect("written");
}

bursar_testkit::engines! {
    async fn the_order_of_refusals_is_the_same_everywhere(db: TestDb) {
        // The same people join again and again, more often than one sender and their addresses have a day for.
        let world = World::start_with(db, |settings| {
            settings.invitations.max_per_day_to_address = 1_000;
            settings.invitations.max_per_day_by_sender = 1_000;
        })
        .await;
        let ada = world.who(1);
        let eve = world.who(9);
        let mut stage = Stage {
            world,
            organization: String::new(),
            slug: String::new(),
            cem: ada.user.to_string(),
            project: proto::Project::default(),
            item: String::new(),
            invitation: String::new(),
        };
        for row in TABLE {
            let rpc = row.rpc;
            let world = &stage.world;
            let acme = world.create(&ada, "Acme").await;
            let (organization, slug) = (acme.id, acme.slug);
            let ben = world.join(&ada, &organization, 2, Role::Admin).await;
            let cem = world.join(&ada, &organization, 3, Role::Admin).await;
            let dan = world.join(&ada, &organization, 4, Role::Member).await;
            let invited = invite(&ada, &organization, "pending@example.com", Role::Member).await.expect("invited");
            let create = proto::CreateProjectRequest {
                owner: organization.clone(),
                name: "Old".to_owned(),
                ..Default::default()
            };
            if matches!(rpc, AcceptOwnership | DeclineOwnership) {
                nominate(world, &organization, &ada, &ben).await;
            }
            let actor = if matches!(rpc, TransferOwnership | DeleteOrganization) { &ada } else { &ben };
            let acting = world.acting(actor, &organization);
            let project = acting.client.projects().create_project(create).await.expect("created").into_inner().project;
            stage.project = project.expect("a project");
            let create = proto::CreateItemRequest {
                owner: organization.clone(),
                kind: "agent".to_owned(),
                name: "Old".to_owned(),
                ..Default::default()
            };
            let item = acting.client.libraries().create_item(create).await.expect("created").into_inner().item;
            stage.item = item.expect("an item").id;
            stage.cem = cem.user.to_string();
            stage.invitation = invited.id;
            stage.organization = organization.clone();
            stage.slug = slug;
            let stage = &stage;

            is(rpc, "a stranger's bad field", stage.call(rpc, &eve, Body::Bad, "r").await, row.stranger);
            if row.privileged {
                is(rpc, "a member's bad field", stage.call(rpc, &dan, Body::Bad, "r").await, "ROLE_NOT_ALLOWED");
            }
            is(rpc, "a bad field", stage.call(rpc, actor, Body::Bad, "r").await, "INVALID_FIELDS");
            if let Some(state) = row.state.filter(|state| *state != "OK") {
                is(rpc, "a state", stage.call(rpc, actor, Body::Other, "r").await, state);
            }
            is(rpc, "an id that a refusal did not burn", stage.call(rpc, actor, Body::Good, "r").await, "OK");
            if matches!(rpc, LeaveOrganization | TransferOwnership) {
                let demoted = if rpc == LeaveOrganization { "NOT_A_MEMBER" } else { "ROLE_NOT_ALLOWED" };
                is(rpc, "a repetition by somebody who may not any more", stage.call(rpc, actor, Body::Good, "r").await, demoted);
                continue;
            }
            is(rpc, "a repetition", stage.call(rpc, actor, Body::Good, "r").await, "OK");
            if rpc == AcceptOwnership {
                // The actor is the owner now, and is not removed by anybody.
                is(rpc, "once more", stage.call(rpc, actor, Body::Good, "s").await, "ALREADY_OWNER");
                continue;
            }
            if let Some(state) = row.state {
                is(rpc, "an id for another body", stage.call(rpc, actor, Body::Other, "r").await, "REQUEST_ID_REUSED");
                // What was deleted has no state.
                let state = match rpc {
                    DeleteProject | DeleteItem => "NOT_FOUND",
                    DeleteOrganization => "ORGANIZATION_DELETED",
                    _ => state,
                };
                is(rpc, "another body", stage.call(rpc, actor, Body::Other, "s").await, state);
            }
            if rpc == DeleteOrganization {
                continue;
            }
            if row.privileged {
                let demote = proto::UpdateMemberRoleRequest {
                    organization_id: organization.clone(),
                    user_id: ben.user.to_string(),
                    role: proto::Role::Member.into(),
                    ..Default::default()
                };
                ada.client.members().update_member_role(demote).await.expect("demoted");
                is(rpc, "a demoted Admin's repetition", stage.call(rpc, &ben, Body::Good, "r").await, "ROLE_NOT_ALLOWED");
            }
            remove(&ada, &organization, ben.user).await.expect("removed");
            is(rpc, "a removed member's repetition", stage.call(rpc, &ben, Body::Good, "r").await, row.stranger);
        }
    }

    async fn request_ids_belong_to_the_actor_within_the_account(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let mut made = Vec::new();
        for name in ["Acme", "Umbra"] {
            let organization = world.create(&ada, name).await.id;
            let who = world.acting(&ada, &organization);
            let request = proto::CreateProjectRequest {
                owner: organization,
                name: "Same".to_owned(),
                request_id: "r1".to_owned(),
                ..Default::default()
            };
            let created = who.client.projects().create_project(request).await.expect("one id in two accounts");
            made.push(created.into_inner().project.expect("a project").id);
        }
        assert_ne!(made[0], made[1]);
    }
}
