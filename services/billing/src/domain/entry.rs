//! The ledger: what happened to an account, numbered without gaps and chained by hash.
//!
//! An entry is the whole truth about one operation: balances, lots and holds are what the entries
//! add up to, and the answer to a repeated request is rebuilt from its entry alone. So an entry is
//! never changed and holds everything its operation answered.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bursar_id::{ChargeId, HoldId, LotId, OwnerId, RefundId};
use bursar_money::Credits;
use bursar_time::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::attribution::{Attribution, Note};
use super::canonical::Canonical;
use super::command::RequestKey;
use super::lot::{Allocation, LotSource};
use super::refusal::Inconsistent;

/// What kind of operation an entry records, and which fields beside the common ones it fills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntryKind {
    /// A new lot. `id` the lot, `grant` its terms, `expires_at` its expiry, `note`.
    Grant,
    /// Credits spent. `id` the charge, `attribution`, `occurred_at`.
    Charge,
    /// Credits reserved. `id` the hold, `attribution`, `expires_at` its deadline.
    Hold,
    /// A hold settled. `id` the charge, `subject` the hold, the hold's `attribution`.
    Capture,
    /// A hold given back. `subject` the hold, with its `attribution`, its deadline in
    /// `expires_at` and the time it was placed in `occurred_at`.
    Release,
    /// A hold past its deadline; fields as for `Release`.
    HoldLapsed,
    /// A charge given back. `id` the refund, `subject` the charge, the charge's `attribution`.
    Refund,
    /// What was left of a lot when it expired. `subject` the lot, `expires_at` its expiry.
    Expire,
    /// What was left of a lot when an operator voided it. `subject` the lot, `note`.
    Void,
}

impl EntryKind {
    /// Every kind, in the order of the API's enum.
    pub const ALL: [Self; 9] = [
        Self::Grant,
        Self::Charge,
        Self::Hold,
        Self::Capture,
        Self::Release,
        Self::HoldLapsed,
        Self::Refund,
        Self::Expire,
        Self::Void,
    ];

    /// The stored name, which is the API's name.
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
        }
    }
}

impl fmt::Display for EntryKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EntryKind {
    type Err = Inconsistent;

    fn from_str(text: &str) -> Result<Self, Inconsistent> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(Inconsistent("a ledger entry has an unknown kind"))
    }
}

/// What an entry made: the id by which the operation is known.
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

impl FromStr for OperationId {
    type Err = Inconsistent;

    fn from_str(text: &str) -> Result<Self, Inconsistent> {
        let unknown = Inconsistent("a ledger entry has an unreadable id");
        match text.split('_').next() {
            Some(ChargeId::PREFIX) => text.parse().map(Self::Charge).map_err(|_| unknown),
            Some(HoldId::PREFIX) => text.parse().map(Self::Hold).map_err(|_| unknown),
            Some(RefundId::PREFIX) => text.parse().map(Self::Refund).map_err(|_| unknown),
            Some(LotId::PREFIX) => text.parse().map(Self::Lot).map_err(|_| unknown),
            _ => Err(unknown),
        }
    }
}

/// What an entry acts upon: something that an earlier entry made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// The hold that is captured, released or lapses.
    Hold(HoldId),
    /// The charge that is refunded.
    Charge(ChargeId),
    /// The lot that expires or is voided.
    Lot(LotId),
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hold(id) => id.fmt(f),
            Self::Charge(id) => id.fmt(f),
            Self::Lot(id) => id.fmt(f),
        }
    }
}

impl FromStr for Subject {
    type Err = Inconsistent;

    fn from_str(text: &str) -> Result<Self, Inconsistent> {
        match text.parse()? {
            OperationId::Hold(id) => Ok(Self::Hold(id)),
            OperationId::Charge(id) => Ok(Self::Charge(id)),
            OperationId::Lot(id) => Ok(Self::Lot(id)),
            OperationId::Refund(_) => Err(Inconsistent("a ledger entry acts upon a refund")),
        }
    }
}

