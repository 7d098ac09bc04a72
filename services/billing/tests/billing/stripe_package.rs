//! The fake of Stripe and the inbox, as Stripe's own package for Node finds them. `scripts/stripe.sh` fetches that package;
//! where it cannot, the test says so on standard error and passes without having run.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use bursar_proto::billing::v1::{DisputeState, PaymentState};
use bursar_testkit::engines;
use bursar_testkit::stripe::{Card, FakeStripe, Webhook, signed};
use bursar_time::Span;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::stripe_desk::{Desk, buy, methods, payments, setup};
use crate::world::Person;

/// The types of the events that the inbox reads.
const READ: [&str; 13] = [
    "charge.dispute.closed",
    "charge.dispute.created",
    "charge.dispute.funds_withdrawn",
    "charge.refunded",
    "payment_intent.canceled",
    "payment_intent.payment_failed",
    "payment_intent.processing",
    "payment_intent.requires_action",
    "payment_intent.succeeded",
    "payment_method.automatically_updated",
    "payment_method.updated",
    "refund.failed",
    "setup_intent.succeeded",
];

/// The folder with Node and the package, where they are.
fn package() -> Option<PathBuf> {
    static SAID: OnceLock<()> = OnceLock::new();
    let folder = std::env::var_os("BURSAR_TEST_STRIPE_PACKAGE").filter(|it| !it.is_empty()).map(PathBuf::from);
    if folder.is_none() {
        SAID.get_or_init(|| {
            // Written directly: the test runner hides what a passing test prints with `eprintln!`.
            let _ = writeln!(
                std::io::stderr(),
                "\nWARNING: the fake of Stripe was not checked with Stripe's own package. BURSAR_TEST_STRIPE_PACKAGE names no \
                 folder of it: scripts/stripe.sh fetches it, or says why it cannot\n"
            );
        });
    }
    folder
}

/// Runs a script with the package, which must agree with whatever it finds.
async fn agrees(desk: &Desk, package: &Path, script: &str, more: &[(&str, String)]) {
    let output = Command::new(package.join("node"))
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/billing").join(script))
        .env("PACKAGE", package)
        .env("FAKE", desk.fake.url())
        .env("INBOX", format!("http://{}/webhooks/stripe", desk.inbox))
        .env("KEY", FakeStripe::KEY)
        .env("SECRET", FakeStripe::SECRET)
        .env("VERSION", FakeStripe::VERSION)
        .env("AT", desk.seconds().to_string())
        .envs(more.iter().map(|(name, value)| (*name, value)))
        .stdin(Stdio::null())
        .output()
        .await
        .expect("node runs");
    let said = [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    assert!(output.status.success(), "{}\n{}", said[0], said[1]);
}

/// An event as it is sent.
fn sent(desk: &Desk, webhook: &Webhook) -> Value {
    let body = webhook.body();
    json!({"header": signed(FakeStripe::SECRET, desk.seconds(), &body), "body": String::from_utf8(body).unwrap()})
}

/// Events that the package reads and delivers, and what it has heard of so far.
struct Told<'a> {
    desk: &'a Desk,
    package: &'a Path,
    kinds: BTreeSet<String>,
}

impl Told<'_> {
    /// Whatever has happened at the fake, and these.
    async fn all_and(&mut self, more: &[Webhook], cancel: &str) {
        let mut webhooks = self.desk.fake.webhooks();
        webhooks.extend_from_slice(more);
        assert!(!webhooks.is_empty(), "nothing has happened");
        let sent: Vec<_> = webhooks.iter().map(|it| sent(self.desk, it)).collect();
        let events = [("WEBHOOKS", Value::from(sent).to_string()), ("CANCEL", cancel.to_owned())];
        agrees(self.desk, self.package, "stripe_events.mjs", &events).await;
        self.desk.worked_off().await;
        self.kinds.extend(webhooks.into_iter().map(|it| it.kind));
    }

    async fn all(&mut self) {
        self.all_and(&[], "").await;
    }
}

/// Buys with the saved card, and gives Stripe's name for the payment.
async fn buys(desk: &Desk, person: &Person) -> String {
    desk.world.passes(Span::SECOND);
    person.purchase_pack(buy(person.owner)).await.unwrap();
    let intents = desk.fake.all("payment_intent");
    intents.last().expect("an intent")["id"].as_str().unwrap().to_owned()
}

