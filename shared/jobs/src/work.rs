//! What does a job, and what comes of it.

use std::sync::atomic::{AtomicBool, Ordering};

use bursar_db::{DbError, Tx};
use bursar_id::JobId;
use bursar_time::{Clock, Timestamp};
use serde::de::DeserializeOwned;

use crate::store::{self, Settled};

/// Does the jobs of one kind.
pub trait Work: Send + Sync + 'static {
    /// What a job of the kind carries.
    type Payload: DeserializeOwned + Send;

    /// Does one job. May be called again for the same job, also at the same time when a lease has lapsed: be idempotent, or
    /// have the effect in a transaction of [`Lease::finish`].
    ///
    /// May be dropped at any `await`: when it takes longer than [`crate::Terms::limit`], or when the process ends.
    fn run(&self, lease: &Lease, payload: Self::Payload) -> impl Future<Output = Result<Next, Failure>> + Send;
}

/// What comes after a job that was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing: the job is finished.
    Finished,
    /// There is more to do than one attempt should: the same job again, at once.
    Again,
}

/// Why a job was not done. The reason is stored, logged and shown to operators, so it holds no address and no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Something in the way passes by itself within moments: it is tried again at once a few times before that
    /// counts as an attempt.
    Passing(String),
    /// It may work later.
    Later(String),
    /// It will never work.
    Never(String),
    /// The lease has lapsed and somebody else has the job.
    Lost,
}

impl Failure {
    /// It may work later.
    pub fn later(reason: impl std::fmt::Display) -> Self {
        Self::Later(reason.to_string())
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        // What took too long is not asked again at once: it would take as long.
        let passes = error.is_retryable() && !matches!(error, DbError::TimedOut);
        if passes { Self::Passing(error.to_string()) } else { Self::Later(error.to_string()) }
    }
}

/// A job in somebody's hands.
#[derive(Debug)]
pub struct Lease {
    pub(crate) id: JobId,
    /// Counts how often the job was taken, by whomever: who has the last number has the job.
    pub(crate) number: i64,
    /// How often it had been asked for when it was taken.
    pub(crate) asked: i64,
    pub(crate) attempt: u32,
    pub(crate) enqueued_at: Timestamp,
    pub(crate) clock: Clock,
    pub(crate) finished: AtomicBool,
}

impl Lease {
    /// The job's id, for logs.
    pub fn id(&self) -> JobId {
        self.id
    }

    /// Which attempt this is, counted from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// When the job was enqueued.
    pub fn enqueued_at(&self) -> Timestamp {
        self.enqueued_at
    }

    /// Finishes the job in the transaction of its effect: both happen, or neither. Return [`Next::Finished`] after the
    /// commit. [`Failure::Lost`] when somebody else has taken the job meanwhile; then drop the transaction.
    pub async fn finish(&self, tx: &mut Tx) -> Result<(), Failure> {
        if store::finish(tx, self).await? == Settled::Lost {
            return Err(Failure::Lost);
        }
        self.finished.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// A new try begins.
    pub(crate) fn begin(&self) {
        self.finished.store(false, Ordering::Relaxed);
    }

    /// Whether the work has finished the job itself.
    pub(crate) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_too_long_is_not_asked_again_at_once() {
        assert!(matches!(Failure::from(DbError::TimedOut), Failure::Later(_)));
        assert!(matches!(Failure::from(DbError::Locked), Failure::Passing(_)));
    }
}
