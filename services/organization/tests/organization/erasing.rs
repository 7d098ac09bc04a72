//! What is deleted and is too much to be erased at once: with the answer it is gone for everybody, and a job erases it.

use std::collections::BTreeSet;

use bursar_db::audit::Outcome;
use bursar_db::on;
use bursar_id::{ItemId, OwnerId, Role};
use bursar_organization::domain::item::Root;
use bursar_organization::store::erasures;
use bursar_organization::usecase::Erasure;
use bursar_proto::organization::v1 as proto;
use bursar_proto::organization::v1::ExportKind::{Content, Library};
use bursar_rpc::ServiceRole;
use bursar_testkit::{Client, TestDb, auditing, refused, rounds};
use tonic::{Code, Status};

use crate::contents::{collected, download, start, upload};
use crate::copying::{copy, to};
use crate::exporting::export;
use crate::library::{create, delete, document, get, item, list, update};
use crate::purging::{due, killed_after, purge_of};
use crate::world::{Who, World, delete as dissolve, until};

/// More than one call erases.
const MANY: i64 = 2_500;
/// Just more than that.
const ENOUGH: i64 = 1_100;

/// A kind under chats, so that items stand three deep.
const KINDS: &str = r#"
[[kinds]]
name = "note"
parents = ["chat"]
secret_fields = ["pin"]
"#;

/// A world with notes, in which an export has the content of one item at most.
async fn world(db: TestDb) -> World {
    World::start_with(db, |settings| {
        let path = settings.data_dir.join("kinds.toml");
        std::fs::write(&path, KINDS).expect("written");
        settings.kinds_file = Some(path);
        settings.library.export_contents = 1;
    })
    .await
}

/// Ada's organization with Ben in it: her at work, him at work, its id.
async fn team(world: &World) -> (Who, Who, String) {
    let ada = world.who(1);
    let acme = world.create(&ada, "Acme").await.id;
    let ben = world.join(&ada, &acme, 2, Role::Member).await;
    (world.acting(&ada, &acme), world.acting(&ben, &acme), acme)
}

async fn under(client: &Client, parent: &proto::Item, kind: &str, name: &str) -> Result<proto::Item, Status> {
    create(client, proto::CreateItemRequest { parent: parent.id.clone(), ..item(&parent.owner, kind, name) }).await
}

fn alone(item: &proto::Item) -> proto::DeleteItemRequest {
    proto::DeleteItemRequest { item_id: item.id.clone(), ..Default::default() }
}

fn whole(item: &proto::Item) -> proto::DeleteItemRequest {
    proto::DeleteItemRequest { with_children: true, ..alone(item) }
}

/// Writes so many more items like one, straight in the store, each of which takes a byte of the quota.
async fn multiply(world: &World, item: &proto::Item, count: i64) {
    const INSERT: &str = "INSERT INTO items (id, owner, kind, name, document, parent, project, secrets_set, bytes, created_by, \
        version, created_at, updated_at) \
        WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < $2) \
        SELECT substr(it.id, 1, length(it.id) - 8) || substr(CAST(100000000 + n.n AS TEXT), 2), it.owner, it.kind, it.name, \
        it.document, it.parent, it.project, '', 1, it.created_by, 1, it.created_at, it.updated_at \
        FROM items it CROSS JOIN n WHERE it.id = $1";
    const TAKE: &str = "UPDATE libraries SET bytes = bytes + $2 WHERE owner = $1";
    let mut tx = world.store.begin().await.expect("a transaction");
    let (id, owner) = (item.id.as_str(), item.owner.as_str());
    let made =
        on!(&mut tx, c => sqlx::query(INSERT).bind(id).bind(count).execute(c).await.expect("made").rows_affected());
    assert_eq!(i64::try_from(made), Ok(count));
    on!(&mut tx, c => sqlx::query(TAKE).bind(owner).bind(count).execute(c).await.expect("taken").rows_affected());
    tx.commit().await.expect("committed");
}

