//! Taking money: what billing asks of a payment provider, and the providers there are.
//!
//! A payment has a **key**: asked again under the same key, a provider answers with the same
//! payment and takes nothing. So whoever lost an answer asks again, and a reference that a provider
//! gave is good for crediting once.
//!
//! No rule about plans or packs belongs here, and no provider's name anywhere else.

mod sandbox;

use std::fmt;

use bursar_money::Price;
use bursar_rpc::IdempotencyKey;
use sha2::{Digest, Sha256};

/// The payment provider of this deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Payments {
    /// Settles at once and moves no money.
    Sandbox,
}

/// A way to pay that the provider knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PaymentMethod(String);

/// A way to pay that the provider does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum PaymentMethodError {
    /// Beyond [`PaymentMethod::MAX_BYTES`].
    #[error("must be at most 128 bytes")]
    TooLong,
    /// The sandbox has only two.
    #[error("must be sandbox_ok or sandbox_declined")]
    NotOfSandbox,
}

impl PaymentMethod {
    /// The longest name of a payment method.
    const MAX_BYTES: usize = 128;

    /// The name as it was accepted and stored.
    pub(crate) fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The name.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// By what a repeated payment is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PaymentKey([u8; 16]);

impl PaymentKey {
    /// The key of a thing that is paid once, such as one period of a subscription or one attempt at a purchase.
    pub(crate) fn of(thing: &str) -> Self {
        Self::digest(&[thing.as_bytes()])
    }

    /// The key of a caller's request if it has an id (a retry then pays nothing), else of `attempt`, which is unique.
    pub(crate) fn of_request(request: Option<&IdempotencyKey>, attempt: &str) -> Self {
        match request.and_then(|request| Some((request, request.id()?))) {
            Some((request, id)) => {
                Self::digest(&[request.scope().as_bytes(), id.as_str().as_bytes(), request.body_hash()])
            }
            None => Self::of(attempt),
        }
    }

    fn digest(parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut key = [0; 16];
        for (to, from) in key.iter_mut().zip(hash.finalize()) {
            *to = from;
        }
        Self(key)
    }
}

impl fmt::Display for PaymentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// What is to be paid.
#[derive(Debug, Clone)]
pub(crate) struct Payment<'a> {
    /// By what a repetition is recognised.
    pub(crate) key: PaymentKey,
    /// How much.
    pub(crate) amount: Price,
    /// With what.
    pub(crate) method: &'a PaymentMethod,
}

/// What became of a payment; `reference` is the provider's name for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Settlement {
    /// The money is there.
    Paid {
        /// The same for every repetition of the payment.
        reference: String,
    },
    /// The provider refused.
    Declined {
        /// Its name for the attempt.
        reference: String,
    },
}

impl Payments {
    /// Reads a payment method's name.
    pub(crate) fn method(self, text: &str) -> Result<PaymentMethod, PaymentMethodError> {
        if text.len() > PaymentMethod::MAX_BYTES {
            return Err(PaymentMethodError::TooLong);
        }
        match self {
            Self::Sandbox => sandbox::method(text),
        }
    }

    /// Takes a payment, or learns what became of it when it was asked for before.
    pub(crate) fn pay(self, payment: &Payment<'_>) -> Settlement {
        match self {
            Self::Sandbox => sandbox::pay(payment),
        }
    }

    /// Gives a payment back for which nothing could be sold after all.
    pub(crate) fn give_back(self, reference: &str) {
        match self {
            Self::Sandbox => sandbox::give_back(reference),
        }
    }
}
