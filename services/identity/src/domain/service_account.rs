//! Accounts of programs: who needs which, and how long an old secret outlives its rotation.

use bursar_id::ServiceAccountId;
use bursar_time::{Span, Timestamp};

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

/// Whether the previous secret of a rotated account still works.
pub fn previous_secret_works(previous_until: Option<Timestamp>, now: Timestamp) -> bool {
    previous_until.is_some_and(|until| now < until)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        assert!(previous_secret_works(Some(at(10)), at(9)));
        assert!(!previous_secret_works(Some(at(10)), at(10)));
        assert!(!previous_secret_works(None, at(0)));
    }
}
