//! What a command that was carried out answers.
//!
//! Every answer is rebuilt from its ledger entry, whether the entry is new or was booked by the
//! first attempt of a repeated request. That is why a replay equals the first answer: there is no
//! other way to make one.

use std::sync::Arc;

use bursar_money::Credits;

use super::charge::{Charge, Refund};
use super::entry::{Entry, Event};
use super::hold::{Hold, HoldState, HoldTerms};
use super::lot::Lot;
use super::refusal::Inconsistent;

/// The answer to `Charge` and to `Capture`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charged {
    /// The charge as it was made; nothing of it is refunded yet.
    pub charge: Charge,
    /// What could be spent right after it.
    pub balance_after: Credits,
    /// Whether this repeats the answer of an earlier attempt.
    pub replayed: bool,
}

/// The answer to `Hold`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The hold as it was placed, open.
    pub hold: Hold,
    /// What could be spent right after it.
    pub balance_after: Credits,
    /// Whether this repeats the answer of an earlier attempt.
    pub replayed: bool,
}

/// The answer to `Release`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// The hold, released or lapsed.
    pub hold: Hold,
    /// What could be spent right after it.
    pub balance_after: Credits,
    /// Whether an earlier attempt, another release or the deadline had given it back before.
    pub replayed: bool,
}

/// The answer to `Refund`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refunded {
    /// The refund.
    pub refund: Refund,
    /// What could be spent right after it.
    pub balance_after: Credits,
    /// Whether this repeats the answer of an earlier attempt.
    pub replayed: bool,
}

/// The answer to a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The lot as it was granted, nothing spent.
    pub lot: Lot,
    /// What could be spent right after it.
    pub balance_after: Credits,
    /// Whether this repeats the answer of an earlier attempt.
    pub replayed: bool,
}

/// The answer to a void.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voided {
    /// The lot's id. What is left of the lot now is in the account state.
    pub lot: bursar_id::LotId,
    /// How many credits were voided; what holds reserve of the lot is not among them.
    pub amount: Credits,
    /// What could be spent right after it.
    pub balance_after: Credits,
    /// Whether this repeats the answer of an earlier attempt.
    pub replayed: bool,
}

/// The answer to an erasure's note.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Erased {
    /// The number of the entry that excuses what is missing before it.
    pub entry: u64,
    /// Whose details; `None` for those that belong to no member.
    pub member: Option<bursar_id::UserId>,
    /// Whether this repeats the answer of an earlier attempt.
    pub replayed: bool,
}

/// The answer to taking credits back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TakenAway {
    /// How many were voided.
    pub voided: Credits,
    /// How many are owed.
    pub owed: Credits,
}

/// The answer to giving credits back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// How many are owed no more.
    pub forgiven: Credits,
    /// How many came back to their lot.
    pub returned: Credits,
    /// How many had been owed and were paid from a pack: they have to be granted anew.
    pub paid_before: Credits,
}

/// What a command that was carried out answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// To `Charge` and `Capture`.
    Charged(Charged),
    /// To `Hold`.
    Held(Held),
    /// To `Release`.
    Released(Released),
    /// To `Refund`.
    Refunded(Refunded),
    /// To `Grant`.
    Granted(Granted),
    /// To `Void`.
    Voided(Voided),
    /// To `Erase`.
    Erased(Erased),
    /// To `TakeBack`.
    TakenAway(TakenAway),
    /// To `Restore`.
    Restored(Restored),
    /// To `Sweep`: how many entries the account's due expiries and lapses took.
    Swept {
        /// Number of entries booked.
        booked: usize,
    },
}

impl Outcome {
    /// The answer of the request that booked `entry`. A capture's and a release's hold must be given: their entries
    /// copy nothing of it.
    ///
    /// # Errors
    /// The entry was booked by no request that has a name (an expiry, a lapse, a debt), or its hold is missing.
    pub(super) fn from_entry(entry: &Entry, hold: Option<&Hold>, replayed: bool) -> Result<Self, Inconsistent> {
        let balance_after = entry.spendable_after;
        let outcome = match &entry.event {
            Event::Charge(_) | Event::Capture(_) => {
                Charge::from_entry(entry, hold).map(|charge| Self::Charged(Charged { charge, balance_after, replayed }))
            }
            Event::Hold(_) => Hold::placed(entry).map(|hold| Self::Held(Held { hold, balance_after, replayed })),
            Event::Release { hold: id } => hold
                .filter(|hold| hold.id == *id)
                .map(|hold| Self::Released(Released { hold: hold.clone(), balance_after, replayed })),
            Event::Refund(_) => {
                Refund::from_entry(entry).map(|refund| Self::Refunded(Refunded { refund, balance_after, replayed }))
            }
            Event::Grant { .. } => {
                Lot::from_grant(entry).map(|lot| Self::Granted(Granted { lot, balance_after, replayed }))
            }
            Event::Void { lot } => {
                Some(Self::Voided(Voided { lot: *lot, amount: entry.amount, balance_after, replayed }))
            }
            Event::Erase { member } => Some(Self::Erased(Erased { entry: entry.seq, member: *member, replayed })),
            Event::HoldLapsed { .. }
            | Event::Expire { .. }
            | Event::Debt(_)
            | Event::DebtPaid { .. }
            | Event::DebtReversed(_) => None,
        };
        outcome.ok_or(Inconsistent("a ledger entry lacks what its kind must have"))
    }
}

impl Hold {
    /// The hold that a HOLD entry placed, as it was then; `None` for other entries.
    pub fn placed(entry: &Entry) -> Option<Self> {
        let Event::Hold(event) = &entry.event else {
            return None;
        };
        Some(Self {
            id: event.hold,
            number: entry.seq,
            terms: Arc::new(HoldTerms {
                amount: entry.amount,
                earmarks: entry.allocations(|posting| posting.held),
                attribution: event.attribution.clone(),
                placed_by: entry.actor,
                created_at: entry.at,
                period: event.period,
            }),
            labels: entry.details.as_ref().map(|details| details.labels.clone()).unwrap_or_default(),
            state: HoldState::Open,
            deadline: event.deadline,
            settled_at: None,
            captured: Credits::ZERO,
            charge: None,
        })
    }
}

impl Lot {
    /// The lot that a `GRANT` entry added, as it was then; `None` for other entries.
    pub fn from_grant(entry: &Entry) -> Option<Self> {
        let Event::Grant { lot, terms } = &entry.event else {
            return None;
        };
        Some(Self {
            id: *lot,
            number: entry.seq,
            terms: Arc::clone(terms),
            voided_at: None,
            granted: entry.amount,
            remaining: entry.amount,
            held: Credits::ZERO,
            spent: Credits::ZERO,
            expired: Credits::ZERO,
            voided: Credits::ZERO,
            note: entry.details.as_ref().and_then(|details| details.note.clone()),
        })
    }
}
