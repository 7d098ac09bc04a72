//! What Stripe refuses in words that are on no list, and what is the deployment's fault: nobody's plan ends by it, however long it
//! lasts, and somebody sees it.

use bursar_billing::late;
use bursar_id::OwnerId;
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::PaymentState;
use bursar_testkit::stripe::{Astray, Card};
use bursar_testkit::{engines, refused};
use bursar_time::Span;
use tonic::{Code, Status};

use crate::moving::{lots, plan_of};
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

async fn has(world: &World, owner: OwnerId, credits: &str) {
    until("it has so many credits", async || {
        // What has failed meanwhile is tried again after a while.
        world.passes(Span::from_mins(10));
        world.available(owner).await == credits
    })
    .await;
}

/// That everybody is on their plan still, and nothing counts as a decline.
async fn assert_nobody_lapses(world: &World) {
    assert_eq!(world.scalar("SELECT COUNT(*) FROM subscriptions WHERE state <> 'ACTIVE' OR failures > 0").await, 0);
    assert_eq!(world.scalar("SELECT COUNT(*) FROM payments WHERE state = 'DECLINED'").await, 0);
}

/// Who is shown to operators, in order.
async fn shown(world: &World) -> Vec<OwnerId> {
    let late = late(&world.store, world.now(), 10).await.unwrap();
    assert!(late.iter().all(|it| it.failures == 0), "{late:?}");
    let mut owners: Vec<_> = late.into_iter().map(|it| it.owner).collect();
    owners.sort();
    owners
}

/// What is asked for is not known to be paid, nor that it is not.
fn is_unavailable<T: std::fmt::Debug>(asked: Result<T, Status>) {
    refused(asked, Code::Unavailable, "PAYMENT_PROVIDER_UNAVAILABLE");
}

