//! Charges and refunds: credits spent, and credits given back.

use bursar_id::{ApiKeyId, ChargeId, HoldId, RefundId};
use bursar_money::Credits;
use bursar_time::Timestamp;

use super::actor::Actor;
use super::attribution::{Attribution, Labels};
use super::catalog::CatalogVersion;
use super::entry::{Entry, Event};
use super::hold::Hold;
use super::limit::Moment;
use super::lot::Allocation;
use super::rates::Component;

/// What the rate card made of metered work: the parts of an amount, and whose prices they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metered {
    /// One for each meter used; they add up to the amount.
    pub components: Vec<Component>,
    /// The catalog whose rates were in force.
    pub catalog_version: CatalogVersion,
}

/// Credits that were spent, by a charge or by the capture of a hold.
///
/// A charge is not stored beside the ledger: it *is* its ledger entry (a capture's with its hold), plus the sum of
/// the refunds that name it.
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
    pub attribution: Attribution,
    /// The caller's own labels; none once they were erased.
    pub labels: Labels,
    /// How the amount came about, if by meters.
    pub metered: Option<Metered>,
    /// Who made it.
    pub actor: Actor,
    /// When the work was done, if the caller said so.
    pub occurred_at: Option<Timestamp>,
    /// When it was booked.
    pub created_at: Timestamp,
    /// The hold it settled, if it was a capture.
    pub hold: Option<HoldId>,
    /// The API key that it was made with, or its hold.
    pub key: Option<ApiKeyId>,
    /// When it counts in limits: when it was made, or its hold.
    pub counted: Moment,
    /// The number of its ledger entry.
    pub entry: u64,
}

impl Charge {
    /// The charge that a CHARGE entry booked, or a CAPTURE entry together with the `hold` it settled; nothing is
    /// refunded of it yet. `None` for other entries, and for a capture without its hold.
    pub fn from_entry(entry: &Entry, hold: Option<&Hold>) -> Option<Self> {
        let (id, attribution, labels, metered, occurred_at, settled) = match &entry.event {
            Event::Charge(it) => {
                let labels = entry.details.as_ref().map(|details| details.labels.clone()).unwrap_or_default();
                (it.charge, it.attribution.clone(), labels, it.metered.clone(), it.occurred_at, None)
            }
            Event::Capture(it) => {
                let hold = hold.filter(|hold| hold.id == it.hold)?;
                let attribution = hold.terms.attribution.clone();
                (it.charge, attribution, hold.labels.clone(), it.metered.clone(), None, Some(it.hold))
            }
            _ => return None,
        };
        let (key, counted) = match (&entry.event, hold) {
            (Event::Capture(_), Some(hold)) => (hold.terms.placed_by.key(), hold.terms.moment()),
            (Event::Charge(it), _) => (it.key, Moment { at: entry.at, period: it.period }),
            _ => return None,
        };
        Some(Self {
            id,
            amount: entry.amount,
            refunded: Credits::ZERO,
            allocations: entry.allocations(|posting| posting.spent),
            attribution,
            labels,
            metered,
            actor: entry.actor,
            occurred_at,
            created_at: entry.at,
            hold: settled,
            key,
            counted,
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
    /// How much of the charge has been given back with it and those before it.
    pub refunded_after: Credits,
    /// Who gave it back.
    pub actor: Actor,
    /// When it was booked.
    pub created_at: Timestamp,
    /// The number of its ledger entry.
    pub entry: u64,
}

impl Refund {
    /// The refund that a ledger entry booked; `None` when the entry is no refund.
    pub fn from_entry(entry: &Entry) -> Option<Self> {
        let Event::Refund(refund) = &entry.event else {
            return None;
        };
        let lost: i128 =
            entry.postings.iter().flat_map(|posting| [posting.expired, posting.voided]).map(i128::from).sum();
        Some(Self {
            id: refund.refund,
            charge: refund.charge,
            amount: entry.amount,
            lost: i64::try_from(lost).ok().and_then(|lost| Credits::from_micro(lost).ok())?,
            allocations: entry.allocations(|posting| posting.spent.saturating_neg()),
            refunded_after: refund.refunded_after,
            actor: entry.actor,
            created_at: entry.at,
            entry: entry.seq,
        })
    }
}
