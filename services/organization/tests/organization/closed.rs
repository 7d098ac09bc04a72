//! Every RPC about an organization that is not open, for everybody: one answer, whatever the RPC.

use bursar_id::{Role, kinds};
use bursar_proto::access::{METHODS, MethodRule};
use bursar_proto::organization::v1 as proto;
use bursar_rpc::ServiceRole;
use bursar_testkit::{Client, Refusal, id, refused};
use bursar_time::Span;
use tonic::{Code, Status};

use crate::across::{self, Meant};
use crate::audit_rows::Stage;
use crate::contents::{start, upload};
use crate::founding::{create_soon, paid};
use crate::library::{create, item};
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

/// Calls an RPC about the stage's organization as a user.
pub(crate) async fn call(stage: &Stage, who: &Who, rpc: &str) -> Result<(), Status> {
    call_within(stage, who, &stage.acting(who).client, rpc).await
}

/// The same as one of the product's services, for a member where somebody has to be named.
async fn call_as_service(stage: &Stage, product: &Client, rpc: &str) -> Result<(), Status> {
    let (owner, item_id, member) = (stage.acme.clone(), stage.item.clone(), stage.cem.user.to_string());
    match rpc {
        "CreateItem" => {
            let request = proto::CreateItemRequest { member, ..item(&owner, "agent", "New") };
            create(product, request).await.map(drop)
        }
        "UpdateItem" => {
            let name = "New".to_owned();
            let request = proto::UpdateItemRequest { item_id, name, member, ..Default::default() };
            product.libraries().update_item(request).await.map(drop)
        }
        "CopyItem" => {
            let request = proto::CopyItemRequest { item_id, to_owner: owner, member, ..Default::default() };
            product.libraries().copy_item(request).await.map(drop)
        }
        "UploadContent" => {
            let first = proto::UploadContentRequest { member, ..start(&stage.asset, b"new") };
            upload(product, first, b"new").await.map(drop)
        }
        "DeleteItem" => {
            let request = proto::DeleteItemRequest { item_id, member, ..Default::default() };
            product.libraries().delete_item(request).await.map(drop)
        }
        "RevealSecrets" => across::call(product, rpc, &Meant { item: item_id, owner }).await,
        "GetPreferences" => {
            let request = proto::GetPreferencesRequest { organization_id: owner, user_id: member };
            product.members().get_preferences(request).await.map(drop)
        }
        _ => call_within(stage, &Who { client: product.clone(), ..stage.cem.clone() }, product, rpc).await,
    }
}

/// Calls an RPC about the stage's organization, those of projects and library with a client of their own. A new RPC has to
/// be added here, or in [`Stage::call`].
async fn call_within(stage: &Stage, who: &Who, acting: &Client, rpc: &str) -> Result<(), Status> {
    let organization_id = stage.acme.clone();
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
            acting.projects().get_project(proto::GetProjectRequest { project_id }).await.map(drop)
        }
        "ListProjects" => {
            let request = proto::ListProjectsRequest { owner: organization_id, ..Default::default() };
            acting.projects().list_projects(request).await.map(drop)
        }
        "GetItem" | "ListItems" | "CopyItem" | "UploadContent" | "DownloadContent" => {
            let meant = Meant { item: stage.item.clone(), owner: organization_id };
            across::call(acting, rpc, &meant).await
        }
        _ => stage.call(who, rpc).await,
    }
}

/// The RPCs about an organization whose rule fits.
fn about(fits: impl Fn(&MethodRule) -> bool) -> impl Iterator<Item = &'static str> {
    let all = METHODS.iter().filter(move |(_, rule)| rule.as_ref().is_some_and(&fits));
    let all = all.filter_map(|(path, _)| path.strip_prefix("/bursar.organization.v1."));
    all.filter_map(|path| path.rsplit('/').next()).filter(|rpc| !OTHERS.contains(rpc))
}

/// What users call about an organization that they are in.
pub(crate) fn rpcs() -> impl Iterator<Item = &'static str> {
    about(|_| true).filter(|rpc| !PRODUCTS.contains(rpc))
}

/// What the product's services call about an organization.
fn services_rpcs() -> impl Iterator<Item = &'static str> {
    about(|rule| rule.service_roles.contains(&"product"))
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
    let mut called = 0;
    for rpc in services_rpcs() {
        called += 1;
        let refusal = Refusal::of(&call_as_service(stage, &product, rpc).await.expect_err(rpc));
        assert_eq!((refusal.code, refusal.reason.as_str()), (Code::PermissionDenied, reason), "{rpc} by a service");
    }
    assert!(called >= 17, "only {called} were called");
}

