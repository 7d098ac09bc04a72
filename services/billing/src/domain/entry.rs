//! The ledger: what happened to an account, numbered without gaps and chained by hash.
//!
//! An entry is the whole truth about one operation: balances, lots and holds are what the entries
//! add up to, and the answer to a repeated request is rebuilt from its entry. So an entry is never
//! changed. What refers to something earlier (a capture to its hold, a refund to its charge) names it
//! and copies nothing of it.

use std::fmt;
use std::sync::Arc;

use bursar_id::{ApiKeyId, ChargeId, HoldId, LotId, OwnerId, PaymentId, RefundId, UserId};
use bursar_money::Credits;
use bursar_time::Timestamp;
use sha2::{Digest, Sha256};

use super::actor::Actor;
use super::attribution::Attribution;
use super::charge::Metered;
use super::command::RequestKey;
use super::details::Details;
use super::lot::{Allocation, LotTerms};

/// What kind of operation an entry records. The numbers are stored and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum EntryKind {
    /// A new lot.
    Grant = 1,
    /// Credits spent.
    Charge = 2,
    /// Credits reserved.
    Hold = 3,
    /// A hold settled.
    Capture = 4,
    /// A hold given back.
    Release = 5,
    /// A hold past its deadline.
    HoldLapsed = 6,
    /// A charge given back.
    Refund = 7,
    /// What was left of a lot when it expired.
    Expire = 8,
    /// What was left of a lot when an operator voided it.
    Void = 9,
    /// Details erased.
    Erase = 10,
    /// Credits taken back because their payment was: what is left of their lot is voided, what was spent is owed.
    Debt = 11,
    /// What was owed, paid from a pack.
    DebtPaid = 12,
    /// Credits given back because their payment is good after all.
    DebtReversed = 13,
}

impl EntryKind {
    /// Every kind, in the order of the API's enum.
    pub const ALL: [Self; 13] = [
        Self::Grant,
        Self::Charge,
        Self::Hold,
        Self::Capture,
        Self::Release,
        Self::HoldLapsed,
        Self::Refund,
        Self::Expire,
        Self::Void,
        Self::Erase,
        Self::Debt,
        Self::DebtPaid,
        Self::DebtReversed,
    ];

    /// The format of the body that an entry of this kind has: the first in which there are such entries, so that older
    /// programs know that they cannot read it.
    pub(super) fn format(self) -> u8 {
        match self {
            Self::Debt | Self::DebtPaid | Self::DebtReversed => 2,
            _ => 1,
        }
    }

    /// The API's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Grant => "GRANT",
            Self::Charge => "CHARGE",
            Self::Hold => "HOLD",
            Self::Capture => "CAPTURE",
            Self::Release => "RELEASE",
            Self::HoldLapsed => "HOLD_LAPSED",
            Self::Refund => "REFUND",
            Self::Expire => "EXPIRE",
            Self::Void => "VOID",
            Self::Erase => "ERASE",
            Self::Debt => "DEBT",
            Self::DebtPaid => "DEBT_PAID",
            Self::DebtReversed => "DEBT_REVERSED",
        }
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What an entry made, or what it acts upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OperationId {
    /// A charge, or a capture's charge.
    Charge(ChargeId),
    /// A hold.
    Hold(HoldId),
    /// A refund.
    Refund(RefundId),
    /// A granted lot.
    Lot(LotId),
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Charge(id) => id.fmt(f),
            Self::Hold(id) => id.fmt(f),
            Self::Refund(id) => id.fmt(f),
            Self::Lot(id) => id.fmt(f),
        }
    }
}

/// Credits spent at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChargeEvent {
    /// The charge that it made.
    pub charge: ChargeId,
    /// For whom and for what.
    pub attribution: Attribution,
    /// How the amount came about, if by meters.
    pub metered: Option<Metered>,
    /// When the work was done, if the caller said so.
    pub occurred_at: Option<Timestamp>,
    /// The API key it was made with.
    pub key: Option<ApiKeyId>,
    /// When the period began in which it counts.
    pub period: Timestamp,
}

/// Credits reserved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldEvent {
    /// The hold that it placed.
    pub hold: HoldId,
    /// For whom and for what.
    pub attribution: Attribution,
    /// When it lapses.
    pub deadline: Timestamp,
    /// The API key it was placed with.
    pub key: Option<ApiKeyId>,
    /// When the period began in which it counts.
    pub period: Timestamp,
}

/// A hold settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaptureEvent {
    /// The charge that it made.
    pub charge: ChargeId,
    /// The hold that it settled.
    pub hold: HoldId,
    /// How the amount came about, if by meters.
    pub metered: Option<Metered>,
}

