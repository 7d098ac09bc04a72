//! The audit: a ledger recomputed from its entries alone, and compared with what is stored.
//!
//! It shares no rule with the code that decides. It knows what each kind of entry may do to lots,
//! and reports the first entry that does something else.

use std::collections::{BTreeMap, BTreeSet};

use bursar_id::{HoldId, LotId, OwnerId};
use bursar_money::Credits;
use bursar_time::Timestamp;

use super::account::{Account, LedgerHead};
use super::entry::{Entry, EntryKind, OperationId, Posting, Subject};
use super::entry_row::UnreadableEntry;
use super::hold::{Hold, HoldState};
use super::lot::Lot;

/// What is wrong with a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// An entry is missing, repeated or out of order.
    #[error("its number should be {expected}")]
    OutOfSequence {
        /// The number that should have come.
        expected: u64,
    },
    /// A field of it was changed, or the entry before it was.
    #[error("its hash does not match its contents and the entry before it")]
    HashMismatch,
    /// Its stored columns cannot be an entry's.
    #[error("its column {0} holds what was never written there")]
    Unreadable(&'static str),
    /// It takes effect before the entry before it.
    #[error("it takes effect before the entry before it")]
    TimeRunsBack,
    /// It lacks the id or subject that its kind has.
    #[error("it lacks what an entry of its kind has")]
    Incomplete,
    /// It moves credits as no entry of its kind may.
    #[error("it moves credits of {0} as an entry of its kind never does")]
    WrongPosting(LotId),
    /// Its postings do not add up to its amount.
    #[error("its postings do not add up to its amount")]
    AmountMismatch,
    /// It grants a lot that was granted before.
    #[error("it grants {0} a second time")]
    LotGrantedTwice(LotId),
    /// It moves credits of a lot that was never granted.
    #[error("it moves credits of {0}, which was never granted")]
    UnknownLot(LotId),
    /// A part of a lot would be below zero.
    #[error("it takes more from {0} than there is")]
    LotOverdrawn(LotId),
    /// It spends a lot outside its time, expires it early, or gives credits back to one that
    /// cannot take them.
    #[error("it moves credits of {0} at a time when the lot does not allow it")]
    WrongTime(LotId),
    /// It settles a hold that is not open, or not wholly.
    #[error("it settles {0}, which is not open or holds another amount")]
    HoldMismatch(HoldId),
    /// Its balances are not the sum of what happened.
    #[error("the balances after it should be {available} available and {held} held")]
    BalanceMismatch {
        /// What should remain.
        available: Credits,
        /// What should be reserved.
        held: Credits,
    },

    /// The account's row is not where the ledger ends.
    #[error("the account's row does not match the end of its ledger")]
    HeadMismatch,
    /// A stored lot is not what its entries add up to.
    #[error("the stored lot {0} does not match its entries")]
    LotMismatch(LotId),
    /// A granted lot is not stored.
    #[error("the lot {0} is missing")]
    LotMissing(LotId),
    /// The usage totals are not the sum of what the entries charged and refunded.
    #[error("the usage totals do not match the charges and refunds of the ledger")]
    UsageMismatch,
    /// A stored open hold is not what its entries say, or is missing.
    #[error("the stored hold {0} does not match its entries")]
    StoredHoldMismatch(HoldId),
}

/// The first thing that is wrong with a ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ledger of {owner}, entry {seq}: {flaw}")]
pub struct BadLedger {
    /// Whose ledger.
    pub owner: OwnerId,
    /// The first bad entry; when the entries are good and something stored beside them is not, the
    /// last entry's number.
    pub seq: u64,
    /// What is wrong with it.
    pub flaw: Flaw,
}

/// What a good ledger adds up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Audit {
    /// How many entries it has.
    pub entries: u64,
    /// How many lots.
    pub lots: u64,
    /// Sum of charges and captures in micro-credits: what all usage aggregates must have charged.
    pub charged: i128,
    /// Sum of refunds in micro-credits: what all usage aggregates must have refunded.
    pub refunded: i128,
    /// What remains in all lots.
    pub available: Credits,
    /// What open holds reserve.
    pub held: Credits,
}

/// What the entries so far made of one lot, in micro-credits.
#[derive(Debug, Clone)]
struct Tally {
    granted: Lot,
    voided_at: Option<Timestamp>,
    remaining: i64,
    held: i64,
    spent: i64,
    expired: i64,
    voided: i64,
}

