//! `OrganizationService`, but for transfers (see `members.rs`).

use bursar_id::Role;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::organization::v1 as proto;
use bursar_proto::organization::v1::get_organization_request::Key;
use bursar_rpc::ServiceRole;
use bursar_testkit::refused;
use bursar_time::Span;
use prost_types::FieldMask;
use tonic::{Code, Status};

use crate::world::{Who, World, session};

async fn create(who: &Who, name: &str, slug: &str, request_id: &str) -> Result<proto::Organization, Status> {
    let request = proto::CreateOrganizationRequest {
        name: name.to_owned(),
        slug: slug.to_owned(),
        request_id: request_id.to_owned(),
    };
    let created = who.client.organizations().create_organization(request).await?;
    Ok(created.into_inner().organization.expect("an organization"))
}

async fn get(who: &Who, key: impl Into<Option<Key>>) -> Result<proto::GetOrganizationResponse, Status> {
    let request = proto::GetOrganizationRequest { key: key.into() };
    Ok(who.client.organizations().get_organization(request).await?.into_inner())
}

fn slug(text: &str) -> Key {
    Key::Slug(text.to_owned())
}

fn by_id(text: &str) -> Key {
    Key::OrganizationId(text.to_owned())
}

async fn update(who: &Who, change: proto::UpdateOrganizationRequest) -> Result<proto::Organization, Status> {
    let updated = who.client.organizations().update_organization(change).await?;
    Ok(updated.into_inner().organization.expect("an organization"))
}

fn change(organization: &proto::Organization) -> proto::UpdateOrganizationRequest {
    proto::UpdateOrganizationRequest { organization_id: organization.id.clone(), ..Default::default() }
}

fn mask(paths: &[&str]) -> FieldMask {
    FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }
}