/// What a service is told about an organization of which nothing is left.
async fn services_find_nothing(stage: &Stage) {
    let product = stage.world.service(ServiceRole::Product);
    for rpc in services_rpcs() {
        let told = call_as_service(stage, &product, rpc).await.map_err(|status| Refusal::of(&status));
        let told = told.as_ref().map_err(|refusal| (refusal.code, refusal.reason.as_str())).copied();
        let expected = match rpc {
            // What nobody has is empty, and nobody belongs there for whom to make anything.
            "ListItems" | "ListProjects" => Ok(()),
            "CreateItem" => Err((Code::PermissionDenied, "NOT_A_MEMBER")),
            _ => Err((Code::NotFound, "NOT_FOUND")),
        };
        assert_eq!(told, expected, "{rpc} by a service");
    }
    let owner = stage.acme.clone();
    let items = proto::ListItemsRequest { owner: owner.clone(), ..Default::default() };
    assert_eq!(product.libraries().list_items(items).await.expect("listed").into_inner().items, []);
    let projects = proto::ListProjectsRequest { owner, ..Default::default() };
    assert_eq!(product.projects().list_projects(projects).await.expect("listed").into_inner().projects, []);
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

    async fn an_organization_that_waits_for_its_plan_is_like_one_that_never_was(db: TestDb) {
        let world = World::start_with(db, paid).await;
        let (ada, zoe) = (world.who(1), world.who(9));
        for who in [&ada, &zoe] {
            world.billing.subscribes(who);
        }
        let mut stage = Stage::set(world, &ada).await;
        stage.world.billing.set_away(true);
        let umbra = proto::CreateOrganizationRequest { name: "Umbra".to_owned(), ..Default::default() };
        let pending = create_soon(&zoe, umbra).await.expect("answered in time");
        assert_eq!(pending.state(), proto::OrganizationState::Pending);
        // Nothing was made in it.
        stage.project = id::<kinds::Project>(77).to_string();
        stage.invitation = id::<kinds::Invitation>(77).to_string();
        (stage.item, stage.asset) = (id::<kinds::Item>(77).to_string(), id::<kinds::Item>(77).to_string());
        let never = bursar_testkit::organization(77).to_string();
        // Whoever waits for it, somebody else's owner, a member there, a stranger.
        let people = [zoe.clone(), ada, stage.cem.clone(), stage.world.who(7)];
        for who in &people {
            let mut told = Vec::new();
            for id in [&pending.id, &never] {
                stage.acme.clone_from(id);
                let mut refusals = Vec::new();
                // Its owner has a look, and may be rid of it.
                for rpc in rpcs().filter(|rpc| !["GetOrganization", "DeleteOrganization"].contains(rpc)) {
                    let outcome = call(&stage, who, rpc).await;
                    refusals.push((rpc, Refusal::of(&outcome.expect_err(rpc))));
                }
                told.push(refusals);
            }
            assert!(told[0].len() >= 30, "only {} were called", told[0].len());
            assert_eq!(told[0], told[1], "{}", who.email);
        }
        for stranger in &people[1..] {
            refused(get(stranger, &pending.id).await, Code::PermissionDenied, "NOT_A_MEMBER");
            refused(delete(stranger, &pending).await, Code::PermissionDenied, "NOT_A_MEMBER");
        }
        let product = stage.world.service(ServiceRole::Product);
        for owner in [never, pending.id.clone()] {
            stage.acme.clone_from(&owner);
            services_find_nothing(&stage).await;
            let hers = proto::CreateItemRequest { member: zoe.user.to_string(), ..item(&owner, "agent", "New") };
            refused(create(&product, hers).await, Code::PermissionDenied, "NOT_A_MEMBER");
        }
        let told = access(&stage, &zoe).await;
        assert_eq!((told.member, told.state()), (false, proto::OrganizationState::Pending));
        assert_eq!(get(&zoe, &pending.id).await.expect("she sees it"), pending, "as before");
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
        for id in [never, purged] {
            stage.acme = id;
            assert_eq!(access(&stage, &people.ada).await.state(), proto::OrganizationState::Unspecified);
            services_find_nothing(&stage).await;
        }
    }
}
