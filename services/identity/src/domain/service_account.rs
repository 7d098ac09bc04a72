//! Accounts of programs: who needs which, and how long an old secret outlives its rotation.

use bursar_id::ServiceAccountId;
use bursar_time::{Span, Timestamp, has_begun};

/// How long the previous secret still works after the file it comes from has changed.
pub const SECRET_OVERLAP: Span = Span::DAY;

/// The accounts the suite cannot run without; they cannot be disabled.
pub fn is_needed(id: ServiceAccountId) -> bool {
    id == ServiceAccountId::OPERATOR || has_file(id)
}

/// The accounts whose secret comes from a file, which is the only place to change it.
pub fn has_file(id: ServiceAccountId) -> bool {
    [ServiceAccountId::IDENTITY, ServiceAccountId::ORGANIZATION, ServiceAccountId::BILLING].contains(&id)
}

/// Whether the previous secret of an account that was rotated then still works. Where only a clock could rotate it that was far
/// ahead it does not: somebody rotated it away.
pub fn previous_secret_works(rotated_at: Timestamp, previous_until: Option<Timestamp>, now: Timestamp) -> bool {
    previous_until.is_some_and(|until| now < until) && has_begun(rotated_at, now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bursar_time::BELIEVED_AHEAD;

    #[test]
    fn the_suites_own_accounts_are_needed() {
        let cases = [
            (ServiceAccountId::OPERATOR, true, false),
            (ServiceAccountId::IDENTITY, true, true),
            (ServiceAccountId::ORGANIZATION, true, true),
            (ServiceAccountId::BILLING, true, true),
            (ServiceAccountId::from_parts(1, [9; 10]), false, false),
        ];
        for (id, needed, file) in cases {
            assert_eq!((is_needed(id), has_file(id)), (needed, file), "{id}");
        }
    }

    #[test]
    fn a_previous_secret_works_until_its_instant() {
        let at = |micros| Timestamp::from_micros(micros).expect("a time");
        assert!(previous_secret_works(at(0), Some(at(10)), at(9)));
        assert!(!previous_secret_works(at(0), Some(at(10)), at(10)));
        assert!(!previous_secret_works(at(0), None, at(0)));
    }

    /// Kind K: a secret that was rotated away while a clock was 400 days ahead works for no 401 days.
    #[test]
    fn a_previous_secret_that_only_a_clock_far_ahead_could_prolong_works_no_more() {
        let now = Timestamp::EPOCH;
        for (ahead, works) in [
            (Span::ZERO, true),
            (BELIEVED_AHEAD, true),
            (BELIEVED_AHEAD.saturating_add(Span::SECOND), false),
            (Span::from_days(400), false),
        ] {
            let rotated_at = now.saturating_add(ahead);
            let until = rotated_at.saturating_add(SECRET_OVERLAP);
            assert_eq!(previous_secret_works(rotated_at, Some(until), now), works, "{ahead} ahead");
        }
    }
}
