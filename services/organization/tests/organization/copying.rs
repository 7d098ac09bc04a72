//! `LibraryService/CopyItem`.

use bursar_id::Role;
use bursar_proto::organization::v1 as proto;
use bursar_rpc::ServiceRole;
use bursar_testkit::{Client, organization, refused};
use tonic::{Code, Status};

use crate::contents::{collected, download, files, start, upload};
use crate::library::{create, delete, document, get, item, list};
use crate::world::{World, remove};

pub(crate) async fn copy(client: &Client, request: proto::CopyItemRequest) -> Result<proto::Item, Status> {
    Ok(client.libraries().copy_item(request).await?.into_inner().item.expect("an item"))
}

/// What copies an item alone to an owner.
pub(crate) fn to(item: &proto::Item, owner: &str) -> proto::CopyItemRequest {
    proto::CopyItemRequest { item_id: item.id.clone(), to_owner: owner.to_owned(), ..Default::default() }
}

async fn under(client: &Client, owner: &str, parent: &str) -> Vec<proto::Item> {
    let request = proto::ListItemsRequest { owner: owner.to_owned(), parent: parent.to_owned(), ..Default::default() };
    let mut found = list(client, request).await.expect("listed").items;
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

/// An agent with a persona, a knowledge base with content, and a chat.
async fn agent(client: &Client, owner: &str) -> (proto::Item, Vec<proto::Item>) {
    let agent = create(client, item(owner, "agent", "Agent")).await.expect("made");
    let mut children = Vec::new();
    for (kind, name) in [("persona", "A persona"), ("knowledge_base", "B knowledge"), ("chat", "C chat")] {
        let request = proto::CreateItemRequest { parent: agent.id.clone(), ..item(owner, kind, name) };
        children.push(create(client, request).await.expect("made"));
    }
    upload(client, start(&children[1].id, b"known"), b"known").await.expect("uploaded");
    (agent, children)
}

bursar_testkit::engines! {
    async fn items_are_copied_into_other_contexts_of_the_callers(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let own = ada.user.to_string();
        let at_work = world.acting(&ada, &acme);
        let (agent, children) = agent(&ada.client, &own).await;
        // Alone.
        let request = proto::CopyItemRequest { request_id: "r1".to_owned(), ..to(&agent, &acme) };
        let alone = copy(&ada.client, request.clone()).await.expect("copied");
        assert_eq!((alone.owner.as_str(), alone.kind.as_str(), alone.name.as_str()), (acme.as_str(), "agent", "Agent"));
        assert!(alone.id != agent.id && alone.document == agent.document);
        assert!(under(&at_work.client, &acme, &alone.id).await.is_empty());
        assert_eq!(copy(&ada.client, request.clone()).await.expect("replayed"), alone);
        let reused = proto::CopyItemRequest { with_children: true, ..request };
        refused(copy(&ada.client, reused).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        // With everything, content too.
        let whole = proto::CopyItemRequest { with_children: true, ..to(&agent, &acme) };
        let whole = copy(&ada.client, whole).await.expect("copied");
        let copies = under(&at_work.client, &acme, &whole.id).await;
        assert_eq!(copies.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["A persona", "B knowledge", "C chat"]);
        assert_eq!(download(&at_work.client, &copies[1].id, 0).await.expect("downloaded").1, b"known");
        // With some, which must stand right under it.
        let some = proto::CopyItemRequest { child_ids: vec![children[0].id.clone()], ..to(&agent, &acme) };
        let some = copy(&ada.client, some).await.expect("copied");
        assert_eq!(under(&at_work.client, &acme, &some.id).await.len(), 1);
        let stranger = proto::CopyItemRequest { child_ids: vec![agent.id.clone()], ..to(&agent, &acme) };
        refused(copy(&ada.client, stranger).await, Code::NotFound, "NOT_FOUND");
        // What it was copied from may go, with what came later: the copy stays, and its content.
        let late = proto::CreateItemRequest { parent: agent.id.clone(), ..item(&own, "knowledge_base", "D late") };
        let late = create(&ada.client, late).await.expect("made");
        upload(&ada.client, start(&late.id, b"late"), b"late").await.expect("uploaded");
        assert_eq!(files(&world), 2, "its own, and what both have");
        let gone = proto::DeleteItemRequest { item_id: agent.id.clone(), with_children: true, ..Default::default() };
        delete(&ada.client, gone).await.expect("deleted");
        collected(&world, 1).await;
        let at_work = world.acting(&ada, &acme);
        assert_eq!(download(&at_work.client, &copies[1].id, 0).await.expect("downloaded").1, b"known");
        let gone = proto::DeleteItemRequest { item_id: whole.id, with_children: true, ..Default::default() };
        delete(&at_work.client, gone).await.expect("deleted");
        collected(&world, 0).await;
    }

    async fn the_same_persona_and_knowledge_go_into_another_agent(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let own = ada.user.to_string();
        let at_work = world.acting(&ada, &acme);
        let (agent, children) = agent(&ada.client, &own).await;
        let other = create(&at_work.client, item(&acme, "agent", "New")).await.expect("made");
        let into = |child_ids: &[&proto::Item]| proto::CopyItemRequest {
            to_parent: other.id.clone(),
            child_ids: child_ids.iter().map(|child| child.id.clone()).collect(),
            ..to(&agent, &acme)
        };
        let answer = copy(&ada.client, into(&[&children[0], &children[1]])).await.expect("copied");
        assert_eq!(answer, other, "the one into which they went");
        let copies = under(&at_work.client, &acme, &other.id).await;
        assert_eq!(copies.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["A persona", "B knowledge"]);
        let nothing = refused(copy(&ada.client, into(&[])).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(nothing.fields, ["child_ids"]);
        // One by one, too, and only where it may stand.
        let one = proto::CopyItemRequest { to_parent: other.id.clone(), ..to(&children[2], &acme) };
        assert_eq!(copy(&ada.client, one).await.expect("copied").parent, other.id);
        let persona = proto::CopyItemRequest { to_parent: copies[1].id.clone(), ..to(&children[0], &acme) };
        refused(copy(&ada.client, persona).await, Code::FailedPrecondition, "PARENT_NOT_ALLOWED");
        // Within one context just as well.
        let here = proto::CopyItemRequest { with_children: true, ..to(&agent, &own) };
        let here = copy(&ada.client, here).await.expect("copied");
        assert_eq!(under(&ada.client, &own, &here.id).await.len(), 3);
    }

    async fn nothing_secret_goes_along_and_nothing_is_told_across_owners(db: TestDb) {
        let world = World::start(db).await;
        let (ada, eve) = (world.who(1), world.who(3));
        let (acme, umbra) = (world.create(&ada, "Acme").await.id, world.create(&eve, "Umbra").await.id);
        let own = ada.user.to_string();
        let mut secret = item(&own, "connection", "Mailer");
        secret.document = Some(document(&[("url", Some("smtp://x")), ("token", Some("s3cret"))]));
        let connection = create(&ada.client, secret).await.expect("made");
        let copied = copy(&ada.client, to(&connection, &acme)).await.expect("copied");
        assert_eq!((copied.secrets_set.len(), copied.document.clone()), (0, Some(document(&[("url", Some("smtp://x"))]))));
        let product = world.service(ServiceRole::Product);
        let reveal = proto::RevealSecretsRequest { item_id: copied.id.clone() };
        let revealed = product.libraries().reveal_secrets(reveal).await.expect("revealed").into_inner();
        assert_eq!(revealed.secrets, Some(document(&[])));
        // Only where the caller belongs, and what others have is not there.
        for owner in [&umbra, &eve.user.to_string(), &organization(99).to_string()] {
            refused(copy(&ada.client, to(&connection, owner)).await, Code::PermissionDenied, "NOT_A_MEMBER");
        }
        refused(copy(&ada.client, to(&connection, "x")).await, Code::InvalidArgument, "INVALID_FIELDS");
        refused(copy(&eve.client, to(&connection, &umbra)).await, Code::NotFound, "NOT_FOUND");
        refused(copy(&ada.client, to(&copied, &own)).await, Code::NotFound, "NOT_FOUND");
        let persona = create(&ada.client, item(&own, "persona", "P")).await.expect("made");
        let theirs = create(&world.acting(&eve, &umbra).client, item(&umbra, "agent", "A")).await.expect("made");
        let foreign = proto::CopyItemRequest { to_parent: theirs.id.clone(), ..to(&persona, &acme) };
        refused(copy(&ada.client, foreign).await, Code::NotFound, "NOT_FOUND");
        let bad = proto::CopyItemRequest {
            item_id: "x".to_owned(),
            to_parent: "y".to_owned(),
            child_ids: vec!["z".to_owned()],
            member: "m".to_owned(),
            ..to(&persona, &acme)
        };
        let bad = refused(copy(&ada.client, bad).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(bad.fields, ["child_ids[0]", "item_id", "member", "to_parent"]);
        // A service copies for whoever belongs to both.
        let ben = world.join(&ada, &acme, 2, Role::Member).await;
        let for_ada = proto::CopyItemRequest { member: own.clone(), ..to(&copied, &own) };
        copy(&product, for_ada).await.expect("copied");
        let for_ben = proto::CopyItemRequest { member: ben.user.to_string(), ..to(&copied, &own) };
        refused(copy(&product, for_ben).await, Code::PermissionDenied, "NOT_A_MEMBER");
        // Whoever left has no more to copy from, nor where to.
        let mine = create(&ben.client, item(&ben.user.to_string(), "agent", "Mine")).await.expect("made");
        copy(&ben.client, to(&mine, &acme)).await.expect("copied");
        remove(&ada, &acme, ben.user).await.expect("removed");
        refused(copy(&ben.client, to(&mine, &acme)).await, Code::PermissionDenied, "NOT_A_MEMBER");
        let acting = world.acting(&ben, &acme);
        refused(copy(&acting.client, to(&copied, &ben.user.to_string())).await, Code::PermissionDenied, "NOT_A_MEMBER");
    }

    /// The same bytes are several owners': whoever shares them and whoever lets go of them lock them in one order.
    async fn sharing_content_and_letting_go_of_it_never_wait_for_each_other(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let [acme, umbra] = ["Acme", "Umbra"].map(|name| world.create(&ada, name));
        let (acme, umbra) = (acme.await.id, umbra.await.id);
        let own = ada.user.to_string();
        let agent = create(&ada.client, item(&own, "agent", "Agent")).await.expect("made");
        for n in 0..24 {
            let request = proto::CreateItemRequest { parent: agent.id.clone(), ..item(&own, "chat", "Chat") };
            let chat = create(&ada.client, request).await.expect("made").id;
            let bytes = format!("chat {n}").into_bytes();
            upload(&ada.client, start(&chat, &bytes), &bytes).await.expect("uploaded");
        }
        let whole = |owner: &str| proto::CopyItemRequest { with_children: true, ..to(&agent, owner) };
        // Another person: whoever writes waits for themselves.
        let ben = world.join(&ada, &acme, 2, Role::Admin).await;
        let (ada, at_work) = (world.who(1), world.acting(&ben, &acme).client);
        for round in 0..8 {
            let theirs = copy(&ada.client, whole(&acme)).await.expect("copied").id;
            let gone = proto::DeleteItemRequest { item_id: theirs, with_children: true, ..Default::default() };
            let (copied, gone) = tokio::join!(copy(&ada.client, whole(&umbra)), delete(&at_work, gone));
            assert!(copied.is_ok() && gone.is_ok(), "round {round}: {copied:?}, {gone:?}");
        }
    }

    async fn a_copy_is_whole_or_not_at_all(db: TestDb) {
        let world = World::start_with(db, |settings| settings.library.quota_bytes = 1_200_000).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let own = ada.user.to_string();
        let agent = create(&ada.client, item(&own, "agent", "Agent")).await.expect("made");
        let mut last = String::new();
        for _ in 0..1_000 {
            let request = proto::CreateItemRequest { parent: agent.id.clone(), ..item(&own, "persona", "P") };
            last = create(&ada.client, request).await.expect("made").id;
        }
        let whole = proto::CopyItemRequest { with_children: true, ..to(&agent, &acme) };
        let many = refused(copy(&ada.client, whole.clone()).await, Code::FailedPrecondition, "TOO_MANY_ITEMS");
        assert_eq!(many.metadata["limit"], "1000");
        let all = proto::DeleteItemRequest { item_id: agent.id.clone(), with_children: true, ..Default::default() };
        // A thousand go into another agent, which is there already; no more than that.
        let umbra = world.create(&ada, "Umbra").await.id;
        let there = world.acting(&ada, &umbra).client;
        let other = create(&there, item(&umbra, "agent", "Other")).await.expect("made");
        let into = proto::CopyItemRequest { with_children: true, to_parent: other.id.clone(), ..to(&agent, &umbra) };
        assert_eq!(copy(&ada.client, into.clone()).await.expect("a thousand"), other);
        let beyond = proto::CreateItemRequest { parent: agent.id.clone(), ..item(&own, "persona", "Chosen") };
        let beyond = create(&ada.client, beyond).await.expect("made").id;
        let many = refused(copy(&ada.client, into).await, Code::FailedPrecondition, "TOO_MANY_ITEMS");
        assert_eq!(many.metadata["limit"], "1000");
        let full = proto::DeleteItemRequest { item_id: other.id.clone(), with_children: true, ..Default::default() };
        delete(&there, full).await.expect("more than are copied go all the same");
        refused(get(&there, &other.id).await, Code::NotFound, "NOT_FOUND");
        let chosen = proto::CopyItemRequest { child_ids: vec![beyond.clone()], ..to(&agent, &acme) };
        let chosen = copy(&ada.client, chosen).await.expect("however many stand beside it");
        let at_work = world.acting(&ada, &acme);
        let copied = under(&at_work.client, &acme, &chosen.id).await;
        assert_eq!(copied.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["Chosen"]);
        let everything = proto::DeleteItemRequest { item_id: chosen.id, with_children: true, ..Default::default() };
        delete(&at_work.client, everything).await.expect("deleted");
        for id in [last, beyond] {
            delete(&ada.client, proto::DeleteItemRequest { item_id: id, ..Default::default() }).await.expect("deleted");
        }
        copy(&ada.client, whole.clone()).await.expect("a thousand");
        // A second thousand would not fit, and leaves nothing.
        refused(copy(&ada.client, whole).await, Code::ResourceExhausted, "LIBRARY_QUOTA_REACHED");
        let request = proto::ListItemsRequest { owner: acme.clone(), kind: "agent".to_owned(), ..Default::default() };
        assert_eq!(list(&at_work.client, request).await.expect("listed").items.len(), 1);
        delete(&ada.client, all).await.expect("a thousand go, too");
        refused(get(&ada.client, &agent.id).await, Code::NotFound, "NOT_FOUND");
    }
}
