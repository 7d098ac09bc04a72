//! What a command that was carried out answers.
//!
//! Every answer is rebuilt from its ledger entry, whether the entry is new or was booked by the
//! first attempt of a repeated request. That is why a replay equals the first answer: there is no
//! other way to make one.

use std::sync::Arc;

use bursar_money::Credits;

use super::charge::{Charge, Refund};
use super::entry::{Entry, EntryKind, OperationId, Subject};
use super::hold::{Hold, HoldState};
use super::lot::Lot;
use super::refusal::Inconsistent;

/// The answer to `Charge` and to `Capture`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charged {
    /// The charge as it was made; nothing of it is refunded yet.
    pub charge: Charge,
    /// What remains in all lots right after it.
    pub balance_after: Credits,
    /// Whether this repeats the answer of an earlier attempt.
    pub replayed: bool,
}

/// The answer to `Hold`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The hold as it was placed, open.
    pub hold: Hold,
    /// What remains in all lots right after it.
    pub balance_after: Credits,
    /// Whether this repeats the answer of an earlier attempt.
    pub replayed: bool,
}

/// The answer to `Release`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// The hold, released or lapsed.
    pub hold: Hold,
    /// What remains in all lots right after it.
    pub balance_after: Credits,
    /// Whether an earlier attempt, another release or the deadline had given it back before.
    pub replayed: bool,
}

/// The answer to `Refund`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refunded {
    /// The refund.
    pub refund: Refund,
    /// What remains in all lots right after it.
    pub balance_after: Credits,
    /// Whether this repeats the answer of an earlier attempt.
    pub replayed: bool,
}

/// The answer to a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// The lot as it was granted, nothing spent.
    pub lot: Lot,
    /// What remains in all lots right after it.
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
    /// What remains in all lots right after it.
    pub balance_after: Credits,
    /// Whether this repeats the answer of an earlier attempt.
    pub replayed: bool,
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
    /// To `Sweep`: how many entries the account's due expiries and lapses took.
    Swept {
        /// Number of entries booked.
        booked: usize,
    },
}

impl Outcome {
    /// The answer of the request that booked `entry`.
    ///
    /// # Errors
    /// The entry was booked by no request (an expiry or a lapse), or lacks what its kind must have.
    pub fn from_entry(entry: &Entry, replayed: bool) -> Result<Self, Inconsistent> {
        let balance_after = entry.available_after;
        let outcome = match entry.kind {
            EntryKind::Charge | EntryKind::Capture => Charge::from_entry(entry, Credits::ZERO)
                .map(|charge| Self::Charged(Charged { charge, balance_after, replayed })),
            EntryKind::Hold => held_hold(entry).map(|hold| Self::Held(Held { hold, balance_after, replayed })),
            EntryKind::Release => {
                released_hold(entry).map(|hold| Self::Released(Released { hold, balance_after, replayed }))
            }
            EntryKind::Refund => {
                Refund::from_entry(entry).map(|refund| Self::Refunded(Refunded { refund, balance_after, replayed }))
            }
            EntryKind::Grant => {
                Lot::from_grant(entry).map(|lot| Self::Granted(Granted { lot, balance_after, replayed }))
            }
            EntryKind::Void => match entry.subject {
                Some(Subject::Lot(lot)) => {
                    let amount = entry.amount;
                    Some(Self::Voided(Voided { lot, amount, balance_after, replayed }))
                }
                _ => None,
            },
            EntryKind::HoldLapsed | EntryKind::Expire => None,
        };
        outcome.ok_or(Inconsistent("a ledger entry lacks what its kind must have"))
    }
}

/// The hold that a `HOLD` entry placed, as it was then.
fn held_hold(entry: &Entry) -> Option<Hold> {
    let Some(OperationId::Hold(id)) = entry.id else {
        return None;
    };
    Some(Hold {
        id,
        amount: entry.amount,
        state: HoldState::Open,
        deadline: entry.expires_at?,
        earmarks: entry.allocations(|posting| posting.held),
        attribution: Arc::clone(entry.attribution.as_ref()?),
        created_at: entry.at,
        settled_at: None,
        captured: Credits::ZERO,
        charge: None,
    })
}

/// The hold that a `RELEASE` entry gave back, as it was right after.
fn released_hold(entry: &Entry) -> Option<Hold> {
    let Some(Subject::Hold(id)) = entry.subject else {
        return None;
    };
    Some(Hold {
        id,
        amount: entry.amount,
        state: HoldState::Released,
        deadline: entry.expires_at?,
        earmarks: entry.allocations(|posting| -posting.held),
        attribution: Arc::clone(entry.attribution.as_ref()?),
        created_at: entry.occurred_at?,
        settled_at: Some(entry.at),
        captured: Credits::ZERO,
        charge: None,
    })
}

impl Lot {
    /// The lot that a `GRANT` entry added, as it was then; `None` for other entries.
    pub fn from_grant(entry: &Entry) -> Option<Self> {
        let (Some(OperationId::Lot(id)), Some(terms)) = (entry.id, entry.grant) else {
            return None;
        };
        Some(Self {
            id,
            number: entry.seq,
            source: terms.source,
            priority: terms.priority,
            effective_at: terms.effective_at,
            expires_at: entry.expires_at,
            voided_at: None,
            granted: entry.amount,
            remaining: entry.amount,
            held: Credits::ZERO,
            spent: Credits::ZERO,
            expired: Credits::ZERO,
            voided: Credits::ZERO,
            note: entry.note.clone(),
        })
    }
}
