//! `OrganizationService`: what operators do.

use bursar_db::audit::Outcome;
use bursar_id::{Role, ServiceAccountId};
use bursar_proto::organization::v1 as proto;
use bursar_proto::organization::v1::OrganizationState::{Active, Deleted, Suspended};
use bursar_proto::organization::v1::find_organizations_request::Query;
use bursar_rpc::ServiceRole;
use bursar_testkit::{Client, audited, refused};
use bursar_time::Span;
use tonic::{Code, Status};

use crate::world::{World, delete, get, transfer, until};

async fn find(client: &Client, query: Option<Query>) -> Result<Vec<proto::FoundOrganization>, Status> {
    let request = proto::FindOrganizationsRequest { query, ..Default::default() };
    Ok(client.organizations().find_organizations(request).await?.into_inner().organizations)
}

/// The names of what is found.
async fn names(client: &Client, query: Option<Query>) -> Vec<String> {
    let found = find(client, query).await.expect("found");
    found.into_iter().map(|it| it.organization.expect("it").name).collect()
}

async fn suspend(client: &Client, id: &str, reason: &str) -> Result<proto::FoundOrganization, Status> {
    let (organization_id, reason) = (id.to_owned(), reason.to_owned());
    let request = proto::SuspendOrganizationRequest { organization_id, reason, request_id: String::new() };
    Ok(client.organizations().suspend_organization(request).await?.into_inner().organization.expect("it"))
}

async fn unsuspend(client: &Client, id: &str) -> Result<proto::FoundOrganization, Status> {
    let request = proto::UnsuspendOrganizationRequest { organization_id: id.to_owned(), request_id: String::new() };
    Ok(client.organizations().unsuspend_organization(request).await?.into_inner().organization.expect("it"))
}

fn state(found: &proto::FoundOrganization) -> proto::OrganizationState {
    found.organization.as_ref().expect("it").state()
}

