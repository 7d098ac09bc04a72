//! `LibraryService`: content up and down, what is refused of it, and what is left of it.

use std::path::Path;
use std::time::Duration;

use bursar_db::on;
use bursar_id::{OwnerId, Role};
use bursar_organization::store::objects::{self, NewObject};
use bursar_proto::organization::v1 as proto;
use bursar_proto::organization::v1::download_content_response::Part;
use bursar_rpc::ServiceRole;
use bursar_testkit::{Bucket, Client, id, refused};
use bursar_time::Span;
use futures::{Stream, StreamExt as _, stream};
use sha2::{Digest as _, Sha256};
use tonic::{Code, Status};

use crate::library::{create, delete, get, item};
use crate::world::{World, until};

/// What an upload of these bytes begins with.
pub(crate) fn start(item: &str, bytes: &[u8]) -> proto::UploadContentRequest {
    proto::UploadContentRequest {
        item_id: item.to_owned(),
        size: i64::try_from(bytes.len()).expect("small"),
        sha256: hex::encode(Sha256::digest(bytes)),
        ..Default::default()
    }
}

fn chunk(bytes: &[u8]) -> proto::UploadContentRequest {
    proto::UploadContentRequest { chunk: bytes.to_vec(), ..Default::default() }
}

async fn send(
    client: &Client,
    messages: impl Stream<Item = proto::UploadContentRequest> + Send + 'static,
) -> Result<proto::Item, Status> {
    Ok(client.libraries().upload_content(messages).await?.into_inner().item.expect("an item"))
}

/// Sends what begins an upload, then these bytes in chunks of a megabyte.
pub(crate) async fn upload(
    client: &Client,
    start: proto::UploadContentRequest,
    bytes: &[u8],
) -> Result<proto::Item, Status> {
    let chunks: Vec<_> = [start].into_iter().chain(bytes.chunks(1 << 20).map(chunk)).collect();
    send(client, stream::iter(chunks)).await
}

pub(crate) async fn download(client: &Client, item: &str, offset: i64) -> Result<(proto::Content, Vec<u8>), Status> {
    let request = proto::DownloadContentRequest { item_id: item.to_owned(), offset };
    let mut parts = client.libraries().download_content(request).await?.into_inner();
    let Some(Part::Info(info)) = parts.message().await?.and_then(|first| first.part) else {
        panic!("it begins with what it is")
    };
    let mut bytes = Vec::new();
    while let Some(part) = parts.message().await? {
        let Some(Part::Chunk(chunk)) = part.part else { panic!("nothing but bytes follows") };
        assert!(chunk.len() <= 256 * 1024, "{} bytes at once", chunk.len());
        bytes.extend_from_slice(&chunk);
    }
    Ok((info, bytes))
}

/// How many files there are in the object store.
pub(crate) fn files(world: &World) -> usize {
    fn count(folder: &Path) -> usize {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| if entry.path().is_dir() { count(&entry.path()) } else { 1 }).sum()
    }
    world.bucket.as_ref().map_or_else(|| count(&world.data_dir().join("content")), Bucket::objects)
}

/// So much later that whatever is nobody's is removed.
pub(crate) async fn collected(world: &World, left: usize) {
    world.advance(Span::DAY);
    until("what is nobody's is removed", async || {
        // What ends only now is nobody's from now on.
        world.advance(Span::HOUR);
        files(world) == left
    })
    .await;
}

/// Bytes that repeat nowhere, so that a segment in another's place shows.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    (0_u64..).flat_map(|n| Sha256::digest(n.to_be_bytes()).to_vec()).take(length).collect()
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR and no picture, but who looks?";

