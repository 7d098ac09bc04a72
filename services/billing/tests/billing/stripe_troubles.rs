//! Stripe that is down, slow, or answers rubbish: nobody pays twice, nobody pays for nothing, and nothing is lost.

use std::time::Duration;

use bursar_id::OwnerId;
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::PaymentState;
use bursar_proto::google::r#type::Money;
use bursar_testkit::stripe::{Card, Mishap};
use bursar_testkit::{Refusal, engines, refused};
use bursar_time::Span;
use tonic::Code;

use crate::contracts::{contract, later};
use crate::stripe_desk::{Desk, buy, methods, payments, setup};
use crate::words::{Under, spend, subscribe};
use crate::world::{BUILT_IN, sell, until};

/// How many requests a purchase makes: the intent, a look at it, its confirmation.
const REQUESTS: usize = 3;

/// How many requests saving a card begins with: the customer, the page.
const SETUP_REQUESTS: usize = 2;

/// Refunds that are not done, also those that were given up.
const TO_GIVE_BACK: &str = "SELECT COUNT(*) FROM jobs WHERE kind = 'billing.payment-refund'";

/// Gives back five dollars of what was paid.
fn five_back(owner: OwnerId, payment: &pb::Payment) -> pb::RefundPaymentRequest {
    let amount = Some(Money { currency_code: "USD".to_owned(), units: 5, nanos: 0 });
    let (payment_id, owner) = (payment.id.clone(), owner.to_string());
    pb::RefundPaymentRequest { payment_id, owner, amount, request_id: String::new() }
}

/// What the fake was asked of these, in order.
fn asked_of(desk: &Desk, paths: &[&str]) -> Vec<String> {
    let is_of = |it: &String| it.split_once(' ').is_some_and(|(_, path)| paths.contains(&path));
    desk.fake.asked().into_iter().filter(is_of).collect()
}

