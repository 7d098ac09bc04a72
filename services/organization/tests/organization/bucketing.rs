//! `LibraryService` with its content in a bucket of S3: what holds for a folder holds there, and it may be away.

use bursar_proto::organization::v1 as proto;
use bursar_runtime::ContentUrl;
use bursar_secret::Secret;
use bursar_testkit::refused;
use bursar_time::Span;
use sha2::{Digest as _, Sha256};
use tonic::Code;

use crate::bucket::Mood;
use crate::content_races;
use crate::contents::{self, collected, download, files, noise, start, upload};
use crate::exporting;
use crate::library::{create, delete, get, item};
use crate::world::{World, until};

bursar_testkit::engines! {
    async fn content_goes_up_and_down(db: TestDb) {
        contents::goes_up_and_down(World::start_in_a_bucket(db, |_| ()).await).await;
    }

    async fn what_is_not_as_it_was_said_is_refused_and_nothing_of_it_is_kept(db: TestDb) {
        let world = World::start_in_a_bucket(db, |settings| settings.library.upload_bytes = 1_000).await;
        contents::is_as_it_was_said(world).await;
    }

    async fn quotas_count_what_is_on_its_way_and_equal_bytes_once(db: TestDb) {
        let world = World::start_in_a_bucket(db, |settings| settings.library.quota_bytes = 20_000).await;
        contents::keeps_to_its_quota(world).await;
    }

    async fn what_an_upload_that_died_left_behind_is_removed(db: TestDb) {
        contents::leaves_nothing_behind(World::start_in_a_bucket(db, |_| ()).await).await;
    }

    async fn an_item_that_is_deleted_while_content_comes_leaves_none(db: TestDb) {
        content_races::comes_while_its_item_goes(World::start_in_a_bucket(db, |_| ()).await).await;
    }

    async fn of_uploads_at_once_one_is_the_last_and_nothing_dangles(db: TestDb) {
        content_races::comes_thrice_at_once(World::start_in_a_bucket(db, |_| ()).await).await;
    }

    async fn the_owner_exports_it_and_python_reads_it(db: TestDb) {
        let world = World::start_in_a_bucket(db, |_| ()).await;
        let ada = world.who(1);
        let acme = world.create(&ada, "Acme").await.id;
        let client = world.acting(&ada, &acme).client;
        let asset = create(&client, item(&acme, "brand_asset", "Logo")).await.expect("made").id;
        let bytes = noise((8 << 20) + 12_345);
        upload(&client, start(&asset, &bytes), &bytes).await.expect("uploaded");
        let archive = exporting::export(&client, &acme, &[]).await.expect("exported");
        let found = &archive.files[&format!("library/content/{asset}")];
        assert_eq!(*found, (bytes.len() as u64, hex::encode(Sha256::digest(&bytes))));
    }

    async fn while_it_is_away_content_is_unavailable_and_nothing_is_lost(db: TestDb) {
        let world = World::start_in_a_bucket(db, |_| ()).await;
        let bucket = world.bucket.as_ref().expect("a bucket");
        let ada = world.who(1);
        let (client, own) = (&ada.client, ada.user.to_string());
        let [kept, gone] = ["Kept", "Gone"].map(|name| create(client, item(&own, "brand_asset", name)));
        let (kept, gone) = (kept.await.expect("made").id, gone.await.expect("made").id);
        let bytes = noise((4 << 20) + 77);
        let given = upload(client, start(&kept, &bytes), &bytes).await.expect("uploaded");
        upload(client, start(&gone, b"gone"), b"gone").await.expect("uploaded");
        bucket.is(Mood::Away);
        let unread = refused(download(client, &kept, 0).await, Code::Unavailable, "CONTENT_UNAVAILABLE");
        assert!(unread.retryable, "{unread:?}");
        let unwritten = refused(upload(client, start(&kept, b"new"), b"new").await, Code::Unavailable, "CONTENT_UNAVAILABLE");
        assert!(unwritten.retryable, "{unwritten:?}");
        // What needs no content goes on, deleting some included.
        assert_eq!(get(client, &kept).await.expect("read"), given);
        let deletion = proto::DeleteItemRequest { item_id: gone, ..Default::default() };
        delete(client, deletion).await.expect("deleted");
        assert_eq!(files(&world), 3, "nothing can be removed");
        // One more replica starts all the same, is ready, and says what is missing.
        let started = world.tries_to_start(|_| ()).await.expect("starts");
        started.ready.check().await.expect("ready");
        assert!(started.ready.note().expect("a note").contains("content: NOT REACHED"));
        bucket.is(Mood::Well);
        world.advance(Span::MINUTE);
        until("it is reached again", async || started.ready.note().is_some_and(|it| it.contains("content: reached"))).await;
        assert_eq!(download(client, &kept, 1).await.expect("downloaded").1, bytes[1..]);
        collected(&world, 2).await;
        let client = world.who(1).client;
        upload(&client, start(&kept, b"new"), b"new").await.expect("uploaded");
        assert_eq!(download(&client, &kept, 0).await.expect("downloaded").1, b"new");
    }

    async fn a_bucket_that_was_away_at_the_start_is_reached_once_it_is_there(db: TestDb) {
        let world = World::start_in_a_bucket(db, |_| ()).await;
        let bucket = world.bucket.as_ref().expect("a bucket");
        bucket.is(Mood::Away);
        // Nothing has ever been written where this one looks.
        let started = world.tries_to_start(|settings| {
            settings.content_url = "s3://acme-content/bursar/v2".parse().expect("a bucket");
        });
        let started = started.await.expect("starts");
        assert!(started.ready.note().expect("a note").contains("content: NOT REACHED"));
        bucket.is(Mood::Well);
        world.advance(Span::MINUTE);
        until("it is reached", async || started.ready.note().is_some_and(|it| it.contains("content: reached"))).await;
    }

    async fn a_bucket_that_refuses_is_named_at_start(db: TestDb) {
        let world = World::start_in_a_bucket(db, |_| ()).await;
        let why = |started: anyhow::Result<_>| format!("{:#}", started.map(drop).expect_err("refused"));
        let wrong = world.tries_to_start(|settings| settings.s3.secret_access_key = Some(Secret::new("hunter2".to_owned()))).await;
        let wrong = why(wrong);
        assert!(wrong.contains("content_url: s3://acme-content/bursar/v1 refuses"), "{wrong}");
        assert!(!wrong.contains("hunter2"), "{wrong}");
        let nobody = why(world.tries_to_start(|settings| "nobody".clone_into(&mut settings.s3.access_key_id)).await);
        assert!(nobody.contains("content_url: s3://acme-content/bursar/v1 refuses"), "{nobody}");
        let missing = world.tries_to_start(|settings| {
            settings.content_url = ContentUrl::Bucket { bucket: "no-such-bucket".to_owned(), prefix: String::new() };
        });
        let missing = why(missing.await);
        assert!(missing.contains("content_url: s3://no-such-bucket refuses"), "{missing}");
    }
}
