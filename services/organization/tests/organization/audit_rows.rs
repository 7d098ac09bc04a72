//! What gets a row of the audit log, by a table of every RPC that changes something and of every one that is for few.

use std::collections::{BTreeMap, BTreeSet};

use bursar_db::audit::{AuditRow, Outcome};
use bursar_id::{Role, ServiceAccountId};
use bursar_members::{Policy, Transfer};
use bursar_proto::access::{Idempotency, MethodRule, Permission};
use bursar_proto::organization::v1 as proto;
use bursar_rpc::ServiceRole;
use bursar_testkit::{Refusal, audited, auditing, rpcs};
use prost_types::FieldMask;
use tonic::Status;

use crate::library::{create as create_item, item};
use crate::world::{Who, World, invite, session};

/// What calls are about.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) acme: String,
    /// A member.
    pub(crate) cem: Who,
    pub(crate) project: String,
    etag: String,
    pub(crate) item: String,
    /// An item that may have content.
    pub(crate) asset: String,
    pub(crate) invitation: String,
    token: String,
    /// Whoever calls does so with the token they bring; otherwise about projects and items with one of the organization.
    pub(crate) as_they_are: bool,
}

fn mask(path: &str) -> FieldMask {
    FieldMask { paths: vec![path.to_owned()] }
}

/// What needs streams or two contexts; what rows they leave is tested beside copying and uploading.
const ELSEWHERE: [&str; 2] = ["CopyItem", "UploadContent"];

/// The RPCs of organization that fit, by their short names.
fn ours(fits: impl Fn(&MethodRule) -> bool) -> BTreeMap<&'static str, &'static MethodRule> {
    let mut found = rpcs("bursar.organization.v1", fits);
    found.retain(|rpc, _| !ELSEWHERE.contains(rpc));
    found
}

impl Stage {
    pub(crate) async fn set(world: World, ada: &Who) -> Self {
        let acme = world.create(ada, "Acme").await.id;
        let cem = world.join(ada, &acme, 3, Role::Member).await;
        let create = proto::CreateProjectRequest { owner: acme.clone(), name: "Old".to_owned(), ..Default::default() };
        let made = world.acting(ada, &acme).client.projects().create_project(create).await.expect("created");
        let project = made.into_inner().project.expect("a project").id;
        let invited = invite(ada, &acme, "first@example.com", Role::Member).await.expect("invited");
        let token = world.mailbox.next_token("first@example.com").await;
        let acting = world.acting(ada, &acme).client;
        let asset = create_item(&acting, item(&acme, "brand_asset", "Old")).await.expect("an item").id;
        let item = create_item(&acting, item(&acme, "agent", "Old")).await.expect("an item").id;
        let (etag, invitation) = (String::new(), invited.id);
        Self { world, acme, cem, project, etag, item, asset, invitation, token, as_they_are: false }
    }

    /// Whoever calls, with the token that they call about projects and items with.
    pub(crate) fn acting(&self, who: &Who) -> Who {
        if self.as_they_are { who.clone() } else { self.world.acting(who, &self.acme) }
    }

