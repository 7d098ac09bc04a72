//! Where members must have proven a second factor: what a token that shows none may not do, in whatever context it is, and
//! who can demand it.

use bursar_id::{OrganizationId, Role, ServiceAccountId};
use bursar_members::{Policy, SecondFactor};
use bursar_proto::access::Permission;
use bursar_proto::organization::v1 as proto;
use bursar_rpc::KeyGrant;
use bursar_testkit::{id, refused};
use tonic::{Code, Status};

use crate::copying::{copy, to};
use crate::library::{create as create_item, item};
use crate::world::{Who, World, get, invite, leave, remove, set_policy};

const REQUIRED: &str = "SECOND_FACTOR_ENROLLMENT_REQUIRED";

/// The same person with a token that shows more than a password, in the personal context.
fn proven(world: &World, who: &Who) -> Who {
    let token = world.issuer.user(who.user).email(&who.email).with_second_factor().at(world.clock.now());
    Who { client: world.anybody.with_token(&token), ..who.clone() }
}

/// Demands a second factor, lets go of it, or follows the deployment again.
async fn set(who: &Who, organization: &str, to: proto::SecondFactor) -> Result<proto::Policy, Status> {
    let policy = proto::Policy { second_factor: to.into(), ..Default::default() };
    set_policy(who, organization, "second_factor", policy).await
}

/// What a token does in an organization by its id, whatever the token's context.
async fn by_id(who: &Who, organization: &str) -> Vec<(&'static str, Result<(), Status>)> {
    let organization_id = organization.to_owned();
    let policy = proto::GetPolicyRequest { organization_id: organization_id.clone() };
    let members = proto::ListMembersRequest { organization_id, ..Default::default() };
    vec![
        ("GetOrganization", get(who, organization).await.map(drop)),
        ("GetPolicy", who.client.organizations().get_policy(policy).await.map(drop)),
        ("ListMembers", who.client.members().list_members(members).await.map(drop)),
    ]
}

/// What a token does in the context of an organization.
async fn inside(who: &Who, organization: &str) -> Vec<(&'static str, Result<(), Status>)> {
    let owner = organization.to_owned();
    let projects = proto::ListProjectsRequest { owner: owner.clone(), ..Default::default() };
    let make = proto::CreateProjectRequest { owner: owner.clone(), name: "New".to_owned(), ..Default::default() };
    let items = proto::ListItemsRequest { owner, ..Default::default() };
    vec![
        ("ListProjects", who.client.projects().list_projects(projects).await.map(drop)),
        ("CreateProject", who.client.projects().create_project(make).await.map(drop)),
        ("ListItems", who.client.libraries().list_items(items).await.map(drop)),
        ("CreateItem", create_item(&who.client, item(organization, "agent", "New")).await.map(drop)),
    ]
}

