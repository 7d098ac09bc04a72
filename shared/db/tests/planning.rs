//! How PostgreSQL plans for a store whose statements go by indexes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking, their helpers too"
)]

use bursar_db::{Db, Migrations, PoolOptions, on};
use bursar_testkit::TestDb;

#[test]
fn what_no_index_answers_is_scanned_all_the_same_and_not_compiled_first() {
    const DEPTHS: &str = "EXPLAIN SELECT kind, count(dead_at) FROM jobs GROUP BY kind";
    bursar_testkit::postgres::run(async |at: TestDb| {
        at.open(&Migrations::SHARED).await.close().await;
        let options = PoolOptions { index_plans: true, ..PoolOptions::default() };
        let db = Db::open(&at.store_url(), &Migrations::SHARED, &options).await.unwrap();
        let mut tx = db.read().await.unwrap();
        let plan: Vec<String> = on!(&mut tx, c => sqlx::query_scalar(DEPTHS).fetch_all(c).await.unwrap());
        let plan = plan.join("\n");
        // A server without a compiler has none to show.
        assert!(plan.contains("Seq Scan on jobs") && !plan.contains("JIT"), "{plan}");
        let compiles: String = on!(&mut tx, c => sqlx::query_scalar("SHOW jit").fetch_one(c).await.unwrap());
        assert_eq!(compiles, "off");
    });
}
