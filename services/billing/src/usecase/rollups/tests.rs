//! Rounds go on where the one before has ended.

use bursar_testkit::{engines, personal};

use super::*;
use crate::usecase::shop::Shop;

/// The people whose usage is rolled up.
const PEOPLE: u64 = 3;

/// Of how many people days are rolled up.
async fn rolled_up(shop: &Shop) -> usize {
    let (mut tx, mut of) = (shop.db.read().await.unwrap(), 0);
    for n in 1..=PEOPLE {
        of += usize::from(usage::rolled_up(&mut tx, personal(n)).await.unwrap().is_some());
    }
    of
}

engines! {
    async fn a_round_that_has_done_enough_leaves_the_rest_to_the_next_one(db: TestDb) {
        let shop = Shop::open(&db, "2026-01-15T12:00:00Z").await;
        for n in 1..=PEOPLE {
            shop.buy(personal(n), "starter", "sandbox_ok", "pack").await.unwrap();
            shop.spend(personal(n), "1").await;
        }
        shop.set("2026-01-17T12:00:00Z");
        let (rounds, day) = (Rounds::default(), until(shop.clock.now()));
        for done in 1..=3 {
            assert!(rounds.go_on(&shop.db, day, Duration::ZERO).await.unwrap(), "there may be more");
            assert_eq!(rolled_up(&shop).await, done);
        }
        assert!(!rounds.go_on(&shop.db, day, Duration::ZERO).await.unwrap(), "that were all");
    }
}
