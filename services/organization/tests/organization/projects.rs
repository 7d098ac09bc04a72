//! `ProjectService`, and what is told of projects.

use std::collections::BTreeSet;

use bursar_db::{DbError, on};
use bursar_id::{OwnerId, ProjectId, Role};
use bursar_members::PersonalWorkspace;
use bursar_organization::store::projects::{self, ProjectRow};
use bursar_proto::event::v1::event::Payload;
use bursar_proto::event::v1::{ProjectsChanged, SnapshotRequest};
use bursar_proto::event_type;
use bursar_proto::organization::v1 as proto;
use bursar_rpc::ServiceRole;
use bursar_testkit::{answers_with, id, refused};
use bursar_time::Span;
use prost_types::FieldMask;
use tonic::{Code, Status};

use crate::by_services::keep_whole;
use crate::library;
use crate::world::{Who, World, leave, remove, until};

/// What is told of one project.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Told {
    pub(crate) owner: String,
    pub(crate) id: String,
    pub(crate) deleted: bool,
}

impl World {
    /// What every event tells of projects, in order.
    pub(crate) async fn told_of_projects(&self) -> Vec<Told> {
        let told = |payload| match payload {
            Payload::ProjectsChanged(changed) => Some(each(changed)),
            _ => None,
        };
        self.events().await.into_iter().filter_map(told).flatten().collect()
    }

    /// What a snapshot tells of projects, part by part.
    async fn projects_now(&self) -> Vec<Vec<Told>> {
        let types = vec![event_type::PROJECTS_CHANGED.to_owned()];
        let mut events = self.service(ServiceRole::Billing).organization_events();
        let mut stream = events.snapshot(SnapshotRequest { types }).await.expect("begun").into_inner();
        let mut parts = Vec::new();
        while let Some(part) = stream.message().await.expect("a part") {
            let told = part.events.into_iter().map(|event| match event.payload {
                Some(Payload::ProjectsChanged(changed)) if changed.owner == event.owner => each(changed),
                other => panic!("{other:?}"),
            });
            parts.push(told.flatten().collect());
        }
        parts
    }
}

/// Writes projects of these owners in turn, as many.
async fn write(world: &World, owners: [OwnerId; 2], by: &Who, count: u64) {
    let mut tx = world.store.begin().await.expect("a transaction");
    for (n, owner) in (1..=count).zip(owners.into_iter().cycle()) {
        let row = ProjectRow {
            id: id(n),
            owner,
            name: "P".to_owned(),
            description: String::new(),
            created_by: by.user,
            assigned_to: by.user,
            version: 1,
            created_at: world.clock.now(),
            updated_at: world.clock.now(),
        };
        projects::insert(&mut tx, &row).await.expect("inserted");
    }
    tx.commit().await.expect("committed");
}

fn each(changed: ProjectsChanged) -> Vec<Told> {
    let ProjectsChanged { owner, project_ids, deleted } = changed;
    project_ids.into_iter().map(|id| Told { owner: owner.clone(), id, deleted }).collect()
}

fn changed(project: &proto::Project, deleted: bool) -> Told {
    Told { owner: project.owner.clone(), id: project.id.clone(), deleted }
}

async fn create(who: &Who, owner: &str, name: &str, request_id: &str) -> Result<proto::Project, Status> {
    let request = proto::CreateProjectRequest {
        owner: owner.to_owned(),
        name: name.to_owned(),
        description: "What it is about".to_owned(),
        request_id: request_id.to_owned(),
        ..Default::default()
    };
    Ok(who.client.projects().create_project(request).await?.into_inner().project.expect("a project"))
}

async fn get(who: &Who, id: &str) -> Result<proto::Project, Status> {
    let request = proto::GetProjectRequest { project_id: id.to_owned() };
    Ok(who.client.projects().get_project(request).await?.into_inner().project.expect("a project"))
}

async fn list(who: &Who, owner: &str, page_size: i32, page_token: &str) -> Result<proto::ListProjectsResponse, Status> {
    let request = proto::ListProjectsRequest { owner: owner.to_owned(), page_size, page_token: page_token.to_owned() };
    Ok(who.client.projects().list_projects(request).await?.into_inner())
}

async fn update(who: &Who, request: proto::UpdateProjectRequest) -> Result<proto::Project, Status> {
    Ok(who.client.projects().update_project(request).await?.into_inner().project.expect("a project"))
}

