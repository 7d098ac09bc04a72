//! The inbox for Stripe's webhooks, over HTTP: whose word is believed, and that each counts once.

use bursar_billing::inbox;
use bursar_proto::billing::v1 as pb;
use bursar_testkit::stripe::{Card, FakeStripe, Webhook, deliver, post, signed};
use bursar_testkit::{TestDb, engines, rounds};
use bursar_time::Span;
use futures::future::join_all;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::races::at_once;
use crate::stripe_desk::{Desk, FORMER, buy};
use crate::words::Under;
use crate::world::{Person, until};

const EVENT: &[u8] =
    br#"{"id": "evt_1", "object": "event", "type": "invoice.paid", "data": {"object": {"id": "in_1"}}}"#;

/// Somebody's payment has arrived, and its event has come while no payment is known that it could be about: the row is there later
/// ([`is_known`]). Nobody looks after it but the event.
async fn told_too_early(db: TestDb) -> (Desk, Person, Webhook) {
    let desk = Desk::open(db).await;
    let (ana, _) = desk.person_with(1, Card::Pending).await;
    ana.purchase_pack(buy(ana.owner)).await.unwrap();
    for away in [
        "CREATE TABLE payments_to_come AS SELECT * FROM payments",
        "DELETE FROM payments",
        "DELETE FROM jobs WHERE kind = 'billing.payment'",
    ] {
        desk.world.by_hand(away).await.unwrap();
    }
    desk.fake.arrives(&desk.intent(), true);
    let told = desk.fake.webhooks();
    let paid = told.into_iter().find(|it| it.kind == "payment_intent.succeeded").unwrap();
    assert_eq!(deliver(desk.inbox, &paid, desk.seconds()).await, 200);
    let failed = "SELECT COUNT(*) FROM jobs WHERE kind = 'billing.webhook' AND failure IS NOT NULL";
    until("it was tried in vain", async || desk.world.scalar(failed).await == 1).await;
    assert_eq!(desk.count("WAITING").await, 1);
    (desk, ana, paid)
}

/// From now on the payment is known, and nobody has learnt that it is paid.
async fn is_known(desk: &Desk, who: &Person) {
    assert_eq!(desk.world.by_hand("INSERT INTO payments SELECT * FROM payments_to_come").await.unwrap(), 1);
    assert_eq!(desk.world.available(who.owner).await, "0");
}

/// The event has counted, and counts once however often it comes.
async fn assert_counted_once(desk: &Desk, who: &Person, event: &Webhook) {
    for _ in 0..2 {
        assert_eq!((desk.count("WAITING").await, desk.count("ASIDE").await), (0, 0));
        assert_eq!(desk.world.available(who.owner).await, "300");
        assert_eq!(desk.world.scalar("SELECT COUNT(*) FROM invoices").await, 1);
        desk.delivers_these(std::slice::from_ref(event)).await;
    }
    desk.world.audit(who.owner).await;
}

