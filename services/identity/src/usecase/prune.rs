//! Deleting what nobody can use any more.

use bursar_time::Timestamp;

use super::Identity;
use crate::Error;
use crate::store::prune::{Perishable, delete};

/// Rows that one transaction deletes at most, but for those of one age.
const BATCH: u64 = 500;

impl Identity {
    /// Deletes some of everything that has perished, in short transactions; says whether there is more. Safe on several
    /// replicas at once.
    pub async fn prune(&self) -> Result<bool, Error> {
        self.prune_by(self.now()).await
    }

    /// The same by what a clock showed a moment ago.
    async fn prune_by(&self, now: Timestamp) -> Result<bool, Error> {
        let mut more = false;
        for what in Perishable::ALL {
            let mut tx = self.0.db.begin().await?;
            let gone = delete(&mut tx, what, now, BATCH.cast_signed()).await?;
            if self.0.clock.is_long_past(now) {
                tx.rollback().await?;
                return Ok(true);
            }
            tx.commit().await?;
            if gone > 0 {
                tracing::info!(rows = gone, ?what, "deleted what has perished");
            }
            more |= gone >= BATCH;
        }
        Ok(more)
    }
}

#[cfg(test)]
mod tests {
    use bursar_time::{Span, latest_beginning};

    use crate::store::sessions;
    use crate::store::tests::{ada, session};
    use crate::usecase::hearing::identity;

    bursar_testkit::engines! {
        /// Whoever stood still in between takes what others have written meanwhile for a wrong clock's.
        async fn what_was_written_since_the_clock_was_read_is_not_taken_for_a_wrong_ones(db: TestDb) {
            let directory = tempfile::tempdir().unwrap();
            let identity = identity(&db, &directory).await;
            let read = identity.now();
            identity.0.clock.advance(Span::from_hours(20)).unwrap();
            let now = identity.now();
            let used = sessions::SessionRow {
                created_at: now, last_used_at: now, expires_at: now.saturating_add(Span::DAY), ..session(1, ada().id)
            };
            let mut tx = identity.0.db.begin().await.unwrap();
            sessions::insert(&mut tx, &used).await.unwrap();
            tx.commit().await.unwrap();
            assert!(identity.prune_by(read).await.unwrap(), "it is done again");
            assert!(!identity.prune().await.unwrap());
            let mut tx = identity.0.db.read().await.unwrap();
            let live = sessions::live_of(&mut tx, ada().id, None, (now, latest_beginning(now)), 2).await.unwrap();
            assert_eq!(live.len(), 1, "it was used a moment ago");
        }
    }
}
