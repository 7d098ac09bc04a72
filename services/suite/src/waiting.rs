//! Waiting for what happens by itself: the one place of this program that sleeps between looks.

use std::time::Duration;

/// How long anything may take that happens by itself.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How often is looked whether it has happened.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// Looks until there is something to see, for at most `patience`.
///
/// # Errors
/// What looking gives; and when nothing is seen, that `what` did not happen.
pub(crate) async fn eventually<T>(
    what: &str,
    patience: Duration,
    mut look: impl AsyncFnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let happens = async {
        loop {
            if let Some(seen) = look().await? {
                return Ok(seen);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    match tokio::time::timeout(patience, happens).await {
        Ok(seen) => seen,
        Err(_) => anyhow::bail!("{what} did not happen within {} seconds", patience.as_secs()),
    }
}
