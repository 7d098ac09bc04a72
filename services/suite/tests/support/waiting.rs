//! Waiting for what happens by itself: the one place of these tests that sleeps between looks.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::time::{Duration, Instant};

/// How long anything may take that happens by itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Looks until there is something to see.
///
/// # Panics
/// When `patience` ends first, saying what did not happen.
#[track_caller]
pub(crate) fn eventually<T>(
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> Option<T>,
) -> impl Future<Output = T> {
    settles(what, patience, async move || look().await.ok_or_else(|| "it did not happen".to_owned()))
}

/// Looks until nothing is wrong any more.
///
/// # Panics
/// When `patience` ends first, saying what was wrong last.
#[track_caller]
pub(crate) fn settles<T>(
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> impl Future<Output = T> {
    let what = what.to_owned();
    let caller = std::panic::Location::caller();
    async move {
        let begin = Instant::now();
        loop {
            let wrong = match look().await {
                Ok(seen) => return seen,
                Err(wrong) => wrong,
            };
            assert!(begin.elapsed() < patience, "{caller}: within {patience:?}: {what}: {wrong}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}
