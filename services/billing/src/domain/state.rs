//! The state of one account: what decisions read and change.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bursar_id::{ChargeId, HoldId, LotId, OwnerId, UserId};
use bursar_members::Word;
use bursar_money::Credits;
use bursar_time::Timestamp;

use super::account::{Account, Balance, Expiry};
use super::allowance::AllowanceAlert;
use super::attribution::{Labels, ModelName, Note, ProjectName};
use super::changes::{Changes, Kept, Mark, sort_out};
use super::charge::Charge;
use super::command::{Request, RequestKey};
use super::details::Details;
use super::entry::{Entry, Event, Posting};
use super::hold::{Hold, HoldState};
use super::limits::Limits;
use super::lot::Lot;
use super::refusal::Inconsistent;
use super::rules::Rules;
use super::usage::{MeterDelta, MeterKey, MeterTotals, UsageDelta, UsageKey, UsageTotals};

/// One account while requests are decided.
///
/// Load into it: the account's row; every lot with something remaining or held; every open hold
/// whose deadline has passed; and what [`Request::needs`] names. What is not loaded does not exist
/// for a decision.
#[derive(Debug, Clone)]
pub struct AccountState {
    pub(super) owner: OwnerId,
    pub(super) account: Account,
    pub(super) rules: Arc<Rules>,
    /// In burn order.
    pub(super) lots: Vec<Kept<Lot>>,
    pub(super) holds: BTreeMap<HoldId, Kept<Hold>>,
    pub(super) charges: BTreeMap<ChargeId, Charge>,
    /// What organization said of these users; `None`: nothing.
    pub(super) members: HashMap<UserId, Option<Word>>,
    pub(super) replays: HashMap<RequestKey, Arc<Entry>>,
    /// No expiry and no deadline of what is loaded lies in `(account time, next_due)`.
    pub(super) next_due: Option<Timestamp>,
    /// From here on every loaded lot is effective.
    pub(super) all_effective: Timestamp,
    /// Whether the row must be written though nothing was booked.
    pub(super) lapse_moved: bool,
    pub(super) entries: Vec<Arc<Entry>>,
    pub(super) usage: BTreeMap<UsageKey, UsageTotals>,
    pub(super) meters: BTreeMap<MeterKey, MeterTotals>,
    /// Empty for an account without.
    pub(super) limits: Limits,
    /// Of which percentages of the allowance somebody is to be told.
    pub(super) allowance_alerts: Vec<AllowanceAlert>,
    /// Whether what can be spent fell below what the account's top-up wants.
    pub(super) crossed: bool,
}

/// An entry before the ledger gives it its number, balances and hash.
pub(super) struct Draft {
    pub(super) amount: Credits,
    pub(super) event: Event,
    pub(super) postings: Vec<Posting>,
    pub(super) request_key: Option<RequestKey>,
    pub(super) details: Option<Arc<Details>>,
}

impl Draft {
    pub(super) fn new(event: Event, amount: Credits, postings: Vec<Posting>) -> Self {
        Self { amount, event, postings, request_key: None, details: None }
    }

    /// Books it under the request's name, with details that belong to `member`.
    pub(super) fn asked_by(self, request: &Request, member: Option<UserId>, labels: Option<&Labels>) -> Self {
        let labels = labels.cloned().unwrap_or_default();
        Self { request_key: request.key(), details: request.details(member, labels, None), ..self }
    }

    /// Books it under the request's name, with a remark and whatever else belongs to no member.
    pub(super) fn noted(self, request: &Request, note: Option<&Note>) -> Self {
        let details = request.details(None, Labels::default(), note.cloned());
        Self { request_key: request.key(), details, ..self }
    }
}

/// How many users' memberships a state that waits for the next requests goes on remembering.
const MEMBERS_REMEMBERED: usize = 4_096;