engines! {
    async fn nobody_is_believed_but_stripe_and_not_for_long(db: TestDb) {
        let desk = Desk::open(db).await;
        let now = desk.seconds();
        let of = |secret: &str, at: i64, body: &[u8]| Some(signed(secret, at, body));
        let long = [b"\"".as_slice(), &vec![b'x'; 300 * 1024], b"\""].concat();
        let deep = [b'['; 10_000];
        let cases: [(&str, Option<String>, &[u8], u16); 13] = [
            ("unsigned", None, EVENT, 400),
            ("rubbish for a signature", Some("t=,v1=,v1".to_owned()), EVENT, 400),
            ("another secret", of("whsec_other", now, EVENT), EVENT, 400),
            ("too old", of(FakeStripe::SECRET, now - 301, EVENT), EVENT, 400),
            ("of a time to come", of(FakeStripe::SECRET, now + 301, EVENT), EVENT, 400),
            ("another body", of(FakeStripe::SECRET, now, b"{}"), EVENT, 400),
            ("a replay of another time", Some(signed(FakeStripe::SECRET, now, EVENT).replace("t=", "t=1")), EVENT, 400),
            ("signed rubbish", of(FakeStripe::SECRET, now, b"\xff\x00<html>"), b"\xff\x00<html>", 400),
            ("signed depths", of(FakeStripe::SECRET, now, &deep), &deep, 400),
            ("signed nothing", of(FakeStripe::SECRET, now, b""), b"", 400),
            ("too long", of(FakeStripe::SECRET, now, &long), &long, 413),
            ("of late", of(FakeStripe::SECRET, now - 300, EVENT), EVENT, 200),
            ("the secret before", of(FORMER, now, EVENT), EVENT, 200),
        ];
        for (what, signature, body, expected) in cases {
            let stored = desk.world.scalar("SELECT COUNT(*) FROM webhooks").await;
            let answer = post(desk.inbox, signature.as_deref(), body).await;
            // Whoever is refused while they go on sending may not hear why.
            assert!(answer == expected || (expected == 413 && answer == 0), "{what}: {answer}");
            let now = desk.world.scalar("SELECT COUNT(*) FROM webhooks").await;
            assert!(expected == 200 || now == stored, "{what}: nothing is stored");
        }
        assert_eq!((desk.count("IGNORED").await, desk.count("WAITING").await), (1, 0), "no type that matters");
        assert_eq!(desk.world.scalar("SELECT COUNT(*) FROM webhooks WHERE body IS NOT NULL").await, 0);
    }

    async fn of_many_who_bring_one_event_it_counts_once(db: TestDb) {
        let desk = Desk::open(db).await;
        for round in 1..=rounds() {
            let (who, _) = desk.person_with(round, Card::Pending).await;
            let payment = who.purchase_pack(buy(who.owner)).await.unwrap().payment.unwrap();
            let intents = desk.fake.all("payment_intent");
            let theirs = intents.iter().find(|it| it["metadata"]["bursar_payment"] == *payment.id).unwrap();
            desk.fake.arrives(theirs["id"].as_str().unwrap(), true);
            let told = desk.fake.webhooks();
            let paid = told.iter().find(|it| it.kind == "payment_intent.succeeded").unwrap();
            let racers = (0..64).map(|_| {
                let (inbox, paid, at) = (desk.inbox, paid.clone(), desk.seconds());
                async move { deliver(inbox, &paid, at).await }
            });
            assert_eq!(at_once(racers).await, [200_u16; 64]);
            desk.worked_off().await;
            let each = desk.world.scalar("SELECT COUNT(*) FROM webhooks WHERE deliveries = 64").await;
            let invoices = desk.world.scalar("SELECT COUNT(*) FROM invoices").await;
            assert_eq!((each.unsigned_abs(), invoices.unsigned_abs()), (round, round));
            assert_eq!(desk.world.available(who.owner).await, "300");
            desk.world.audit(who.owner).await;
        }
    }

    async fn what_could_not_be_stored_is_sent_again_and_counts_once(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, _) = desk.person_with(1, Card::Pending).await;
        ana.purchase_pack(buy(ana.owner)).await.unwrap();
        desk.fake.arrives(&desk.intent(), true);
        let told = desk.fake.webhooks();
        let paid = told.iter().find(|it| it.kind == "payment_intent.succeeded").unwrap();
        let stored = desk.world.scalar("SELECT COUNT(*) FROM webhooks").await;
        desk.world.by_hand("ALTER TABLE webhooks RENAME TO webhooks_away").await.unwrap();
        for _ in 0..2 {
            assert_eq!(deliver(desk.inbox, paid, desk.seconds()).await, 503, "Stripe may not hear that it arrived");
        }
        desk.world.by_hand("ALTER TABLE webhooks_away RENAME TO webhooks").await.unwrap();
        assert_eq!(desk.world.scalar("SELECT COUNT(*) FROM webhooks").await, stored, "nothing of it is kept");
        assert_eq!(desk.world.available(ana.owner).await, "0");
        for _ in 0..2 {
            desk.delivers_these(&told).await;
        }
        assert_eq!(desk.world.available(ana.owner).await, "300");
        assert_eq!((desk.world.scalar("SELECT COUNT(*) FROM invoices").await, desk.count("ASIDE").await), (1, 0));
        desk.world.audit(ana.owner).await;
    }

    async fn in_whatever_order_it_is_told_the_end_is_the_same(db: TestDb) {
        let desk = Desk::open(db).await;
        let mut buyers = Vec::new();
        for n in 1..=4 {
            let (who, _) = desk.person_with(n, Card::Pending).await;
            desk.world.passes(Span::SECOND);
            who.purchase_pack(buy(who.owner)).await.unwrap();
            let intents = desk.fake.all("payment_intent");
            let intent = intents.last().unwrap()["id"].as_str().unwrap().to_owned();
            desk.fake.arrives(&intent, true);
            desk.fake.refunds(&intent, 500);
            let dispute = desk.fake.disputes(&intent, 1_500);
            desk.fake.decides(&dispute, if n % 2 == 0 { "won" } else { "lost" });
            let mut told = desk.fake.webhooks();
            match n {
                1 => {}
                2 => told.reverse(),
                3 => told.rotate_left(3),
                _ => told.sort_by_key(|it| it.kind.len()),
            }
            desk.delivers_these(&told).await;
            buyers.push((who, if n % 2 == 0 { "225" } else { "0" }));
        }
        for (who, available) in buyers {
            assert_eq!(desk.world.available(who.owner).await, available);
            desk.world.audit(who.owner).await;
        }
        assert_eq!(desk.count("ASIDE").await, 0);
    }

    async fn what_nobody_knows_is_tried_for_hours_and_then_shown(db: TestDb) {
        let desk = Desk::open(db).await;
        let intent = |id: &str, payment: &str| json!({
            "id": id, "object": "payment_intent", "status": "succeeded", "amount": 2_000, "amount_received": 2_000,
            "currency": "usd", "metadata": {"bursar_payment": payment},
        });
        let unknown = desk.fake.event("payment_intent.succeeded", &intent("pi_1", "pay_00000000000000000000000001"));
        let dispute = desk.fake.event("charge.dispute.created", &json!({
            "id": "dp_1", "object": "dispute", "payment_intent": "pi_1", "amount": 1, "currency": "usd", "status": "lost",
        }));
        let foreign = desk.fake.event("payment_intent.succeeded", &json!({
            "id": "pi_2", "object": "payment_intent", "status": "succeeded", "amount_received": 1, "currency": "usd",
            "metadata": {},
        }));
        let unlike = desk.fake.event("payment_intent.succeeded", &json!({"id": "pi_3", "amount_received": "much"}));
        assert_eq!(deliver(desk.inbox, &foreign, desk.seconds()).await, 200);
        assert_eq!(desk.count("IGNORED").await, 1, "nothing of somebody else's is kept to be worked off");
        for event in [&unknown, &dispute, &unlike] {
            assert_eq!(deliver(desk.inbox, event, desk.seconds()).await, 200);
        }
        let before = desk.world.now();
        desk.gives_up().await;
        assert!(desk.world.now() > before.saturating_add(Span::HOUR), "what commits late or comes before its payment is waited for");
        let aside = inbox::aside(&desk.world.store).await.unwrap();
        let mut shown: Vec<_> = aside.iter().map(|it| it.id.as_str()).collect();
        shown.sort_unstable();
        assert_eq!(shown, [&*unknown.id, &dispute.id, &unlike.id]);
        assert_eq!(desk.count("IGNORED").await, 1, "somebody else's");
        // Sent again in the dashboard, it is looked at again.
        desk.world.passes(Span::SECOND);
        assert_eq!(deliver(desk.inbox, &unknown, desk.seconds()).await, 200);
        assert_eq!((desk.count("ASIDE").await, desk.count("WAITING").await), (2, 1));
        desk.gives_up().await;
        let world = &desk.world;
        let again = bursar_billing::retry_webhook(&world.settings, &world.store, &unlike.id, world.now()).await.unwrap();
        assert!(!again, "nothing is kept of it");
        assert!(bursar_billing::retry_webhook(&world.settings, &world.store, &dispute.id, world.now()).await.unwrap());
        desk.gives_up().await;
        for it in aside {
            inbox::discard(&world.store, &it.id, world.now()).await.unwrap();
        }
        assert!(inbox::aside(&world.store).await.unwrap().is_empty());
    }

    async fn what_comes_before_its_payment_counts_once_it_is_there(db: TestDb) {
        let (desk, ana, paid) = Box::pin(told_too_early(db)).await;
        is_known(&desk, &ana).await;
        desk.gives_up().await;
        assert_counted_once(&desk, &ana, &paid).await;
    }

    async fn what_was_set_aside_before_its_payment_was_there_counts_once_when_it_is_tried_again(db: TestDb) {
        let (desk, ana, paid) = Box::pin(told_too_early(db)).await;
        desk.gives_up().await;
        assert_eq!(desk.count("ASIDE").await, 1);
        is_known(&desk, &ana).await;
        let world = &desk.world;
        assert!(bursar_billing::retry_webhook(&world.settings, &world.store, &paid.id, world.now()).await.unwrap());
        desk.gives_up().await;
        assert_counted_once(&desk, &ana, &paid).await;
    }

    async fn whose_body_never_ends_keeps_no_place(db: TestDb) {
        let desk = Desk::open(db).await;
        let event = desk.fake.event("charge.updated", &json!({"id": "ch_1", "object": "charge"}));
        // One more than there are places for, and nobody else: an event beside them would take a place for a moment.
        let slow = (0..=128).map(async |_| {
            let mut stream = TcpStream::connect(desk.inbox).await.unwrap();
            stream.write_all(b"POST /webhooks/stripe HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{").await.unwrap();
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.unwrap();
            String::from_utf8_lossy(&answer).into_owned()
        });
        let mut answers = join_all(slow).await;
        answers.sort_unstable();
        let late = answers.iter().filter(|it| *it == "HTTP/1.1 408").count();
        assert_eq!((late, &*answers[128]), (128, "HTTP/1.1 503"), "{answers:?}");
        assert_eq!(deliver(desk.inbox, &event, desk.seconds()).await, 200, "and the others are heard again");
    }

    async fn another_amount_or_another_intent_credits_nothing_and_is_shown(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, _) = desk.person_with(1, Card::Pending).await;
        let payment = ana.purchase_pack(buy(ana.owner).under("r1")).await.unwrap().payment.unwrap();
        let known = desk.intent();
        let paid = |id: &str, amount: i64, currency: &str| json!({
            "id": id, "object": "payment_intent", "status": "succeeded", "amount_received": amount, "currency": currency,
            "metadata": {"bursar_payment": payment.id},
        });
        let events = [paid(&known, 1_999, "usd"), paid(&known, 2_000, "eur"), paid("pi_other", 2_000, "usd")];
        for object in events {
            let event = desk.fake.event("payment_intent.succeeded", &object);
            desk.delivers_these(&[event]).await;
        }
        assert_eq!((&*desk.world.available(ana.owner).await, desk.count("ASIDE").await), ("0", 3));
        desk.fake.arrives(&known, true);
        desk.delivers().await;
        assert_eq!(desk.world.available(ana.owner).await, "300");
    }

    async fn what_is_taken_back_in_another_currency_counts_for_nothing_and_is_shown(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, _) = desk.person_with(1, Card::Good).await;
        let payment = ana.purchase_pack(buy(ana.owner)).await.unwrap().payment.unwrap();
        let intent = desk.intent();
        let dispute = json!({
            "id": "dp_other", "object": "dispute", "payment_intent": intent, "amount": 2_000, "currency": "eur", "status": "lost",
        });
        let charge = json!({
            "id": "ch_other", "object": "charge", "payment_intent": intent, "amount_refunded": 2_000, "currency": "eur",
            "metadata": {"bursar_payment": payment.id},
        });
        for (kind, object) in [
            ("charge.dispute.created", &dispute),
            ("charge.dispute.closed", &dispute),
            ("charge.refunded", &charge),
        ] {
            desk.delivers_these(&[desk.fake.event(kind, object)]).await;
        }
        let aside = inbox::aside(&desk.world.store).await.unwrap();
        let why = "it is about another currency than";
        let is_it = |said: &String| said.starts_with(why) && said.ends_with(&payment.id);
        assert_eq!(aside.iter().filter(|it| it.problem.as_ref().is_some_and(is_it)).count(), 3, "{aside:?}");
        let get = pb::GetPaymentRequest { owner: ana.owner.to_string(), payment_id: payment.id.clone() };
        let now = ana.get_payment(get).await.unwrap().payment.unwrap();
        assert_eq!((now.dispute(), &*desk.world.available(ana.owner).await), (pb::DisputeState::Unspecified, "300"));
        // Nor is that dispute the payment's: another one is.
        let ours = desk.fake.disputes(&intent, 500);
        desk.fake.decides(&ours, "lost");
        desk.delivers().await;
        assert_eq!((&*desk.world.available(ana.owner).await, desk.count("ASIDE").await), ("225", 3));
        desk.world.audit(ana.owner).await;
    }

    async fn a_second_dispute_of_one_payment_is_shown_and_the_first_one_is_heard_on(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, _) = desk.person_with(1, Card::Good).await;
        let payment = ana.purchase_pack(buy(ana.owner)).await.unwrap().payment.unwrap();
        let first = desk.fake.disputes(&desk.intent(), 500);
        desk.delivers().await;
        assert_eq!((&*desk.world.available(ana.owner).await, desk.count("ASIDE").await), ("225", 0));
        let second = desk.fake.disputes(&desk.intent(), 500);
        desk.fake.decides(&second, "lost");
        desk.delivers().await;
        let aside = inbox::aside(&desk.world.store).await.unwrap();
        assert_eq!(aside.len(), 3, "that it began, that it took the money and that it is over");
        let why = format!("it is about another dispute of {}, for all that is known of that", payment.id);
        assert!(aside.iter().all(|it| it.problem.as_ref() == Some(&why)), "{aside:?}");
        assert_eq!(desk.world.available(ana.owner).await, "225", "nobody has decided the first one");
        desk.fake.decides(&first, "won");
        desk.delivers().await;
        assert_eq!((&*desk.world.available(ana.owner).await, desk.count("ASIDE").await), ("300", 3));
        desk.world.audit(ana.owner).await;
    }

    async fn of_a_payment_whose_dispute_an_earlier_program_has_heard_the_next_one_named_is_it(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, _) = desk.person_with(1, Card::Good).await;
        ana.purchase_pack(buy(ana.owner)).await.unwrap();
        let dispute = desk.fake.disputes(&desk.intent(), 500);
        desk.delivers().await;
        assert_eq!(desk.world.by_hand("UPDATE payments SET dispute_id = NULL").await.unwrap(), 1);
        desk.fake.decides(&dispute, "won");
        desk.delivers().await;
        assert_eq!((&*desk.world.available(ana.owner).await, desk.count("ASIDE").await), ("300", 0));
    }

    async fn of_a_payment_whose_dispute_an_earlier_program_has_heard_decided_another_one_is_shown(db: TestDb) {
        let desk = Desk::open(db).await;
        let (ana, _) = desk.person_with(1, Card::Good).await;
        ana.purchase_pack(buy(ana.owner)).await.unwrap();
        let first = desk.fake.disputes(&desk.intent(), 500);
        desk.fake.decides(&first, "won");
        desk.delivers().await;
        assert_eq!(desk.world.by_hand("UPDATE payments SET dispute_id = NULL").await.unwrap(), 1);
        let second = desk.fake.disputes(&desk.intent(), 500);
        desk.fake.decides(&second, "lost");
        desk.delivers().await;
        assert_eq!(desk.count("ASIDE").await, 3, "that it began, that it took the money and that it is over");
        assert_eq!(desk.world.available(ana.owner).await, "300", "the first one was won");
        desk.world.audit(ana.owner).await;
    }

    async fn a_month_later_what_was_settled_is_forgotten(db: TestDb) {
        let desk = Desk::open(db).await;
        desk.person_with(1, Card::Good).await;
        assert!(desk.count("DONE").await > 0);
        let all = "SELECT COUNT(*) FROM webhooks";
        until("it is forgotten", async || {
            desk.world.passes(Span::from_days(1));
            desk.world.scalar(all).await == 0
        })
        .await;
    }
}
