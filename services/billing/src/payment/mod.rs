//! Taking money: what billing asks of a payment provider, and the providers there are.
//!
//! A payment's id is its **key**: asked again under it, or about the reference that it has given for it, a provider
//! answers with the same payment and takes nothing. So whoever lost an answer asks again, and a reference that a
//! provider gave is good for crediting once.
//!
//! A provider answers at once ([`Settlement`]) and tells later what became of it; both are the same news to a payment
//! ([`Settlement::news`]). No rule about plans or packs belongs here, and no provider's name anywhere else but where its webhooks come in.

mod invoice;
mod sandbox;
pub(crate) mod stripe;

use std::fmt;
use std::sync::Arc;

use bursar_id::{OwnerId, PaymentId, PaymentMethodId};
use bursar_money::{Currency, Price};
use bursar_rpc::IdempotencyKey;
use bursar_time::Timestamp;
use sha2::{Digest, Sha256};

pub(crate) use self::invoice::INVOICE;
use crate::domain::{Card, News, PaymentState};

/// The payment provider of this deployment.
#[derive(Debug, Clone)]
pub(crate) enum Payments {
    /// Settles at once and moves no money.
    Sandbox,
    /// Stripe.
    Stripe(Arc<stripe::Stripe>),
}

/// A way to pay, as somebody named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PaymentMethod {
    /// None was named: the owner's default.
    Default,
    /// One that the owner has saved.
    Saved(PaymentMethodId),
    /// By the provider's own name for it.
    Named(String),
}

/// A way to pay that the provider does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PaymentMethodError {
    /// Beyond [`PaymentMethod::MAX_BYTES`].
    #[error("must be at most 128 bytes")]
    TooLong,
    /// Neither an id nor one of the sandbox's.
    #[error(
        "must be empty, a saved one (pmt_…), sandbox_ok, sandbox_declined, sandbox_pending or sandbox_requires_action"
    )]
    NotOfSandbox,
    /// No id: with Stripe, only what its owner has saved pays.
    #[error("must be empty or a saved one (pmt_…)")]
    NotSaved,
}

/// A provider that did not say what became of what it was asked: it may have been done, or not. It is asked again, under the
/// same key. The text holds no secret and nobody's data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    /// No answer, or none in time.
    #[error("the payment provider does not answer: {0}")]
    Silent(&'static str),
    /// An answer that says not now, by this status: too much is asked of it at once, by everybody together.
    #[error("the payment provider has no time now: status {0}")]
    Busy(u16),
    /// An answer that cannot be read, or is too long.
    #[error("the payment provider answers what cannot be read")]
    Unreadable,
    /// An answer that says that it will not, in its word for why.
    #[error("the payment provider refuses: {0}")]
    Refused(String),
    /// By what it is, or by what the provider says of it, it can never be done: asking again changes nothing.
    #[error("the payment provider can never do this: {0}")]
    Never(&'static str),
}

impl PaymentMethod {
    /// The longest name of a payment method.
    const MAX_BYTES: usize = 128;

    /// As it was accepted and stored.
    pub(crate) fn from_stored(text: &str) -> Self {
        match text.parse() {
            Ok(id) => Self::Saved(id),
            Err(_) if text.is_empty() => Self::Default,
            Err(_) => Self::Named(text.to_owned()),
        }
    }
}

/// What is paid for, in sixteen bytes: by these a repetition finds its payment.
pub(crate) type Thing = [u8; 16];

/// A thing that is paid once, such as one period of a subscription.
pub(crate) fn thing(name: &str) -> Thing {
    digest(&[name.as_bytes()])
}

/// A caller's request if it has an id (a retry then pays nothing), else `attempt`, which is unique.
pub(crate) fn thing_of_request(request: Option<&IdempotencyKey>, attempt: &str) -> Thing {
    match request.and_then(|request| Some((request, request.id()?))) {
        Some((request, id)) => digest(&[request.scope().as_bytes(), id.as_str().as_bytes(), request.body_hash()]),
        None => thing(attempt),
    }
}

fn digest(parts: &[&[u8]]) -> Thing {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut key = [0; 16];
    for (to, from) in key.iter_mut().zip(hash.finalize()) {
        *to = from;
    }
    key
}

/// What is to be paid.
#[derive(Clone)]
pub(crate) struct ToPay<'a> {
    /// By what a repetition is recognised.
    pub(crate) key: PaymentId,
    /// How much.
    pub(crate) amount: Price,
    /// With what: the provider's name for it.
    pub(crate) token: &'a str,
    /// Whether its customer is there, and can be asked to do something about it.
    pub(crate) attended: bool,
    /// Whether nobody wants it any more: then it is canceled, where it was begun, and asked what was taken before that.
    pub(crate) given_up: bool,
}