/// Loading.
impl AccountState {
    /// The state of `owner`'s account with its row and lots as they were loaded, under these rules.
    ///
    /// # Errors
    /// The rows contradict one another: a lot whose parts do not add up, or balances that are not
    /// the sum of the lots. Somebody changed a row by hand; nothing more may be booked on top.
    pub fn new(owner: OwnerId, account: Account, lots: Vec<Lot>, rules: Arc<Rules>) -> Result<Self, Inconsistent> {
        let mut state = Self {
            owner,
            account,
            rules,
            lots: Vec::with_capacity(lots.len()),
            holds: BTreeMap::new(),
            charges: BTreeMap::new(),
            members: HashMap::new(),
            replays: HashMap::new(),
            next_due: None,
            all_effective: Timestamp::MIN,
            lapse_moved: false,
            entries: Vec::new(),
            usage: BTreeMap::new(),
            meters: BTreeMap::new(),
            limits: Limits::default(),
            allowance_alerts: Vec::new(),
            crossed: false,
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
            state.notice(&lot);
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

    /// Sets when the next hold lapses whose deadline is still to come. What is overdue must be loaded as well: the
    /// first decision books it.
    pub fn load_next_lapse(&mut self, next: Option<Timestamp>) {
        self.lapse_moved |= self.account.next_lapse != next;
        self.account.next_lapse = next;
    }

    /// Adds a stored charge. One that is known already stays as it is.
    pub fn load_charge(&mut self, charge: Charge) {
        self.charges.entry(charge.id).or_insert(charge);
    }

    /// Adds a lot that has nothing remaining and nothing held, but may be voided or refunded to.
    /// One that is known already stays as it is.
    pub fn load_lot(&mut self, lot: Lot) {
        if self.lot(lot.id).is_none() {
            self.notice(&lot);
            self.keep_lot(lot, Mark::Stored);
        }
    }

    /// Adds what organization said of a user, if it said anything.
    pub fn load_member(&mut self, user: UserId, membership: Option<Word>) {
        self.members.insert(user, membership);
    }

    /// Adds the stored entry that an earlier request booked under its key, with its details.
    pub fn load_replay(&mut self, entry: Arc<Entry>) {
        if let Some(key) = entry.request_key {
            self.replays.entry(key).or_insert(entry);
        }
    }

    /// What a lot means for the next due time and for what is spendable.
    pub(super) fn notice(&mut self, lot: &Lot) {
        self.next_due = earliest(self.next_due, lot.terms.expires_at);
        self.all_effective = self.all_effective.max(lot.terms.effective_at);
    }

    pub(super) fn keep_lot(&mut self, lot: Lot, mark: Mark) {
        let key = lot.burn_key();
        let place = self.lots.partition_point(|kept| kept.value.burn_key() < key);
        self.lots.insert(place, Kept { value: lot, mark });
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

    /// The rules that decisions on it rest on.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
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

    /// What is known of a user; `None` if nobody looked.
    pub fn looked_up(&self, user: UserId) -> Option<Option<Word>> {
        self.members.get(&user).copied()
    }

    /// The lots that credits may be taken from at `now`, in the order in which they would be.
    pub fn spendable_lots(&self, now: Timestamp) -> impl Iterator<Item = &Lot> {
        self.lots().filter(move |lot| lot.remaining > Credits::ZERO && lot.is_spendable_at(now))
    }

    /// What can be spent at `at`, by any work.
    pub fn spendable(&self, at: Timestamp) -> Credits {
        if self.all_effective <= at && self.next_due.is_none_or(|due| due > at) {
            // What has expired was booked, and everything else that remains is effective.
            return self.account.available;
        }
        Credits::checked_sum(self.spendable_lots(at).map(|lot| lot.remaining)).unwrap_or(Credits::MAX)
    }

    /// What the account has at `now`: all of it, or for a named model or project what may pay for those. Decide a
    /// `Sweep` first, so that overdue holds count as freed.
    pub fn balance(&self, now: Timestamp, model: Option<&ModelName>, project: Option<&ProjectName>) -> Balance {
        let mut available = Credits::ZERO;
        let mut next_expiry: Option<Expiry> = None;
        let any = model.is_none() && project.is_none();
        for lot in self.spendable_lots(now).filter(|lot| any || lot.terms.scope.admits(model, project)) {
            available = available.checked_add(lot.remaining).unwrap_or(Credits::MAX);
            let Some(at) = lot.terms.expires_at else { continue };
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
            lapse_moved: std::mem::take(&mut self.lapse_moved),
            lots_inserted: Vec::new(),
            lots_updated: Vec::new(),
            holds_inserted: Vec::new(),
            holds_updated: Vec::new(),
            usage: Vec::new(),
            meters: Vec::new(),
            used: Vec::new(),
            alerts: Vec::new(),
            allowance_alerts: std::mem::take(&mut self.allowance_alerts),
            crossed: std::mem::take(&mut self.crossed),
        };
        for kept in &mut self.lots {
            sort_out(kept, &mut changes.lots_inserted, &mut changes.lots_updated);
        }
        for kept in self.holds.values_mut() {
            sort_out(kept, &mut changes.holds_inserted, &mut changes.holds_updated);
        }
        let usage = std::mem::take(&mut self.usage);
        changes.usage = usage.into_iter().map(|(key, add)| UsageDelta { key, add }).collect();
        let meters = std::mem::take(&mut self.meters);
        changes.meters = meters.into_iter().map(|(key, add)| MeterDelta { key, add }).collect();
        (changes.used, changes.alerts) = self.limits.take();
        changes
    }

    /// Forgets what belonged to single requests, once their changes have been taken: the state is then
    /// what would be loaded from the store, and as small, so it may wait for the next requests.
    pub fn rest(&mut self) {
        self.holds = BTreeMap::new();
        self.charges = BTreeMap::new();
        self.replays = HashMap::new();
        if self.members.len() > MEMBERS_REMEMBERED {
            self.members = HashMap::new();
        }
        self.limits.rest(self.account.head.at);
        self.lots.retain(|kept| kept.value.is_live());
        self.next_due = self.lots().filter_map(|lot| lot.terms.expires_at).min();
        self.all_effective = self.lots().map(|lot| lot.terms.effective_at).max().unwrap_or(Timestamp::MIN);
    }
}

/// The earlier of two instants, where `None` is never.
pub(super) fn earliest(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, None) | (None, one) => one,
    }
}