    /// Calls an RPC with something that is allowed to whoever may call it.
    pub(crate) async fn call(&self, who: &Who, rpc: &str) -> Result<(), Status> {
        let (organization_id, user_id) = (self.acme.clone(), self.cem.user.to_string());
        let (organizations, members) = (&mut who.client.organizations(), &mut who.client.members());
        match rpc {
            "CreateOrganization" => {
                let request = proto::CreateOrganizationRequest { name: "Umbra".to_owned(), ..Default::default() };
                organizations.create_organization(request).await.map(drop)
            }
            "UpdateOrganization" => {
                let name = "Acme & Co".to_owned();
                let request = proto::UpdateOrganizationRequest { organization_id, name, ..Default::default() };
                organizations.update_organization(request).await.map(drop)
            }
            "SetAvatar" => {
                let request = proto::SetAvatarRequest { organization_id, ..Default::default() };
                organizations.set_avatar(request).await.map(drop)
            }
            "UpdatePolicy" => {
                let view = proto::AdminBilling::View.into();
                let policy = Some(proto::Policy { admin_billing: view, ..Default::default() });
                let request = proto::UpdatePolicyRequest { organization_id, policy, ..Default::default() };
                organizations.update_policy(request).await.map(drop)
            }
            "ExportOrganization" => {
                let request = proto::ExportOrganizationRequest { organization_id, ..Default::default() };
                organizations.export_organization(request).await.map(drop)
            }
            _ if rpc.ends_with("Ownership") => self.call_owning(who, rpc).await,
            "UpdateMemberRole" => {
                let role = proto::Role::Admin.into();
                let request = proto::UpdateMemberRoleRequest { organization_id, user_id, role, ..Default::default() };
                members.update_member_role(request).await.map(drop)
            }
            "RemoveMember" => {
                let request = proto::RemoveMemberRequest { organization_id, user_id, ..Default::default() };
                members.remove_member(request).await.map(drop)
            }
            "LeaveOrganization" => {
                let request = proto::LeaveOrganizationRequest { organization_id, ..Default::default() };
                members.leave_organization(request).await.map(drop)
            }
            "UpdatePreferences" => {
                let request = proto::UpdatePreferencesRequest { organization_id, ..Default::default() };
                members.update_preferences(request).await.map(drop)
            }
            "ConfirmDeparture" => {
                let request =
                    proto::ConfirmDepartureRequest { user_id, incarnation: 1, number: 1, ..Default::default() };
                members.confirm_departure(request).await.map(drop)
            }
            "ListAuditEvents" => {
                let request = proto::ListAuditEventsRequest { organization_id, ..Default::default() };
                who.client.audit().list_audit_events(request).await.map(drop)
            }
            _ if rpc.ends_with("leteOrganization") || rpc.ends_with("spendOrganization") => {
                self.call_moves(who, rpc).await
            }
            _ if rpc.ends_with("Item") || rpc == "RevealSecrets" => self.call_library(&self.acting(who), rpc).await,
            _ if rpc.ends_with("Project") => self.call_projects(&self.acting(who), rpc).await,
            _ => self.call_invitations(who, rpc).await,
        }
    }

    async fn call_moves(&self, who: &Who, rpc: &str) -> Result<(), Status> {
        let (organization_id, mut organizations) = (self.acme.clone(), who.client.organizations());
        match rpc {
            "DeleteOrganization" => {
                let confirm_slug = "acme".to_owned();
                let request = proto::DeleteOrganizationRequest { organization_id, confirm_slug, ..Default::default() };
                organizations.delete_organization(request).await.map(drop)
            }
            "UndeleteOrganization" => {
                let request = proto::UndeleteOrganizationRequest { organization_id, ..Default::default() };
                organizations.undelete_organization(request).await.map(drop)
            }
            "SuspendOrganization" => {
                let request = proto::SuspendOrganizationRequest { organization_id, ..Default::default() };
                organizations.suspend_organization(request).await.map(drop)
            }
            "UnsuspendOrganization" => {
                let request = proto::UnsuspendOrganizationRequest { organization_id, ..Default::default() };
                organizations.unsuspend_organization(request).await.map(drop)
            }
            other => panic!("nobody knows how to call {other}: say here, and below who may"),
        }
    }

    async fn call_owning(&self, who: &Who, rpc: &str) -> Result<(), Status> {
        let (organization_id, user_id) = (self.acme.clone(), self.cem.user.to_string());
        let mut organizations = who.client.organizations();
        match rpc {
            "TransferOwnership" => {
                let request = proto::TransferOwnershipRequest { organization_id, user_id, ..Default::default() };
                organizations.transfer_ownership(request).await.map(drop)
            }
            "AcceptOwnership" => {
                let request = proto::AcceptOwnershipRequest { organization_id, ..Default::default() };
                organizations.accept_ownership(request).await.map(drop)
            }
            "DeclineOwnership" => {
                let request = proto::DeclineOwnershipRequest { organization_id, ..Default::default() };
                organizations.decline_ownership(request).await.map(drop)
            }
            other => panic!("nobody knows how to call {other}: say here, and below who may"),
        }
    }

    async fn call_projects(&self, who: &Who, rpc: &str) -> Result<(), Status> {
        let (mut projects, project_id, etag) = (who.client.projects(), self.project.clone(), self.etag.clone());
        match rpc {
            "CreateProject" => {
                let (owner, name) = (self.acme.clone(), "New".to_owned());
                let request = proto::CreateProjectRequest { owner, name, ..Default::default() };
                projects.create_project(request).await.map(drop)
            }
            "UpdateProject" => {
                let (name, update_mask) = ("Renamed".to_owned(), Some(mask("name")));
                let request = proto::UpdateProjectRequest { project_id, name, update_mask, ..Default::default() };
                projects.update_project(request).await.map(drop)
            }
            "ReassignProject" => {
                let user_id = self.cem.user.to_string();
                let request = proto::ReassignProjectRequest { project_id, user_id, etag, ..Default::default() };
                projects.reassign_project(request).await.map(drop)
            }
            "DeleteProject" => {
                let request = proto::DeleteProjectRequest { project_id, etag, ..Default::default() };
                projects.delete_project(request).await.map(drop)
            }
            other => panic!("nobody knows how to call {other}: say here, and below who may"),
        }
    }