bursar_testkit::engines! {
    async fn operators_find_organizations(db: TestDb) {
        let world = World::start(db).await;
        let (ada, eve) = (world.who(1), world.who(2));
        for name in ["Acme", "ACME Two", "acme%_", "Ächt", "Umbra"] {
            world.create(&ada, name).await;
        }
        let other = world.create(&eve, "Acme").await;
        let operator = world.service(ServiceRole::Operator);
        let by = |query| names(&operator, Some(query));
        assert_eq!(by(Query::OrganizationId(other.id.clone())).await, ["Acme"]);
        assert_eq!(by(Query::Slug(other.slug.clone())).await, ["Acme"]);
        assert_eq!(by(Query::Slug("No slug\0".to_owned())).await, Vec::<String>::new());
        assert_eq!(by(Query::OrganizationId(bursar_testkit::organization(77).to_string())).await, Vec::<String>::new());
        assert_eq!(by(Query::NamePrefix("aCmE".to_owned())).await, ["Acme", "Acme", "ACME Two", "acme%_"]);
        assert_eq!(by(Query::NamePrefix("acme%".to_owned())).await, ["acme%_"]);
        assert_eq!(by(Query::NamePrefix("Ä".to_owned())).await, ["Ächt"]);
        assert_eq!(by(Query::OwnerUserId(eve.user.to_string())).await, ["Acme"]);
        assert_eq!(by(Query::OwnerUserId(ada.user.to_string())).await.len(), 5);
        assert_eq!(names(&operator, None).await.len(), 6);
        // Page by page.
        let (mut all, mut page_token) = (Vec::new(), String::new());
        loop {
            let request = proto::FindOrganizationsRequest { page_size: 4, page_token, ..Default::default() };
            let page = operator.organizations().find_organizations(request).await.expect("found").into_inner();
            all.extend(page.organizations.into_iter().map(|it| it.organization.expect("it")));
            page_token = page.next_page_token;
            if page_token.is_empty() { break; }
        }
        let shown: Vec<_> = all.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(shown, ["Acme", "Acme", "ACME Two", "acme%_", "Umbra", "Ächt"]);
        assert!(all.iter().all(|it| it.role() == proto::Role::Unspecified && it.state() == Active));
        let bad = [
            (Query::OrganizationId("org_x".to_owned()), "organization_id"),
            (Query::OwnerUserId(String::new()), "owner_user_id"),
            (Query::NamePrefix("a\0".to_owned()), "name_prefix"),
            (Query::NamePrefix("x".repeat(101)), "name_prefix"),
        ];
        for (query, field) in bad {
            let bad = refused(find(&operator, Some(query)).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(bad.fields, [field]);
        }
        let request = proto::FindOrganizationsRequest { page_token: "AAAA".to_owned(), ..Default::default() };
        let bad = operator.organizations().find_organizations(request).await;
        refused(bad, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    }

    async fn an_operator_suspends_and_opens_again(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await;
        let ben = world.join(&ada, &acme.id, 2, Role::Member).await;
        let operator = world.service(ServiceRole::Operator);
        let found = suspend(&operator, &acme.id, "owes money").await.expect("suspended");
        assert_eq!((state(&found), found.suspension_reason.as_str()), (Suspended, "owes money"));
        assert_eq!(find(&operator, Some(Query::OrganizationId(acme.id.clone()))).await.expect("found"), [found]);
        refused(get(&ben, &acme.id).await, Code::PermissionDenied, "ORGANIZATION_SUSPENDED");
        refused(delete(&ada, &acme).await, Code::PermissionDenied, "ORGANIZATION_SUSPENDED");
        refused(transfer(&ada, &acme.id, ben.user).await, Code::PermissionDenied, "ORGANIZATION_SUSPENDED");
        // Its members see in their list what became of it, and not why.
        let listed = ben.client.organizations().list_organizations(proto::ListOrganizationsRequest::default()).await;
        let listed = listed.expect("listed").into_inner().organizations;
        assert_eq!(listed.iter().map(proto::Organization::state).collect::<Vec<_>>(), [Suspended]);
        let again = suspend(&operator, &acme.id, "other words").await.expect("again");
        assert_eq!(again.suspension_reason, "other words");
        let open = unsuspend(&operator, &acme.id).await.expect("opened");
        assert_eq!((state(&open), open.suspension_reason.as_str()), (Active, ""));
        assert_eq!(unsuspend(&operator, &acme.id).await.expect("again"), open);
        get(&ben, &acme.id).await.expect("as before");
        assert_eq!(world.standings_of(&acme.id).await, [(Suspended, false, 1), (Active, false, 2)]);
        let rows = audited(&world.store).await;
        let by_operator: Vec<_> = rows.iter().filter(|row| row.actor == ServiceAccountId::OPERATOR.to_string()).collect();
        assert_eq!(by_operator.len(), 4, "{rows:?}");
        for row in by_operator {
            assert_eq!((row.outcome, row.owner.map(|owner| owner.to_string())), (Outcome::Done, Some(acme.id.clone())));
            assert_eq!(row.target, Some(acme.id.clone()));
        }
    }

    async fn operating_refuses_whom_and_what_it_must(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await;
        let operator = world.service(ServiceRole::Operator);
        for role in [ServiceRole::Identity, ServiceRole::Billing, ServiceRole::Product] {
            let other = world.service(role);
            let reason = "SERVICE_ROLE_NOT_ALLOWED";
            refused(find(&other, None).await, Code::PermissionDenied, reason);
            refused(suspend(&other, &acme.id, "").await, Code::PermissionDenied, reason);
            refused(unsuspend(&other, &acme.id).await, Code::PermissionDenied, reason);
        }
        refused(find(&ada.client, None).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
        refused(suspend(&ada.client, &acme.id, "").await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
        refused(unsuspend(&ada.client, &acme.id).await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
        let unknown = bursar_testkit::organization(77).to_string();
        refused(suspend(&operator, &unknown, "").await, Code::NotFound, "NOT_FOUND");
        refused(unsuspend(&operator, &unknown).await, Code::NotFound, "NOT_FOUND");
        refused(suspend(&operator, "org_x", "").await, Code::InvalidArgument, "INVALID_FIELDS");
        refused(unsuspend(&operator, "").await, Code::InvalidArgument, "INVALID_FIELDS");
        for reason in ["a\0b".to_owned(), "x".repeat(2_001)] {
            let bad = refused(suspend(&operator, &acme.id, &reason).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(bad.fields, ["reason"]);
        }
        let suspend_once = |reason: &str| {
            let (organization_id, reason, request_id) = (acme.id.clone(), reason.to_owned(), "r1".to_owned());
            let request = proto::SuspendOrganizationRequest { organization_id, reason, request_id };
            let mut client = operator.organizations();
            async move { client.suspend_organization(request).await }
        };
        let first = suspend_once("first").await.expect("suspended").into_inner();
        unsuspend(&operator, &acme.id).await.expect("opened");
        assert_eq!(suspend_once("first").await.expect("replayed").into_inner(), first);
        refused(suspend_once("other").await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        // What was deleted stays so.
        delete(&ada, &acme).await.expect("deleted");
        refused(suspend(&operator, &acme.id, "").await, Code::PermissionDenied, "ORGANIZATION_DELETED");
        refused(unsuspend(&operator, &acme.id).await, Code::PermissionDenied, "ORGANIZATION_DELETED");
        world.advance(Span::from_days(7));
        let operator = world.service(ServiceRole::Operator);
        until("it is purged", async || {
            let found = find(&operator, Some(Query::OrganizationId(acme.id.clone()))).await.expect("found");
            found[0].purged
        }).await;
        refused(suspend(&operator, &acme.id, "").await, Code::NotFound, "NOT_FOUND");
        let found = find(&operator, Some(Query::Slug("acme".to_owned()))).await.expect("found");
        let [tombstone] = found.as_slice() else { panic!("{found:?}") };
        assert_eq!((state(tombstone), tombstone.organization.as_ref().map(|it| it.name.as_str())), (Deleted, Some("")));
        assert!(tombstone.deleted_at.is_some() && tombstone.purged);
        assert_eq!(names(&operator, None).await, Vec::<String>::new());
    }
}