/// A payment whose money was asked for.
#[derive(Clone, Copy)]
pub(crate) struct AskedFor<'a> {
    /// What it was prepared under.
    pub(crate) reference: &'a str,
    /// With what it was asked for: the provider's name for it; `None` where that is not known.
    pub(crate) token: Option<&'a str>,
    /// How much.
    pub(crate) amount: Price,
}

/// What has to be known of a payment before its money is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Prepared {
    /// Nothing.
    Nothing,
    /// The provider's name for it: by that it is asked about, however late.
    Reference(String),
    /// It cannot be paid, and nothing was asked for.
    Ended(Settlement),
}

/// What a provider says of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settlement {
    /// The provider's name for the payment, the same for every repetition; `None` where it has none or did not say.
    pub(crate) reference: Option<String>,
    /// What it says.
    pub(crate) news: News,
}

/// Whose payment method is to be saved.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ToSave<'a> {
    /// The id that it will have.
    pub(crate) id: PaymentMethodId,
    /// Whose it will be.
    pub(crate) owner: OwnerId,
    /// Who adds it.
    pub(crate) by: &'a str,
}

/// What the customer has to do.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Action {
    /// Where.
    pub(crate) url: String,
    /// With what the customer's program may ask the provider about it.
    pub(crate) client_secret: String,
}

/// A new payment method on its way.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Setup {
    /// Where the customer enters it.
    pub(crate) action: Action,
    /// The provider's name for it and what is shown of it, where it is there at once.
    pub(crate) done: Option<(String, Card)>,
}

impl fmt::Debug for ToPay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToPay").field("key", &self.key).field("amount", &self.amount).finish_non_exhaustive()
    }
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The address may say as much as the secret.
        f.debug_struct("Action").finish_non_exhaustive()
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("is_done", &self.done.is_some()).finish_non_exhaustive()
    }
}

impl Payments {
    /// Reads what somebody named as a payment method.
    pub(crate) fn method(&self, text: &str) -> Result<PaymentMethod, PaymentMethodError> {
        if text.len() > PaymentMethod::MAX_BYTES {
            return Err(PaymentMethodError::TooLong);
        }
        match PaymentMethod::from_stored(text) {
            PaymentMethod::Named(name) => self.token(&name).map(PaymentMethod::Named),
            other => Ok(other),
        }
    }

    /// The same of a contract, which may be paid by invoice.
    pub(crate) fn method_of_contract(&self, text: &str) -> Result<PaymentMethod, PaymentMethodError> {
        if text == INVOICE { Ok(PaymentMethod::Named(text.to_owned())) } else { self.method(text) }
    }

    /// Reads the provider's own name for a way to pay.
    pub(crate) fn token(&self, text: &str) -> Result<String, PaymentMethodError> {
        match self {
            Self::Sandbox => sandbox::token(text),
            // A card that is nobody's in particular could be anybody's.
            Self::Stripe(_) => Err(PaymentMethodError::NotSaved),
        }
    }

    /// Has the provider write a payment down, without taking anything: its reference is kept before any money moves, so that
    /// whoever loses an answer asks about that payment and never makes a second one.
    pub(crate) async fn prepare(&self, to_pay: &ToPay<'_>) -> Result<Prepared, Trouble> {
        if invoice::pay(to_pay).is_some() {
            return Ok(Prepared::Nothing);
        }
        match self {
            Self::Sandbox => Ok(Prepared::Nothing),
            Self::Stripe(stripe) => stripe.prepare(to_pay).await,
        }
    }

    /// Takes a payment, or learns what became of it when it was asked for before. `reference` is what it was prepared under.
    pub(crate) async fn pay(&self, to_pay: &ToPay<'_>, reference: Option<&str>) -> Result<Settlement, Trouble> {
        if let Some(paid) = invoice::pay(to_pay) {
            return Ok(paid);
        }
        match (self, reference) {
            (Self::Sandbox, _) => Ok(sandbox::pay(to_pay)),
            (Self::Stripe(stripe), Some(reference)) => stripe.pay(to_pay, reference).await,
            (Self::Stripe(_), None) => Err(Trouble::Unreadable),
        }
    }

    /// What has become of a payment that was asked for, where the provider can be asked that. One that the provider does not know,
    /// while it knows its customer, is canceled: nobody pays it.
    pub(crate) async fn look(&self, asked: AskedFor<'_>) -> Result<Option<Settlement>, Trouble> {
        match self {
            Self::Sandbox => Ok(None),
            Self::Stripe(stripe) => stripe.look(asked).await.map(Some),
        }
    }

    /// Sees to it that nothing is taken any more of a payment that nobody wants, and says what had been taken before that; `None`
    /// where no provider can be asked.
    pub(crate) async fn cancel(&self, asked: AskedFor<'_>) -> Result<Option<Settlement>, Trouble> {
        match self {
            Self::Sandbox => Ok(None),
            Self::Stripe(stripe) => stripe.cancel(asked).await.map(Some),
        }
    }