/// The ids of an owner's items of a kind.
async fn ids(world: &World, owner: &str, kind: &str) -> Vec<String> {
    const IDS: &str = "SELECT id FROM items WHERE owner = $1 AND kind = $2 ORDER BY id";
    let mut tx = world.store.read().await.expect("a snapshot");
    on!(&mut tx, c => sqlx::query_scalar(IDS).bind(owner).bind(kind).fetch_all(c).await.expect("read"))
}

/// What is stored of a library: its items, their contents, what is being erased, and the bytes that it takes.
async fn stored(world: &World, owner: &str) -> Vec<i64> {
    const COUNTS: [&str; 4] = [
        "SELECT COUNT(*) FROM items WHERE owner = $1",
        "SELECT COUNT(*) FROM item_contents WHERE owner = $1",
        "SELECT COUNT(*) FROM erasures WHERE owner = $1",
        "SELECT bytes FROM libraries WHERE owner = $1",
    ];
    let mut tx = world.store.read().await.expect("a snapshot");
    let mut stored = Vec::new();
    for count in COUNTS {
        let counted: i64 =
            on!(&mut tx, c => sqlx::query_scalar(count).bind(owner).fetch_one(c).await.expect("counted"));
        stored.push(counted);
    }
    stored
}

/// The names of all that is listed, over all pages, sorted.
/// An agent beside another one, with a chat under which are a note and 250 more like it; and what is stored without it.
async fn agent_with_notes(world: &World, client: &Client, acme: &str) -> ([proto::Item; 3], Vec<i64>) {
    create(client, item(acme, "agent", "Kept")).await.expect("made");
    let before = stored(world, acme).await;
    let agent = create(client, item(acme, "agent", "Agent")).await.expect("made");
    let chat = under(client, &agent, "chat", "Chat").await.expect("made");
    let note = under(client, &chat, "note", "Note").await.expect("made");
    multiply(world, &note, 250).await;
    ([agent, chat, note], before)
}

async fn listed(client: &Client, request: proto::ListItemsRequest) -> Vec<String> {
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = proto::ListItemsRequest { page_size: 1_000, page_token, ..request.clone() };
        let page = list(client, request).await.expect("listed");
        found.extend(page.items.into_iter().map(|item| item.name));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            found.sort_unstable();
            return found;
        }
    }
}

fn of(owner: &str) -> proto::ListItemsRequest {
    proto::ListItemsRequest { owner: owner.to_owned(), ..Default::default() }
}

/// Deletes an item as a call does of which the job has not begun: nothing is erased.
async fn mark(world: &World, item: &proto::Item) -> Erasure {
    let owner: OwnerId = item.owner.parse().expect("an owner");
    let id: ItemId = item.id.parse().expect("an item");
    let erasure = Erasure { owner, root: Root::Item(id) };
    let mut tx = world.store.begin().await.expect("a transaction");
    erasures::insert(&mut tx, owner, erasure.root).await.expect("marked");
    tx.commit().await.expect("committed");
    erasure
}

async fn end(client: &Client, project: &str, request_id: &str) -> Result<(), Status> {
    let (project_id, request_id) = (project.to_owned(), request_id.to_owned());
    let request = proto::DeleteProjectRequest { project_id, request_id, ..Default::default() };
    client.projects().delete_project(request).await.map(drop)
}

/// A project from a template of one asset, and its copy of that.
async fn project(client: &Client, owner: &str) -> (proto::Project, proto::Item) {
    let template = create(client, item(owner, "project_template", "Spring")).await.expect("made");
    under(client, &template, "brand_asset", "Logo").await.expect("made");
    let (owner, name) = (owner.to_owned(), "Launch".to_owned());
    let request =
        proto::CreateProjectRequest { owner: owner.clone(), name, template_item: template.id, ..Default::default() };
    let made = client.projects().create_project(request).await.expect("made").into_inner().project.expect("a project");
    let inside = proto::ListItemsRequest { project: made.id.clone(), ..of(&owner) };
    let [asset] = list(client, inside).await.expect("listed").items.try_into().expect("one");
    (made, asset)
}

