//! Every RPC about an organization that is not open, for everybody: one answer, whatever the RPC.

use bursar_id::Role;
use bursar_proto::access::METHODS;
use bursar_proto::organization::v1 as proto;
use bursar_rpc::ServiceRole;
use bursar_testkit::{Refusal, refused};
use bursar_time::Span;
use tonic::{Code, Status};

use crate::across::{self, Meant};
use crate::audit_rows::Stage;
use crate::world::{Who, World, delete, get, until};

/// What is about no organization, has a token for it, or is not a member's.
const OTHERS: [&str; 11] = [
    "CreateOrganization",
    "ListOrganizations",
    "FindOrganizations",
    "SuspendOrganization",
    "UnsuspendOrganization",
    "CheckAccess",
    "ConfirmDeparture",
    "PreviewInvitation",
    "AcceptInvitation",
    "DeclineInvitation",
    "ListKinds",
];

/// What a user may not call at all.
const PRODUCTS: [&str; 1] = ["RevealSecrets"];

/// Calls an RPC about the stage's organization. A new RPC has to be added here, or in [`Stage::call`].
async fn call(stage: &Stage, who: &Who, rpc: &str) -> Result<(), Status> {
    let organization_id = stage.acme.clone();
    let acting = stage.world.acting(who, &stage.acme);
    match rpc {
        "GetOrganization" => get(who, &organization_id).await.map(drop),
        "GetPolicy" => {
            who.client.organizations().get_policy(proto::GetPolicyRequest { organization_id }).await.map(drop)
        }
        "GetAvatar" => {
            let request = proto::GetAvatarRequest { organization_id, ..Default::default() };
            who.client.organizations().get_avatar(request).await.map(drop)
        }
        "ListMembers" => {
            let request = proto::ListMembersRequest { organization_id, ..Default::default() };
            who.client.members().list_members(request).await.map(drop)
        }
        "GetPreferences" => {
            let request = proto::GetPreferencesRequest { organization_id, ..Default::default() };
            who.client.members().get_preferences(request).await.map(drop)
        }
        "GetMember" => {
            let user_id = stage.cem.user.to_string();
            who.client.members().get_member(proto::GetMemberRequest { organization_id, user_id }).await.map(drop)
        }
        "GetProject" => {
            let project_id = stage.project.clone();
            acting.client.projects().get_project(proto::GetProjectRequest { project_id }).await.map(drop)
        }
        "ListProjects" => {
            let request = proto::ListProjectsRequest { owner: organization_id, ..Default::default() };
            acting.client.projects().list_projects(request).await.map(drop)
        }
        "GetItem" | "ListItems" | "CopyItem" | "UploadContent" | "DownloadContent" => {
            let meant = Meant { item: stage.item.clone(), owner: organization_id };
            across::call(&acting.client, rpc, &meant).await
        }
        _ => stage.call(who, rpc).await,
    }
}

/// What users call about an organization that they are in.
fn rpcs() -> impl Iterator<Item = &'static str> {
    let all = METHODS.iter().filter_map(|(path, _)| path.strip_prefix("/bursar.organization.v1."));
    let all = all.filter_map(|path| path.rsplit('/').next());
    all.filter(|rpc| !OTHERS.contains(rpc) && !PRODUCTS.contains(rpc))
}

/// Calls everything as somebody, and demands one and the same refusal.
async fn all_refused(stage: &Stage, who: &Who, but: &[&str], code: Code, reason: &str) {
    let mut called = 0;
    for rpc in rpcs().filter(|rpc| !but.contains(rpc)) {
        called += 1;
        let outcome = call(stage, who, rpc).await;
        let refusal = Refusal::of(&outcome.expect_err(&format!("{rpc} by {}", who.email)));
        assert_eq!((refusal.code, refusal.reason.as_str()), (code, reason), "{rpc} by {}", who.email);
    }
    assert!(called >= 30, "only {called} were called");
}

/// Who asks: the owner, an Admin, a Member, a former member, a stranger.
struct People {
    ada: Who,
    insiders: [Who; 2],
    outsiders: [Who; 2],
}

async fn set(world: World) -> (Stage, People) {
    let (ada, eve) = (world.who(1), world.who(9));
    let stage = Stage::set(world, &ada).await;
    let admin = stage.world.join(&ada, &stage.acme, 4, Role::Admin).await;
    let former = stage.world.join(&ada, &stage.acme, 5, Role::Member).await;
    crate::world::remove(&ada, &stage.acme, former.user).await.expect("removed");
    let insiders = [admin, stage.cem.clone()];
    (stage, People { ada, insiders, outsiders: [former, eve] })
}

/// To strangers everything about invitations, items and projects reads as ever; elsewhere they are no members.
async fn strangers_learn_nothing(stage: &Stage, people: &People) {
    for who in &people.outsiders {
        for rpc in [
            "GetOrganization",
            "ListMembers",
            "DeleteOrganization",
            "UndeleteOrganization",
            "ListItems",
            "ListProjects",
        ] {
            refused(call(stage, who, rpc).await, Code::PermissionDenied, "NOT_A_MEMBER");
        }
        refused(call(stage, who, "RevokeInvitation").await, Code::NotFound, "NOT_FOUND");
    }
}

