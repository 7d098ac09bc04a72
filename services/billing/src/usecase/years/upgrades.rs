//! Years that were changed in their middle: what each payment has of the months to come, whatever becomes of the others. On
//! both engines.

use bursar_id::{OwnerId, PaymentId};
use bursar_money::Credits;
use bursar_testkit::{credits, engines, id, organization, personal};

use super::go_on_in;
use super::tests::{MONTHS, becomes, by_the_year, shop, upgraded};
use crate::domain::{News, PaymentState, Rules};
use crate::store::payments;
use crate::usecase::changing::tests::change;
use crate::usecase::moving::Moved;
use crate::usecase::shelf::{now, told, usd};
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

/// Pays for so many seats for the rest of the year.
async fn seats(shop: &Shop, owner: OwnerId, seats: u32) -> PaymentId {
    change(shop, owner, "", seats).await.unwrap().payment.unwrap().id.parse().unwrap()
}

/// The owner's last so many lots: their credits, what was paid for them in cents, and with what.
async fn last_lots(shop: &Shop, owner: OwnerId, count: usize) -> Vec<(Credits, i64, Option<PaymentId>)> {
    let lots = shop.lots(owner).await;
    let last = lots.iter().skip(lots.len() - count);
    last.map(|lot| {
        let origin = &lot.terms.origin;
        (lot.granted, origin.paid.unwrap().minor_units().unwrap(), origin.payment)
    })
    .collect()
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

    async fn a_month_that_finds_room_for_one_lot_has_one(db: TestDb) {
        let (shop, owner) = (shop(&db).await, personal(1));
        let first = by_the_year(&shop, owner).await;
        let more = upgraded(&shop, owner).await;
        shop.spend(owner, "5500").await;
        shop.fills(owner, Rules::MAX_LIVE_LOTS - 1).await;
        becomes(&shop, MONTHS[1], 1).await;
        assert_eq!(shop.available(owner).await, credits("6499"));
        assert_eq!(last_lots(&shop, owner, 1).await, [(credits("5500"), 8_333 + 16_641, Some(first))]);
        // One of the others is spent by then.
        shop.spend(owner, "5501").await;
        becomes(&shop, MONTHS[2], 1).await;
        let lots = [(credits("1500"), 8_333, Some(first)), (credits("4000"), 16_642, Some(more))];
        assert_eq!((shop.available(owner).await, last_lots(&shop, owner, 2).await), (credits("6498"), lots.to_vec()));
        shop.assert_sound(owner).await;
    }

    async fn of_very_many_changes_the_later_ones_belong_to_the_years_own(db: TestDb) {
        let (shop, owner) = (shop(&db).await, personal(1));
        let first = by_the_year(&shop, owner).await;
        let more = seats(&shop, owner, 12).await;
        for (second, others) in [("2027-12-31T10:00:01Z", 14), ("2027-12-31T10:00:02Z", 16)] {
            shop.set(second);
            seats(&shop, owner, others).await;
        }
        shop.set(MONTHS[1]);
        let next = go_on_in(&shop.subscriptions, &now(&shop, owner).await, 2).await.unwrap().unwrap();
        assert_eq!((next.month.number, shop.available(owner).await), (1, credits("2400")));
        // An eleventh of what was left of the year's 1000 dollars, of 200, and of twice 199.99, is 133.26.
        let lots = [(credits("2100"), 13_326 - 1_664, Some(first)), (credits("300"), 1_664, Some(more))];
        assert_eq!(last_lots(&shop, owner, 2).await, lots);
        becomes(&shop, MONTHS[2], 1).await;
        assert_eq!(last_lots(&shop, owner, 4).await.iter().map(|it| it.0).collect::<Vec<_>>(), ["1500", "300", "300", "300"].map(credits));
        shop.assert_sound(owner).await;
    }

    async fn a_move_and_a_month_lock_what_has_paid_for_it_in_one_order(db: TestDb) {
        let (shop, owner) = (shop(&db).await, personal(1));
        let first = by_the_year(&shop, owner).await;
        shop.set("2028-01-05T00:00:00Z");
        shop.pays_with("sandbox_pending").await;
        let waits = upgraded(&shop, owner).await;
        // Whoever has the year's payment, which is the first, waits for nobody who waits for it.
        let mut tx = shop.db.begin().await.unwrap();
        payments::lock(&mut tx, first).await.unwrap().unwrap();
        let mover = shop.clone();
        let moving = tokio::spawn(async move { Box::pin(mover.moves(id(1), id(1))).await });
        shop.somebody_waits().await;
        let open = payments::lock(&mut tx, waits).await.unwrap().unwrap();
        assert!(open.is_open(), "nobody has given it up yet");
        tx.commit().await.unwrap();
        assert!(matches!(moving.await.unwrap(), Moved::To(_)));
        assert_eq!(shop.payments.known(waits).await.unwrap().state, PaymentState::Canceled);
        let late = told(&shop, waits, News::Paid).await;
        assert_eq!((late.returned, late.refunded), (true, late.amount));
        for owner in [owner, organization(1)] {
            shop.assert_sound(owner).await;
        }
    }

    async fn of_two_upgrades_one_stays_as_it_was_where_the_other_is_given_back(db: TestDb) {
        let (shop, owner) = (shop(&db).await, personal(1));
        let first = by_the_year(&shop, owner).await;
        let gone = seats(&shop, owner, 12).await;
        for month in &MONTHS[1..4] {
            becomes(&shop, month, 1).await;
        }
        let more = upgraded(&shop, owner).await;
        becomes(&shop, MONTHS[4], 1).await;
        assert_eq!(shop.available(owner).await, credits("5500"));
        told(&shop, gone, News::Refunded(usd("200.00"))).await;
        assert_eq!(shop.available(owner).await, credits("5200"));
        for month in &MONTHS[5..12] {
            becomes(&shop, month, 1).await;
            assert_eq!(shop.available(owner).await, credits("5200"), "at {month}");
        }
        let paid = shop.payments.known(more).await.unwrap().net().minor_units().unwrap();
        assert_eq!((paid_for_lots(&shop, first).await, paid_for_lots(&shop, more).await), (100_000, paid));
        assert_eq!(shop.payments.known(gone).await.unwrap().lots().len(), 5);
        shop.assert_sound(owner).await;
    }

    async fn what_a_person_and_an_organization_have_changed_in_one_year_are_two_payments(db: TestDb) {
        let (shop, owner, team) = (shop(&db).await, personal(1), organization(1));
        let first = by_the_year(&shop, owner).await;
        let gone = seats(&shop, owner, 12).await;
        becomes(&shop, MONTHS[1], 1).await;
        shop.moves(id(1), id(1)).await;
        let more = upgraded(&shop, team).await;
        becomes(&shop, MONTHS[2], 1).await;
        assert_eq!((shop.available(owner).await, shop.available(team).await), (credits("0"), credits("5500")));
        told(&shop, gone, News::Refunded(usd("200.00"))).await;
        for month in &MONTHS[3..12] {
            assert_eq!(shop.available(team).await, credits("5200"), "before {month}");
            becomes(&shop, month, 1).await;
        }
        let paid = shop.payments.known(more).await.unwrap().net().minor_units().unwrap();
        assert_eq!((paid_for_lots(&shop, first).await, paid_for_lots(&shop, more).await), (100_000, paid));
        for owner in [owner, team] {
            shop.assert_sound(owner).await;
        }
    }
}
