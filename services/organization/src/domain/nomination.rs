//! Handing an organization over to a member who has to accept it.
//!
//! ```text
//! nobody ── the owner nominates ─→ nominated ── the nominee accepts ─→ the nominee is the owner
//!   ↑                                ↑    │ └── the owner nominates again, this one or another
//!   │                                └────┘
//!   └── the nominee declines, the owner withdraws, seven days are over,
//!       the nominee is no member any more, the owner is another one
//! ```
//!
//! A nomination is its owner's word: it counts while whoever gave it owns the organization. One that ends where only a clock
//! could put it that was far ahead is over.

use bursar_id::UserId;
use bursar_time::{Span, Timestamp, lasts};

use super::Refusal;

/// How long a nomination can be accepted.
pub const LIFETIME: Span = Span::from_days(7);

/// How many nominations an organization makes in a day: each is mailed to two people.
pub const PER_DAY: u32 = 10;

/// Somebody who shall own an organization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Nomination {
    /// Who.
    pub nominee: UserId,
    /// By which owner's word.
    pub by: UserId,
    /// Until when it can be accepted.
    pub until: Timestamp,
}

/// Whether `caller`, a member of an organization that `owner` owns, may become its owner now.
pub fn accept(nomination: Option<Nomination>, caller: UserId, owner: UserId, now: Timestamp) -> Result<(), Refusal> {
    if caller == owner {
        return Err(Refusal::AlreadyOwner);
    }
    end(nomination, caller, owner, now)
}

/// Whether `caller`, a member of an organization that `owner` owns, may end its nomination: the nominee, or who made it.
pub fn end(nomination: Option<Nomination>, caller: UserId, owner: UserId, now: Timestamp) -> Result<(), Refusal> {
    let theirs = |it: &Nomination| it.by == owner && (it.nominee == caller || it.by == caller);
    match nomination.filter(theirs) {
        None => Err(Refusal::NotNominated),
        Some(it) if !lasts(it.until, LIFETIME, now) => Err(Refusal::NominationExpired),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bursar_time::BELIEVED_AHEAD;

    /// Kind K: nobody can take an organization over for 407 days because a clock was 400 days ahead.
    #[test]
    fn a_nomination_that_only_a_clock_far_ahead_could_make_is_over() {
        let [ada, ben] = [1, 2].map(|n| UserId::from_parts(n, [0; 10]));
        let now = Timestamp::from_unix_secs(100).expect("a time");
        let last = now.saturating_add(LIFETIME).saturating_add(BELIEVED_AHEAD);
        for (until, expected) in [
            (last, Ok(())),
            (last.saturating_add(Span::SECOND), Err(Refusal::NominationExpired)),
            (last.saturating_add(Span::from_days(400)), Err(Refusal::NominationExpired)),
        ] {
            let nomination = Some(Nomination { nominee: ben, by: ada, until });
            assert_eq!(accept(nomination, ben, ada, now), expected, "until {until}");
            assert_eq!(end(nomination, ada, ada, now), expected, "until {until}");
        }
    }

    #[test]
    fn a_nomination_is_for_its_nominee_and_ends_in_many_ways() {
        let [ada, ben, cem] = [1, 2, 3].map(|n| UserId::from_parts(n, [0; 10]));
        let at = |seconds| Timestamp::from_unix_secs(seconds).expect("a time");
        let of = |nominee, by| Some(Nomination { nominee, by, until: at(100) });
        let (none, expired) = (Err(Refusal::NotNominated), Err(Refusal::NominationExpired));
        let owner = Err(Refusal::AlreadyOwner);
        // What was said, who calls, who owns it, when; whether it can be accepted, and ended.
        let cases = [
            ("the nominee", of(ben, ada), ben, ada, 99, Ok(()), Ok(())),
            ("the owner", of(ben, ada), ada, ada, 99, owner, Ok(())),
            ("another member", of(ben, ada), cem, ada, 99, none, none),
            ("too late", of(ben, ada), ben, ada, 100, expired, expired),
            ("too late for the owner, too", of(ben, ada), ada, ada, 100, owner, expired),
            ("nobody was nominated", None, ben, ada, 0, none, none),
            ("nobody, says the owner", None, ada, ada, 0, owner, none),
            ("the owner is another by now", of(ben, ada), ben, cem, 99, none, none),
            ("whoever said it owns it no more", of(ben, ada), ada, cem, 99, none, none),
            ("the nominee owns it by now", of(ben, ada), ben, ben, 99, owner, none),
        ];
        for (name, nomination, caller, owned_by, now, accepts, ends) in cases {
            assert_eq!(accept(nomination, caller, owned_by, at(now)), accepts, "{name}: accepting");
            assert_eq!(end(nomination, caller, owned_by, at(now)), ends, "{name}: ending");
        }
    }
}
