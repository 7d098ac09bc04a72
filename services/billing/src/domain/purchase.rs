//! Purchases: packs that somebody bought, or tried to.

use std::fmt;
use std::str::FromStr;

use bursar_id::{InvoiceId, LotId, OwnerId, PaymentId, PurchaseId};
use bursar_money::{Credits, Price};
use bursar_time::Timestamp;

use super::catalog::ProductId;
use super::payment::{Bought, Dispute, Payment};
use super::refusal::Inconsistent;

/// Where a purchase is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurchaseState {
    /// Paid, and its credits are granted.
    Paid,
    /// The payment was declined; nothing was granted.
    Declined,
    /// It waits for its payment.
    Pending,
    /// Nothing was granted, and whatever is paid for it goes back.
    Canceled,
}

impl PurchaseState {
    /// The stored name, which is the API's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paid => "PAID",
            Self::Declined => "DECLINED",
            Self::Pending => "PENDING",
            Self::Canceled => "CANCELED",
        }
    }
}

impl fmt::Display for PurchaseState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PurchaseState {
    type Err = Inconsistent;

    fn from_str(text: &str) -> Result<Self, Inconsistent> {
        [Self::Paid, Self::Declined, Self::Pending, Self::Canceled]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(Inconsistent("a purchase has an unknown state"))
    }
}

/// A pack with the terms it was bought on: a catalog edit never touches them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purchase {
    /// Its id.
    pub id: PurchaseId,
    /// For whom it was bought.
    pub owner: OwnerId,
    /// The pack.
    pub pack: ProductId,
    /// Where it is in its life.
    pub state: PurchaseState,
    /// What it cost.
    pub price: Price,
    /// The credits it is.
    pub credits: Credits,
    /// How it was paid, as the payment provider knows it.
    pub payment_method: String,
    /// The payment, by its id; of old purchases the provider's name for it. Unique within the owner.
    pub payment_reference: String,
    /// The payment; old purchases have none of their own.
    pub payment: Option<PaymentId>,
    /// The lot with its credits; exactly the paid ones have one.
    pub lot: Option<LotId>,
    /// Who bought it: `usr_…` or `svc_…`.
    pub buyer: String,
    /// When.
    pub created_at: Timestamp,
}

impl Purchase {
    /// The purchase of a pack that a payment has begun; `None` where it is for something else.
    pub fn of(payment: &Payment) -> Option<Self> {
        let Bought::Pack { purchase, pack, credits, .. } = &payment.bought else { return None };
        Some(Self {
            id: *purchase,
            owner: payment.owner,
            pack: pack.clone(),
            state: PurchaseState::Pending,
            price: payment.net(),
            credits: *credits,
            payment_method: payment.method.clone(),
            payment_reference: payment.id.to_string(),
            payment: Some(payment.id),
            lot: None,
            buyer: payment.started_by.clone(),
            created_at: payment.created_at,
        })
    }
}

/// A purchase with what its payment says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The purchase.
    pub purchase: Purchase,
    /// Its invoice; `None` before there is one.
    pub invoice: Option<InvoiceId>,
    /// How much of the money went back; `None` where the purchase has no payment of its own.
    pub refunded: Option<Price>,
    /// Whether the payment is disputed.
    pub dispute: Dispute,
}

impl Receipt {
    /// A purchase beside its payment as it is.
    pub fn of(purchase: Purchase, payment: &Payment) -> Self {
        Self { purchase, invoice: payment.invoice, refunded: Some(payment.refunded), dispute: payment.dispute }
    }
}
