//! An account with a store of its own: what the lane does around the engine, in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bursar_id::{ChargeId, HoldId, Id, LotId, OwnerId, Role, UserId};
use bursar_members::Word;
use bursar_money::Credits;
use bursar_time::{Span, Timestamp, Zone};

use crate::domain::*;

/// The installation's key in every test.
pub(super) const KEY: OperationKey = OperationKey::new([7; 32]);

/// Second `n` of every test.
pub(super) fn at(second: u64) -> Timestamp {
    Timestamp::from_unix_secs(1_767_225_600).unwrap().checked_add(Span::from_secs(second)).unwrap()
}

/// `n` whole credits.
pub(super) fn credits(n: u32) -> Credits {
    Credits::whole(n)
}

/// The id number `n` of any kind; greater numbers make greater ids.
pub(super) fn id<K>(n: u64) -> Id<K> {
    Id::from_parts(n, [7; 10])
}

pub(super) fn owner() -> OwnerId {
    OwnerId::Organization(id(1))
}

pub(super) fn model(name: &str) -> ModelName {
    ModelName::parse(name).unwrap()
}

pub(super) fn project(name: &str) -> ProjectName {
    ProjectName::parse(name).unwrap()
}

/// Work for a member, of no project and no model.
pub(super) fn work(member: u64) -> Attribution {
    Attribution { member: id(member), project: None, model: None }
}

/// The product's service number `n`.
pub(super) fn service(n: u64) -> Actor {
    Actor::Service { service: id(n) }
}

/// The name `text` of a request as service 1 chooses it.
pub(super) fn name(text: &str) -> RequestName {
    RequestName::new(&service(1), text.parse().unwrap())
}

/// A membership as somebody tells it.
pub(super) fn membership(member: bool, version: u64) -> Word {
    Word { role: member.then_some(Role::Member), incarnation: 1, version }
}

/// The price of one meter: its first rate and what it is from some second on.
pub(super) fn meter(name: &str, first: &str, changed: Option<(&str, u64)>) -> MeterPrice {
    let rate = |credits: &str, from| Rate { credits_per_unit: credits.parse().unwrap(), from };
    let changed = changed.map(|(credits, second)| rate(credits, Some(at(second))));
    let rates = [rate(first, None)].into_iter().chain(changed).collect();
    MeterPrice { meter: MeterName::parse(name).unwrap(), unit: "unit".to_owned(), rates }
}

/// The rules of the tables of cases: `veo` costs half a credit a second, and a whole one from second 1000 on; `claude`
/// has two meters.
pub(super) fn rules() -> Rules {
    let price = |name: &str, meters| ModelPrice { model: model(name), display_name: name.to_owned(), meters };
    let rates = RateCard::new([
        price("veo", vec![meter("seconds", "0.5", Some(("1", 1_000)))]),
        price("claude", vec![meter("input", "0.1", None), meter("output", "0.000001", None)]),
    ]);
    Rules { catalog_version: CatalogVersion::new(3).unwrap(), ..Rules::for_test(rates, KEY) }
}

/// What a database would hold for one account.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) account: Account,
    pub(super) lots: BTreeMap<LotId, Lot>,
    pub(super) holds: BTreeMap<HoldId, Hold>,
    /// By number, from 1 up.
    pub(super) entries: Vec<StoredEntry>,
    /// Pages as bytes, by the number of the last entry that each had.
    pub(super) details: BTreeMap<u64, Vec<u8>>,
    /// The number of each charge's last refund.
    pub(super) refunds: BTreeMap<ChargeId, u64>,
    pub(super) usage: BTreeMap<UsageKey, UsageTotals>,
    pub(super) meters: BTreeMap<MeterKey, MeterTotals>,
    /// What organization's events said.
    pub(super) members: BTreeMap<UserId, Word>,
    pub(super) limits: Arc<LimitSet>,
    pub(super) used: BTreeMap<UseKey, Used>,
    /// Everything that was told, in order.
    pub(super) alerts: Vec<LimitAlert>,
    pub(super) allowance_alerts: Vec<AllowanceAlert>,
    /// How often it was written that the account fell below what its top-up wants.
    pub(super) crossed: usize,
}

/// Writing.
impl Store {
    fn new() -> Self {
        Self {
            account: Account::open(owner(), at(0)),
            lots: BTreeMap::new(),
            holds: BTreeMap::new(),
            entries: Vec::new(),
            details: BTreeMap::new(),
            refunds: BTreeMap::new(),
            usage: BTreeMap::new(),
            meters: BTreeMap::new(),
            members: BTreeMap::new(),
            limits: Arc::default(),
            used: BTreeMap::new(),
            alerts: Vec::new(),
            allowance_alerts: Vec::new(),
            crossed: 0,
        }
    }

