//! Stripe: a small client of our own, of the few calls that are needed, at a pinned version of the API.
//!
//! - **Paying.** A payment intent is made first, with the payment's id on it, and its name is kept; only then is it
//!   confirmed, which takes the money. Asked again, however late, the intent itself says what became of it: nobody pays
//!   twice. Neither has an idempotency key, as Stripe repeats for a day under one that it has failed. Without its customer
//!   a payment is confirmed off session, and a bank that wants to see the customer declines it
//!   (`authentication_required`); with its customer it waits for them (3-D Secure). What nobody wants any more is canceled,
//!   so that neither whoever asked for it at that moment nor its customer can finish it.
//! - **Declines** ([`refusals`]). Only what is certain to be wrong with a payment or its card is one. What may be the deployment's
//!   fault, such as a key of another account, is trouble: it is tried again, and nobody's plan ends by it.
//! - **Saving a card.** The customer enters it on a page of Stripe's (checkout in setup mode); what comes of it is told by a
//!   webhook. Each payment method has a customer of its own at Stripe, so its name here is both: `cus_…:pm_…`. Removing it
//!   removes both there.
//! - **Giving back.** What was given back under a key is found by it, however late it is asked again.
//! - **Being told.** [`event`] reads webhooks, [`signature`] whether they are Stripe's.

pub(crate) mod event;
mod form;
mod least;
mod refusals;
mod shapes;
pub(crate) mod signature;
mod wire;

use std::time::Duration;

use bursar_money::{Currency, Price};
use bursar_secret::Secret;

use super::{Action, AskedFor, Prepared, Settlement, Setup, ToPay, ToSave, Trouble};
use crate::domain::{Card, News};
use form::Form;
pub(super) use least::least;
use shapes::{Intent, Made, Method, Refunds, Refusal, Session};
use wire::{Said, Wire, segment};

/// Under which names it stands on Stripe's objects what they are here.
const PAYMENT: &str = "bursar_payment";
const OWNER: &str = "bursar_owner";
const METHOD: &str = "bursar_method";
const BY: &str = "bursar_by";
const REFUND: &str = "bursar_refund";

/// Why an amount is declined that Stripe cannot count.
const NOT_WHOLE: &str = "amount_not_whole";

/// How many pages of refunds of one payment are looked through, of a hundred each.
const PAGES: u32 = 10;

/// How Stripe is reached.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    /// Where its API is.
    pub(crate) url: String,
    /// The key of the API.
    pub(crate) key: Secret,
    /// How long one answer may take.
    pub(crate) timeout: Duration,
    /// Where customers come back to from what a payment asked them to do.
    pub(crate) return_url: String,
}

/// The client.
#[derive(Debug)]
pub(crate) struct Stripe {
    wire: Wire,
    return_url: String,
}

impl Stripe {
    /// Connects nowhere yet.
    pub(crate) fn new(account: Account) -> anyhow::Result<Self> {
        let wire = Wire::new(&account.url, account.key, account.timeout)?;
        Ok(Self { wire, return_url: account.return_url })
    }

    /// Makes the payment intent, which takes nothing.
    pub(super) async fn prepare(&self, to_pay: &ToPay<'_>) -> Result<Prepared, Trouble> {
        if to_pay.given_up {
            // Without a name that was kept, no money was asked for.
            return Ok(Prepared::Ended(Settlement { reference: None, news: News::Canceled }));
        }
        let Ok(amount) = minor(to_pay.amount) else {
            // Nobody can pay it, however often they are asked: a subscription is past due by that, like by any decline.
            tracing::error!(payment = %to_pay.key, amount = %to_pay.amount, "the payment provider has no such amount");
            let news = News::Declined(NOT_WHOLE.to_owned());
            return Ok(Prepared::Ended(Settlement { reference: None, news }));
        };
        let (customer, method) = names(to_pay.token)?;
        let form = Form::default()
            .with("amount", &amount.to_string())
            .with("currency", &to_pay.amount.currency().to_string().to_lowercase())
            .with("customer", customer)
            .with("payment_method", method)
            .with("payment_method_types[0]", "card")
            .with(&metadata(PAYMENT), &to_pay.key.to_string());
        // Under no key: made twice, one of the two is never confirmed.
        let made: Said<Made> = self.wire.post("/v1/payment_intents", form, None).await?;
        Ok(match made {
            Ok(made) => Prepared::Reference(segment(&made.id)?.to_owned()),
            Err(refusal) => Prepared::Ended(self.unpaid(to_pay.token, None, refusal).await?),
        })
    }

