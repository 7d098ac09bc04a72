//! Deleting what nobody can use any more.

use bursar_time::Timestamp;

use super::Identity;
use crate::Error;
use crate::store::prune::{Perishable, delete};

/// Rows that one transaction deletes at most.
const BATCH: u64 = 500;

impl Identity {
    /// Deletes everything that has perished, in short transactions. Safe on several replicas at once.
    pub async fn prune(&self) -> Result<u64, Error> {
        let now = self.now();
        let mut total = 0;
        for what in Perishable::ALL {
            total += self.prune_table(what, now).await?;
        }
        total += bursar_db::idempotency::prune(&self.0.db, now).await?;
        Ok(total)
    }

    async fn prune_table(&self, what: Perishable, now: Timestamp) -> Result<u64, Error> {
        let mut total = 0;
        loop {
            let mut tx = self.0.db.begin().await?;
            let gone = delete(&mut tx, what, now, BATCH.cast_signed()).await?;
            tx.commit().await?;
            total += gone;
            if gone < BATCH {
                return Ok(total);
            }
        }
    }
}