/// What a service finds: nothing that it could work on, and nobody who has access.
async fn services_are_refused(stage: &Stage, reason: &str) {
    let product = stage.world.service(ServiceRole::Product);
    let meant = Meant { item: stage.item.clone(), owner: stage.acme.clone() };
    for rpc in ["GetItem", "ListItems", "DownloadContent", "RevealSecrets"] {
        refused(across::call(&product, rpc, &meant).await, Code::PermissionDenied, reason);
    }
    let member = stage.cem.user.to_string();
    let write = proto::UpdateItemRequest { item_id: meant.item, name: "New".to_owned(), member, ..Default::default() };
    refused(product.libraries().update_item(write).await, Code::PermissionDenied, reason);
    let avatar = proto::GetAvatarRequest { organization_id: stage.acme.clone(), ..Default::default() };
    refused(product.organizations().get_avatar(avatar).await, Code::PermissionDenied, reason);
}

async fn access(stage: &Stage, who: &Who) -> proto::CheckAccessResponse {
    let (organization_id, user_id) = (stage.acme.clone(), who.user.to_string());
    let request = proto::CheckAccessRequest { organization_id, user_id };
    stage.world.service(ServiceRole::Billing).members().check_access(request).await.expect("told").into_inner()
}

async fn the_organization(stage: &Stage, who: &Who) -> proto::Organization {
    get(who, &stage.acme).await.expect("it")
}

bursar_testkit::engines! {
    async fn nothing_but_its_owners_look_works_in_a_deleted_organization(db: TestDb) {
        let (stage, people) = Box::pin(set(World::start(db).await)).await;
        let acme = the_organization(&stage, &people.ada).await;
        delete(&people.ada, &acme).await.expect("deleted");
        let (code, reason) = (Code::PermissionDenied, "ORGANIZATION_DELETED");
        for who in &people.insiders {
            all_refused(&stage, who, &[], code, reason).await;
        }
        // The owner: with a token of the organization nothing at all, with the personal one a look and the way back.
        let acting = stage.world.acting(&people.ada, &stage.acme);
        all_refused(&stage, &acting, &[], code, reason).await;
        all_refused(&stage, &people.ada, &["GetOrganization", "UndeleteOrganization", "ExportOrganization"], code, reason).await;
        the_organization(&stage, &people.ada).await;
        strangers_learn_nothing(&stage, &people).await;
        services_are_refused(&stage, reason).await;
        for who in [&people.ada, &stage.cem] {
            let told = access(&stage, who).await;
            let nobody = (false, proto::Role::Unspecified, 0, proto::OrganizationState::Deleted);
            assert_eq!((told.member, told.role(), told.version, told.state()), nobody);
        }
        assert_eq!(access(&stage, &people.outsiders[1]).await.state(), proto::OrganizationState::Unspecified);
        crate::world::undelete(&people.ada, &stage.acme).await.expect("undeleted");
        let told = access(&stage, &stage.cem).await;
        assert_eq!((told.member, told.version, told.state()), (true, 1, proto::OrganizationState::Active));
    }

    async fn nothing_works_in_a_suspended_organization(db: TestDb) {
        let (stage, people) = Box::pin(set(World::start(db).await)).await;
        let operator = Who { client: stage.world.service(ServiceRole::Operator), ..stage.world.who(8) };
        stage.call(&operator, "SuspendOrganization").await.expect("suspended");
        let (code, reason) = (Code::PermissionDenied, "ORGANIZATION_SUSPENDED");
        for who in people.insiders.iter().chain([&people.ada]) {
            all_refused(&stage, who, &[], code, reason).await;
            let told = access(&stage, who).await;
            assert_eq!((told.member, told.state()), (false, proto::OrganizationState::Suspended));
        }
        strangers_learn_nothing(&stage, &people).await;
        services_are_refused(&stage, reason).await;
        // Who holds an invitation may decline it, and does not get in.
        let ben = stage.world.who_as(7, "first@example.com");
        refused(stage.call(&ben, "AcceptInvitation").await, code, reason);
        stage.call(&operator, "UnsuspendOrganization").await.expect("opened");
        stage.call(&ben, "AcceptInvitation").await.expect("accepted");
        assert!(access(&stage, &stage.cem).await.member);
    }

    async fn a_purged_organization_is_like_one_that_never_was(db: TestDb) {
        let (mut stage, people) = Box::pin(set(World::start(db).await)).await;
        let acme = the_organization(&stage, &people.ada).await;
        delete(&people.ada, &acme).await.expect("deleted");
        stage.world.advance(Span::from_days(7));
        until("it is purged", async || {
            stage.world.standings_of(&stage.acme).await.last().is_some_and(|(_, purged, _)| *purged)
        }).await;
        // Tokens have expired since. In this order: the owner, an Admin, a Member, a former member, a stranger.
        let (purged, never) = (acme.id, bursar_testkit::organization(77).to_string());
        for who in [1, 4, 3, 5, 9].map(|n| stage.world.who(n)) {
            let mut told = Vec::new();
            for id in [&purged, &never] {
                stage.acme.clone_from(id);
                let mut refusals = Vec::new();
                for rpc in rpcs() {
                    let outcome = call(&stage, &who, rpc).await;
                    refusals.push((rpc, Refusal::of(&outcome.expect_err(rpc))));
                }
                told.push(refusals);
            }
            assert_eq!(told[0], told[1], "{}", who.email);
        }
        stage.acme = purged;
        assert_eq!(access(&stage, &people.ada).await.state(), proto::OrganizationState::Unspecified);
        let product = stage.world.service(ServiceRole::Product);
        let meant = Meant { item: stage.item.clone(), owner: stage.acme.clone() };
        for rpc in ["GetItem", "DownloadContent", "RevealSecrets"] {
            refused(across::call(&product, rpc, &meant).await, Code::NotFound, "NOT_FOUND");
        }
    }
}
