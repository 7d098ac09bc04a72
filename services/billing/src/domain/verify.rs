//! The audit: a ledger recomputed from its entries alone, and compared with what is stored.
//!
//! It shares no rule with the code that decides. It knows what each kind of entry may do to lots,
//! and reports the first entry that does something else.

use std::collections::{BTreeMap, BTreeSet};

use bursar_id::{HoldId, LotId, OwnerId, UserId};
use bursar_money::Credits;
use bursar_time::Timestamp;

use super::account::{Account, LedgerHead};
use super::entry::{CaptureEvent, Entry, EntryKind, Event, OperationId, Posting};
use super::entry_body::{Unreadable, UnreadableEntry};
use super::erased::{Missing, Whose};
use super::hold::{Hold, HoldState};
use super::lot::Lot;
use super::operation::OperationKey;
use super::shape;

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
    /// Its stored form cannot be an entry's.
    #[error("it cannot be read: {0}")]
    Unreadable(Unreadable),
    /// The id of what it made leads elsewhere.
    #[error("the id {0} does not name it")]
    WrongId(OperationId),
    /// Its details are not those that it was booked with.
    #[error("its details do not match their digest")]
    DetailsMismatch,
    /// Its details are gone, and no later entry says that they were erased.
    #[error("its details are missing and nothing says that they were erased")]
    DetailsMissing,
    /// It takes effect before the entry before it.
    #[error("it takes effect before the entry before it")]
    TimeRunsBack,
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
    /// It settles a hold that is not open, or not wholly, or on the wrong side of its deadline.
    #[error("it settles {0}, which is not open, holds another amount or has another deadline")]
    HoldMismatch(HoldId),
    /// Its balances are not the sum of what happened.
    #[error("the balances after it should be {available} available, {spendable} of it spendable, and {held} held")]
    BalanceMismatch {
        /// What should remain.
        available: Credits,
        /// What of it should be spendable.
        spendable: Credits,
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
    /// How many entries' details were erased.
    pub erased: u64,
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
            || match entry.kind() {
                EntryKind::Expire => expired,
                EntryKind::Void => !expired && self.voided_at.is_none(),
                _ => lot.is_spendable_at(entry.at),
            };
        let returned = posting.remaining <= 0 || (!expired && self.voided_at.is_none());
        let due = posting.expired == 0 || expired;
        taken && returned && due
    }
}

/// What the entries so far made of one open hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OpenHold {
    amount: Credits,
    deadline: Timestamp,
    member: UserId,
}

/// Folds a ledger entry by entry. Its memory grows with the lots and open holds of an account, not
/// with its entries.
#[derive(Debug, Clone)]
pub struct Verifier {
    owner: OwnerId,
    key: OperationKey,
    head: LedgerHead,
    available: i64,
    held: i64,
    charged: i128,
    refunded: i128,
    lots: BTreeMap<LotId, Tally>,
    /// From here on every lot is effective.
    all_effective: Timestamp,
    /// When lots expire; without those that have and of which nothing remains.
    expiring: BTreeSet<(Timestamp, LotId)>,
    open_holds: BTreeMap<HoldId, OpenHold>,
    missing: Missing,
}

impl Verifier {
    /// An audit of `owner`'s ledger, before its first entry. `key` is the installation's for operation ids.
    pub fn new(owner: OwnerId, key: OperationKey) -> Self {
        Self {
            owner,
            key,
            head: LedgerHead::genesis(owner, Timestamp::MIN),
            available: 0,
            held: 0,
            charged: 0,
            refunded: 0,
            lots: BTreeMap::new(),
            all_effective: Timestamp::MIN,
            expiring: BTreeSet::new(),
            open_holds: BTreeMap::new(),
            missing: Missing::default(),
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
        BadLedger { owner: self.owner, seq, flaw: Flaw::Unreadable(error.why) }
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
        if let Some(seq) = self.missing.first() {
            return Err(BadLedger { owner: self.owner, seq, flaw: Flaw::DetailsMissing });
        }
        if u32::try_from(self.open_holds.len()) != Ok(account.open_holds) || self.charged != account.charged.into() {
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
            erased: self.missing.erased(),
        })
    }

    fn check(&mut self, entry: &Entry) -> Result<(), Flaw> {
        let expected = self.head.seq + 1;
        if entry.seq != expected {
            return Err(Flaw::OutOfSequence { expected });
        }
        if entry.hash != entry.digest(self.owner, &self.head.hash) {
            return Err(Flaw::HashMismatch);
        }
        if entry.at < self.head.at {
            return Err(Flaw::TimeRunsBack);
        }
        self.check_id(entry)?;
        shape::check(entry)?;
        self.check_amount(entry)?;
        if entry.kind() == EntryKind::Grant {
            self.grant(entry)?;
        } else {
            entry.postings.iter().try_for_each(|posting| self.apply(entry, posting))?;
        }
        self.check_details(entry)?;
        self.follow(entry)?;
        self.check_balances(entry)?;
        self.head = LedgerHead { seq: entry.seq, hash: entry.hash, at: entry.at };
        Ok(())
    }

    /// What it made has the one id that leads to it.
    fn check_id(&self, entry: &Entry) -> Result<(), Flaw> {
        let Some(made) = entry.event.made() else {
            return Ok(());
        };
        let (owner, key) = (self.owner, self.key);
        let leads_to = match made {
            OperationId::Charge(id) => key.seq(owner, id),
            OperationId::Hold(id) => key.seq(owner, id),
            OperationId::Refund(id) => key.seq(owner, id),
            OperationId::Lot(id) => key.seq(owner, id),
        };
        if leads_to == Some(entry.seq) { Ok(()) } else { Err(Flaw::WrongId(made)) }
    }