bursar_testkit::engines! {
    async fn however_much_stands_under_an_item_goes_with_it_in_one_call(db: TestDb) {
        let world = world(db).await;
        let (ada, ben, acme) = team(&world).await;
        create(&ada.client, item(&acme, "agent", "Kept")).await.expect("made");
        let before = stored(&world, &acme).await;
        let agent = create(&ben.client, item(&acme, "agent", "Agent")).await.expect("made");
        let chat = under(&ben.client, &agent, "chat", "Chat").await.expect("made");
        upload(&ben.client, start(&chat.id, b"said"), b"said").await.expect("uploaded");
        multiply(&world, &chat, MANY).await;
        let chats = ids(&world, &acme, "chat").await;
        refused(delete(&ben.client, alone(&agent)).await, Code::FailedPrecondition, "ITEM_HAS_CHILDREN");
        let request = proto::DeleteItemRequest { request_id: "r1".to_owned(), ..whole(&agent) };
        let (deleted, rows) = auditing(&world.store, delete(&ben.client, request.clone())).await;
        deleted.expect("deleted");
        let [row] = rows.as_slice() else { panic!("{rows:?}") };
        assert!(row.outcome == Outcome::Done && row.method.ends_with("/DeleteItem"), "{row:?}");
        assert_eq!(row.target.as_deref(), Some(agent.id.as_str()));
        for gone in [&agent.id, &chat.id, &chats[0], &chats[1_250], &chats[2_500]] {
            refused(get(&ada.client, gone).await, Code::NotFound, "NOT_FOUND");
        }
        assert_eq!(listed(&ada.client, of(&acme)).await, ["Kept"]);
        delete(&ben.client, request).await.expect("replayed");
        refused(delete(&ben.client, whole(&agent)).await, Code::NotFound, "NOT_FOUND");
        until("all of it is erased, and its room free", async || stored(&world, &acme).await == before).await;
        assert_eq!(listed(&ada.client, of(&acme)).await, ["Kept"]);
        collected(&world, 0).await;
    }

    async fn however_much_belongs_to_a_project_ends_with_it_in_one_call(db: TestDb) {
        let world = world(db).await;
        let (ada, ben, acme) = team(&world).await;
        let (launch, asset) = project(&ben.client, &acme).await;
        upload(&ada.client, start(&asset.id, b"logo"), b"logo").await.expect("uploaded");
        multiply(&world, &asset, MANY).await;
        let assets = ids(&world, &acme, "brand_asset").await;
        let (deleted, rows) = auditing(&world.store, end(&ben.client, &launch.id, "r1")).await;
        deleted.expect("deleted");
        assert_eq!(rows.len(), 1, "{rows:?}");
        let project_id = launch.id.clone();
        let found = ada.client.projects().get_project(proto::GetProjectRequest { project_id }).await;
        refused(found, Code::NotFound, "NOT_FOUND");
        let inside = proto::ListItemsRequest { project: launch.id.clone(), ..of(&acme) };
        assert!(listed(&ada.client, inside).await.is_empty());
        assert_eq!(listed(&ada.client, of(&acme)).await, ["Logo", "Spring"], "the template has its own");
        let alike = &asset.id[..asset.id.len() - 8];
        let inside: Vec<_> = assets.iter().filter(|id| id.starts_with(alike)).collect();
        for gone in [inside[0], inside[1_250], inside[2_500], &asset.id] {
            refused(get(&ada.client, gone).await, Code::NotFound, "NOT_FOUND");
        }
        end(&ben.client, &launch.id, "r1").await.expect("replayed");
        refused(end(&ben.client, &launch.id, "").await, Code::NotFound, "NOT_FOUND");
        let told = world.told_of_projects().await;
        assert_eq!(told.iter().filter(|it| it.deleted && it.id == launch.id).count(), 1, "told at once, and once");
        until("all of it is erased", async || {
            let stored = stored(&world, &acme).await;
            stored.iter().take(3).eq(&[2_i64, 0, 0])
        })
        .await;
        collected(&world, 0).await;
    }

    async fn members_delete_many_only_if_all_are_their_own(db: TestDb) {
        let world = world(db).await;
        let (ada, ben, acme) = team(&world).await;
        let agent = create(&ben.client, item(&acme, "agent", "Agent")).await.expect("made");
        let chat = under(&ben.client, &agent, "chat", "Chat").await.expect("made");
        multiply(&world, &chat, ENOUGH).await;
        // Below the first thousand.
        let chats = ids(&world, &acme, "chat").await;
        let last = proto::Item { id: chats.last().expect("many").clone(), ..chat.clone() };
        let note = under(&ada.client, &last, "note", "Hers").await.expect("made");
        refused(delete(&ben.client, whole(&agent)).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        for there in [&agent.id, &chats[0], &last.id, &note.id] {
            get(&ben.client, there).await.expect("nothing is gone");
        }
        delete(&ada.client, alone(&note)).await.expect("hers");
        let stale = proto::DeleteItemRequest { etag: "v9".to_owned(), ..whole(&agent) };
        refused(delete(&ben.client, stale).await, Code::Aborted, "ETAG_MISMATCH");
        delete(&ben.client, whole(&agent)).await.expect("all are his own");
        refused(get(&ben.client, &agent.id).await, Code::NotFound, "NOT_FOUND");
    }

    async fn what_is_being_erased_is_gone_for_every_call(db: TestDb) {
        let world = world(db).await;
        let (ada, _, acme) = team(&world).await;
        let product = world.service(ServiceRole::Product);
        let (client, boss) = (&ada.client, world.who(1).client);
        let kept = create(client, item(&acme, "agent", "Kept")).await.expect("made");
        let spoken = under(client, &kept, "chat", "Spoken").await.expect("made");
        upload(client, start(&spoken.id, b"kept"), b"kept").await.expect("uploaded");
        let before = stored(&world, &acme).await;
        let agent = create(client, item(&acme, "agent", "Agent")).await.expect("made");
        let chat = under(client, &agent, "chat", "Chat").await.expect("made");
        upload(client, start(&chat.id, b"said"), b"said").await.expect("uploaded");
        let document = Some(document(&[("pin", Some("1234"))]));
        let parent = chat.id.clone();
        let note = proto::CreateItemRequest { parent, document, ..item(&acme, "note", "Note") };
        let note = create(client, note).await.expect("made");
        refused(export(&boss, &acme, &[Content]).await, Code::FailedPrecondition, "EXPORT_TOO_LARGE");
        let erasure = mark(&world, &agent).await;
        for gone in [&agent, &chat, &note] {
            refused(get(client, &gone.id).await, Code::NotFound, "NOT_FOUND");
            refused(get(&product, &gone.id).await, Code::NotFound, "NOT_FOUND");
            let renamed = proto::UpdateItemRequest { item_id: gone.id.clone(), name: "New".to_owned(), ..Default::default() };
            refused(update(client, renamed).await, Code::NotFound, "NOT_FOUND");
            refused(delete(client, whole(gone)).await, Code::NotFound, "NOT_FOUND");
            refused(copy(client, to(gone, &ada.user.to_string())).await, Code::NotFound, "NOT_FOUND");
            let reveal = proto::RevealSecretsRequest { item_id: gone.id.clone() };
            refused(product.libraries().reveal_secrets(reveal).await, Code::NotFound, "NOT_FOUND");
        }
        refused(download(client, &chat.id, 0).await, Code::NotFound, "NOT_FOUND");
        refused(upload(client, start(&chat.id, b"more"), b"more").await, Code::NotFound, "NOT_FOUND");
        refused(under(client, &agent, "chat", "Late").await, Code::NotFound, "NOT_FOUND");
        refused(under(client, &chat, "note", "Late").await, Code::NotFound, "NOT_FOUND");
        let into = proto::CopyItemRequest { to_parent: agent.id.clone(), ..to(&spoken, &acme) };
        refused(copy(client, into).await, Code::NotFound, "NOT_FOUND");
        let below = |parent: &proto::Item| proto::ListItemsRequest { parent: parent.id.clone(), ..of(&acme) };
        let chats = proto::ListItemsRequest { kind: "chat".to_owned(), ..of(&acme) };
        for (request, expected) in [
            (of(&acme), vec!["Kept", "Spoken"]),
            (chats, vec!["Spoken"]),
            (below(&kept), vec!["Spoken"]),
            (below(&agent), vec![]),
            (below(&chat), vec![]),
        ] {
            assert_eq!(listed(client, request.clone()).await, expected, "{request:?}");
        }
        let archive = export(&boss, &acme, &[Library, Content]).await.expect("one content is left");
        assert_eq!(archive.each("library/items.ndjson", "name").len(), 2);
        let contents: Vec<_> = archive.files.keys().filter(|name| name.starts_with("library/content/")).collect();
        assert_eq!(contents, [&format!("library/content/{}", spoken.id)]);
        assert_eq!(download(client, &spoken.id, 0).await.expect("what is kept is there").1, b"kept");
        // Its room is free as soon as it is erased.
        assert!(stored(&world, &acme).await[3] > before[3]);
        let organization = world.at_rest().await;
        for _ in 0..2 {
            // Once more is nothing more.
            assert!(matches!(organization.erase_deleted(erasure, world.clock.now()).await, Ok(false)));
            assert_eq!(stored(&world, &acme).await, before);
        }
    }

    async fn what_stands_above_something_that_is_being_erased_is_copied_without_and_goes_with_it(db: TestDb) {
        let world = world(db).await;
        let (ada, _, acme) = team(&world).await;
        let client = &ada.client;
        let ([agent, chat, _], before) = agent_with_notes(&world, client, &acme).await;
        let persona = under(client, &agent, "persona", "Persona").await.expect("made");
        mark(&world, &chat).await;
        let copied = proto::CopyItemRequest { with_children: true, ..to(&agent, &acme) };
        let copied = copy(client, copied).await.expect("copied");
        let below = |parent: &proto::Item| proto::ListItemsRequest { parent: parent.id.clone(), ..of(&acme) };
        assert_eq!(listed(client, below(&copied)).await, ["Persona"]);
        let chosen = proto::CopyItemRequest { child_ids: vec![chat.id.clone()], ..to(&agent, &acme) };
        refused(copy(client, chosen).await, Code::NotFound, "NOT_FOUND");
        delete(client, whole(&copied)).await.expect("deleted");
        // Whoever looks sees nothing under it.
        delete(client, alone(&persona)).await.expect("deleted");
        delete(client, alone(&agent)).await.expect("it stands alone");
        refused(get(client, &agent.id).await, Code::NotFound, "NOT_FOUND");
        until("all of it is erased", async || stored(&world, &acme).await == before).await;
    }

    async fn an_erasure_that_is_killed_anywhere_goes_on_and_nothing_is_seen_of_it(db: TestDb) {
        let world = world(db).await;
        let (ada, _, acme) = team(&world).await;
        let client = &ada.client;
        let ([agent, chat, note], before) = agent_with_notes(&world, client, &acme).await;
        multiply(&world, &chat, 250).await;
        let erasure = mark(&world, &agent).await;
        let organization = world.at_rest().await;
        let (mut kills, mut found) = (0, BTreeSet::new());
        loop {
            let erasing = Box::pin(organization.erase_deleted(erasure, world.clock.now()));
            match killed_after(kills, erasing).await {
                Some(Ok(false)) => break,
                // A connection that was in the middle of something may be missed for a moment.
                Some(Ok(true) | Err(_)) | None => kills += 1,
            }
            found.insert(stored(&world, &acme).await);
            for gone in [&agent, &chat, &note] {
                refused(get(client, &gone.id).await, Code::NotFound, "NOT_FOUND");
            }
            assert_eq!(listed(client, of(&acme)).await, ["Kept"]);
            refused(under(client, &agent, "chat", "Late").await, Code::NotFound, "NOT_FOUND");
            assert!(kills < 2_000, "it gets nowhere");
        }
        assert!(found.len() > 3, "it was killed with everything, some and nothing left: {found:?}");
        assert_eq!(stored(&world, &acme).await, before);
    }

    async fn a_purge_takes_along_what_is_being_erased(db: TestDb) {
        let world = world(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await;
        let client = world.acting(&ada, &acme.id).client;
        let agent = create(&client, item(&acme.id, "agent", "Agent")).await.expect("made");
        let chat = under(&client, &agent, "chat", "Chat").await.expect("made");
        multiply(&world, &chat, 250).await;
        let erasure = mark(&world, &agent).await;
        dissolve(&ada, &acme).await.expect("deleted");
        let organization = world.at_rest().await;
        assert!(matches!(organization.purge(purge_of(&acme), due(&world)).await, Ok(false)));
        assert_eq!(stored(&world, &acme.id).await, [0_i64, 0, 0, 0]);
        // The job finds nothing to do.
        assert!(matches!(organization.erase_deleted(erasure, due(&world)).await, Ok(false)));
        assert_eq!(stored(&world, &acme.id).await, [0_i64, 0, 0, 0]);
    }

    async fn nothing_comes_under_what_is_deleted_meanwhile(db: TestDb) {
        let world = world(db).await;
        let ada = world.who(1);
        let (client, own) = (&ada.client, ada.user.to_string());
        for round in 0..rounds() {
            let agent = create(client, item(&own, "agent", "Agent")).await.expect("made");
            let chat = under(client, &agent, "chat", "Chat").await.expect("made");
            multiply(&world, &chat, ENOUGH).await;
            let other = create(client, item(&own, "persona", "Other")).await.expect("made");
            let into = proto::CopyItemRequest { to_parent: agent.id.clone(), ..to(&other, &own) };
            let (made, noted, said, copied, gone) = tokio::join!(
                under(client, &agent, "persona", "Persona"),
                under(client, &chat, "note", "Note"),
                upload(client, start(&chat.id, b"said"), b"said"),
                copy(client, into),
                delete(client, whole(&agent)),
            );
            gone.expect("deleted");
            for outcome in [made, noted, said, copied] {
                match outcome {
                    Ok(before) => refused(get(client, &before.id).await, Code::NotFound, "NOT_FOUND"),
                    Err(status) => refused(Err::<(), _>(status), Code::NotFound, "NOT_FOUND"),
                };
            }
            assert_eq!(listed(client, of(&own)).await, ["Other"], "round {round}");
            delete(client, alone(&other)).await.expect("deleted");
        }
        until("all of it is erased, whatever came before", async || stored(&world, &own).await == [0_i64, 0, 0, 0]).await;
        collected(&world, 0).await;
    }

    async fn nothing_comes_into_a_project_that_ends_meanwhile(db: TestDb) {
        let world = world(db).await;
        let ada = world.who(1);
        let (client, own) = (&ada.client, ada.user.to_string());
        let (launch, asset) = project(client, &own).await;
        multiply(&world, &asset, ENOUGH).await;
        let (said, copied, gone) = tokio::join!(
            upload(client, start(&asset.id, b"logo"), b"logo"),
            copy(client, to(&asset, &own)),
            end(client, &launch.id, ""),
        );
        gone.expect("deleted");
        if let Err(status) = said {
            refused(Err::<(), _>(status), Code::NotFound, "NOT_FOUND");
        }
        refused(get(client, &asset.id).await, Code::NotFound, "NOT_FOUND");
        let left = listed(client, of(&own)).await;
        match copied {
            // What was copied out of it before is not its.
            Ok(copy) => assert_eq!((copy.project.as_str(), left.len()), ("", 3)),
            Err(status) => {
                refused(Err::<(), _>(status), Code::NotFound, "NOT_FOUND");
                assert_eq!(left.len(), 2);
            }
        }
        let left = i64::try_from(left.len()).expect("few");
        until("the rest is erased", async || stored(&world, &own).await.iter().take(3).eq(&[left, 0, 0])).await;
    }
}
