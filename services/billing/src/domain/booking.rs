//! Booking: the steps by which a decision changes the state. Used by `decide` alone.

use std::sync::Arc;

use bursar_id::{ChargeId, HoldId, Id, Kind, LotId, UserId};
use bursar_members::{Standing, Word};
use bursar_money::Credits;
use bursar_time::Timestamp;

use super::account::{LedgerHead, Period};
use super::actor::Actor;
use super::attribution::Attribution;
use super::changes::{Kept, Mark};
use super::charge::{Charge, Metered};
use super::command::RequestKey;
use super::entry::{Entry, Event, OperationId, Posting};
use super::entry_body::Place;
use super::hold::{Hold, HoldState};
use super::lot::{Lot, shift};
use super::refusal::{Inconsistent, Refusal};
use super::state::{AccountState, Draft, earliest};
use super::usage::{MeterKey, UsageKey};

/// What is there.
impl AccountState {
    /// The time that decisions are made at: `now`, but never behind the ledger. Whoever shows what an account has uses it, too.
    pub fn time(&self, now: Timestamp) -> Timestamp {
        now.max(self.account.head.at)
    }

    /// The id of what the next entry makes, if it is booked at `at`.
    pub(super) fn next_id<K: Kind>(&self, at: Timestamp) -> Id<K> {
        self.rules.key.id(self.owner, at, self.account.head.seq + 1)
    }

    pub(super) fn membership(&self, user: UserId) -> Option<Word> {
        self.looked_up(user).flatten()
    }

    pub(super) fn replay(&self, key: RequestKey) -> Option<&Arc<Entry>> {
        self.replays.get(&key)
    }

    /// A charge that was loaded or is among the entries not yet taken.
    pub(super) fn charge(&self, id: ChargeId) -> Option<Charge> {
        self.charges.get(&id).cloned().or_else(|| {
            let made = |entry: &&Arc<Entry>| entry.event.made() == Some(OperationId::Charge(id));
            let entry = self.entries.iter().rev().find(made)?;
            let hold = match entry.event.subject() {
                Some(OperationId::Hold(hold)) => self.hold(hold),
                _ => None,
            };
            Charge::from_entry(entry, hold)
        })
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.next_due
    }
}

/// What changes.
impl AccountState {
    pub(super) fn keep_charge(&mut self, charge: Charge) {
        self.charges.insert(charge.id, charge);
    }

    pub(super) fn insert_hold(&mut self, hold: Hold) {
        self.next_due = earliest(self.next_due, Some(hold.deadline));
        self.account.next_lapse = earliest(self.account.next_lapse, Some(hold.deadline));
        self.account.open_holds = self.account.open_holds.saturating_add(1);
        self.holds.insert(hold.id, Kept { value: hold, mark: Mark::Inserted });
    }

    pub(super) fn insert_lot(&mut self, lot: Lot) {
        self.notice(&lot);
        self.keep_lot(lot, Mark::Inserted);
    }

    /// Ends an open hold and gives it as it is then. Whoever books its end has found before that one is open: a refusal
    /// here would come too late.
    pub(super) fn settle_hold(&mut self, id: HoldId, settle: impl FnOnce(&mut Hold)) -> Result<Hold, Refusal> {
        let hold = self.holds.get_mut(&id).map(Kept::touch).ok_or(Refusal::HoldNotFound)?;
        settle(hold);
        let settled = hold.clone();
        let open = self.account.open_holds.checked_sub(1);
        self.account.open_holds = open.ok_or(Inconsistent("more holds are settled than were open"))?;
        if open == Some(0) {
            self.account.next_lapse = None;
        }
        Ok(settled)
    }

    pub(super) fn lot_mut(&mut self, id: LotId) -> Result<&mut Lot, Inconsistent> {
        self.lots
            .iter_mut()
            .find(|kept| kept.value.id == id)
            .map(Kept::touch)
            .ok_or(Inconsistent("a lot that a hold or charge names is missing"))
    }

    /// Finds the next due instant after everything up to `now` has been booked. Overdue holds are gone with it, so what
    /// lapses next is among those placed here, or not loaded and known to the row.
    pub(super) fn reset_next_due(&mut self, now: Timestamp) {
        let expiries = self.lots().filter_map(|lot| lot.terms.expires_at).filter(|at| *at > now).min();
        let open = self.holds().filter(|hold| hold.state == HoldState::Open);
        self.next_due = earliest(expiries, open.map(|hold| hold.deadline).min());
    }

    /// Moves on to the period at `now`. What was charged between a boundary and a renewal that comes late counts in
    /// the new period, because both count months from the same anchor.
    pub(super) fn roll_period(&mut self, now: Timestamp) {
        self.account.period = self.account.period.at(now);
    }

