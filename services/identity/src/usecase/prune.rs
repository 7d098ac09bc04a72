//! Deleting what nobody can use any more.

use super::Identity;
use crate::Error;
use crate::store::prune::{Perishable, delete};

/// Rows that one transaction deletes at most, but for those of one age.
const BATCH: u64 = 500;

impl Identity {
    /// Deletes some of everything that has perished, in short transactions; says whether there is more. Safe on several
    /// replicas at once.
    pub async fn prune(&self) -> Result<bool, Error> {
        let now = self.now();
        let mut more = false;
        for what in Perishable::ALL {
            let mut tx = self.0.db.begin().await?;
            let gone = delete(&mut tx, what, now, BATCH.cast_signed()).await?;
            tx.commit().await?;
            if gone > 0 {
                tracing::info!(rows = gone, ?what, "deleted what has perished");
            }
            more |= gone >= BATCH;
        }
        Ok(more)
    }
}
