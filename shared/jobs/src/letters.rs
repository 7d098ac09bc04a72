//! Dead letters: what an operator sees of jobs that were given up, and how they are tried again.

use bursar_db::DbError;
use bursar_id::JobId;
use bursar_time::Timestamp;

use crate::{Jobs, store};

/// A job that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The job.
    pub id: JobId,
    /// Its kind's name.
    pub kind: String,
    /// How often it was tried.
    pub attempts: u32,
    /// Why the last attempt failed.
    pub reason: String,
    /// When it was enqueued.
    pub enqueued_at: Timestamp,
    /// When it was given up.
    pub dead_at: Timestamp,
}

impl Jobs {
    /// Up to `limit` dead letters, the latest first. What they carry stays sealed.
    pub async fn dead_letters(&self, limit: u32) -> Result<Vec<DeadLetter>, DbError> {
        store::dead(&mut self.db().read().await?, limit).await
    }

    /// Has a dead letter tried again now, as if it were new. `false` when there is no such dead letter, or when another job
    /// with its unique key waits already.
    pub async fn retry(&self, id: JobId) -> Result<bool, DbError> {
        let mut tx = self.db().begin().await?;
        let revived = store::revive(&mut tx, id, self.clock().now()).await?;
        tx.commit().await?;
        self.wake();
        Ok(revived)
    }
}
