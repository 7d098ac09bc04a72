//! An account with a store of its own: what the lane does around the engine, in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use bursar_id::{Id, OwnerId, UserId};
use bursar_money::Credits;
use bursar_time::{Span, Timestamp};

use crate::domain::*;

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

pub(super) fn attribution(member: u64) -> Arc<Attribution> {
    let member: UserId = id(member);
    Arc::new(Attribution { member, project: None, model: None, quantity: None, labels: Labels::default() })
}

pub(super) fn key(text: &str) -> RequestKey {
    RequestKey::new("svc_test", &text.parse().unwrap())
}

/// What a database would hold for one account.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) account: Account,
    pub(super) lots: BTreeMap<bursar_id::LotId, Lot>,
    pub(super) holds: BTreeMap<bursar_id::HoldId, Hold>,
    pub(super) entries: Vec<Entry>,
    pub(super) usage: BTreeMap<UsageKey, UsageTotals>,
}

impl Store {
    pub(super) fn new() -> Self {
        Self {
            account: Account::open(owner(), at(0), at(0), at(1_000_000)),
            lots: BTreeMap::new(),
            holds: BTreeMap::new(),
            entries: Vec::new(),
            usage: BTreeMap::new(),
        }
    }

    fn write(&mut self, changes: Changes) {
        self.account = changes.account;
        for entry in changes.entries {
            // Through the stored form and back: nothing may get lost on the way.
            let row = EntryRow::from(entry.as_ref());
            assert_eq!(Entry::try_from(row).as_ref(), Ok(entry.as_ref()), "stored form");
            self.entries.push(Arc::unwrap_or_clone(entry));
        }
        for lot in changes.lots_inserted {
            assert!(self.lots.insert(lot.id, lot).is_none(), "a lot was inserted twice");
        }
        for lot in changes.lots_updated {
            assert!(self.lots.insert(lot.id, lot).is_some(), "an unknown lot was updated");
        }
        for hold in changes.holds_inserted {
            assert!(self.holds.insert(hold.id, hold).is_none(), "a hold was inserted twice");
        }
        for hold in changes.holds_updated {
            assert!(self.holds.insert(hold.id, hold).is_some(), "an unknown hold was updated");
        }
        for delta in changes.usage {
            let totals = self.usage.entry(delta.key).or_default();
            totals.charged += delta.add.charged;
            totals.refunded += delta.add.refunded;
            totals.charges += delta.add.charges;
            totals.quantity += delta.add.quantity;
        }
    }

    fn load(&self) -> AccountState {
        let live = self.lots.values().filter(|lot| lot.is_live()).cloned().collect();
        AccountState::new(owner(), self.account, live).unwrap()
    }

    /// Loads what one request needs beside the live lots, and nothing else.
    fn load_needs(&self, state: &mut AccountState, request: &Request, now: Timestamp) {
        let needs = request.needs();
        let overdue = |hold: &&Hold| hold.state == HoldState::Open && hold.deadline <= now;
        let named = needs.hold.and_then(|id| self.holds.get(&id));
        for hold in self.holds.values().filter(overdue).chain(named) {
            state.load_hold(hold.clone());
        }
        let charge = needs.charge.and_then(|id| {
            let id = OperationId::Charge(id);
            let entry = self.entries.iter().find(|entry| entry.id == Some(id))?;
            Charge::from_entry(entry, self.refunded(entry.id))
        });
        if let Some(charge) = charge {
            for allocation in &charge.allocations {
                state.load_lot(self.lots[&allocation.lot].clone());
            }
            state.load_charge(charge);
        }
        if let Some(lot) = needs.lot.and_then(|id| self.lots.get(&id)) {
            state.load_lot(lot.clone());
        }
        let replay = self.entries.iter().find(|it| needs.key.is_some() && it.request_key.as_ref() == needs.key);
        if let Some(entry) = replay {
            state.load_replay(Arc::new(entry.clone()));
        }
    }

    fn refunded(&self, charge: Option<OperationId>) -> Credits {
        let of_charge = |entry: &&Entry| {
            entry.kind == EntryKind::Refund && entry.subject.map(|it| it.to_string()) == charge.map(|it| it.to_string())
        };
        Credits::checked_sum(self.entries.iter().filter(of_charge).map(|it| it.amount)).unwrap()
    }

    /// Audits everything stored.
    pub(super) fn verify(&self) -> Result<Audit, BadLedger> {
        let mut verifier = Verifier::new(owner());
        for entry in &self.entries {
            verifier.push(entry)?;
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
    state: Option<AccountState>,
}

impl World {
    pub(super) fn new() -> Self {
        Self { store: Store::new(), state: None }
    }

    /// Writes and forgets the state, so that the next command loads it again.
    pub(super) fn forget(&mut self) {
        self.write();
        self.state = None;
    }

    /// Decides one request. What it changes is written by [`World::write`], perhaps together with
    /// what other requests change, as in a batch.
    pub(super) fn run(&mut self, request: &Request, now: Timestamp) -> Result<Outcome, Refusal> {
        let state = match &mut self.state {
            Some(state) => state,
            None => self.state.insert(self.store.load()),
        };
        self.store.load_needs(state, request, now);
        let answer = decide(state, request, now);
        for lot in state.lots() {
            assert!(lot.is_balanced(), "after {request:?}: {lot:?} does not add up");
        }
        answer
    }

    /// Writes what has changed; the state remains in use.
    pub(super) fn write(&mut self) {
        if let Some(state) = &mut self.state {
            self.store.write(state.take_changes());
            state.rest();
        }
    }
}
