//! Top-ups that were to be paid with a card that serves no more.

use bursar_testkit::{engines, personal};

use super::{NOON, hour, starter};
use crate::domain::Stop;
use crate::usecase::shop::Shop;

engines! {
    async fn a_card_that_serves_no_more_buys_nothing_and_it_is_off(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        for n in [1, 2] {
            let owner = personal(n);
            let saved = shop.saves(owner, "sandbox_ok").await.id.to_string();
            // By default, and by name.
            shop.tops_up(owner, starter(1_000, if n == 1 { "" } else { &saved })).await;
        }
        shop.sql(format!("UPDATE payment_methods SET serves_until = {}", hour(2).as_micros()).leak()).await;
        for owner in [1, 2].map(personal) {
            shop.looks(owner).await;
            assert_eq!(shop.all_payments(owner).await.len(), 1, "it serves still");
            shop.spend(owner, "300").await;
        }
        shop.clock.set(hour(2)).unwrap();
        for owner in [1, 2].map(personal) {
            shop.looks(owner).await;
            assert_eq!((shop.all_payments(owner).await.len(), shop.stopped(owner).await), (1, Some(Stop::NoMethod)));
        }
    }
}
