//! Clocks that are wrong (kind K), and what a service says that has one.

use bursar_time::{Clock, Span};
use tonic::{Code, Status};

use crate::refusal::Refusal;

/// More than clocks may differ, and less than tokens allow for, in microseconds.
pub const APART: i64 = 30 * Span::SECOND.as_micros();
/// So far apart that everything has ended by one of two clocks, in microseconds.
pub const YEARS_APART: i64 = 2 * 365 * Span::DAY.as_micros();

/// A clock that is so many microseconds ahead (negative: behind), and was so before it was made: there is nothing that it goes
/// on from.
pub fn wrong_by(micros: i64) -> Clock {
    let wrong = Clock::system();
    wrong.skew(micros);
    wrong.follow_system();
    wrong
}

/// Demands that a call was refused because of the clock; another replica may be asked.
///
/// # Panics
/// When it was decided, or refused otherwise.
#[track_caller]
pub fn undecided<T>(what: &str, outcome: Result<T, Status>) {
    let Err(status) = outcome else { panic!("{what}: decided by a wrong clock") };
    let refusal = Refusal::of(&status);
    assert_eq!((refusal.code, refusal.reason.as_str()), (Code::Unavailable, "CLOCK_DIFFERS"), "{what}: {status:?}");
    assert!(refusal.retryable, "{what}: {refusal:?}");
}
