//! Accounts that a lane remembers between batches.

use std::collections::HashMap;
use std::sync::Arc;

use bursar_id::OwnerId;
use bursar_time::Timestamp;

use super::batch::take_unsaved;
use super::job::Job;
use crate::domain::{Account, AccountState, Rules};
use crate::store::write::Unsaved;

/// An account as a batch left it.
pub(super) struct Known {
    /// Large, and handed from map to map.
    pub(super) state: Box<AccountState>,
    /// Its row in the store.
    pub(super) stored: Account,
}

impl Known {
    /// An account whose changes are written.
    pub(super) fn new(mut state: AccountState, stored: &Account) -> Self {
        state.rest();
        Self { state: Box::new(state), stored: *stored }
    }

    /// Whether everything that the job's decision needs is in memory, under the rules that hold.
    pub(super) fn suffices_for(&self, job: &Job, rules: &Arc<Rules>, now: Timestamp) -> bool {
        let needs = job.request.needs();
        !needs.something_made()
            && Arc::ptr_eq(self.state.rules(), rules)
            && needs.member.is_none_or(|user| self.state.looked_up(user).is_some())
            && self.state.account().next_lapse.is_none_or(|lapse| now < lapse)
            && self.state.knows_use(&job.request, &job.actor, now)
    }

    /// Takes what must be written. From here on the account counts as stored that way.
    pub(super) fn take_unsaved(&mut self) -> Option<Unsaved> {
        let unsaved = take_unsaved(&mut self.state)?;
        self.state.rest();
        self.stored = unsaved.changes.account;
        Some(unsaved)
    }
}

/// The accounts that a lane remembers: those used recently, and those used before them.
pub(super) struct Warm {
    recent: HashMap<OwnerId, Known>,
    older: HashMap<OwnerId, Known>,
    most: usize,
}

impl Warm {
    /// Remembers up to `most` accounts.
    pub(super) fn new(most: usize) -> Self {
        Self { recent: HashMap::new(), older: HashMap::new(), most }
    }

    /// Remembers an account. When there are too many, the half that was not used for longest is forgotten.
    pub(super) fn keep(&mut self, known: Known) {
        let owner = known.state.owner();
        self.older.remove(&owner);
        self.recent.insert(owner, known);
        if self.recent.len() > self.most / 2 {
            self.older = std::mem::take(&mut self.recent);
        }
        if self.older.len() > self.most {
            self.older.clear();
        }
    }

    /// Forgets an account: what is remembered may not be what is stored.
    pub(super) fn forget(&mut self, owner: OwnerId) {
        drop(self.take(owner));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.recent.len() + self.older.len()
    }

    pub(super) fn get(&self, owner: OwnerId) -> Option<&Known> {
        self.recent.get(&owner).or_else(|| self.older.get(&owner))
    }

    pub(super) fn take(&mut self, owner: OwnerId) -> Option<Known> {
        self.recent.remove(&owner).or_else(|| self.older.remove(&owner))
    }
}
