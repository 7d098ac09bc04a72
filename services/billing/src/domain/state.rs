//! The state of one account: what decisions read and change.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bursar_id::{ChargeId, HoldId, LotId, OwnerId, UserId};
use bursar_money::Credits;
use bursar_time::Timestamp;

use super::account::{Account, Balance, Expiry, LedgerHead, Period};
use super::attribution::{Attribution, Note};
use super::changes::{Changes, Kept, Mark, sort_out};
use super::charge::Charge;
use super::command::{Request, RequestKey};
use super::entry::{Entry, EntryKind, GrantTerms, OperationId, Posting, Subject};
use super::hold::{Hold, HoldState};
use super::lot::{Lot, shift};
use super::refusal::{Inconsistent, Refusal};
use super::usage::{UsageDelta, UsageKey, UsageTotals};

/// One account while requests are decided.
///
/// Load into it: the account's row; every lot with something remaining or held; every open hold
/// whose deadline has passed; and what [`Request::needs`] names. What is not loaded does not exist
/// for a decision.
#[derive(Debug, Clone)]
pub struct AccountState {
    owner: OwnerId,
    account: Account,
    /// In burn order.
    lots: Vec<Kept<Lot>>,
    holds: BTreeMap<HoldId, Kept<Hold>>,
    charges: BTreeMap<ChargeId, Charge>,
    replays: HashMap<RequestKey, Arc<Entry>>,
    /// No expiry and no deadline of what is loaded lies in `(account time, next_due)`.
    next_due: Option<Timestamp>,
    entries: Vec<Arc<Entry>>,
    usage: BTreeMap<UsageKey, UsageTotals>,
    scratch: Vec<u8>,
}

/// An entry before the ledger gives it its number, balances and hash.
pub(super) struct Draft {
    pub(super) kind: EntryKind,
    pub(super) amount: Credits,
    pub(super) postings: Vec<Posting>,
    pub(super) id: Option<OperationId>,
    pub(super) subject: Option<Subject>,
    pub(super) attribution: Option<Arc<Attribution>>,
    pub(super) occurred_at: Option<Timestamp>,
    pub(super) expires_at: Option<Timestamp>,
    pub(super) grant: Option<GrantTerms>,
    pub(super) note: Option<Note>,
}

impl Draft {
    pub(super) fn new(kind: EntryKind, amount: Credits, postings: Vec<Posting>) -> Self {
        Self {
            kind,
            amount,
            postings,
            id: None,
            subject: None,
            attribution: None,
            occurred_at: None,
            expires_at: None,
            grant: None,
            note: None,
        }
    }
}

/// Loading.
impl AccountState {
    /// The state of `owner`'s account with its row and lots as they were loaded.
    ///
    /// # Errors
    /// The rows contradict one another: a lot whose parts do not add up, or balances that are not
    /// the sum of the lots. Somebody changed a row by hand; nothing more may be booked on top.
    pub fn new(owner: OwnerId, account: Account, lots: Vec<Lot>) -> Result<Self, Inconsistent> {
        let mut state = Self {
            owner,
            account,
            lots: Vec::with_capacity(lots.len()),
            holds: BTreeMap::new(),
            charges: BTreeMap::new(),
            replays: HashMap::new(),
            next_due: None,
            entries: Vec::new(),
            usage: BTreeMap::new(),
            scratch: Vec::with_capacity(512),
        };
        let sum = |part: fn(&Lot) -> Credits| -> i128 { lots.iter().map(|lot| i128::from(part(lot).micro())).sum() };
        if sum(|lot| lot.remaining) != i128::from(account.available.micro())
            || sum(|lot| lot.held) != i128::from(account.held.micro())
        {
            return Err(Inconsistent("the account's balances are not the sum of its lots"));
        }
        for lot in lots {
            if !lot.is_balanced() {
                return Err(Inconsistent("the parts of a lot do not add up to what was granted"));
            }
            state.next_due = earliest(state.next_due, lot.expires_at);
            state.lots.push(Kept { value: lot, mark: Mark::Stored });
        }
        state.lots.sort_by_key(|kept| kept.value.burn_key());
        Ok(state)
    }

    /// Adds a stored hold. One that is known already stays as it is.
    pub fn load_hold(&mut self, hold: Hold) {
        if hold.state == HoldState::Open {
            self.next_due = earliest(self.next_due, Some(hold.deadline));
        }
        self.holds.entry(hold.id).or_insert(Kept { value: hold, mark: Mark::Stored });
    }

    /// Adds a stored charge. One that is known already stays as it is.
    pub fn load_charge(&mut self, charge: Charge) {
        self.charges.entry(charge.id).or_insert(charge);
    }

