//! Ids of other owners, at every RPC, for everybody: the same answer as for an id that does not exist.

use bursar_id::{Role, kinds};
use bursar_proto::access::METHODS;
use bursar_proto::event::v1::UserStandingChanged;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::organization::v1 as proto;
use bursar_testkit::{Client, Refusal, id, organization};
use futures::stream;
use tonic::{Code, Status};

use crate::audit_rows::Stage;
use crate::closed::{call as call_any, rpcs};
use crate::contents::start;
use crate::library::{create, item};
use crate::world::{Who, World, remove, until};

/// Whose id is sent: an item's, and its owner's.
#[derive(Clone)]
pub(crate) struct Meant {
    pub(crate) item: String,
    pub(crate) owner: String,
}

/// Calls an RPC of the library about what is meant. A new RPC has to be added here.
pub(crate) async fn call(client: &Client, rpc: &str, meant: &Meant) -> Result<(), Status> {
    let Meant { item: item_id, owner } = meant.clone();
    let mut library = client.libraries();
    match rpc {
        "CreateItem" => library.create_item(item(&owner, "agent", "Mine")).await.map(drop),
        "ListItems" => library.list_items(proto::ListItemsRequest { owner, ..Default::default() }).await.map(drop),
        "GetItem" => library.get_item(proto::GetItemRequest { item_id }).await.map(drop),
        "UpdateItem" => {
            let name = "Mine".to_owned();
            library.update_item(proto::UpdateItemRequest { item_id, name, ..Default::default() }).await.map(drop)
        }
        "DeleteItem" => {
            let request = proto::DeleteItemRequest { item_id, with_children: true, ..Default::default() };
            library.delete_item(request).await.map(drop)
        }
        "CopyItem" => {
            let request = proto::CopyItemRequest { item_id, to_owner: owner, ..Default::default() };
            library.copy_item(request).await.map(drop)
        }
        "UploadContent" => library.upload_content(stream::iter([start(&item_id, b"")])).await.map(drop),
        "DownloadContent" => {
            let request = proto::DownloadContentRequest { item_id, offset: 0 };
            library.download_content(request).await.map(drop)
        }
        "RevealSecrets" => library.reveal_secrets(proto::RevealSecretsRequest { item_id }).await.map(drop),
        other => panic!("{other}: say here how it is called"),
    }
}

