//! Asking a provider that takes its time, while others ask and nobody wants it any more; on both engines, with a fake of Stripe.

use std::sync::Arc;
use std::time::Duration;

use bursar_id::OwnerId;
use bursar_secret::Secret;
use bursar_testkit::stripe::{Card, FakeStripe};
use bursar_testkit::{TestDb, credits, engines, id, personal, until};
use tokio::task::JoinHandle;

use super::Means;
use crate::domain::{Bought, News, Payment, PaymentState, ProductId, SavedMethod, Scope};
use crate::error::Error;
use crate::payment::stripe::{Account, Stripe, token};
use crate::payment::{PaymentMethod, Payments, Prepared, Settlement, ToPay, ToSave};
use crate::store::methods;
use crate::usecase::cashier::{Beginning, Cashier, Due};
use crate::usecase::shop::Shop;

const NOON: &str = "2026-01-15T12:00:00Z";

/// How long a test waits for what comes.
const LONG: Duration = Duration::from_mins(1);

/// A cashier that asks a fake of Stripe.
pub(in crate::usecase) struct Till {
    pub(in crate::usecase) shop: Shop,
    pub(in crate::usecase) fake: FakeStripe,
    pub(in crate::usecase) cashier: Cashier,
    pub(in crate::usecase) owner: OwnerId,
    /// The provider's name for the card that there was first.
    pub(in crate::usecase) token: String,
}

/// The owner enters a card with this provider, a good one, which pays by default from now on.
pub(in crate::usecase) async fn enters(
    shop: &Shop,
    (fake, payments): (&FakeStripe, &Payments),
    owner: OwnerId,
) -> SavedMethod {
    let n = u64::try_from(shop.count("payment_methods").await).unwrap();
    let new = ToSave { id: id(1_000 + n), owner, by: "usr_x" };
    let setup = payments.begin_setup(new, "https://example.com/done", shop.clock.now()).await.unwrap();
    let method = fake.enters(&setup.action.url, Card::Good);
    let customer = fake.object(&method).unwrap()["customer"].as_str().unwrap().to_owned();
    let saved = shop.saves(owner, &token(&customer, &method).unwrap()).await;
    let mut tx = shop.db.begin().await.unwrap();
    assert!(methods::make_default(&mut tx, owner, saved.id).await.unwrap());
    tx.commit().await.unwrap();
    saved
}

impl Till {
    /// Its customer has a card that pays.
    pub(in crate::usecase) async fn open(db: &TestDb) -> Self {
        let (shop, owner, fake) = (Shop::open(db, NOON).await, personal(1), FakeStripe::start().await);
        let account = Account {
            url: fake.url(),
            key: Secret::from(FakeStripe::KEY),
            timeout: Duration::from_secs(30),
            return_url: "https://example.com/back".to_owned(),
        };
        let mut cashier = shop.payments.cashier.clone();
        cashier.till.payments = Payments::Stripe(Arc::new(Stripe::new(account).unwrap()));
        let token = enters(&shop, (&fake, &cashier.till.payments), owner).await.token;
        Self { shop, fake, cashier, owner, token }
    }

    /// The `n`-th pack of 20 dollars, for which nobody was asked yet; asked for again, what there is of it.
    async fn begin(&self, n: u8) -> Payment {
        self.begins(n, &self.owner.to_string()).await.unwrap()
    }

    /// The same for whoever begins it.
    pub(in crate::usecase) async fn begins(&self, n: u8, by: &str) -> Result<Payment, Error> {
        let (pack, credits) = (ProductId::parse("starter").unwrap(), credits("300"));
        let purchase = id(u64::try_from(self.shop.count("purchases").await).unwrap());
        let new = Beginning {
            owner: self.owner,
            bought: Bought::Pack { purchase, pack, credits, scope: Scope::default() },
            amount: "20.00 USD".parse().unwrap(),
            seats: None,
            method: PaymentMethod::Default,
            thing: [n; 16],
            tried_before: 0,
            started_by: by.to_owned(),
        };
        self.cashier.begin(new).await
    }

