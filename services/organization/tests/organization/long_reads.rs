//! What is given out for as long as somebody takes it: downloads and exports end when whoever asked may not have it any more,
//! and what was let go of stays for who is reading it.

use bursar_id::{OwnerId, Role};
use bursar_members::{Standing, standings};
use bursar_organization::store::objects;
use bursar_proto::event::v1::UserStandingChanged;
use bursar_proto::event::v1::event::Payload;
use bursar_proto::organization::v1 as proto;
use bursar_proto::organization::v1::download_content_response::Part;
use bursar_rpc::ServiceRole;
use bursar_testkit::{Client, refused};
use bursar_time::Span;
use tonic::{Code, Status, Streaming};

use crate::contents::{collected, files, noise, start, upload};
use crate::library::{create, delete as delete_item, item};
use crate::world::{Who, World, delete, get, remove, until};

/// How much of a content is read before it is looked again.
const SEGMENT: usize = 4 << 20;

/// A long answer of which only the beginning was taken.
enum Begun {
    Download(Streaming<proto::DownloadContentResponse>),
    Export(Streaming<proto::ExportOrganizationResponse>),
}

impl Begun {
    /// Begins a download, and takes what comes first: what it is, and a chunk.
    async fn download(client: &Client, item: &str) -> (Self, usize) {
        let request = proto::DownloadContentRequest { item_id: item.to_owned(), offset: 0 };
        let parts = client.libraries().download_content(request).await.expect("begun").into_inner();
        let mut begun = Self::Download(parts);
        assert_eq!(begun.next().await.expect("what it is"), Some(0));
        let first = begun.next().await.expect("a chunk").expect("more");
        (begun, first)
    }

    /// Begins to export content alone, and takes so much that the first content is under way.
    async fn export(client: &Client, organization: &str) -> (Self, usize) {
        let kinds = vec![proto::ExportKind::Content.into()];
        let request = proto::ExportOrganizationRequest { organization_id: organization.to_owned(), kinds };
        let chunks = client.organizations().export_organization(request).await.expect("begun").into_inner();
        let (mut begun, mut taken) = (Self::Export(chunks), 0);
        while taken < 1 << 20 {
            taken += begun.next().await.expect("a chunk").expect("more");
        }
        (begun, taken)
    }

    /// How many bytes come next; `None` at the end.
    async fn next(&mut self) -> Result<Option<usize>, Status> {
        Ok(match self {
            Self::Download(parts) => parts.message().await?.map(|next| match next.part.expect("a part") {
                Part::Info(_) => 0,
                Part::Chunk(chunk) => chunk.len(),
            }),
            Self::Export(chunks) => chunks.message().await?.map(|next| next.chunk.len()),
        })
    }

    /// How many bytes come until it ends, and how it ends.
    async fn rest(mut self) -> (usize, Result<(), Status>) {
        let mut received = 0;
        loop {
            match self.next().await {
                Ok(Some(bytes)) => received += bytes,
                Ok(None) => return (received, Ok(())),
                Err(status) => return (received, Err(status)),
            }
        }
    }
}

/// An item with content.
async fn with_content(client: &Client, owner: &str, bytes: &[u8]) -> String {
    let asset = create(client, item(owner, "brand_asset", "Asset")).await.expect("made").id;
    upload(client, start(&asset, bytes), bytes).await.expect("uploaded");
    asset
}

/// An operator suspends somebody, and organization knows of it.
pub(crate) async fn suspend(world: &World, who: &Who) {
    let told = UserStandingChanged { user_id: who.user.to_string(), suspended: true, version: 1 };
    world.identity_tells(Payload::UserStandingChanged(told)).await;
    let owner = OwnerId::User(who.user);
    until("it is known", async || {
        let mut tx = world.store.read().await.expect("a snapshot");
        standings::of(&mut tx, &[owner]).await.expect("read").get(&owner) == Some(&Standing::Suspended)
    })
    .await;
}

