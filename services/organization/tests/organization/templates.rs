//! Projects from templates: what stands under a template comes into the project, belongs to it, and ends with it.

use bursar_id::{OwnerId, Role};
use bursar_organization::store::libraries;
use bursar_proto::event::v1::{UserDeleted, event::Payload};
use bursar_proto::organization::v1 as proto;
use bursar_rpc::ServiceRole;
use bursar_testkit::{Client, id, refused};
use tonic::{Code, Status};

use crate::contents::{collected, download, files, start, upload};
use crate::copying::{copy as copying, to};
use crate::library::{create, delete, document, get, item, list};
use crate::world::{Who, World, remove, until};

/// A kind that stands under brand assets alone and has secrets, and one that stands under templates alone.
const KINDS: &str = r#"
[[kinds]]
name = "note"
parents = ["brand_asset"]
may_stand_alone = false
secret_fields = ["token"]

[[kinds]]
name = "page"
parents = ["project_template"]
may_stand_alone = false
"#;

async fn world(db: bursar_testkit::TestDb) -> World {
    World::start_with(db, |settings| {
        let path = settings.data_dir.join("kinds.toml");
        std::fs::write(&path, KINDS).expect("written");
        settings.kinds_file = Some(path);
    })
    .await
}

fn project(owner: &str, template: &str) -> proto::CreateProjectRequest {
    let (owner, name, template_item) = (owner.to_owned(), "Launch".to_owned(), template.to_owned());
    proto::CreateProjectRequest { owner, name, template_item, ..Default::default() }
}

async fn begin(client: &Client, request: proto::CreateProjectRequest) -> Result<proto::Project, Status> {
    Ok(client.projects().create_project(request).await?.into_inner().project.expect("a project"))
}

async fn end(client: &Client, project: &str) -> Result<(), Status> {
    let request = proto::DeleteProjectRequest { project_id: project.to_owned(), ..Default::default() };
    client.projects().delete_project(request).await.map(drop)
}

