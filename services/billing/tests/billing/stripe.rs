//! Paying by Stripe, over gRPC and with a fake of Stripe behind it: what is bought, declined, challenged, renewed, given back
//! and disputed.

use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::{DisputeState, PaymentState, SubscriptionState};
use bursar_proto::google::r#type::Money;
use bursar_testkit::stripe::Card;
use bursar_testkit::{engines, refused};
use bursar_time::Span;
use serde_json::json;
use tonic::Code;

use crate::stripe_desk::{Desk, buy, methods, payments, setup};
use crate::words::{Under, cancel, set_seats, spend, subscribe};
use crate::world::until;

fn usd(units: i64) -> Money {
    Money { currency_code: "USD".to_owned(), units, nanos: 0 }
}

engines! {
    async fn a_saved_card_pays_and_what_is_told_of_it_changes_nothing(db: TestDb) {
        let desk = Desk::open(db).await;
        let world = &desk.world;
        let (ana, _) = desk.person_with(1, Card::Good).await;
        let saved = methods(&ana, ana.owner).await.remove(0);
        assert_eq!((&*saved.brand, &*saved.last4, saved.exp_month, saved.exp_year), ("visa", "4242", 12, 2034));
        assert!(saved.default, "the first is the default");
        assert_eq!(saved.added_by, ana.user.to_string());
        let payment = ana.purchase_pack(buy(ana.owner).under("r1")).await.unwrap().payment.unwrap();
        assert_eq!((payment.state(), payment.amount, payment.action), (PaymentState::Paid, Some(usd(20)), None));
        assert_eq!(payment.payment_method, saved.id);
        assert_eq!((&*world.available(ana.owner).await, desk.fake.takings()), ("300", 2_000));
        let told = desk.fake.webhooks();
        for _ in 0..2 {
            desk.delivers_these(&told).await;
        }
        let mut reversed = told.clone();
        reversed.reverse();
        desk.delivers_these(&reversed).await;
        assert_eq!((&*world.available(ana.owner).await, desk.fake.takings()), ("300", 2_000));
        let again = ana.purchase_pack(buy(ana.owner).under("r1")).await.unwrap().payment.unwrap();
        assert_eq!((again.id, desk.fake.all("payment_intent").len()), (payment.id, 1));
        assert_eq!(desk.count("ASIDE").await, 0);
        world.audit(ana.owner).await;
    }

    async fn only_what_is_saved_pays(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, card) = desk.person_with(1, Card::Good).await;
        refused(desk.world.person(2).purchase_pack(buy(desk.world.person(2).owner)).await, Code::FailedPrecondition, "PAYMENT_METHOD_REQUIRED");
        for name in ["sandbox_ok", "pm_card_visa", &card] {
            let request = pb::PurchasePackRequest { payment_method: name.to_owned(), ..buy(ana.owner) };
            assert_eq!(refused(ana.purchase_pack(request).await, Code::InvalidArgument, "INVALID_FIELDS").fields, ["payment_method"]);
        }
        assert_eq!(desk.fake.all("payment_intent").len(), 0, "nobody was asked for anything");
    }

    async fn a_decline_has_the_banks_reason_and_frees_the_request(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, card) = desk.person_with(1, Card::Good).await;
        for reason in ["insufficient_funds", "lost_card", "expired_card"] {
            desk.fake.becomes(&card, Card::Declined(reason));
            desk.world.passes(Span::SECOND);
            refused(ana.purchase_pack(buy(ana.owner).under("r1")).await, Code::FailedPrecondition, "PAYMENT_DECLINED");
            let last = payments(&ana, ana.owner).await.remove(0);
            assert_eq!((last.state(), &*last.decline_code), (PaymentState::Declined, reason));
        }
        desk.fake.becomes(&card, Card::Good);
        desk.world.passes(Span::SECOND);
        let paid = ana.purchase_pack(buy(ana.owner).under("r1")).await.unwrap().payment.unwrap();
        assert_eq!(paid.state(), PaymentState::Paid);
        desk.delivers().await;
        assert_eq!((&*desk.world.available(ana.owner).await, desk.fake.takings()), ("300", 2_000));
        assert_eq!(payments(&ana, ana.owner).await.len(), 4);
        desk.world.audit(ana.owner).await;
    }

    async fn whom_a_bank_wants_to_see_is_told_where_to_go(db: TestDb) {
        let desk = Desk::open(db).await;
        let world = &desk.world;
        let (ana, _) = desk.person_with(1, Card::Challenged).await;
        for (succeeds, state, available) in [(false, PaymentState::Declined, "0"), (true, PaymentState::Paid, "300")] {
            world.passes(Span::SECOND);
            let payment = ana.purchase_pack(buy(ana.owner)).await.unwrap().payment.unwrap();
            assert_eq!(payment.state(), PaymentState::RequiresAction);
            let action = payment.action.clone().unwrap();
            assert!(action.url.starts_with("https://hooks.stripe.test/3d_secure/pi_"), "{}", action.url);
            assert!(action.client_secret.contains("_secret_"), "the customer's program asks with it");
            let get = pb::GetPaymentRequest { owner: ana.owner.to_string(), payment_id: payment.id.clone() };
            let now = ana.get_payment(get.clone()).await.unwrap().payment.unwrap();
            assert_eq!(now.action, Some(action.clone()), "whoever comes back later is told again");
            assert_eq!(payments(&ana, ana.owner).await[0].action, None, "a list does not ask for each");
            desk.delivers().await;
            desk.fake.authenticates(&action.url, succeeds);
            desk.delivers().await;
            let ended = ana.get_payment(get).await.unwrap().payment.unwrap();
            assert_eq!((ended.state(), ended.action), (state, None));
            assert_eq!(world.available(ana.owner).await, available);
        }
        world.audit(ana.owner).await;
    }

    async fn what_is_on_its_way_is_delivered_when_it_has_come(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, _) = desk.person_with(1, Card::Pending).await;
        let payment = ana.purchase_pack(buy(ana.owner)).await.unwrap().payment.unwrap();
        assert_eq!((payment.state(), &*desk.world.available(ana.owner).await), (PaymentState::Pending, "0"));
        desk.fake.arrives(&desk.intent(), true);
        desk.delivers().await;
        assert_eq!(desk.world.available(ana.owner).await, "300");
        desk.world.audit(ana.owner).await;
    }

    async fn whose_webhooks_are_lost_gets_what_they_bought_when_it_would_be_given_up(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, _) = desk.person_with(1, Card::Challenged).await;
        let payment = ana.purchase_pack(buy(ana.owner)).await.unwrap().payment.unwrap();
        desk.world.passes(Span::from_mins(2));
        let waits = "SELECT COUNT(*) FROM jobs WHERE kind = 'billing.payment' AND unique_key LIKE '%:open'";
        until("somebody waits for it", async || desk.world.scalar(waits).await == 1).await;
        desk.fake.authenticates(&payment.action.unwrap().url, true);
        desk.world.passes(Span::from_days(7));
        until("somebody looks", async || desk.world.available(ana.owner).await == "300").await;
        assert_eq!(payments(&ana, ana.owner).await[0].state(), PaymentState::Paid);
        desk.delivers().await;
        assert_eq!((desk.fake.takings(), &*desk.world.available(ana.owner).await), (2_000, "300"));
    }

    async fn what_nobody_waits_for_any_more_is_canceled_there_too(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, _) = desk.person_with(1, Card::Challenged).await;
        let payment = ana.purchase_pack(buy(ana.owner)).await.unwrap().payment.unwrap();
        assert_eq!(payment.state(), PaymentState::RequiresAction);
        desk.delivers().await;
        desk.world.passes(Span::from_mins(2));
        let waits = "SELECT COUNT(*) FROM jobs WHERE kind = 'billing.payment' AND unique_key LIKE '%:open'";
        until("somebody waits for it", async || desk.world.scalar(waits).await == 1).await;
        desk.world.passes(Span::from_days(7));
        let state = async || payments(&ana, ana.owner).await[0].state();
        until("nobody waits for it", async || state().await == PaymentState::Canceled).await;
        desk.world.passes(Span::from_mins(2));
        let status = || desk.fake.object(&desk.intent()).unwrap()["status"].clone();
        until("its customer cannot finish it any more", async || status() == "canceled").await;
        desk.delivers().await;
        assert_eq!((state().await, desk.fake.takings(), desk.count("ASIDE").await), (PaymentState::Canceled, 0, 0));
        desk.world.audit(ana.owner).await;
    }

    /// Kind K: it would stay open for 407 days, and a hundred of them let nobody buy anything for as long.
    async fn what_a_clock_far_ahead_left_open_is_canceled_once_it_is_right(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, _) = desk.person_with(1, Card::Challenged).await;
        ana.purchase_pack(buy(ana.owner)).await.unwrap();
        desk.delivers().await;
        let dated = format!("UPDATE payments SET created_at = created_at + {}", Span::from_days(400).as_micros());
        assert_eq!(desk.world.by_hand(&dated).await.unwrap(), 1);
        desk.world.passes(Span::from_mins(2));
        let state = async || payments(&ana, ana.owner).await[0].state();
        until("nobody waits for it", async || state().await == PaymentState::Canceled).await;
        desk.world.passes(Span::from_mins(2));
        let status = || desk.fake.object(&desk.intent()).unwrap()["status"].clone();
        until("its customer cannot finish it any more", async || status() == "canceled").await;
    }

    async fn what_comes_when_nobody_waits_any_more_goes_back_though_no_webhook_tells_of_it(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, _) = desk.person_with(1, Card::Pending).await;
        ana.purchase_pack(buy(ana.owner)).await.unwrap();
        desk.world.passes(Span::from_mins(2));
        let waits = "SELECT COUNT(*) FROM jobs WHERE kind = 'billing.payment' AND unique_key LIKE '%:open'";
        until("somebody waits for it", async || desk.world.scalar(waits).await == 1).await;
        desk.world.passes(Span::from_days(7));
        let state = async || payments(&ana, ana.owner).await[0].state();
        until("nobody waits for it", async || state().await == PaymentState::Canceled).await;
        let looked = || desk.fake.asked().iter().filter(|it| it.starts_with("GET /v1/payment_intents/")).count();
        let before = looked();
        desk.world.passes(Span::from_mins(2));
        until("it is looked at once more", async || looked() > before).await;
        let waits = "SELECT COUNT(*) FROM jobs WHERE kind = 'billing.payment' AND leased = 0 AND dead_at IS NULL";
        until("and again later", async || desk.world.scalar(waits).await == 1).await;
        desk.fake.arrives(&desk.intent(), true);
        assert_eq!(desk.fake.takings(), 2_000);
        until("it goes back", async || {
            desk.world.passes(Span::from_mins(10));
            desk.fake.takings() == 0
        })
        .await;
        assert_eq!((&*desk.world.available(ana.owner).await, desk.world.scalar("SELECT COUNT(*) FROM invoices").await), ("0", 0));
        desk.world.audit(ana.owner).await;
    }

    async fn a_subscription_is_renewed_without_its_customer_and_is_past_due_where_the_bank_wants_them(db: TestDb) {
        let desk = Desk::open(db).await;
        let world = &desk.world;
        let (ana, card) = desk.person_with(1, Card::Good).await;
        let request = pb::SubscribeRequest { payment_method: String::new(), ..subscribe(ana.owner, "business") };
        ana.subscribe(request).await.unwrap();
        assert_eq!((&*world.available(ana.owner).await, desk.fake.takings()), ("1500", 10_000));
        ana.charged(spend(ana.owner, "1000")).await;
        world.passes(Span::from_days(32));
        until("the next month has begun", async || world.available(ana.owner).await == "1500").await;
        assert_eq!(desk.fake.takings(), 20_000);
        desk.fake.becomes(&card, Card::Challenged);
        world.passes(Span::from_days(30));
        let get = pb::GetSubscriptionRequest { owner: ana.owner.to_string() };
        until("it is past due", async || {
            let live = ana.get_subscription(get.clone()).await.unwrap().subscription.unwrap();
            live.state() == SubscriptionState::PastDue
        })
        .await;
        let all = payments(&ana, ana.owner).await;
        let declined = all.into_iter().find(|it| it.state() == PaymentState::Declined).unwrap();
        assert_eq!(declined.decline_code, "authentication_required");
        desk.fake.becomes(&card, Card::Good);
        world.passes(Span::from_days(2));
        until("it was tried again", async || world.available(ana.owner).await == "1500").await;
        assert_eq!(desk.fake.takings(), 30_000);
        desk.delivers().await;
        assert_eq!((&*world.available(ana.owner).await, desk.count("ASIDE").await), ("1500", 0));
        world.audit(ana.owner).await;
    }

    async fn a_month_is_paid_in_the_hour_before_it_begins_and_goes_back_where_it_is_canceled(db: TestDb) {
        let desk = Desk::open(db).await;
        let world = &desk.world;
        let (ana, _) = desk.person_with(1, Card::Good).await;
        let request = pb::SubscribeRequest { payment_method: String::new(), ..subscribe(ana.owner, "business") };
        ana.subscribe(request).await.unwrap();
        ana.charged(spend(ana.owner, "1000")).await;
        let half_an_hour = Span::from_mins(30);
        for (n, taken) in [(1, 20_000), (2, 30_000)] {
            let get = pb::GetSubscriptionRequest { owner: ana.owner.to_string() };
            let live = ana.get_subscription(get).await.unwrap().subscription.unwrap();
            let left = live.current_period_end.unwrap().seconds - world.now().as_unix_secs();
            world.passes(Span::from_secs(left.unsigned_abs() - 1_800));
            until("the next month is paid for", async || desk.fake.takings() == taken).await;
            desk.delivers().await;
            if n == 1 {
                assert_eq!(world.available(ana.owner).await, "500", "it has not begun");
                world.passes(half_an_hour);
                until("it has begun", async || world.available(ana.owner).await == "1500").await;
                assert_eq!(desk.fake.takings(), taken, "it is paid once");
            }
        }
        ana.cancel(cancel(ana.owner, pb::CancelAt::PeriodEnd)).await.unwrap();
        world.passes(half_an_hour);
        until("it ends, and the money goes back", async || desk.fake.takings() == 20_000).await;
        assert_eq!(world.available(ana.owner).await, "0");
        desk.delivers().await;
        let states: Vec<_> = payments(&ana, ana.owner).await.iter().map(|it| (it.state(), it.refunded.clone())).collect();
        let paid = |back: i64| (PaymentState::Paid, Some(usd(back)));
        assert_eq!((states, desk.count("ASIDE").await), (vec![paid(100), paid(0), paid(0)], 0));
        world.audit(ana.owner).await;
    }

    async fn seats_that_cost_less_than_stripe_takes_are_there_as_was_told_beforehand(db: TestDb) {
        let desk = Desk::open(db).await;
        let world = &desk.world;
        let (ana, _) = desk.person_with(1, Card::Good).await;
        let request = pb::SubscribeRequest { payment_method: String::new(), ..subscribe(ana.owner, "business") };
        ana.subscribe(request).await.unwrap();
        let get = pb::GetSubscriptionRequest { owner: ana.owner.to_string() };
        let end = ana.get_subscription(get).await.unwrap().subscription.unwrap().current_period_end.unwrap();
        let left = end.seconds - world.now().as_unix_secs();
        world.passes(Span::from_secs(left.unsigned_abs() - 43_200));
        let preview = pb::PreviewChangeRequest { owner: ana.owner.to_string(), seats: 11, ..Default::default() };
        let shown = ana.preview_change(preview).await.unwrap();
        assert_eq!((&shown.due, &shown.total, &*shown.credits), (&Some(usd(0)), &Some(usd(0)), "0"));
        let waived = shown.waived.unwrap();
        assert!(waived.units == 0 && (160_000_000..180_000_000).contains(&waived.nanos), "half a day of ten dollars: {waived:?}");
        let seats = pb::SetSeatsRequest { expected_due: shown.due, ..set_seats(ana.owner, 11) };
        let changed = ana.set_seats(seats).await.unwrap();
        assert_eq!((changed.subscription.unwrap().seats, changed.payment), (11, None));
        assert_eq!((desk.fake.takings(), &*world.available(ana.owner).await), (10_000, "1500"));
        world.audit(ana.owner).await;
    }

    async fn what_did_not_reach_its_customer_is_shown(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, _) = desk.person_with(1, Card::Good).await;
        let payment = ana.purchase_pack(buy(ana.owner)).await.unwrap().payment.unwrap();
        let refund = pb::RefundPaymentRequest {
            payment_id: payment.id.clone(), owner: ana.owner.to_string(), amount: None, request_id: String::new(),
        };
        desk.world.operator().refund_payment(refund).await.unwrap();
        until("the provider gives it back", async || desk.fake.takings() == 0).await;
        desk.delivers().await;
        assert_eq!(desk.count("ASIDE").await, 0);
        desk.fake.refund_fails(&desk.intent());
        desk.delivers().await;
        let aside = bursar_billing::inbox::aside(&desk.world.store).await.unwrap();
        let problem = aside[0].problem.clone().unwrap();
        assert_eq!((aside.len(), &*aside[0].kind), (1, "refund.failed"));
        assert!(problem.contains(&payment.id) && problem.contains("has not reached its customer"), "{problem}");
        assert_eq!(desk.world.available(ana.owner).await, "0", "the books are as they were");
    }

    async fn what_somebody_else_gave_back_is_ignored_also_where_it_fails(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, _) = desk.person_with(1, Card::Good).await;
        ana.purchase_pack(buy(ana.owner)).await.unwrap();
        desk.delivers().await;
        let before = desk.count("IGNORED").await;
        let theirs = json!({"id": "re_1", "object": "refund", "payment_intent": "pi_theirs", "status": "failed", "metadata": {}});
        desk.delivers_these(&[desk.fake.event("refund.failed", &theirs)]).await;
        assert_eq!((desk.count("IGNORED").await, desk.count("ASIDE").await), (before + 1, 0));
        // What was given back in the dashboard has no mark either, and is of a payment that is known.
        desk.fake.refunds(&desk.intent(), 500);
        desk.delivers().await;
        desk.fake.refund_fails(&desk.intent());
        desk.delivers().await;
        assert_eq!(desk.count("ASIDE").await, 1);
    }

    async fn what_is_given_back_is_given_back_once(db: TestDb) {
        let desk = Desk::open(db).await;
        let (world, operator) = (&desk.world, desk.world.operator());
        let (ana, _) = desk.person_with(1, Card::Good).await;
        let payment = ana.purchase_pack(buy(ana.owner)).await.unwrap().payment.unwrap();
        let refund = pb::RefundPaymentRequest {
            payment_id: payment.id.clone(),
            owner: ana.owner.to_string(),
            amount: Some(usd(5)),
            request_id: String::new(),
        };
        operator.refund_payment(refund.clone().under("f1")).await.unwrap();
        operator.refund_payment(refund.under("f1")).await.unwrap();
        until("the provider gives it back", async || desk.fake.takings() == 1_500).await;
        assert_eq!(world.available(ana.owner).await, "225");
        desk.delivers().await;
        assert_eq!((&*world.available(ana.owner).await, desk.fake.takings()), ("225", 1_500));
        // In the dashboard.
        desk.fake.refunds(&desk.intent(), 1_500);
        desk.delivers().await;
        let get = pb::GetPaymentRequest { owner: ana.owner.to_string(), payment_id: payment.id };
        assert_eq!(ana.get_payment(get).await.unwrap().payment.unwrap().refunded, Some(usd(20)));
        assert_eq!((&*world.available(ana.owner).await, desk.fake.takings()), ("0", 0));
        world.audit(ana.owner).await;
    }

    async fn a_dispute_takes_the_credits_until_it_is_decided(db: TestDb) {
        let desk = Desk::open(db).await;
        let world = &desk.world;
        for (n, status, state, available) in [(1, "won", DisputeState::Won, "300"), (2, "lost", DisputeState::Lost, "0")] {
            let (who, _) = desk.person_with(n, Card::Good).await;
            let payment = who.purchase_pack(buy(who.owner)).await.unwrap().payment.unwrap();
            desk.delivers().await;
            let intents = desk.fake.all("payment_intent");
            let dispute = desk.fake.disputes(intents.last().unwrap()["id"].as_str().unwrap(), 2_000);
            desk.delivers().await;
            let get = pb::GetPaymentRequest { owner: who.owner.to_string(), payment_id: payment.id };
            let open = who.get_payment(get.clone()).await.unwrap().payment.unwrap();
            assert_eq!((open.dispute(), &*world.available(who.owner).await), (DisputeState::Open, "0"));
            desk.fake.decides(&dispute, status);
            desk.delivers().await;
            let decided = who.get_payment(get).await.unwrap().payment.unwrap();
            assert_eq!((decided.dispute(), &*world.available(who.owner).await), (state, available));
            world.audit(who.owner).await;
        }
    }

    async fn a_card_that_is_removed_is_forgotten_there_too(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, card) = desk.person_with(1, Card::Good).await;
        let saved = methods(&ana, ana.owner).await.remove(0);
        let remove = pb::RemovePaymentMethodRequest {
            owner: ana.owner.to_string(), payment_method_id: saved.id, request_id: String::new(),
        };
        ana.remove_payment_method(remove).await.unwrap();
        until("it is forgotten", async || desk.fake.all("customer").is_empty()).await;
        assert!(desk.fake.object(&card).unwrap()["customer"].is_null());
        refused(ana.purchase_pack(buy(ana.owner)).await, Code::FailedPrecondition, "PAYMENT_METHOD_REQUIRED");
    }

    async fn only_so_many_cards_are_saved_and_the_others_are_forgotten(db: TestDb) {
        let desk = Desk::open(db).await;
        let ana = desk.world.person(1);
        let mut pages = Vec::new();
        for n in 0..22 {
            desk.world.passes(Span::SECOND);
            let begun = ana.begin_setup(setup(ana.owner).under(&format!("s{n}"))).await.unwrap();
            pages.push(begun.action.unwrap().url);
        }
        for page in &pages {
            desk.fake.enters(page, Card::Good);
        }
        desk.delivers().await;
        assert_eq!(methods(&ana, ana.owner).await.len(), 20);
        until("the others are forgotten", async || desk.fake.all("customer").len() == 20).await;
    }
}
