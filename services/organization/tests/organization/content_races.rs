//! Content that comes while its item goes, and while other content comes: what is refused is refused for good, the quota is what is
//! there, and no bytes are lost or left.

use std::sync::Arc;

use bursar_db::on;
use bursar_id::Role;
use bursar_proto::organization::v1 as proto;
use bursar_testkit::{Client, Refusal, refused, rounds};
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;
use tonic::{Code, Status};

use crate::contents::{collected, download, start, upload};
use crate::library::{create, delete, get, item};
use crate::races::{Checker, TASKS, race};
use crate::world::{Who, World, until};

/// What came of one call.
type Outcome = Result<(), Status>;

/// What the item has that stays.
const KEPT: &[u8] = b"What stays, whatever goes.";
/// How often somebody comes again for whom there was no place.
const TRIES: usize = 10_000;

/// Uploads as soon as there is a place: an owner has four in each replica, and whoever finds none is told to come again.
async fn upload_in_turn(client: &Client, item: &str, bytes: &[u8]) -> Outcome {
    for _ in 0..TRIES {
        match upload(client, start(item, bytes), bytes).await {
            Err(status) if Refusal::of(&status).reason == "TOO_MANY_TRANSFERS" => tokio::task::yield_now().await,
            outcome => return outcome.map(drop),
        }
    }
    panic!("there is never a place")
}

/// What a library takes of its quota, and what its items and their contents do.
const TAKEN: &str = "SELECT (SELECT bytes FROM libraries WHERE owner = $1), \
    (SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) FROM items WHERE owner = $1), \
    (SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM contents WHERE owner = $1)";
/// Contents and objects that are counted for more or fewer than have them.
const MISCOUNTED: &str = "SELECT (SELECT COUNT(*) FROM contents c WHERE c.items <> \
    (SELECT COUNT(*) FROM item_contents x WHERE x.owner = c.owner AND x.sha256 = c.sha256)) \
    + (SELECT COUNT(*) FROM objects o WHERE o.refs <> (SELECT COUNT(*) FROM contents c WHERE c.object = o.id))";
const OBJECTS: &str = "SELECT COUNT(*) FROM objects";

async fn count(world: &World, statement: &'static str) -> i64 {
    let mut tx = world.store.read().await.expect("a snapshot");
    on!(&mut tx, c => sqlx::query_scalar(statement).fetch_one(c).await.expect("counted"))
}

/// Demands that the quota is the sum of what is there, and that everything is counted as often as it is had.
async fn adds_up(world: &World, owner: &str) {
    let mut tx = world.store.read().await.expect("a snapshot");
    let (taken, items, contents): (i64, i64, i64) =
        on!(&mut tx, c => sqlx::query_as(TAKEN).bind(owner).fetch_one(c).await.expect("read"));
    drop(tx);
    assert_eq!(taken, items + contents, "{items} for items, {contents} for contents");
    assert_eq!(count(world, MISCOUNTED).await, 0);
}

/// Lets half of sixty-four upload to an item and the others delete it, as soon as so many uploads have come. What came of it for
/// those who uploaded, and for the others.
async fn uploads_and_deletions(
    (ben, ada): (&Who, &Who),
    asset: &str,
    first: u64,
    round: u64,
) -> (Vec<Outcome>, Vec<Outcome>) {
    let come = Arc::new(watch::Sender::new(0_u64));
    let outcomes = race(TASKS, |n| {
        let (uploader, deleter) = (ben.client.clone(), ada.client.clone());
        let (come, asset) = (Arc::clone(&come), asset.to_owned());
        async move {
            if n.is_multiple_of(2) {
                // Some have the bytes of the item that stays, which lie there once.
                let own = format!("round {round}, {n}").into_bytes();
                let bytes = if n.is_multiple_of(8) { KEPT.to_vec() } else { own };
                let put = upload_in_turn(&uploader, &asset, &bytes).await;
                if put.is_ok() {
                    come.send_modify(|count| *count += 1);
                }
                return (true, put);
            }
            drop(come.subscribe().wait_for(|count| *count >= first).await.expect("uploads come"));
            (false, delete(&deleter, proto::DeleteItemRequest { item_id: asset, ..Default::default() }).await)
        }
    })
    .await;
    let (uploads, deletions): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|(uploads, _)| *uploads);
    let only = |of: Vec<(bool, Outcome)>| of.into_iter().map(|(_, outcome)| outcome).collect();
    (only(uploads), only(deletions))
}

