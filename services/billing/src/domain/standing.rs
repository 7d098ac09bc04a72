//! Who belongs to an organization, when two witnesses may disagree.
//!
//! Organization's events tell billing of every change of a membership, a moment after it happened.
//! A user's access token carries what organization said when the token was made. Each witness names
//! the membership's version, which grows with every change, so the newer word wins: somebody who
//! joined a millisecond ago can spend at once with a fresh token, and somebody who was removed is
//! refused as soon as the event arrives, however long the old token still lives.

use bursar_id::Role;

/// What one witness says of one user's membership in one organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// The role; `None` for a former member.
    pub role: Option<Role>,
    /// The membership's version, from 1 upwards.
    pub version: u64,
}

/// A set of roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles([Option<Role>; Role::ALL.len()]);

impl Roles {
    /// Those that pass a test.
    pub fn which(test: impl Fn(Role) -> bool) -> Self {
        Self(Role::ALL.map(|role| test(role).then_some(role)))
    }

    /// Whether a role is among them.
    pub fn contains(self, role: Role) -> bool {
        self.0.contains(&Some(role))
    }
}

/// The role that holds, given what the events said and what the token says. Of two equally new
/// words the events' is taken. Nobody's word means no membership.
pub fn standing(events: Option<Membership>, token: Option<Membership>) -> Option<Role> {
    match (events, token) {
        (Some(events), Some(token)) if token.version > events.version => token.role,
        (Some(events), _) => events.role,
        (None, Some(token)) => token.role,
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_passed_the_test() {
        let managers = Roles::which(|role| role >= Role::Admin);
        assert_eq!(Role::ALL.map(|role| managers.contains(role)), [true, true, false]);
    }

    #[test]
    fn the_newer_word_wins() {
        let word = |role, version| Some(Membership { role, version });
        let (admin, member) = (Some(Role::Admin), Some(Role::Member));
        let cases = [
            ("nobody knows them", None, None, None),
            ("joined a moment ago, the event is on its way", None, word(member, 1), member),
            ("named by a service, known from events", word(member, 1), None, member),
            ("both agree", word(member, 1), word(member, 1), member),
            ("removed, the old token still lives", word(None, 2), word(member, 1), None),
            ("promoted, the event is on its way", word(member, 1), word(admin, 2), admin),
            ("demoted, the old token still lives", word(member, 3), word(admin, 2), member),
            ("invited back, the event is on its way", word(None, 2), word(member, 3), member),
        ];
        for (case, events, token, expected) in cases {
            assert_eq!(standing(events, token), expected, "{case}");
        }
    }
}