    async fn call_library(&self, who: &Who, rpc: &str) -> Result<(), Status> {
        let (mut libraries, item_id) = (who.client.libraries(), self.item.clone());
        match rpc {
            "CreateItem" => create_item(&who.client, item(&self.acme, "agent", "New")).await.map(drop),
            "UpdateItem" => {
                let (name, update_mask) = ("Renamed".to_owned(), Some(mask("name")));
                let request = proto::UpdateItemRequest { item_id, name, update_mask, ..Default::default() };
                libraries.update_item(request).await.map(drop)
            }
            "DeleteItem" => {
                let request = proto::DeleteItemRequest { item_id, ..Default::default() };
                libraries.delete_item(request).await.map(drop)
            }
            "RevealSecrets" => libraries.reveal_secrets(proto::RevealSecretsRequest { item_id }).await.map(drop),
            other => panic!("nobody knows how to call {other}: say here, and below who may"),
        }
    }

    async fn call_invitations(&self, who: &Who, rpc: &str) -> Result<(), Status> {
        let (mut invitations, invitation_id) = (who.client.invitations(), self.invitation.clone());
        match rpc {
            "CreateInvitation" => invite(who, &self.acme, "second@example.com", Role::Member).await.map(drop),
            "ListInvitations" => {
                let request =
                    proto::ListInvitationsRequest { organization_id: self.acme.clone(), ..Default::default() };
                invitations.list_invitations(request).await.map(drop)
            }
            "ResendInvitation" => {
                let request = proto::ResendInvitationRequest { invitation_id, ..Default::default() };
                invitations.resend_invitation(request).await.map(drop)
            }
            "RevokeInvitation" => {
                let request = proto::RevokeInvitationRequest { invitation_id, ..Default::default() };
                invitations.revoke_invitation(request).await.map(drop)
            }
            "AcceptInvitation" => {
                let request = proto::AcceptInvitationRequest { token: self.token.clone(), ..Default::default() };
                invitations.accept_invitation(request).await.map(drop)
            }
            "DeclineInvitation" => {
                let request = proto::DeclineInvitationRequest { token: self.token.clone() };
                invitations.decline_invitation(request).await.map(drop)
            }
            other => panic!("nobody knows how to call {other}: say here, and below who may"),
        }
    }

    /// Calls, and gives what came of it and the rows that came with it.
    async fn rows_of(&self, who: &Who, rpc: &str) -> (Result<(), Status>, Vec<AuditRow>) {
        auditing(&self.world.store, self.call(who, rpc)).await
    }
}

fn reason(outcome: &Result<(), Status>) -> String {
    outcome.as_ref().map_or_else(|status| Refusal::of(status).reason, |()| "OK".to_owned())
}

