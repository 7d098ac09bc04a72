//! Purchases: packs that somebody bought, or tried to.

use std::fmt;
use std::str::FromStr;

use bursar_id::{LotId, OwnerId, PurchaseId};
use bursar_money::{Credits, Price};
use bursar_time::Timestamp;

use super::catalog::{Pack, ProductId};
use super::refusal::Inconsistent;

/// Where a purchase is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PurchaseState {
    /// Paid, and its credits are granted.
    Paid,
    /// The payment was declined; nothing was granted.
    Declined,
}

impl PurchaseState {
    /// The stored name, which is the API's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Paid => "PAID",
            Self::Declined => "DECLINED",
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
        [Self::Paid, Self::Declined]
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
    /// The provider's name for the payment: unique within the owner, so that it credits once.
    pub payment_reference: String,
    /// The lot with its credits; exactly the paid ones have one.
    pub lot: Option<LotId>,
    /// Who bought it: `usr_…` or `svc_…`.
    pub buyer: String,
    /// When.
    pub created_at: Timestamp,
}

/// A new purchase's facts beside the pack's.
#[derive(Debug, Clone)]
pub struct Sale {
    /// The purchase's id.
    pub id: PurchaseId,
    /// For whom it is bought.
    pub owner: OwnerId,
    /// How it is paid.
    pub payment_method: String,
    /// Who buys it.
    pub buyer: String,
    /// When.
    pub at: Timestamp,
}

impl Purchase {
    /// A pack that was paid for, with its credits in `lot`.
    pub fn paid(pack: &Pack, sale: Sale, reference: String, lot: LotId) -> Self {
        Self::new(pack, sale, PurchaseState::Paid, reference, Some(lot))
    }

    /// A pack whose payment was declined.
    pub fn declined(pack: &Pack, sale: Sale, reference: String) -> Self {
        Self::new(pack, sale, PurchaseState::Declined, reference, None)
    }

    fn new(pack: &Pack, sale: Sale, state: PurchaseState, reference: String, lot: Option<LotId>) -> Self {
        Self {
            id: sale.id,
            owner: sale.owner,
            pack: pack.id.clone(),
            state,
            price: pack.price,
            credits: pack.credits,
            payment_method: sale.payment_method,
            payment_reference: reference,
            lot,
            buyer: sale.buyer,
            created_at: sale.at,
        }
    }
}
