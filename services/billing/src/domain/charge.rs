//! Charges and refunds: credits spent, and credits given back.

use std::sync::Arc;

use bursar_id::{ChargeId, HoldId, RefundId};
use bursar_money::Credits;
use bursar_time::Timestamp;

use super::attribution::Attribution;
use super::entry::{Entry, EntryKind, OperationId, Subject};
use super::lot::Allocation;

/// Credits that were spent, by a charge or by the capture of a hold.
///
/// A charge is not stored beside the ledger: it *is* its ledger entry, plus the sum of the refunds
/// that name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    /// The charge's id.
    pub id: ChargeId,
    /// How much was spent.
    pub amount: Credits,
    /// How much of it has been refunded since.
    pub refunded: Credits,
    /// Which lots paid, in the order they were taken from. A lot may appear twice when a capture
    /// took more than was held. They add up to `amount`.
    pub allocations: Vec<Allocation>,
    /// For whom and for what.
    pub attribution: Arc<Attribution>,
    /// When the work was done, if the caller said so.
    pub occurred_at: Option<Timestamp>,
    /// When it was booked.
    pub created_at: Timestamp,
    /// The hold it settled, if it was a capture.
    pub hold: Option<HoldId>,
    /// The number of its ledger entry.
    pub entry: u64,
}

impl Charge {
    /// The charge that a ledger entry booked, with `refunded` of it given back since; `None` when
    /// the entry is neither a charge nor a capture.
    pub fn from_entry(entry: &Entry, refunded: Credits) -> Option<Self> {
        if !matches!(entry.kind, EntryKind::Charge | EntryKind::Capture) {
            return None;
        }
        let Some(OperationId::Charge(id)) = entry.id else {
            return None;
        };
        let hold = match entry.subject {
            Some(Subject::Hold(hold)) => Some(hold),
            _ => None,
        };
        Some(Self {
            id,
            amount: entry.amount,
            refunded,
            allocations: entry.allocations(|posting| posting.spent),
            attribution: Arc::clone(entry.attribution.as_ref()?),
            occurred_at: entry.occurred_at,
            created_at: entry.at,
            hold,
            entry: entry.seq,
        })
    }

    /// What can still be refunded.
    pub fn refundable(&self) -> Credits {
        self.amount.checked_sub(self.refunded).unwrap_or(Credits::ZERO)
    }
}

/// Credits of a charge that were given back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// The refund's id.
    pub id: RefundId,
    /// The charge it gives back.
    pub charge: ChargeId,
    /// How much came back.
    pub amount: Credits,
    /// The part of `amount` whose lots had expired or been voided, and which is gone again.
    pub lost: Credits,
    /// Which lots got it, in order: the lot that was spent last comes first.
    pub allocations: Vec<Allocation>,
    /// When it was booked.
    pub created_at: Timestamp,
}

impl Refund {
    /// The refund that a ledger entry booked; `None` when the entry is no refund.
    pub fn from_entry(entry: &Entry) -> Option<Self> {
        let (Some(OperationId::Refund(id)), Some(Subject::Charge(charge))) = (entry.id, entry.subject) else {
            return None;
        };
        let lost: i64 = entry.postings.iter().map(|posting| posting.expired + posting.voided).sum();
        Some(Self {
            id,
            charge,
            amount: entry.amount,
            lost: Credits::from_micro(lost).ok()?,
            allocations: entry.allocations(|posting| -posting.spent),
            created_at: entry.at,
        })
    }
}
