//! Until when something with an end counts that a clock may have written which was wrong.

use crate::{CLOCKS_APART, Span, Timestamp};

/// The most by which a deployment may let a replica's clock differ from the database's (`max_clock_difference`). Either of two
/// may differ by as much, to either side, and decides: together they are no further apart than [`CLOCKS_APART`].
pub const MOST_DIFFERENCE: Span = Span::from_secs(30);
const _: () =
    assert!(2 * MOST_DIFFERENCE.as_micros() <= CLOCKS_APART.as_micros(), "two clocks that decide are further apart");

/// How far ahead of this one's a clock may have been whose word about an end counts: far more than clocks that decide are apart,
/// since this is for clocks that were ahead by days or years. What is good by it is good for two hours longer at most.
pub const BELIEVED_AHEAD: Span = Span::HOUR.saturating_add(Span::HOUR).saturating_add(Span::MINUTE);

/// Whether what was given at most `lifetime` still lasts at `now`. Its end is exclusive. One that lies further ahead than a
/// whole lifetime from now, and than clocks that decide may be apart, was written by a clock that was far ahead: it counts
/// as over, or it would be good until that clock's time has come. `lifetime` is what was given with it or what no setting
/// changes, never a setting of this process: another had another one when it wrote.
pub fn lasts(end: Timestamp, lifetime: Span, now: Timestamp) -> bool {
    now < end && end.since(now) <= lifetime.saturating_add(BELIEVED_AHEAD)
}

/// The last end that [`lasts`] believes at `now`: what a store compares with.
pub fn furthest_end(lifetime: Span, now: Timestamp) -> Timestamp {
    now.saturating_add(lifetime).saturating_add(BELIEVED_AHEAD)
}

/// Whether what is said to have begun then can have, at `now`. What began later than clocks that decide may be apart was
/// written by a clock that was far ahead, whatever its lifetime.
pub fn has_begun(began: Timestamp, now: Timestamp) -> bool {
    began.since(now) <= BELIEVED_AHEAD
}

/// The last beginning that [`has_begun`] believes at `now`: what a store compares with.
pub fn latest_beginning(now: Timestamp) -> Timestamp {
    now.saturating_add(BELIEVED_AHEAD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_secs(seconds).expect("a time")
    }

    /// Kind K: what was given an hour is good for an hour, whatever the clock said that wrote it.
    #[test]
    fn an_end_counts_up_to_a_lifetime_ahead() {
        let cases = [
            ("just over", 0, false),
            ("long over", -86_400, false),
            ("nearly over", 1, true),
            ("just given", 3_600, true),
            ("given by a clock that is a little ahead", 3_660, true),
            ("given by a clock that is as far ahead as one that decides may be", 3_600 + 7_260, true),
            ("given by a clock that is further ahead than that", 3_600 + 7_261, false),
            ("given by a clock that was 400 days ahead", 400 * 86_400 + 3_600, false),
        ];
        let now = at(1_000_000_000);
        for (name, ahead, expected) in cases {
            let end = at(1_000_000_000 + ahead);
            assert_eq!(lasts(end, Span::HOUR, now), expected, "{name}");
        }
    }

    #[test]
    fn a_beginning_counts_up_to_what_clocks_that_decide_may_be_apart() {
        let now = at(1_000_000_000);
        let cases =
            [(-400 * 86_400, true), (0, true), (7_200, true), (7_260, true), (7_261, false), (400 * 86_400, false)];
        for (ahead, expected) in cases {
            assert_eq!(has_begun(at(1_000_000_000 + ahead), now), expected, "{ahead} seconds ahead");
        }
        assert_eq!(latest_beginning(now), at(1_000_007_260));
    }

    proptest! {
        #[test]
        fn a_store_that_compares_with_the_furthest_end_believes_the_same(
            end in 0_i64..30_000, lifetime in 0_u64..4_000, now in 0_i64..10_000,
        ) {
            let (end, lifetime, now) = (at(end), Span::from_secs(lifetime), at(now));
            prop_assert_eq!(lasts(end, lifetime, now), end > now && end <= furthest_end(lifetime, now));
        }
    }
}
