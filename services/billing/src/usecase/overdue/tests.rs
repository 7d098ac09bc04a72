//! Whoever changes a subscription at its boundary: what is due is done first, or it is said why not. On both engines.

use std::sync::Arc;

use bursar_id::{OrganizationId, OwnerId, UserId};
use bursar_proto::billing::v1 as pb;
use bursar_rpc::{Answer, Asked, Call, Caller, Permission};
use bursar_testkit::{at, credits, engines, id, personal};
use bursar_time::{Clock, Span};

use crate::domain::{News, ProductId, Refusal, SubscriptionState};
use crate::error::Error;
use crate::payment::Payments;
use crate::store::{MIGRATIONS, payments};
use crate::usecase::canceling::CancelAt;
use crate::usecase::canceling::tests::cancel;
use crate::usecase::changing::tests::change;
use crate::usecase::changing::{Change, Preview};
use crate::usecase::contracts::tests::{costing, set};
use crate::usecase::dues::thing_after;
use crate::usecase::moving::{Move, Moved};
use crate::usecase::orders::Order;
use crate::usecase::renewals;
use crate::usecase::shelf::now;
use crate::usecase::shop::{Shop, manager};

const BEGIN: &str = "2026-01-01T00:00:00Z";
const NEXT: &str = "2026-02-01T00:00:00Z";
/// Within the hour in which the next month is asked for ahead.
const BEFORE: &str = "2026-01-31T23:30:00Z";

/// Beside Business, which costs 100 dollars for 1,500 credits and 10 people: Pro, for 300 dollars, 5,500 credits and 20 people.
const PLANS: &str = include_str!("../../../tests/billing/plans.toml");

/// What one more person would take.
async fn preview(shop: &Shop, owner: OwnerId) -> Result<Preview, Error> {
    let change = Change { plan: None, seats: Some(11), expected: None };
    shop.subscriptions.preview(owner, &change).await
}

/// Has an operator subscribe an organization to Business by hand.
pub(in crate::usecase) async fn gives(shop: &Shop, owner: OwnerId) {
    let body = pb::SubscribeRequest {
        owner: owner.to_string(),
        plan_id: "business".to_owned(),
        payment_method: "sandbox_ok".to_owned(),
        request_id: String::new(),
    };
    let call =
        Call::new(Caller::operator(Permission::ManageBilling), "bursar.billing.v1.SubscriptionService/Subscribe");
    let order = Order { product: "business".to_owned(), method: Payments::Sandbox.method("sandbox_ok").unwrap() };
    let asked = Asked::read(call, "", &body, |_, _| Some(order));
    Box::pin(shop.subscriptions.subscribe(owner, &asked)).await.unwrap();
}

/// Asks to move a person's subscription.
async fn ask_to_move(shop: &Shop, from: UserId, to: OrganizationId) -> Result<Answer<Moved>, Error> {
    let (from_owner, to_owner) = (OwnerId::User(from), OwnerId::Organization(to));
    let body = pb::MoveSubscriptionRequest {
        from_owner: from_owner.to_string(),
        to_owner: to_owner.to_string(),
        ..Default::default()
    };
    let call = Call::new(manager(from_owner), "bursar.billing.v1.SubscriptionService/MoveSubscription");
    let asked = Asked::read(call, &format!("move-{to}"), &body, |_, _| Some(Move { from, to, is_called_off: false }));
    shop.subscriptions.move_subscription(&asked).await
}

/// Moves a person's subscription; whether there was one.
async fn moves(shop: &Shop, from: UserId, to: OrganizationId) -> Result<bool, Error> {
    match ask_to_move(shop, from, to).await? {
        Answer::New(moved) => Ok(matches!(moved, Moved::To(_))),
        Answer::Replay(_) => panic!("it is asked once"),
    }
}

/// Why nobody changes what a person has: another plan, other seats, a contract, and what that would take.
async fn refused(shop: &Shop, owner: OwnerId) -> [Error; 4] {
    [
        change(shop, owner, "business", 0).await.unwrap_err(),
        change(shop, owner, "", 11).await.unwrap_err(),
        set(shop, owner, costing("300.00 USD")).await.unwrap_err(),
        preview(shop, owner).await.unwrap_err(),
    ]
}

fn is_due(error: &Error) -> bool {
    matches!(error, Error::Refused(Refusal::RenewalDue))
}