    /// Takes the money, or says what became of that.
    pub(super) async fn pay(&self, to_pay: &ToPay<'_>, reference: &str) -> Result<Settlement, Trouble> {
        if to_pay.given_up {
            let (token, amount) = (Some(to_pay.token), to_pay.amount);
            return self.cancel(AskedFor { reference, token, amount }).await;
        }
        let path = format!("/v1/payment_intents/{}", segment(reference)?);
        let intent: Intent = match self.wire.get(&path).await? {
            Ok(intent) => intent,
            // What Stripe does not know, nobody pays, nor will ever.
            Err(refusal) => return self.unpaid(to_pay.token, Some(reference), refusal).await,
        };
        if intent.status != "requires_confirmation" {
            return settled(&intent, to_pay.amount);
        }
        let form = if to_pay.attended {
            Form::default().with("return_url", &self.return_url)
        } else {
            Form::default().with("off_session", "true")
        };
        let confirm = format!("{path}/confirm");
        // Under no key: an intent is confirmed once.
        match self.wire.post::<Intent>(&confirm, form, None).await? {
            Ok(intent) => settled(&intent, to_pay.amount),
            // Somebody else was faster, or the answer to that was lost: what is so now, the intent says.
            Err(refusal) if refusal.code.as_deref() == Some("payment_intent_unexpected_state") => {
                let intent: Intent = self.wire.get(&path).await?.map_err(refused)?;
                settled(&intent, to_pay.amount)
            }
            Err(refusal) => self.unpaid(to_pay.token, Some(reference), refusal).await,
        }
    }

    /// Has nothing taken any more, and says what had been: whoever confirms it at this moment, one of the two is refused. While the
    /// money is on its way nobody can say, so it is asked again.
    pub(super) async fn cancel(&self, asked: AskedFor<'_>) -> Result<Settlement, Trouble> {
        let ended = self.canceled(asked).await?;
        if matches!(ended.news, News::Pending | News::RequiresAction) {
            return Err(Trouble::Silent("the money is on its way"));
        }
        Ok(ended)
    }

    async fn canceled(&self, asked: AskedFor<'_>) -> Result<Settlement, Trouble> {
        let path = format!("/v1/payment_intents/{}", segment(asked.reference)?);
        let intent: Intent = match self.wire.get(&path).await? {
            Ok(intent) => intent,
            Err(refusal) => return self.unknown(asked, refusal).await,
        };
        if !matches!(intent.status.as_str(), "requires_confirmation" | "requires_action") {
            return settled(&intent, asked.amount);
        }
        // Under no key: an intent is canceled once.
        match self.wire.post::<Intent>(&format!("{path}/cancel"), Form::default(), None).await? {
            Ok(intent) => settled(&intent, asked.amount),
            // It was paid, or canceled, since it was looked at: what is so now, the intent says.
            Err(refusal) if refusal.code.as_deref() == Some("payment_intent_unexpected_state") => {
                self.look(asked).await
            }
            Err(refusal) => self.unknown(asked, refusal).await,
        }
    }

    /// What has become of the money that was asked for.
    pub(super) async fn look(&self, asked: AskedFor<'_>) -> Result<Settlement, Trouble> {
        let path = format!("/v1/payment_intents/{}", segment(asked.reference)?);
        match self.wire.get::<Intent>(&path).await? {
            Ok(intent) => settled(&intent, asked.amount),
            Err(refusal) => self.unknown(asked, refusal).await,
        }
    }

    /// Where the customer has to go, and with what.
    pub(super) async fn action(&self, reference: &str) -> Result<Option<Action>, Trouble> {
        let path = format!("/v1/payment_intents/{}", segment(reference)?);
        let intent: Intent = self.wire.get(&path).await?.map_err(refused)?;
        let url = intent.next_action.and_then(|next| next.redirect_to_url).and_then(|to| to.url);
        Ok(url.zip(intent.client_secret).map(|(url, secret)| Action { url, client_secret: secret.expose().clone() }))
    }

    /// Gives money back, unless that was done under this key before.
    pub(super) async fn give_back(&self, reference: &str, amount: Price, key: &str) -> Result<(), Trouble> {
        if self.was_given_back(segment(reference)?, key).await? {
            return Ok(());
        }
        let form = Form::default()
            .with("payment_intent", reference)
            .with("amount", &minor(amount)?.to_string())
            .with(&metadata(REFUND), key);
        match self.wire.post::<Made>("/v1/refunds", form, Some(&format!("refund:{key}"))).await? {
            Ok(_) => Ok(()),
            Err(refusal) if refusal.code.as_deref() == Some("charge_already_refunded") => {
                tracing::warn!(reference, key, "what was to be given back was given back by somebody else");
                Ok(())
            }
            Err(refusal) => Err(refused(refusal)),
        }
    }

