//! What of a decided state must be written back, and how the state keeps track of it.

use std::sync::Arc;

use bursar_id::OwnerId;

use super::account::Account;
use super::allowance::AllowanceAlert;
use super::entry::Entry;
use super::hold::Hold;
use super::limits::{LimitAlert, UseKey, Used};
use super::lot::Lot;
use super::usage::{MeterDelta, UsageDelta};

/// What must be written to the store: the difference between the loaded state and the decided one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changes {
    /// The account.
    pub owner: OwnerId,
    /// Its row as it is now.
    pub account: Account,
    /// Whether it is known anew when its next hold lapses.
    pub lapse_moved: bool,
    /// New ledger entries, in order.
    pub entries: Vec<Arc<Entry>>,
    /// New lots, as they are now, in burn order.
    pub lots_inserted: Vec<Lot>,
    /// Changed lots, as they are now, in burn order.
    pub lots_updated: Vec<Lot>,
    /// New holds, as they are now, by id.
    pub holds_inserted: Vec<Hold>,
    /// Changed holds, as they are now, by id.
    pub holds_updated: Vec<Hold>,
    /// By how much usage aggregates grow, by key.
    pub usage: Vec<UsageDelta>,
    /// By how much meters' aggregates grow, by key.
    pub meters: Vec<MeterDelta>,
    /// How much of limits is used now where that changed, by key.
    pub used: Vec<(UseKey, Used)>,
    /// Of which percentages of them somebody is to be told.
    pub alerts: Vec<LimitAlert>,
    /// Of which percentages of the allowance.
    pub allowance_alerts: Vec<AllowanceAlert>,
    /// Whether fewer credits are left than the account's top-up wants, where there were as many before.
    pub crossed: bool,
}

impl Changes {
    /// Whether there is nothing to write. (A period that began without an entry is recomputed by
    /// whoever looks next, so it need not be written.)
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty() && !self.lapse_moved
    }
}

/// How a loaded or made value relates to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Stored,
    Inserted,
    Updated,
}

#[derive(Debug, Clone)]
pub(super) struct Kept<T> {
    pub(super) value: T,
    pub(super) mark: Mark,
}

impl<T> Kept<T> {
    /// The value, to be changed: a stored one will have to be written again.
    pub(super) fn touch(&mut self) -> &mut T {
        if self.mark == Mark::Stored {
            self.mark = Mark::Updated;
        }
        &mut self.value
    }
}

/// Adds a copy of a new or changed value to its list; it counts as stored from now on.
pub(super) fn sort_out<T: Clone>(kept: &mut Kept<T>, inserted: &mut Vec<T>, updated: &mut Vec<T>) {
    match kept.mark {
        Mark::Stored => return,
        Mark::Inserted => inserted.push(kept.value.clone()),
        Mark::Updated => updated.push(kept.value.clone()),
    }
    kept.mark = Mark::Stored;
}
