//! Changes of a subscription whose next month is paid ahead, or was declined then (`renewals/ahead.rs`). On both engines.

use bursar_id::{OwnerId, PaymentId};
use bursar_testkit::{TestDb, credits, engines, id, organization, personal};

use super::tests::{NEXT, assert_returned, change, stands, subscribed};
use crate::domain::{PaymentState, SubscriptionState};
use crate::usecase::renewals;
use crate::usecase::shelf::{now, round};
use crate::usecase::shop::Shop;

/// Half an hour before the next month it is paid, and has not begun.
async fn paid_ahead(shop: &Shop, owner: OwnerId) -> PaymentId {
    shop.set("2026-01-31T23:30:00Z");
    assert!(!renewals::ahead::pay(&shop.subscriptions).await.unwrap());
    let ahead = shop.subscriptions.cashier.dues(&now(shop, owner).await).await.unwrap();
    assert_eq!((ahead.state, ahead.fulfilled_at), (PaymentState::Paid, None));
    ahead.id
}

/// The money for a month that is paid ahead goes back when another plan is chosen, and the month begins at its boundary by that.
async fn assert_goes_back(db: &TestDb, plan: &str, then: &str) {
    let owner = personal(1);
    let shop = subscribed(db, owner).await;
    let ahead = paid_ahead(&shop, owner).await;
    change(&shop, owner, plan, 0).await.unwrap();
    assert_returned(&shop, ahead).await;
    shop.set(NEXT);
    assert_eq!(round(&shop).await, (1, 0, 0), "it begins at its boundary all the same");
    assert_eq!(stands(&shop, owner).await, (then.to_owned(), None));
    shop.assert_sound(owner).await;
}

engines! {
    async fn what_was_paid_ahead_by_other_terms_goes_back_at_once(db: TestDb) {
        Box::pin(assert_goes_back(&db, "pro", "pro 20 300.00 USD 5500")).await;
    }

    async fn what_was_paid_ahead_goes_back_at_once_where_less_is_planned(db: TestDb) {
        Box::pin(assert_goes_back(&db, "solo", "solo 1 10.00 USD 100")).await;
    }

    async fn what_went_back_uses_up_no_attempt(db: TestDb) {
        let owner = personal(1);
        let shop = subscribed(&db, owner).await;
        paid_ahead(&shop, owner).await;
        change(&shop, owner, "pro", 0).await.unwrap();
        shop.pays_with("sandbox_declined").await;
        let days = [NEXT, "2026-02-02T00:00:00Z", "2026-02-04T00:00:00Z", "2026-02-06T00:00:00Z", "2026-02-08T00:00:00Z"];
        for (day, attempts) in days.into_iter().zip(2..) {
            shop.set(day);
            round(&shop).await;
            assert_eq!(shop.count("payments WHERE purpose = 'RENEWAL' AND change IS NULL").await, attempts, "{day}");
        }
        shop.assert_sound(owner).await;
    }

    async fn nor_does_it_where_all_days_pass_at_once(db: TestDb) {
        let owner = personal(1);
        let shop = subscribed(&db, owner).await;
        paid_ahead(&shop, owner).await;
        change(&shop, owner, "pro", 0).await.unwrap();
        shop.pays_with("sandbox_declined").await;
        shop.set("2026-02-09T00:00:00Z");
        round(&shop).await;
        assert_eq!(shop.count("payments WHERE purpose = 'RENEWAL' AND change IS NULL").await, 1 + 5, "five of them count");
        assert_eq!(now(&shop, owner).await.state, SubscriptionState::Ended);
        shop.assert_sound(owner).await;
    }

    async fn what_was_declined_ahead_by_other_terms_counts_for_nothing(db: TestDb) {
        let owner = personal(1);
        let shop = subscribed(&db, owner).await;
        shop.pays_with("sandbox_declined").await;
        shop.set("2026-01-31T23:10:00Z");
        assert!(!renewals::ahead::pay(&shop.subscriptions).await.unwrap());
        shop.pays_with("sandbox_ok").await;
        change(&shop, owner, "pro", 0).await.unwrap();
        shop.set(NEXT);
        assert_eq!((round(&shop).await, now(&shop, owner).await.failures), ((1, 0, 0), 0));
        assert_eq!(stands(&shop, owner).await, ("pro 20 300.00 USD 5500".to_owned(), None));
        shop.assert_sound(owner).await;
    }

    async fn what_was_paid_ahead_goes_back_where_it_moves(db: TestDb) {
        let (owner, team) = (personal(1), organization(1));
        let shop = subscribed(&db, owner).await;
        let ahead = paid_ahead(&shop, owner).await;
        shop.moves(id(1), id(1)).await;
        assert_returned(&shop, ahead).await;
        shop.set(NEXT);
        assert_eq!((round(&shop).await, now(&shop, team).await.month.number), ((1, 0, 0), 1));
        assert_eq!((shop.available(team).await, shop.available(owner).await), (credits("1500"), credits("300")));
        shop.assert_sound(team).await;
    }
}
