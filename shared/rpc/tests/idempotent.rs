//! A request takes effect once: the stored answer comes back, and an id is good for one request only.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

use bursar_db::{Db, PoolOptions, StoreUrl};
use bursar_proto::testing::v1::{AdvanceResponse, SetRequest};
use bursar_rpc::convert::to_timestamp;
use bursar_rpc::{Caller, Claimed, RequestKey};
use bursar_time::Timestamp;

const METHOD: &str = "Set";

async fn store(folder: &std::path::Path) -> Db {
    let url = StoreUrl::sqlite(folder.join("test.db"));
    let migrations = bursar_db::Migrations::SHARED;
    let db = Db::open(&url, &migrations, &PoolOptions::default()).await.expect("opened");
    db.migrate(&migrations).await.expect("migrated");
    db
}

fn body(micros: i64) -> SetRequest {
    SetRequest { now: Some(to_timestamp(Timestamp::from_micros(micros).expect("a time"))) }
}

fn answer() -> AdvanceResponse {
    AdvanceResponse { now: Some(to_timestamp(Timestamp::EPOCH)) }
}

fn key(id: &str, micros: i64) -> RequestKey {
    RequestKey::new(&Caller::Anonymous, METHOD, id, &body(micros)).expect("a key")
}

async fn claim(db: &Db, key: &RequestKey, settle: bool) -> Claimed<AdvanceResponse> {
    let mut tx = db.begin().await.expect("begun");
    let claimed = key.claim(&mut tx, Timestamp::EPOCH).await.expect("claimed");
    if settle {
        key.settle(&mut tx, &answer()).await.expect("settled");
        tx.commit().await.expect("committed");
    }
    claimed
}

#[tokio::test]
async fn a_request_is_answered_once_and_then_replayed() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = store(folder.path()).await;
    assert_eq!(claim(&db, &key("a", 1), false).await, Claimed::New, "refused: rolled back");
    assert_eq!(claim(&db, &key("a", 1), true).await, Claimed::New, "a refusal burns no id");
    assert_eq!(claim(&db, &key("a", 1), false).await, Claimed::Replay(answer()));
    assert_eq!(claim(&db, &key("a", 2), false).await, Claimed::Reused, "another body");
    let other = RequestKey::new(&Caller::Anonymous, "Advance", "a", &body(1)).expect("a key");
    assert_eq!(claim(&db, &other, false).await, Claimed::Reused, "another method");
    assert_eq!(claim(&db, &key("b", 1), true).await, Claimed::New, "another id");
    for _ in 0..2 {
        assert_eq!(claim(&db, &key("", 1), true).await, Claimed::New, "no id, no memory");
    }
}
