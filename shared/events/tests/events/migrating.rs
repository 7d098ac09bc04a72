//! Bringing a store up to date, and what begins when it was restored.

use bursar_db::{Db, Migrations, PoolOptions};
use bursar_time::Span;

use crate::world::{PATIENCE, clock, store};

bursar_testkit::engines! {
    async fn only_a_restored_store_begins_an_incarnation_when_it_is_migrated(at: TestDb) {
        let now = clock().now();
        let open = async || {
            let url = at.url().parse().expect("the test kit gives a good address");
            let options = PoolOptions { acquire_timeout: PATIENCE, ..PoolOptions::default() };
            Db::open(&url, &Migrations::SHARED, &options).await.expect("opens")
        };
        let present = async || {
            let db = store(&at).await;
            let mut tx = db.read().await.expect("begins");
            bursar_events::incarnation(&mut tx).await.expect("reads")
        };
        let db = open().await;
        bursar_events::migrate(db.clone(), &Migrations::SHARED, None).await.expect("migrates");
        db.begin().await.expect_err("it was closed");
        assert_eq!(present().await, 1);
        bursar_events::migrate(open().await, &Migrations::SHARED, None).await.expect("is up to date");
        assert_eq!(present().await, 1);
        bursar_events::migrate(open().await, &Migrations::SHARED, Some(now)).await.expect("begins the next");
        let restored = present().await;
        assert_eq!(Ok(restored), u64::try_from(now.as_micros()), "named by its time");
        let later = now.saturating_add(Span::SECOND);
        bursar_events::migrate(open().await, &Migrations::SHARED, Some(later)).await.expect("begins one more");
        assert!(present().await > restored);
    }
}