    async fn was_given_back(&self, reference: &str, key: &str) -> Result<bool, Trouble> {
        let mut after = String::new();
        for _ in 0..PAGES {
            let path = format!("/v1/refunds?payment_intent={reference}&limit=100{after}");
            let page: Refunds = self.wire.get(&path).await?.map_err(refused)?;
            let is_it = |status: Option<&str>| !matches!(status, Some("failed" | "canceled"));
            let mut same = page.data.iter().filter(|it| it.metadata.bursar_refund.as_deref() == Some(key));
            if same.any(|it| is_it(it.status.as_deref())) {
                return Ok(true);
            }
            match page.data.last() {
                Some(last) if page.has_more => after = format!("&starting_after={}", segment(&last.id)?),
                _ => return Ok(false),
            }
        }
        Err(Trouble::Never("it has too many refunds to look through"))
    }

    /// Makes a page on which the customer enters a card, and who the card will be of.
    pub(super) async fn begin_setup(&self, new: ToSave<'_>, return_url: &str) -> Result<Setup, Trouble> {
        let (id, owner) = (new.id.to_string(), new.owner.to_string());
        let form = Form::default().with(&metadata(OWNER), &owner).with(&metadata(METHOD), &id);
        let customer: Made =
            self.wire.post("/v1/customers", form, Some(&format!("{id}:customer"))).await?.map_err(refused)?;
        let noted = |name: &str| format!("setup_intent_data[metadata][{name}]");
        let form = Form::default()
            .with("mode", "setup")
            .with("customer", segment(&customer.id)?)
            .with("payment_method_types[0]", "card")
            .with("success_url", return_url)
            .with("cancel_url", return_url)
            .with(&noted(OWNER), &owner)
            .with(&noted(METHOD), &id)
            .with(&noted(BY), new.by);
        let session: Session =
            self.wire.post("/v1/checkout/sessions", form, Some(&format!("{id}:setup"))).await?.map_err(refused)?;
        let url = session.url.ok_or(Trouble::Unreadable)?;
        Ok(Setup { action: Action { url, client_secret: String::new() }, done: None })
    }

    /// What people are shown of a card; `None` of one that belongs to nobody any more.
    pub(super) async fn card(&self, token: &str) -> Result<Option<Card>, Trouble> {
        let (customer, method) = names(token)?;
        let found: Said<Method> = self.wire.get(&format!("/v1/payment_methods/{method}")).await?;
        match found {
            Ok(found) => shown(found, customer),
            Err(refusal) if refusal.is_missing() => self.demand_customer(customer).await.map(|()| None),
            Err(refusal) => Err(refused(refusal)),
        }
    }

    /// Takes a card from its customer, and removes both. What is not there any more is removed.
    pub(super) async fn forget(&self, token: &str) -> Result<(), Trouble> {
        let (customer, method) = names(token)?;
        let path = format!("/v1/payment_methods/{method}/detach");
        let detached: Said<Made> = self.wire.post(&path, Form::default(), Some(&format!("{method}:detach"))).await?;
        let deleted: Said<Made> = self.wire.delete(&format!("/v1/customers/{customer}")).await?;
        match &deleted {
            Ok(_) => {}
            Err(no) if no.is_missing() => self.demand_customer(customer).await?,
            // The customer is there still, and so is the card for all that is known.
            Err(_) => return Err(deleted.err().map_or(Trouble::Unreadable, refused)),
        }
        for refusal in [detached.err(), deleted.err()].into_iter().flatten() {
            tracing::debug!(why = refusal.word(), "a payment method was removed at the provider before");
        }
        Ok(())
    }
}

/// What people are shown of a payment method; `None` of one that is not this customer's.
fn shown(found: Method, customer: &str) -> Result<Option<Card>, Trouble> {
    if found.customer.as_deref() != Some(customer) {
        return Ok(None);
    }
    let card = found.card.ok_or(Trouble::Unreadable)?;
    if !(1..=12).contains(&card.exp_month) || card.brand.len() > 64 || card.last4.len() > 4 {
        return Err(Trouble::Unreadable);
    }
    let (brand, last4) = (card.brand, card.last4);
    Ok(Some(Card { brand, last4, exp_month: card.exp_month, exp_year: card.exp_year }))
}

/// The customer and the payment method in a name of both.
fn names(token: &str) -> Result<(&str, &str), Trouble> {
    let (customer, method) = token.split_once(':').ok_or(Trouble::Unreadable)?;
    Ok((segment(customer)?, segment(method)?))
}

