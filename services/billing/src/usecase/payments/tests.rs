//! Payments that are not settled at once, that come late, twice or in any order, and that are taken back; on both engines.

use bursar_id::{OwnerId, PaymentId};
use bursar_money::Price;
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::{PurchaseState, SubscriptionState};
use bursar_testkit::{credits, engines, personal, rounds};

use crate::domain::{News, Payment, PaymentState};
use crate::error::Error;
use crate::usecase::cashier::Due;
use crate::usecase::shelf::{debt, told};
use crate::usecase::shop::Shop;

const NOON: &str = "2026-01-15T12:00:00Z";

pub(super) fn usd(dollars: i64) -> Price {
    Price::from_units_nanos("USD".parse().unwrap(), dollars, 0).unwrap()
}

pub(super) fn payment_of(purchase: &pb::Purchase) -> PaymentId {
    purchase.payment_id.parse().unwrap()
}

/// A starter pack (20 dollars, 300 credits) that is paid.
pub(super) async fn bought(shop: &Shop, owner: OwnerId) -> PaymentId {
    payment_of(&shop.buy(owner, "starter", "sandbox_ok", "").await.unwrap())
}

engines! {
    async fn a_pack_comes_with_its_money(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        for (n, method) in ["sandbox_pending", "sandbox_requires_action"].into_iter().enumerate() {
            let request = format!("r{n}");
            let waiting = shop.buy(owner, "starter", method, &request).await.unwrap();
            assert_eq!((waiting.state(), waiting.lot_id.as_str()), (PurchaseState::Pending, ""));
            assert_eq!(shop.buy(owner, "starter", method, &request).await.unwrap(), waiting, "one payment");
            let before = credits("300").checked_mul(u32::try_from(n).unwrap()).unwrap();
            assert_eq!(shop.available(owner).await, before, "nothing before it is paid");
            let id = payment_of(&waiting);
            for _ in 0..3 {
                assert_eq!(told(&shop, id, News::Paid).await.state, PaymentState::Paid);
            }
            let now = shop.purchases.get(owner, waiting.id.parse().unwrap()).await.unwrap().purchase;
            assert_eq!((now.state, now.lot.is_some()), (crate::domain::PurchaseState::Paid, true));
        }
        assert_eq!(shop.available(owner).await, credits("600"));
        assert_eq!((shop.count("purchases").await, shop.count("payments").await), (2, 2));
        shop.assert_sound(owner).await;
    }

    async fn paid_after_declined_fulfils_and_declined_after_paid_is_ignored(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let waiting = shop.buy(owner, "starter", "sandbox_pending", "").await.unwrap();
        let id = payment_of(&waiting);
        let declined = told(&shop, id, News::Declined("no".to_owned())).await;
        assert_eq!((declined.state, declined.decline_code.as_deref()), (PaymentState::Declined, Some("no")));
        let purchase = shop.purchases.get(owner, waiting.id.parse().unwrap()).await.unwrap().purchase;
        assert_eq!(purchase.state, crate::domain::PurchaseState::Declined);
        assert_eq!(shop.available(owner).await, credits("0"));
        assert_eq!(told(&shop, id, News::Paid).await.decline_code, None);
        assert_eq!(told(&shop, id, News::Declined("no".to_owned())).await.state, PaymentState::Paid);
        assert_eq!(shop.available(owner).await, credits("300"));
        shop.assert_sound(owner).await;
    }

    async fn sixty_four_racers_on_one_payment_deliver_once(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        for round in 1..=rounds() {
            let owner = personal(round);
            let id = payment_of(&shop.buy(owner, "starter", "sandbox_pending", "").await.unwrap());
            let racers = (0..64).map(|n| {
                let shop = shop.clone();
                tokio::spawn(async move {
                    match n % 4 {
                        0 => shop.payments.cashier.look_after(Due { payment: id }).await.map(drop),
                        1 => shop.payments.told(id, News::Declined("no".to_owned())).await.map(drop),
                        _ => shop.payments.told(id, News::Paid).await.map(drop),
                    }
                })
            });
            for racer in racers.collect::<Vec<_>>() {
                racer.await.unwrap().unwrap();
            }
            assert_eq!(shop.available(owner).await, credits("300"));
            assert_eq!(shop.lots(owner).await.len(), 1);
            assert_eq!(shop.count("invoices").await.unsigned_abs(), round, "one for each payment");
            shop.assert_sound(owner).await;
        }
    }

    /// The caller was lost after the payment was written down: before the provider was asked, or before its answer was.
    async fn a_payment_whose_caller_was_lost_is_found_again_and_credits_once(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let id = payment_of(&shop.buy(owner, "starter", "sandbox_ok", "r1").await.unwrap());
        shop.sql("DELETE FROM requests").await;
        // As it stood before the second transaction, which did not commit; its credits are not to be doubled either.
        shop.sql("UPDATE payments SET state = 'CREATED', reference = NULL, fulfilled_at = NULL, lot_id = NULL, \
                  request = NULL, request_hash = NULL, first_answer = NULL").await;
        shop.sql("UPDATE purchases SET state = 'DECLINED', phase = 'PENDING', lot_id = NULL").await;
        shop.payments.cashier.look_after(Due { payment: id }).await.unwrap();
        shop.payments.cashier.look_after(Due { payment: id }).await.unwrap();
        let again = shop.buy(owner, "starter", "sandbox_ok", "r1").await.unwrap();
        assert_eq!((payment_of(&again), again.state()), (id, PurchaseState::Paid), "the request finds it done");
        assert_eq!(shop.available(owner).await, credits("300"));
        assert_eq!((shop.count("purchases").await, shop.count("payments").await), (1, 1));
        shop.assert_sound(owner).await;
    }

    async fn a_reference_is_there_once_in_the_whole_deployment(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        bought(&shop, personal(1)).await;
        let waiting = payment_of(&shop.buy(personal(2), "starter", "sandbox_ok", "r").await.unwrap());
        let taken = shop.payments.get(personal(2), waiting).await.unwrap().reference.unwrap();
        let other = crate::payment::Settlement { reference: Some(taken), news: News::Paid };
        let third = payment_of(&shop.buy(personal(3), "starter", "sandbox_pending", "r").await.unwrap());
        shop.sql("UPDATE payments SET reference = NULL WHERE state = 'PENDING'").await;
        let refused = shop.payments.cashier.hear(third, Some(&other)).await;
        assert!(matches!(refused, Err(Error::Store(_))), "{refused:?}");
        assert_eq!(shop.available(personal(3)).await, credits("0"));
    }

    async fn a_subscription_begins_with_its_money(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let waiting = shop.subscribe(owner, "business", "sandbox_requires_action", "r1").await.unwrap();
        assert_eq!(waiting.state(), SubscriptionState::Incomplete);
        assert_eq!(shop.subscribe(owner, "business", "sandbox_requires_action", "r1").await.unwrap(), waiting);
        let found = shop.subscriptions.get(owner).await.unwrap();
        assert_eq!((found.id.to_string(), found.state), (waiting.id.clone(), crate::domain::SubscriptionState::Incomplete));
        assert_eq!(shop.subscriptions.entitlements(owner).await.unwrap().plan.as_str(), "free");
        shop.set("2026-01-16T12:00:00Z");
        let id = waiting.payment_id.parse().unwrap();
        told(&shop, id, News::Paid).await;
        told(&shop, id, News::Paid).await;
        let found = shop.subscriptions.get(owner).await.unwrap();
        assert_eq!((found.id.to_string(), found.state), (waiting.id, crate::domain::SubscriptionState::Active));
        assert_eq!(shop.lot_lines(owner).await, ["ALLOWANCE 1500 (1500) 2026-01-16T12:00:00Z 2026-02-16T12:00:00Z"]);
        shop.assert_sound(owner).await;
    }

    async fn whoever_subscribes_anew_pays_once(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let left = shop.subscribe(owner, "business", "sandbox_pending", "r1").await.unwrap();
        let taken = shop.subscribe(owner, "business", "sandbox_ok", "r2").await.unwrap();
        assert_eq!(taken.state(), SubscriptionState::Active);
        let late = told(&shop, left.payment_id.parse().unwrap(), News::Paid).await;
        assert_eq!((late.state, late.returned, late.refunded), (PaymentState::Paid, true, usd(100)), "it goes back");
        assert_eq!(shop.available(owner).await, credits("1500"));
        assert_eq!(shop.subscriptions.get(owner).await.unwrap().id.to_string(), taken.id);
        shop.assert_sound(owner).await;
    }

    async fn a_declined_start_leaves_nothing_and_may_be_tried_again(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let waiting = shop.subscribe(owner, "business", "sandbox_pending", "r1").await.unwrap();
        told(&shop, waiting.payment_id.parse().unwrap(), News::Declined("no".to_owned())).await;
        let none = shop.subscriptions.get(owner).await;
        assert!(matches!(none, Err(Error::NotFound("subscription"))), "{none:?}");
        shop.subscribe(owner, "business", "sandbox_ok", "r2").await.unwrap();
        assert_eq!(shop.available(owner).await, credits("1500"));
    }

    async fn a_refund_takes_back_what_is_left_and_the_rest_is_owed(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let id = bought(&shop, owner).await;
        shop.spend(owner, "250").await;
        for _ in 0..2 {
            told(&shop, id, News::Refunded(usd(10))).await;
            assert_eq!((shop.available(owner).await, debt(&shop, owner).await), (credits("0"), "100".to_owned()));
        }
        told(&shop, id, News::Refunded(usd(20))).await;
        assert_eq!(debt(&shop, owner).await, "250");
        shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
        assert_eq!((shop.available(owner).await, debt(&shop, owner).await), (credits("1500"), "250".to_owned()), "an allowance pays nothing");
        bought(&shop, owner).await;
        assert_eq!((shop.available(owner).await, debt(&shop, owner).await), (credits("1550"), "0".to_owned()));
        shop.assert_sound(owner).await;
    }

    async fn a_refund_that_comes_first_waits_for_its_payment(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let id = payment_of(&shop.buy(owner, "starter", "sandbox_pending", "").await.unwrap());
        told(&shop, id, News::Refunded(usd(5))).await;
        assert_eq!(shop.available(owner).await, credits("0"));
        told(&shop, id, News::Paid).await;
        assert_eq!(shop.available(owner).await, credits("225"));
        shop.assert_sound(owner).await;
    }

    async fn a_won_dispute_gives_everything_back(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let id = bought(&shop, owner).await;
        shop.spend(owner, "100").await;
        told(&shop, id, News::Disputed(usd(20))).await;
        assert_eq!((shop.available(owner).await, debt(&shop, owner).await), (credits("0"), "100".to_owned()));
        let next = shop.buy(owner, "starter", "sandbox_ok", "").await.unwrap();
        assert_eq!((shop.available(owner).await, debt(&shop, owner).await), (credits("200"), "0".to_owned()));
        told(&shop, id, News::DisputeWon).await;
        told(&shop, id, News::DisputeWon).await;
        assert_eq!((shop.available(owner).await, debt(&shop, owner).await), (credits("500"), "0".to_owned()));
        assert!(shop.lot_lines(owner).await[2].starts_with("ADJUSTMENT 100 (100)"), "what the other pack had paid");
        assert!(!next.lot_id.is_empty());
        shop.assert_sound(owner).await;
    }

    async fn news_in_any_order_come_to_the_same(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let all = [News::Paid, News::Refunded(usd(5)), News::Disputed(usd(10)), News::Declined("no".to_owned()), News::Refunded(usd(8))];
        for turn in 0..5_usize {
            let owner = personal(u64::try_from(turn).unwrap() + 1);
            let id = payment_of(&shop.buy(owner, "starter", "sandbox_pending", "").await.unwrap());
            for n in 0..2 * all.len() {
                told(&shop, id, all[(turn + 2 * n) % all.len()].clone()).await;
            }
            let payment = shop.payments.get(owner, id).await.unwrap();
            assert_eq!((payment.state, payment.refunded, payment.disputed), (PaymentState::Paid, usd(8), usd(10)));
            assert_eq!(shop.available(owner).await, credits("30"), "turn {turn}: 18 of 20 dollars are gone");
            shop.assert_sound(owner).await;
        }
    }

    async fn what_cannot_be_sold_when_it_is_paid_goes_back(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let waiting = shop.buy(owner, "starter", "sandbox_pending", "").await.unwrap();
        shop.close_personal_accounts();
        let id = payment_of(&waiting);
        let paid = told(&shop, id, News::Paid).await;
        assert_eq!((paid.state, paid.returned, paid.refunded), (PaymentState::Paid, true, usd(20)));
        let purchase = shop.purchases.get(owner, waiting.id.parse().unwrap()).await.unwrap().purchase;
        assert_eq!((purchase.state, purchase.lot), (crate::domain::PurchaseState::Canceled, None));
        assert_eq!(shop.available(owner).await, credits("0"));
        let jobs = shop.count("jobs").await;
        told(&shop, id, News::Paid).await;
        assert_eq!(shop.count("jobs").await, jobs, "the money is given back once");
    }

    async fn an_open_renewal_is_paid_when_it_is(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let renewal = open_renewal(&shop, owner).await;
        shop.set("2026-02-17T12:00:00Z");
        crate::usecase::renewals::round(&shop.subscriptions).await.unwrap();
        told(&shop, renewal.id, News::Paid).await;
        told(&shop, renewal.id, News::Paid).await;
        let lots = shop.lot_lines(owner).await;
        assert_eq!(lots[2], "ALLOWANCE 1500 (1500) 2026-02-15T12:00:00Z 2026-03-15T12:00:00Z");
        assert_eq!((lots.len(), shop.available(owner).await), (3, credits("1800")));
        assert_eq!(shop.subscriptions.get(owner).await.unwrap().state, crate::domain::SubscriptionState::Active);
        assert_eq!(shop.count("payments").await, 3, "one payment, however often it was looked at");
        shop.assert_sound(owner).await;
    }

    async fn a_renewal_that_stays_open_lapses_and_its_money_goes_back(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let renewal = open_renewal(&shop, owner).await;
        shop.set("2026-02-23T12:00:00Z");
        crate::usecase::renewals::round(&shop.subscriptions).await.unwrap();
        assert_eq!(shop.subscriptions.get(owner).await.unwrap().state, crate::domain::SubscriptionState::Ended);
        let late = told(&shop, renewal.id, News::Paid).await;
        assert_eq!((late.returned, late.refunded), (true, usd(100)));
        assert_eq!(shop.available(owner).await, credits("300"), "the pack is as it was");
        shop.assert_sound(owner).await;
    }

    async fn a_renewal_that_is_paid_while_its_owner_is_suspended_waits(db: TestDb) {
        let shop = Shop::open(&db, NOON).await;
        let owner = personal(1);
        let renewal = open_renewal(&shop, owner).await;
        shop.stands(owner, bursar_members::Standing::Suspended).await;
        let paid = told(&shop, renewal.id, News::Paid).await;
        assert_eq!((paid.state, paid.returned, paid.fulfilled_at), (PaymentState::Paid, false, None));
        shop.stands(owner, bursar_members::Standing::Active).await;
        shop.set("2026-02-18T12:00:00Z");
        crate::usecase::renewals::round(&shop.subscriptions).await.unwrap();
        assert_eq!(shop.available(owner).await, credits("1800"));
        shop.assert_sound(owner).await;
    }
}

/// A month (from 15 February) that is due and whose payment waits; the owner has a pack, too.
pub(super) async fn open_renewal(shop: &Shop, owner: OwnerId) -> Payment {
    shop.buy(owner, "starter", "sandbox_ok", "").await.unwrap();
    shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
    shop.sql("UPDATE subscriptions SET payment_method = 'sandbox_pending'").await;
    shop.set("2026-02-15T12:00:00Z");
    for _ in 0..2 {
        crate::usecase::renewals::round(&shop.subscriptions).await.unwrap();
    }
    assert_eq!(shop.available(owner).await, credits("300"), "the pack is as it was");
    assert_eq!(shop.subscriptions.get(owner).await.unwrap().state, crate::domain::SubscriptionState::PastDue);
    let key = bursar_rpc::PageKey::new(bursar_secret::Secret::new([7; 32])).list("ListPayments", []);
    let page = bursar_rpc::PageRequest::parse(10, "", key).unwrap();
    let renewal = shop.payments.list(owner, &page).await.unwrap().rows.into_iter().next().unwrap();
    assert_eq!((renewal.state, renewal.bought.purpose()), (PaymentState::Pending, crate::domain::Purpose::Renewal));
    renewal
}
