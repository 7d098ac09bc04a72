//! Top-ups of who pays by the year.

use bursar_testkit::{credits, engines, personal};

use super::starter;
use crate::usecase::canceling::CancelAt;
use crate::usecase::canceling::tests::cancel;
use crate::usecase::renewals;
use crate::usecase::shop::Shop;
use crate::usecase::years::tests::{BEGIN, MONTHS, PLANS};

engines! {
    async fn nothing_is_bought_while_a_month_of_a_canceled_year_begins(db: TestDb) {
        let (shop, owner) = (Shop::selling(&db, BEGIN, PLANS).await, personal(1));
        shop.subscribe(owner, "yearly", "sandbox_ok", "").await.unwrap();
        cancel(&shop, owner, CancelAt::PeriodEnd).await.unwrap();
        shop.tops_up(owner, starter(1_000, "sandbox_ok")).await;
        shop.set(MONTHS[1]);
        shop.looks(owner).await;
        assert_eq!(shop.count("payments").await, 1, "its allowance is paid for, and about to come");
        renewals::round(&shop.subscriptions).await.unwrap();
        shop.looks(owner).await;
        assert_eq!((shop.count("payments").await, shop.available(owner).await), (1, credits("1500")), "and it has");
        shop.assert_sound(owner).await;
    }
}
