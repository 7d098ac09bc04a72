//! Billing with a fake of Stripe behind it, and somebody who delivers the fake's webhooks.

use std::net::SocketAddr;

use bursar_id::OwnerId;
use bursar_proto::billing::v1 as pb;
use bursar_runtime::{PaymentProvider, Settings};
use bursar_secret::Secret;
use bursar_testkit::TestDb;
use bursar_testkit::stripe::{Card, FakeStripe, Webhook, deliver};
use bursar_time::Span;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::calls::Caller;
use crate::world::{Person, World, until};

/// A secret that webhooks were signed with before.
pub(crate) const FORMER: &str = "whsec_former";

/// Billing, Stripe and the way between them.
pub(crate) struct Desk {
    pub(crate) world: World,
    pub(crate) fake: FakeStripe,
    /// Where the inbox is.
    pub(crate) inbox: SocketAddr,
    server: JoinHandle<()>,
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Desk {
    pub(crate) async fn open(db: TestDb) -> Self {
        Self::with(db, |_| ()).await
    }

    /// The same with other settings.
    pub(crate) async fn with(db: TestDb, adjust: impl FnOnce(&mut Settings)) -> Self {
        let fake = FakeStripe::start().await;
        let url = fake.url();
        let world = World::with(db, |settings| {
            settings.payments.provider = PaymentProvider::Stripe;
            let stripe = &mut settings.payments.stripe;
            stripe.api_url = url;
            stripe.secret_key = Some(Secret::from(FakeStripe::KEY));
            stripe.webhook_secret = Some(Secret::from(FakeStripe::SECRET));
            stripe.former_webhook_secret = Some(Secret::from(FORMER));
            adjust(settings);
        });
        let world = Box::pin(world).await;
        let router = world.inbox.clone().expect("an inbox");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let inbox = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Self { world, fake, inbox, server }
    }

    /// The time that webhooks are signed at.
    pub(crate) fn seconds(&self) -> i64 {
        self.world.now().as_unix_secs()
    }

    /// Somebody who has saved a card, with Stripe's name for it.
    pub(crate) async fn person_with(&self, n: u64, card: Card) -> (Person, String) {
        let who = self.world.person(n);
        let method = self.saves(&who, who.owner, card).await;
        (who, method)
    }

    /// Somebody enters a card on Stripe's page.
    pub(crate) async fn saves(&self, who: &Caller, owner: OwnerId, card: Card) -> String {
        let before = methods(who, owner).await.len();
        let begun = who.begin_setup(setup(owner)).await.unwrap();
        assert_eq!(begun.payment_method, None, "nobody has entered anything yet");
        let method = self.fake.enters(&begun.action.unwrap().url, card);
        self.delivers().await;
        assert_eq!(methods(who, owner).await.len(), before + 1);
        method
    }

    /// Delivers everything that has happened, in order, and waits until it is worked off.
    pub(crate) async fn delivers(&self) {
        self.delivers_these(&self.fake.webhooks()).await;
    }

    /// The same of these.
    pub(crate) async fn delivers_these(&self, webhooks: &[Webhook]) {
        for webhook in webhooks {
            assert_eq!(deliver(self.inbox, webhook, self.seconds()).await, 200, "{webhook:?}");
        }
        self.worked_off().await;
    }

    /// Waits until nothing waits in the inbox.
    pub(crate) async fn worked_off(&self) {
        until("the inbox is worked off", async || self.count("WAITING").await == 0).await;
    }

    /// How many events have become this.
    pub(crate) async fn count(&self, state: &str) -> i64 {
        match state {
            "WAITING" => self.world.scalar("SELECT COUNT(*) FROM webhooks WHERE state = 'WAITING'").await,
            "DONE" => self.world.scalar("SELECT COUNT(*) FROM webhooks WHERE state = 'DONE'").await,
            "IGNORED" => self.world.scalar("SELECT COUNT(*) FROM webhooks WHERE state = 'IGNORED'").await,
            "ASIDE" => self.world.scalar("SELECT COUNT(*) FROM webhooks WHERE state = 'ASIDE'").await,
            other => panic!("{other}"),
        }
    }

    /// Lets time pass until there is no attempt left at what waits in the inbox.
    pub(crate) async fn gives_up(&self) {
        until("what is not known is set aside", async || {
            self.world.passes(Span::from_mins(2));
            self.count("WAITING").await == 0
        })
        .await;
    }

    /// The only payment intent there is at Stripe.
    pub(crate) fn intent(&self) -> String {
        let all = self.fake.all("payment_intent");
        assert_eq!(all.len(), 1, "{all:#?}");
        all[0]["id"].as_str().unwrap().to_owned()
    }
}

/// Buys the smallest pack (20 dollars, 300 credits) with the default method.
pub(crate) fn buy(owner: OwnerId) -> pb::PurchasePackRequest {
    pb::PurchasePackRequest { owner: owner.to_string(), pack_id: "starter".to_owned(), ..Default::default() }
}

pub(crate) fn setup(owner: OwnerId) -> pb::BeginSetupRequest {
    let return_url = "https://example.com/done".to_owned();
    pb::BeginSetupRequest { owner: owner.to_string(), return_url, request_id: String::new() }
}

pub(crate) async fn methods(who: &Caller, owner: OwnerId) -> Vec<pb::PaymentMethod> {
    let request = pb::ListPaymentMethodsRequest { owner: owner.to_string(), ..Default::default() };
    who.list_payment_methods(request).await.unwrap().payment_methods
}

/// The owner's payments, the latest first.
pub(crate) async fn payments(who: &Caller, owner: OwnerId) -> Vec<pb::Payment> {
    let request = pb::ListPaymentsRequest { owner: owner.to_string(), ..Default::default() };
    who.list_payments(request).await.unwrap().payments
}