/// Uploads against deletions of one item, by sixty-four at once.
pub(crate) async fn comes_while_its_item_goes(world: World) {
    let ada = world.who(1);
    let acme = world.create(&ada, "Acme").await.id;
    let ben = world.join(&ada, &acme, 2, Role::Member).await;
    let acting = world.acting(&ben, &acme);
    let kept = create(&acting.client, item(&acme, "brand_asset", "Kept")).await.expect("made").id;
    upload(&acting.client, start(&kept, KEPT), KEPT).await.expect("uploaded");
    let checker = Checker::of(&world).await;
    for round in 0..rounds() {
        // Tokens expire: a day passes in every round.
        let (ada, ben) = (world.acting(&ada, &acme), world.acting(&ben, &acme));
        let asset = create(&ben.client, item(&acme, "brand_asset", "Logo")).await.expect("made").id;
        // The deletions come at once, or after some of the uploads.
        let first = round % 4;
        let (uploads, deletions) = uploads_and_deletions((&ben, &ada), &asset, first, round).await;
        let came = uploads.iter().filter(|outcome| outcome.is_ok()).count() as u64;
        assert!(came >= first, "round {round}: {came} came");
        assert_eq!(deletions.iter().filter(|outcome| outcome.is_ok()).count(), 1, "round {round}: once");
        for outcome in uploads.into_iter().chain(deletions).filter(Result::is_err) {
            refused(outcome, Code::NotFound, "NOT_FOUND");
        }
        refused(get(&ben.client, &asset).await, Code::NotFound, "NOT_FOUND");
        adds_up(&world, &acme).await;
        // What nobody has any more goes, and nothing else.
        collected(&world, 1).await;
        until("it is forgotten, too", async || count(&world, OBJECTS).await == 1).await;
        adds_up(&world, &acme).await;
        let reader = world.acting(&ben, &acme).client;
        assert_eq!(download(&reader, &kept, 0).await.expect("downloaded").1, KEPT, "round {round}");
    }
    checker.ends().await;
}

/// Uploads against one another.
pub(crate) async fn comes_thrice_at_once(world: World) {
    let ada = world.who(1);
    let (client, own) = (&ada.client, ada.user.to_string());
    let [one, other] = ["One", "Other"].map(|name| create(client, item(&own, "brand_asset", name)));
    let (one, other) = (one.await.expect("made").id, other.await.expect("made").id);
    for round in 0..rounds() {
        let [a, b] = ["a", "b"].map(|which| format!("{which}{round}").into_bytes());
        let (first, second, third) = tokio::join!(
            upload(client, start(&one, &a), &a),
            upload(client, start(&one, &b), &b),
            upload(client, start(&other, &a), &a),
        );
        for uploaded in [first, second, third] {
            uploaded.expect("uploaded");
        }
        let (info, bytes) = download(client, &one, 0).await.expect("downloaded");
        assert!(bytes == a || bytes == b, "round {round}");
        assert_eq!(info.sha256, hex::encode(Sha256::digest(&bytes)));
        assert_eq!(download(client, &other, 0).await.expect("downloaded").1, a, "round {round}");
        adds_up(&world, &own).await;
    }
    let [one, other] = [&one, &other].map(|item| download(client, item, 0));
    let same = one.await.expect("downloaded").1 == other.await.expect("downloaded").1;
    collected(&world, if same { 1 } else { 2 }).await;
    adds_up(&world, &own).await;
}

bursar_testkit::engines! {
    async fn an_item_that_is_deleted_while_content_comes_leaves_none(db: TestDb) {
        comes_while_its_item_goes(World::start(db).await).await;
    }

    async fn of_uploads_at_once_one_is_the_last_and_nothing_dangles(db: TestDb) {
        comes_thrice_at_once(World::start(db).await).await;
    }
}
