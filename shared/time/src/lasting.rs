//! Until when something with an end counts that a clock may have written which was wrong.

use crate::{CLOCKS_APART, Span, Timestamp};

/// Whether what was given at most `lifetime` still lasts at `now`. Its end is exclusive. One that lies further ahead than a
/// whole lifetime from now, and than clocks may be apart, was written by a clock that was far ahead: it counts as over, or
/// it would be good until that clock's time has come.
pub fn lasts(end: Timestamp, lifetime: Span, now: Timestamp) -> bool {
    now < end && end.since(now) <= lifetime.saturating_add(CLOCKS_APART)
}

/// The last end that [`lasts`] believes at `now`: what a store compares with.
pub fn furthest_end(lifetime: Span, now: Timestamp) -> Timestamp {
    now.saturating_add(lifetime).saturating_add(CLOCKS_APART)
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
            ("given by a clock that is further ahead than clocks are apart", 3_661, false),
            ("given by a clock that was 400 days ahead", 400 * 86_400 + 3_600, false),
        ];
        let now = at(1_000_000_000);
        for (name, ahead, expected) in cases {
            let end = at(1_000_000_000 + ahead);
            assert_eq!(lasts(end, Span::HOUR, now), expected, "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_store_that_compares_with_the_furthest_end_believes_the_same(
            end in 0_i64..10_000, lifetime in 0_u64..4_000, now in 0_i64..10_000,
        ) {
            let (end, lifetime, now) = (at(end), Span::from_secs(lifetime), at(now));
            prop_assert_eq!(lasts(end, lifetime, now), end > now && end <= furthest_end(lifetime, now));
        }
    }
}