/// The name of both.
pub(crate) fn token(customer: &str, method: &str) -> Result<String, Trouble> {
    Ok(format!("{}:{}", segment(customer)?, segment(method)?))
}

fn metadata(name: &str) -> String {
    format!("metadata[{name}]")
}

/// Of a request that cannot be refused for what it says.
#[expect(clippy::needless_pass_by_value, reason = "it stands where an error is mapped")]
fn refused(refusal: Refusal) -> Trouble {
    Trouble::Refused(refusal.word())
}

/// What an intent says of itself. Paid is what was asked for, and nothing else.
fn settled(intent: &Intent, amount: Price) -> Result<Settlement, Trouble> {
    let news = match intent.status.as_str() {
        "succeeded" => {
            if price(intent.amount_received, &intent.currency) != Some(amount) {
                tracing::error!(intent = intent.id, "the payment provider took another amount than it was asked for");
                return Err(Trouble::Never("another amount was paid"));
            }
            News::Paid
        }
        "requires_action" => News::RequiresAction,
        "requires_payment_method" => {
            let why = intent.last_payment_error.as_ref();
            News::Declined(why.map_or_else(|| shapes::word(None), Refusal::word))
        }
        "canceled" => News::Canceled,
        // `processing`, and what later versions may have.
        _ => News::Pending,
    };
    Ok(Settlement { reference: Some(intent.id.clone()), news })
}

/// Two currencies have no smaller unit any more, and Stripe goes on counting hundredths of theirs.
fn hundredths(currency: Currency) -> i64 {
    if matches!(currency.to_string().as_str(), "ISK" | "UGX") && currency.minor_digits() == 0 { 100 } else { 1 }
}

/// An amount as Stripe counts it.
fn minor(amount: Price) -> Result<i64, Trouble> {
    let whole = amount.minor_units().and_then(|units| units.checked_mul(hundredths(amount.currency())));
    whole.ok_or(Trouble::Never("the amount is not whole"))
}

/// An amount that Stripe has counted, if it is one.
fn price(counted: i64, currency: &str) -> Option<Price> {
    let currency: Currency = currency.to_uppercase().parse().ok()?;
    Price::from_minor_units(currency, counted / hundredths(currency)).ok()
}

#[cfg(test)]
mod fuzzing;

#[cfg(test)]
mod tests {
    use bursar_testkit::stripe::FakeStripe;

    use super::*;

    fn at(url: String) -> Stripe {
        let (key, timeout) = (Secret::from(FakeStripe::KEY), Duration::from_secs(10));
        Stripe::new(Account { url, key, timeout, return_url: "https://example.com/back".to_owned() }).unwrap()
    }

