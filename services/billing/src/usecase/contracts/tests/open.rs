//! Contracts that have waited and whose money comes later than their time.

use bursar_id::OwnerId;
use bursar_testkit::{at, engines, id, personal};
use bursar_time::Span;

use super::super::as_asked;
use super::{
    BEGIN, HALF, LATER, NEXT, Wish, begin, change, costing, due, falls_due, months_turn, payment, payments_of, set,
    stands, subscribed, waits,
};
use crate::domain::{Features, News, PaymentState, Rules};
use crate::error::Error;
use crate::payment::Settlement;
use crate::store::contracts::Waiting;
use crate::usecase::canceling::CancelAt;
use crate::usecase::canceling::tests::cancel;
use crate::usecase::cashier;
use crate::usecase::moving::Moved;
use crate::usecase::shop::Shop;

/// What begins in the middle of the month, and is not paid at once.
fn later_paid() -> Wish {
    costing("300.00 USD").by("sandbox_pending").from(HALF)
}

/// Its time comes, and its money does not.
async fn is_asked_for(shop: &Shop, owner: OwnerId) {
    let it = waits(shop, owner).await.expect("a contract waits");
    let open = Box::pin(begin(&shop.subscriptions, &due(owner, &it))).await;
    assert!(matches!(open, Err(Error::Unavailable)), "{open:?}");
    assert_eq!(waits(shop, owner).await, Some(it), "until it is paid");
}

/// The provider tells this of the owner's last payment.
async fn is_told(shop: &Shop, owner: OwnerId, news: News) {
    shop.payments.told(payments_of(shop, owner).await[0], news).await.unwrap();
}

/// The provider tells that the money of the owner's last payment is there.
async fn is_paid(shop: &Shop, owner: OwnerId) {
    is_told(shop, owner, News::Paid).await;
}

/// How many contracts are to begin a day after `now`.
async fn due_a_day_after(shop: &Shop, now: &str) -> i64 {
    let due_at = at(now).saturating_add(Span::DAY).as_micros();
    shop.count(format!("jobs WHERE kind = 'billing.contract' AND due_at = {due_at}").leak()).await
}