bursar_testkit::engines! {
    async fn an_owner_who_shows_no_second_factor_cannot_require_one(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        refused(set(&ada, &acme, proto::SecondFactor::Required).await, Code::FailedPrecondition, REQUIRED);
        let optional = set(&ada, &acme, proto::SecondFactor::Optional).await.expect("as it is");
        assert_eq!(optional.second_factor(), proto::SecondFactor::Optional, "nothing was changed");
        let safe = proven(&world, &ada);
        let required = set(&safe, &acme, proto::SecondFactor::Required).await.expect("set");
        assert_eq!(required.second_factor(), proto::SecondFactor::Required);
        refused(set(&ada, &acme, proto::SecondFactor::Optional).await, Code::FailedPrecondition, REQUIRED);
        set(&safe, &acme, proto::SecondFactor::Optional).await.expect("taken back");
        for (rpc, outcome) in by_id(&ada, &acme).await {
            outcome.expect(rpc);
        }
    }

    async fn what_the_deployment_requires_is_the_owners_to_let_go_of(db: TestDb) {
        let strict = Policy { second_factor: SecondFactor::Required, ..Policy::default() };
        let world = World::start_with(db, |settings| settings.policies = strict).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        refused(set(&ada, &acme, proto::SecondFactor::Optional).await, Code::FailedPrecondition, REQUIRED);
        set(&proven(&world, &ada), &acme, proto::SecondFactor::Optional).await.expect("set");
        refused(set(&ada, &acme, proto::SecondFactor::Unspecified).await, Code::FailedPrecondition, REQUIRED);
        let back = set(&proven(&world, &ada), &acme, proto::SecondFactor::Unspecified).await.expect("taken back");
        assert_eq!(back.second_factor(), proto::SecondFactor::Required);
    }

    async fn a_token_without_a_second_factor_does_nothing_there_but_leave(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Admin).await;
        let former = world.join(&ada, &acme, 3, Role::Member).await;
        remove(&ada, &acme, former.user).await.expect("removed");
        set(&proven(&world, &ada), &acme, proto::SecondFactor::Required).await.expect("set");

        let acting = world.acting(&ben, &acme);
        for who in [&ben, &acting] {
            for (rpc, outcome) in by_id(who, &acme).await {
                let refusal = refused(outcome, Code::FailedPrecondition, REQUIRED);
                assert_eq!(refusal.metadata.len(), 0, "{rpc}");
            }
            refused(invite(who, &acme, "new@example.com", Role::Member).await, Code::FailedPrecondition, REQUIRED);
            refused(remove(who, &acme, ada.user).await, Code::FailedPrecondition, REQUIRED);
        }
        for (_, outcome) in inside(&acting, &acme).await {
            refused(outcome, Code::FailedPrecondition, REQUIRED);
        }
        for stranger in [&world.who(9), &former] {
            for (_, outcome) in by_id(stranger, &acme).await {
                refused(outcome, Code::PermissionDenied, "NOT_A_MEMBER");
            }
        }

        let organization: OrganizationId = acme.parse().expect("an id");
        let member = || world.issuer.member(ben.user, organization, Role::Admin).email(&ben.email);
        let key = KeyGrant { id: id(1), permissions: [Permission::UseWorkspace].into() };
        let welcome = [
            ("a second factor", member().with_second_factor()),
            ("an API key", member().by_key(key)),
            ("an operator", member().operated_by(ServiceAccountId::OPERATOR)),
        ];
        for (what, token) in welcome {
            let client = world.anybody.with_token(&token.at(world.clock.now()));
            let who = Who { client, ..ben.clone() };
            let mut all = by_id(&who, &acme).await;
            all.extend(inside(&who, &acme).await);
            for (rpc, outcome) in all {
                outcome.unwrap_or_else(|status| panic!("{rpc} with {what}: {status:?}"));
            }
        }

        let listed = ben.client.organizations().list_organizations(proto::ListOrganizationsRequest::default()).await;
        assert_eq!(listed.expect("where one belongs").into_inner().organizations.len(), 1);
        leave(&ben, &acme).await.expect("nobody is kept");
        refused(leave(&ben, &acme).await, Code::PermissionDenied, "NOT_A_MEMBER");
    }

    async fn nothing_is_copied_into_it_by_a_token_without_one(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let agent = create_item(&ada.client, item(&ada.user.to_string(), "agent", "Mine")).await.expect("made");
        copy(&ada.client, to(&agent, &acme)).await.expect("nothing is required yet");
        let safe = proven(&world, &ada);
        set(&safe, &acme, proto::SecondFactor::Required).await.expect("set");
        refused(copy(&ada.client, to(&agent, &acme)).await, Code::FailedPrecondition, REQUIRED);
        copy(&safe.client, to(&agent, &acme)).await.expect("a second factor was shown, in whatever context");
    }

    /// An API key is exempt where it was made for, and knows nothing else of its user's.
    async fn an_api_key_reaches_no_context_but_its_own(db: TestDb) {
        let world = World::start(db).await;
        let (ada, zoe) = (world.who(1), world.who(9));
        let (acme, umbra) = (world.create(&ada, "Acme").await.id, world.create(&ada, "Umbra").await.id);
        let others = world.create(&zoe, "Others").await.id;
        let own = ada.user.to_string();
        let key = || KeyGrant { id: id(1), permissions: [Permission::UseWorkspace].into() };
        let organization: OrganizationId = acme.parse().expect("an id");
        let at_work = world.issuer.member(ada.user, organization, Role::Owner).email(&ada.email);
        let at_work = world.anybody.with_token(&at_work.by_key(key()).at(world.clock.now()));
        let at_home = world.issuer.user(ada.user).email(&ada.email);
        let at_home = world.anybody.with_token(&at_home.by_key(key()).at(world.clock.now()));

        let theirs = create_item(&at_work, item(&acme, "agent", "Acme's")).await.expect("made");
        let mine = create_item(&at_home, item(&own, "agent", "Mine")).await.expect("made");
        copy(&at_work, to(&theirs, &acme)).await.expect("within its own context");
        copy(&at_home, to(&mine, &own)).await.expect("within its own context");
        for (client, item, owner) in [(&at_work, &theirs, &own), (&at_work, &theirs, &umbra), (&at_home, &mine, &acme)] {
            refused(copy(client, to(item, owner)).await, Code::PermissionDenied, "WRONG_CONTEXT");
        }
        refused(copy(&at_work, to(&theirs, &others)).await, Code::PermissionDenied, "NOT_A_MEMBER");
        for (client, elsewhere) in [(&at_work, &umbra), (&at_home, &acme)] {
            let who = Who { client: client.clone(), ..ada.clone() };
            for (_, outcome) in by_id(&who, elsewhere).await {
                refused(outcome, Code::PermissionDenied, "WRONG_CONTEXT");
            }
            for (_, outcome) in by_id(&who, &others).await {
                refused(outcome, Code::PermissionDenied, "NOT_A_MEMBER");
            }
        }
        // Within its context it deletes what its user made, and what others did only if it was given to manage that.
        let ben = world.acting(&world.join(&ada, &acme, 2, Role::Member).await, &acme);
        let token = world.issuer.member(ada.user, organization, Role::Owner).email(&ada.email);
        let manage = [Permission::UseWorkspace, Permission::ManageOrganization].into();
        let manages = token.by_key(KeyGrant { permissions: manage, ..key() }).at(world.clock.now());
        let manages = world.anybody.with_token(&manages);
        let his = create_item(&ben.client, item(&acme, "agent", "His")).await.expect("made");
        let project = proto::CreateProjectRequest { owner: acme.clone(), name: "His".to_owned(), ..Default::default() };
        let project = ben.client.projects().create_project(project).await.expect("made").into_inner().project.expect("one").id;
        let gone = |item_id: &str| proto::DeleteItemRequest { item_id: item_id.to_owned(), ..Default::default() };
        let ended = || proto::DeleteProjectRequest { project_id: project.clone(), ..Default::default() };
        refused(at_work.libraries().delete_item(gone(&his.id)).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        refused(at_work.projects().delete_project(ended()).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        let made = create_item(&at_work, item(&acme, "agent", "Hers")).await.expect("made");
        at_work.libraries().delete_item(gone(&made.id)).await.expect("her own");
        manages.libraries().delete_item(gone(&his.id)).await.expect("given to the key");
        manages.projects().delete_project(ended()).await.expect("given to the key");
        // A person's own token goes where the person may.
        copy(&world.acting(&ada, &acme).client, to(&theirs, &own)).await.expect("hers");
    }
}