/// The items of a project, by name.
async fn of(client: &Client, owner: &str, project: &str) -> Vec<proto::Item> {
    let (owner, project) = (owner.to_owned(), project.to_owned());
    let mut found = Vec::new();
    let mut page_token = String::new();
    loop {
        let (owner, project) = (owner.clone(), project.clone());
        let request = proto::ListItemsRequest { owner, project, page_size: 1_000, page_token, ..Default::default() };
        let page = list(client, request).await.expect("listed");
        found.extend(page.items);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

fn names(items: &[proto::Item]) -> Vec<&str> {
    items.iter().map(|it| it.name.as_str()).collect()
}

async fn under(client: &Client, kind: &str, parent: &proto::Item, name: &str) -> proto::Item {
    let request = proto::CreateItemRequest { parent: parent.id.clone(), ..item(&parent.owner, kind, name) };
    create(client, request).await.expect("made")
}

/// A template with two assets, the first of which has content and a note with a secret under it.
async fn template(client: &Client, owner: &str) -> (proto::Item, Vec<proto::Item>) {
    let template = create(client, item(owner, "project_template", "Spring")).await.expect("made");
    let first = under(client, "brand_asset", &template, "A logo").await;
    let second = under(client, "brand_asset", &template, "B colours").await;
    upload(client, start(&first.id, b"logo"), b"logo").await.expect("uploaded");
    let note = proto::CreateItemRequest {
        parent: first.id.clone(),
        document: Some(document(&[("text", Some("C note")), ("token", Some("s3cret"))])),
        ..item(owner, "note", "C note")
    };
    let note = create(client, note).await.expect("made");
    (template, vec![first, second, note])
}

/// How many bytes of its quota an organization takes.
async fn taken(world: &World, organization: &str) -> u64 {
    let owner = OwnerId::Organization(organization.parse().expect("an organization"));
    let mut tx = world.store.begin().await.expect("a transaction");
    let taken = libraries::lock(&mut tx, owner).await.expect("read");
    tx.rollback().await.expect("nothing is changed");
    taken.unsigned_abs()
}

/// Ada's organization with Ben in it: her at work, him at work, its id.
async fn team(world: &World) -> (Who, Who, String) {
    let ada = world.who(1);
    let acme = world.create(&ada, "Acme").await.id;
    let ben = world.join(&ada, &acme, 2, Role::Member).await;
    (world.acting(&ada, &acme), world.acting(&ben, &acme), acme)
}

bursar_testkit::engines! {
    async fn what_stands_under_a_template_comes_into_the_project_and_ends_with_it(db: TestDb) {
        let world = world(db).await;
        let (ada, ben, acme) = team(&world).await;
        let (spring, parts) = template(&ada.client, &acme).await;
        let request = proto::CreateProjectRequest { request_id: "r1".to_owned(), ..project(&acme, &spring.id) };
        let made = begin(&ben.client, request.clone()).await.expect("made");
        assert_eq!(begin(&ben.client, request.clone()).await.expect("replayed"), made);
        refused(begin(&ben.client, proto::CreateProjectRequest { template_item: String::new(), ..request }).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        let copies = of(&ben.client, &acme, &made.id).await;
        assert_eq!(names(&copies), ["A logo", "B colours", "C note"], "once, whoever asked again");
        for (copy, part) in copies.iter().zip(&parts) {
            assert_ne!(copy.id, part.id);
            assert_eq!((&copy.project, &copy.created_by, &copy.kind), (&made.id, &ben.user.to_string(), &part.kind));
            assert_eq!(get(&ada.client, &part.id).await.expect("the template's own").project, "");
        }
        assert_eq!([&copies[0].parent, &copies[1].parent, &copies[2].parent], ["", "", &copies[0].id]);
        assert_eq!(copies[2].secrets_set.len(), 0, "nothing secret goes along");
        assert_eq!(parts[2].secrets_set, ["token"]);
        assert_eq!(download(&ben.client, &copies[0].id, 0).await.expect("downloaded").1, b"logo");
        // What is made under them belongs to the project, too.
        let more = under(&ada.client, "note", &copies[1], "D note").await;
        assert_eq!(more.project, made.id);
        // The template may go, with what came into it later, and the project keeps what it has.
        upload(&ada.client, start(&parts[1].id, b"colours"), b"colours").await.expect("uploaded");
        assert_eq!(files(&world), 2, "its own, and what both have");
        let whole = proto::DeleteItemRequest { item_id: spring.id.clone(), with_children: true, ..Default::default() };
        delete(&ada.client, whole).await.expect("deleted");
        collected(&world, 1).await;
        let (ada, ben) = (world.acting(&ada, &acme), world.acting(&ben, &acme));
        assert_eq!(download(&ben.client, &copies[0].id, 0).await.expect("downloaded").1, b"logo");
        // It ends with what belongs to it, whoever made it, and with nothing else.
        let other = create(&ada.client, item(&acme, "brand_asset", "Alone")).await.expect("made");
        end(&ben.client, &made.id).await.expect("deleted");
        assert_eq!(of(&ada.client, &acme, &made.id).await, []);
        for gone in copies.iter().chain([&more]) {
            refused(get(&ada.client, &gone.id).await, Code::NotFound, "NOT_FOUND");
        }
        assert_eq!(get(&ada.client, &other.id).await.expect("it stays"), other);
        collected(&world, 0).await;
    }

    async fn in_a_project_what_may_not_stand_alone_stands_where_the_template_was(db: TestDb) {
        let world = world(db).await;
        let (ada, ben, acme) = team(&world).await;
        let template = create(&ada.client, item(&acme, "project_template", "Spring")).await.expect("made");
        let page = under(&ada.client, "page", &template, "A page").await;
        let made = begin(&ben.client, project(&acme, &template.id)).await.expect("made");
        let [copy] = of(&ben.client, &acme, &made.id).await.try_into().expect("one");
        assert_eq!((copy.kind.as_str(), copy.name.as_str(), copy.parent.as_str()), ("page", "A page", ""));
        // There alone.
        let alone = refused(create(&ada.client, item(&acme, "page", "B")).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(alone.fields, ["parent"]);
        for page in [&page, &copy] {
            let outside = refused(copying(&ada.client, to(page, &acme)).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(outside.fields, ["to_parent"]);
        }
        end(&ben.client, &made.id).await.expect("it ends with the project");
        refused(get(&ada.client, &copy.id).await, Code::NotFound, "NOT_FOUND");
    }

    async fn what_is_no_template_of_the_same_owner_is_refused_and_nothing_is_made(db: TestDb) {
        let world = world(db).await;
        let (ada, ben, acme) = team(&world).await;
        let zoe = world.who(9);
        let hers = create(&zoe.client, item(&zoe.user.to_string(), "project_template", "Hers")).await.expect("made");
        let home = ada.user.to_string();
        let alone = world.who(1);
        let own = create(&alone.client, item(&home, "project_template", "Own")).await.expect("made");
        let agent = create(&ada.client, item(&acme, "agent", "Agent")).await.expect("made");
        for elsewhere in [hers.id.clone(), own.id.clone(), id::<bursar_id::kinds::Item>(77).to_string()] {
            refused(begin(&ben.client, project(&acme, &elsewhere)).await, Code::NotFound, "NOT_FOUND");
        }
        for wrong in [agent.id, "itm".to_owned()] {
            let bad = refused(begin(&ben.client, project(&acme, &wrong)).await, Code::InvalidArgument, "INVALID_FIELDS");
            assert_eq!(bad.fields, ["template_item"], "{wrong}");
        }
        refused(begin(&zoe.client, project(&acme, "itm")).await, Code::PermissionDenied, "NOT_A_MEMBER");
        let listed = proto::ListProjectsRequest { owner: acme.clone(), ..Default::default() };
        let listed = ada.client.projects().list_projects(listed).await.expect("listed").into_inner().projects;
        assert_eq!(listed, [], "nothing is half made");
        // In the personal context just as well.
        under(&alone.client, "brand_asset", &own, "Mine").await;
        let made = begin(&alone.client, project(&home, &own.id)).await.expect("made");
        assert_eq!(names(&of(&alone.client, &home, &made.id).await), ["Mine"]);
        let empty = begin(&ben.client, project(&acme, "")).await.expect("without a template");
        assert_eq!(of(&ben.client, &acme, &empty.id).await, []);
        end(&ben.client, &empty.id).await.expect("deleted");
    }

    async fn a_template_counts_against_the_quota_and_has_at_most_a_thousand(db: TestDb) {
        let world = World::start_with(db, |settings| settings.library.quota_bytes = 2_000_000).await;
        let (ada, _, acme) = team(&world).await;
        let spring = create(&ada.client, item(&acme, "project_template", "Spring")).await.expect("made");
        for n in 0..999 {
            under(&ada.client, "brand_asset", &spring, &format!("{n:03}")).await;
        }
        // Twice as many do not fit, and nothing of the project is there.
        refused(begin(&ada.client, project(&acme, &spring.id)).await, Code::ResourceExhausted, "LIBRARY_QUOTA_REACHED");
        let roomy = world.starts_again(|settings| settings.library.quota_bytes = 1 << 30).await;
        let ada = world.acting_at(&roomy, &ada, &acme);
        let made = begin(&ada.client, project(&acme, &spring.id)).await.expect("made");
        let copies = of(&ada.client, &acme, &made.id).await;
        assert_eq!(copies.len(), 999);
        // Where there is room for this one, there is none for a second, until all that the first took is free again.
        let full = taken(&world, &acme).await;
        let tight = world.starts_again(|settings| settings.library.quota_bytes = full).await;
        let tight = world.acting_at(&tight, &ada, &acme).client;
        let second = begin(&tight, project(&acme, &spring.id)).await;
        refused(second, Code::ResourceExhausted, "LIBRARY_QUOTA_REACHED");
        end(&tight, &made.id).await.expect("deleted whole");
        assert_eq!(of(&tight, &acme, &made.id).await, []);
        let again = begin(&tight, project(&acme, &spring.id)).await.expect("it fits again");
        assert_eq!((of(&tight, &acme, &again.id).await.len(), taken(&world, &acme).await), (999, full));
        under(&ada.client, "brand_asset", &spring, "999").await;
        let many = refused(begin(&ada.client, project(&acme, &spring.id)).await, Code::FailedPrecondition, "TOO_MANY_ITEMS");
        assert_eq!(many.metadata["limit"], "1000");
    }

    async fn a_project_keeps_its_items_when_who_made_it_leaves_or_deletes_the_account(db: TestDb) {
        let world = world(db).await;
        let (ada, ben, acme) = team(&world).await;
        let (spring, _) = template(&ada.client, &acme).await;
        let made = begin(&ben.client, project(&acme, &spring.id)).await.expect("made");
        let copies = of(&ben.client, &acme, &made.id).await;
        remove(&world.who(1), &acme, ben.user).await.expect("removed");
        refused(get(&ben.client, &copies[0].id).await, Code::PermissionDenied, "NOT_A_MEMBER");
        assert_eq!(of(&ada.client, &acme, &made.id).await, copies, "what was made stays with the organization");
        world.identity_tells(Payload::UserDeleted(UserDeleted { user_id: ben.user.to_string() })).await;
        let get_project = proto::GetProjectRequest { project_id: made.id.clone() };
        let handed_over = async || {
            let got = ada.client.projects().get_project(get_project.clone()).await.expect("there");
            got.into_inner().project.expect("a project").assigned_to == ada.user.to_string()
        };
        until("the project is the owner's", handed_over).await;
        assert_eq!(of(&ada.client, &acme, &made.id).await, copies);
        assert_eq!(download(&ada.client, &copies[0].id, 0).await.expect("downloaded").1, b"logo");
        let product = world.service(ServiceRole::Product);
        assert_eq!(of(&product, &acme, &made.id).await, copies, "the product finds them by the project");
        end(&ada.client, &made.id).await.expect("deleted");
        assert_eq!(of(&product, &acme, &made.id).await, []);
    }

    async fn personal_projects_and_their_items_go_with_the_account(db: TestDb) {
        let world = world(db).await;
        let ada = world.who(1);
        let home = ada.user.to_string();
        let (spring, _) = template(&ada.client, &home).await;
        let made = begin(&ada.client, project(&home, &spring.id)).await.expect("made");
        assert_eq!(of(&ada.client, &home, &made.id).await.len(), 3);
        world.identity_tells(Payload::UserDeleted(UserDeleted { user_id: home.clone() })).await;
        let product = world.service(ServiceRole::Product);
        until("everything is erased", async || of(&product, &home, &made.id).await.is_empty()).await;
        collected(&world, 0).await;
    }
}
