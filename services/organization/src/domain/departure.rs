//! Leaving Bursar altogether: who is about to, and what stands against it.
//!
//! ```text
//! staying ─ confirm(n) ──→ leaving ─ deleted ──→ gone
//!    ↑ ↖ confirm(n), owns something │
//!    └────── taken back(n) ─────────┘
//! ```
//!
//! Departures of one person are ordered. Of one departure, that it is over beats that it was confirmed, so a call that was
//! on its way meanwhile marks nobody.

use super::Refusal;

/// Which departure of a person: of two, the greater is later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Departure {
    /// The incarnation of identity's store.
    pub incarnation: u64,
    /// Counts the person's departures in it, from 1; 0: none.
    pub number: u64,
}

/// Whether somebody is here to stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// As far as is known.
    Staying,
    /// The account is about to be deleted.
    Leaving,
    /// The account was deleted.
    Gone,
}

impl Standing {
    /// Whether somebody may do anything, or become anything: an owner, a member, who is responsible for a project.
    pub fn demand_staying(self) -> Result<(), Refusal> {
        match self {
            Self::Staying => Ok(()),
            Self::Leaving => Err(Refusal::AccountLeaving),
            Self::Gone => Err(Refusal::AccountDeleted),
        }
    }

    /// The same about somebody who is meant by a call of another's.
    pub fn demand_to_stay(self) -> Result<(), Refusal> {
        match self {
            Self::Staying => Ok(()),
            Self::Leaving => Err(Refusal::MemberLeaving),
            Self::Gone => Err(Refusal::MemberNotFound),
        }
    }
}

/// Whether somebody who has this standing, of whom `last` is the last departure that is known, may leave by `asked`. A
/// person who owns something stays, and that departure is over.
pub fn confirm(standing: Standing, last: Departure, asked: Departure, owned: u32) -> Result<Standing, Refusal> {
    let is_over = asked < last || (asked == last && standing == Standing::Staying);
    match standing {
        Standing::Gone => Ok(Standing::Gone),
        _ if asked < last => Err(Refusal::DepartureTakenBack),
        _ if owned > 0 => Ok(Standing::Staying),
        _ if is_over => Err(Refusal::DepartureTakenBack),
        _ => Ok(Standing::Leaving),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn nth(incarnation: u64, number: u64) -> Departure {
        Departure { incarnation, number }
    }

    #[test]
    fn departures_are_confirmed_in_their_order() {
        use Standing::{Gone, Leaving, Staying};
        let over = Err(Refusal::DepartureTakenBack);
        let cases = [
            ("the first", Staying, nth(0, 0), nth(1, 1), 0, Ok(Leaving)),
            ("again", Leaving, nth(1, 1), nth(1, 1), 0, Ok(Leaving)),
            ("an owner", Staying, nth(0, 0), nth(1, 1), 2, Ok(Staying)),
            ("an owner again", Staying, nth(1, 1), nth(1, 1), 2, Ok(Staying)),
            ("an owner's, when it owns nothing any more", Staying, nth(1, 1), nth(1, 1), 0, over),
            ("taken back", Staying, nth(1, 1), nth(1, 1), 0, over),
            ("the next", Staying, nth(1, 1), nth(1, 2), 0, Ok(Leaving)),
            ("the one before", Leaving, nth(1, 2), nth(1, 1), 0, over),
            ("the one before, of an owner", Staying, nth(1, 2), nth(1, 1), 1, over),
            ("after a restoration", Staying, nth(1, 7), nth(2, 1), 0, Ok(Leaving)),
            ("of before a restoration", Staying, nth(2, 1), nth(1, 7), 0, over),
            ("somebody who is gone", Gone, nth(1, 1), nth(1, 1), 0, Ok(Gone)),
        ];
        for (name, standing, last, asked, owned, expected) in cases {
            assert_eq!(confirm(standing, last, asked, owned), expected, "{name}");
        }
    }

    #[test]
    fn only_who_stays_does_and_becomes_anything() {
        assert_eq!(Standing::Staying.demand_staying(), Ok(()));
        assert_eq!(Standing::Leaving.demand_staying(), Err(Refusal::AccountLeaving));
        assert_eq!(Standing::Gone.demand_staying(), Err(Refusal::AccountDeleted));
        assert_eq!(Standing::Staying.demand_to_stay(), Ok(()));
        assert_eq!(Standing::Leaving.demand_to_stay(), Err(Refusal::MemberLeaving));
        assert_eq!(Standing::Gone.demand_to_stay(), Err(Refusal::MemberNotFound));
    }
}
