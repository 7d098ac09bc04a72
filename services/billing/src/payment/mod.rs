//! Taking money: what billing asks of a payment provider, and the providers there are.
//!
//! A payment's id is its **key**: asked again under the same key, a provider answers with the same
//! payment and takes nothing. So whoever lost an answer asks again, and a reference that a provider
//! gave is good for crediting once.
//!
//! A provider answers at once ([`Settlement`]) and tells later what became of it; both are the same news to a payment
//! ([`Settlement::news`]). No rule about plans or packs belongs here, and no provider's name anywhere else.

mod invoice;
mod sandbox;

use std::fmt;

use bursar_id::{PaymentId, PaymentMethodId};
use bursar_money::Price;
use bursar_rpc::IdempotencyKey;
use bursar_time::Timestamp;
use sha2::{Digest, Sha256};

pub(crate) use self::invoice::INVOICE;
use crate::domain::{Card, News, PaymentState};

/// The payment provider of this deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payments {
    /// Settles at once and moves no money.
    Sandbox,
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
}

/// What a provider says of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settlement {
    /// The provider's name for the payment, the same for every repetition; `None` where it has none or did not say.
    pub(crate) reference: Option<String>,
    /// What it says.
    pub(crate) news: News,
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
    pub(crate) fn method(self, text: &str) -> Result<PaymentMethod, PaymentMethodError> {
        if text.len() > PaymentMethod::MAX_BYTES {
            return Err(PaymentMethodError::TooLong);
        }
        match PaymentMethod::from_stored(text) {
            PaymentMethod::Named(name) => self.token(&name).map(PaymentMethod::Named),
            other => Ok(other),
        }
    }

    /// The same of a contract, which may be paid by invoice.
    pub(crate) fn method_of_contract(self, text: &str) -> Result<PaymentMethod, PaymentMethodError> {
        if text == INVOICE { Ok(PaymentMethod::Named(text.to_owned())) } else { self.method(text) }
    }

    /// Reads the provider's own name for a way to pay.
    pub(crate) fn token(self, text: &str) -> Result<String, PaymentMethodError> {
        match self {
            Self::Sandbox => sandbox::token(text),
        }
    }

    /// Takes a payment, or learns what became of it when it was asked for before.
    #[expect(clippy::unused_async, reason = "the sandbox is no journey away; other providers are")]
    pub(crate) async fn pay(self, to_pay: &ToPay<'_>) -> Settlement {
        if let Some(paid) = invoice::pay(to_pay) {
            return paid;
        }
        match self {
            Self::Sandbox => sandbox::pay(to_pay),
        }
    }

    /// The same where nobody has to be asked for it, so that it may be learnt before the payment is written down; `None` where
    /// that is not so.
    #[expect(clippy::unnecessary_wraps, reason = "the sandbox is never asked over a network; other providers are")]
    pub(crate) fn pay_at_once(self, to_pay: &ToPay<'_>) -> Option<Settlement> {
        if let Some(paid) = invoice::pay(to_pay) {
            return Some(paid);
        }
        match self {
            Self::Sandbox => Some(sandbox::pay(to_pay)),
        }
    }

    /// Gives a payment back, or a part of it; once for each `key`.
    #[expect(clippy::unused_async, reason = "the sandbox is no journey away; other providers are")]
    pub(crate) async fn give_back(self, reference: &str, amount: Price, key: &str) {
        if invoice::gives_back(reference, amount, key) {
            return;
        }
        match self {
            Self::Sandbox => sandbox::give_back(reference, amount, key),
        }
    }

    /// What the customer has to do about a payment in this state.
    pub(crate) fn action(self, payment: PaymentId, state: PaymentState) -> Option<Action> {
        match self {
            Self::Sandbox => sandbox::action(payment, state),
        }
    }

    /// Begins to save a payment method; the customer comes back to `return_url`.
    #[expect(clippy::unused_async, reason = "the sandbox is no journey away; other providers are")]
    pub(crate) async fn begin_setup(self, id: PaymentMethodId, return_url: &str, now: Timestamp) -> Setup {
        match self {
            Self::Sandbox => sandbox::begin_setup(id, return_url, now),
        }
    }
}
