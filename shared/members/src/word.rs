//! What somebody is in an organization, when two witnesses may disagree.
//!
//! Organization's events tell the other services of every change of a membership, a moment after it happened. A user's
//! access token carries what organization said when the token was made. Each witness names the incarnation of
//! organization's store and the membership's version, which grows with every change, so the newer word wins: somebody
//! who joined a millisecond ago can spend at once with a fresh token, and somebody who was removed is refused as soon as
//! the event arrives, however long the old token still lives.

use bursar_id::Role;
use bursar_rpc::UserCaller;

/// What one witness says of one user's membership in one organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    /// The role; `None` for somebody who is not a member (any more).
    pub role: Option<Role>,
    /// The incarnation of organization's store in which it was said, from 1 upwards.
    pub incarnation: u64,
    /// The membership's version, from 1 upwards.
    pub version: u64,
}

impl Word {
    /// The word of nobody: somebody about whom nothing was ever said.
    pub const NOTHING: Self = Self { role: None, incarnation: 0, version: 0 };

    /// What everybody is in the personal context, as long as no event has said that the account was deleted.
    pub const OWN: Self = Self { role: Some(Role::Owner), incarnation: 0, version: 1 };

    /// What a user's token says of the user's place in the token's context.
    pub fn of_token(user: &UserCaller) -> Self {
        Self { role: user.role, incarnation: user.membership_incarnation, version: user.membership_version }
    }

    /// Whether this was said after the other: in a later incarnation, or in the same one of a greater version.
    pub fn is_later_than(self, other: Self) -> bool {
        (self.incarnation, self.version) > (other.incarnation, other.version)
    }

    /// The later of two words; of two equally new ones this one.
    #[must_use]
    pub fn or_later(self, other: Self) -> Self {
        if other.is_later_than(self) { other } else { self }
    }
}

/// The role that holds, given what the events said and what the token says. Of two equally new words the events' is
/// taken. Nobody's word means no membership.
pub fn standing(events: Option<Word>, token: Option<Word>) -> Option<Role> {
    events.unwrap_or(Word::NOTHING).or_later(token.unwrap_or(Word::NOTHING)).role
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newer_word_wins() {
        let word = |role, incarnation, version| Some(Word { role, incarnation, version });
        let (admin, member) = (Some(Role::Admin), Some(Role::Member));
        let cases = [
            ("nobody knows them", None, None, None),
            ("joined a moment ago, the event is on its way", None, word(member, 1, 1), member),
            ("named by a service, known from events", word(member, 1, 1), None, member),
            ("both agree", word(member, 1, 1), word(member, 1, 1), member),
            ("removed, the old token still lives", word(None, 1, 2), word(member, 1, 1), None),
            ("promoted, the event is on its way", word(member, 1, 1), word(admin, 1, 2), admin),
            ("demoted, the old token still lives", word(member, 1, 3), word(admin, 1, 2), member),
            ("invited back, the event is on its way", word(None, 1, 2), word(member, 1, 3), member),
            ("a token without a place", None, Some(Word::NOTHING), None),
            ("a restored store forgot the promotion", word(member, 9, 1), word(admin, 1, 2), member),
            ("a restored store, a token from since then", word(admin, 1, 7), word(member, 9, 1), member),
        ];
        for (case, events, token, expected) in cases {
            assert_eq!(standing(events, token), expected, "{case}");
        }
    }

    #[test]
    fn the_later_word_is_taken_whichever_came_first() {
        let member = Word { role: Some(Role::Member), incarnation: 1, version: 3 };
        let removed = Word { role: None, incarnation: 1, version: 4 };
        assert_eq!(member.or_later(removed), removed);
        assert_eq!(removed.or_later(member), removed);
        assert_eq!(Word::NOTHING.or_later(member), member);
    }
}
