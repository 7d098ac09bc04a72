//! A month that is not paid at once and granted all the same: spent, paid late, voided, moved, rolled over, and told of in the
//! books. On both engines.

use bursar_id::{OwnerId, PaymentId};
use bursar_money::Price;
use bursar_testkit::{TestDb, credits, engines, id, organization, personal};

use crate::domain::{Lot, News, Payment, PaymentState, Rules, SubscriptionState};
use crate::store::payments;
use crate::usecase::canceling::CancelAt;
use crate::usecase::canceling::tests::cancel;
use crate::usecase::dues::thing_after;
use crate::usecase::renewals;
use crate::usecase::shelf::{debt, now, told, usd};
use crate::usecase::shop::Shop;

const BEGIN: &str = "2026-01-01T00:00:00Z";
const NEXT: &str = "2026-02-01T00:00:00Z";
const DAY_AFTER: &str = "2026-02-02T00:00:00Z";
const THIRD: &str = "2026-03-01T00:00:00Z";

/// When a month that begins in February is tried again.
const RETRIES: [&str; 4] = [DAY_AFTER, "2026-02-04T00:00:00Z", "2026-02-06T00:00:00Z", "2026-02-08T00:00:00Z"];

const JANUARY: &str = "ALLOWANCE 1500 (0) 2026-01-01T00:00:00Z 2026-02-01T00:00:00Z";
const FEBRUARY: &str = "ALLOWANCE 1500 (1500) 2026-02-01T00:00:00Z 2026-03-01T00:00:00Z";

const PLANS: &str = r#"
[[plans]]
id = "lenient"
name = "Lenient"
price = "100.00 USD"
credits = "1500"
grant_in_grace = true
seats = 10
features = ["organizations"]

[[plans]]
id = "lenient-rolling"
name = "Lenient, and rolling"
price = "100.00 USD"
credits = "1500"
rollover = "500"
grant_in_grace = true
seats = 10

[[plans]]
id = "lenient-yearly"
name = "Lenient, by the year"
interval = "year"
price = "1200.00 USD"
credits = "1500"
grant_in_grace = true
seats = 10
"#;

async fn shop(db: &TestDb) -> Shop {
    Shop::selling(db, BEGIN, PLANS).await
}

/// Somebody on a plan who has spent so much of its first month.
async fn on(shop: &Shop, owner: OwnerId, plan: &str, spent: &str) {
    shop.subscribe(owner, plan, "sandbox_ok", "").await.unwrap();
    shop.spend(owner, spent).await;
}

/// It is this time, and whatever is due was looked after.
async fn becomes(shop: &Shop, time: &str) {
    shop.set(time);
    assert_eq!(renewals::round(&shop.subscriptions).await.unwrap().failed, 0, "at {time}");
}

/// From this time on everybody's month is paid like this.
async fn pays(shop: &Shop, method: &str, time: &str) {
    shop.pays_with(method).await;
    becomes(shop, time).await;
}

/// What an owner's subscription is, and how much can be spent.
async fn stands(shop: &Shop, owner: OwnerId) -> (SubscriptionState, String) {
    (now(shop, owner).await.state, shop.available(owner).await.to_string())
}

fn is(state: SubscriptionState, available: &str) -> (SubscriptionState, String) {
    (state, available.to_owned())
}

/// The payment of the month that a subscription is in.
async fn paid(shop: &Shop, owner: OwnerId) -> Payment {
    let id = now(shop, owner).await.payment().unwrap();
    shop.payments.known(id).await.unwrap()
}

/// The payment of the next month, which is open.
async fn open(shop: &Shop, owner: OwnerId) -> PaymentId {
    let from = now(shop, owner).await;
    payments::last_attempt(&mut shop.db.read().await.unwrap(), thing_after(&from)).await.unwrap().unwrap().id
}