/// Content of several segments, whole and from any offset on; the same again, other bytes, none.
pub(crate) async fn goes_up_and_down(world: World) {
    let ada = world.who(1);
    let acme = world.create(&ada, "Acme").await.id;
    let ben = world.acting(&world.join(&ada, &acme, 2, Role::Member).await, &acme);
    let ada = world.acting(&ada, &acme);
    let asset = create(&ben.client, item(&acme, "brand_asset", "Logo")).await.expect("made");
    assert_eq!(asset.content, None);
    refused(download(&ada.client, &asset.id, 0).await, Code::NotFound, "NOT_FOUND");
    // More than two segments.
    let bytes = noise((8 << 20) + 12_345);
    let given = upload(&ada.client, start(&asset.id, &bytes), &bytes).await.expect("uploaded");
    let content = given.content.clone().expect("content");
    assert_eq!((content.size, content.media_type.as_str()), (8_400_953, "application/octet-stream"));
    assert_eq!(content.sha256, hex::encode(Sha256::digest(&bytes)));
    assert_ne!(given.etag, asset.etag);
    assert_eq!(get(&ben.client, &asset.id).await.expect("read"), given);
    let (info, back) = download(&ben.client, &asset.id, 0).await.expect("downloaded");
    assert!(info == content && back == bytes);
    for offset in [1, 4 << 20, (4 << 20) + 7, bytes.len() - 1, bytes.len()] {
        let (info, back) =
            download(&ben.client, &asset.id, i64::try_from(offset).expect("small")).await.expect("the rest");
        assert!(info == content && back == bytes[offset..], "from {offset} on");
    }
    let past = download(&ben.client, &asset.id, 8_400_954).await;
    assert_eq!(refused(past, Code::InvalidArgument, "INVALID_FIELDS").fields, ["offset"]);
    let bad = download(&ben.client, "x", -1).await;
    assert_eq!(refused(bad, Code::InvalidArgument, "INVALID_FIELDS").fields, ["item_id", "offset"]);
    // The same again is no change, other bytes take its place.
    let same = upload(&ben.client, start(&asset.id, &bytes), &bytes).await.expect("uploaded");
    assert_eq!(same, given);
    let logo = proto::UploadContentRequest { media_type: "image/png".to_owned(), ..start(&asset.id, PNG) };
    let png = upload(&ben.client, logo, PNG).await.expect("uploaded").content.expect("content");
    assert_eq!((png.media_type.as_str(), png.size), ("image/png", 47));
    assert_eq!(download(&ada.client, &asset.id, 0).await.expect("downloaded").1, PNG);
    let empty = create(&ben.client, item(&acme, "brand_asset", "Nothing")).await.expect("made");
    upload(&ben.client, start(&empty.id, b""), b"").await.expect("uploaded");
    assert_eq!(download(&ada.client, &empty.id, 0).await.expect("downloaded").1, b"");
    collected(&world, 1).await;
    // A service does the same for a member.
    let product = world.service(ServiceRole::Product);
    let nobody = upload(&product, start(&asset.id, PNG), PNG).await;
    assert_eq!(refused(nobody, Code::InvalidArgument, "INVALID_FIELDS").fields, ["member"]);
    let member = ben.user.to_string();
    upload(&product, proto::UploadContentRequest { member, ..start(&asset.id, b"text") }, b"text")
        .await
        .expect("uploaded");
    assert_eq!(download(&product, &asset.id, 1).await.expect("downloaded").1, b"ext");
    let stranger = proto::UploadContentRequest { member: world.who(9).user.to_string(), ..start(&asset.id, PNG) };
    refused(upload(&product, stranger, PNG).await, Code::PermissionDenied, "NOT_A_MEMBER");
}