engines! {
    async fn whatever_goes_wrong_once_a_purchase_is_paid_once(db: TestDb) {
        let desk = Desk::with(db, |settings| settings.payments.stripe.timeout = Duration::from_secs(2)).await;
        let (ana, _) = desk.person_with(1, Card::Good).await;
        let mut bought = 0;
        for mishap in [Mishap::Down, Mishap::Failed, Mishap::Lost, Mishap::Rubbish, Mishap::Endless] {
            for step in 0..REQUESTS {
                bought += 1;
                let name = format!("{mishap:?}{step}");
                desk.fake.fails((0..=step).map(|n| (n == step).then_some(mishap)));
                desk.world.passes(Span::SECOND);
                let mut tries = 0;
                let paid = loop {
                    tries += 1;
                    assert!(tries < 4, "{name}");
                    match ana.purchase_pack(buy(ana.owner).under(&name)).await {
                        Ok(answer) => break answer.payment.unwrap(),
                        Err(status) => {
                            let refusal = Refusal::of(&status);
                            assert_eq!((status.code(), &*refusal.reason), (Code::Unavailable, "PAYMENT_PROVIDER_UNAVAILABLE"), "{name}");
                        }
                    }
                };
                desk.fake.recovers();
                assert_eq!(paid.state(), PaymentState::Paid, "{name}");
                assert_eq!(desk.fake.takings(), 2_000 * bought, "{name}: it is paid once");
                assert_eq!(desk.world.available(ana.owner).await, (300 * bought).to_string(), "{name}");
            }
        }
        assert_eq!(payments(&ana, ana.owner).await.len(), 5 * REQUESTS);
        desk.delivers().await;
        assert_eq!((desk.fake.takings(), desk.count("ASIDE").await), (2_000 * bought, 0));
        desk.world.audit(ana.owner).await;
    }

    async fn who_is_not_waited_for_gets_what_they_bought_later(db: TestDb) {
        let desk = Desk::with(db, |settings| settings.payments.stripe.timeout = Duration::from_secs(2)).await;
        let (ana, _) = desk.person_with(1, Card::Good).await;
        // It is confirmed, and no answer comes, twice.
        desk.fake.fails([None, None, Some(Mishap::Slow), Some(Mishap::Slow)]);
        refused(ana.purchase_pack(buy(ana.owner)).await, Code::Unavailable, "PAYMENT_PROVIDER_UNAVAILABLE");
        assert_eq!((desk.fake.takings(), &*desk.world.available(ana.owner).await), (2_000, "0"));
        desk.fake.forgets_keys();
        desk.world.passes(Span::from_mins(2));
        until("the job has asked", async || desk.world.available(ana.owner).await == "300").await;
        assert_eq!((desk.fake.takings(), payments(&ana, ana.owner).await.len()), (2_000, 1));
        desk.delivers().await;
        assert_eq!(desk.world.available(ana.owner).await, "300");
        desk.world.audit(ana.owner).await;
    }

    async fn a_webhook_may_be_faster_than_the_answer(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, _) = desk.person_with(1, Card::Good).await;
        desk.fake.fails([None, None, Some(Mishap::Rubbish)]);
        refused(ana.purchase_pack(buy(ana.owner).under("r1")).await, Code::Unavailable, "PAYMENT_PROVIDER_UNAVAILABLE");
        desk.delivers().await;
        assert_eq!(desk.world.available(ana.owner).await, "300");
        let answer = ana.purchase_pack(buy(ana.owner).under("r1")).await.unwrap();
        assert_eq!(answer.payment.unwrap().state(), PaymentState::Paid);
        assert_eq!((desk.fake.takings(), &*desk.world.available(ana.owner).await), (2_000, "300"));
    }

    async fn what_is_down_for_long_takes_nothing_and_gives_everything_back_later(db: TestDb) {
        let desk = Desk::open(db).await;
        let operator = desk.world.operator();
        let (ana, _) = desk.person_with(1, Card::Good).await;
        let payment = ana.purchase_pack(buy(ana.owner)).await.unwrap().payment.unwrap();
        desk.fake.fails(vec![Some(Mishap::Down); 1_000]);
        refused(ana.begin_setup(setup(ana.owner)).await, Code::Unavailable, "PAYMENT_PROVIDER_UNAVAILABLE");
        assert_eq!(methods(&ana, ana.owner).await.len(), 1);
        desk.world.passes(Span::SECOND);
        refused(ana.purchase_pack(buy(ana.owner)).await, Code::Unavailable, "PAYMENT_PROVIDER_UNAVAILABLE");
        assert_eq!(payments(&ana, ana.owner).await[0].state(), PaymentState::Created);
        let refund = pb::RefundPaymentRequest {
            payment_id: payment.id, owner: ana.owner.to_string(), amount: None, request_id: String::new(),
        };
        operator.refund_payment(refund).await.unwrap();
        assert_eq!((desk.fake.takings(), &*desk.world.available(ana.owner).await), (2_000, "0"));
        desk.fake.recovers();
        until("what was begun is paid, and what was to go back is back", async || {
            desk.world.passes(Span::from_mins(10));
            desk.world.available(ana.owner).await == "300" && desk.fake.takings() == 2_000 && desk.fake.all("refund").len() == 1
        })
        .await;
        desk.delivers().await;
        assert_eq!((desk.fake.takings(), &*desk.world.available(ana.owner).await), (2_000, "300"));
        desk.world.audit(ana.owner).await;
    }

    async fn what_is_down_for_a_week_is_given_up_and_goes_on_being_asked(db: TestDb) {
        let desk = Desk::open(db).await;
        let (world, operator) = (&desk.world, desk.world.operator());
        let (ana, _) = desk.person_with(1, Card::Good).await;
        let paid = ana.purchase_pack(buy(ana.owner)).await.unwrap().payment.unwrap();
        world.passes(Span::SECOND);
        // The next one's intent is made and looked at; whether it is confirmed, nobody hears any more.
        desk.fake.fails([None, None].into_iter().chain(std::iter::repeat_n(Some(Mishap::Down), 10_000)));
        refused(ana.purchase_pack(buy(ana.owner)).await, Code::Unavailable, "PAYMENT_PROVIDER_UNAVAILABLE");
        let (owner, request_id) = (ana.owner.to_string(), String::new());
        let refund = pb::RefundPaymentRequest {
            payment_id: paid.id, owner: owner.clone(), amount: None, request_id: request_id.clone(),
        };
        operator.refund_payment(refund).await.unwrap();
        let payment_method_id = methods(&ana, ana.owner).await.remove(0).id;
        let remove = pb::RemovePaymentMethodRequest { owner, payment_method_id, request_id };
        ana.remove_payment_method(remove).await.unwrap();
        let tried =
            "SELECT COUNT(*) FROM jobs WHERE kind LIKE 'billing.payment-%' AND leased = 0 AND failure IS NOT NULL";
        until("both were tried", async || world.scalar(tried).await == 2).await;
        let listed = || desk.fake.asked().iter().filter(|it| *it == "GET /v1/refunds").count();
        let at_work = "SELECT COUNT(*) FROM jobs WHERE kind LIKE 'billing.payment%' AND leased = 1";
        let hours = std::iter::repeat_n(Span::HOUR, 72);
        for span in hours.chain(std::iter::repeat_n(Span::from_days(1), 5)) {
            let before = listed();
            world.passes(span);
            until("it is tried again", async || listed() > before + 1 && world.scalar(at_work).await == 0).await;
        }
        let open = "SELECT COUNT(*) FROM payments WHERE state = 'CREATED' AND returned = 0";
        until("nobody waits for it any more", async || world.scalar(open).await == 0).await;
        assert_eq!(world.scalar("SELECT COUNT(*) FROM jobs WHERE dead_at IS NOT NULL").await, 0);
        assert_eq!((desk.fake.takings(), desk.fake.all("customer").len()), (2_000, 1));
        desk.fake.recovers();
        let unheard = "SELECT COUNT(*) FROM payments WHERE state = 'CREATED'";
        until("everything is done", async || {
            world.passes(Span::HOUR);
            desk.fake.takings() == 0 && desk.fake.all("customer").is_empty() && world.scalar(unheard).await == 0
        })
        .await;
        desk.delivers().await;
        assert_eq!((desk.fake.takings(), &*world.available(ana.owner).await), (0, "0"));
        assert_eq!(desk.fake.all("refund").len(), 1, "what was given up was never taken");
        world.audit(ana.owner).await;
    }

    async fn nobody_who_buys_is_told_to_ask_again_for_what_can_never_be_done(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, _) = desk.person_with(1, Card::Good).await;
        // Its intent is made and looked at; whether it is confirmed, nobody hears. Then another amount is paid than was asked for.
        desk.fake.fails([None, None, Some(Mishap::Down), Some(Mishap::Down)]);
        let lost = ana.purchase_pack(buy(ana.owner).under("r1")).await;
        assert!(refused(lost, Code::Unavailable, "PAYMENT_PROVIDER_UNAVAILABLE").retryable);
        desk.fake.arrives(&desk.intent(), true);
        assert_eq!(desk.world.by_hand("UPDATE payments SET amount = amount + 1000000").await.unwrap(), 1);
        for _ in 0..2 {
            let never = ana.purchase_pack(buy(ana.owner).under("r1")).await;
            assert!(!refused(never, Code::FailedPrecondition, "PAYMENT_CANNOT_COMPLETE").retryable);
        }
        assert_eq!((payments(&ana, ana.owner).await.len(), &*desk.world.available(ana.owner).await), (1, "0"));
    }

    async fn what_can_never_be_given_back_is_shown_at_once(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, _) = desk.person_with(1, Card::Good).await;
        let paid = ana.purchase_pack(buy(ana.owner)).await.unwrap().payment.unwrap();
        desk.world.by_hand("UPDATE payments SET reference = NULL").await.unwrap();
        let refund = pb::RefundPaymentRequest {
            payment_id: paid.id, owner: ana.owner.to_string(), amount: None, request_id: String::new(),
        };
        desk.world.operator().refund_payment(refund).await.unwrap();
        let dead = "SELECT COUNT(*) FROM jobs WHERE kind = 'billing.payment-refund' AND dead_at IS NOT NULL";
        until("it is a dead letter", async || desk.world.scalar(dead).await == 1).await;
        assert_eq!(desk.fake.takings(), 2_000);
    }

    async fn what_the_provider_knows_nothing_of_is_given_up_when_its_time_is_over(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, _) = desk.person_with(1, Card::Challenged).await;
        ana.purchase_pack(buy(ana.owner)).await.unwrap();
        desk.world.passes(Span::from_mins(2));
        let waits = "SELECT COUNT(*) FROM jobs WHERE kind = 'billing.payment' AND unique_key LIKE '%:open'";
        until("somebody waits for it", async || desk.world.scalar(waits).await == 1).await;
        desk.world.by_hand("UPDATE payments SET reference = 'pi_gone'").await.unwrap();
        desk.world.passes(Span::from_days(7));
        until("nobody waits for it", async || payments(&ana, ana.owner).await[0].state() == PaymentState::Canceled).await;
        assert_eq!(&*desk.world.available(ana.owner).await, "0");
    }

    async fn a_contract_of_whose_payment_nothing_was_heard_is_asked_for_a_day_after_that_is_given_up(db: TestDb) {
        let desk = Desk::open(db).await;
        let world = &desk.world;
        let (ana, _) = desk.person_with(1, Card::Good).await;
        world.operator().set_contract(later(world, Span::HOUR, contract(ana.owner, 900))).await.unwrap();
        // Its intent is made and looked at; whether it is confirmed, nobody hears.
        desk.fake.fails([None, None].into_iter().chain(std::iter::repeat_n(Some(Mishap::Down), 10_000)));
        world.passes(Span::HOUR);
        let asked = "SELECT COUNT(*) FROM payments";
        until("it is asked for", async || world.scalar(asked).await == 1).await;
        let waits = "SELECT COUNT(*) FROM payments WHERE returned = 0";
        world.passes(Span::from_days(7));
        until("nobody waits for it any more", async || world.scalar(waits).await == 0).await;
        assert_eq!((world.scalar("SELECT attempts FROM contracts").await, world.scalar(asked).await), (1, 1));
    }

    async fn a_silent_provider_keeps_nobody_waiting_at_the_turn_of_the_month(db: TestDb) {
        const SILENT_FOR: Duration = Duration::from_secs(5);
        let desk = Desk::with(db, |settings| settings.payments.stripe.timeout = SILENT_FOR).await;
        let (ana, _) = desk.person_with(1, Card::Good).await;
        let request = pb::SubscribeRequest { payment_method: String::new(), ..subscribe(ana.owner, "business") };
        ana.subscribe(request).await.unwrap();
        ana.purchase_pack(buy(ana.owner)).await.unwrap();
        // Nobody was there in the hour before, when it would have been paid. Whoever looks after it is at it twice as long as this.
        desk.fake.fails(vec![Some(Mishap::Slow); 1_000]);
        desk.world.passes(Span::from_days(32));
        for left in ["290", "280", "270"] {
            let charged = tokio::time::timeout(SILENT_FOR, ana.charge(spend(ana.owner, "10"))).await;
            let charged = charged.expect("nobody waits for the provider").unwrap();
            assert_eq!(charged.balance_after, left, "the pack pays");
        }
        desk.fake.recovers();
        until("the month has begun", async || {
            desk.world.passes(Span::from_mins(10));
            desk.world.available(ana.owner).await == "1770"
        })
        .await;
        assert_eq!((desk.fake.takings(), payments(&ana, ana.owner).await.len()), (22_000, 3));
        desk.delivers().await;
        desk.world.audit(ana.owner).await;
    }

    async fn a_month_in_grace_is_there_while_its_provider_is_silent(db: TestDb) {
        const SILENT_FOR: Duration = Duration::from_secs(5);
        let desk = Desk::with(db, |settings| {
            let named = "id = \"business\"\n";
            sell(settings, &BUILT_IN.replace(named, &format!("{named}grant_in_grace = true\n")));
            settings.payments.stripe.timeout = SILENT_FOR;
        })
        .await;
        let (ana, _) = desk.person_with(1, Card::Good).await;
        let request = pb::SubscribeRequest { payment_method: String::new(), ..subscribe(ana.owner, "business") };
        ana.subscribe(request).await.unwrap();
        desk.fake.fails(vec![Some(Mishap::Slow); 1_000]);
        desk.world.passes(Span::from_days(32));
        let charged = tokio::time::timeout(SILENT_FOR, ana.charge(spend(ana.owner, "10"))).await;
        assert_eq!(charged.expect("nobody waits for the provider").unwrap().balance_after, "1490");
        desk.fake.recovers();
        until("the month is paid", async || {
            desk.world.passes(Span::from_mins(10));
            desk.fake.takings() == 20_000
        })
        .await;
        desk.delivers().await;
        assert_eq!(desk.world.available(ana.owner).await, "1490", "and granted once");
        desk.world.audit(ana.owner).await;
    }

    async fn a_decline_whose_answer_was_lost_stays_one(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, _) = desk.person_with(1, Card::Declined("lost_card")).await;
        desk.fake.fails([None, None, Some(Mishap::Lost)]);
        refused(ana.purchase_pack(buy(ana.owner)).await, Code::FailedPrecondition, "PAYMENT_DECLINED");
        let all = payments(&ana, ana.owner).await;
        assert_eq!((all.len(), all[0].state(), &*all[0].decline_code), (1, PaymentState::Declined, "lost_card"));
        desk.delivers().await;
        assert_eq!((desk.fake.takings(), &*desk.world.available(ana.owner).await), (0, "0"));
    }

    async fn a_refund_whose_answer_was_lost_is_not_given_twice_however_late_it_is_asked_again(db: TestDb) {
        let desk = Desk::open(db).await;
        let operator = desk.world.operator();
        let (ana, _) = desk.person_with(1, Card::Good).await;
        let payment = ana.purchase_pack(buy(ana.owner)).await.unwrap().payment.unwrap();
        // The list of refunds is read; that it is given back, nobody hears.
        desk.fake.fails([None, Some(Mishap::Rubbish)]);
        operator.refund_payment(five_back(ana.owner, &payment)).await.unwrap();
        until("it was given back", async || desk.fake.takings() == 1_500).await;
        // Then it is on the second page of refunds, and its key is forgotten.
        for _ in 0..100 {
            desk.fake.refunds(&desk.intent(), 1);
        }
        desk.fake.forgets_keys();
        let jobs = "SELECT COUNT(*) FROM jobs WHERE kind = 'billing.payment-refund' AND dead_at IS NULL";
        until("the job knows", async || {
            desk.world.passes(Span::from_mins(1));
            desk.world.scalar(jobs).await == 0
        })
        .await;
        assert_eq!((desk.fake.takings(), desk.fake.all("refund").len()), (1_400, 101));
    }

    async fn a_refund_without_an_answer_is_asked_for_once_more_at_once_and_given_back_once(db: TestDb) {
        let desk = Desk::with(db, |settings| settings.payments.stripe.timeout = Duration::from_secs(2)).await;
        let (ana, _) = desk.person_with(1, Card::Good).await;
        let payment = ana.purchase_pack(buy(ana.owner)).await.unwrap().payment.unwrap();
        for (mishap, count, left) in [(Mishap::Lost, 1, 1_500), (Mishap::Slow, 2, 1_000)] {
            // The list of refunds is read; that it is given back, nobody hears.
            desk.fake.fails([None, Some(mishap)]);
            desk.world.operator().refund_payment(five_back(ana.owner, &payment)).await.unwrap();
            until("it is done", async || desk.world.scalar(TO_GIVE_BACK).await == 0).await;
            // Nobody has read the list again: nothing but its key says that it was given back.
            let asked = ["GET /v1/refunds", "POST /v1/refunds", "POST /v1/refunds"].repeat(count);
            assert_eq!(asked_of(&desk, &["/v1/refunds"]), asked, "{mishap:?}");
            assert_eq!((desk.fake.all("refund").len(), desk.fake.takings()), (count, left), "{mishap:?}");
        }
        desk.delivers().await;
        assert_eq!((&*desk.world.available(ana.owner).await, desk.count("ASIDE").await), ("150", 0));
        desk.world.audit(ana.owner).await;
    }

    async fn a_refund_that_has_failed_for_as_long_as_its_key_is_known_is_given_back_once_it_is_forgotten(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, _) = desk.person_with(1, Card::Good).await;
        let payment = ana.purchase_pack(buy(ana.owner)).await.unwrap().payment.unwrap();
        // The list of refunds is read; that giving it back has failed is what is said from then on.
        desk.fake.fails([None, Some(Mishap::Failed)]);
        desk.world.operator().refund_payment(five_back(ana.owner, &payment)).await.unwrap();
        let posted = || desk.fake.asked().iter().filter(|it| *it == "POST /v1/refunds").count();
        until("it is asked for twice at once", async || posted() >= 2).await;
        until("and again later", async || {
            desk.world.passes(Span::from_mins(1));
            posted() > 2
        })
        .await;
        assert_eq!((desk.fake.all("refund").len(), desk.fake.takings()), (0, 2_000));
        desk.fake.forgets_keys();
        until("it is done", async || {
            desk.world.passes(Span::from_mins(1));
            desk.world.scalar(TO_GIVE_BACK).await == 0
        })
        .await;
        assert_eq!((desk.fake.all("refund").len(), desk.fake.takings()), (1, 1_500));
        desk.delivers().await;
        assert_eq!((&*desk.world.available(ana.owner).await, desk.count("ASIDE").await), ("225", 0));
        desk.world.audit(ana.owner).await;
    }

    async fn whoever_saves_a_card_has_one_customer_and_one_page_though_an_answer_was_lost(db: TestDb) {
        let desk = Desk::with(db, |settings| settings.payments.stripe.timeout = Duration::from_secs(2)).await;
        let ana = desk.world.person(1);
        let mut begun = 0;
        for mishap in [Mishap::Lost, Mishap::Slow] {
            for step in 0..SETUP_REQUESTS {
                begun += 1;
                let name = format!("{mishap:?}{step}");
                desk.fake.fails((0..=step).map(|n| (n == step).then_some(mishap)));
                desk.world.passes(Span::SECOND);
                let page = ana.begin_setup(setup(ana.owner).under(&name)).await.unwrap().action.unwrap().url;
                // One of the two was asked for twice.
                let asked = asked_of(&desk, &["/v1/customers", "/v1/checkout/sessions"]).len();
                assert_eq!(asked, (SETUP_REQUESTS + 1) * begun, "{name}");
                let made = ["customer", "checkout.session", "setup_intent"].map(|kind| desk.fake.all(kind).len());
                assert_eq!(made, [begun; 3], "{name}");
                desk.fake.enters(&page, Card::Good);
                desk.delivers().await;
                assert_eq!(methods(&ana, ana.owner).await.len(), begun, "{name}");
            }
        }
    }
}
