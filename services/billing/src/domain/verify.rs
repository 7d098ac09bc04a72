//! The audit: a ledger recomputed from its entries alone, and compared with what is stored.
//!
//! It shares no rule with the code that decides. It knows what each kind of entry may do to lots,
//! and reports the first entry that does something else.

use std::collections::{BTreeMap, BTreeSet};

use bursar_id::{ChargeId, HoldId, LotId, OwnerId};
use bursar_money::Credits;
use bursar_time::Timestamp;

use super::account::{Account, LedgerHead};
use super::attribution::Attribution;
use super::entry::{CaptureEvent, DebtEvent, Entry, EntryKind, Event, OperationId, Posting, RefundEvent};
use super::entry_body::UnreadableEntry;
use super::erased::{Missing, Whose};
use super::flaw::{Audit, BadLedger, Flaw};
use super::hold::{Hold, HoldState};
use super::hold_audit::HoldAudit;
use super::lot::Lot;
use super::operation::OperationKey;
use super::shape;

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
    /// due, what comes back comes back to a lot that still lives, and what cannot is void in a lot that was voided, and
    /// otherwise expired.
    fn allows(&self, entry: &Entry, posting: &Posting) -> bool {
        let lot = &self.granted;
        let (expired, void) = (lot.is_expired_at(entry.at), self.voided_at.is_some());
        let taken = posting.remaining >= 0
            || match entry.kind() {
                EntryKind::Expire => expired,
                EntryKind::Void | EntryKind::Debt => !expired && !void,
                _ => lot.is_spendable_at(entry.at),
            };
        let returned = posting.remaining <= 0 || (!expired && !void);
        let due = posting.expired == 0 || (expired && !void);
        let voids = matches!(entry.kind(), EntryKind::Void | EntryKind::Debt | EntryKind::DebtReversed);
        let voided = posting.voided == 0 || void || voids;
        taken && returned && due && voided
    }
}

/// Folds a ledger entry by entry. Its memory grows with the lots, the open holds, the members and the refunded charges of an
/// account, not with its entries, as long as the settled holds are taken out.
#[derive(Debug, Clone)]
pub struct Verifier {
    owner: OwnerId,
    key: OperationKey,
    head: LedgerHead,
    available: i64,
    held: i64,
    debt: Credits,
    charged: i128,
    refunded: i128,
    lots: BTreeMap<LotId, Tally>,
    /// From here on every lot is effective.
    all_effective: Timestamp,
    /// When lots expire; without those that have and of which nothing remains.
    expiring: BTreeSet<(Timestamp, LotId)>,
    /// As they were placed.
    open_holds: BTreeMap<HoldId, Hold>,
    /// How much of each refunded charge has been given back.
    refunded_of: BTreeMap<ChargeId, Credits>,
    missing: Missing,
    holds: HoldAudit,
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
            debt: Credits::ZERO,
            charged: 0,
            refunded: 0,
            lots: BTreeMap::new(),
            all_effective: Timestamp::MIN,
            expiring: BTreeSet::new(),
            open_holds: BTreeMap::new(),
            refunded_of: BTreeMap::new(),
            missing: Missing::default(),
            holds: HoldAudit::default(),
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

    /// The holds that entries have settled since this was last asked, as they must be stored.
    pub fn take_settled(&mut self) -> Vec<Hold> {
        self.holds.take_settled()
    }

    /// Compares such a hold with how it is stored; `None` where it is not. What is found is told at the end: no entry is to
    /// blame.
    pub fn compare_settled(&mut self, settled: &Hold, stored: Option<&Hold>) {
        self.holds.compare(settled, stored);
    }