    fn write(&mut self, changes: Changes) {
        self.account = changes.account;
        if let Some(allowance) = self.account.allowance {
            let (seq, stored) = (self.account.head.seq, allowance.to_bytes(self.account.head.seq));
            assert_eq!(Allowance::from_bytes(&stored, seq), Some(allowance), "stored form");
        }
        self.write_entries(&changes.entries);
        for lot in changes.lots_inserted {
            assert_eq!(LotTerms::from_bytes(&lot.terms.to_bytes()).as_ref(), Ok(lot.terms.as_ref()), "stored terms");
            assert!(self.lots.insert(lot.id, lot).is_none(), "a lot was inserted twice");
        }
        // What was said in free text is written once, and may have been erased since.
        for lot in changes.lots_updated {
            let stored = self.lots.get_mut(&lot.id).expect("an unknown lot was updated");
            *stored = Lot { note: stored.note.take(), ..lot };
        }
        for hold in changes.holds_inserted {
            assert_eq!(HoldTerms::from_bytes(&hold.terms.to_bytes()).as_ref(), Ok(hold.terms.as_ref()), "stored terms");
            assert!(self.holds.insert(hold.id, hold).is_none(), "a hold was inserted twice");
        }
        for hold in changes.holds_updated {
            let stored = self.holds.get_mut(&hold.id).expect("an unknown hold was updated");
            *stored = Hold { labels: std::mem::take(&mut stored.labels), ..hold };
        }
        for delta in changes.usage {
            self.usage.entry(delta.key).or_default().add(&delta.add);
        }
        for delta in changes.meters {
            self.meters.entry(delta.key).or_default().add(&delta.add);
        }
        self.used.extend(changes.used);
        self.alerts.extend(changes.alerts);
        self.allowance_alerts.extend(changes.allowance_alerts);
        self.crossed += usize::from(changes.crossed);
        for entry in &changes.entries {
            if let Event::Erase { member } = &entry.event {
                self.erase(*member, entry.seq);
            }
        }
    }

    fn write_entries(&mut self, entries: &[Arc<Entry>]) {
        let details: Vec<_> =
            entries.iter().filter_map(|entry| Some((entry.seq, Arc::clone(entry.details.as_ref()?)))).collect();
        for (last, page) in DetailsPage::pages(&details) {
            assert!(self.details.insert(last, page.to_bytes()).is_none(), "a page of details was written twice");
        }
        for entry in entries {
            self.entries.push(entry.to_stored());
            self.refunds.extend(entry.refunds().map(|charge| (charge, entry.seq)));
            // Through the stored form and back: nothing may get lost on the way.
            assert_eq!(self.entry(entry.seq), **entry, "stored form");
        }
    }

    /// Removes the details before entry number `before`, wherever they stand.
    fn erase(&mut self, member: Option<UserId>, before: u64) {
        let mut kept = BTreeMap::new();
        for (last, bytes) in &self.details {
            let mut page = DetailsPage::from_bytes(bytes).unwrap();
            page.erase(&[(member, before)].into());
            if !page.is_empty() {
                kept.insert(*last, page.to_bytes());
            }
        }
        self.details = kept;
        let theirs = |hold: &&mut Hold| Some(hold.terms.attribution.member) == member && hold.number < before;
        self.holds.values_mut().filter(theirs).for_each(|hold| hold.labels = Labels::default());
        if member.is_none() {
            self.lots.values_mut().for_each(|lot| lot.note = None);
        }
    }
}

/// Reading.
impl Store {
    /// Entry number `seq` with its details.
    pub(super) fn entry(&self, seq: u64) -> Entry {
        let row = &self.entries[usize::try_from(seq - 1).unwrap()];
        let mut entry = Entry::from_stored(row.clone()).unwrap();
        entry.details = self.details_of(seq);
        entry
    }

    pub(super) fn details_of(&self, seq: u64) -> Option<Arc<Details>> {
        let (_, page) = self.details.range(seq..).next()?;
        DetailsPage::from_bytes(page).unwrap().of(seq).cloned()
    }

    /// The whole ledger.
    pub(super) fn ledger(&self) -> Vec<Entry> {
        (1..=self.entries.len() as u64).map(|seq| self.entry(seq)).collect()
    }

