//! Months of which their provider says neither that they are paid nor that they are not: they stay due, and are shown.

use bursar_testkit::{at, engines, personal};
use bursar_time::Span;

use super::{late, round, waiting};
use crate::domain::SubscriptionState;
use crate::usecase::shop::Shop;

engines! {
    async fn a_month_that_stays_due_beyond_its_last_retry_is_shown_and_not_who_is_suspended(db: TestDb) {
        let mut shop = Shop::open(&db, "2026-01-01T00:00:00Z").await;
        for n in [1, 2] {
            shop.subscribe(personal(n), "business", "sandbox_ok", "").await.unwrap();
        }
        shop.stands(personal(2), bursar_members::Standing::Suspended).await;
        shop.fails();
        shop.saves(personal(1), "cus_1:pm_1").await;
        shop.pays_with("").await;
        let boundary = at("2026-02-01T00:00:00Z");
        for (days, count) in [(0, 0), (6, 0), (7, 1), (20, 1)] {
            let now = boundary.saturating_add(Span::from_days(days));
            shop.set(&now.to_string());
            let done = round(&shop.subscriptions).await.unwrap();
            assert_eq!((done.done, done.failed, done.late), (0, 1, count), "after {days} days");
            let shown = late(&shop.db, now, 10).await.unwrap();
            assert_eq!(shown.len(), count);
            assert!(shown.iter().all(|it| (it.owner, it.since, it.failures) == (personal(1), boundary, 0)), "{shown:?}");
        }
        let live = shop.subscriptions.get(personal(1)).await.unwrap();
        assert_eq!((live.state, live.failures), (SubscriptionState::Active, 0), "it ends by nothing of its own");
    }

    async fn what_waits_is_counted_by_every_replica_alike(db: TestDb) {
        let mut shop = Shop::open(&db, "2026-01-01T00:00:00Z").await;
        for n in [1, 2] {
            shop.subscribe(personal(n), "business", "sandbox_ok", "").await.unwrap();
        }
        shop.fails();
        for n in [1, 2] {
            shop.saves(personal(n), &format!("cus_{n}:pm_{n}")).await;
        }
        shop.pays_with("").await;
        let other = shop.clone();
        let boundary = at("2026-02-01T00:00:00Z");
        // What is about to be tried for the last time is not late yet.
        for (days, count) in [(6, 0), (7, 0), (8, 2)] {
            shop.set(&boundary.saturating_add(Span::from_days(days)).to_string());
            round(&shop.subscriptions).await.unwrap();
            // The other has done no round.
            for it in [&shop, &other] {
                let counted = waiting(&it.subscriptions).await.unwrap();
                assert_eq!((counted.held, counted.late), (0, count), "after {days} days");
            }
        }
        shop.stands(personal(2), bursar_members::Standing::Suspended).await;
        for it in [&shop, &other] {
            assert_eq!(waiting(&it.subscriptions).await.unwrap().late, 1, "who is suspended has time");
        }
    }
}
