//! Waiting for what background work makes true.

use std::time::{Duration, Instant};

/// How often it is looked.
const EVERY: Duration = Duration::from_millis(5);

/// Waits until a condition holds.
///
/// # Panics
/// When it does not within `patience`, with `what` should have.
#[track_caller]
pub fn until(patience: Duration, what: &str, mut holds: impl AsyncFnMut() -> bool) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move {
        let start = Instant::now();
        while !holds().await {
            assert!(start.elapsed() < patience, "{caller}: not within {patience:?}: {what}");
            tokio::time::sleep(EVERY).await;
        }
    }
}