    /// The owner enters another card, which pays by default from now on.
    pub(in crate::usecase) async fn another_card(&self) -> SavedMethod {
        enters(&self.shop, (&self.fake, &self.cashier.till.payments), self.owner).await
    }

    /// Which intents there are for a payment, and as what.
    pub(in crate::usecase) fn intents(&self, of: &Payment) -> Vec<(String, String)> {
        let all = self.fake.all("payment_intent").into_iter();
        let its = all.filter(|it| it["metadata"]["bursar_payment"] == of.id.to_string());
        its.map(|it| ["id", "status"].map(|name| it[name].as_str().unwrap().to_owned()).into()).collect()
    }

    fn confirmed(&self) -> usize {
        self.fake.asked().iter().filter(|it| it.ends_with("/confirm")).count()
    }

    /// Somebody asks for a payment, and has had one intent more made for it, whose answer they do not get before another does.
    async fn asks(&self, payment: &Payment) -> JoinHandle<Result<Option<Settlement>, Error>> {
        let before = self.fake.asked().iter().filter(|it| *it == INTENTS).count();
        self.fake.answers_together(2);
        let (cashier, of) = (self.cashier.clone(), payment.clone());
        let asking = tokio::spawn(async move { cashier.ask(&of).await });
        until(LONG, "an intent is asked for", async || {
            self.fake.asked().iter().filter(|it| *it == INTENTS).count() > before
        })
        .await;
        asking
    }

    /// Lets whoever asks have their answers: others ask for something else at the same time.
    async fn lets(&self, asking: JoinHandle<Result<Option<Settlement>, Error>>) -> Option<Settlement> {
        let others = async {
            loop {
                drop(self.cashier.till.payments.card(&self.token).await);
            }
        };
        let asked = async {
            tokio::select! {
                asked = asking => asked.unwrap().unwrap(),
                _ = others => None,
            }
        };
        let asked = tokio::time::timeout(LONG, asked).await.expect("it is answered");
        self.fake.answers_together(1);
        asked
    }

    /// Has an intent made for it, as whoever asks does first.
    async fn prepare(&self, payment: &Payment) -> String {
        let means = self.cashier.means_of(payment.id).await.unwrap();
        let Means::Token(token, _) = means else { panic!("it can be paid") };
        let (key, amount) = (payment.id, payment.amount);
        let to_pay = ToPay { key, amount, token: &token, attended: true, given_up: false };
        match self.cashier.till.payments.prepare(&to_pay).await.unwrap() {
            Prepared::Reference(reference) => reference,
            other => panic!("{other:?}"),
        }
    }

    fn status(&self, intent: &str) -> String {
        self.fake.object(intent).unwrap()["status"].as_str().unwrap().to_owned()
    }
}

/// What an intent is made by.
const INTENTS: &str = "POST /v1/payment_intents";

