//! The audit of holds: how each must be stored, by the entries that placed and settled it and those that say whose details
//! were erased.

use std::collections::BTreeMap;

use bursar_id::{HoldId, UserId};

use super::attribution::Labels;
use super::flaw::Flaw;
use super::hold::Hold;

/// Compares holds with the entries. Grows with the members, not with the holds, as long as those that were settled are taken
/// out.
#[derive(Debug, Clone, Default)]
pub(super) struct HoldAudit {
    /// What was settled since it was last taken out, as it must be stored.
    settled: Vec<Hold>,
    /// The last entry that says that a member's details before it were erased.
    erased: BTreeMap<UserId, u64>,
    /// Of each member's holds whose labels are gone the one that was placed last: what excuses it excuses all.
    bare: BTreeMap<UserId, (u64, HoldId)>,
    /// The first one that is stored otherwise.
    unlike: Option<HoldId>,
}

impl HoldAudit {
    /// An entry has settled a hold, which must be stored like this.
    pub(super) fn settle(&mut self, hold: Hold) {
        self.settled.push(hold);
    }

    /// Entry number `seq` says that the details of the member before it were erased.
    pub(super) fn erase(&mut self, member: UserId, seq: u64) {
        self.erased.insert(member, seq);
    }

    /// The holds that were settled since this was last asked.
    pub(super) fn take_settled(&mut self) -> Vec<Hold> {
        std::mem::take(&mut self.settled)
    }

    /// Compares a hold with how it is stored.
    pub(super) fn compare(&mut self, expected: &Hold, stored: Option<&Hold>) {
        if stored == Some(expected) {
            return;
        }
        // Labels may be erased, and are then gone. Whether they were, a later entry may say.
        let without = Hold { labels: Labels::default(), ..expected.clone() };
        if stored == Some(&without) {
            let this = (expected.number, expected.id);
            let last = self.bare.entry(expected.terms.attribution.member).or_insert(this);
            *last = this.max(*last);
        } else {
            self.unlike.get_or_insert(expected.id);
        }
    }

    /// After the last entry.
    ///
    /// # Errors
    /// A hold is stored otherwise, or without its labels though nothing says that they were erased.
    pub(super) fn finish(&self) -> Result<(), Flaw> {
        let is_excused = |member: &UserId, number: u64| self.erased.get(member).is_some_and(|erased| *erased > number);
        let bare = self.bare.iter().find_map(|(member, (number, hold))| {
            let excused = is_excused(member, *number);
            (!excused).then_some(*hold)
        });
        self.unlike.or(bare).map_or(Ok(()), |hold| Err(Flaw::StoredHoldMismatch(hold)))
    }
}
