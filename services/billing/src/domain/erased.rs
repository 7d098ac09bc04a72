//! Missing details, and the entries that excuse them: what an audit keeps in mind about erasure.

use std::collections::BTreeMap;

use bursar_id::UserId;

/// Whose details are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whose {
    /// This member's.
    Member(UserId),
    /// Some member's; the entry does not say whose.
    SomeMember,
    /// Nobody's in particular: a note, or a request of the program's.
    Nobody,
}

/// Entries whose details are gone and not excused yet. Grows with the members, not with the entries.
#[derive(Debug, Clone, Default)]
pub(super) struct Missing {
    /// The first unexcused entry of each, and how many there are.
    open: BTreeMap<Whose, (u64, u64)>,
    erased: u64,
}

impl Missing {
    /// Entry number `seq` lacks its details.
    pub(super) fn note(&mut self, seq: u64, whose: Whose) {
        self.open.entry(whose).or_insert((seq, 0)).1 += 1;
    }

    /// An entry says that `member`'s details before it were erased (`None`: those that belong to no member).
    pub(super) fn excuse(&mut self, member: Option<UserId>) {
        let excused = match member {
            Some(member) => [Some(Whose::Member(member)), Some(Whose::SomeMember)],
            None => [Some(Whose::Nobody), None],
        };
        for whose in excused.into_iter().flatten() {
            self.erased += self.open.remove(&whose).map_or(0, |(_, count)| count);
        }
    }

    /// The first entry whose details are gone without an excuse.
    pub(super) fn first(&self) -> Option<u64> {
        self.open.values().map(|(first, _)| *first).min()
    }

    /// How many entries' details were erased.
    pub(super) fn erased(&self) -> u64 {
        self.erased
    }
}
