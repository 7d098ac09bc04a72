//! `LibraryService` with its content in a bucket of each cloud: what holds for a folder holds there, and it may be away.

use bursar_proto::organization::v1 as proto;
use bursar_runtime::{Cloud, ContentUrl, Settings};
use bursar_secret::Secret;
use bursar_testkit::{Mood, TestDb, refused};
use bursar_time::Span;
use sha2::{Digest as _, Sha256};
use tonic::Code;

use crate::content_races;
use crate::contents::{self, collected, download, files, noise, start, upload};
use crate::exporting;
use crate::library::{create, delete, get, item};
use crate::world::{World, until};

async fn content_goes_up_and_down(db: TestDb, cloud: Cloud) {
    if let Some(world) = World::start_in_a_bucket(db, cloud, |_| ()).await {
        contents::goes_up_and_down(world).await;
    }
}

async fn what_is_not_as_it_was_said_is_refused_and_nothing_of_it_is_kept(db: TestDb, cloud: Cloud) {
    if let Some(world) = World::start_in_a_bucket(db, cloud, |settings| settings.library.upload_bytes = 1_000).await {
        contents::is_as_it_was_said(world).await;
    }
}

async fn quotas_count_what_is_on_its_way_and_equal_bytes_once(db: TestDb, cloud: Cloud) {
    if let Some(world) = World::start_in_a_bucket(db, cloud, |settings| settings.library.quota_bytes = 20_000).await {
        contents::keeps_to_its_quota(world).await;
    }
}

async fn what_an_upload_that_died_left_behind_is_removed(db: TestDb, cloud: Cloud) {
    if let Some(world) = World::start_in_a_bucket(db, cloud, |_| ()).await {
        contents::leaves_nothing_behind(world).await;
    }
}

async fn an_item_that_is_deleted_while_content_comes_leaves_none(db: TestDb, cloud: Cloud) {
    if let Some(world) = World::start_in_a_bucket(db, cloud, |_| ()).await {
        content_races::comes_while_its_item_goes(world).await;
    }
}

async fn of_uploads_at_once_one_is_the_last_and_nothing_dangles(db: TestDb, cloud: Cloud) {
    if let Some(world) = World::start_in_a_bucket(db, cloud, |_| ()).await {
        content_races::comes_thrice_at_once(world).await;
    }
}

async fn the_owner_exports_it_and_python_reads_it(db: TestDb, cloud: Cloud) {
    let Some(world) = World::start_in_a_bucket(db, cloud, |_| ()).await else { return };
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

async fn while_it_is_away_content_is_unavailable_and_nothing_is_lost(db: TestDb, cloud: Cloud) {
    let Some(world) = World::start_in_a_bucket(db, cloud, |_| ()).await else { return };
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
    let unwritten =
        refused(upload(client, start(&kept, b"new"), b"new").await, Code::Unavailable, "CONTENT_UNAVAILABLE");
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

async fn a_bucket_that_was_away_at_the_start_is_reached_once_it_is_there(db: TestDb, cloud: Cloud) {
    let Some(world) = World::start_in_a_bucket(db, cloud, |_| ()).await else { return };
    let bucket = world.bucket.as_ref().expect("a bucket");
    bucket.is(Mood::Away);
    // Nothing has ever been written where this one looks.
    let started = world.tries_to_start(|settings| {
        if let ContentUrl::Bucket { prefix, .. } = &mut settings.content_url {
            "bursar/v2".clone_into(prefix);
        }
    });
    let started = started.await.expect("starts");
    assert!(started.ready.note().expect("a note").contains("content: NOT REACHED"));
    bucket.is(Mood::Well);
    world.advance(Span::MINUTE);
    until("it is reached", async || started.ready.note().is_some_and(|it| it.contains("content: reached"))).await;
}

/// A key that is not that of whom it is said to be.
fn with_a_wrong_key(settings: &mut Settings) {
    let secret = |text: &str| Some(Secret::new(text.to_owned()));
    settings.s3.secret_access_key = secret("hunter2");
    settings.azure.access_key = secret("aHVudGVyMmh1bnRlcjI=");
    with_an_account(settings, "private_key_id");
}

/// Somebody whom the server does not know.
fn as_nobody(settings: &mut Settings) {
    "nobody".clone_into(&mut settings.s3.access_key_id);
    "nobody".clone_into(&mut settings.azure.account);
    with_an_account(settings, "client_email");
}

/// A service account of which this is another's.
fn with_an_account(settings: &mut Settings, field: &str) {
    let mut account: serde_json::Value = serde_json::from_str(&bursar_testkit::service_account_key()).expect("JSON");
    account[field] = "nobody".into();
    settings.gcs.service_account_key = Some(Secret::new(account.to_string()));
}

async fn a_bucket_that_refuses_is_named_at_start(db: TestDb, cloud: Cloud) {
    let Some(world) = World::start_in_a_bucket(db, cloud, |_| ()).await else { return };
    let refusal = format!("content_url: {} refuses", world.settings.content_url);
    for mistake in [with_a_wrong_key, as_nobody] {
        let why = format!("{:#}", world.tries_to_start(mistake).await.map(drop).expect_err("refused"));
        assert!(why.contains(&refusal), "{why}");
        for secret in ["hunter2", "aHVudGVyMmh1bnRlcjI", "PRIVATE KEY"] {
            assert!(!why.contains(secret), "{why}");
        }
    }
    let missing = world.tries_to_start(|settings| {
        let bucket = "no-such-bucket".to_owned();
        settings.content_url = ContentUrl::Bucket { cloud, bucket, prefix: String::new() };
    });
    let why = format!("{:#}", missing.await.map(drop).expect_err("refused"));
    assert!(why.contains(&format!("content_url: {}://no-such-bucket refuses", cloud.scheme())), "{why}");
}

/// Each of these with a bucket of each cloud, on each engine.
macro_rules! behaviours {
    ($($name:ident,)+) => {
        behaviours!(@of s3, S3, $($name,)+);
        behaviours!(@of google, Google, $($name,)+);
        behaviours!(@of azure, Azure, $($name,)+);
    };
    (@of $module:ident, $cloud:ident, $($name:ident,)+) => {
        mod $module {
            bursar_testkit::engines! {
                $(async fn $name(db: TestDb) {
                    super::$name(db, bursar_runtime::Cloud::$cloud).await;
                })+
            }
        }
    };
}

behaviours! {
    content_goes_up_and_down,
    what_is_not_as_it_was_said_is_refused_and_nothing_of_it_is_kept,
    quotas_count_what_is_on_its_way_and_equal_bytes_once,
    what_an_upload_that_died_left_behind_is_removed,
    an_item_that_is_deleted_while_content_comes_leaves_none,
    of_uploads_at_once_one_is_the_last_and_nothing_dangles,
    the_owner_exports_it_and_python_reads_it,
    while_it_is_away_content_is_unavailable_and_nothing_is_lost,
    a_bucket_that_was_away_at_the_start_is_reached_once_it_is_there,
    a_bucket_that_refuses_is_named_at_start,
}