engines! {
    async fn what_has_ended_while_it_was_being_asked_for_is_confirmed_by_nobody(db: TestDb) {
        let till = Till::open(&db).await;
        let ends = [News::Declined("no".to_owned()), News::Canceled, News::Paid];
        for (n, news) in (1..).zip(ends) {
            let payment = till.begin(n).await;
            let asking = till.asks(&payment).await;
            let heard = Settlement { reference: None, news: news.clone() };
            let ended = till.cashier.hear(payment.id, Some(&heard)).await.unwrap();
            assert_ne!(ended.state, PaymentState::Created);
            assert_eq!(till.lets(asking).await, None, "{news:?}: it is known how it ended");
            assert_eq!(till.shop.payments.known(payment.id).await.unwrap().state, ended.state);
        }
        assert_eq!((till.confirmed(), till.fake.takings()), (0, 0));
    }

    async fn a_decline_of_which_nothing_was_asked_is_not_said_of_what_somebody_else_asks_for(db: TestDb) {
        let till = Till::open(&db).await;
        let payment = till.begin(1).await;
        let first = till.prepare(&payment).await;
        // The card is taken from its customer: who has another intent made for it hears of a decline.
        till.fake.detaches(till.token.split_once(':').unwrap().1);
        let asking = till.asks(&payment).await;
        assert_eq!(till.cashier.name(payment.id, &first).await.unwrap(), Some(first.clone()));
        let heard = till.lets(asking).await.unwrap();
        assert_eq!(heard.reference, Some(first), "what became of that one is said");
        assert!(matches!(heard.news, News::Declined(_)), "{heard:?}");
        assert_eq!(till.confirmed(), 1);
        // And where it is heard before anybody has written a name down, nobody asks for anything.
        let payment = till.begin(2).await;
        till.cashier.ask(&payment).await.unwrap().unwrap();
        assert_eq!(till.shop.payments.known(payment.id).await.unwrap().state, PaymentState::Declined);
        assert_eq!(till.cashier.name(payment.id, "pi_late").await.unwrap(), None);
        assert_eq!((till.confirmed(), till.fake.takings()), (1, 0));
    }

    async fn what_is_given_up_while_it_is_asked_for_is_not_paid(db: TestDb) {
        let till = Till::open(&db).await;
        // Before its name is known, which is then not confirmed; and after that, when only the provider can stop it.
        for (n, is_named) in [(1, false), (2, true)] {
            let payment = till.begin(n).await;
            let intent = till.prepare(&payment).await;
            if is_named {
                assert_eq!(till.cashier.name(payment.id, &intent).await.unwrap(), Some(intent.clone()));
            }
            till.cashier.abandon(payment.id, None).await.unwrap();
            if !is_named {
                assert_eq!(till.cashier.name(payment.id, &intent).await.unwrap(), None, "it is asked for no more");
            }
            till.cashier.look_after(Due { payment: payment.id }).await.unwrap();
            assert_eq!(till.status(&intent), "canceled");
            let to_pay = ToPay {
                key: payment.id, amount: payment.amount, token: "cus_1:pm_1", attended: true, given_up: false,
            };
            let late = till.cashier.till.payments.pay(&to_pay, Some(&intent)).await.unwrap();
            assert_eq!(late.news, News::Canceled, "whoever had not heard of that");
            let known = till.shop.payments.known(payment.id).await.unwrap();
            assert_eq!((known.state, known.returned), (PaymentState::Canceled, true));
        }
        assert_eq!((till.fake.takings(), till.shop.available(till.owner).await), (0, credits("0")));
    }

    async fn of_two_who_ask_at_once_one_takes_the_money(db: TestDb) {
        let till = Till::open(&db).await;
        for n in 1..=6 {
            let payment = till.begin(n).await;
            // Both have had an intent made before either has written its name down; or as it comes.
            if n <= 3 {
                let [first, second] = [till.prepare(&payment).await, till.prepare(&payment).await];
                assert_ne!(first, second);
                for name in [&first, &second] {
                    assert_eq!(till.cashier.name(payment.id, name).await.unwrap().as_ref(), Some(&first), "the first one's stands");
                }
            }
            let ask = || Box::pin(till.cashier.ask(&payment));
            let (one, other) = tokio::join!(ask(), ask());
            let (one, other) = (one.unwrap().unwrap(), other.unwrap().unwrap());
            assert_eq!((&one, &one.news), (&other, &News::Paid), "they hear of the same one");
            let of_it = till.fake.all("payment_intent").into_iter().filter(|it| it["metadata"]["bursar_payment"] == payment.id.to_string());
            let confirmed: Vec<_> = of_it.filter(|it| it["status"] == "succeeded").map(|it| it["id"].clone()).collect();
            assert_eq!(confirmed, [one.reference.clone().unwrap()], "one confirmed intent");
            for heard in [&one, &other] {
                till.cashier.hear(payment.id, Some(heard)).await.unwrap();
            }
            assert_eq!(till.fake.takings(), 2_000 * i64::from(n));
        }
        assert_eq!((till.shop.available(till.owner).await, till.shop.count("invoices").await), (credits("1800"), 6));
        till.shop.assert_sound(till.owner).await;
    }
}