engines! {
    async fn a_month_that_is_paid_late_is_there_from_its_boundary_on_and_once(db: TestDb) {
        let shop = shop(&db).await;
        let owner = personal(1);
        on(&shop, owner, "lenient", "1000").await;
        shop.buy(owner, "starter", "sandbox_ok", "").await.unwrap();
        pays(&shop, "sandbox_declined", NEXT).await;
        assert_eq!(stands(&shop, owner).await, is(SubscriptionState::PastDue, "1800"));
        let lots = shop.lots(owner).await;
        let origin = lots[2].terms.origin;
        let of = now(&shop, owner).await;
        assert_eq!((origin.subscription, origin.payment, origin.paid), (Some((of.id, 1)), None, Some(usd("100.00"))));
        shop.spend(owner, "600").await;
        shop.assert_sound(owner).await;
        // Tried again it is not granted again.
        becomes(&shop, RETRIES[0]).await;
        assert_eq!((stands(&shop, owner).await, shop.lots(owner).await.len()), (is(SubscriptionState::PastDue, "1200"), 3));
        let invoices = shop.count("invoices").await;
        pays(&shop, "sandbox_ok", RETRIES[1]).await;
        assert_eq!((stands(&shop, owner).await, shop.lots(owner).await.len()), (is(SubscriptionState::Active, "1200"), 3));
        let payment = paid(&shop, owner).await;
        assert_eq!((payment.lot, payment.state), (Some(lots[2].id), PaymentState::Paid));
        assert_eq!((now(&shop, owner).await.month.number, shop.count("invoices").await - invoices), (1, 1));
        shop.assert_sound(owner).await;
        // What goes back takes that lot: what is left of it, and what was spent is owed.
        told(&shop, payment.id, News::Refunded(usd("100.00"))).await;
        assert_eq!((stands(&shop, owner).await, debt(&shop, owner).await), (is(SubscriptionState::Active, "300"), "600".to_owned()));
        shop.assert_sound(owner).await;
        becomes(&shop, THIRD).await;
        assert_eq!(shop.lots(owner).await.len(), 4, "the next month is one of its own");
        shop.assert_sound(owner).await;
    }

    async fn what_is_left_is_void_when_the_last_attempt_fails_and_nothing_is_owed(db: TestDb) {
        let shop = shop(&db).await;
        let owner = personal(1);
        on(&shop, owner, "lenient", "1000").await;
        shop.buy(owner, "starter", "sandbox_ok", "").await.unwrap();
        pays(&shop, "sandbox_declined", NEXT).await;
        shop.spend(owner, "600").await;
        for (day, state) in RETRIES.into_iter().zip([SubscriptionState::PastDue; 3]) {
            becomes(&shop, day).await;
            assert_eq!(stands(&shop, owner).await, is(state, "1200"), "{day}");
        }
        becomes(&shop, RETRIES[3]).await;
        assert_eq!(stands(&shop, owner).await, is(SubscriptionState::Ended, "300"), "the pack stays");
        let lot = shop.lots(owner).await.remove(2);
        assert_eq!((lot.spent, lot.voided, debt(&shop, owner).await), (credits("600"), credits("900"), "0".to_owned()));
        shop.assert_sound(owner).await;
        // Whoever comes back begins with a month of its own.
        on(&shop, owner, "lenient", "1").await;
        assert_eq!(stands(&shop, owner).await, is(SubscriptionState::Active, "1799"));
        shop.assert_sound(owner).await;
    }

    async fn who_cancels_gives_up_what_is_left_and_money_that_comes_then_goes_back(db: TestDb) {
        let shop = shop(&db).await;
        let both = [(personal(1), CancelAt::PeriodEnd), (personal(2), CancelAt::Now)];
        for (owner, _) in both {
            on(&shop, owner, "lenient", "1000").await;
        }
        pays(&shop, "sandbox_pending", NEXT).await;
        for (owner, when) in both {
            assert_eq!(stands(&shop, owner).await, is(SubscriptionState::PastDue, "1500"));
            shop.spend(owner, "100").await;
            let late = open(&shop, owner).await;
            cancel(&shop, owner, when).await.unwrap();
            assert_eq!(stands(&shop, owner).await, is(SubscriptionState::Ended, "0"));
            let payment = told(&shop, late, News::Paid).await;
            assert!(payment.returned && payment.lot.is_none());
            assert_eq!((shop.available(owner).await, debt(&shop, owner).await), (credits("0"), "0".to_owned()));
            shop.assert_sound(owner).await;
        }
    }

    async fn whose_owner_is_gone_gives_it_up(db: TestDb) {
        let shop = shop(&db).await;
        let owner = personal(1);
        on(&shop, owner, "lenient", "1000").await;
        pays(&shop, "sandbox_declined", NEXT).await;
        shop.subscriptions.end_now(owner, true).await.unwrap();
        assert_eq!(stands(&shop, owner).await, is(SubscriptionState::Ended, "0"));
        shop.assert_sound(owner).await;
    }

    async fn without_the_field_a_month_comes_with_its_payment(db: TestDb) {
        let shop = shop(&db).await;
        let owner = personal(1);
        on(&shop, owner, "business", "1000").await;
        pays(&shop, "sandbox_declined", NEXT).await;
        assert_eq!(stands(&shop, owner).await, is(SubscriptionState::PastDue, "0"));
        assert_eq!(shop.renewed_by_an_older_program().await, 1, "programs of before renew it");
        pays(&shop, "sandbox_ok", DAY_AFTER).await;
        assert_eq!(shop.lot_lines(owner).await, [JANUARY, FEBRUARY]);
        shop.assert_sound(owner).await;
    }

    async fn who_has_it_keeps_it_whatever_the_catalog_says_later(db: TestDb) {
        let mut shop = shop(&db).await;
        let (before, after) = (personal(1), personal(2));
        on(&shop, before, "lenient", "1000").await;
        let built_in = include_str!("../../../catalog.toml");
        shop.sells(&format!("{built_in}{}", PLANS.replace("grant_in_grace = true\n", "")));
        on(&shop, after, "lenient", "1000").await;
        assert_eq!(shop.renewed_by_an_older_program().await, 1, "programs of before leave the one alone");
        pays(&shop, "sandbox_declined", NEXT).await;
        assert_eq!(stands(&shop, before).await, is(SubscriptionState::PastDue, "1500"));
        assert_eq!(stands(&shop, after).await, is(SubscriptionState::PastDue, "0"));
        pays(&shop, "sandbox_ok", DAY_AFTER).await;
        pays(&shop, "sandbox_declined", THIRD).await;
        assert_eq!(stands(&shop, before).await, is(SubscriptionState::PastDue, "1500"), "the month after that as well");
        for owner in [before, after] {
            shop.assert_sound(owner).await;
        }
    }

    async fn one_that_begins_with_a_late_payment_has_it_as_well(db: TestDb) {
        let shop = shop(&db).await;
        let owner = personal(1);
        let begun = shop.subscribe(owner, "lenient", "sandbox_pending", "").await.unwrap();
        assert!(begun.grant_in_grace);
        told(&shop, begun.payment_id.parse().unwrap(), News::Paid).await;
        assert!(now(&shop, owner).await.grant_in_grace);
        pays(&shop, "sandbox_declined", NEXT).await;
        assert_eq!(stands(&shop, owner).await, is(SubscriptionState::PastDue, "1500"));
        shop.assert_sound(owner).await;
    }

    async fn of_two_replicas_each_month_is_granted_and_paid_once(db: TestDb) {
        let shop = shop(&db).await;
        let (owner, other) = (personal(1), shop.clone());
        on(&shop, owner, "lenient", "1000").await;
        for (method, time, state) in [
            ("sandbox_declined", NEXT, SubscriptionState::PastDue),
            ("sandbox_declined", RETRIES[0], SubscriptionState::PastDue),
            ("sandbox_ok", RETRIES[1], SubscriptionState::Active),
        ] {
            shop.pays_with(method).await;
            shop.set(time);
            let both = [&shop, &other].map(|it| Box::pin(renewals::round(&it.subscriptions)));
            futures::future::join_all(both).await;
            assert_eq!(now(&shop, owner).await.state, state, "{time}");
            assert_eq!(shop.lot_lines(owner).await, [JANUARY, FEBRUARY], "{time}");
            shop.assert_sound(owner).await;
        }
        // News that come twice change nothing either.
        let payment = paid(&shop, owner).await;
        assert_eq!(told(&shop, payment.id, News::Paid).await, payment);
        assert_eq!(shop.lot_lines(owner).await, [JANUARY, FEBRUARY]);
    }

    async fn what_was_granted_while_nobody_answered_is_the_payments_that_comes(db: TestDb) {
        let shop = shop(&db).await;
        let owner = personal(1);
        on(&shop, owner, "lenient", "1000").await;
        shop.set(NEXT);
        let from = now(&shop, owner).await;
        for _ in 0..2 {
            let mut tx = shop.db.begin().await.unwrap();
            shop.subscriptions.cashier.grant_in_grace(&mut tx, &from).await.unwrap();
            tx.commit().await.unwrap();
        }
        assert_eq!(stands(&shop, owner).await, is(SubscriptionState::Active, "1500"));
        becomes(&shop, NEXT).await;
        assert_eq!(shop.lot_lines(owner).await, [JANUARY, FEBRUARY]);
        assert_eq!(paid(&shop, owner).await.lot, Some(shop.lots(owner).await[1].id));
        // Whoever has read it before comes too late.
        let mut tx = shop.db.begin().await.unwrap();
        shop.subscriptions.cashier.grant_in_grace(&mut tx, &from).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(shop.lot_lines(owner).await, [JANUARY, FEBRUARY]);
        shop.assert_sound(owner).await;
    }

    async fn without_room_for_one_more_lot_it_waits_for_some(db: TestDb) {
        let shop = shop(&db).await;
        let owner = personal(1);
        on(&shop, owner, "lenient", "1000").await;
        shop.set(NEXT);
        shop.fills(owner, Rules::MAX_LIVE_LOTS).await;
        pays(&shop, "sandbox_declined", NEXT).await;
        let full = Rules::MAX_LIVE_LOTS;
        assert_eq!(stands(&shop, owner).await, is(SubscriptionState::PastDue, &full.to_string()), "it is tried again");
        shop.spend(owner, "1").await;
        becomes(&shop, RETRIES[0]).await;
        assert_eq!(stands(&shop, owner).await, is(SubscriptionState::PastDue, &(full - 1 + 1_500).to_string()));
        shop.assert_sound(owner).await;
    }

    async fn it_rolls_over_with_the_payment_that_came(db: TestDb) {
        let shop = shop(&db).await;
        let owner = personal(1);
        on(&shop, owner, "lenient-rolling", "1300").await;
        pays(&shop, "sandbox_declined", NEXT).await;
        shop.spend(owner, "100").await;
        pays(&shop, "sandbox_ok", DAY_AFTER).await;
        assert_eq!(stands(&shop, owner).await, is(SubscriptionState::Active, "1600"), "with 200 of January");
        let payment = paid(&shop, owner).await;
        becomes(&shop, THIRD).await;
        assert_eq!(stands(&shop, owner).await, is(SubscriptionState::Active, "2000"));
        let over: Vec<_> = shop.lots(owner).await.into_iter().filter(Lot::is_rolled_over).collect();
        let of: Vec<_> = over.iter().map(|lot| (lot.granted.to_string(), lot.terms.origin.payment)).collect();
        assert_eq!(of[1..], [("500".to_owned(), Some(payment.id))], "the newest of February fill the cap");
        assert_eq!(over[1].terms.origin.paid.map(Price::floor_to_minor), Some(usd("33.33")));
        shop.assert_sound(owner).await;
        told(&shop, payment.id, News::Refunded(usd("100.00"))).await;
        assert_eq!((shop.available(owner).await, debt(&shop, owner).await), (credits("1500"), "100".to_owned()));
        shop.assert_sound(owner).await;
    }

    async fn it_moves_with_the_payment_that_came(db: TestDb) {
        let shop = shop(&db).await;
        let (owner, team) = (personal(1), organization(1));
        on(&shop, owner, "lenient", "1000").await;
        pays(&shop, "sandbox_declined", NEXT).await;
        shop.spend(owner, "100").await;
        pays(&shop, "sandbox_ok", DAY_AFTER).await;
        let payment = paid(&shop, owner).await;
        shop.moves(id(1), id(1)).await;
        assert_eq!((shop.available(owner).await, shop.available(team).await), (credits("0"), credits("1400")));
        for owner in [owner, team] {
            shop.assert_sound(owner).await;
        }
        told(&shop, payment.id, News::Refunded(usd("100.00"))).await;
        assert_eq!((shop.available(team).await, debt(&shop, owner).await), (credits("0"), "100".to_owned()));
        for owner in [owner, team] {
            shop.assert_sound(owner).await;
        }
    }

    async fn a_year_that_is_paid_late_has_its_first_month_at_its_beginning(db: TestDb) {
        let shop = shop(&db).await;
        let owner = personal(1);
        on(&shop, owner, "lenient-yearly", "1").await;
        pays(&shop, "sandbox_declined", "2026-12-01T00:00:00Z").await;
        assert_eq!(stands(&shop, owner).await, is(SubscriptionState::Active, "1500"), "the year is paid for");
        becomes(&shop, "2027-01-01T00:00:00Z").await;
        assert_eq!(stands(&shop, owner).await, is(SubscriptionState::PastDue, "1500"));
        pays(&shop, "sandbox_ok", "2027-01-02T00:00:00Z").await;
        assert_eq!(stands(&shop, owner).await, is(SubscriptionState::Active, "1500"));
        let payment = paid(&shop, owner).await;
        let lot = shop.lots(owner).await.pop().unwrap();
        assert_eq!((lot.id, lot.terms.origin.paid), (payment.lot.unwrap(), Some(usd("100.00"))), "a twelfth");
        becomes(&shop, "2027-02-01T00:00:00Z").await;
        assert_eq!(stands(&shop, owner).await, is(SubscriptionState::Active, "1500"));
        shop.assert_sound(owner).await;
        told(&shop, payment.id, News::Refunded(usd("1200.00"))).await;
        assert_eq!(stands(&shop, owner).await, is(SubscriptionState::Active, "0"));
        shop.assert_sound(owner).await;
    }

    async fn it_is_worth_something_once_it_is_paid(db: TestDb) {
        let shop = Shop::selling(&db, "2026-01-28T00:00:00Z", PLANS).await;
        let (owner, never) = (personal(1), personal(2));
        for owner in [owner, never] {
            on(&shop, owner, "lenient", "1500").await;
        }
        pays(&shop, "sandbox_declined", "2026-02-28T00:00:00Z").await;
        for owner in [owner, never] {
            shop.spend(owner, "600").await;
        }
        assert_eq!(shop.reported("2026-02").await, (0, 0, 0));
        cancel(&shop, never, CancelAt::Now).await.unwrap();
        pays(&shop, "sandbox_ok", THIRD).await;
        assert_eq!(now(&shop, owner).await.state, SubscriptionState::Active);
        assert_eq!(shop.reported("2026-02").await, (0, 0, 0), "a month is told as it ended");
        assert_eq!(shop.reported("2026-03").await, (40_000_000, 0, 60_000_000));
        shop.spend(owner, "150").await;
        assert_eq!(shop.reported("2026-03").await, (50_000_000, 0, 50_000_000));
        for owner in [owner, never] {
            shop.assert_sound(owner).await;
        }
    }
}