    fn to_pay(token: &str, given_up: bool) -> ToPay<'_> {
        let (key, amount) = (bursar_testkit::id(1), "20.00 USD".parse().unwrap());
        ToPay { key, amount, token, attended: true, given_up }
    }

    #[test]
    fn amounts_are_counted_as_stripe_counts_them() {
        for (text, counted) in
            [("20.00 USD", 2_000), ("1500 JPY", 1_500), ("1500 MGA", 1_500), ("1500 ISK", 150_000), ("0.01 EUR", 1)]
        {
            let amount: Price = text.parse().unwrap();
            assert_eq!(minor(amount), Ok(counted), "{text}");
            assert_eq!(price(counted, &amount.currency().to_string().to_lowercase()), Some(amount), "{text}");
        }
        assert!(minor("0.001 USD".parse().unwrap()).is_err());
        for (counted, currency) in [(1, ""), (1, "dollars"), (i64::MAX, "usd")] {
            assert_eq!(price(counted, currency), None, "{counted} {currency}");
        }
    }

    #[test]
    fn an_intent_says_what_became_of_it() {
        let intent = |status: &str, received: i64, error: Option<&str>| {
            let error = error.map(|code| serde_json::json!({"type": "card_error", "code": code}));
            let text = serde_json::json!({
                "id": "pi_1", "status": status, "amount_received": received, "currency": "usd",
                "last_payment_error": error, "object": "payment_intent", "livemode": false,
            });
            serde_json::from_value::<Intent>(text).unwrap()
        };
        let amount: Price = "20.00 USD".parse().unwrap();
        let news = |it: &Intent| settled(it, amount).map(|it| it.news);
        assert_eq!(news(&intent("succeeded", 2_000, None)), Ok(News::Paid));
        assert_eq!(news(&intent("succeeded", 1_999, None)), Err(Trouble::Never("another amount was paid")));
        assert_eq!(news(&intent("processing", 0, None)), Ok(News::Pending));
        assert_eq!(news(&intent("requires_action", 0, None)), Ok(News::RequiresAction));
        assert_eq!(news(&intent("canceled", 0, None)), Ok(News::Canceled));
        let declined = |code: &str| Ok(News::Declined(code.to_owned()));
        assert_eq!(news(&intent("requires_payment_method", 0, Some("expired_card"))), declined("expired_card"));
        assert_eq!(news(&intent("requires_payment_method", 0, None)), declined("card_declined"));
    }

    #[tokio::test]
    async fn what_nobody_wants_any_more_is_not_begun() {
        let stripe = at("http://127.0.0.1:1".to_owned());
        let given_up = stripe.prepare(&to_pay("cus_1:pm_1", true)).await;
        assert_eq!(given_up, Ok(Prepared::Ended(Settlement { reference: None, news: News::Canceled })));
        assert!(matches!(stripe.prepare(&to_pay("cus_1:pm_1", false)).await, Err(Trouble::Silent(_))));
    }

    #[tokio::test]
    async fn what_nobody_wants_any_more_is_not_confirmed() {
        let fake = FakeStripe::start().await;
        let stripe = at(fake.url());
        let new = ToSave { id: bursar_testkit::id(1), owner: bursar_testkit::personal(1), by: "usr_x" };
        let setup = stripe.begin_setup(new, "https://example.com/done").await.unwrap();
        let method = fake.enters(&setup.action.url, bursar_testkit::stripe::Card::Good);
        let customer = fake.all("customer")[0]["id"].as_str().unwrap().to_owned();
        let token = token(&customer, &method).unwrap();
        let begun = async || match stripe.prepare(&to_pay(&token, false)).await {
            Ok(Prepared::Reference(reference)) => reference,
            other => panic!("{other:?}"),
        };
        let settled = |of: &str, news| Ok(Settlement { reference: Some(of.to_owned()), news });
        let confirmed = || fake.asked().iter().filter(|it| it.ends_with("/confirm")).count();
        let unwanted = begun().await;
        for _ in 0..2 {
            assert_eq!(stripe.pay(&to_pay(&token, true), &unwanted).await, settled(&unwanted, News::Canceled));
        }
        // Whoever was about to take it finds that nothing can be taken.
        assert_eq!(stripe.pay(&to_pay(&token, false), &unwanted).await, settled(&unwanted, News::Canceled));
        assert_eq!((confirmed(), fake.takings()), (0, 0));
        assert_eq!(fake.object(&unwanted).unwrap()["status"], "canceled");
        // Nor can its customer finish what waits for them.
        fake.becomes(&method, bursar_testkit::stripe::Card::Challenged);
        let waits = begun().await;
        assert_eq!(stripe.pay(&to_pay(&token, false), &waits).await, settled(&waits, News::RequiresAction));
        assert_eq!(stripe.pay(&to_pay(&token, true), &waits).await, settled(&waits, News::Canceled));
        assert_eq!(fake.object(&waits).unwrap()["status"], "canceled");
        // What was taken before it was given up is told.
        fake.becomes(&method, bursar_testkit::stripe::Card::Good);
        let paid = begun().await;
        assert_eq!(stripe.pay(&to_pay(&token, false), &paid).await, settled(&paid, News::Paid));
        assert_eq!(stripe.pay(&to_pay(&token, true), &paid).await, settled(&paid, News::Paid));
        assert_eq!((confirmed(), fake.takings()), (2, 2_000));
    }

    #[tokio::test]
    async fn what_cannot_be_counted_is_declined_and_nobody_is_asked() {
        let stripe = at("http://127.0.0.1:1".to_owned());
        let odd = ToPay { amount: "19.50 MGA".parse().unwrap(), ..to_pay("cus_1:pm_1", false) };
        let news = News::Declined("amount_not_whole".to_owned());
        assert_eq!(stripe.prepare(&odd).await, Ok(Prepared::Ended(Settlement { reference: None, news })));
        assert_eq!(minor(odd.amount), Err(Trouble::Never("the amount is not whole")));
    }

    #[test]
    fn a_card_is_named_with_its_customer() {
        assert_eq!(token("cus_1", "pm_1"), Ok("cus_1:pm_1".to_owned()));
        assert_eq!(names("cus_1:pm_1"), Ok(("cus_1", "pm_1")));
        for bad in ["", "cus_1", ":pm_1", "cus_1:", "cus_1:pm_1:x", "../x:pm_1"] {
            assert_eq!(names(bad), Err(Trouble::Unreadable), "{bad}");
        }
    }
}
