//! `LibraryService`: kinds and items.

use std::fs;

use bursar_id::Role;
use bursar_proto::event::v1::{UserDeleted, event::Payload};
use bursar_proto::organization::v1 as proto;
use bursar_rpc::ServiceRole;
use bursar_testkit::{Client, id, organization, refused, rounds};
use bursar_time::Span;
use prost_types::{FieldMask, Struct, Value, value::Kind};
use tonic::{Code, Status};

use crate::world::{Who, World, remove, until};

/// A document of texts; `None` is null.
pub(crate) fn document(fields: &[(&str, Option<&str>)]) -> Struct {
    let value = |text: Option<&str>| Value {
        kind: Some(text.map_or(Kind::NullValue(0), |text| Kind::StringValue(text.to_owned()))),
    };
    Struct { fields: fields.iter().map(|(name, text)| ((*name).to_owned(), value(*text))).collect() }
}

pub(crate) fn item(owner: &str, kind: &str, name: &str) -> proto::CreateItemRequest {
    let document = Some(document(&[("text", Some(name))]));
    let (owner, kind, name) = (owner.to_owned(), kind.to_owned(), name.to_owned());
    proto::CreateItemRequest { owner, kind, name, document, ..Default::default() }
}

pub(crate) async fn create(client: &Client, request: proto::CreateItemRequest) -> Result<proto::Item, Status> {
    Ok(client.libraries().create_item(request).await?.into_inner().item.expect("an item"))
}

pub(crate) async fn get(client: &Client, id: &str) -> Result<proto::Item, Status> {
    let request = proto::GetItemRequest { item_id: id.to_owned() };
    Ok(client.libraries().get_item(request).await?.into_inner().item.expect("an item"))
}

pub(crate) async fn list(
    client: &Client,
    request: proto::ListItemsRequest,
) -> Result<proto::ListItemsResponse, Status> {
    Ok(client.libraries().list_items(request).await?.into_inner())
}

pub(crate) async fn update(client: &Client, request: proto::UpdateItemRequest) -> Result<proto::Item, Status> {
    Ok(client.libraries().update_item(request).await?.into_inner().item.expect("an item"))
}

pub(crate) async fn delete(client: &Client, request: proto::DeleteItemRequest) -> Result<(), Status> {
    client.libraries().delete_item(request).await.map(drop)
}

fn deletion(id: &str) -> proto::DeleteItemRequest {
    proto::DeleteItemRequest { item_id: id.to_owned(), ..Default::default() }
}

fn mask(paths: &[&str]) -> FieldMask {
    FieldMask { paths: paths.iter().map(|path| (*path).to_owned()).collect() }
}

/// A world with kinds of its own: `note` stands under chats only, has a schema, and a secret pin.
pub(crate) async fn world_with_notes(db: bursar_testkit::TestDb) -> World {
    let kinds = r#"
        [[kinds]]
        name = "note"
        parents = ["chat"]
        may_stand_alone = false
        secret_fields = ["pin"]
        schema = '''{"required": ["title", "pin"], "properties": {"title": {"type": "string", "maxLength": 5}}}'''
    "#;
    World::start_with(db, |settings| {
        let path = settings.data_dir.join("kinds.toml");
        fs::write(&path, kinds).expect("written");
        settings.kinds_file = Some(path);
    })
    .await
}

