//! What identity believes about somebody's place in an organization.
//!
//! It never decides a role: it repeats what organization said last. Versions only grow, so of two
//! statements the one with the greater version is the later one, whichever arrived first.

use bursar_id::Role;

/// One statement of organization about one person in one organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The role, or `None` for somebody who is not a member (any more).
    pub role: Option<Role>,
    /// The statement's version.
    pub version: u64,
}

impl Membership {
    /// The place of somebody about whom nothing was ever said.
    pub const UNKNOWN: Self = Self { role: None, version: 0 };

    /// The later of two statements.
    #[must_use]
    pub fn later(self, other: Self) -> Self {
        if other.version > self.version { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greater_version_wins_whichever_came_first() {
        let member = Membership { role: Some(Role::Member), version: 3 };
        let removed = Membership { role: None, version: 4 };
        assert_eq!(member.later(removed), removed);
        assert_eq!(removed.later(member), removed);
        assert_eq!(Membership::UNKNOWN.later(member), member);
    }
}