/// A charge given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefundEvent {
    /// The refund that it made.
    pub refund: RefundId,
    /// The charge that it gives back.
    pub charge: ChargeId,
    /// How much of the charge has been given back with it: only a charge's last refund need be read.
    pub refunded_after: Credits,
}

/// Credits taken back, or given back, because of what became of their payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DebtEvent {
    /// The payment's lot.
    pub lot: LotId,
    /// The payment.
    pub payment: PaymentId,
    /// How many of the credits are owed from now on; of credits that are given back: how many are owed no more.
    pub owed: Credits,
    /// What the account owes after it.
    pub debt_after: Credits,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Credits came.
    Grant {
        /// The lot.
        lot: LotId,
        /// What was agreed about it.
        terms: Arc<LotTerms>,
    },
    /// Credits were spent.
    Charge(ChargeEvent),
    /// Credits were reserved.
    Hold(HoldEvent),
    /// A hold was settled.
    Capture(CaptureEvent),
    /// A hold was given back.
    Release {
        /// The hold.
        hold: HoldId,
    },
    /// A hold gave itself back at its deadline.
    HoldLapsed {
        /// The hold.
        hold: HoldId,
    },
    /// A charge was given back.
    Refund(RefundEvent),
    /// A lot expired.
    Expire {
        /// The lot.
        lot: LotId,
    },
    /// A lot was voided.
    Void {
        /// The lot.
        lot: LotId,
    },
    /// The details of earlier entries were erased.
    Erase {
        /// Whose; `None` for notes and whatever else belongs to no member.
        member: Option<UserId>,
    },
    /// A payment was taken back.
    Debt(DebtEvent),
    /// A pack paid what was owed.
    DebtPaid {
        /// The pack's lot.
        lot: LotId,
        /// What the account owes after it.
        debt_after: Credits,
    },
    /// A payment that had been taken back is good.
    DebtReversed(DebtEvent),
}

impl Event {
    /// Its kind.
    pub fn kind(&self) -> EntryKind {
        match self {
            Self::Grant { .. } => EntryKind::Grant,
            Self::Charge(_) => EntryKind::Charge,
            Self::Hold(_) => EntryKind::Hold,
            Self::Capture(_) => EntryKind::Capture,
            Self::Release { .. } => EntryKind::Release,
            Self::HoldLapsed { .. } => EntryKind::HoldLapsed,
            Self::Refund(_) => EntryKind::Refund,
            Self::Expire { .. } => EntryKind::Expire,
            Self::Void { .. } => EntryKind::Void,
            Self::Erase { .. } => EntryKind::Erase,
            Self::Debt(_) => EntryKind::Debt,
            Self::DebtPaid { .. } => EntryKind::DebtPaid,
            Self::DebtReversed(_) => EntryKind::DebtReversed,
        }
    }

    /// What it made.
    pub fn made(&self) -> Option<OperationId> {
        match self {
            Self::Grant { lot, .. } => Some(OperationId::Lot(*lot)),
            Self::Charge(ChargeEvent { charge, .. }) | Self::Capture(CaptureEvent { charge, .. }) => {
                Some(OperationId::Charge(*charge))
            }
            Self::Hold(hold) => Some(OperationId::Hold(hold.hold)),
            Self::Refund(refund) => Some(OperationId::Refund(refund.refund)),
            Self::Release { .. }
            | Self::HoldLapsed { .. }
            | Self::Expire { .. }
            | Self::Void { .. }
            | Self::Erase { .. }
            | Self::Debt(_)
            | Self::DebtPaid { .. }
            | Self::DebtReversed(_) => None,
        }
    }

    /// What it acts upon: something that an earlier entry made.
    pub fn subject(&self) -> Option<OperationId> {
        match self {
            Self::Capture(CaptureEvent { hold, .. }) | Self::Release { hold } | Self::HoldLapsed { hold } => {
                Some(OperationId::Hold(*hold))
            }
            Self::Refund(refund) => Some(OperationId::Charge(refund.charge)),
            Self::Expire { lot }
            | Self::Void { lot }
            | Self::DebtPaid { lot, .. }
            | Self::Debt(DebtEvent { lot, .. })
            | Self::DebtReversed(DebtEvent { lot, .. }) => Some(OperationId::Lot(*lot)),
            Self::Grant { .. } | Self::Charge(_) | Self::Hold(_) | Self::Erase { .. } => None,
        }
    }

