//! Years that were changed in their middle: what each payment has of the months to come, whatever becomes of the others. On
//! both engines.

use bursar_id::PaymentId;
use bursar_testkit::{credits, engines, personal};

use super::tests::{MONTHS, becomes, by_the_year, shop, told, upgraded, usd};
use crate::domain::News;
use crate::usecase::shop::Shop;

/// What was paid for the lots of a payment, in cents: of what has moved, as it was granted at first.
async fn paid_for_lots(shop: &Shop, id: PaymentId) -> i64 {
    let mut cents = 0;
    for it in shop.payments.known(id).await.unwrap().lots() {
        let lots = shop.lots(it.owner).await;
        let lot = lots.into_iter().find(|lot| lot.id == it.lot).unwrap();
        cents += lot.terms.origin.paid.unwrap().minor_units().unwrap();
    }
    cents
}

engines! {
    async fn the_lots_of_each_payment_are_what_was_paid_with_it(db: TestDb) {
        let (shop, owner) = (shop(&db).await, personal(1));
        let first = by_the_year(&shop, owner).await;
        let more = upgraded(&shop, owner).await;
        for month in &MONTHS[1..12] {
            becomes(&shop, month, 1).await;
            assert_eq!(shop.available(owner).await, credits("5500"), "at {month}");
        }
        assert_eq!(shop.lots(owner).await.len(), 24);
        assert_eq!((paid_for_lots(&shop, first).await, paid_for_lots(&shop, more).await), (100_000, 200_000));
        shop.assert_sound(owner).await;
    }

    async fn a_year_is_earned_whole_whose_upgrade_is_given_back(db: TestDb) {
        let (shop, owner) = (shop(&db).await, personal(1));
        let first = by_the_year(&shop, owner).await;
        let more = upgraded(&shop, owner).await;
        becomes(&shop, MONTHS[1], 1).await;
        told(&shop, more, News::Refunded(usd("2000.00"))).await;
        for month in &MONTHS[2..12] {
            becomes(&shop, month, 1).await;
            assert_eq!(shop.available(owner).await, credits("1500"), "at {month}");
        }
        // Of the upgrade there are the lots of two months: 31 of 366 days of it, and an eleventh of the rest.
        assert_eq!((paid_for_lots(&shop, first).await, paid_for_lots(&shop, more).await), (100_000, 16_939 + 16_641));
        shop.assert_sound(owner).await;
    }

    async fn an_upgrade_is_earned_whole_whose_year_is_given_back(db: TestDb) {
        let (shop, owner) = (shop(&db).await, personal(1));
        let first = by_the_year(&shop, owner).await;
        let more = upgraded(&shop, owner).await;
        becomes(&shop, MONTHS[1], 1).await;
        told(&shop, first, News::Refunded(usd("1000.00"))).await;
        for month in &MONTHS[2..12] {
            becomes(&shop, month, 1).await;
            assert_eq!(shop.available(owner).await, credits("4000"), "at {month}");
        }
        assert_eq!((paid_for_lots(&shop, first).await, paid_for_lots(&shop, more).await), (2 * 8_333, 200_000));
        shop.assert_sound(owner).await;
    }
}