bursar_testkit::engines! {
    async fn whoever_belongs_there_no_more_gets_no_more_of_a_download(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let at_work = world.acting(&ada, &acme).client;
        let bytes = noise(3 * SEGMENT);
        let asset = with_content(&at_work, &acme, &bytes).await;
        let [ben, cem] = [world.join(&ada, &acme, 2, Role::Member).await, world.join(&ada, &acme, 3, Role::Member).await];
        let (removed, taken_by_ben) = Begun::download(&world.acting(&ben, &acme).client, &asset).await;
        let (suspended, taken_by_cem) = Begun::download(&world.acting(&cem, &acme).client, &asset).await;
        let (staying, taken) = Begun::download(&world.acting(&ada, &acme).client, &asset).await;
        remove(&ada, &acme, ben.user).await.expect("removed");
        suspend(&world, &cem).await;
        for (begun, taken, reason) in
            [(removed, taken_by_ben, "NOT_A_MEMBER"), (suspended, taken_by_cem, "USER_SUSPENDED")]
        {
            let (more, ended) = begun.rest().await;
            refused(ended, Code::PermissionDenied, reason);
            assert_eq!(taken + more, SEGMENT, "what was read before it was looked again: {reason}");
        }
        let (more, ended) = staying.rest().await;
        ended.expect("whole");
        assert_eq!(taken + more, bytes.len());
    }

    async fn a_download_ends_when_nobody_knows_any_more_whether_its_taker_is_still_here(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let asset = with_content(&ada.client, &ada.user.to_string(), &noise(2 * SEGMENT)).await;
        let (begun, taken) = Begun::download(&ada.client, &asset).await;
        world.blots(ada.user).await;
        let (more, ended) = begun.rest().await;
        refused(ended, Code::Unavailable, "FEED_STALE");
        assert_eq!(taken + more, SEGMENT);
    }

    async fn a_download_in_a_personal_context_ends_with_a_suspension(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let asset = with_content(&ada.client, &ada.user.to_string(), &noise(2 * SEGMENT)).await;
        let (begun, taken) = Begun::download(&ada.client, &asset).await;
        suspend(&world, &ada).await;
        let (more, ended) = begun.rest().await;
        refused(ended, Code::PermissionDenied, "USER_SUSPENDED");
        assert_eq!(taken + more, SEGMENT);
    }

    async fn a_service_reads_on_until_the_organization_is_closed(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await;
        let bytes = noise(2 * SEGMENT);
        let asset = with_content(&world.acting(&ada, &acme.id).client, &acme.id, &bytes).await;
        let product = world.service(ServiceRole::Product);
        let (whole, taken) = Begun::download(&product, &asset).await;
        let (more, ended) = whole.rest().await;
        ended.expect("whole");
        assert_eq!(taken + more, bytes.len());
        let (begun, taken) = Begun::download(&product, &asset).await;
        delete(&ada, &acme).await.expect("deleted");
        let (more, ended) = begun.rest().await;
        refused(ended, Code::PermissionDenied, "ORGANIZATION_DELETED");
        assert_eq!(taken + more, SEGMENT);
    }

    async fn whoever_is_suspended_or_leaves_gets_no_more_of_an_export(db: TestDb) {
        let world = World::start(db).await;
        let bytes = noise(3 * SEGMENT);
        let (ada, zoe) = (world.who(1), world.who(9));
        let (acme, umbra) = (world.create(&ada, "Acme").await, world.create(&zoe, "Umbra").await);
        for (who, organization) in [(&ada, &acme), (&zoe, &umbra)] {
            with_content(&world.acting(who, &organization.id).client, &organization.id, &bytes).await;
        }
        let (begun, taken) = Begun::export(&ada.client, &acme.id).await;
        suspend(&world, &ada).await;
        let (more, ended) = begun.rest().await;
        refused(ended, Code::PermissionDenied, "USER_SUSPENDED");
        assert!(taken + more < 2 * SEGMENT, "{taken} and {more} of {}", bytes.len());
        // Nobody owns what was deleted, so its owner may go; and exports it until then.
        delete(&zoe, &umbra).await.expect("deleted");
        let (begun, taken) = Begun::export(&zoe.client, &umbra.id).await;
        let request = proto::ConfirmDepartureRequest { user_id: zoe.user.to_string(), incarnation: 1, number: 1, ..Default::default() };
        let leaving = world.service(ServiceRole::Identity).members().confirm_departure(request).await;
        assert_eq!(leaving.expect("confirmed").into_inner().organizations, 0);
        let (more, ended) = begun.rest().await;
        refused(ended, Code::Unavailable, "ACCOUNT_LEAVING");
        assert!(taken + more < 2 * SEGMENT, "{taken} and {more} of {}", bytes.len());
        get(&zoe, &umbra.id).await.expect("still hers to look at");
    }

    async fn an_export_has_no_content_that_was_deleted_before_its_turn(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let at_work = world.acting(&ada, &acme).client;
        let first = with_content(&at_work, &acme, &noise(1 << 20)).await;
        // Ids of one instant have no order; the latest is exported first.
        world.advance(Span::SECOND);
        let bytes = noise(2 * SEGMENT);
        let last = with_content(&world.acting(&ada, &acme).client, &acme, &bytes).await;
        let ada = world.who(1);
        let (begun, taken) = Begun::export(&ada.client, &acme).await;
        let at_work = world.acting(&ada, &acme).client;
        for item_id in [first, last] {
            delete_item(&at_work, proto::DeleteItemRequest { item_id, ..Default::default() }).await.expect("deleted");
        }
        let (more, ended) = begun.rest().await;
        ended.expect("whole");
        let received = taken + more;
        // The one that was under way comes to its end.
        assert!((bytes.len()..bytes.len() + (1 << 20)).contains(&received), "{received} bytes of {}", bytes.len());
    }

    async fn what_is_nobodys_any_more_stays_for_the_longest_reader(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let asset = with_content(&ada.client, &ada.user.to_string(), b"bytes").await;
        delete_item(&ada.client, proto::DeleteItemRequest { item_id: asset, ..Default::default() }).await.expect("deleted");
        // An export that began just before may take three hours.
        world.advance(Span::from_hours(3));
        let mut tx = world.store.read().await.expect("a snapshot");
        let loose = objects::loose(&mut tx, world.clock.now(), 10).await.expect("read");
        assert_eq!((loose.len(), files(&world)), (0, 1), "somebody may be reading it");
        drop(tx);
        collected(&world, 0).await;
    }
}
