//! A deployment without personal workspaces: what somebody has outside of organizations is still shown, copied into one, and
//! deleted; nothing is made of it or put into it.

use bursar_members::PersonalWorkspace;
use bursar_proto::organization::v1 as proto;
use bursar_rpc::ServiceRole;
use bursar_testkit::refused;
use tokio::sync::mpsc::unbounded_channel;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::{Code, Status};

use crate::contents::{collected, download, files, noise, start, upload};
use crate::copying::{copy, to};
use crate::library::{create, delete, get, item, update};
use crate::world::{Who, World, until};

async fn allows(world: &World, personal: PersonalWorkspace) {
    world.starts_again(|settings| settings.policies.personal_workspace = personal).await;
}

fn is_refused<T: std::fmt::Debug>(outcome: Result<T, Status>) {
    refused(outcome, Code::FailedPrecondition, "ORGANIZATION_REQUIRED");
}

/// Another name for an item.
fn renamed(item: &proto::Item, name: &str) -> proto::UpdateItemRequest {
    proto::UpdateItemRequest { item_id: item.id.clone(), name: name.to_owned(), ..Default::default() }
}

async fn project(who: &Who, name: &str) -> proto::Project {
    let (owner, name) = (who.user.to_string(), name.to_owned());
    let request = proto::CreateProjectRequest { owner, name, ..Default::default() };
    who.client.projects().create_project(request).await.expect("made").into_inner().project.expect("a project")
}

async fn rename(who: &Who, project: &proto::Project, name: &str) -> Result<proto::Project, Status> {
    let (project_id, name) = (project.id.clone(), name.to_owned());
    let request = proto::UpdateProjectRequest { project_id, name, ..Default::default() };
    Ok(who.client.projects().update_project(request).await?.into_inner().project.expect("a project"))
}

bursar_testkit::engines! {
    async fn what_is_outside_of_organizations_is_shown_and_nothing_more_is_made_of_it(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let (own, acme) = (ada.user.to_string(), world.create(&ada, "Acme").await.id);
        let at_work = world.acting(&ada, &acme).client;
        let (logo, plan) = (item(&own, "brand_asset", "Logo"), project(&ada, "Plan").await);
        let logo = create(&ada.client, logo).await.expect("made");
        let logo = upload(&ada.client, start(&logo.id, b"first"), b"first").await.expect("uploaded");
        let once = proto::UpdateItemRequest { request_id: "r1".to_owned(), ..renamed(&logo, "Once") };
        let logo = update(&ada.client, once.clone()).await.expect("changed");
        let ours = create(&at_work, item(&acme, "brand_asset", "Ours")).await.expect("made");
        allows(&world, PersonalWorkspace::Off).await;

        is_refused(create(&ada.client, item(&own, "brand_asset", "Another")).await);
        is_refused(update(&ada.client, renamed(&logo, "Twice")).await);
        is_refused(upload(&ada.client, start(&logo.id, b"second"), b"second").await);
        is_refused(copy(&ada.client, to(&logo, &own)).await);
        is_refused(copy(&at_work, to(&ours, &own)).await);
        is_refused(rename(&ada, &plan, "Plans").await);
        // Nor does a service do it for the person.
        let (product, member) = (world.service(ServiceRole::Product), own.clone());
        is_refused(update(&product, proto::UpdateItemRequest { member: member.clone(), ..renamed(&logo, "Twice") }).await);
        let begun = proto::UploadContentRequest { member: member.clone(), ..start(&logo.id, b"second") };
        is_refused(upload(&product, begun, b"second").await);
        is_refused(copy(&product, proto::CopyItemRequest { member, ..to(&ours, &own) }).await);

        assert_eq!(get(&ada.client, &logo.id).await.expect("shown"), logo, "as it was");
        assert_eq!(download(&ada.client, &logo.id, 0).await.expect("downloaded").1, b"first");
        assert_eq!(update(&ada.client, once).await.expect("what was done is told again"), logo);
        let moved = copy(&ada.client, to(&logo, &acme)).await.expect("copied into an organization");
        update(&at_work, renamed(&moved, "Twice")).await.expect("an organization's is changed");
        upload(&at_work, start(&moved.id, b"second"), b"second").await.expect("and filled");
        delete(&ada.client, proto::DeleteItemRequest { item_id: logo.id, ..Default::default() }).await.expect("deleted");

        allows(&world, PersonalWorkspace::On).await;
        assert_eq!(rename(&ada, &plan, "Plans").await.expect("allowed again").name, "Plans");
    }

    async fn an_upload_ends_with_the_personal_workspaces(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let logo = create(&ada.client, item(&ada.user.to_string(), "brand_asset", "Logo")).await.expect("made");
        let bytes = noise(6 << 20);
        let (sender, receiver) = unbounded_channel();
        let (client, parts) = (ada.client.clone(), UnboundedReceiverStream::new(receiver));
        let uploading = tokio::spawn(async move { client.libraries().upload_content(parts).await });
        sender.send(start(&logo.id, &bytes)).expect("begun");
        let (first, rest) = bytes.split_at(5 << 20);
        let send = |part: &[u8]| {
            for chunk in part.chunks(1 << 20) {
                let chunk = proto::UploadContentRequest { chunk: chunk.to_vec(), ..Default::default() };
                sender.send(chunk).expect("it is listened to");
            }
        };
        send(first);
        until("a segment is written", async || files(&world) == 1).await;
        allows(&world, PersonalWorkspace::Off).await;
        send(rest);
        drop(sender);
        is_refused(uploading.await.expect("it ends"));
        collected(&world, 0).await;
        // Collecting took longer than a token is good for.
        let ada = world.who(1);
        assert_eq!(get(&ada.client, &logo.id).await.expect("shown"), logo, "it has no content");
    }
}