    /// Adds a lot that has nothing remaining and nothing held, but may be voided or refunded to.
    /// One that is known already stays as it is.
    pub fn load_lot(&mut self, lot: Lot) {
        if self.lot(lot.id).is_none() {
            self.next_due = earliest(self.next_due, lot.expires_at);
            self.keep_lot(lot, Mark::Stored);
        }
    }

    /// Adds the stored entry that an earlier request booked under its key.
    pub fn load_replay(&mut self, entry: Arc<Entry>) {
        if let Some(key) = &entry.request_key {
            self.replays.entry(key.clone()).or_insert(entry);
        }
    }

    /// Begins the period `[start, end)` if it is not the current one: nothing is spent in it yet.
    pub fn enter_period(&mut self, start: Timestamp, end: Timestamp) {
        if (self.account.period.start, self.account.period.end) != (start, end) {
            self.account.period = Period { start, end, spent: Credits::ZERO };
        }
    }
}

/// Reading.
impl AccountState {
    /// Whose account it is.
    pub fn owner(&self) -> OwnerId {
        self.owner
    }

    /// The account's row as it is now.
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The loaded lots in burn order.
    pub fn lots(&self) -> impl Iterator<Item = &Lot> {
        self.lots.iter().map(|kept| &kept.value)
    }

    /// A loaded lot.
    pub fn lot(&self, id: LotId) -> Option<&Lot> {
        self.lots().find(|lot| lot.id == id)
    }

    /// A loaded hold.
    pub fn hold(&self, id: HoldId) -> Option<&Hold> {
        self.holds.get(&id).map(|kept| &kept.value)
    }

    /// The loaded holds by id.
    pub fn holds(&self) -> impl Iterator<Item = &Hold> {
        self.holds.values().map(|kept| &kept.value)
    }

    /// Who made the hold or charge that a request is about, if it is about one that is loaded.
    pub fn maker_of(&self, request: &Request) -> Option<UserId> {
        let needs = request.needs();
        let held = needs.hold.and_then(|id| self.hold(id)).map(|hold| hold.attribution.member);
        held.or_else(|| needs.charge.and_then(|id| self.charge(id)).map(|charge| charge.attribution.member))
    }

    /// The lots that credits may be taken from at `now`, in the order in which they would be.
    pub fn spendable_lots(&self, now: Timestamp) -> impl Iterator<Item = &Lot> {
        self.lots().filter(move |lot| lot.remaining > Credits::ZERO && lot.is_spendable_at(now))
    }

    /// What the account has at `now`. Decide a `Sweep` first, so that overdue holds count as freed.
    pub fn balance(&self, now: Timestamp) -> Balance {
        let mut available = Credits::ZERO;
        let mut next_expiry: Option<Expiry> = None;
        for lot in self.spendable_lots(now) {
            available = available.checked_add(lot.remaining).unwrap_or(Credits::MAX);
            let Some(at) = lot.expires_at else { continue };
            next_expiry = match next_expiry {
                Some(sooner) if sooner.at < at => Some(sooner),
                Some(same) if same.at == at => {
                    let amount = same.amount.checked_add(lot.remaining).unwrap_or(Credits::MAX);
                    Some(Expiry { at, amount })
                }
                _ => Some(Expiry { at, amount: lot.remaining }),
            };
        }
        let spent_this_period = self.account.period.spent;
        Balance { available, held: self.account.held, next_expiry, spent_this_period }
    }
}

/// Deciding: used by `decide` alone.
impl AccountState {
    /// The time that decisions are made at: `now`, but never behind the ledger.
    pub(super) fn time(&self, now: Timestamp) -> Timestamp {
        now.max(self.account.head.at)
    }

    pub(super) fn replay(&self, key: &RequestKey) -> Option<&Arc<Entry>> {
        self.replays.get(key)
    }

    /// A charge that was loaded or is among the entries not yet taken.
    pub(super) fn charge(&self, id: ChargeId) -> Option<Charge> {
        self.charges.get(&id).cloned().or_else(|| {
            let made = |entry: &&Arc<Entry>| entry.id == Some(OperationId::Charge(id));
            self.entries.iter().rev().find(made).and_then(|it| Charge::from_entry(it, Credits::ZERO))
        })
    }

    pub(super) fn keep_charge(&mut self, charge: Charge) {
        self.charges.insert(charge.id, charge);
    }

    pub(super) fn insert_hold(&mut self, hold: Hold) {
        self.next_due = earliest(self.next_due, Some(hold.deadline));
        self.holds.insert(hold.id, Kept { value: hold, mark: Mark::Inserted });
    }

    pub(super) fn insert_lot(&mut self, lot: Lot) {
        self.next_due = earliest(self.next_due, lot.expires_at);
        self.keep_lot(lot, Mark::Inserted);
    }

    fn keep_lot(&mut self, lot: Lot, mark: Mark) {
        let key = lot.burn_key();
        let place = self.lots.partition_point(|kept| kept.value.burn_key() < key);
        self.lots.insert(place, Kept { value: lot, mark });
    }

