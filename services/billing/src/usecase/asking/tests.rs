//! Asking a provider that takes its time, while others ask and nobody wants it any more; on both engines, with a fake of Stripe.

use std::sync::Arc;
use std::time::Duration;

use bursar_id::OwnerId;
use bursar_secret::Secret;
use bursar_testkit::stripe::{Card, FakeStripe};
use bursar_testkit::{TestDb, credits, engines, id, personal};

use super::Means;
use crate::domain::{Bought, News, Payment, PaymentState, ProductId, Scope};
use crate::payment::stripe::{Account, Stripe, token};
use crate::payment::{PaymentMethod, Payments, Prepared, ToPay, ToSave};
use crate::usecase::cashier::{Beginning, Cashier, Due};
use crate::usecase::shop::Shop;

const NOON: &str = "2026-01-15T12:00:00Z";

/// A cashier that asks a fake of Stripe.
struct Till {
    shop: Shop,
    fake: FakeStripe,
    cashier: Cashier,
    owner: OwnerId,
}

impl Till {
    /// Its customer has a card that pays.
    async fn open(db: &TestDb) -> Self {
        let (shop, owner, fake) = (Shop::open(db, NOON).await, personal(1), FakeStripe::start().await);
        let account = Account {
            url: fake.url(),
            key: Secret::from(FakeStripe::KEY),
            timeout: Duration::from_secs(30),
            return_url: "https://example.com/back".to_owned(),
        };
        let mut cashier = shop.payments.cashier.clone();
        cashier.till.payments = Payments::Stripe(Arc::new(Stripe::new(account).unwrap()));
        let new = ToSave { id: id(1), owner, by: "usr_x" };
        let now = cashier.till.clock.now();
        let setup = cashier.till.payments.begin_setup(new, "https://example.com/done", now).await.unwrap();
        let method = fake.enters(&setup.action.url, Card::Good);
        let customer = fake.all("customer")[0]["id"].as_str().unwrap().to_owned();
        shop.saves(owner, &token(&customer, &method).unwrap()).await;
        Self { shop, fake, cashier, owner }
    }

    /// The `n`-th pack of 20 dollars, for which nobody was asked yet.
    async fn begin(&self, n: u8) -> Payment {
        let (pack, credits) = (ProductId::parse("starter").unwrap(), credits("300"));
        let new = Beginning {
            owner: self.owner,
            bought: Bought::Pack { purchase: id(u64::from(n)), pack, credits, scope: Scope::default() },
            amount: "20.00 USD".parse().unwrap(),
            seats: None,
            method: PaymentMethod::Default,
            thing: [n; 16],
            tried_before: 0,
            started_by: self.owner.to_string(),
        };
        self.cashier.begin(new).await.unwrap()
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

engines! {
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
