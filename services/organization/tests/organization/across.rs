//! Ids of other owners, at every RPC of the library, for everybody: the same answer as for an id that does not exist.

use bursar_id::Role;
use bursar_proto::access::METHODS;
use bursar_proto::organization::v1 as proto;
use bursar_testkit::{Client, Refusal, id};
use futures::stream;
use tonic::{Code, Status};

use crate::contents::start;
use crate::library::{create, item};
use crate::world::{World, remove};

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
            Meant { item: nothing, owner: id::<bursar_id::kinds::Organization>(77).to_string() },
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
}
