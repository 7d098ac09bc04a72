//! What the product's services read on their own, for any owner and without a user's token; and what they do not.

use bursar_id::Role;
use bursar_proto::organization::v1 as proto;
use bursar_proto::organization::v1::get_organization_request::Key;
use bursar_rpc::ServiceRole;
use bursar_testkit::{Client, id, refused};
use tonic::{Code, Status};

use crate::library::{create as create_item, item};
use crate::world::{World, remove};

async fn organization(client: &Client, key: Key) -> Result<proto::GetOrganizationResponse, Status> {
    let request = proto::GetOrganizationRequest { key: Some(key) };
    Ok(client.organizations().get_organization(request).await?.into_inner())
}

async fn members(client: &Client, organization: &str) -> Result<Vec<proto::Member>, Status> {
    let request = proto::ListMembersRequest { organization_id: organization.to_owned(), ..Default::default() };
    Ok(client.members().list_members(request).await?.into_inner().members)
}

async fn member(client: &Client, organization: &str, user: &str) -> Result<proto::Member, Status> {
    let request = proto::GetMemberRequest { organization_id: organization.to_owned(), user_id: user.to_owned() };
    Ok(client.members().get_member(request).await?.into_inner().member.expect("a member"))
}

async fn projects(client: &Client, owner: &str) -> Result<Vec<proto::Project>, Status> {
    let request = proto::ListProjectsRequest { owner: owner.to_owned(), ..Default::default() };
    Ok(client.projects().list_projects(request).await?.into_inner().projects)
}

async fn project(client: &Client, id: &str) -> Result<proto::Project, Status> {
    let request = proto::GetProjectRequest { project_id: id.to_owned() };
    Ok(client.projects().get_project(request).await?.into_inner().project.expect("a project"))
}

async fn policy(client: &Client, organization: &str) -> Result<proto::Policy, Status> {
    let request = proto::GetPolicyRequest { organization_id: organization.to_owned() };
    Ok(client.organizations().get_policy(request).await?.into_inner().policy.expect("a policy"))
}

bursar_testkit::engines! {
    async fn the_products_services_read_what_they_need_for_any_owner(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await;
        let ben = world.join(&ada, &acme.id, 2, Role::Member).await;
        let make = |owner: &str| proto::CreateProjectRequest {
            owner: owner.to_owned(),
            name: "Work".to_owned(),
            ..Default::default()
        };
        let acting = world.acting(&ada, &acme.id);
        let shared = acting.client.projects().create_project(make(&acme.id)).await.expect("made");
        let shared = shared.into_inner().project.expect("a project");
        let home = ada.client.projects().create_project(make(&ada.user.to_string())).await.expect("made");
        let home = home.into_inner().project.expect("a project");

        let product = world.service(ServiceRole::Product);
        for key in [Key::OrganizationId(acme.id.clone()), Key::Slug(acme.slug.clone())] {
            let got = organization(&product, key).await.expect("any").organization.expect("an organization");
            assert_eq!((got.id.as_str(), got.role(), got.name.as_str()), (&*acme.id, proto::Role::Unspecified, "Acme"));
        }
        let renamed = proto::UpdateOrganizationRequest {
            organization_id: acme.id.clone(),
            slug: "acme-2".to_owned(),
            ..Default::default()
        };
        ada.client.organizations().update_organization(renamed).await.expect("renamed");
        let moved = organization(&product, Key::Slug(acme.slug.clone())).await.expect("a former slug");
        assert!(moved.moved, "{moved:?}");
        assert_eq!(members(&product, &acme.id).await.expect("any").len(), 2);
        let found = member(&product, &acme.id, &ben.user.to_string()).await.expect("any");
        assert_eq!((found.role(), found.email), (proto::Role::Member, ben.email.clone()));
        assert_eq!(policy(&product, &acme.id).await.expect("any").admin_billing(), proto::AdminBilling::Manage);
        for of in [&shared, &home] {
            assert_eq!(projects(&product, &of.owner).await.expect("any"), std::slice::from_ref(of));
            assert_eq!(project(&product, &of.id).await.expect("any"), *of);
        }
        // And write into a library for whom they name.
        let new = proto::CreateItemRequest { member: ben.user.to_string(), ..item(&acme.id, "agent", "Made") };
        let made = create_item(&product, new).await.expect("made");
        let wanted = proto::GetItemRequest { item_id: made.id.clone() };
        let got = product.libraries().get_item(wanted).await.expect("any").into_inner().item.expect("an item");
        assert_eq!((got.created_by, got.owner), (ben.user.to_string(), acme.id.clone()));
        let listed = proto::ListItemsRequest { owner: acme.id.clone(), ..Default::default() };
        assert_eq!(product.libraries().list_items(listed).await.expect("any").into_inner().items.len(), 1);
        let kinds = product.libraries().list_kinds(proto::ListKindsRequest::default()).await.expect("listed");
        assert!(!kinds.into_inner().kinds.is_empty());
    }

    async fn what_there_is_not_is_not_found_and_a_users_token_counts_as_the_users(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        let product = world.service(ServiceRole::Product);
        let nothing = bursar_testkit::organization(77).to_string();
        refused(organization(&product, Key::OrganizationId(nothing.clone())).await, Code::NotFound, "NOT_FOUND");
        refused(organization(&product, Key::Slug("nobody-has-it".to_owned())).await, Code::NotFound, "NOT_FOUND");
        refused(organization(&product, Key::Slug("-".to_owned())).await, Code::NotFound, "NOT_FOUND");
        refused(members(&product, &nothing).await, Code::NotFound, "NOT_FOUND");
        refused(member(&product, &nothing, &ada.user.to_string()).await, Code::NotFound, "NOT_FOUND");
        refused(member(&product, &acme, &id::<bursar_id::kinds::User>(9).to_string()).await, Code::NotFound, "NOT_FOUND");
        refused(policy(&product, &nothing).await, Code::NotFound, "NOT_FOUND");
        assert!(projects(&product, &nothing).await.expect("none").is_empty());
        refused(project(&product, &id::<bursar_id::kinds::Project>(9).to_string()).await, Code::NotFound, "NOT_FOUND");

        for role in [ServiceRole::Billing, ServiceRole::Operator] {
            let other = world.service(role);
            refused(members(&other, &acme).await, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
            refused(projects(&other, &acme).await, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
        }
        // Who acts for a user sees what the user sees.
        let token = world.issuer.user(ben.user).email(&ben.email).at(world.clock.now());
        let for_ben = product.for_user(&token);
        assert_eq!(members(&for_ben, &acme).await.expect("a member").len(), 2);
        let seen = organization(&for_ben, Key::OrganizationId(acme.clone())).await.expect("a member");
        assert_eq!(seen.organization.expect("one").role(), proto::Role::Member);
        remove(&ada, &acme, ben.user).await.expect("removed");
        refused(members(&for_ben, &acme).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(organization(&for_ben, Key::OrganizationId(nothing)).await, Code::PermissionDenied, "NOT_A_MEMBER");
    }
}