/// Lies about size, hash and type, where an upload may have 1,000 bytes.
pub(crate) async fn is_as_it_was_said(world: World) {
    let ada = world.who(1);
    let (client, own) = (&ada.client, ada.user.to_string());
    let asset = create(client, item(&own, "brand_asset", "Logo")).await.expect("made");
    let first = |bytes: &[u8], media_type: &str| proto::UploadContentRequest {
        media_type: media_type.to_owned(),
        ..start(&asset.id, bytes)
    };
    for (first, bytes, reason, field) in [
        (first(b"hello", ""), b"hell".as_slice(), "CONTENT_SIZE_MISMATCH", "size"),
        (first(b"hello", ""), b"hello!".as_slice(), "CONTENT_SIZE_MISMATCH", "size"),
        (first(b"hello", ""), b"jello".as_slice(), "CONTENT_HASH_MISMATCH", "sha256"),
        (first(PNG, "image/jpeg"), PNG, "MEDIA_TYPE_MISMATCH", "media_type"),
        (first(PNG, "text/plain"), PNG, "MEDIA_TYPE_MISMATCH", "media_type"),
        (first(b"<html><script>", "image/png"), b"<html><script>".as_slice(), "MEDIA_TYPE_MISMATCH", "media_type"),
        (first(b"\0\x01\x02", "text/plain"), b"\0\x01\x02".as_slice(), "MEDIA_TYPE_MISMATCH", "media_type"),
    ] {
        let lied = refused(upload(client, first, bytes).await, Code::InvalidArgument, reason);
        assert_eq!(lied.fields, [field]);
    }
    let wrong = proto::UploadContentRequest {
        item_id: "x".to_owned(),
        media_type: "png".to_owned(),
        size: -1,
        sha256: "00".to_owned(),
        member: "y".to_owned(),
        chunk: Vec::new(),
    };
    let wrong = refused(upload(client, wrong, b"").await, Code::InvalidArgument, "INVALID_FIELDS");
    assert_eq!(wrong.fields, ["item_id", "media_type", "member", "sha256", "size"]);
    refused(send(client, stream::empty()).await, Code::InvalidArgument, "INVALID_FIELDS");
    let twice = stream::iter([first(b"hello", ""), first(b"hello", "")]);
    refused(send(client, twice).await, Code::InvalidArgument, "INVALID_FIELDS");
    let large =
        refused(upload(client, first(&[0; 1_001], ""), b"").await, Code::ResourceExhausted, "CONTENT_TOO_LARGE");
    assert_eq!(large.metadata["limit_bytes"], "1000");
    let agent = create(client, item(&own, "agent", "Agent")).await.expect("made");
    refused(upload(client, start(&agent.id, b""), b"").await, Code::FailedPrecondition, "KIND_HAS_NO_CONTENT");
    let unknown = id::<bursar_id::kinds::Item>(9).to_string();
    refused(upload(client, start(&unknown, b""), b"").await, Code::NotFound, "NOT_FOUND");
    assert_eq!(get(client, &asset.id).await.expect("read"), asset);
    collected(&world, 0).await;
}

/// Quotas, where a library may take 20,000 bytes.
pub(crate) async fn keeps_to_its_quota(world: World) {
    let (ada, ben) = (world.who(1), world.who(2));
    let (client, own) = (&ada.client, ada.user.to_string());
    let mut assets = Vec::new();
    for n in 0..3 {
        assets.push(create(client, item(&own, "brand_asset", &format!("A{n}"))).await.expect("made").id);
    }
    let bytes = noise(7_000);
    upload(client, start(&assets[0], &bytes), &bytes).await.expect("uploaded");
    upload(client, start(&assets[1], &bytes), &bytes).await.expect("the same again takes nothing");
    // 10 kB are taken by now, with the items. While 6 kB are on their way there is no room for 5.
    let (sender, receiver) = futures::channel::mpsc::unbounded();
    let other = noise(6_000);
    sender.unbounded_send(start(&assets[2], &other)).expect("sent");
    let slow = tokio::spawn({
        let client = client.clone();
        async move { send(&client, receiver).await }
    });
    let five = noise(5_000);
    let owner = OwnerId::User(ada.user);
    until("the slow one counts", async || {
        let mut tx = world.store.read().await.expect("a transaction");
        objects::reserved(&mut tx, owner, world.clock.now()).await.expect("read") > 0
    })
    .await;
    let full = upload(client, start(&assets[1], &five), &five).await;
    let full = refused(full, Code::ResourceExhausted, "LIBRARY_QUOTA_REACHED");
    assert_eq!(full.metadata["quota_bytes"], "20000");
    sender.unbounded_send(chunk(&other)).expect("sent");
    drop(sender);
    slow.await.expect("no panic").expect("uploaded");
    // Another owner has the same bytes apart.
    let theirs = create(&ben.client, item(&ben.user.to_string(), "brand_asset", "B")).await.expect("made");
    upload(&ben.client, start(&theirs.id, &bytes), &bytes).await.expect("uploaded");
    for asset in &assets {
        delete(client, proto::DeleteItemRequest { item_id: asset.clone(), ..Default::default() })
            .await
            .expect("deleted");
    }
    collected(&world, 1).await;
    assert_eq!(download(&world.who(2).client, &theirs.id, 0).await.expect("downloaded").1, bytes);
}