engines! {
    async fn whoever_changes_it_first_after_the_boundary_finds_the_renewal_done(db: TestDb) {
        let shop = Shop::selling(&db, BEGIN, PLANS).await;
        let all = [1, 2, 3, 4, 5].map(personal);
        let [dearer, seats, agrees, _, anew] = all;
        for owner in all {
            shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
        }
        cancel(&shop, anew, CancelAt::PeriodEnd).await.unwrap();
        shop.set(NEXT);
        change(&shop, dearer, "pro", 0).await.unwrap();
        change(&shop, seats, "", 11).await.unwrap();
        set(&shop, agrees, costing("300.00 USD")).await.unwrap();
        assert!(moves(&shop, id(4), id(4)).await.unwrap());
        shop.subscribe(anew, "business", "sandbox_ok", "").await.unwrap();
        let moved = OwnerId::Organization(id(4));
        for (owner, plan, price, month) in [
            (dearer, "pro", "300.00 USD", 1),
            (seats, "business", "110.00 USD", 1),
            (agrees, "enterprise", "300.00 USD", 1),
            (moved, "business", "100.00 USD", 1),
            (anew, "business", "100.00 USD", 0),
        ] {
            let it = now(&shop, owner).await;
            assert_eq!((it.plan.as_str(), &*it.price.to_string(), it.month.number), (plan, price, month));
            assert_eq!((it.state, it.month.start), (SubscriptionState::Active, at(NEXT)), "{plan}");
            shop.assert_sound(owner).await;
        }
        assert_eq!(shop.available(dearer).await, credits("5500"), "a month's allowance, and a month's difference");
    }

    async fn who_only_asks_is_told_as_if_it_were_renewed_and_renews_nothing(db: TestDb) {
        let shop = Shop::selling(&db, BEGIN, PLANS).await;
        let [goes_on, waits, ends] = [1, 2, 3].map(personal);
        for owner in [goes_on, waits, ends] {
            shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
        }
        set(&shop, waits, costing("300.00 USD").from(NEXT)).await.unwrap();
        cancel(&shop, ends, CancelAt::PeriodEnd).await.unwrap();
        let before = [now(&shop, goes_on).await, now(&shop, waits).await, now(&shop, ends).await];
        shop.set(NEXT);
        let told = preview(&shop, goes_on).await.unwrap();
        assert_eq!((told.quote.due.to_string(), told.quote.at_once), ("10.00 USD".to_owned(), true), "a whole month's");
        let to_pro = Change { plan: Some("pro".to_owned()), seats: None, expected: None };
        let told = shop.subscriptions.preview(waits, &to_pro).await.unwrap();
        assert!(told.quote.due.is_zero() && !told.quote.at_once, "its contract has begun by then, and costs no less");
        let refused = preview(&shop, ends).await;
        assert!(matches!(refused, Err(Error::NoSubscription)), "{refused:?}");
        assert_eq!([now(&shop, goes_on).await, now(&shop, waits).await, now(&shop, ends).await], before);
        assert_eq!(shop.count("payments").await, 3);
        let changed = change(&shop, goes_on, "", 11).await.unwrap();
        let paid = shop.payments.known(changed.payment.unwrap().id.parse().unwrap()).await.unwrap();
        assert_eq!(paid.amount.to_string(), "10.00 USD", "and so it is");
    }

    async fn what_was_declined_ahead_is_past_due_to_who_asks_and_to_who_changes(db: TestDb) {
        let shop = Shop::selling(&db, BEGIN, PLANS).await;
        let [declined, canceled] = [1, 2].map(personal);
        for owner in [declined, canceled] {
            shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
        }
        shop.pays_with("sandbox_declined").await;
        shop.set(BEFORE);
        assert!(!renewals::ahead::pay(&shop.subscriptions).await.unwrap());
        cancel(&shop, canceled, CancelAt::PeriodEnd).await.unwrap();
        shop.set(NEXT);
        assert_eq!(now(&shop, declined).await.state, SubscriptionState::Active, "nobody has counted it yet");
        let told = preview(&shop, declined).await;
        assert!(matches!(told, Err(Error::SubscriptionPastDue)), "{told:?}");
        assert_eq!(now(&shop, declined).await.state, SubscriptionState::Active, "nothing is written");
        let done = change(&shop, declined, "", 11).await;
        assert!(matches!(done, Err(Error::SubscriptionPastDue)), "{done:?}");
        assert_eq!(now(&shop, declined).await.state, SubscriptionState::PastDue);
        let told = preview(&shop, canceled).await;
        assert!(matches!(told, Err(Error::NoSubscription)), "what was canceled ends: {told:?}");
        let done = change(&shop, canceled, "", 11).await;
        assert!(matches!(done, Err(Error::NoSubscription)), "{done:?}");
    }

    async fn what_was_asked_for_ahead_begins_by_no_contract_to_who_asks_and_to_who_changes(db: TestDb) {
        let shop = Shop::selling(&db, BEGIN, PLANS).await;
        let owner = personal(1);
        shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
        shop.set(BEFORE);
        assert!(!renewals::ahead::pay(&shop.subscriptions).await.unwrap());
        set(&shop, owner, costing("300.00 USD").from(NEXT)).await.unwrap();
        shop.set(NEXT);
        let told = preview(&shop, owner).await.unwrap();
        assert_eq!((told.quote.due.to_string(), told.quote.at_once), ("10.00 USD".to_owned(), true), "a whole month's");
        let changed = change(&shop, owner, "", 11).await.unwrap();
        let paid = shop.payments.known(changed.payment.unwrap().id.parse().unwrap()).await.unwrap();
        assert_eq!(paid.amount.to_string(), "10.00 USD", "and so it is");
        let it = now(&shop, owner).await;
        assert_eq!((it.plan.as_str(), &*it.price.to_string(), it.month.number), ("business", "110.00 USD", 1));
        assert_eq!(shop.count("contracts").await, 1, "it waits for its job");
        shop.assert_sound(owner).await;
    }

    async fn what_waits_for_an_operator_is_no_reason_to_come_again(db: TestDb) {
        let clock = Clock::system();
        let mut shop = Shop::open_by(&db, clock.clone()).await;
        let owner = personal(1);
        shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
        clock.skew(Span::from_days(70).as_micros());
        for error in Box::pin(refused(&shop, owner)).await {
            assert!(matches!(error, Error::RenewalHeld), "{error:?}");
        }
        let moved = ask_to_move(&shop, id(1), id(1)).await.unwrap();
        assert_eq!(moved, Answer::New(Moved::RenewalHeld));
        assert_eq!(shop.count("refused_moves").await, 1);
        assert_eq!((now(&shop, owner).await.month.number, shop.count("payments").await), (0, 1));
        assert_eq!(renewals::resume(&shop.db, Some(owner), clock.now()).await.unwrap(), 1);
        // Elsewhere nobody remembers that it stayed due.
        shop.subscriptions.looks = Arc::default();
        change(&shop, owner, "", 11).await.unwrap();
        let it = now(&shop, owner).await;
        assert_eq!((it.month.number, it.seats), (2, 11), "whoever comes first after that makes up for it");
        // Whoever made that organization for it has removed it, and asks late if at all.
        for _ in 0..2 {
            let again = ask_to_move(&shop, id(1), id(1)).await.unwrap();
            assert!(matches!(again, Answer::Replay(_)), "{again:?}");
            let told = again.message().unwrap().told();
            assert!(matches!(told, Err(Error::RenewalHeld)), "{told:?}");
            // It stands for longer than answers are kept.
            shop.sql("DELETE FROM requests").await;
        }
        assert!(moves(&shop, id(1), id(2)).await.unwrap(), "it moves elsewhere");
    }

    async fn who_changes_it_waits_for_an_open_payment_for_a_second_at_most(db: TestDb) {
        let shop = Shop::selling(&db, BEGIN, PLANS).await;
        let owner = personal(1);
        shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
        shop.pays_with("sandbox_pending").await;
        shop.set(NEXT);
        for attempt in [1, 2] {
            for error in Box::pin(refused(&shop, owner)).await {
                assert!(is_due(&error), "{error:?}");
            }
            let moved = moves(&shop, id(1), id(attempt)).await;
            assert!(moved.as_ref().is_err_and(is_due), "{moved:?}");
            if attempt == 1 {
                shop.clock.advance(Span::from_millis(999)).unwrap();
            }
        }
        shop.clock.advance(Span::from_millis(1)).unwrap();
        for error in Box::pin(refused(&shop, owner)).await {
            assert!(matches!(error, Error::SubscriptionPastDue), "{error:?}");
        }
        assert!(!moves(&shop, id(1), id(3)).await.unwrap(), "it has no plan that is paid for");
        let from = now(&shop, owner).await;
        assert_eq!(from.state, SubscriptionState::PastDue);
        let open = payments::last_attempt(&mut shop.db.read().await.unwrap(), thing_after(&from)).await.unwrap();
        shop.payments.told(open.unwrap().id, News::Paid).await.unwrap();
        shop.pays_with("sandbox_ok").await;
        change(&shop, owner, "", 11).await.unwrap();
        assert!(moves(&shop, id(1), id(1)).await.unwrap(), "whoever was told to come again may");
    }

    async fn a_renewal_that_cannot_be_done_is_due_for_a_second_and_then_past_due(db: TestDb) {
        let mut shop = Shop::selling(&db, BEGIN, PLANS).await;
        let owner = personal(1);
        shop.subscribe(owner, "business", "sandbox_ok", "").await.unwrap();
        let (till, cashier) = (shop.subscriptions.till.clone(), shop.subscriptions.cashier.clone());
        shop.set(NEXT);
        shop.fails();
        for error in Box::pin(refused(&shop, owner)).await {
            assert!(is_due(&error), "{error:?}");
        }
        shop.clock.advance(Span::SECOND).unwrap();
        for error in Box::pin(refused(&shop, owner)).await {
            assert!(matches!(error, Error::RenewalUnpaid), "{error:?}");
        }
        assert_eq!((now(&shop, owner).await.state, now(&shop, owner).await.month.number), (SubscriptionState::Active, 0));
        // Nobody knows how long: what would wait for it is told so for good.
        assert_eq!(ask_to_move(&shop, id(1), id(1)).await.unwrap(), Answer::New(Moved::PastDue));
        assert_eq!(shop.count("refused_moves").await, 1);
        (shop.subscriptions.till, shop.subscriptions.cashier) = (till, cashier);
        // Of a plan without credits, or one that grants them before their payment, the account says nothing.
        shop.sql("UPDATE accounts SET renews_at = NULL").await;
        change(&shop, owner, "", 11).await.unwrap();
        assert_eq!((now(&shop, owner).await.month.number, now(&shop, owner).await.seats), (1, 11));
        shop.assert_sound(owner).await;
        for _ in 0..2 {
            let again = ask_to_move(&shop, id(1), id(1)).await.unwrap();
            assert!(matches!(again, Answer::Replay(_)), "{again:?}");
            let told = again.message().unwrap().told();
            assert!(matches!(told, Err(Error::RenewalUnpaid)), "{told:?}");
            // It stands for longer than answers are kept.
            shop.sql("DELETE FROM requests").await;
        }
        assert!(moves(&shop, id(1), id(2)).await.unwrap(), "it moves elsewhere");
    }

    /// Else the organization would be on no plan a moment later, and its creator's could never move there.
    async fn what_an_organization_has_of_its_own_is_an_answer_only_while_it_is_paid_for(db: TestDb) {
        let mut shop = Shop::selling(&db, BEGIN, PLANS).await;
        let [over, declined] = [1, 2].map(|n| OwnerId::Organization(id(n)));
        for owner in [over, declined] {
            gives(&shop, owner).await;
        }
        cancel(&shop, over, CancelAt::PeriodEnd).await.unwrap();
        shop.set("2026-01-15T00:00:00Z");
        shop.subscribe(personal(1), "business", "sandbox_ok", "").await.unwrap();
        shop.pays_with("sandbox_declined").await;
        shop.set(NEXT);
        let waits = ask_to_move(&shop, id(2), id(2)).await;
        assert!(waits.as_ref().is_err_and(is_due), "it may lapse: {waits:?}");
        assert_eq!(now(&shop, declined).await.state, SubscriptionState::PastDue);
        shop.pays_with("sandbox_ok").await;
        // As where looking after it fails: nobody has written its end.
        let another = db.another().await;
        let here = std::mem::replace(&mut shop.subscriptions.till.db, another.open(&MIGRATIONS).await);
        let waits = ask_to_move(&shop, id(1), id(1)).await;
        assert!(waits.as_ref().is_err_and(is_due), "it has ended: {waits:?}");
        shop.subscriptions.till.db = here;
        assert_eq!(shop.count("refused_moves").await, 0, "nothing is answered for good");
        assert!(moves(&shop, id(1), id(1)).await.unwrap(), "its creator's plan is not lost to it");
        shop.set("2026-02-02T00:00:00Z");
        let has_its_own = Answer::New(Moved::AlreadySubscribed(ProductId::parse("business").unwrap()));
        assert_eq!(ask_to_move(&shop, id(2), id(2)).await.unwrap(), has_its_own, "it was paid in the end");
        for owner in [over, declined, personal(1)] {
            shop.assert_sound(owner).await;
        }
    }
}