impl Tally {
    /// Whether the lot's own time allows the posting: what is taken is spendable, what expires is
    /// due, and what comes back comes back to a lot that still lives.
    fn allows(&self, entry: &Entry, posting: &Posting) -> bool {
        let lot = &self.granted;
        let expired = lot.is_expired_at(entry.at);
        let taken = posting.remaining >= 0
            || match entry.kind {
                EntryKind::Expire => expired,
                EntryKind::Void => !expired && self.voided_at.is_none(),
                _ => lot.is_spendable_at(entry.at),
            };
        let returned = posting.remaining <= 0 || (!expired && self.voided_at.is_none());
        let due = posting.expired == 0 || expired;
        taken && returned && due
    }
}

/// Folds a ledger entry by entry. Its memory grows with the lots and open holds of an account, not
/// with its entries.
#[derive(Debug, Clone)]
pub struct Verifier {
    owner: OwnerId,
    head: LedgerHead,
    available: i64,
    held: i64,
    charged: i128,
    refunded: i128,
    lots: BTreeMap<LotId, Tally>,
    open_holds: BTreeMap<HoldId, (Credits, Option<Timestamp>)>,
    scratch: Vec<u8>,
}

impl Verifier {
    /// An audit of `owner`'s ledger, before its first entry.
    pub fn new(owner: OwnerId) -> Self {
        Self {
            owner,
            head: LedgerHead::genesis(owner, Timestamp::MIN),
            available: 0,
            held: 0,
            charged: 0,
            refunded: 0,
            lots: BTreeMap::new(),
            open_holds: BTreeMap::new(),
            scratch: Vec::with_capacity(512),
        }
    }

    /// The next entry.
    ///
    /// # Errors
    /// What is wrong with it. The audit ends there: what follows a bad entry proves nothing.
    pub fn push(&mut self, entry: &Entry) -> Result<(), BadLedger> {
        let seq = entry.seq;
        self.check(entry).map_err(|flaw| BadLedger { owner: self.owner, seq, flaw })
    }

    /// The report about an entry that could not even be read.
    pub fn unreadable(&self, error: UnreadableEntry) -> BadLedger {
        let seq = u64::try_from(error.seq).unwrap_or(self.head.seq + 1);
        BadLedger { owner: self.owner, seq, flaw: Flaw::Unreadable(error.column) }
    }

    /// After the last entry: compares what it all adds up to with the stored account, all of its
    /// stored lots and its stored holds (all of them or the open ones).
    pub fn finish(self, account: &Account, lots: &[Lot], holds: &[Hold]) -> Result<Audit, BadLedger> {
        let bad = |flaw| BadLedger { owner: self.owner, seq: self.head.seq, flaw };
        let ledger = (self.head.seq, self.head.hash, self.available, self.held);
        let stored = &account.head;
        let stored_ledger = (stored.seq, stored.hash, account.available.micro(), account.held.micro());
        if ledger != stored_ledger || (stored.seq > 0 && stored.at != self.head.at) {
            return Err(bad(Flaw::HeadMismatch));
        }
        self.compare_lots(lots).map_err(bad)?;
        self.compare_holds(holds).map_err(bad)?;
        Ok(Audit {
            entries: self.head.seq,
            lots: self.lots.len() as u64,
            charged: self.charged,
            refunded: self.refunded,
            available: account.available,
            held: account.held,
        })
    }

    fn check(&mut self, entry: &Entry) -> Result<(), Flaw> {
        let expected = self.head.seq + 1;
        if entry.seq != expected {
            return Err(Flaw::OutOfSequence { expected });
        }
        if entry.hash != entry.digest(self.owner, &self.head.hash, &mut self.scratch) {
            return Err(Flaw::HashMismatch);
        }
        if entry.at < self.head.at {
            return Err(Flaw::TimeRunsBack);
        }
        check_shape(entry)?;
        self.check_amount(entry)?;
        if entry.kind == EntryKind::Grant {
            self.grant(entry)?;
        } else {
            entry.postings.iter().try_for_each(|posting| self.apply(entry, posting))?;
        }
        self.follow(entry)?;
        self.check_balances(entry)?;
        self.head = LedgerHead { seq: entry.seq, hash: entry.hash, at: entry.at };
        Ok(())
    }