bursar_testkit::engines! {
    async fn every_call_that_changes_something_leaves_one_row(db: TestDb) {
        let policy = Policy { transfer: Transfer::NomineeAccepts, ..Policy::default() };
        let world = World::start_with(db, |settings| settings.policies = policy).await;
        let (ada, ben, dan) = (world.who(1), world.who(2), world.who(4));
        let identity = Who { client: world.service(ServiceRole::Identity), ..world.who(9) };
        let operator = Who { client: world.service(ServiceRole::Operator), ..world.who(9) };
        let mut stage = Stage::set(world, &ada).await;
        stage.world.join(&ada, &stage.acme, 4, Role::Admin).await;
        let mut called = BTreeSet::new();
        let calls = [
            ("CreateOrganization", &ben), ("UpdateOrganization", &ada), ("SetAvatar", &ada), ("UpdatePolicy", &ada),
            ("UpdatePreferences", &ada), ("UpdateMemberRole", &ada), ("CreateInvitation", &ada), ("ResendInvitation", &ada), ("RevokeInvitation", &ada),
            ("DeclineInvitation", &ben), ("AcceptInvitation", &ben), ("CreateProject", &ben), ("UpdateProject", &ben),
            ("ReassignProject", &dan), ("DeleteProject", &dan), ("CreateItem", &ben), ("UpdateItem", &ada),
            ("DeleteItem", &ada), ("LeaveOrganization", &dan), ("RemoveMember", &ada),
            ("TransferOwnership", &ada), ("DeclineOwnership", &ben), ("AcceptOwnership", &ben),
            ("ConfirmDeparture", &identity), ("SuspendOrganization", &operator),
            ("UnsuspendOrganization", &operator), ("DeleteOrganization", &ben), ("UndeleteOrganization", &ben),
        ];
        for (rpc, who) in calls {
            if matches!(rpc, "DeclineInvitation" | "AcceptInvitation") {
                let email = ben.email.as_str();
                // Mail of one instant has no order.
                stage.world.advance(bursar_time::Span::SECOND);
                invite(&ada, &stage.acme, email, Role::Member).await.expect("invited");
                stage.token = stage.world.mailbox.next_token(email).await;
            }
            if matches!(rpc, "TransferOwnership") {
                stage.cem = ben.clone();
            }
            if matches!(rpc, "AcceptOwnership") {
                stage.call(&ada, "TransferOwnership").await.expect("nominated");
            }
            if matches!(rpc, "ConfirmDeparture") {
                stage.cem = dan.clone();
            }
            let (outcome, rows) = stage.rows_of(who, rpc).await;
            assert_eq!(reason(&outcome), "OK", "{rpc}");
            let [row] = rows.as_slice() else { panic!("{rpc}: {rows:?}") };
            assert!(row.method.starts_with("bursar.organization.v1.") && row.method.ends_with(&format!("/{rpc}")), "{row:?}");
            assert_eq!((row.outcome, &row.reason, &row.on_behalf_of), (Outcome::Done, &None, &None), "{rpc}");
            let actor = match rpc {
                "ConfirmDeparture" => ServiceAccountId::IDENTITY.to_string(),
                "SuspendOrganization" | "UnsuspendOrganization" => ServiceAccountId::OPERATOR.to_string(),
                _ => who.user.to_string(),
            };
            assert_eq!(row.actor, actor, "{rpc}");
            let target = row.target.as_deref().unwrap_or_default();
            assert!(target.len() == 30 && target.as_bytes()[3] == b'_', "{rpc} has an id for a target: {target}");
            match rpc {
                "ConfirmDeparture" => assert_eq!(row.owner, None),
                "CreateOrganization" => assert_eq!(row.owner.map(|owner| owner.to_string()), row.target),
                _ => assert_eq!(row.owner.map(|owner| owner.to_string()), Some(stage.acme.clone()), "{rpc}"),
            }
            called.insert(rpc);
        }
        let changing = ours(|rule| rule.idempotency != Idempotency::NoSideEffects);
        assert_eq!(called, changing.into_keys().collect(), "a row for each");
        // A whole session, and nothing of it that is not an id or a word.
        let all = format!("{:?}", audited(&stage.world.store).await);
        for secret in [stage.token.as_str(), "@example.com", "Acme", "Umbra", "Renamed"] {
            assert!(!all.contains(secret), "{secret} in {all}");
        }
    }

    async fn what_is_for_few_leaves_a_row_when_a_member_is_refused_and_none_when_a_stranger_is(db: TestDb) {
        let world = World::start(db).await;
        let (ada, dan, eve) = (world.who(1), world.who(4), world.who(9));
        let stage = Stage::set(world, &ada).await;
        stage.world.join(&ada, &stage.acme, 4, Role::Member).await;
        let few = ours(|rule| {
            let for_all = [Permission::Unspecified, Permission::Self_, Permission::UseWorkspace, Permission::Operate];
            !for_all.contains(&rule.permission)
        });
        for rpc in ["ListAuditEvents", "ListInvitations", "RemoveMember", "SetAvatar", "TransferOwnership"] {
            assert!(few.contains_key(rpc), "{rpc} in {:?}", few.keys());
        }
        for rpc in few.into_keys() {
            let (outcome, rows) = stage.rows_of(&dan, rpc).await;
            assert_eq!(reason(&outcome), "ROLE_NOT_ALLOWED", "{rpc}");
            let [row] = rows.as_slice() else { panic!("{rpc}: {rows:?}") };
            let told = (row.actor.clone(), row.outcome, row.reason.as_deref());
            assert_eq!(told, (dan.user.to_string(), Outcome::Refused, Some("ROLE_NOT_ALLOWED")), "{rpc}");
            assert_eq!(row.owner.map(|owner| owner.to_string()).as_ref(), Some(&stage.acme), "{rpc}");
        }
        // A stranger changes nothing and leaves nothing, whatever is called.
        for (rpc, rule) in ours(|_| true) {
            let reads = rule.idempotency == Idempotency::NoSideEffects;
            // What is the stranger's own to do, and what holds a token.
            let own = matches!(rpc, "CreateOrganization" | "DeclineInvitation");
            if own || (reads && !matches!(rpc, "ListAuditEvents" | "ListInvitations" | "ExportOrganization")) {
                continue;
            }
            let (outcome, rows) = stage.rows_of(&eve, rpc).await;
            assert_ne!(reason(&outcome), "OK", "{rpc}");
            // Whoever holds the token of an invitation belongs there as far as the log is concerned, but joining is for all.
            assert_eq!(rows, [], "{rpc}");
        }
    }

    async fn what_is_for_few_by_an_rpc_that_is_for_all_leaves_a_row_when_a_member_is_refused(db: TestDb) {
        let world = World::start(db).await;
        let (ada, dan) = (world.who(1), world.who(4));
        let stage = Stage::set(world, &ada).await;
        stage.world.join(&ada, &stage.acme, 4, Role::Member).await;
        for (rpc, target) in [("DeleteItem", &stage.item), ("DeleteProject", &stage.project)] {
            let (outcome, rows) = stage.rows_of(&dan, rpc).await;
            assert_eq!(reason(&outcome), "ROLE_NOT_ALLOWED", "{rpc}");
            let [row] = rows.as_slice() else { panic!("{rpc}: {rows:?}") };
            assert!(row.method.ends_with(&format!("/{rpc}")), "{row:?}");
            let told = (row.actor.clone(), row.outcome, row.reason.as_deref(), row.target.as_ref());
            let expected = (dan.user.to_string(), Outcome::Refused, Some("ROLE_NOT_ALLOWED"), Some(target));
            assert_eq!(told, expected, "{rpc}");
            assert_eq!(row.owner.map(|owner| owner.to_string()).as_ref(), Some(&stage.acme), "{rpc}");
        }
    }

    async fn whoever_polls_what_is_refused_leaves_one_row_in_an_hour(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let stage = Stage::set(world, &ada).await;
        stage.world.join(&ada, &stage.acme, 4, Role::Member).await;
        for minutes in [0, 30, 60] {
            // A token lives for minutes.
            let (dan, mut rows) = (stage.world.who(4), 0);
            for _ in 0..20 {
                for rpc in ["ListAuditEvents", "ListInvitations"] {
                    let (outcome, new) = stage.rows_of(&dan, rpc).await;
                    assert_eq!(reason(&outcome), "ROLE_NOT_ALLOWED", "{rpc}");
                    rows += new.len();
                }
            }
            assert_eq!(rows, if minutes == 30 { 0 } else { 2 }, "one of each, after {minutes} minutes");
            stage.world.advance(bursar_time::Span::from_secs(30 * 60));
        }
    }

    async fn an_operator_in_a_users_name_stands_there_under_both_names(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let stage = Stage::set(world, &ada).await;
        let token = stage.world.issuer.member(ada.user, stage.acme.parse().expect("an id"), Role::Owner);
        let token = token.email(&ada.email).session(session(1)).operated_by(ServiceAccountId::OPERATOR);
        let acted = Who { client: stage.world.anybody.with_token(&token.at(stage.world.clock.now())), ..ada.clone() };
        let create = proto::CreateProjectRequest { owner: stage.acme.clone(), name: "New".to_owned(), ..Default::default() };
        acted.client.projects().create_project(create).await.expect("created");
        let (outcome, refused) = stage.rows_of(&acted, "UpdateOrganization").await;
        outcome.expect("renamed");
        let rows = audited(&stage.world.store).await;
        let operator = ServiceAccountId::OPERATOR.to_string();
        let both: Vec<_> = rows.iter().filter(|row| row.actor == operator).collect();
        assert_eq!((both.len(), refused.len()), (2, 1), "{rows:?}");
        assert!(both.iter().all(|row| row.on_behalf_of == Some(ada.user.to_string())), "{both:?}");
        // Whoever looks for what was done in the user's name finds it, and whoever looks for the operator.
        for actor in [operator, ada.user.to_string()] {
            let wanted = proto::ListAuditEventsRequest {
                organization_id: stage.acme.clone(),
                actor,
                method: "bursar.organization.v1.OrganizationService/UpdateOrganization".to_owned(),
                ..Default::default()
            };
            let page = ada.client.audit().list_audit_events(wanted).await.expect("listed").into_inner();
            let [event] = page.events.as_slice() else { panic!("{page:?}") };
            assert_eq!(event.on_behalf_of, ada.user.to_string());
        }
    }
}
