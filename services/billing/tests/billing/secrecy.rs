//! Nothing secret is logged, whatever is answered and however much of the log is wanted.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};

use bursar_proto::billing::v1 as pb;
use bursar_testkit::stripe::{Card, FakeStripe, Mishap, deliver, post, signed};
use bursar_testkit::{TestDb, engines, refused};
use bursar_time::Span;
use serde_json::json;
use tonic::Code;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::stripe_desk::{Desk, FORMER, buy, methods, setup};
use crate::words::{cancel, subscribe};
use crate::world::until;

/// Everything that is logged where it is the subscriber: spans, their fields and events of every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

/// A line of it.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {field}={value:?}").expect("a text takes it");
    }
}

impl Log {
    fn line(&self, of: &str, record: impl FnOnce(&mut Line)) {
        let mut line = Line(of.to_owned());
        record(&mut line);
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.push_str(&line.0);
        log.push('\n');
    }

    fn text(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.line(span.metadata().name(), |line| span.record(line));
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        self.line("", |line| values.record(line));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.line(event.metadata().target(), |line| event.record(line));
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Cards that are entered, asked about, declined and removed, and webhooks of every kind. Says what of all that is secret.
async fn everything(db: TestDb) -> Vec<String> {
    let desk = Desk::open(db).await;
    let (ana, card) = desk.person_with(1, Card::Challenged).await;
    let mut secrets = [FakeStripe::KEY, FakeStripe::SECRET, FORMER, &card].map(str::to_owned).to_vec();
    let mut actions = vec![ana.begin_setup(setup(ana.owner)).await.unwrap().action.unwrap()];
    for succeeds in [false, true] {
        desk.world.passes(Span::SECOND);
        let payment = ana.purchase_pack(buy(ana.owner)).await.unwrap().payment.unwrap();
        let action = payment.action.unwrap();
        let get = pb::GetPaymentRequest { owner: ana.owner.to_string(), payment_id: payment.id };
        ana.get_payment(get).await.unwrap();
        desk.fake.authenticates(&action.url, succeeds);
        desk.delivers().await;
        actions.push(action);
    }
    desk.fake.becomes(&card, Card::Declined("lost_card"));
    desk.world.passes(Span::SECOND);
    refused(ana.purchase_pack(buy(ana.owner)).await, Code::FailedPrecondition, "PAYMENT_DECLINED");
    desk.fake.becomes(&card, Card::Good);
    let request = pb::SubscribeRequest { payment_method: String::new(), ..subscribe(ana.owner, "business") };
    ana.subscribe(request).await.unwrap();
    ana.cancel(cancel(ana.owner, pb::CancelAt::Now)).await.unwrap();
    desk.delivers().await;
    hears(&desk, &card).await;
    secrets.push("pi_odd_secret_hush".to_owned());
    removes(&desk, &ana, &card).await;
    for kind in ["payment_intent", "setup_intent"] {
        secrets.extend(desk.fake.all(kind).iter().filter_map(|it| it["client_secret"].as_str()).map(str::to_owned));
    }
    secrets.extend(actions.into_iter().flat_map(|action| [action.url, action.client_secret]));
    secrets.retain(|it| !it.is_empty());
    secrets
}

/// Webhooks that are not signed, that cannot be read, and about nothing that is known.
async fn hears(desk: &Desk, card: &str) {
    let odd = json!({
        "id": "pi_odd", "object": "payment_intent", "status": "succeeded", "amount": 2_000, "amount_received": "much",
        "payment_method": card, "client_secret": "pi_odd_secret_hush",
    });
    let odd = desk.fake.event("payment_intent.succeeded", &odd);
    assert_eq!(post(desk.inbox, None, &odd.body()).await, 400);
    let elsewhere = signed("whsec_other", desk.seconds(), &odd.body());
    assert_eq!(post(desk.inbox, Some(&elsewhere), &odd.body()).await, 400);
    assert_eq!(deliver(desk.inbox, &odd, desk.seconds()).await, 200);
    let mut unknown = odd.clone();
    "evt_unknown".clone_into(&mut unknown.id);
    unknown.event["id"] = "evt_unknown".into();
    unknown.event["data"]["object"]["amount_received"] = 2_000.into();
    unknown.event["data"]["object"]["currency"] = "usd".into();
    unknown.event["data"]["object"]["metadata"] = json!({"bursar_payment": "pay_00000000000000000000000001"});
    assert_eq!(deliver(desk.inbox, &unknown, desk.seconds()).await, 200);
    desk.gives_up().await;
    assert_eq!(desk.count("ASIDE").await, 2);
}

/// The card is removed while its provider does not answer.
async fn removes(desk: &Desk, ana: &crate::world::Person, card: &str) {
    let payment_method_id = methods(ana, ana.owner).await.remove(0).id;
    let (owner, request_id) = (ana.owner.to_string(), String::new());
    desk.fake.fails([Some(Mishap::Down); 3]);
    ana.remove_payment_method(pb::RemovePaymentMethodRequest { owner, payment_method_id, request_id }).await.unwrap();
    until("the provider has forgotten it", async || {
        desk.world.passes(Span::from_mins(2));
        desk.fake.object(card).is_none_or(|it| it["customer"].is_null())
    })
    .await;
}

engines! {
    async fn nothing_secret_is_logged_at_any_level(db: TestDb) {
        // On one thread, whose log is nobody else's.
        let all = tokio::task::spawn_blocking(move || {
            let log = Log::default();
            let _subscribed = tracing::subscriber::set_default(log.clone());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let secrets = runtime.block_on(Box::pin(everything(db)));
            (secrets, log.text())
        });
        let (secrets, log) = all.await.unwrap();
        for said in ["asking once more", "a webhook was refused", "is set aside"] {
            assert!(log.contains(said), "it is a log of what went wrong: {said}");
        }
        assert!(secrets.len() > 10, "{secrets:?}");
        for secret in &secrets {
            assert_eq!(log.lines().find(|line| line.contains(&**secret)), None, "{secret}");
        }
    }
}