    /// After the last entry: compares what it all adds up to with the stored account, all of its
    /// stored lots and its stored holds (all of them or the open ones).
    pub fn finish(mut self, account: &Account, lots: &[Lot], holds: &[Hold]) -> Result<Audit, BadLedger> {
        let (owner, last) = (self.owner, self.head.seq);
        let bad = |flaw| BadLedger { owner, seq: last, flaw };
        let ledger = (self.head.seq, self.head.hash, self.available, self.held);
        let stored = &account.head;
        let stored_ledger = (stored.seq, stored.hash, account.available.micro(), account.held.micro());
        if ledger != stored_ledger || (stored.seq > 0 && stored.at != self.head.at) {
            return Err(bad(Flaw::HeadMismatch));
        }
        if self.debt != account.debt {
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
                        let hold = self.open_holds.get(hold);
                        hold.map_or(Whose::SomeMember, |hold| Whose::Member(hold.terms.attribution.member))
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
        let work = work(entry, &self.open_holds).filter(|_| posting.remaining < 0);
        let tally = self.lots.get_mut(&id).ok_or(Flaw::UnknownLot(id))?;
        if !tally.allows(entry, posting) {
            return Err(Flaw::WrongTime(id));
        }
        if work.is_some_and(|work| !tally.granted.pays_for(work)) {
            return Err(Flaw::WrongScope(id));
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

    /// What the entry means for holds, for its charge and for its lot's later fate.
    fn follow(&mut self, entry: &Entry) -> Result<(), Flaw> {
        match &entry.event {
            Event::Hold(it) => {
                let placed = Hold::placed(entry).and_then(|placed| self.open_holds.insert(it.hold, placed));
                placed.map_or(Ok(()), |_| Err(Flaw::HoldMismatch(it.hold)))
            }
            Event::Capture(CaptureEvent { hold, .. }) | Event::Release { hold } | Event::HoldLapsed { hold } => {
                let freed: i128 = entry.postings.iter().map(|it| -i128::from(it.held)).sum();
                let lapsed = entry.kind() == EntryKind::HoldLapsed;
                match self.open_holds.remove(hold) {
                    Some(open)
                        if i128::from(open.terms.amount.micro()) == freed && (open.deadline <= entry.at) == lapsed =>
                    {
                        self.holds.settle(settled(open, entry));
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
                if let Some(member) = member {
                    self.holds.erase(*member, entry.seq);
                }
                Ok(())
            }
            Event::Refund(RefundEvent { charge, refunded_after, .. }) => {
                let refunded = self.refunded_of.entry(*charge).or_insert(Credits::ZERO);
                *refunded = refunded.checked_add(entry.amount).ok_or(Flaw::RefundMismatch(*charge))?;
                if refunded == refunded_after { Ok(()) } else { Err(Flaw::RefundMismatch(*charge)) }
            }
            Event::Debt(_) | Event::DebtPaid { .. } | Event::DebtReversed(_) => self.owe(entry),
            Event::Grant { .. } | Event::Charge(_) | Event::Expire { .. } => Ok(()),
        }
    }

    /// What is owed after an entry about debts. Of a lot no more can be owed than was used of it.
    fn owe(&mut self, entry: &Entry) -> Result<(), Flaw> {
        let (debt, said) = match &entry.event {
            Event::Debt(DebtEvent { lot, owed, debt_after, .. }) => {
                let tally = self.lots.get(lot).ok_or(Flaw::UnknownLot(*lot))?;
                let used = tally.spent.saturating_add(tally.held);
                (self.debt.checked_add(*owed).filter(|_| owed.micro() <= used), debt_after)
            }
            Event::DebtReversed(DebtEvent { lot, owed, debt_after, .. }) => {
                self.lots.get(lot).ok_or(Flaw::UnknownLot(*lot))?;
                (self.debt.checked_sub(*owed), debt_after)
            }
            Event::DebtPaid { debt_after, .. } => (self.debt.checked_sub(entry.amount), debt_after),
            _ => return Ok(()),
        };
        self.debt = debt.filter(|debt| debt == said).ok_or(Flaw::DebtMismatch)?;
        Ok(())
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
                note: tally.granted.note.clone(),
                ..lot.clone()
            };
            // A note may be erased, and is then gone.
            let noted = lot.note.is_none() || lot.note == tally.granted.note;
            if counted != stored || as_granted != tally.granted || lot.voided_at != tally.voided_at || !noted {
                return Err(Flaw::LotMismatch(lot.id));
            }
        }
        let stored: BTreeSet<LotId> = lots.iter().map(|lot| lot.id).collect();
        let missing = self.lots.keys().find(|id| !stored.contains(id));
        missing.map_or(Ok(()), |id| Err(Flaw::LotMissing(*id)))
    }

    fn compare_holds(&mut self, holds: &[Hold]) -> Result<(), Flaw> {
        let mut open = std::mem::take(&mut self.open_holds);
        for hold in holds.iter().filter(|hold| hold.state == HoldState::Open) {
            let placed = open.remove(&hold.id).ok_or(Flaw::StoredHoldMismatch(hold.id))?;
            self.holds.compare(&placed, Some(hold));
        }
        match open.keys().next() {
            Some(hold) => Err(Flaw::StoredHoldMismatch(*hold)),
            None => self.holds.finish(),
        }
    }
}

/// What an entry that settles an open hold makes of it.
fn settled(open: Hold, entry: &Entry) -> Hold {
    let (state, captured, charge) = match &entry.event {
        Event::Capture(it) => (HoldState::Captured, entry.amount, Some(it.charge)),
        Event::HoldLapsed { .. } => (HoldState::Lapsed, Credits::ZERO, None),
        _ => (HoldState::Released, Credits::ZERO, None),
    };
    Hold { state, settled_at: Some(entry.at), captured, charge, ..open }
}

/// For what work an entry takes credits: of a capture, what its hold says, whose excess is taken like a charge.
fn work<'a>(entry: &'a Entry, open: &'a BTreeMap<HoldId, Hold>) -> Option<&'a Attribution> {
    match &entry.event {
        Event::Capture(it) => open.get(&it.hold).map(|hold| &hold.terms.attribution),
        event => event.attribution(),
    }
}
