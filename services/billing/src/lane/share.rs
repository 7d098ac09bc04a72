//! How much of a transaction one owner may have while others ask, too.
//!
//! A transaction takes as long as what is in it, and whoever comes while it is under way waits for its end. So where several
//! owners ask, none has more than a portion of it; an owner who asks alone has all of it, because large transactions cost
//! least. Who asks seldom is not forgotten at once: the next one would wait for a large transaction again.

use std::collections::HashMap;

use bursar_id::OwnerId;

/// The most requests of one owner in a transaction that others may wait for: a few milliseconds of work.
pub(super) const PORTION: usize = 32;

/// For how many transactions of one owner alone the others are remembered.
const REMEMBERED: u32 = 32;

/// Who has how much of the transaction that is being put together.
#[derive(Debug, Default)]
pub(super) struct Share {
    taken: HashMap<OwnerId, usize>,
    /// For how many more transactions somebody else counts as waiting.
    company: u32,
}

impl Share {
    /// Whether the transaction has room for more of an owner's requests. `waited_for`: whether others wait.
    pub(super) fn has_room(&self, owner: OwnerId, waited_for: bool) -> bool {
        let own = self.taken.get(&owner).copied();
        let shared = waited_for || self.company > 0 || self.taken.len() > usize::from(own.is_some());
        !shared || own.unwrap_or(0) < PORTION
    }

    /// So many requests of an owner's are in the transaction.
    pub(super) fn take(&mut self, owner: OwnerId, requests: usize) {
        *self.taken.entry(owner).or_default() += requests;
    }

    /// And so many are not any more.
    pub(super) fn give_back(&mut self, owner: OwnerId, requests: usize) {
        if let Some(taken) = self.taken.get_mut(&owner) {
            *taken = taken.saturating_sub(requests);
            if *taken == 0 {
                self.taken.remove(&owner);
            }
        }
    }

    /// The transaction begins, and another one is put together. `waited_for`: whether others wait beside an owner.
    pub(super) fn begin(&mut self, waited_for: impl Fn(OwnerId) -> bool) {
        let shared = self.taken.len() > 1 || self.taken.keys().any(|owner| waited_for(*owner));
        self.company = if shared { REMEMBERED } else { self.company.saturating_sub(1) };
        self.taken.clear();
    }
}

#[cfg(test)]
mod tests {
    use bursar_testkit::id;

    use super::*;

    fn owner(number: u64) -> OwnerId {
        OwnerId::User(id(number))
    }

    #[test]
    fn who_asks_alone_has_all_of_it() {
        let mut share = Share::default();
        for _ in 0..20 {
            assert!(share.has_room(owner(1), false));
            share.take(owner(1), PORTION);
        }
        assert!(!share.has_room(owner(1), true), "somebody waits");
        assert!(share.has_room(owner(2), true));
    }

    #[test]
    fn nobody_has_more_than_a_portion_beside_others() {
        let mut share = Share::default();
        share.take(owner(1), PORTION);
        share.take(owner(2), 1);
        assert!(!share.has_room(owner(1), false));
        assert!(share.has_room(owner(2), false));
        assert!(share.has_room(owner(3), false));
        share.give_back(owner(1), 1);
        assert!(share.has_room(owner(1), false));
        share.give_back(owner(2), 1);
        share.take(owner(1), PORTION);
        assert!(share.has_room(owner(1), false), "alone again");
    }

    #[test]
    fn others_are_remembered_for_a_while() {
        let mut share = Share::default();
        share.take(owner(1), 1);
        share.take(owner(2), 1);
        share.begin(|_| false);
        for transaction in 0..REMEMBERED {
            assert!(share.has_room(owner(1), false));
            share.take(owner(1), PORTION);
            assert!(!share.has_room(owner(1), false), "{transaction}");
            share.begin(|_| false);
        }
        share.take(owner(1), PORTION);
        assert!(share.has_room(owner(1), false));
        // Where each transaction has one owner, the others wait beside it.
        share.begin(|of| of == owner(1));
        share.take(owner(1), PORTION);
        assert!(!share.has_room(owner(1), false));
    }
}