/// Somebody enters another card, which pays by default from now on, and removes the one that there was.
async fn pays_with_another(desk: &Desk, who: &Person) {
    let (owner, request_id) = (who.owner.to_string(), String::new());
    let before = methods(who, who.owner).await.remove(0).id;
    desk.saves(who, who.owner, Card::Good).await;
    let saved = methods(who, who.owner).await.into_iter().find(|it| it.id != before).unwrap().id;
    let prefer = pb::SetDefaultPaymentMethodRequest {
        owner: owner.clone(),
        payment_method_id: saved,
        request_id: request_id.clone(),
    };
    who.set_default_payment_method(prefer).await.unwrap();
    let remove = pb::RemovePaymentMethodRequest { owner, payment_method_id: before, request_id };
    who.remove_payment_method(remove).await.unwrap();
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
    async fn a_month_that_is_refused_in_a_word_on_no_list_waits_alone_is_shown_and_another_card_pays_it(db: TestDb) {
        let desk = Desk::open(db).await;
        let world = &desk.world;
        let ((ana, card), (ben, other)) = (subscriber(&desk, 1).await, subscriber(&desk, 2).await);
        let (cleo, _) = subscriber(&desk, 3).await;
        for (card, how) in [card, other].iter().zip(REFUSED) {
            desk.fake.becomes(card, how);
        }
        world.passes(Span::from_days(31));
        has(world, cleo.owner, "1800").await;
        days_pass(&desk).await;
        assert_nobody_lapses(world).await;
        for who in [&ana, &ben] {
            assert_eq!((&*world.available(who.owner).await, &*plan_of(world, who.owner).await.0), ("300", "business"));
            let pack = lots(world, who.owner).await.into_iter().find(|it| it.starts_with("Pack"));
            assert_eq!(pack.as_deref(), Some("Pack 300 (300+0) never"));
        }
        let mut expected = vec![ana.owner, ben.owner];
        expected.sort();
        assert_eq!(shown(world).await, expected);
        for who in [&ana, &ben] {
            pays_with_another(&desk, who).await;
        }
        for who in [&ana, &ben] {
            has(world, who.owner, "1800").await;
            world.audit(who.owner).await;
        }
        assert_eq!(world.scalar("SELECT COUNT(*) FROM subscriptions WHERE state <> 'ACTIVE'").await, 0);
        assert_eq!((shown(world).await, desk.fake.takings()), (Vec::new(), 3 * (10_000 + 2_000 + 10_000)));
        desk.delivers().await;
        assert_eq!(desk.count("ASIDE").await, 0);
    }

    async fn while_the_key_is_wrong_or_a_field_nobodys_plan_lapses_and_everybody_is_shown(db: TestDb) {
        let desk = Desk::open(db).await;
        let world = &desk.world;
        let people = [subscriber(&desk, 1).await.0, subscriber(&desk, 2).await.0];
        let mut expected = people.each_ref().map(|it| it.owner);
        expected.sort();
        // A month later it is not over for as long as that took.
        for (how, days) in [(Astray::Key, 31), (Astray::Word("parameter_unknown"), 20)] {
            desk.fake.is_astray(Some(how));
            world.passes(Span::from_days(days));
            days_pass(&desk).await;
            assert_nobody_lapses(world).await;
            assert_eq!(shown(world).await, expected, "{how:?}");
            desk.fake.is_astray(None);
            for who in &people {
                has(world, who.owner, "1800").await;
            }
            assert!(shown(world).await.is_empty(), "{how:?}");
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
        assert_nobody_lapses(world).await;
        assert_eq!(shown(world).await.len(), 6);
        desk.fake.is_astray(None);
        for who in &people {
            has(world, who.owner, "1800").await;
            world.audit(who.owner).await;
        }
        assert_nobody_lapses(world).await;
        assert_eq!((shown(world).await, desk.fake.takings()), (Vec::new(), 6 * (10_000 + 2_000 + 10_000)));
    }

    async fn what_is_bought_and_refused_in_a_word_on_no_list_is_canceled_after_a_week_and_frees_its_request(db: TestDb) {
        for how in REFUSED {
            let desk = Desk::open(db.another().await).await;
            let world = &desk.world;
            let (ana, card) = subscriber(&desk, 1).await;
            desk.fake.becomes(&card, how);
            // So that these are the latest.
            world.passes(Span::SECOND);
            is_unavailable(ana.purchase_pack(buy(ana.owner).under("r1")).await);
            is_unavailable(ana.set_seats(set_seats(ana.owner, 30)).await);
            let states = async || payments(&ana, ana.owner).await.iter().map(pb::Payment::state).collect::<Vec<_>>();
            assert_eq!(states().await[..2], [PaymentState::Created; 2], "{how:?}");
            world.passes(Span::from_days(7));
            until("nobody waits for them", async || {
                world.passes(Span::from_mins(10));
                states().await[..2] == [PaymentState::Canceled; 2]
            })
            .await;
            assert_nobody_lapses(world).await;
            assert_eq!((plan_of(world, ana.owner).await, desk.fake.takings()), (("business".to_owned(), 10), 12_000));
            desk.fake.becomes(&card, Card::Good);
            let paid = ana.purchase_pack(buy(ana.owner).under("r1")).await.unwrap().payment.unwrap();
            assert_eq!((paid.state(), desk.fake.takings()), (PaymentState::Paid, 14_000));
            ana.set_seats(set_seats(ana.owner, 11)).await.unwrap();
            desk.delivers().await;
            assert_eq!(desk.count("ASIDE").await, 0);
            world.audit(ana.owner).await;
        }
    }

    async fn what_is_bought_while_the_key_is_wrong_is_canceled_after_a_week_and_frees_its_request(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, _) = desk.person_with(1, Card::Good).await;
        desk.fake.is_astray(Some(Astray::Key));
        is_unavailable(ana.purchase_pack(buy(ana.owner).under("r1")).await);
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

    async fn a_top_up_that_is_refused_in_a_word_on_no_list_stays_on(db: TestDb) {
        let desk = Desk::open(db).await;
        let world = &desk.world;
        let (ana, card) = desk.person_with(1, Card::Barred(ODD)).await;
        let asked = || desk.fake.asked().iter().filter(|it| *it == "POST /v1/payment_intents").count();
        ana.update_account_settings(set(ana.owner, starter(1_000, ""))).await.unwrap();
        until("it is asked for again and again", async || {
            world.passes(Span::from_mins(10));
            asked() > 6
        })
        .await;
        assert_nobody_lapses(world).await;
        assert_eq!((world.top_up(ana.owner).await.enabled, world.stopped().await), (true, 0));
        desk.fake.becomes(&card, Card::Good);
        has(world, ana.owner, "300").await;
        assert_eq!((desk.fake.takings(), world.stopped().await), (2_000, 0));
        desk.delivers().await;
        assert_eq!(desk.count("ASIDE").await, 0);
        world.audit(ana.owner).await;
    }
}
