//! Former slugs: an organization keeps leading by those that it had, so long as they are few or young (product.md,
//! "Organizations").

use bursar_time::{CLOCKS_APART, Span, Timestamp};

use super::Refusal;

/// How many former slugs an organization keeps.
pub const MOST: usize = 10;
/// How long a former slug is kept at least.
pub const KEPT: Span = Span::from_days(90);

/// How many of the former slugs are freed, the oldest first, when one more becomes one; `since` says since when each of
/// them has been one, the oldest first. What lies further ahead than clocks may be apart was written by a wrong clock, and
/// keeps nobody waiting.
///
/// # Errors
/// [`Refusal::TooManyFormerSlugs`] when that would free one that was given up within [`KEPT`]: somebody else could have an
/// address at once that still stands in letters.
pub fn make_room(since: &[Timestamp], now: Timestamp) -> Result<usize, Refusal> {
    let freed = (since.len() + 1).saturating_sub(MOST);
    let going = since.get(..freed).unwrap_or_default();
    let believed = going.iter().rfind(|given_up| given_up.since(now) <= CLOCKS_APART);
    let Some(youngest) = believed else { return Ok(going.len()) };
    let free_at = youngest.saturating_add(KEPT);
    if free_at > now {
        let limit = u32::try_from(MOST).unwrap_or(u32::MAX);
        return Err(Refusal::TooManyFormerSlugs { limit, retry_after: free_at.since(now) });
    }
    Ok(freed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_ten_is_freed_after_ninety_days() {
        let day = |n: u64| Timestamp::EPOCH.saturating_add(Span::from_days(n));
        let daily = |count: u64| (0..count).map(day).collect::<Vec<_>>();
        let early = |days| Err(Refusal::TooManyFormerSlugs { limit: 10, retry_after: Span::from_days(days) });
        let cases = [
            ("none yet", daily(0), day(0), Ok(0)),
            ("the tenth", daily(9), day(9), Ok(0)),
            ("one too many, at once", daily(10), day(10), early(80)),
            ("a day too early", daily(10), day(89), early(1)),
            ("the oldest is old enough", daily(10), day(90), Ok(1)),
            ("only one is needed, however many are old enough", daily(10), day(900), Ok(1)),
            ("kept by an older program: as many as are too many", daily(14), day(94), Ok(5)),
            ("and all of them old enough", daily(14), day(93), early(1)),
        ];
        for (case, since, now, expected) in cases {
            assert_eq!(make_room(&since, now), expected, "{case}");
        }
    }

    /// Kind K: nobody keeps a slug for 490 days because a clock was ahead for seconds.
    #[test]
    fn what_a_clock_that_was_ahead_wrote_keeps_nobody_waiting() {
        let day = |n: u64| Timestamp::EPOCH.saturating_add(Span::from_days(n));
        let ten_at = |instant: Timestamp| vec![instant; 10];
        let refused = |retry_after| Err(Refusal::TooManyFormerSlugs { limit: 10, retry_after });
        let (now, near) = (day(1), day(1).saturating_add(CLOCKS_APART));
        let one_before = |old: Timestamp| [vec![old], ten_at(day(400))].concat();
        let cases = [
            ("all of them a little ahead", ten_at(near), now, refused(KEPT.saturating_add(CLOCKS_APART))),
            ("all of them further ahead", ten_at(near.saturating_add(Span::SECOND)), now, Ok(1)),
            ("all of them far ahead", ten_at(day(400)), now, Ok(1)),
            ("one of two, and the other is young", one_before(day(0)), day(89), refused(Span::DAY)),
            ("one of two, and the other is old enough", one_before(day(0)), day(90), Ok(2)),
        ];
        for (case, since, now, expected) in cases {
            assert_eq!(make_room(&since, now), expected, "{case}");
        }
    }
}
