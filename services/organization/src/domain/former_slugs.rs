//! Former slugs: an organization keeps leading by those that it had, so long as they are few or young (product.md,
//! "Organizations").

use bursar_time::{Span, Timestamp};

use super::Refusal;

/// How many former slugs an organization keeps.
pub const MOST: usize = 10;
/// How long a former slug is kept at least.
pub const KEPT: Span = Span::from_days(90);

/// How many of the former slugs are freed, the oldest first, when one more becomes one; `since` says since when each of
/// them has been one, the oldest first.
///
/// # Errors
/// [`Refusal::TooManyFormerSlugs`] when that would free one that was given up within [`KEPT`]: somebody else could have an
/// address at once that still stands in letters.
pub fn make_room(since: &[Timestamp], now: Timestamp) -> Result<usize, Refusal> {
    let freed = (since.len() + 1).saturating_sub(MOST);
    let Some(youngest) = since.get(..freed).and_then(<[Timestamp]>::last) else { return Ok(0) };
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
}
