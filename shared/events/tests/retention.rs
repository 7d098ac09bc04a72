//! What is forgotten of an outbox, on both engines.
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use bursar_db::{Db, Migrations, on};
use bursar_events::{Outbox, retention};
use bursar_proto::event::v1::UserDeleted;
use bursar_proto::event::v1::event::Payload;
use bursar_secret::Entropy;
use bursar_testkit::{START, at};
use bursar_time::{Clock, Span};
use sqlx::Row;

async fn numbers(db: &Db) -> Vec<i64> {
    let mut tx = db.read().await.unwrap();
    on!(&mut tx, c => {
        let rows = sqlx::query("SELECT seq FROM outbox ORDER BY seq").fetch_all(c).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    })
}

bursar_testkit::engines! {
    async fn events_are_kept_for_thirty_days_and_the_last_for_ever(store: TestDb) {
        let db = store.open(&Migrations::SHARED).await;
        let clock = Clock::test(at(START));
        let outbox = Outbox::new("identity", db.clone(), clock.clone(), Entropy::seeded(1));
        let tell = async |count: usize| {
            let told = Payload::UserDeleted(UserDeleted { user_id: "usr_x".to_owned() });
            outbox.commit(db.begin().await.unwrap(), vec![told; count]).await.unwrap();
        };
        tell(700).await;
        clock.advance(Span::DAY).unwrap();
        tell(2).await;
        clock.advance(Span::from_days(29)).unwrap();
        assert_eq!(retention::forget(&db, clock.now()).await.unwrap(), 0, "not before thirty days are over");
        clock.advance(Span::SECOND).unwrap();
        assert_eq!(retention::forget(&db, clock.now()).await.unwrap(), 700);
        assert_eq!(numbers(&db).await, [701, 702]);
        clock.advance(Span::from_days(365)).unwrap();
        assert_eq!(retention::forget(&db, clock.now()).await.unwrap(), 1);
        assert_eq!(numbers(&db).await, [702], "the last stays");
        tell(1).await;
        assert_eq!(numbers(&db).await, [702, 703], "numbers go on");
    }
    /// Kind K: what a clock wrote that was 400 days ahead stands in the way of nothing, and nobody misses what follows it.
    async fn what_a_clock_far_ahead_told_goes_with_what_was_told_after_it(store: TestDb) {
        let db = store.open(&Migrations::SHARED).await;
        let clock = Clock::test(at(START));
        let wrong = Clock::test(at(START).saturating_add(Span::from_days(400)));
        let tell = async |clock: &Clock, count: usize| {
            let outbox = Outbox::new("identity", db.clone(), clock.clone(), Entropy::seeded(1));
            let told = Payload::UserDeleted(UserDeleted { user_id: "usr_x".to_owned() });
            outbox.commit(db.begin().await.unwrap(), vec![told; count]).await.unwrap();
        };
        tell(&wrong, 700).await;
        tell(&clock, 2).await;
        clock.advance(Span::DAY).unwrap();
        tell(&wrong, 1).await;
        tell(&clock, 2).await;
        assert_eq!(retention::forget(&db, clock.now()).await.unwrap(), 0, "a follower may not have read them");
        clock.advance(Span::from_days(29).saturating_add(Span::SECOND)).unwrap();
        assert_eq!(retention::forget(&db, clock.now()).await.unwrap(), 702);
        assert_eq!(numbers(&db).await, [703, 704, 705]);
        clock.advance(Span::DAY).unwrap();
        assert_eq!(retention::forget(&db, clock.now()).await.unwrap(), 2);
        assert_eq!(numbers(&db).await, [705], "the last stays");
    }
}