    /// The least that the provider takes in one payment in this currency: what is less it declines.
    pub(crate) fn least(&self, currency: Currency) -> Price {
        match self {
            Self::Sandbox => Price::zero(currency),
            Self::Stripe(_) => stripe::least(currency),
        }
    }

    /// Whether nobody has to be asked for a payment.
    pub(crate) fn pays_at_once(&self) -> bool {
        matches!(self, Self::Sandbox)
    }

    /// The same where nobody has to be asked for it, so that it may be learnt before the payment is written down; `None` where
    /// that is not so.
    pub(crate) fn pay_at_once(&self, to_pay: &ToPay<'_>) -> Option<Settlement> {
        if let Some(paid) = invoice::pay(to_pay) {
            return Some(paid);
        }
        match self {
            Self::Sandbox => Some(sandbox::pay(to_pay)),
            Self::Stripe(_) => None,
        }
    }

    /// Gives a payment back, or a part of it; once for each `key`.
    pub(crate) async fn give_back(&self, reference: &str, amount: Price, key: &str) -> Result<(), Trouble> {
        if invoice::gives_back(reference, amount, key) {
            return Ok(());
        }
        match self {
            Self::Sandbox => {
                sandbox::give_back(reference, amount, key);
                Ok(())
            }
            Self::Stripe(stripe) => stripe.give_back(reference, amount, key).await,
        }
    }

    /// What the customer has to do about a payment in this state, as far as that is known without asking the provider.
    pub(crate) fn known_action(&self, payment: PaymentId, state: PaymentState) -> Option<Action> {
        match self {
            Self::Sandbox => sandbox::action(payment, state),
            Self::Stripe(_) => None,
        }
    }

    /// What the customer has to do about a payment in this state. Nothing of it is kept, as it takes secrets.
    pub(crate) async fn action(
        &self,
        payment: PaymentId,
        state: PaymentState,
        reference: Option<&str>,
    ) -> Result<Option<Action>, Trouble> {
        match (self, reference) {
            (Self::Stripe(stripe), Some(reference)) if state == PaymentState::RequiresAction => {
                stripe.action(reference).await
            }
            _ => Ok(self.known_action(payment, state)),
        }
    }

    /// Begins to save a payment method; the customer comes back to `return_url`.
    pub(crate) async fn begin_setup(
        &self,
        new: ToSave<'_>,
        return_url: &str,
        now: Timestamp,
    ) -> Result<Setup, Trouble> {
        match self {
            Self::Sandbox => Ok(sandbox::begin_setup(new.id, return_url, now)),
            Self::Stripe(stripe) => stripe.begin_setup(new, return_url).await,
        }
    }

    /// What people are shown of a payment method, by the provider's name for it; `None` where the provider has it no more.
    pub(crate) async fn card(&self, token: &str) -> Result<Option<Card>, Trouble> {
        match self {
            Self::Sandbox => Ok(None),
            Self::Stripe(stripe) => stripe.card(token).await,
        }
    }

    /// Whether the provider keeps payment methods that have to be removed there, too.
    pub(crate) fn keeps_methods(&self) -> bool {
        matches!(self, Self::Stripe(_))
    }

    /// Has the provider forget a payment method. Doing it again changes nothing.
    pub(crate) async fn forget(&self, token: &str) -> Result<(), Trouble> {
        match self {
            Self::Sandbox => Ok(()),
            Self::Stripe(stripe) => stripe.forget(token).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_secret_is_printed() {
        let action = Action { url: "https://hush.test".to_owned(), client_secret: "pi_1_secret_hush".to_owned() };
        let card = Card { brand: "visa".to_owned(), last4: "4242".to_owned(), exp_month: 1, exp_year: 2030 };
        let setup = Setup { action: action.clone(), done: Some(("pm_hush".to_owned(), card.clone())) };
        let (key, amount) = (bursar_testkit::id(1), "20.00 USD".parse().unwrap());
        let to_pay = ToPay { key, amount, token: "cus_1:pm_hush", attended: true, given_up: false };
        let saved = crate::domain::SavedMethod {
            id: bursar_testkit::id(2),
            owner: bursar_testkit::personal(1),
            token: "cus_1:pm_hush".to_owned(),
            card,
            is_default: true,
            serves_until: None,
            added_by: String::new(),
            created_at: bursar_testkit::at("2026-01-01T00:00:00Z"),
        };
        let removal = crate::usecase::removals::Removal { token: saved.token.clone() };
        for printed in [
            format!("{action:?}"),
            format!("{setup:?}"),
            format!("{to_pay:?}"),
            format!("{saved:?}"),
            format!("{removal:?}"),
        ] {
            assert!(!printed.contains("hush") && !printed.contains("cus_1"), "{printed}");
        }
    }
}