    /// The figure of the entry against what its postings moved.
    fn check_amount(&mut self, entry: &Entry) -> Result<(), Flaw> {
        let sum = |part: fn(&Posting) -> i64| -> i128 {
            entry.postings.iter().map(|posting| i128::from(part(posting))).sum()
        };
        let moved = match entry.kind {
            EntryKind::Grant => sum(|posting| posting.remaining),
            EntryKind::Charge | EntryKind::Capture => sum(|posting| posting.spent),
            EntryKind::Hold => sum(|posting| posting.held),
            EntryKind::Release | EntryKind::HoldLapsed => -sum(|posting| posting.held),
            EntryKind::Refund => -sum(|posting| posting.spent),
            EntryKind::Expire => sum(|posting| posting.expired),
            EntryKind::Void => sum(|posting| posting.voided),
        };
        if moved != i128::from(entry.amount.micro()) {
            return Err(Flaw::AmountMismatch);
        }
        match entry.kind {
            EntryKind::Charge | EntryKind::Capture => self.charged += moved,
            EntryKind::Refund => self.refunded += moved,
            _ => {}
        }
        Ok(())
    }

    fn grant(&mut self, entry: &Entry) -> Result<(), Flaw> {
        let granted = Lot::from_grant(entry).ok_or(Flaw::Incomplete)?;
        let id = granted.id;
        if entry.postings.len() != 1 || entry.postings.iter().any(|posting| posting.lot != id) {
            return Err(Flaw::WrongPosting(id));
        }
        let tally = Tally {
            remaining: granted.granted.micro(),
            granted,
            voided_at: None,
            held: 0,
            spent: 0,
            expired: 0,
            voided: 0,
        };
        match self.lots.insert(id, tally) {
            None => Ok(()),
            Some(_) => Err(Flaw::LotGrantedTwice(id)),
        }
    }

    fn apply(&mut self, entry: &Entry, posting: &Posting) -> Result<(), Flaw> {
        let id = posting.lot;
        let tally = self.lots.get_mut(&id).ok_or(Flaw::UnknownLot(id))?;
        if !tally.allows(entry, posting) {
            return Err(Flaw::WrongTime(id));
        }
        let parts = [
            (&mut tally.remaining, posting.remaining),
            (&mut tally.held, posting.held),
            (&mut tally.spent, posting.spent),
            (&mut tally.expired, posting.expired),
            (&mut tally.voided, posting.voided),
        ];
        for (part, delta) in parts {
            *part = part.checked_add(delta).filter(|it| *it >= 0).ok_or(Flaw::LotOverdrawn(id))?;
        }
        Ok(())
    }