/// How one operation moved the credits of one lot: changes in micro-credits.
///
/// They add up to zero, except in a grant, whose one posting adds what it grants to `remaining`.
/// Stored as the array `[lot, remaining, held, spent, expired, voided]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PostingArray", into = "PostingArray")]
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

type PostingArray = (LotId, i64, i64, i64, i64, i64);

impl From<PostingArray> for Posting {
    fn from((lot, remaining, held, spent, expired, voided): PostingArray) -> Self {
        Self { lot, remaining, held, spent, expired, voided }
    }
}

impl From<Posting> for PostingArray {
    fn from(posting: Posting) -> Self {
        let Posting { lot, remaining, held, spent, expired, voided } = posting;
        (lot, remaining, held, spent, expired, voided)
    }
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

/// The terms of a granted lot that its entry does not say elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrantTerms {
    /// Where the credits came from.
    pub source: LotSource,
    /// Lower burns first.
    pub priority: i32,
    /// First instant at which the lot can be spent.
    pub effective_at: Timestamp,
}

/// One line of an account's ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// 1 for the account's first entry, one more for each that follows.
    pub seq: u64,
    /// What happened.
    pub kind: EntryKind,
    /// When it took effect. Never earlier than the entry before it. An expiry and a lapse take
    /// effect when they were due, even if they were booked later.
    pub at: Timestamp,
    /// The figure of the operation: granted, charged, held, given back, gone.
    pub amount: Credits,
    /// What remains in all lots after it, whether effective yet or not.
    pub available_after: Credits,
    /// What open holds reserve after it.
    pub held_after: Credits,
    /// What the operation made.
    pub id: Option<OperationId>,
    /// What it acted upon.
    pub subject: Option<Subject>,
    /// For whom and for what.
    pub attribution: Option<Arc<Attribution>>,
    /// When the work was done, as its caller said; for `Release` and `HoldLapsed`, when the hold
    /// was placed.
    pub occurred_at: Option<Timestamp>,
    /// A lot's expiry or a hold's deadline.
    pub expires_at: Option<Timestamp>,
    /// A granted lot's terms.
    pub grant: Option<GrantTerms>,
    /// A remark for people.
    pub note: Option<Note>,
    /// The caller and its name for the request; `None` for what the engine books by itself.
    pub request_key: Option<RequestKey>,
    /// Fingerprint of the request; 0 without a request key.
    pub body_hash: i64,
    /// How the lots changed, in the order in which the engine touched them.
    pub postings: Vec<Posting>,
    /// SHA-256 of the previous entry's hash and of every field above: see [`Entry::digest`].
    pub hash: [u8; 32],
}

impl Entry {
    /// The hash that this entry must carry when `previous` is the hash of the entry before it.
    ///
    /// `buffer` is scratch space, reused from entry to entry. The owner is hashed in, so an entry
    /// cannot be moved to another account.
    pub fn digest(&self, owner: OwnerId, previous: &[u8; 32], buffer: &mut Vec<u8>) -> [u8; 32] {
        let mut out = Canonical::new(buffer);
        out.bytes(previous);
        out.owner(owner);
        out.u64(self.seq);
        out.text(self.kind.as_str());
        out.time(self.at);
        out.credits(self.amount);
        out.credits(self.available_after);
        out.credits(self.held_after);
        out.option(self.id, Canonical::operation);
        out.option(self.subject, Canonical::subject);
        out.option(self.attribution.as_deref(), |out, it| {
            out.flag(true);
            out.attribution(it);
        });
        out.option(self.occurred_at, Canonical::time);
        out.option(self.expires_at, Canonical::time);
        out.option(self.grant, |out, terms| {
            out.text(terms.source.as_str());
            out.i64(i64::from(terms.priority));
            out.time(terms.effective_at);
        });
        out.note(self.note.as_ref());
        out.option(self.request_key.as_ref(), |out, key| out.text(key.as_str()));
        out.i64(self.body_hash);
        out.u64(self.postings.len() as u64);
        for posting in &self.postings {
            out.id(posting.lot);
            out.i64(posting.remaining);
            out.i64(posting.held);
            out.i64(posting.spent);
            out.i64(posting.expired);
            out.i64(posting.voided);
        }
        Sha256::digest(buffer).into()
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
