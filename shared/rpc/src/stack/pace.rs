//! A moment before a refusal that only says *not now*.
//!
//! Whoever is told at once that there is no room can ask again at once, thousands of times a second, and what these calls take
//! (reading them, verifying a token, answering) is taken from those who have room: a bound that costs nothing to run into
//! protects little. So such an answer waits for a moment, and what asks in a loop asks as often as it has calls in work, some
//! times a second each. The call keeps its place meanwhile: more of the same caller are refused at the door, for next to
//! nothing. Whoever obeys `RetryInfo` waits for longer than that anyway.

use std::time::Duration;

use axum::body::Body;
use http::Response;
use tonic::{Code, Status};

use crate::problem::{reason, reason_of};

/// How long such an answer waits.
const MOMENT: Duration = Duration::from_millis(100);

/// What says *not now*: there is no room for more, or too much was tried (identity).
const NOT_NOW: [&str; 2] = [reason::OVERLOADED, "TOO_MANY_ATTEMPTS"];

/// For how long an answer waits before it is told: such a one for a moment, and at most for half of what is `left` until the
/// deadline, so that it is told in time.
pub(super) fn before(answer: &Result<Response<Body>, Status>, left: Duration) -> Duration {
    let status = match answer {
        Ok(response) => response.extensions().get::<Status>(),
        Err(status) => Some(status),
    };
    if status.is_some_and(says_not_now) { MOMENT.min(left / 2) } else { Duration::ZERO }
}

fn says_not_now(status: &Status) -> bool {
    status.code() == Code::ResourceExhausted
        && reason_of(status).is_some_and(|reason| NOT_NOW.contains(&reason.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Problem;

    const LONG: Duration = Duration::from_secs(30);

    fn no_room() -> Status {
        Problem::exhausted(reason::OVERLOADED, "no room").into()
    }

    #[test]
    fn what_is_refused_for_now_is_told_a_moment_later_and_everything_else_at_once() {
        let too_many = || Status::from(Problem::exhausted(NOT_NOW[1], "too many"));
        for refused in [no_room, too_many] as [fn() -> Status; 2] {
            assert_eq!(before(&Err(refused()), LONG), MOMENT);
            assert_eq!(before(&Ok(refused().into_http()), LONG), MOMENT, "whether a handler or the stack refuses");
        }
        let others = [
            Status::resource_exhausted("without a reason"),
            Problem::exhausted("LIMIT_EXCEEDED", "a limit of the caller's own").into(),
            Problem::not_found("thing").into(),
            Problem::deadline_exceeded().into(),
        ];
        for refused in others {
            let code = refused.code();
            assert_eq!(before(&Err(refused), LONG), Duration::ZERO, "{code:?}");
        }
        assert_eq!(before(&Ok(Response::new(Body::empty())), LONG), Duration::ZERO, "what was done");
    }

    #[test]
    fn it_is_told_before_the_deadline() {
        for (left, waits) in [(80, 40), (199, 99), (1_000, 100), (0, 0)] {
            let waited = before(&Err(no_room()), Duration::from_millis(left)).as_millis();
            assert_eq!(waited, waits, "with {left} ms left");
        }
    }
}