engines! {
    async fn what_its_money_begins_waits_no_more_whoever_hears_of_it(db: TestDb) {
        let [new, present] = [1, 2].map(personal);
        let shop = subscribed(&db, present).await;
        for owner in [new, present] {
            set(&shop, owner, later_paid()).await.unwrap();
        }
        shop.set(HALF);
        for owner in [new, present] {
            let it = waits(&shop, owner).await.unwrap();
            is_asked_for(&shop, owner).await;
            is_paid(&shop, owner).await;
            assert_eq!((stands(&shop, owner).await.0.as_str(), waits(&shop, owner).await), ("enterprise 30 300.00 USD 5500", None));
            let before = shop.count("payments").await;
            Box::pin(begin(&shop.subscriptions, &due(owner, &it))).await.unwrap();
            assert_eq!(shop.count("payments").await, before, "its job has nothing to do any more");
        }
        // What its owner plans afterwards stays planned.
        shop.sql("UPDATE subscriptions SET payment_method = 'sandbox_ok'").await;
        change(&shop, present, "business", 0).await.unwrap();
        months_turn(&shop, NEXT).await;
        assert_eq!(stands(&shop, present).await.0, "business 10 100.00 USD 1500");
        for owner in [new, present] {
            shop.assert_sound(owner).await;
        }
    }

    async fn what_has_begun_is_not_paid_again_where_its_subscription_goes(db: TestDb) {
        let (owner, team) = (personal(1), OwnerId::Organization(id(9)));
        let shop = subscribed(&db, owner).await;
        let features = Features { organizations: true, single_sign_on: true };
        set(&shop, owner, Wish { features, ..later_paid() }).await.unwrap();
        shop.set(HALF);
        is_asked_for(&shop, owner).await;
        is_paid(&shop, owner).await;
        let Moved::To(moved) = shop.moves(id(1), id(9)).await else { panic!("it includes organizations") };
        assert_eq!((moved.plan.as_str(), moved.features), ("enterprise", Some(features)));
        assert_eq!((waits(&shop, owner).await, waits(&shop, team).await), (None, None));
    }

    async fn what_is_declined_or_canceled_later_is_asked_for_again_the_day_after(db: TestDb) {
        const HEARD: &str = "2026-01-18T07:30:00Z";
        let owners = [1, 2, 3, 4].map(personal);
        let shop = subscribed(&db, owners[0]).await;
        shop.subscribe(owners[1], "business", "sandbox_ok", "").await.unwrap();
        for owner in owners {
            set(&shop, owner, later_paid()).await.unwrap();
        }
        shop.set(HALF);
        for owner in owners {
            is_asked_for(&shop, owner).await;
        }
        shop.set(HEARD);
        let asked = shop.count("payments").await;
        let declined = || News::Declined("no".to_owned());
        for (owner, news) in owners.into_iter().zip([declined(), News::Canceled, News::Canceled, declined()]) {
            let it = waits(&shop, owner).await.unwrap();
            for _ in 0..2 {
                is_told(&shop, owner, news.clone()).await;
                Box::pin(begin(&shop.subscriptions, &due(owner, &it))).await.unwrap();
            }
            assert_eq!(waits(&shop, owner).await, Some(Waiting { attempts: 1, ..it }), "{news:?} counts once");
        }
        assert_eq!(shop.count("payments").await, asked, "its job asks for nothing before that");
        assert_eq!(due_a_day_after(&shop, HEARD).await, 4);
        shop.sql("UPDATE contracts SET payment_method = 'sandbox_ok'").await;
        shop.set("2026-01-19T07:30:00Z");
        for owner in owners {
            falls_due(&shop, owner).await;
            assert_eq!((stands(&shop, owner).await.0.as_str(), waits(&shop, owner).await), ("enterprise 30 300.00 USD 5500", None));
            shop.assert_sound(owner).await;
        }
        assert_eq!(shop.count("payments").await, asked + 4);
    }

    async fn what_is_declined_while_its_job_is_at_it_uses_up_one_attempt(db: TestDb) {
        let [new, present] = [1, 2].map(personal);
        let shop = subscribed(&db, present).await;
        for owner in [new, present] {
            set(&shop, owner, later_paid()).await.unwrap();
        }
        shop.set(HALF);
        for owner in [new, present] {
            is_asked_for(&shop, owner).await;
        }
        let asked = shop.count("payments").await;
        for owner in [new, present] {
            // Its job has read what waits when the provider's word comes, and goes on.
            let read = waits(&shop, owner).await.unwrap();
            let job = Waiting { method: "sandbox_declined".to_owned(), ..read.clone() };
            is_told(&shop, owner, News::Declined("no".to_owned())).await;
            let went_on = Box::pin(shop.subscriptions.take_effect(owner, &as_asked(&job).unwrap())).await.map(drop);
            assert!(matches!(went_on, Err(Error::ChangeOvertaken)), "{went_on:?}");
            assert_eq!(waits(&shop, owner).await, Some(Waiting { attempts: 1, ..read }), "one was made, one is counted");
        }
        assert_eq!((shop.count("payments").await, due_a_day_after(&shop, HALF).await), (asked, 2));
        // What was declined is not given up by that: it may yet be paid.
        is_paid(&shop, new).await;
        assert_eq!((stands(&shop, new).await.0.as_str(), waits(&shop, new).await), ("enterprise 30 300.00 USD 5500", None));
        // The next one is made a day after.
        shop.sql("UPDATE contracts SET payment_method = 'sandbox_ok'").await;
        shop.set("2026-01-17T12:00:00Z");
        falls_due(&shop, present).await;
        assert_eq!((stands(&shop, present).await.0.as_str(), waits(&shop, present).await), ("enterprise 30 300.00 USD 5500", None));
        for owner in [new, present] {
            shop.assert_sound(owner).await;
        }
    }

    async fn what_an_order_of_its_owners_takes_the_place_of_is_asked_for_again_the_day_after(db: TestDb) {
        let owners @ [starts, changes, plans, cancels] = [1, 2, 3, 4].map(personal);
        let shop = subscribed(&db, changes).await;
        for owner in [plans, cancels] {
            shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
        }
        change(&shop, plans, "", 12).await.unwrap();
        for owner in owners {
            set(&shop, owner, later_paid()).await.unwrap();
        }
        shop.set(HALF);
        let mut open = Vec::new();
        for owner in owners {
            is_asked_for(&shop, owner).await;
            open.push((owner, waits(&shop, owner).await.unwrap(), payments_of(&shop, owner).await[0]));
        }
        shop.subscribe(starts, "business", "sandbox_ok", "").await.unwrap();
        change(&shop, changes, "", 12).await.unwrap();
        change(&shop, plans, "", 11).await.unwrap();
        cancel(&shop, cancels, CancelAt::PeriodEnd).await.unwrap();
        let asked = shop.count("payments").await;
        for (owner, it, payment_id) in open {
            let given_up = payment(&shop, &payment_id.to_string()).await;
            assert!(given_up.returned && given_up.state != PaymentState::Paid, "{owner}: {given_up:?}");
            // The job that has asked for it looks again, and does not take the order's place in turn.
            Box::pin(begin(&shop.subscriptions, &due(owner, &it))).await.unwrap();
            assert_eq!(waits(&shop, owner).await, Some(Waiting { attempts: 1, ..it }), "{owner}");
        }
        assert_eq!((shop.count("payments").await, due_a_day_after(&shop, HALF).await), (asked, 4));
        shop.sql("UPDATE contracts SET payment_method = 'sandbox_ok'").await;
        shop.set("2026-01-17T12:00:00Z");
        for owner in owners {
            falls_due(&shop, owner).await;
        }
        for owner in [starts, changes, plans] {
            assert_eq!((stands(&shop, owner).await.0.as_str(), waits(&shop, owner).await), ("enterprise 30 300.00 USD 5500", None));
            shop.assert_sound(owner).await;
        }
        assert_eq!(waits(&shop, cancels).await.unwrap().attempts, 2, "what is to end is not changed");
    }

    async fn what_was_declined_and_is_paid_after_all_begins_and_is_asked_for_no_more(db: TestDb) {
        let owner = personal(1);
        let shop = Shop::open(&db, BEGIN).await;
        set(&shop, owner, later_paid()).await.unwrap();
        shop.set(HALF);
        is_asked_for(&shop, owner).await;
        is_told(&shop, owner, News::Declined("no".to_owned())).await;
        let put_off = waits(&shop, owner).await.unwrap();
        is_paid(&shop, owner).await;
        assert_eq!((stands(&shop, owner).await.0.as_str(), waits(&shop, owner).await), ("enterprise 30 300.00 USD 5500", None));
        shop.set("2026-01-17T12:00:00Z");
        Box::pin(begin(&shop.subscriptions, &due(owner, &put_off))).await.unwrap();
        assert_eq!(shop.count("payments").await, 1);
        shop.assert_sound(owner).await;
    }

    async fn what_a_provider_has_canceled_is_kept_and_asked_for_again_the_day_after(db: TestDb) {
        let owner = personal(1);
        let shop = Shop::open(&db, BEGIN).await;
        set(&shop, owner, later_paid()).await.unwrap();
        shop.set(HALF);
        is_asked_for(&shop, owner).await;
        let id = payments_of(&shop, owner).await[0].to_string();
        let heard = Settlement { reference: None, news: News::Canceled };
        shop.payments.cashier.keep_a_decline(&payment(&shop, &id).await, Some(&heard)).await.unwrap();
        assert_eq!(payment(&shop, &id).await.state, PaymentState::Canceled);
        assert_eq!((waits(&shop, owner).await.unwrap().attempts, due_a_day_after(&shop, HALF).await), (1, 1));
    }

    async fn what_stays_open_for_a_week_is_asked_for_again_the_day_after(db: TestDb) {
        const OVER: &str = "2026-01-23T12:00:00Z";
        let owner = personal(1);
        let shop = Shop::open(&db, BEGIN).await;
        set(&shop, owner, later_paid()).await.unwrap();
        shop.set(HALF);
        is_asked_for(&shop, owner).await;
        let open = payments_of(&shop, owner).await[0];
        for (now, state, attempts) in [("2026-01-23T11:59:59Z", PaymentState::Pending, 0), (OVER, PaymentState::Canceled, 1)] {
            shop.set(now);
            for _ in 0..2 {
                shop.payments.cashier.look_after(cashier::Due { payment: open }).await.unwrap();
                let it = payment(&shop, &open.to_string()).await;
                assert_eq!((it.state, waits(&shop, owner).await.unwrap().attempts), (state, attempts), "{now}");
            }
        }
        assert_eq!(due_a_day_after(&shop, OVER).await, 1);
    }

    async fn what_finds_no_room_when_its_money_comes_goes_back_and_is_asked_for_again_the_day_after(db: TestDb) {
        let owner = personal(1);
        let shop = Shop::open(&db, BEGIN).await;
        set(&shop, owner, later_paid()).await.unwrap();
        shop.set(HALF);
        is_asked_for(&shop, owner).await;
        shop.fills(owner, Rules::MAX_LIVE_LOTS).await;
        is_paid(&shop, owner).await;
        let given_back = payment(&shop, &payments_of(&shop, owner).await[0].to_string()).await;
        assert_eq!((given_back.returned, given_back.refunded), (true, given_back.amount));
        assert_eq!((waits(&shop, owner).await.unwrap().attempts, due_a_day_after(&shop, HALF).await), (1, 1));
        shop.assert_sound(owner).await;
    }

    async fn nobody_pays_for_one_in_whose_place_another_one_came(db: TestDb) {
        let [replaced, unseen] = [1, 2].map(personal);
        let shop = subscribed(&db, replaced).await;
        shop.subscribe(unseen, "business", "sandbox_ok", "").await.unwrap();
        for owner in [replaced, unseen] {
            set(&shop, owner, later_paid()).await.unwrap();
        }
        shop.set(HALF);
        for owner in [replaced, unseen] {
            is_asked_for(&shop, owner).await;
        }
        set(&shop, replaced, costing("400.00 USD").from(LATER)).await.unwrap();
        let first = payments_of(&shop, replaced).await[0];
        assert!(payment(&shop, &first.to_string()).await.returned, "nobody waits for it");
        // Its payment was begun at the same moment, and was not seen.
        shop.sql("UPDATE contracts SET id = 'another'").await;
        for owner in [replaced, unseen] {
            is_paid(&shop, owner).await;
            let paid = payment(&shop, &payments_of(&shop, owner).await[0].to_string()).await;
            assert_eq!((paid.state, paid.returned, paid.refunded), (PaymentState::Paid, true, paid.amount), "it goes back");
            assert_eq!(stands(&shop, owner).await.0, "business 10 100.00 USD 1500");
            assert!(waits(&shop, owner).await.is_some());
            shop.assert_sound(owner).await;
        }
        assert_eq!(shop.count("jobs WHERE kind = 'billing.payment-refund'").await, 2);
    }
}
