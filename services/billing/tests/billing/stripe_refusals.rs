//! What Stripe refuses in words that are on no list: what is one customer's counts against them alone, as a decline does, and what
//! is the deployment's ends nobody's plan, however long it lasts.

use bursar_billing::late;
use bursar_id::OwnerId;
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::{PaymentState, SubscriptionState};
use bursar_testkit::stripe::{Astray, Card};
use bursar_testkit::{engines, refused};
use bursar_time::Span;
use tonic::Code;

use crate::moving::{lots, plan_of, subscription};
use crate::stripe_desk::{Desk, buy, methods, payments};
use crate::topping_up::{set, starter};
use crate::words::{Under, set_seats, subscribe};
use crate::world::{Person, World, until};

/// What no program knows.
const ODD: &str = "a_word_of_tomorrow";

/// How Stripe refuses one card: as it is to take the money, and before there is an intent.
const REFUSED: [Card; 2] = [Card::Refused(ODD), Card::Barred(ODD)];

/// Somebody on Business, who has a pack beside it; with Stripe's name for their card.
async fn subscriber(desk: &Desk, n: u64) -> (Person, String) {
    let (who, card) = desk.person_with(n, Card::Good).await;
    let request = pb::SubscribeRequest { payment_method: String::new(), ..subscribe(who.owner, "business") };
    who.subscribe(request).await.unwrap();
    who.purchase_pack(buy(who.owner)).await.unwrap();
    assert_eq!(desk.world.available(who.owner).await, "1800");
    (who, card)
}

async fn is_past_due(world: &World, owner: OwnerId) {
    until("it is past due", async || subscription(world, owner).await.state() == SubscriptionState::PastDue).await;
}

async fn has(world: &World, owner: OwnerId, credits: &str) {
    until("it has so many credits", async || {
        // What has failed meanwhile is tried again after a while.
        world.passes(Span::from_mins(1));
        world.available(owner).await == credits
    })
    .await;
}

/// Why each of the owner's payments was declined that were, the latest first.
async fn declines(who: &Person) -> Vec<String> {
    let all = payments(who, who.owner).await.into_iter();
    all.filter(|it| it.state() == PaymentState::Declined).map(|it| it.decline_code).collect()
}

/// Twelve days pass, in which whatever is due is asked for again and again.
async fn days_pass(desk: &Desk) {
    let until_then = desk.world.in_(Span::from_days(12));
    let asked = || desk.fake.asked().iter().filter(|it| *it == "POST /v1/payment_intents").count();
    let (mut before, mut at_the_end) = (asked(), None);
    until("it is asked for all the time, and then some", async || {
        if desk.world.now() < until_then {
            // Not before something was asked for since.
            if asked() > before {
                before = asked();
                desk.world.passes(Span::from_hours(12));
            } else {
                desk.world.passes(Span::from_mins(10));
            }
            return false;
        }
        desk.world.passes(Span::from_mins(10));
        asked() > *at_the_end.get_or_insert_with(asked) + 12
    })
    .await;
}