    fn load(&self, rules: &Arc<Rules>) -> AccountState {
        let live = self.lots.values().filter(|lot| lot.is_live()).cloned().collect();
        let mut state = AccountState::new(owner(), self.account, live, Arc::clone(rules)).unwrap();
        state.load_limits(Arc::clone(&self.limits));
        state
    }

    /// Loads what one request needs beside the live lots, and nothing else.
    fn load_needs(&self, state: &mut AccountState, request: &Request, actor: &Actor, now: Timestamp) {
        let needs = request.needs();
        if state.lacks_allowance() {
            let mut lots: Vec<&Lot> = self.lots.values().collect();
            lots.sort_by_key(|lot| lot.number);
            state.load_allowance(lots, now);
        }
        if state.account().next_lapse.is_some_and(|next| next <= now) {
            let open = self.holds.values().filter(|hold| hold.state == HoldState::Open);
            let (overdue, later): (Vec<_>, Vec<_>) = open.partition(|hold| hold.deadline <= now);
            for hold in overdue {
                state.load_hold(hold.clone());
            }
            state.load_next_lapse(later.iter().map(|hold| hold.deadline).min());
        }
        if let Some(hold) = needs.hold.and_then(|id| self.holds.get(&id)) {
            state.load_hold(hold.clone());
        }
        if let Some(charge) = needs.charge.and_then(|id| self.charge(id)) {
            for allocation in &charge.allocations {
                state.load_lot(self.lots[&allocation.lot].clone());
            }
            state.load_charge(charge);
        }
        if let Some(lot) = needs.lot.and_then(|id| self.lots.get(&id)) {
            state.load_lot(lot.clone());
        }
        if let Some(user) = needs.member {
            state.load_member(user, self.members.get(&user).copied());
        }
        let known = |row: &&StoredEntry| {
            needs.key.is_some_and(|key| row.request_key.as_deref() == Some(key.as_bytes().as_slice()))
        };
        if let Some(row) = self.entries.iter().find(known) {
            state.load_replay(Arc::new(self.entry(row.seq.unsigned_abs())));
        }
        let needed = state.needed_use([(request, actor)], now);
        let found: Vec<_> = needed.iter().filter_map(|key| Some((key.clone(), *self.used.get(key)?))).collect();
        state.load_use(needed, found, now);
        assert!(state.knows_use(request, actor, now), "what was loaded suffices");
    }

    /// A charge as its id leads to it.
    fn charge(&self, id: ChargeId) -> Option<Charge> {
        let seq = KEY.seq(owner(), id).filter(|seq| *seq <= self.entries.len() as u64)?;
        let entry = self.entry(seq);
        if entry.event.made() != Some(OperationId::Charge(id)) {
            return None;
        }
        let hold = match entry.event.subject() {
            Some(OperationId::Hold(hold)) => self.holds.get(&hold),
            _ => None,
        };
        let mut charge = Charge::from_entry(&entry, hold)?;
        if let Some(last) = self.refunds.get(&id) {
            let Event::Refund(refund) = self.entry(*last).event else { panic!("entry {last} is no refund") };
            charge.refunded = refund.refunded_after;
        }
        Some(charge)
    }

    /// Audits everything stored.
    pub(super) fn verify(&self) -> Result<Audit, BadLedger> {
        self.verify_rows(&self.entries)
    }

    /// The same with other rows of the ledger, as `bursar-billing verify` does.
    pub(super) fn verify_rows(&self, rows: &[StoredEntry]) -> Result<Audit, BadLedger> {
        let mut verifier = Verifier::new(owner(), KEY);
        for row in rows {
            let mut entry = Entry::from_stored(row.clone()).map_err(|error| verifier.unreadable(error))?;
            entry.details = self.details_of(entry.seq);
            verifier.push(&entry)?;
        }
        let lots: Vec<_> = self.lots.values().cloned().collect();
        let holds: Vec<_> = self.holds.values().cloned().collect();
        verifier.finish(&self.account, &lots, &holds)
    }
}

/// One account in use. The state is kept from command to command, or loaded anew for each.
#[derive(Debug, Clone)]
pub(super) struct World {
    pub(super) store: Store,
    rules: Arc<Rules>,
    state: Option<AccountState>,
}

impl World {
    pub(super) fn new(rules: Rules) -> Self {
        Self { store: Store::new(), rules: Arc::new(rules), state: None }
    }