async fn reassign(who: &Who, project: &proto::Project, to: &str) -> Result<proto::Project, Status> {
    let request = proto::ReassignProjectRequest {
        project_id: project.id.clone(),
        user_id: to.to_owned(),
        etag: project.etag.clone(),
        request_id: String::new(),
    };
    Ok(who.client.projects().reassign_project(request).await?.into_inner().project.expect("a project"))
}

async fn delete(who: &Who, id: &str, etag: &str, request_id: &str) -> Result<(), Status> {
    let request = proto::DeleteProjectRequest {
        project_id: id.to_owned(),
        etag: etag.to_owned(),
        request_id: request_id.to_owned(),
    };
    who.client.projects().delete_project(request).await.map(|_| ())
}

bursar_testkit::engines! {
    async fn without_personal_workspaces_projects_belong_to_organizations(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let (home, acme) = (ada.user.to_string(), world.create(&ada, "Acme").await.id);
        let mine = create(&ada, &home, "Mine", "").await.expect("personal ones are allowed at first");
        let off = PersonalWorkspace::Off;
        world.starts_again(|settings| settings.policies.personal_workspace = off).await;
        refused(create(&ada, &home, "Another", "").await, Code::FailedPrecondition, "ORGANIZATION_REQUIRED");
        create(&world.acting(&ada, &acme), &acme, "Ours", "").await.expect("an organization's");
        get(&ada, &mine.id).await.expect("what is there is shown");
        delete(&ada, &mine.id, "", "").await.expect("and deleted");
        world.starts_again(|_| ()).await;
        create(&ada, &home, "Another", "").await.expect("allowed again");
    }

    async fn projects_belong_to_the_context_of_the_token(db: TestDb) {
        let world = World::start(db).await;
        let (ada, eve) = (world.who(1), world.who(3));
        let acme = world.create(&ada, "Acme").await.id;
        let ben = world.acting(&world.join(&ada, &acme, 2, Role::Member).await, &acme);
        let own = ada.user.to_string();
        let private = create(&ada, &own, "Mine", "").await.expect("made");
        let shared = create(&ben, &acme, " Ours ", "r1").await.expect("made");
        assert_eq!((shared.owner.as_str(), shared.name.as_str()), (acme.as_str(), "Ours"));
        assert_eq!((shared.created_by.clone(), shared.assigned_to.clone()), (ben.user.to_string(), ben.user.to_string()));
        assert_eq!(create(&ben, &acme, " Ours ", "r1").await.expect("replayed"), shared);
        refused(create(&ben, &acme, "Other", "r1").await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        let at_work = world.acting(&ada, &acme);
        assert_eq!(get(&at_work, &shared.id).await.expect("visible to every member"), shared);
        refused(get(&at_work, &private.id).await, Code::NotFound, "NOT_FOUND");
        refused(get(&ada, &shared.id).await, Code::NotFound, "NOT_FOUND");
        refused(get(&eve, &shared.id).await, Code::NotFound, "NOT_FOUND");
        refused(get(&ada, "prj").await, Code::InvalidArgument, "INVALID_FIELDS");
        refused(get(&world.acting(&eve, &acme), &shared.id).await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(get(&world.acting(&eve, &acme), "prj").await, Code::PermissionDenied, "NOT_A_MEMBER");
        for (who, owner, reason) in [
            (&ada, acme.as_str(), "WRONG_CONTEXT"),
            (&at_work, own.as_str(), "WRONG_CONTEXT"),
            (&eve, acme.as_str(), "NOT_A_MEMBER"),
            (&eve, own.as_str(), "NOT_A_MEMBER"),
            (&world.acting(&eve, &acme), acme.as_str(), "NOT_A_MEMBER"),
        ] {
            refused(create(who, owner, "\n", "").await, Code::PermissionDenied, reason);
            refused(list(who, owner, -1, "").await, Code::PermissionDenied, reason);
        }
        refused(create(&ada, "x", "Mine", "").await, Code::InvalidArgument, "INVALID_FIELDS");
        refused(list(&ada, "x", 0, "").await, Code::InvalidArgument, "INVALID_FIELDS");
        let request = proto::CreateProjectRequest { owner: own, description: "\0".to_owned(), ..Default::default() };
        let bad = refused(ada.client.projects().create_project(request).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(bad.fields, ["description", "name"]);
    }

    async fn that_a_project_is_made_and_that_it_is_gone_is_told_once(db: TestDb) {
        let world = World::start(db).await;
        let owner = world.who(1);
        let acme = world.create(&owner, "Acme").await.id;
        let ada = world.acting(&owner, &acme);
        let ben = world.acting(&world.join(&owner, &acme, 2, Role::Member).await, &acme);
        let mine = create(&owner, &owner.user.to_string(), "Mine", "r1").await.expect("made");
        create(&owner, &owner.user.to_string(), "Mine", "r1").await.expect("replayed");
        let ours = create(&ada, &acme, "Ours", "").await.expect("made");
        let template = library::item(&acme, "project_template", "Spring");
        let template = library::create(&ada.client, template).await.expect("made").id;
        let request = proto::CreateProjectRequest {
            owner: acme.clone(),
            name: "Another".to_owned(),
            template_item: template,
            ..Default::default()
        };
        let another = ada.client.projects().create_project(request).await.expect("made").into_inner().project.expect("it");
        let all = [&mine, &ours, &another].map(|it| changed(it, false)).to_vec();
        assert_eq!(world.told_of_projects().await, all);
        // Who is responsible, and what it is called, is nobody else's.
        reassign(&ada, &ours, &ben.user.to_string()).await.expect("reassigned");
        let renamed = proto::UpdateProjectRequest { project_id: ours.id.clone(), name: "New".to_owned(), ..Default::default() };
        update(&ada, renamed).await.expect("renamed");
        refused(create(&ada, &acme, "\n", "").await, Code::InvalidArgument, "INVALID_FIELDS");
        refused(delete(&ben, &another.id, "", "").await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        assert_eq!(world.told_of_projects().await, all);
        assert_eq!(world.projects_now().await.concat().len(), 3);

        delete(&ada, &ours.id, "", "r2").await.expect("deleted");
        delete(&ada, &ours.id, "", "r2").await.expect("replayed");
        assert_eq!(world.told_of_projects().await, [all, vec![changed(&ours, true)]].concat());
        let mut left = world.projects_now().await.concat();
        left.sort();
        let mut expected = vec![changed(&mine, false), changed(&another, false)];
        expected.sort();
        assert_eq!(left, expected, "a snapshot tells of those that there are");
    }

    async fn what_a_program_made_that_told_of_nothing_is_told_once(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        write(&world, [OwnerId::User(ada.user), OwnerId::Organization(id(7))], &ada, 450).await;
        assert_eq!(world.told_of_projects().await, [], "these were written by hand");
        let mut tx = world.store.begin().await.expect("a transaction");
        // As such a program leaves them.
        let untold = async {
            let sql = "UPDATE projects SET told = 0";
            Ok::<u64, DbError>(on!(&mut tx, c => sqlx::query(sql).execute(c).await?.rows_affected()))
        };
        assert_eq!(untold.await.expect("written"), 450);
        tx.commit().await.expect("committed");
        let mine = create(&ada, &ada.user.to_string(), "Mine", "").await.expect("made");
        // The service does it now and then, some at a time.
        until("all are told", async || {
            world.advance(Span::from_secs(10));
            world.told_of_projects().await.len() == 451
        })
        .await;
        let told = world.told_of_projects().await;
        assert!(told.iter().all(|it| !it.deleted), "{told:?}");
        let each: BTreeSet<_> = told.iter().map(|it| it.id.as_str()).collect();
        assert!(each.len() == 451 && each.contains(mine.id.as_str()), "each once");
    }

    async fn a_snapshot_tells_every_project_in_parts(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let owners = [OwnerId::User(ada.user), OwnerId::Organization(id(7))];
        write(&world, owners, &ada, 600).await;
        let parts = world.projects_now().await;
        assert!(parts.iter().all(|part| part.len() <= 256), "{:?}", parts.iter().map(Vec::len).collect::<Vec<_>>());
        let expected = (1..=600).zip(owners.into_iter().cycle()).map(|(n, owner)| {
            let id: ProjectId = id(n);
            Told { owner: owner.to_string(), id: id.to_string(), deleted: false }
        });
        let mut expected: Vec<_> = expected.collect();
        expected.sort();
        assert_eq!(parts.concat(), expected);
    }

    async fn listing_goes_the_latest_first(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let own = ada.user.to_string();
        for name in ["One", "Two", "Three"] {
            world.advance(Span::SECOND);
            create(&ada, &own, name, "").await.expect("made");
        }
        let first = list(&ada, &own, 2, "").await.expect("listed");
        let second = list(&ada, &own, 2, &first.next_page_token).await.expect("listed");
        let names: Vec<_> = first.projects.iter().chain(&second.projects).map(|it| it.name.as_str()).collect();
        assert_eq!((names, second.next_page_token.as_str()), (vec!["Three", "Two", "One"], ""));
        let ben = world.who(2);
        let foreign = list(&ben, &ben.user.to_string(), 2, &first.next_page_token).await;
        refused(foreign, Code::InvalidArgument, "PAGE_TOKEN_INVALID");
    }

    async fn updating_changes_what_the_mask_names(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let ada = world.acting(&ada, &acme);
        let ben = world.acting(&world.join(&world.who(1), &acme, 2, Role::Member).await, &acme);
        let made = create(&ada, &acme, "Old", "").await.expect("made");
        let request = proto::UpdateProjectRequest {
            project_id: made.id.clone(),
            name: "New".to_owned(),
            update_mask: Some(FieldMask { paths: vec!["description".to_owned()] }),
            etag: made.etag.clone(),
            request_id: "r1".to_owned(),
            ..Default::default()
        };
        let updated = update(&ben, request.clone()).await.expect("every member may");
        assert_eq!((updated.name.as_str(), updated.description.as_str()), ("Old", ""));
        assert_eq!(update(&ben, request.clone()).await.expect("replayed"), updated);
        let reused = proto::UpdateProjectRequest { name: "Newer".to_owned(), ..request.clone() };
        refused(update(&ben, reused).await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        let stale = proto::UpdateProjectRequest { request_id: String::new(), ..request };
        refused(update(&ada, stale.clone()).await, Code::Aborted, "ETAG_MISMATCH");
        let unknown = id::<bursar_id::kinds::Project>(9).to_string();
        refused(update(&ada, proto::UpdateProjectRequest { project_id: unknown, ..stale.clone() }).await, Code::NotFound, "NOT_FOUND");
        let wrong = proto::UpdateProjectRequest {
            project_id: "x".to_owned(),
            name: "\n".to_owned(),
            update_mask: Some(FieldMask { paths: vec!["name".to_owned(), "owner".to_owned()] }),
            ..stale
        };
        let bad = refused(update(&ada, wrong.clone()).await, Code::InvalidArgument, "INVALID_FIELDS");
        assert_eq!(bad.fields, ["name", "project_id", "update_mask"]);
        refused(update(&world.acting(&world.who(3), &acme), wrong).await, Code::PermissionDenied, "NOT_A_MEMBER");
    }

    async fn projects_survive_who_made_them_and_are_reassigned(db: TestDb) {
        let world = World::start(db).await;
        let owner = world.who(1);
        let acme = world.create(&owner, "Acme").await.id;
        let ada = world.acting(&owner, &acme);
        let ben = world.acting(&world.join(&owner, &acme, 2, Role::Member).await, &acme);
        let cem = world.acting(&world.join(&owner, &acme, 3, Role::Member).await, &acme);
        let made = create(&ben, &acme, "Ours", "").await.expect("made");
        remove(&ada, &acme, ben.user).await.expect("removed");
        refused(get(&ben, &made.id).await, Code::PermissionDenied, "NOT_A_MEMBER");
        assert_eq!(get(&cem, &made.id).await.expect("it stayed"), made);
        refused(reassign(&ben, &made, "").await, Code::PermissionDenied, "NOT_A_MEMBER");
        refused(reassign(&cem, &made, &cem.user.to_string()).await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        refused(reassign(&ada, &made, &ben.user.to_string()).await, Code::NotFound, "NOT_FOUND");
        refused(reassign(&ada, &made, "usr").await, Code::InvalidArgument, "INVALID_FIELDS");
        let given = reassign(&ada, &made, &cem.user.to_string()).await.expect("reassigned");
        assert_eq!((given.assigned_to.clone(), given.created_by.clone()), (cem.user.to_string(), ben.user.to_string()));
        refused(reassign(&ada, &made, &ada.user.to_string()).await, Code::Aborted, "ETAG_MISMATCH");
        let own = create(&owner, &owner.user.to_string(), "Mine", "").await.expect("made");
        refused(reassign(&owner, &own, &cem.user.to_string()).await, Code::FailedPrecondition, "PERSONAL_PROJECT");
        let unknown = proto::Project { id: id::<bursar_id::kinds::Project>(9).to_string(), ..own };
        refused(reassign(&ada, &unknown, &cem.user.to_string()).await, Code::NotFound, "NOT_FOUND");
    }

    async fn a_repetition_is_told_of_the_project_as_it_is_then(db: TestDb) {
        let world = World::start(db).await;
        let owner = world.who(1);
        let acme = world.create(&owner, "Acme").await.id;
        let ada = world.acting(&owner, &acme);
        let ben = world.join(&owner, &acme, 2, Role::Member).await;
        let made = create(&ada, &acme, "Quibblefix", "made").await.expect("made");
        assert_eq!(create(&ada, &acme, "Quibblefix", "made").await.expect("replayed"), made, "as nothing has changed");
        let change = proto::UpdateProjectRequest {
            project_id: made.id.clone(),
            name: "Zanzibar".to_owned(),
            request_id: "changed".to_owned(),
            ..Default::default()
        };
        let changed = update(&ada, change.clone()).await.expect("changed");
        let last = reassign(&ada, &changed, &ben.user.to_string()).await.expect("reassigned");
        assert_eq!(create(&ada, &acme, "Quibblefix", "made").await.expect("replayed"), last);
        assert_eq!(update(&ada, change.clone()).await.expect("replayed"), last);
        assert_eq!(get(&ada, &made.id).await.expect("read"), last, "a repetition changes nothing");
        assert_eq!(answers_with(&world.store, &made.id).await, 2, "they are kept");
        for text in ["Quibblefix", "Zanzibar", made.description.as_str()] {
            assert_eq!(answers_with(&world.store, text).await, 0, "{text}");
        }
        // Of what is gone nothing is told but which it was, also where a program of before has kept all of it.
        keep_whole(&world, "made", &made).await;
        delete(&ada, &made.id, "", "").await.expect("deleted");
        let bare = |project: &proto::Project| {
            let (id, owner, etag) = (project.id.clone(), project.owner.clone(), project.etag.clone());
            proto::Project { id, owner, etag, ..Default::default() }
        };
        assert_eq!(create(&ada, &acme, "Quibblefix", "made").await.expect("replayed"), bare(&made));
        assert_eq!(update(&ada, change).await.expect("replayed"), bare(&changed));
        refused(create(&ada, &acme, "Other", "made").await, Code::AlreadyExists, "REQUEST_ID_REUSED");
    }

    async fn deleting_is_for_the_responsible_and_managers(db: TestDb) {
        let world = World::start(db).await;
        let owner = world.who(1);
        let acme = world.create(&owner, "Acme").await.id;
        let ada = world.acting(&owner, &acme);
        let ben = world.acting(&world.join(&owner, &acme, 2, Role::Member).await, &acme);
        let cem = world.acting(&world.join(&owner, &acme, 3, Role::Member).await, &acme);
        let made = create(&ben, &acme, "Ours", "").await.expect("made");
        refused(delete(&cem, &made.id, "", "").await, Code::PermissionDenied, "ROLE_NOT_ALLOWED");
        refused(delete(&ben, &made.id, "v9", "").await, Code::Aborted, "ETAG_MISMATCH");
        refused(delete(&ben, "prj", "", "").await, Code::InvalidArgument, "INVALID_FIELDS");
        delete(&ben, &made.id, &made.etag, "r1").await.expect("deleted");
        delete(&ben, &made.id, &made.etag, "r1").await.expect("replayed");
        refused(delete(&ben, &made.id, "", "r1").await, Code::AlreadyExists, "REQUEST_ID_REUSED");
        refused(delete(&ben, &made.id, "", "").await, Code::NotFound, "NOT_FOUND");
        let other = create(&ben, &acme, "Other", "").await.expect("made");
        leave(&ben, &acme).await.expect("left");
        refused(delete(&ben, &other.id, "", "").await, Code::PermissionDenied, "NOT_A_MEMBER");
        delete(&ada, &other.id, "", "").await.expect("the owner may");
        let own = create(&owner, &owner.user.to_string(), "Mine", "").await.expect("made");
        delete(&owner, &own.id, "", "").await.expect("one's own");
    }
}
