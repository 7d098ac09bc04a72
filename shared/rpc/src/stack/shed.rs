//! Refusing work beyond what can be done in time, rather than doing all of it too late.

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tonic::Status;

use super::methods::{Access, Method};
use crate::Problem;
use crate::problem::reason;

/// The calls in work.
pub(super) struct InFlight {
    now: AtomicUsize,
    most: usize,
}

impl InFlight {
    pub(super) fn new(most: usize) -> Self {
        Self { now: AtomicUsize::new(0), most }
    }

    /// One more call in work until the guard is dropped, unless there are as many as there may be.
    fn enter(&self) -> Option<Guard<'_>> {
        let guard = Guard(self);
        // Taken back by the guard's drop if it was too many.
        (self.now.fetch_add(1, Ordering::Relaxed) < self.most).then_some(guard)
    }
}

struct Guard<'a>(&'a InFlight);

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs a call if there is room for it. Health checks always have room: a busy server is not a dead one.
pub(super) async fn bounded<T>(
    in_flight: &InFlight,
    method: Method,
    answer: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    if matches!(method.access, Access::Infrastructure) {
        return answer.await;
    }
    let Some(_guard) = in_flight.enter() else {
        return Err(Problem::exhausted(
            reason::OVERLOADED,
            "the server has as many calls in work as it takes; try again later",
        )
        .with_retry_after(Duration::from_millis(250))
        .into());
    };
    answer.await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_given_back() {
        let in_flight = InFlight::new(2);
        let first = in_flight.enter().expect("room");
        let second = in_flight.enter().expect("room");
        assert!(in_flight.enter().is_none(), "a third of two");
        assert!(in_flight.enter().is_none(), "a refusal takes no room");
        drop(first);
        assert!(in_flight.enter().is_some(), "room again");
        drop(second);
        assert_eq!(in_flight.now.load(Ordering::Relaxed), 0);
    }
}