    pub(super) fn hold_mut(&mut self, id: HoldId) -> Result<&mut Hold, Refusal> {
        self.holds.get_mut(&id).map(Kept::touch).ok_or(Refusal::HoldNotFound)
    }

    pub(super) fn lot_mut(&mut self, id: LotId) -> Result<&mut Lot, Inconsistent> {
        self.lots
            .iter_mut()
            .find(|kept| kept.value.id == id)
            .map(Kept::touch)
            .ok_or(Inconsistent("a lot that a hold or charge names is missing"))
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.next_due
    }

    /// Finds the next due instant after everything up to `now` has been booked.
    pub(super) fn reset_next_due(&mut self, now: Timestamp) {
        let expiries = self.lots().filter_map(|lot| lot.expires_at).filter(|at| *at > now).min();
        let open = self.holds().filter(|hold| hold.state == HoldState::Open);
        self.next_due = earliest(expiries, open.map(|hold| hold.deadline).min());
    }

    pub(super) fn count_charge(&mut self, at: Timestamp, amount: Credits, by: &Attribution) {
        self.usage.entry(UsageKey::of(at, by)).or_default().charge(amount, by);
        let spent = self.account.period.spent.checked_add(amount);
        self.account.period.spent = spent.unwrap_or(Credits::MAX);
    }

    pub(super) fn count_refund(&mut self, at: Timestamp, amount: Credits, by: &Attribution) {
        self.usage.entry(UsageKey::of(at, by)).or_default().refund(amount);
        let spent = self.account.period.spent.checked_sub(amount);
        self.account.period.spent = spent.unwrap_or(Credits::ZERO);
    }

    /// Appends an entry: applies its postings to the lots (a grant's lot is inserted by its
    /// caller), moves the balances, numbers and chains it. All of it or, on a refusal, nothing.
    pub(super) fn book(
        &mut self,
        at: Timestamp,
        draft: Draft,
        request: Option<&Request>,
    ) -> Result<Arc<Entry>, Refusal> {
        let (available, held) = self.balances_after(&draft.postings)?;
        if draft.kind != EntryKind::Grant {
            self.apply(&draft.postings)?;
        }
        let mut entry = Entry {
            seq: self.account.head.seq + 1,
            kind: draft.kind,
            at,
            amount: draft.amount,
            available_after: available,
            held_after: held,
            id: draft.id,
            subject: draft.subject,
            attribution: draft.attribution,
            occurred_at: draft.occurred_at,
            expires_at: draft.expires_at,
            grant: draft.grant,
            note: draft.note,
            request_key: request.and_then(|request| request.key.clone()),
            body_hash: request.map_or(0, |request| request.body_hash),
            postings: draft.postings,
            hash: [0; 32],
        };
        entry.hash = entry.digest(self.owner, &self.account.head.hash, &mut self.scratch);
        self.account.head = LedgerHead { seq: entry.seq, hash: entry.hash, at };
        self.account.available = available;
        self.account.held = held;
        let entry = Arc::new(entry);
        if let Some(key) = &entry.request_key {
            self.replays.insert(key.clone(), Arc::clone(&entry));
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

/// Writing back.
impl AccountState {
    /// How many entries have been booked since changes were last taken.
    pub fn pending_entries(&self) -> usize {
        self.entries.len()
    }

    /// What must be written since the state was loaded or changes were last taken. Afterwards the
    /// state counts as stored and may go on being used.
    pub fn take_changes(&mut self) -> Changes {
        let mut changes = Changes {
            owner: self.owner,
            account: self.account,
            entries: std::mem::take(&mut self.entries),
            lots_inserted: Vec::new(),
            lots_updated: Vec::new(),
            holds_inserted: Vec::new(),
            holds_updated: Vec::new(),
            usage: Vec::new(),
        };
        for kept in &mut self.lots {
            sort_out(kept, &mut changes.lots_inserted, &mut changes.lots_updated);
        }
        for kept in self.holds.values_mut() {
            sort_out(kept, &mut changes.holds_inserted, &mut changes.holds_updated);
        }
        let usage = std::mem::take(&mut self.usage);
        changes.usage = usage.into_iter().map(|(key, add)| UsageDelta { key, add }).collect();
        changes
    }

    /// Forgets what belonged to single requests, once their changes have been taken: the state is then
    /// what would be loaded from the store, and as small, so it may wait for the next requests.
    pub fn rest(&mut self) {
        self.holds = BTreeMap::new();
        self.charges = BTreeMap::new();
        self.replays = HashMap::new();
        self.scratch = Vec::new();
        self.lots.retain(|kept| kept.value.is_live());
        self.next_due = self.lots().filter_map(|lot| lot.expires_at).min();
    }
}

/// The earlier of two instants, where `None` is never.
fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}
