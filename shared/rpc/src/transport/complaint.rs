//! Why a peer cannot be reached, in the log of whoever called it: its answer to the caller says no more than that.

use std::error::Error;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How often at most: a peer that is away is called many times a second.
const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// When one channel's failure was last told.
#[derive(Debug, Default)]
pub(super) struct Complaint(Mutex<Option<Instant>>);

impl Complaint {
    /// Tells the cause of a failure (a refused connection, a certificate that is not believed), now and then.
    pub(super) fn of(&self, error: &tonic::transport::Error) {
        let now = Instant::now();
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|last| now.duration_since(last) >= COMPLAIN_EVERY) {
            *last = Some(now);
            let mut cause = error.to_string();
            let mut source = error.source();
            while let Some(inner) = source {
                let _ = write!(cause, ": {inner}");
                source = inner.source();
            }
            tracing::warn!(cause, "a peer cannot be reached");
        }
    }
}