/// Where its customer has to go for a payment.
fn page_of(desk: &Desk, intent: &str) -> String {
    desk.fake.object(intent).unwrap()["next_action"]["redirect_to_url"]["url"].as_str().expect("a page").to_owned()
}

engines! {
    async fn the_package_of_stripe_agrees(db: TestDb) {
        let Some(package) = package() else { return };
        let desk = Desk::open(db).await;
        let (_, good) = desk.person_with(1, Card::Good).await;
        let (_, bad) = desk.person_with(2, Card::Declined("lost_card")).await;
        let of = |method: &str| format!("{method} {}", desk.fake.object(method).unwrap()["customer"].as_str().unwrap());
        let (_, watched) = desk.person_with(3, Card::Challenged).await;
        let webhook = sent(&desk, &desk.fake.event("invoice.paid", &json!({"id": "in_1"})));
        let more = [
            ("CARD", of(&good)),
            ("DECLINED", of(&bad)),
            ("CHALLENGED", of(&watched)),
            ("WEBHOOK", webhook.to_string()),
        ];
        agrees(&desk, &package, "stripe_package.mjs", &more).await;
        assert_eq!(desk.count("IGNORED").await, 4, "one of the package's, and three of checkouts that are complete");
    }

    async fn the_package_of_stripe_reads_every_event_that_the_inbox_reads(db: TestDb) {
        let Some(package) = package() else { return };
        let desk = Desk::open(db).await;
        let ana = desk.world.person(1);
        let mut told = Told { desk: &desk, package: &package, kinds: BTreeSet::new() };
        let state = async |place: usize| {
            let payment = payments(&ana, ana.owner).await.swap_remove(place);
            (payment.state(), payment.dispute())
        };
        let undisputed = |state: PaymentState| (state, DisputeState::Unspecified);
        let begun = ana.begin_setup(setup(ana.owner)).await.unwrap();
        let card = desk.fake.enters(&begun.action.unwrap().url, Card::Challenged);
        told.all().await;
        assert_eq!(methods(&ana, ana.owner).await.len(), 1);

        // 3-D Secure: it succeeds, it fails, and nobody waits for it any more.
        let first = buys(&desk, &ana).await;
        told.all().await;
        assert_eq!(state(0).await, undisputed(PaymentState::RequiresAction));
        desk.fake.authenticates(&page_of(&desk, &first), true);
        told.all().await;
        assert_eq!(state(0).await, undisputed(PaymentState::Paid));
        let second = buys(&desk, &ana).await;
        desk.fake.authenticates(&page_of(&desk, &second), false);
        told.all().await;
        assert_eq!(state(0).await, undisputed(PaymentState::Declined));
        let third = buys(&desk, &ana).await;
        told.all_and(&[], &third).await;
        told.all().await;
        assert_eq!(state(0).await, undisputed(PaymentState::Canceled));

        // What is on its way, and comes.
        desk.fake.becomes(&card, Card::Pending);
        let fourth = buys(&desk, &ana).await;
        told.all().await;
        assert_eq!(state(0).await, undisputed(PaymentState::Pending));
        desk.fake.arrives(&fourth, true);
        told.all().await;

        // Disputes, and what goes back.
        for (place, intent, decided, dispute) in [(0, &fourth, "lost", DisputeState::Lost), (3, &first, "won", DisputeState::Won)] {
            let disputed = desk.fake.disputes(intent, 2_000);
            told.all().await;
            assert_eq!(state(place).await, (PaymentState::Paid, DisputeState::Open));
            desk.fake.decides(&disputed, decided);
            told.all().await;
            assert_eq!(state(place).await, (PaymentState::Paid, dispute));
        }
        assert_eq!(desk.count("ASIDE").await, 0);
        desk.fake.refunds(&first, 500);
        told.all().await;
        assert_eq!(desk.world.available(ana.owner).await, "225");
        desk.fake.refund_fails(&first);
        desk.fake.renews(&card, (11, 2040));
        let updated = desk.fake.event("payment_method.updated", &desk.fake.object(&card).unwrap());
        told.all_and(&[updated], "").await;
        assert_eq!(methods(&ana, ana.owner).await[0].exp_year, 2040);
        let unread: Vec<_> = READ.into_iter().filter(|kind| !told.kinds.contains(*kind)).collect();
        assert_eq!(unread, Vec::<&str>::new());
        desk.world.audit(ana.owner).await;
    }
}
