//! How long a job rests between two attempts.

use bursar_secret::Entropy;
use bursar_time::Span;

use crate::Terms;

/// The wait after `attempts` failures: it doubles from [`Terms::first_wait`] to [`Terms::longest_wait`], and a random
/// part of up to half of it is left out, so that what failed together does not come back together.
pub(crate) fn wait_after(terms: &Terms, attempts: u32, entropy: &Entropy) -> Span {
    let doublings = attempts.saturating_sub(1).min(16);
    let full = terms.first_wait.saturating_mul(1 << doublings).min(terms.longest_wait).as_micros().unsigned_abs();
    let left_out = entropy.u64_below(full / 2 + 1);
    Span::from_micros((full - left_out).cast_signed()).unwrap_or(terms.longest_wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_an_hour_with_jitter_and_last_a_day() {
        let entropy = Entropy::seeded(1);
        let full = [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600];
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..100 {
            for (attempts, full) in (1..).zip(full) {
                let wait = wait_after(&Terms::DEFAULT, attempts, &entropy);
                assert!((full / 2..=full).contains(&wait.as_secs()), "{wait:?} after {attempts}");
                seen.insert(wait);
            }
        }
        assert!(seen.len() > 1_000, "only {} different waits", seen.len());
        let total: u64 = (1..Terms::DEFAULT.attempts)
            .map(|attempts| wait_after(&Terms::DEFAULT, attempts, &entropy).as_secs())
            .sum();
        assert!((24 * 3600..33 * 3600).contains(&total), "{total} s");
    }

    #[test]
    fn patience_lasts_a_month() {
        let entropy = Entropy::seeded(1);
        let terms = Terms::PATIENT;
        let waits = (1..terms.attempts).map(|attempts| wait_after(&terms, attempts, &entropy).as_secs());
        let days = waits.sum::<u64>() / (24 * 3600);
        assert!((28..42).contains(&days), "{days} days");
    }

    #[test]
    fn a_wait_is_never_longer_than_the_longest() {
        let terms = Terms { first_wait: Span::from_secs(1), longest_wait: Span::from_secs(3), ..Terms::DEFAULT };
        for attempts in [0, 1, 2, 3, 17, 40, u32::MAX] {
            assert!(wait_after(&terms, attempts, &Entropy::system()) <= Span::from_secs(3), "{attempts}");
        }
        let none = Terms { first_wait: Span::ZERO, ..terms };
        assert!(wait_after(&none, 5, &Entropy::system()).is_zero());
    }
}