/// An upload that dies in its second segment.
pub(crate) async fn leaves_nothing_behind(world: World) {
    let ada = world.who(1);
    let (client, own) = (&ada.client, ada.user.to_string());
    let asset = create(client, item(&own, "brand_asset", "Logo")).await.expect("made");
    let bytes = noise(6 << 20);
    let part =
        [start(&asset.id, &bytes)].into_iter().chain(bytes.chunks(1 << 20).take(5).map(chunk)).collect::<Vec<_>>();
    let uploading = tokio::spawn({
        let client = client.clone();
        async move { send(&client, stream::iter(part).chain(stream::pending())).await }
    });
    until("a segment is written", async || files(&world) == 1).await;
    uploading.abort();
    collected(&world, 0).await;
    upload(&world.who(1).client, start(&asset.id, &bytes), &bytes).await.expect("uploaded");
    assert_eq!(files(&world), 2);
}

bursar_testkit::engines! {
    async fn content_goes_up_and_down(db: TestDb) {
        goes_up_and_down(World::start(db).await).await;
    }

    async fn what_is_not_as_it_was_said_is_refused_and_nothing_of_it_is_kept(db: TestDb) {
        is_as_it_was_said(World::start_with(db, |settings| settings.library.upload_bytes = 1_000).await).await;
    }

    /// Kind K: for as long as a clock was ahead nothing is kept that is nobody's.
    async fn what_a_clock_that_was_ahead_set_aside_is_removed_with_the_rest(db: TestDb) {
        let world = World::start(db).await;
        let far = world.clock.now().saturating_add(Span::from_days(700));
        let (id, uploader) = ("0123456789abcdef0123456789abcdef", OwnerId::User(world.who(1).user));
        let mut tx = world.store.begin().await.expect("a transaction");
        let object = NewObject { id, uploader, size: 5, segment: 5, lease_until: far };
        objects::insert(&mut tx, &object).await.expect("noted");
        objects::abandon(&mut tx, id, far).await.expect("abandoned");
        tx.commit().await.expect("committed");
        let count = async |statement: &'static str| -> i64 {
            let (mut tx, day) = (world.store.read().await.expect("a snapshot"), world.clock.now().saturating_add(Span::DAY));
            on!(&mut tx, c => sqlx::query_scalar(statement).bind(day).fetch_one(c).await.expect("counted"))
        };
        world.advance(Span::HOUR);
        let ahead = "SELECT COUNT(*) FROM objects WHERE lease_until > $1";
        until("it lapses as soon as others", async || count(ahead).await == 0).await;
        world.advance(Span::DAY);
        let there = "SELECT COUNT(*) FROM objects WHERE lease_until < $1";
        until("it is removed", async || count(there).await == 0).await;
    }

    async fn uploads_that_stop_or_never_end_are_ended(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let (client, own) = (&ada.client, ada.user.to_string());
        let hasty = world.starts_again(|settings| settings.library.idle_timeout = Duration::from_millis(300)).await;
        let hasty = world.who_at(&hasty, 1, &ada.email).client;
        let strict = world.starts_again(|settings| settings.limits.stream_deadline = Duration::from_secs(2)).await;
        let strict = world.who_at(&strict, 1, &ada.email).client;
        let asset = create(client, item(&own, "brand_asset", "Logo")).await.expect("made");
        let endless = start(&asset.id, &[0; 1_000]);
        let stops = stream::iter([endless.clone(), chunk(&[0; 10])]).chain(stream::pending());
        refused(send(&hasty, stops).await, Code::DeadlineExceeded, "UPLOAD_STALLED");
        refused(send(&hasty, stream::pending()).await, Code::DeadlineExceeded, "UPLOAD_STALLED");
        let trickle = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            Some((chunk(&[0]), ()))
        });
        let trickles = stream::iter([endless]).chain(trickle);
        refused(send(&strict, trickles).await, Code::DeadlineExceeded, "DEADLINE_EXCEEDED");
        assert_eq!(get(client, &asset.id).await.expect("read"), asset);
        collected(&world, 0).await;
    }

    async fn a_download_that_nobody_takes_ends_and_says_so(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let (client, own) = (&ada.client, ada.user.to_string());
        let asset = create(client, item(&own, "brand_asset", "Logo")).await.expect("made").id;
        let bytes = noise(5 << 20);
        upload(client, start(&asset, &bytes), &bytes).await.expect("uploaded");
        let request = proto::DownloadContentRequest { item_id: asset, offset: 0 };
        let begin = async |client: &Client| client.libraries().download_content(request.clone()).await;
        let mut begun = Vec::new();
        for _ in 0..16 {
            begun.push(begin(client).await.expect("begun").into_inner());
        }
        refused(begin(client).await.map(drop), Code::ResourceExhausted, "TOO_MANY_TRANSFERS");
        // Whoever hangs up is gone at once: sooner than who takes nothing.
        begun.pop();
        until("a place is free", async || begin(client).await.is_ok()).await;
        // Where there is little patience, one more gets a place only when one of them was given up.
        let hasty = world.starts_again(|settings| settings.library.idle_timeout = Duration::from_millis(300)).await;
        let hasty = world.who_at(&hasty, 1, &ada.email).client;
        let mut begun = Vec::new();
        for _ in 0..16 {
            begun.push(begin(&hasty).await.expect("begun").into_inner());
        }
        until("one is given up", async || begin(&hasty).await.is_ok()).await;
        // Never a good end with too few bytes.
        let (mut stalled, mut whole) = (0, 0);
        for mut parts in begun {
            let mut received = 0;
            let ended = loop {
                match parts.message().await {
                    Ok(Some(proto::DownloadContentResponse { part: Some(Part::Chunk(chunk)) })) => received += chunk.len(),
                    Ok(Some(_)) => {}
                    Ok(None) => break Ok(received),
                    Err(status) => break Err(status),
                }
            };
            if ended.as_ref().is_ok_and(|received| *received == bytes.len()) {
                whole += 1;
            } else {
                refused(ended, Code::DeadlineExceeded, "DOWNLOAD_STALLED");
                stalled += 1;
            }
        }
        assert!(stalled > 0, "{whole} came whole, though nobody took them");
    }

    async fn quotas_count_what_is_on_its_way_and_equal_bytes_once(db: TestDb) {
        keeps_to_its_quota(World::start_with(db, |settings| settings.library.quota_bytes = 20_000).await).await;
    }

    async fn what_an_upload_that_died_left_behind_is_removed(db: TestDb) {
        leaves_nothing_behind(World::start(db).await).await;
    }

    async fn an_object_that_cannot_be_removed_keeps_no_other_waiting(db: TestDb) {
        let world = World::start(db).await;
        let ada = world.who(1);
        let (client, own) = (&ada.client, ada.user.to_string());
        let mut items = Vec::new();
        let stuck = {
            let content = world.data_dir().join("content");
            let mut folders = std::fs::read_dir(&content).expect("a folder").flatten();
            assert!(folders.next().is_none(), "nothing is there yet");
            for name in ["Stuck", "Gone"] {
                let item = create(client, item(&own, "brand_asset", name)).await.expect("made").id;
                upload(client, start(&item, name.as_bytes()), name.as_bytes()).await.expect("uploaded");
                items.push(item);
            }
            let mut folders = std::fs::read_dir(&content).expect("a folder").flatten().map(|it| it.path());
            let is_stuck = |it: &std::path::PathBuf| std::fs::read(it.join("000000")).is_ok_and(|it| it == b"Stuck");
            folders.find(is_stuck).expect("its folder")
        };
        for item_id in items {
            // The one that cannot be removed is the first whose turn it is.
            delete(client, proto::DeleteItemRequest { item_id, ..Default::default() }).await.expect("deleted");
            world.advance(Span::SECOND);
        }
        // No folder any more: no program can remove it as one.
        std::fs::remove_dir_all(&stuck).expect("removed");
        std::fs::write(&stuck, b"in the way").expect("written");
        assert_eq!(files(&world), 2);
        collected(&world, 1).await;
        assert!(stuck.is_file(), "the other one is collected");
        // It is tried again.
        std::fs::remove_file(&stuck).expect("removed");
        std::fs::create_dir(&stuck).expect("made");
        std::fs::write(stuck.join("000000"), b"Stuck").expect("written");
        collected(&world, 0).await;
    }
}