    /// For whom and for what, where the event says so itself.
    pub fn attribution(&self) -> Option<&Attribution> {
        match self {
            Self::Charge(charge) => Some(&charge.attribution),
            Self::Hold(hold) => Some(&hold.attribution),
            _ => None,
        }
    }
}

/// How one operation moved the credits of one lot: changes in micro-credits.
///
/// They add up to zero, except in a grant, whose one posting adds what it grants to `remaining`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posting {
    /// The lot.
    pub lot: LotId,
    /// Change of what is neither spent, nor reserved, nor gone.
    pub remaining: i64,
    /// Change of what open holds reserve.
    pub held: i64,
    /// Change of what is charged.
    pub spent: i64,
    /// Change of what expired unused.
    pub expired: i64,
    /// Change of what was voided.
    pub voided: i64,
}

impl Posting {
    /// A posting that moves nothing yet.
    pub(super) fn on(lot: LotId) -> Self {
        Self { lot, remaining: 0, held: 0, spent: 0, expired: 0, voided: 0 }
    }

    /// By how much the lot's parts change together: what a grant adds, zero otherwise.
    /// Wide enough that no stored numbers can overflow it.
    pub fn net(&self) -> i128 {
        [self.remaining, self.held, self.spent, self.expired, self.voided].into_iter().map(i128::from).sum()
    }

    /// The posting that undoes this one.
    pub(super) fn reversed(&self) -> Self {
        Self {
            lot: self.lot,
            remaining: -self.remaining,
            held: -self.held,
            spent: -self.spent,
            expired: -self.expired,
            voided: -self.voided,
        }
    }
}

/// One line of an account's ledger.
///
/// It is made with its stored form ([`Entry::body`]) and never changes afterwards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// 1 for the account's first entry, one more for each that follows.
    pub seq: u64,
    /// When it took effect. Never earlier than the entry before it. An expiry and a lapse take
    /// effect when they were due, even if they were booked later.
    pub at: Timestamp,
    /// The figure of the operation: granted, charged, held, given back, gone.
    pub amount: Credits,
    /// What remains in all lots after it, whether effective yet or not.
    pub available_after: Credits,
    /// What can be spent at `at` after it: what is called available everywhere else.
    pub spendable_after: Credits,
    /// What open holds reserve after it.
    pub held_after: Credits,
    /// Who did it.
    pub actor: Actor,
    /// What happened.
    pub event: Event,
    /// The digest of the actor and its name for the request; `None` for what has no name.
    pub request_key: Option<RequestKey>,
    /// How the lots changed, in the order in which the engine touched them.
    pub postings: Vec<Posting>,
    /// The digest of its details ([`Details::digest`]); `None` if it has none.
    pub details_digest: Option<[u8; 32]>,
    /// The details; `None` if it has none, if they were erased or not loaded. Not part of the entry.
    pub details: Option<Arc<Details>>,
    /// The stored form of everything above but `seq`, `at` and `request_key`, which stand beside it.
    pub body: Vec<u8>,
    /// See [`Entry::digest`].
    pub hash: [u8; 32],
}

impl Entry {
    /// The hash that this entry must carry when `previous` is the hash of the entry before it: SHA-256 over that
    /// hash, the owner and everything that is stored of the entry. The owner is hashed in, so an entry cannot be
    /// moved to another account.
    pub fn digest(&self, owner: OwnerId, previous: &[u8; 32]) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(previous);
        hash.update(owner.to_bytes());
        hash.update(self.seq.to_be_bytes());
        hash.update(self.at.as_micros().to_be_bytes());
        // A key has sixteen bytes or none, and what follows begins with the format: no two entries meet.
        match &self.request_key {
            Some(key) => {
                hash.update([1]);
                hash.update(key.as_bytes());
            }
            None => hash.update([0]),
        }
        hash.update(&self.body);
        hash.finalize().into()
    }

    /// The charge that it gives back, by which a charge's last refund is found.
    pub fn refunds(&self) -> Option<ChargeId> {
        match &self.event {
            Event::Refund(refund) => Some(refund.charge),
            _ => None,
        }
    }

    /// Its kind.
    pub fn kind(&self) -> EntryKind {
        self.event.kind()
    }

    /// The lots for which `part` is above zero, with that amount, in the order of the postings.
    pub(super) fn allocations(&self, part: impl Fn(&Posting) -> i64) -> Vec<Allocation> {
        self.postings
            .iter()
            .filter_map(|posting| {
                let amount = Credits::from_micro(part(posting)).ok()?;
                (amount > Credits::ZERO).then_some(Allocation { lot: posting.lot, amount })
            })
            .collect()
    }
}