bursar_testkit::engines! {
    async fn ids_of_others_are_like_ids_that_do_not_exist(db: TestDb) {
        let world = World::start(db).await;
        let (ada, zoe) = (world.who(1), world.who(9));
        let (acme, umbra) = (world.create(&ada, "Acme").await.id, world.create(&zoe, "Umbra").await.id);
        let admin = world.join(&ada, &acme, 2, Role::Admin).await;
        let member = world.join(&ada, &acme, 3, Role::Member).await;
        let former = world.join(&ada, &acme, 4, Role::Member).await;
        remove(&ada, &acme, former.user).await.expect("removed");
        let theirs = create(&world.acting(&zoe, &umbra).client, item(&umbra, "brand_asset", "Theirs")).await.expect("made");
        let hers = create(&zoe.client, item(&zoe.user.to_string(), "brand_asset", "Hers")).await.expect("made");
        let nothing = id::<bursar_id::kinds::Item>(77).to_string();
        let meant = [
            Meant { item: nothing, owner: organization(77).to_string() },
            Meant { item: theirs.id, owner: umbra },
            Meant { item: hers.id, owner: zoe.user.to_string() },
        ];
        let people = [
            ("the owner", world.acting(&ada, &acme)),
            ("an Admin", world.acting(&admin, &acme)),
            ("a Member", world.acting(&member, &acme)),
            ("a former member", world.acting(&former, &acme)),
            ("somebody alone", world.who(5)),
        ];
        let rpcs = METHODS.iter().filter_map(|(path, _)| path.strip_prefix("/bursar.organization.v1.LibraryService/"));
        for rpc in rpcs.filter(|rpc| *rpc != "ListKinds") {
            for (who, caller) in &people {
                let mut told = Vec::new();
                for meant in &meant {
                    let outcome = call(&caller.client, rpc, meant).await;
                    told.push(Refusal::of(&outcome.expect_err(&format!("{rpc}: {who} gets at {}", meant.owner))));
                }
                let [unknown, others @ ..] = told.as_slice() else { unreachable!("three") };
                assert!(others.iter().all(|other| other == unknown), "{rpc}, {who}: {told:#?}");
                assert!(matches!(unknown.code, Code::NotFound | Code::PermissionDenied), "{rpc}, {who}: {unknown:?}");
            }
        }
    }

    /// A new RPC has to be added where the calls are made: in `closed.rs`, or in [`Stage::call`].
    async fn every_rpc_answers_everybody_about_others_as_about_nothing(db: TestDb) {
        let world = World::start(db).await;
        let (zoe, ada) = (world.who(9), world.who(1));
        let own = world.create(&ada, "Own").await.id;
        let admin = world.join(&ada, &own, 2, Role::Admin).await;
        let member = world.join(&ada, &own, 4, Role::Member).await;
        let suspended = world.join(&ada, &own, 5, Role::Admin).await;
        let told = UserStandingChanged { user_id: suspended.user.to_string(), suspended: true, version: 1 };
        world.identity_tells(Payload::UserStandingChanged(told)).await;
        let personal = item(&zoe.user.to_string(), "brand_asset", "Hers");
        let personal = create(&zoe.client, personal).await.expect("made").id;
        let mut stage = Stage::set(world, &zoe).await;
        let former = stage.world.join(&zoe, &stage.acme, 6, Role::Admin).await;
        remove(&zoe, &stage.acme, former.user).await.expect("removed");
        stage.as_they_are = true;
        let within = |who: &Who, organization: &str| stage.world.acting(who, organization);
        until("it is known who is suspended", async || {
            let refused = call_any(&stage, &within(&suspended, &own), "ListMembers").await;
            refused.is_err_and(|status| Refusal::of(&status).reason == "USER_SUSPENDED")
        })
        .await;
        let people = [
            ("an owner", within(&ada, &own)),
            ("an owner in the personal context", ada.clone()),
            ("an Admin", within(&admin, &own)),
            ("a Member", within(&member, &own)),
            ("a stranger", stage.world.who(7)),
            ("a former member", former.clone()),
            ("a former member with the old token", within(&former, &stage.acme)),
            ("somebody suspended", within(&suspended, &own)),
            ("nobody", Who { client: stage.world.anybody.clone(), ..stage.world.who(8) }),
        ];
        let nothing = (organization(77).to_string(), id::<kinds::Project>(77).to_string(), id::<kinds::Item>(77).to_string());
        let theirs = (stage.acme.clone(), stage.project.clone(), stage.item.clone());
        // What is somebody's personal is told by the ids of items; whose organization it is not does not matter then.
        let hers = (nothing.0.clone(), nothing.1.clone(), personal);
        let mut told: Vec<Vec<Refusal>> = Vec::new();
        for (number, (organization, project, item)) in [nothing, theirs, hers].into_iter().enumerate() {
            (stage.acme, stage.project, stage.item, stage.asset) = (organization, project, item.clone(), item);
            let invitation = stage.invitation.clone();
            if number != 1 {
                stage.invitation = id::<kinds::Invitation>(77).to_string();
            }
            let mut refusals = Vec::new();
            for (who, caller) in &people {
                for rpc in rpcs() {
                    let outcome = call_any(&stage, caller, rpc).await;
                    refusals.push(Refusal::of(&outcome.expect_err(&format!("{rpc} by {who}"))));
                }
            }
            stage.invitation = invitation;
            told.push(refusals);
        }
        let called: Vec<_> = people.iter().flat_map(|(who, _)| rpcs().map(move |rpc| (who, rpc))).collect();
        assert!(called.len() >= 9 * 35, "only {} calls", called.len());
        for (at, (who, rpc)) in called.into_iter().enumerate() {
            let [unknown, theirs, hers] = [0, 1, 2].map(|n| &told[n][at]);
            assert_eq!((theirs, hers), (unknown, unknown), "{rpc} by {who}");
            let codes = [Code::NotFound, Code::PermissionDenied, Code::Unauthenticated];
            assert!(codes.contains(&unknown.code), "{rpc} by {who}: {unknown:?}");
        }
    }
}