bursar_testkit::engines! {
    async fn kinds_are_those_of_the_deployment(db: TestDb) {
        let world = world_with_notes(db).await;
        let all = proto::ListKindsRequest { page_size: 9, ..Default::default() };
        let first = world.who(1).client.libraries().list_kinds(all.clone()).await.expect("listed").into_inner();
        let next = proto::ListKindsRequest { page_token: first.next_page_token.clone(), ..all };
        let product = world.service(ServiceRole::Product);
        let second = product.libraries().list_kinds(next).await.expect("listed").into_inner();
        let names: Vec<_> = first.kinds.iter().chain(&second.kinds).map(|kind| kind.name.as_str()).collect();
        assert_eq!(names.len(), 12);
        assert!(names.is_sorted() && second.next_page_token.is_empty(), "{names:?}");
        let note = first.kinds.iter().chain(&second.kinds).find(|kind| kind.name == "note").expect("of its own");
        assert_eq!((note.parents.as_slice(), note.may_stand_alone), (["chat".to_owned()].as_slice(), false));
        assert_eq!(note.secret_fields, ["pin"]);
        assert!(note.schema.as_ref().is_some_and(|schema| schema.fields.contains_key("properties")));
        let bad = proto::ListKindsRequest { page_token: "x".to_owned(), ..Default::default() };
        refused(product.libraries().list_kinds(bad).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
        let nobody = world.anybody.libraries().list_kinds(proto::ListKindsRequest::default()).await;
        refused(nobody, Code::Unauthenticated, "TOKEN_MISSING");
        let operator = world.service(ServiceRole::Operator);
        let operator = operator.libraries().list_kinds(proto::ListKindsRequest::default()).await;
        refused(operator, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
    }

    async fn items_belong_to_the_context_of_the_token(db: TestDb) {
        let world = World::start(db).await;
        let (ada, eve) = (world.who(1), world.who(3));
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.acting(&world.join(&ada, &acme, 2, Role::Member).await, &acme);
        let at_work = world.acting(&ada, &acme);
        let own = ada.user.to_string();
        let private = create(&ada.client, item(&own, "agent", "Mine")).await.expect("made");
        let request = proto::CreateItemRequest { request_id: "r1".to_owned(), ..item(&acme, "agent", " Ours ") };
        let shared = create(&ben.client, request.clone()).await.expect("made");
        assert_eq!((shared.owner.as_str(), shared.name.as_str(), shared.kind.as_str()), (acme.as_str(), "Ours", "agent"));
        assert_eq!((shared.created_by.clone(), shared.parent.as_str()), (ben.user.to_string(), ""));
        assert_eq!(shared.document, Some(document(&[("text", Some(" Ours "))])));
        assert_eq!(create(&ben.client, request.clone()).await.expect("replayed"), shared);
        let other = proto::CreateItemRequest { document: Some(document(&[])), ..request };
        refused(create(&ben.client, other).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        assert_eq!(get(&at_work.client, &shared.id).await.expect("visible to every member"), shared);
        for (who, id) in [(&at_work, &private.id), (&ada, &shared.id), (&eve, &shared.id), (&eve, &private.id)] {
            refused(get(&who.client, id).await, Code::NotFound, "NOT_FOUND");
        }
        refused(get(&ada.client, "itm").await, Code::InvalidArgument, "INVALID_FIELDS");
        for (who, owner, reason) in [
            (&ada, acme.as_str(), "WRONG_CONTEXT"),
            (&at_work, own.as_str(), "WRONG_CONTEXT"),
            (&eve, acme.as_str(), "NOT_A_MEMBER"),
            (&eve, own.as_str(), "NOT_A_MEMBER"),
            (&world.acting(&eve, &acme), acme.as_str(), "NOT_A_MEMBER"),
        ] {
            refused(create(&who.client, item(owner, "", "\n")).await, Code::PermissionDenied, reason);
            let request = proto::ListItemsRequest { owner: owner.to_owned(), page_size: -1, ..Default::default() };
            refused(list(&who.client, request).await, Code::PermissionDenied, reason);
        }
        let mut bad = item(&own, "", "\n");
        (bad.parent, bad.member) = ("x".to_owned(), "y".to_owned());
        bad.document = Some(Struct { fields: [("none".to_owned(), Value { kind: None })].into() });
        let bad = refused(create(&ada.client, bad).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(bad.fields, ["document", "kind", "member", "name", "parent"]);
        refused(create(&ada.client, item("x", "agent", "Mine")).await, Code::InvalidArgument, "INVALID_FIELDS");
        let unknown = refused(create(&ada.client, item(&own, "agnt", "Mine")).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(unknown.fields, ["kind"]);
        let foreign = proto::CreateItemRequest { member: eve.user.to_string(), ..item(&own, "agent", "Mine") };
        let foreign = refused(create(&ada.client, foreign).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(foreign.fields, ["member"], "users act for nobody else");
        // Whoever left is a stranger; what they made stays.
        remove(&ada, &acme, ben.user).await.expect("removed");
        refused(get(&ben.client, &shared.id).await, Code::PermissionDenied, "NOT_A_MEMBER");
        assert_eq!(get(&at_work.client, &shared.id).await.expect("it stays"), shared);
    }

    async fn items_stand_where_their_kinds_may(db: TestDb) {
        let world = world_with_notes(db).await;
        let ada = world.who(1);
        let (client, own) = (&ada.client, ada.user.to_string());
        let agent = create(client, item(&own, "agent", "Agent")).await.expect("made");
        let under = |kind: &str, parent: &str| proto::CreateItemRequest {
            parent: parent.to_owned(),
            ..item(&own, kind, "Child")
        };
        let persona = create(client, under("persona", &agent.id)).await.expect("made");
        assert_eq!(persona.parent, agent.id);
        create(client, item(&own, "persona", "Alone")).await.expect("personas may stand alone");
        refused(create(client, under("agent", &agent.id)).await, Code::FailedPrecondition, "PARENT_NOT_ALLOWED");
        refused(create(client, under("persona", &persona.id)).await, Code::FailedPrecondition, "PARENT_NOT_ALLOWED");
        let nowhere = id::<bursar_id::kinds::Item>(9).to_string();
        refused(create(client, under("persona", &nowhere)).await, Code::NotFound, "NOT_FOUND");
        let ben = world.who(2);
        let foreign = proto::CreateItemRequest { parent: agent.id.clone(), ..item(&ben.user.to_string(), "persona", "P") };
        refused(create(&ben.client, foreign).await, Code::NotFound, "NOT_FOUND");
        let alone = refused(create(client, item(&own, "note", "N")).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(alone.fields, ["parent"]);
        // With children only when asked for, and then all of it.
        refused(delete(client, deletion(&agent.id)).await, Code::FailedPrecondition, "ITEM_HAS_CHILDREN");
        let chat = create(client, under("chat", &agent.id)).await.expect("made");
        let mut note = under("note", &chat.id);
        note.document = Some(document(&[("title", Some("T")), ("pin", Some("1"))]));
        let note = create(client, note).await.expect("made");
        let whole = proto::DeleteItemRequest { with_children: true, request_id: "r1".to_owned(), ..deletion(&agent.id) };
        delete(client, whole.clone()).await.expect("deleted");
        delete(client, whole).await.expect("replayed");
        for gone in [&agent.id, &persona.id, &chat.id, &note.id] {
            refused(get(client, gone).await, Code::NotFound, "NOT_FOUND");
        }
        refused(delete(client, deletion(&agent.id)).await, Code::NotFound, "NOT_FOUND");
        refused(delete(client, deletion("x")).await, Code::InvalidArgument, "INVALID_FIELDS");
    }

    async fn members_delete_their_own_and_managers_everything(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.acting(&world.join(&ada, &acme, 2, Role::Member).await, &acme);
        let cem = world.acting(&world.join(&ada, &acme, 3, Role::Admin).await, &acme);
        let ada = world.acting(&ada, &acme);
        let [hers, his] = [&ada, &ben].map(|who| create(&who.client, item(&acme, "agent", "Agent")));
        let (hers, his) = (hers.await.expect("made"), his.await.expect("made"));
        refused(delete(&ben.client, deletion(&hers.id)).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        let child = proto::CreateItemRequest { parent: his.id.clone(), ..item(&acme, "persona", "P") };
        create(&ada.client, child).await.expect("everybody works with everything");
        let whole = proto::DeleteItemRequest { with_children: true, ..deletion(&his.id) };
        refused(delete(&ben.client, whole.clone()).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        let stale = proto::DeleteItemRequest { etag: "v2".to_owned(), ..whole.clone() };
        refused(delete(&cem.client, stale).await, Code::Aborted, "ETAG_MISMATCH");
        delete(&cem.client, whole).await.expect("an Admin may");
        let own = create(&ben.client, item(&acme, "agent", "Agent")).await.expect("made");
        delete(&ben.client, deletion(&own.id)).await.expect("one's own");
    }

    async fn updating_changes_what_the_mask_names(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let made = create(&ada.client, item(&ada.user.to_string(), "agent", "Old")).await.expect("made");
        let request = proto::UpdateItemRequest {
            item_id: made.id.clone(),
            name: "New".to_owned(),
            update_mask: Some(mask(&["document"])),
            etag: made.etag.clone(),
            request_id: "r1".to_owned(),
            ..Default::default()
        };
        let emptied = update(&ada.client, request.clone()).await.expect("updated");
        assert_eq!((emptied.name.as_str(), emptied.document.clone()), ("Old", Some(document(&[]))));
        assert_ne!(emptied.etag, made.etag);
        assert_eq!(update(&ada.client, request.clone()).await.expect("replayed"), emptied);
        let reused = proto::UpdateItemRequest { name: "Newer".to_owned(), ..request.clone() };
        refused(update(&ada.client, reused).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        let stale = proto::UpdateItemRequest { request_id: String::new(), ..request };
        refused(update(&ada.client, stale.clone()).await, Code::Aborted, "ETAG_MISMATCH");
        let renamed = proto::UpdateItemRequest { etag: String::new(), update_mask: None, ..stale.clone() };
        let renamed = update(&ada.client, renamed).await.expect("renamed");
        assert_eq!(renamed.name, "New");
        let same = proto::UpdateItemRequest { item_id: made.id.clone(), name: "New".to_owned(), ..Default::default() };
        assert_eq!(update(&ada.client, same).await.expect("no change"), renamed);
        let unknown = id::<bursar_id::kinds::Item>(9).to_string();
        let unknown = proto::UpdateItemRequest { item_id: unknown, ..stale.clone() };
        refused(update(&ada.client, unknown).await, Code::NotFound, "NOT_FOUND");
        let wrong = proto::UpdateItemRequest {
            item_id: "x".to_owned(),
            name: "\n".to_owned(),
            update_mask: Some(mask(&["name", "owner"])),
            ..stale
        };
        let bad = refused(update(&ada.client, wrong).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(bad.fields, ["item_id", "name", "update_mask"]);
    }

    async fn the_same_document_is_no_change_with_secrets_either(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let secret = document(&[("text", Some("Mail")), ("secret", Some("s3cret"))]);
        let connection = item(&ada.user.to_string(), "connection", "Mail");
        let made = create(&ada.client, proto::CreateItemRequest { document: Some(secret.clone()), ..connection });
        let made = made.await.expect("made");
        assert_eq!(made.secrets_set, ["secret"]);
        let same = proto::UpdateItemRequest { item_id: made.id.clone(), document: Some(secret), ..Default::default() };
        assert_eq!(update(&ada.client, same).await.expect("no change"), made);
    }

    async fn services_of_the_product_write_for_a_member(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        let product = world.service(ServiceRole::Product);
        let for_member = |owner: &str, member: &Who| proto::CreateItemRequest {
            member: member.user.to_string(),
            ..item(owner, "chat", "Chat")
        };
        let made = create(&product, for_member(&acme, &ben)).await.expect("made");
        assert_eq!(made.created_by, ben.user.to_string());
        let own = create(&product, for_member(&ada.user.to_string(), &ada)).await.expect("made");
        assert_eq!(get(&ada.client, &own.id).await.expect("hers"), own);
        let nobody = refused(create(&product, item(&acme, "chat", "Chat")).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(nobody.fields, ["member"]);
        let eve = world.who(3);
        for owner in [acme.clone(), ada.user.to_string(), organization(77).to_string()] {
            refused(create(&product, for_member(&owner, &eve)).await, Code::PermissionDenied, "NOT_A_MEMBER");
        }
        assert_eq!(get(&product, &made.id).await.expect("read"), made);
        let everything = proto::ListItemsRequest { owner: acme.clone(), ..Default::default() };
        assert_eq!(list(&product, everything).await.expect("listed").items, std::slice::from_ref(&made));
        let change = proto::UpdateItemRequest {
            item_id: made.id.clone(),
            name: "New".to_owned(),
            member: ada.user.to_string(),
            ..Default::default()
        };
        let changed = update(&product, change.clone()).await.expect("changed");
        assert_eq!((changed.name.as_str(), changed.created_by), ("New", made.created_by.clone()));
        let stranger = proto::UpdateItemRequest { member: eve.user.to_string(), ..change };
        refused(update(&product, stranger).await, Code::PermissionDenied, "NOT_A_MEMBER");
        let gone = proto::DeleteItemRequest {
            member: ben.user.to_string(),
            request_id: "r1".to_owned(),
            ..deletion(&made.id)
        };
        delete(&product, gone.clone()).await.expect("deleted");
        delete(&product, gone).await.expect("replayed, though there is nothing left");
        let billing = world.service(ServiceRole::Billing);
        refused(get(&billing, &made.id).await, Code::PermissionDenied, "SERVICE_ROLE_NOT_ALLOWED");
    }

    async fn lists_are_filtered_paged_and_cut_by_bytes(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let (client, own) = (&ada.client, ada.user.to_string());
        let agent = create(client, item(&own, "agent", "Agent")).await.expect("made");
        let mut made = Vec::new();
        for n in 0..5 {
            world.advance(Span::SECOND);
            let kind = if n % 2 == 0 { "persona" } else { "chat" };
            let child = proto::CreateItemRequest { parent: agent.id.clone(), ..item(&own, kind, &format!("C{n}")) };
            made.push(create(client, child).await.expect("made"));
        }
        let request = proto::ListItemsRequest { owner: own.clone(), page_size: 4, ..Default::default() };
        let first = list(client, request.clone()).await.expect("listed");
        let next = proto::ListItemsRequest { page_token: first.next_page_token.clone(), ..request.clone() };
        let second = list(client, next.clone()).await.expect("listed");
        let names: Vec<_> = first.items.iter().chain(&second.items).map(|item| item.name.as_str()).collect();
        assert_eq!((names, second.next_page_token.as_str()), (vec!["C4", "C3", "C2", "C1", "C0", "Agent"], ""));
        let other = proto::ListItemsRequest { kind: "chat".to_owned(), ..next };
        refused(list(client, other).await, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
        let of = |kind: &str, parent: &str| proto::ListItemsRequest {
            kind: kind.to_owned(),
            parent: parent.to_owned(),
            ..request.clone()
        };
        for (kind, parent, expected) in [
            ("persona", "", vec!["C4", "C2", "C0"]),
            ("", agent.id.as_str(), vec!["C4", "C3", "C2", "C1"]),
            ("agent", "", vec!["Agent"]),
            ("nothing", "", vec![]),
            ("", made[0].id.as_str(), vec![]),
            ("persona", agent.id.as_str(), vec!["C4", "C2"]),
        ] {
            let found = list(client, of(kind, parent)).await.expect("listed");
            let names: Vec<_> = found.items.iter().map(|item| item.name.as_str()).collect();
            assert_eq!(names, expected, "{kind} {parent}");
        }
        let both = list(client, of("persona", &agent.id)).await.expect("listed");
        let rest = proto::ListItemsRequest { page_token: both.next_page_token.clone(), ..of("persona", &agent.id) };
        let rest = list(client, rest).await.expect("the rest");
        assert_eq!(rest.items.iter().map(|item| item.name.as_str()).collect::<Vec<_>>(), ["C0"]);
        let none = proto::ListItemsRequest { project: id::<bursar_id::kinds::Project>(1).to_string(), ..request.clone() };
        assert!(list(client, none).await.expect("listed").items.is_empty());
        let wrong = proto::ListItemsRequest { parent: "x".to_owned(), project: "y".to_owned(), ..request.clone() };
        let wrong = refused(list(client, wrong).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(wrong.fields, ["parent", "project"]);
        // Twelve documents of 250 kB are more than one answer reads, whatever the page's size.
        let long = "x".repeat(250_000);
        for n in 0..12 {
            world.advance(Span::SECOND);
            let document = Some(document(&[("text", Some(&long))]));
            create(client, proto::CreateItemRequest { document, ..item(&own, "broadcast", &format!("B{n}")) }).await.expect("made");
        }
        let (mut token, mut seen, mut pages) = (String::new(), Vec::new(), 0);
        loop {
            let page = proto::ListItemsRequest { page_size: 1_000, page_token: token, ..of("broadcast", "") };
            let page = list(client, page).await.expect("listed");
            seen.extend(page.items.into_iter().map(|item| item.name));
            pages += 1;
            token = page.next_page_token;
            if token.is_empty() {
                break;
            }
        }
        assert_eq!(seen, (0..12).rev().map(|n| format!("B{n}")).collect::<Vec<_>>());
        assert_eq!(pages, 2);
    }

    async fn a_quota_holds_for_each_owner(db: TestDb) {
        let world = World::start_with(db, |settings| settings.library.quota_bytes = 4_000).await;
        let ada = world.who(1);
        let (client, own) = (&ada.client, ada.user.to_string());
        let mut made = Vec::new();
        for _ in 0..3 {
            made.push(create(client, item(&own, "agent", "Agent")).await.expect("made").id);
        }
        let full = refused(create(client, item(&own, "agent", "Agent")).await, Code::ResourceExhausted, "LIBRARY_QUOTA_REACHED");
        assert_eq!(full.metadata["quota_bytes"], "4000");
        let long = proto::UpdateItemRequest {
            item_id: made[0].clone(),
            document: Some(document(&[("text", Some(&"x".repeat(1_000)))])),
            ..Default::default()
        };
        refused(update(client, long.clone()).await, Code::ResourceExhausted, "LIBRARY_QUOTA_REACHED");
        let ben = world.who(2);
        create(&ben.client, item(&ben.user.to_string(), "agent", "Agent")).await.expect("another's is another's");
        delete(client, deletion(&made[1])).await.expect("deleted");
        update(client, long).await.expect("there is room again");
    }

    async fn a_personal_library_ends_with_the_account(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        let own = ben.user.to_string();
        let mut agent = String::new();
        for _ in 0..60 {
            agent = create(&ben.client, item(&own, "agent", "Mine")).await.expect("made").id;
            let child = proto::CreateItemRequest { parent: agent.clone(), ..item(&own, "persona", "Mine") };
            create(&ben.client, child).await.expect("made");
        }
        let ours = create(&world.acting(&ben, &acme).client, item(&acme, "agent", "Ours")).await.expect("made");
        world.identity_tells(Payload::UserDeleted(UserDeleted { user_id: own })).await;
        let product = world.service(ServiceRole::Product);
        until("the personal library is erased", async || {
            let request = proto::ListItemsRequest { owner: ben.user.to_string(), ..Default::default() };
            list(&product, request).await.expect("listed").items.is_empty()
        })
        .await;
        refused(get(&product, &agent).await, Code::NotFound, "NOT_FOUND");
        let late = proto::CreateItemRequest { member: ben.user.to_string(), ..item(&ben.user.to_string(), "agent", "Late") };
        refused(create(&product, late).await, Code::NotFound, "NOT_FOUND");
        assert_eq!(get(&product, &ours.id).await.expect("the organization's stays"), ours);
    }

    async fn a_child_made_while_its_parent_is_deleted_is_never_left_alone(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let (client, own) = (&ada.client, ada.user.to_string());
        for round in 0..rounds() {
            let agent = create(client, item(&own, "agent", "Agent")).await.expect("made");
            let child = proto::CreateItemRequest { parent: agent.id.clone(), ..item(&own, "persona", "P") };
            let whole = proto::DeleteItemRequest { with_children: true, ..deletion(&agent.id) };
            let (made, gone) = tokio::join!(create(client, child), delete(client, whole));
            gone.expect("deleted");
            match made {
                Ok(child) => refused(get(client, &child.id).await, Code::NotFound, "NOT_FOUND"),
                Err(status) => refused(Err::<(), _>(status), Code::NotFound, "NOT_FOUND"),
            };
            let left = list(client, proto::ListItemsRequest { owner: own.clone(), ..Default::default() }).await;
            assert!(left.expect("listed").items.is_empty(), "round {round}");
        }
    }
}