    /// What the entry means for holds and for its lot's later fate.
    fn follow(&mut self, entry: &Entry) -> Result<(), Flaw> {
        match (entry.kind, entry.id, entry.subject) {
            (EntryKind::Hold, Some(OperationId::Hold(hold)), _) => {
                match self.open_holds.insert(hold, (entry.amount, entry.expires_at)) {
                    None => Ok(()),
                    Some(_) => Err(Flaw::HoldMismatch(hold)),
                }
            }
            (EntryKind::Capture | EntryKind::Release | EntryKind::HoldLapsed, _, Some(Subject::Hold(hold))) => {
                let freed: i128 = entry.postings.iter().map(|it| -i128::from(it.held)).sum();
                match self.open_holds.remove(&hold) {
                    Some((amount, _)) if i128::from(amount.micro()) == freed => Ok(()),
                    _ => Err(Flaw::HoldMismatch(hold)),
                }
            }
            (EntryKind::Void, _, Some(Subject::Lot(lot))) => {
                let tally = self.lots.get_mut(&lot).ok_or(Flaw::UnknownLot(lot))?;
                tally.voided_at = Some(entry.at);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn check_balances(&mut self, entry: &Entry) -> Result<(), Flaw> {
        for posting in &entry.postings {
            self.available = self.available.saturating_add(posting.remaining);
            self.held = self.held.saturating_add(posting.held);
        }
        if (self.available, self.held) == (entry.available_after.micro(), entry.held_after.micro()) {
            return Ok(());
        }
        let credits = |micro: i64| Credits::from_micro(micro).unwrap_or(Credits::MAX);
        let (available, held) = (credits(self.available), credits(self.held));
        Err(Flaw::BalanceMismatch { available, held })
    }

    fn compare_lots(&self, lots: &[Lot]) -> Result<(), Flaw> {
        for lot in lots {
            let tally = self.lots.get(&lot.id).ok_or(Flaw::LotMismatch(lot.id))?;
            let counted = (tally.remaining, tally.held, tally.spent, tally.expired, tally.voided);
            let stored =
                (lot.remaining.micro(), lot.held.micro(), lot.spent.micro(), lot.expired.micro(), lot.voided.micro());
            let as_granted = Lot {
                voided_at: None,
                remaining: lot.granted,
                held: Credits::ZERO,
                spent: Credits::ZERO,
                expired: Credits::ZERO,
                voided: Credits::ZERO,
                ..lot.clone()
            };
            if counted != stored || as_granted != tally.granted || lot.voided_at != tally.voided_at {
                return Err(Flaw::LotMismatch(lot.id));
            }
        }
        let stored: BTreeSet<LotId> = lots.iter().map(|lot| lot.id).collect();
        let missing = self.lots.keys().find(|id| !stored.contains(id));
        missing.map_or(Ok(()), |id| Err(Flaw::LotMissing(*id)))
    }

    fn compare_holds(&self, holds: &[Hold]) -> Result<(), Flaw> {
        let mut open = self.open_holds.clone();
        for hold in holds.iter().filter(|hold| hold.state == HoldState::Open) {
            match open.remove(&hold.id) {
                Some(entry) if entry == (hold.amount, Some(hold.deadline)) => {}
                _ => return Err(Flaw::StoredHoldMismatch(hold.id)),
            }
        }
        open.keys().next().map_or(Ok(()), |hold| Err(Flaw::StoredHoldMismatch(*hold)))
    }
}

/// Whether the entry has the id and subject of its kind, and every posting the form of its kind.
fn check_shape(entry: &Entry) -> Result<(), Flaw> {
    let complete = match (entry.kind, entry.id, entry.subject) {
        (EntryKind::Grant, Some(OperationId::Lot(_)), None)
        | (EntryKind::Charge, Some(OperationId::Charge(_)), None)
        | (EntryKind::Hold, Some(OperationId::Hold(_)), None)
        | (EntryKind::Capture, Some(OperationId::Charge(_)), Some(Subject::Hold(_)))
        | (EntryKind::Release | EntryKind::HoldLapsed, None, Some(Subject::Hold(_)))
        | (EntryKind::Refund, Some(OperationId::Refund(_)), Some(Subject::Charge(_))) => true,
        (EntryKind::Expire | EntryKind::Void, None, Some(Subject::Lot(lot))) => {
            entry.postings.iter().all(|posting| posting.lot == lot)
        }
        _ => false,
    };
    if !complete {
        return Err(Flaw::Incomplete);
    }
    let wrong = entry.postings.iter().find(|posting| !has_form(entry.kind, posting));
    wrong.map_or(Ok(()), |posting| Err(Flaw::WrongPosting(posting.lot)))
}

/// Whether `posting` moves credits as an entry of this kind may: which parts give and which take.
fn has_form(kind: EntryKind, posting: &Posting) -> bool {
    let Posting { remaining, held, spent, expired, voided, .. } = *posting;
    let gone = [expired, voided];
    if kind != EntryKind::Grant && posting.net() != 0 {
        return false;
    }
    match kind {
        EntryKind::Grant => remaining > 0 && (held, spent, gone) == (0, 0, [0, 0]),
        EntryKind::Charge => remaining < 0 && spent > 0 && (held, gone) == (0, [0, 0]),
        EntryKind::Hold => remaining < 0 && held > 0 && (spent, gone) == (0, [0, 0]),
        // Either an earmark, spent or given back, or the excess, spent from what remains.
        EntryKind::Capture => {
            let earmark = held < 0 && spent >= 0 && remaining >= 0 && gone.iter().all(|it| *it >= 0);
            earmark || (remaining < 0 && spent > 0 && (held, gone) == (0, [0, 0]))
        }
        EntryKind::Release | EntryKind::HoldLapsed => {
            held < 0 && spent == 0 && remaining >= 0 && gone.iter().all(|it| *it >= 0)
        }
        EntryKind::Refund => spent < 0 && held == 0 && remaining >= 0 && gone.iter().all(|it| *it >= 0),
        EntryKind::Expire => remaining < 0 && expired > 0 && (held, spent, voided) == (0, 0, 0),
        EntryKind::Void => remaining < 0 && voided > 0 && (held, spent, expired) == (0, 0, 0),
    }
}