bursar_testkit::engines! {
    async fn one_person_creates_so_many_organizations_a_day(db: TestDb) {
        let world = World::start_with(db, |settings| settings.organizations.max_created_per_day = 3).await;
        let (ada, ben) = (world.who(1), world.who(2));
        for name in ["One", "Two", "Three"] {
            world.create(&ada, name).await;
        }
        let request = |name: &str, request_id: &str| proto::CreateOrganizationRequest {
            name: name.to_owned(),
            request_id: request_id.to_owned(),
            ..Default::default()
        };
        let more = ada.client.organizations().create_organization(request("Four", "r1")).await;
        let refusal = refused(more, Code::ResourceExhausted, "TOO_MANY_ORGANIZATIONS");
        assert!(refusal.retryable, "{refusal:?}");
        world.create(&ben, "Another's").await;
        world.advance(Span::DAY);
        let ada = world.who(1);
        ada.client.organizations().create_organization(request("Four", "r1")).await.expect("another day, the same id");
    }

    async fn creating_makes_the_caller_the_owner_and_tells_of_it(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = create(&ada, "  Acme & Söhne ", "", "").await.expect("created");
        assert_eq!((acme.name.as_str(), acme.slug.as_str()), ("Acme & Söhne", "acme-soehne"));
        assert_eq!((acme.owner_user_id.clone(), acme.role()), (ada.user.to_string(), proto::Role::Owner));
        let events = world.events().await;
        let [Payload::OrganizationCreated(created), Payload::MembershipChanged(member)] = events.as_slice() else {
            panic!("{events:?}");
        };
        assert_eq!((&created.organization_id, &created.name, &created.slug), (&acme.id, &acme.name, &acme.slug));
        assert_eq!(created.created_by_session_id, session(1).to_string());
        assert_eq!(created.owner_user_id, ada.user.to_string());
        assert_eq!((member.role(), member.version), (proto::Role::Owner, 1));
        let again = create(&ada, "Acme & Söhne", "", "").await.expect("created");
        assert!(again.slug.starts_with("acme-soehne-"), "{}", again.slug);
        let chosen = create(&ada, "Other", "my-own-slug", "").await.expect("created");
        assert_eq!(chosen.slug, "my-own-slug");
    }

    async fn creating_refuses_what_is_wrong_and_burns_no_request_id(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let bad = refused(create(&ada, " ", "A", "x\n").await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(bad.fields, ["name", "request_id", "slug"]);
        for (name, slug, field) in [
            ("x".repeat(101).as_str(), "", "name"),
            ("a\nb", "", "name"),
            ("Acme", "ab", "slug"),
            ("Acme", "-abc", "slug"),
            ("Acme", "admin", "slug"),
            ("Acme", &"a".repeat(64), "slug"),
        ] {
            let bad = refused(create(&ada, name, slug, "").await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(bad.fields, [field], "{name:?} {slug:?}");
        }
        create(&world.who(2), "Taken", "taken", "r1").await.expect("created");
        refused(create(&ada, "Acme", "taken", "r1").await, Code::AlreadyExists, "SLUG_TAKEN");
        let first = create(&ada, "Acme", "acme", "r1").await.expect("the refusal burned nothing");
        assert_eq!(create(&ada, "Acme", "acme", "r1").await.expect("replayed"), first);
        refused(create(&ada, "Other", "acme", "r1").await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        let service = Who { client: world.service(ServiceRole::Operator), ..ada };
        refused(create(&service, "Acme", "", "").await, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
    }

    async fn getting_goes_by_id_slug_and_former_slug_for_members_only(db: TestDb) {
        let world = World::start(db).await;
        let (ada, eve) = (world.who(1), world.who(2));
        let acme = create(&ada, "Acme", "acme", "").await.expect("created");
        let mut moved = change(&acme);
        "acme-two".clone_into(&mut moved.slug);
        update(&ada, moved).await.expect("moved");
        for (key, moved) in [(by_id(&acme.id), false), (slug("acme-two"), false), (slug("acme"), true)] {
            let answer = get(&ada, key.clone()).await.expect("found");
            assert_eq!(answer.moved, moved, "{key:?}");
            assert_eq!(answer.organization.expect("it").slug, "acme-two", "{key:?}");
        }
        let unknown = bursar_testkit::organization(77).to_string();
        let mut answers = Vec::new();
        for key in [by_id(&acme.id), by_id(&unknown), slug("acme"), slug("acme-two"), slug("nobody"), slug("A\0")] {
            answers.push(refused(get(&eve, key).await, Code::PermissionDenied, "NOT_A_MEMBER"));
        }
        assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:#?}");
        refused(get(&ada, by_id("org_x")).await, Code::InvalidArgument, "INVALID_FIELDS");
        refused(get(&ada, None).await, Code::InvalidArgument, "INVALID_FIELDS");
    }

    async fn listing_goes_by_name_page_by_page(db: TestDb) {
        let world = World::start(db).await;
        let (ada, eve) = (world.who(1), world.who(2));
        for name in ["Delta", "Alpha", "Charlie", "Bravo", "Alpha"] {
            create(&ada, name, "", "").await.expect("created");
        }
        create(&eve, "Eve's", "", "").await.expect("created");
        let acting = world.service(ServiceRole::Identity);
        let token = world.issuer.user(ada.user).at(world.clock.now());
        let acting = Who { client: acting.for_user(&token), ..ada.clone() };
        for who in [&ada, &acting] {
            let (mut names, mut page_token) = (Vec::new(), String::new());
            loop {
                let request = proto::ListOrganizationsRequest { page_size: 2, page_token };
                let page = who.client.organizations().list_organizations(request).await.expect("listed").into_inner();
                names.extend(page.organizations.into_iter().map(|it| (it.name.clone(), it.role())));
                page_token = page.next_page_token;
                if page_token.is_empty() { break; }
            }
            let expected = ["Alpha", "Alpha", "Bravo", "Charlie", "Delta"].map(|it| (it.to_owned(), proto::Role::Owner));
            assert_eq!(names, expected);
        }
        let request = proto::ListOrganizationsRequest { page_size: 2, page_token: "AAAA".to_owned() };
        let bad = ada.client.organizations().list_organizations(request).await;
        refused(bad, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
        let lonely = world.service(ServiceRole::Identity).organizations().list_organizations(proto::ListOrganizationsRequest::default()).await;
        refused(lonely, Code::PermissionDenied, "CALLER_NOT_ALLOWED");
        let foreign = world.service(ServiceRole::Billing).organizations().list_organizations(proto::ListOrganizationsRequest::default()).await;
        refused(foreign, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
    }

    async fn updating_changes_what_the_mask_names(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = create(&ada, "Acme", "acme", "").await.expect("created");
        world.advance(bursar_time::Span::MINUTE);
        let mut both = change(&acme);
        (both.name, both.slug, both.update_mask) = ("Umbra".to_owned(), "umbra".to_owned(), Some(mask(&["name"])));
        both.etag.clone_from(&acme.etag);
        let renamed = update(&world.who(1), both).await.expect("renamed");
        assert_eq!((renamed.name.as_str(), renamed.slug.as_str()), ("Umbra", "acme"));
        assert_ne!((renamed.etag.clone(), renamed.updated_at), (acme.etag.clone(), acme.updated_at));
        let mut nothing = change(&acme);
        "Umbra".clone_into(&mut nothing.name);
        assert_eq!(update(&ada, nothing).await.expect("no change"), renamed);
        let events = world.events().await;
        let told = events.iter().filter(|event| matches!(event, Payload::OrganizationUpdated(it) if it.name == "Umbra" && it.slug == "acme"));
        assert_eq!(told.count(), 1, "{events:?}");
        let mut back = change(&acme);
        for slug in ["umbra", "acme", "umbra"] {
            slug.clone_into(&mut back.slug);
            assert_eq!(update(&ada, back.clone()).await.expect("one's own former slug").slug, slug);
        }
    }

    async fn updating_refuses_whom_and_what_it_must(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = create(&ada, "Acme", "acme", "").await.expect("created");
        let ben = world.join(&ada, &acme.id, 2, Role::Member).await;
        let eve = world.who(3);
        let other = create(&eve, "Eve's", "eves", "").await.expect("created");
        let mut former = change(&other);
        "eves-new".clone_into(&mut former.slug);
        update(&eve, former).await.expect("moved");
        // Everything about it is wrong, and still the outsider learns nothing but that.
        let mut wrong = change(&acme);
        (wrong.name, wrong.slug, wrong.update_mask) = ("\n".to_owned(), "-".to_owned(), Some(mask(&["name", "slug", "owner"])));
        wrong.request_id = "x".repeat(200);
        refused(update(&eve, wrong.clone()).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(update(&ben, wrong.clone()).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        let bad = refused(update(&ada, wrong).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(bad.fields, ["name", "request_id", "slug", "update_mask"]);
        let mut emptied = change(&acme);
        emptied.update_mask = Some(mask(&["slug"]));
        refused(update(&ada, emptied).await, Code::InvalidArgument, "INVALID_FIELDS");
        for taken in ["eves", "eves-new"] {
            let mut taking = change(&acme);
            taken.clone_into(&mut taking.slug);
            refused(update(&ada, taking).await, Code::AlreadyExists, "SLUG_TAKEN");
        }
        let mut stale = change(&acme);
        (stale.name, stale.etag) = ("Late".to_owned(), "v9".to_owned());
        refused(update(&ada, stale).await, Code::Aborted, "ETAG_MISMATCH");
        let mut once = change(&acme);
        (once.name, once.request_id) = ("Once".to_owned(), "r1".to_owned());
        let first = update(&ada, once.clone()).await.expect("changed");
        let mut twice = change(&acme);
        "Twice".clone_into(&mut twice.name);
        update(&ada, twice).await.expect("changed");
        assert_eq!(update(&ada, once.clone()).await.expect("replayed"), first);
        "Thrice".clone_into(&mut once.name);
        refused(update(&ada, once).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    }
}