    /// Begins the `number`-th month from `anchor`, unless the account is in it or past it already.
    pub(super) fn begin_period(&mut self, anchor: Timestamp, number: u32) {
        let begun = Period::anchored(anchor, number);
        let period = &mut self.account.period;
        if period.anchor != anchor || period.month.number < number {
            *period = begun;
        }
        self.account.renews_at = Some(begun.month.end);
    }

    /// Whether one more charge of `amount` can be counted for ever.
    pub(super) fn can_count(&self, amount: Credits) -> Result<(), Refusal> {
        self.account.charged.checked_add(amount.micro()).map(drop).ok_or(Refusal::TotalsFull)
    }

    pub(super) fn count_charge(&mut self, at: Timestamp, amount: Credits, by: &Attribution, metered: Option<&Metered>) {
        let key = UsageKey::of(at, by);
        let hour = key.hour;
        self.usage.entry(key).or_default().charge(amount);
        if let (Some(metered), Some(model)) = (metered, &by.model) {
            for component in &metered.components {
                let key = MeterKey { hour, model: model.clone(), meter: component.meter.clone() };
                self.meters.entry(key).or_default().count(component);
            }
        }
        self.account.charged = self.account.charged.saturating_add(amount.micro());
        // At most what the account has charged in its life, which is checked to fit.
        self.account.period.spent = self.account.period.spent.saturating_add(amount.micro());
    }

    pub(super) fn count_refund(&mut self, at: Timestamp, amount: Credits, by: &Attribution) {
        self.usage.entry(UsageKey::of(at, by)).or_default().refund(amount);
        self.account.period.spent = self.account.period.spent.saturating_sub(amount.micro()).max(0);
    }

    /// Sets what the account owes.
    pub(super) fn set_debt(&mut self, debt: Credits) {
        self.account.debt = debt;
    }

    /// Gives back what a hold reserved that is not loaded, and books nothing.
    pub(super) fn free_unbooked(&mut self, postings: &[Posting]) -> Result<(), Refusal> {
        let (available, held) = self.balances_after(postings)?;
        self.apply(postings)?;
        self.account.available = available;
        self.account.held = held;
        self.account.open_holds = self.account.open_holds.saturating_sub(1);
        Ok(())
    }

    /// Appends an entry: applies its postings to the lots (a grant's lot is inserted by its
    /// caller), moves the balances, numbers and chains it. All of it or, on a refusal, nothing.
    ///
    /// Of what is done with a purged owner's account no details are kept: nobody would erase them any more.
    pub(super) fn book(&mut self, at: Timestamp, mut draft: Draft, actor: &Actor) -> Result<Arc<Entry>, Refusal> {
        draft.details = draft.details.filter(|_| self.account.standing != Standing::Purged);
        let (available, held) = self.balances_after(&draft.postings)?;
        let spendable_after = if let Event::Grant { terms, .. } = &draft.event {
            // The new lot is not among the loaded ones yet.
            let new = if terms.is_spendable_at(at) { draft.amount } else { Credits::ZERO };
            let before = self.spendable(at);
            self.account.available = available;
            before.checked_add(new).unwrap_or(Credits::MAX)
        } else {
            self.apply(&draft.postings)?;
            self.count_allowance(&draft.postings);
            self.account.available = available;
            self.spendable(at)
        };
        self.account.held = held;
        let place = Place {
            owner: self.owner,
            previous: self.account.head.hash,
            seq: self.account.head.seq + 1,
            at,
            available_after: available,
            spendable_after,
            held_after: held,
            actor: *actor,
        };
        let entry = Arc::new(Entry::seal(&place, draft));
        self.account.head = LedgerHead { seq: entry.seq, hash: entry.hash, at };
        if let Some(key) = entry.request_key {
            self.replays.insert(key, Arc::clone(&entry));
        }
        self.entries.push(Arc::clone(&entry));
        Ok(entry)
    }

    /// Available and held after `postings`. Their sum is kept within [`Credits::MAX`], so that
    /// giving back a hold can never fail.
    fn balances_after(&self, postings: &[Posting]) -> Result<(Credits, Credits), Refusal> {
        let remaining: i64 = postings.iter().map(|posting| posting.remaining).sum();
        let reserved: i64 = postings.iter().map(|posting| posting.held).sum();
        let available = self.account.available.micro() + remaining;
        let held = self.account.held.micro() + reserved;
        if available + held > Credits::MAX.micro() {
            return Err(Refusal::BalanceTooLarge);
        }
        Ok((shift(self.account.available, remaining)?, shift(self.account.held, reserved)?))
    }

    fn apply(&mut self, postings: &[Posting]) -> Result<(), Inconsistent> {
        for (done, posting) in postings.iter().enumerate() {
            let applied = self.lot_mut(posting.lot).and_then(|lot| lot.apply(posting));
            if let Err(error) = applied {
                for undo in postings[..done].iter().rev() {
                    self.lot_mut(undo.lot)?.apply(&undo.reversed())?;
                }
                return Err(error);
            }
        }
        Ok(())
    }
}