    /// Other rules from now on: what is remembered of the account does not count under them.
    pub(super) fn change_rules(&mut self, change: impl FnOnce(&mut Rules)) {
        self.forget();
        change(Arc::make_mut(&mut self.rules));
    }

    /// Writes and forgets the state, so that the next command loads it again.
    pub(super) fn forget(&mut self) {
        self.write();
        self.state = None;
    }

    /// Decides one request. What it changes is written by [`World::write`], perhaps together with
    /// what other requests change, as in a batch; an erasure is written at once.
    pub(super) fn run(&mut self, request: &Request, actor: &Actor, now: Timestamp) -> Result<Outcome, Refusal> {
        let lapses = |state: &AccountState| state.account().next_lapse.is_some_and(|next| next <= now);
        if self.state.as_ref().is_some_and(lapses) {
            // What is overdue is looked for in the store: a new batch begins.
            self.write();
        }
        let state = match &mut self.state {
            Some(state) => state,
            None => self.state.insert(self.store.load(&self.rules)),
        };
        self.store.load_needs(state, request, actor, now);
        let answer = decide(state, request, actor, now);
        for lot in state.lots() {
            assert!(lot.is_balanced(), "after {request:?}: {lot:?} does not add up");
        }
        if matches!(answer, Ok(Outcome::Erased(_))) {
            self.write();
        }
        answer
    }

    /// Sets the account's limits, all of them; what their windows have seen before is added up from the ledger.
    pub(super) fn limit(&mut self, limits: Vec<Limit>, zone: Zone, now: Timestamp) {
        self.forget();
        let store = &mut self.store;
        let set = LimitSet::new(limits, zone);
        let now = now.max(store.account.head.at);
        for limit in set.limits() {
            let about = |key: &UseKey| match (&limit.subject, &key.subject) {
                (LimitSubject::EveryMember, Subject::Member(_)) => key.window == limit.window,
                (LimitSubject::EveryMember, _) => false,
                (LimitSubject::One(one), subject) => key.window == limit.window && one == subject,
            };
            if store.limits.counts(&limit.subject, limit.window) && store.limits.zone() == set.zone() {
                if !store.limits.limits().contains(limit) {
                    let theirs = store.used.iter_mut().filter(|(key, _)| about(key));
                    theirs.for_each(|(_, used)| *used = Used::of(used.used, used.ends_at));
                }
                continue;
            }
            let open = (now, store.account.period.at(now).month);
            let asked = Asked::of(limit.subject.clone(), limit.window, open, set.zone());
            let mut tally = Tally::new(vec![asked], set.zone().clone());
            loop {
                for entry in store.ledger().iter().filter(|entry| entry.at >= tally.starts_at()).collect::<Vec<_>>() {
                    if let Some(charge) = tally.push(entry) {
                        tally.refund(&store.charge(charge).unwrap(), entry.amount);
                    }
                }
                if !tally.reaches_back() {
                    break;
                }
            }
            store.used.retain(|key, _| !about(key));
            store.used.extend(tally.finish());
        }
        store.limits = Arc::new(set);
        // As the use case does: what is remembered of the account counts no more.
        store.account.limits = u32::try_from(store.limits.limits().len()).unwrap();
        store.account.terms += 1;
    }

    /// Decides a command of service 1's without a name.
    pub(super) fn ask(&mut self, second: u64, command: Command) -> Result<Outcome, Refusal> {
        self.run(&Request::unnamed(command), &service(1), at(second))
    }

    /// Books what is due and looks at what there is.
    pub(super) fn balance(
        &mut self,
        now: Timestamp,
        model: Option<&ModelName>,
        project: Option<&ProjectName>,
    ) -> (Balance, Vec<LotId>) {
        self.run(&Request::unnamed(Command::Sweep), &Actor::Job, now).unwrap();
        let state = self.state.as_ref().unwrap();
        (state.balance(now, model, project), state.spendable_lots(now).map(|lot| lot.id).collect())
    }

    /// The account as it is in memory.
    pub(super) fn state(&self) -> &AccountState {
        self.state.as_ref().expect("nothing has been asked since it was forgotten")
    }

    /// Writes what has changed; the state remains in use.
    pub(super) fn write(&mut self) {
        if let Some(state) = &mut self.state {
            self.store.write(state.take_changes());
            state.rest();
        }
    }

    /// The kinds of the entries so far.
    pub(super) fn kinds(&self) -> BTreeSet<EntryKind> {
        self.store.ledger().iter().map(Entry::kind).collect()
    }
}