engines! {
    async fn a_month_that_is_refused_in_a_word_on_no_list_is_past_due_alone_and_another_card_pays_it(db: TestDb) {
        let desk = Desk::open(db).await;
        let world = &desk.world;
        let ((ana, card), (ben, other)) = (subscriber(&desk, 1).await, subscriber(&desk, 2).await);
        let (cleo, _) = subscriber(&desk, 3).await;
        for (card, how) in [card, other].iter().zip(REFUSED) {
            desk.fake.becomes(card, how);
        }
        world.passes(Span::from_days(31));
        for who in [&ana, &ben] {
            is_past_due(world, who.owner).await;
            assert_eq!(declines(who).await, [ODD]);
            assert_eq!((&*world.available(who.owner).await, &*plan_of(world, who.owner).await.0), ("300", "business"));
        }
        has(world, cleo.owner, "1800").await;
        assert_eq!(subscription(world, cleo.owner).await.state(), SubscriptionState::Active);
        // Who enters another card, and removes the one that does not pay, pays at the next try.
        for who in [&ana, &ben] {
            let saved = methods(who, who.owner).await.remove(0);
            desk.saves(who, who.owner, Card::Good).await;
            let (owner, request_id) = (who.owner.to_string(), String::new());
            let remove = pb::RemovePaymentMethodRequest { owner, payment_method_id: saved.id, request_id };
            who.remove_payment_method(remove).await.unwrap();
        }
        world.passes(Span::from_days(2));
        for who in [&ana, &ben] {
            has(world, who.owner, "1800").await;
            assert_eq!(subscription(world, who.owner).await.state(), SubscriptionState::Active);
            world.audit(who.owner).await;
        }
        assert_eq!(desk.fake.takings(), 3 * (10_000 + 2_000 + 10_000));
        desk.delivers().await;
        assert_eq!(desk.count("ASIDE").await, 0);
    }

    async fn a_month_that_is_refused_in_a_word_on_no_list_lapses_after_its_last_retry_and_its_pack_stays(db: TestDb) {
        let desk = Desk::open(db).await;
        let world = &desk.world;
        let ((ana, card), (ben, _)) = (subscriber(&desk, 1).await, subscriber(&desk, 2).await);
        desk.fake.becomes(&card, Card::Refused(ODD));
        world.passes(Span::from_days(31));
        is_past_due(world, ana.owner).await;
        until("it lapses", async || {
            world.passes(Span::from_hours(6));
            plan_of(world, ana.owner).await.0 == "free"
        })
        .await;
        assert_eq!(declines(&ana).await, [ODD; 5], "at the boundary, and 1, 3, 5 and 7 days after it");
        let pack = lots(world, ana.owner).await.into_iter().find(|it| it.starts_with("Pack"));
        assert_eq!(pack.as_deref(), Some("Pack 300 (300+0) never"));
        has(world, ana.owner, "300").await;
        assert_eq!(subscription(world, ben.owner).await.state(), SubscriptionState::Active);
        let shown = late(&world.store, world.now(), 10).await.unwrap();
        assert!(shown.iter().all(|it| it.owner != ana.owner), "it is over: {shown:?}");
        for who in [&ana, &ben] {
            world.audit(who.owner).await;
        }
    }

    async fn while_the_key_is_wrong_or_a_field_nobodys_plan_lapses_and_everybody_is_shown(db: TestDb) {
        let desk = Desk::open(db).await;
        let world = &desk.world;
        let people = [subscriber(&desk, 1).await.0, subscriber(&desk, 2).await.0];
        // A month later it is not over for as long as that took.
        for (how, days) in [(Astray::Key, 31), (Astray::Word("parameter_unknown"), 20)] {
            desk.fake.is_astray(Some(how));
            world.passes(Span::from_days(days));
            days_pass(&desk).await;
            assert_eq!(world.scalar("SELECT COUNT(*) FROM subscriptions WHERE state <> 'ACTIVE'").await, 0, "{how:?}");
            assert_eq!(world.scalar("SELECT COUNT(*) FROM payments WHERE state = 'DECLINED'").await, 0, "{how:?}");
            let shown: Vec<_> = late(&world.store, world.now(), 10).await.unwrap();
            let mut owners: Vec<_> = shown.iter().map(|it| it.owner).collect();
            owners.sort();
            assert_eq!(owners, people.each_ref().map(|it| it.owner), "{how:?}");
            assert!(shown.iter().all(|it| it.failures == 0), "{shown:?}");
            desk.fake.is_astray(None);
            for who in &people {
                until("it is paid", async || {
                    world.passes(Span::from_mins(10));
                    world.available(who.owner).await == "1800"
                })
                .await;
            }
            assert!(late(&world.store, world.now(), 10).await.unwrap().is_empty(), "{how:?}");
        }
        for who in &people {
            world.audit(who.owner).await;
        }
    }

    async fn what_everybody_is_refused_in_a_word_on_no_list_lapses_nobody(db: TestDb) {
        let desk = Desk::open(db).await;
        let world = &desk.world;
        let mut people = Vec::new();
        for n in 1..=6 {
            people.push(subscriber(&desk, n).await.0);
        }
        desk.fake.is_astray(Some(Astray::Word(ODD)));
        world.passes(Span::from_days(31));
        days_pass(&desk).await;
        let [once, more] = [
            "SELECT COUNT(*) FROM subscriptions WHERE state = 'PAST_DUE' AND failures = 1",
            "SELECT COUNT(*) FROM subscriptions WHERE state = 'ENDED' OR failures > 1",
        ];
        let (once, more) = (world.scalar(once).await, world.scalar(more).await);
        assert!(once <= 3 && more == 0, "{once} {more}: it may have been a few customers' affair at first");
        assert_eq!(late(&world.store, world.now(), 10).await.unwrap().len(), 6);
        desk.fake.is_astray(None);
        for who in &people {
            until("it is paid", async || {
                world.passes(Span::from_mins(10));
                world.available(who.owner).await == "1800"
            })
            .await;
            assert_eq!(subscription(world, who.owner).await.state(), SubscriptionState::Active);
            world.audit(who.owner).await;
        }
    }

    async fn what_is_bought_and_refused_in_a_word_on_no_list_is_declined_and_frees_its_request(db: TestDb) {
        let desk = Desk::open(db).await;
        let world = &desk.world;
        let (ana, card) = subscriber(&desk, 1).await;
        for how in REFUSED {
            desk.fake.becomes(&card, how);
            world.passes(Span::SECOND);
            refused(ana.purchase_pack(buy(ana.owner).under("r1")).await, Code::FailedPrecondition, "PAYMENT_DECLINED");
            refused(ana.set_seats(set_seats(ana.owner, 30)).await, Code::FailedPrecondition, "PAYMENT_DECLINED");
        }
        assert_eq!(declines(&ana).await, [ODD; 4]);
        assert_eq!((plan_of(world, ana.owner).await, desk.fake.takings()), (("business".to_owned(), 10), 12_000));
        desk.fake.becomes(&card, Card::Good);
        world.passes(Span::SECOND);
        let paid = ana.purchase_pack(buy(ana.owner).under("r1")).await.unwrap().payment.unwrap();
        assert_eq!((paid.state(), desk.fake.takings()), (PaymentState::Paid, 14_000));
        ana.set_seats(set_seats(ana.owner, 11)).await.unwrap();
        desk.delivers().await;
        assert_eq!(desk.count("ASIDE").await, 0);
        world.audit(ana.owner).await;
    }

    async fn what_is_bought_while_the_key_is_wrong_is_canceled_after_a_week_and_frees_its_request(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, _) = desk.person_with(1, Card::Good).await;
        desk.fake.is_astray(Some(Astray::Key));
        let unavailable = "PAYMENT_PROVIDER_UNAVAILABLE";
        refused(ana.purchase_pack(buy(ana.owner).under("r1")).await, Code::Unavailable, unavailable);
        desk.world.passes(Span::from_days(7));
        until("nobody waits for it", async || {
            desk.world.passes(Span::from_mins(10));
            payments(&ana, ana.owner).await[0].state() == PaymentState::Canceled
        })
        .await;
        desk.fake.is_astray(None);
        let paid = ana.purchase_pack(buy(ana.owner).under("r1")).await.unwrap().payment.unwrap();
        assert_eq!((paid.state(), desk.fake.takings()), (PaymentState::Paid, 2_000));
        assert_eq!(desk.world.available(ana.owner).await, "300");
        desk.world.audit(ana.owner).await;
    }

    async fn a_top_up_that_is_refused_in_a_word_on_no_list_is_declined_and_the_third_switches_it_off(db: TestDb) {
        let desk = Desk::open(db).await;
        let world = &desk.world;
        let (ana, _) = desk.person_with(1, Card::Refused(ODD)).await;
        ana.update_account_settings(set(ana.owner, starter(1_000, ""))).await.unwrap();
        for attempt in 1..=3 {
            world.tried(ana.owner, attempt).await;
            assert_eq!(declines(&ana).await, vec![ODD; attempt]);
            world.passes(Span::HOUR);
        }
        world.looked().await;
        assert!(!world.top_up(ana.owner).await.enabled);
        assert_eq!((desk.fake.takings(), world.stopped().await), (0, 1));
        world.audit(ana.owner).await;
    }
}