    /// Its details are those it was booked with, or gone; those that are gone must be excused later.
    fn check_details(&mut self, entry: &Entry) -> Result<(), Flaw> {
        match (entry.details_digest, &entry.details) {
            (None, None) => Ok(()),
            (Some(digest), Some(details)) if details.digest() == digest => Ok(()),
            (Some(_), None) => {
                let owner = match &entry.event {
                    Event::Charge(it) => Whose::Member(it.attribution.member),
                    Event::Hold(it) => Whose::Member(it.attribution.member),
                    Event::Capture(CaptureEvent { hold, .. }) | Event::Release { hold } => {
                        self.open_holds.get(hold).map_or(Whose::SomeMember, |hold| Whose::Member(hold.member))
                    }
                    // The charge may be any of millions: whose it was is not kept.
                    Event::Refund(_) => Whose::SomeMember,
                    _ => Whose::Nobody,
                };
                self.missing.note(entry.seq, owner);
                Ok(())
            }
            (None | Some(_), Some(_)) => Err(Flaw::DetailsMismatch),
        }
    }

    /// The figure of the entry against what its postings moved and its meters cost.
    fn check_amount(&mut self, entry: &Entry) -> Result<(), Flaw> {
        let (moved, amount) = (shape::moved(entry), i128::from(entry.amount.micro()));
        if moved != amount || shape::metered(entry).is_some_and(|cost| cost != amount) {
            return Err(Flaw::AmountMismatch);
        }
        match entry.kind() {
            EntryKind::Charge | EntryKind::Capture => self.charged += moved,
            EntryKind::Refund => self.refunded += moved,
            _ => {}
        }
        Ok(())
    }

    fn grant(&mut self, entry: &Entry) -> Result<(), Flaw> {
        let Some(granted) = Lot::from_grant(entry) else {
            return Ok(());
        };
        let id = granted.id;
        if entry.postings.len() != 1 || entry.postings.iter().any(|posting| posting.lot != id) {
            return Err(Flaw::WrongPosting(id));
        }
        self.all_effective = self.all_effective.max(granted.terms.effective_at);
        self.expiring.extend(granted.terms.expires_at.map(|at| (at, id)));
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
        match &entry.event {
            Event::Hold(it) => {
                let open = OpenHold { amount: entry.amount, deadline: it.deadline, member: it.attribution.member };
                match self.open_holds.insert(it.hold, open) {
                    None => Ok(()),
                    Some(_) => Err(Flaw::HoldMismatch(it.hold)),
                }
            }
            Event::Capture(CaptureEvent { hold, .. }) | Event::Release { hold } | Event::HoldLapsed { hold } => {
                let freed: i128 = entry.postings.iter().map(|it| -i128::from(it.held)).sum();
                let lapsed = entry.kind() == EntryKind::HoldLapsed;
                match self.open_holds.remove(hold) {
                    Some(open) if i128::from(open.amount.micro()) == freed && (open.deadline <= entry.at) == lapsed => {
                        Ok(())
                    }
                    _ => Err(Flaw::HoldMismatch(*hold)),
                }
            }
            Event::Void { lot } => {
                let tally = self.lots.get_mut(lot).ok_or(Flaw::UnknownLot(*lot))?;
                if tally.voided_at.replace(entry.at).is_some() || tally.granted.is_expired_at(entry.at) {
                    return Err(Flaw::WrongTime(*lot));
                }
                Ok(())
            }
            Event::Erase { member } => {
                self.missing.excuse(*member);
                Ok(())
            }
            Event::Grant { .. } | Event::Charge(_) | Event::Refund(_) | Event::Expire { .. } => Ok(()),
        }
    }

    fn check_balances(&mut self, entry: &Entry) -> Result<(), Flaw> {
        for posting in &entry.postings {
            self.available = self.available.saturating_add(posting.remaining);
            self.held = self.held.saturating_add(posting.held);
        }
        let spendable = self.spendable(entry.at);
        let after = (entry.available_after.micro(), entry.spendable_after.micro(), entry.held_after.micro());
        if (self.available, spendable, self.held) == after {
            return Ok(());
        }
        let credits = |micro: i64| Credits::from_micro(micro).unwrap_or(Credits::MAX);
        let (available, spendable, held) = (credits(self.available), credits(spendable), credits(self.held));
        Err(Flaw::BalanceMismatch { available, spendable, held })
    }

    /// What can be spent at `at`: everything, unless some lot is not effective yet or has expired and that is not
    /// booked yet. Nothing comes back to an expired lot, so one of which nothing remains need not be looked at again.
    fn spendable(&mut self, at: Timestamp) -> i64 {
        let empty = |lot: &LotId| self.lots.get(lot).is_none_or(|tally| tally.remaining == 0);
        while let Some((expires_at, lot)) = self.expiring.first()
            && *expires_at <= at
            && empty(lot)
        {
            self.expiring.pop_first();
        }
        if self.all_effective <= at && self.expiring.first().is_none_or(|(expires_at, _)| *expires_at > at) {
            return self.available;
        }
        let open = self.lots.values().filter(|tally| tally.granted.is_spendable_at(at));
        open.fold(0, |sum, tally| sum.saturating_add(tally.remaining))
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
                // A note may be erased.
                note: tally.granted.note.clone(),
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
                Some(entry) if is_the_same(&entry, hold) => {}
                _ => return Err(Flaw::StoredHoldMismatch(hold.id)),
            }
        }
        open.keys().next().map_or(Ok(()), |hold| Err(Flaw::StoredHoldMismatch(*hold)))
    }
}

/// Whether a stored hold is what its entry says.
fn is_the_same(entry: &OpenHold, hold: &Hold) -> bool {
    let stored = OpenHold { amount: hold.terms.amount, deadline: hold.deadline, member: hold.terms.attribution.member };
    *entry == stored
}
