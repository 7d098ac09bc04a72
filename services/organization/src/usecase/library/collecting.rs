//! Removing from the object store what is nobody's content: what uploads left behind, and what the last item let go.

use bursar_time::Span;

use super::super::Organization;
use super::super::outflow::LONGEST;
use crate::Error;
use crate::store::objects;

/// How many objects are removed, and how many leases shortened, before others have their turn.
const BATCH: i64 = 64;
/// How much longer than its lease an object is left alone, for replicas whose clocks differ.
const MARGIN: Span = Span::from_mins(2);
/// When an object that could not be removed is tried again.
const AGAIN_AFTER: Span = Span::HOUR;

impl Organization {
    /// Removes some of what is nobody's, and says whether there may be more.
    ///
    /// An object whose lease is past can become nobody's content any more, so nothing is removed that somebody gets
    /// meanwhile. No lease is longer than the longest download: one that ends later was written by a clock that was ahead, and
    /// ends as late as it may. One that cannot be removed is set aside for an hour; where the store is away, the others wait,
    /// too: each of them would wait as long for it.
    pub async fn collect_objects(&self) -> Result<bool, Error> {
        let now = self.believed()?;
        let (before, last) = (now.saturating_sub(MARGIN), now.saturating_add(LONGEST));
        let mut tx = self.0.db.begin().await?;
        let shortened = objects::shorten(&mut tx, last, last.saturating_add(MARGIN), BATCH).await?;
        tx.commit().await?;
        let loose = objects::loose(&mut self.0.db.read().await?, before, BATCH).await?;
        let more = is_full(shortened) || is_full(loose.len());
        for object in loose {
            let removed = self.0.contents.remove(&object).await;
            let mut tx = self.0.db.begin().await?;
            if let Err(error) = removed {
                tracing::warn!(object, %error, "content cannot be removed; trying again later");
                objects::postpone(&mut tx, &object, now.saturating_add(AGAIN_AFTER)).await?;
                tx.commit().await?;
                if self.0.contents.look_for().await {
                    continue;
                }
                return Ok(false);
            }
            objects::forget(&mut tx, &object, before).await?;
            tx.commit().await?;
        }
        Ok(more)
    }
}

/// Whether there may be more than these.
fn is_full(found: impl TryInto<i64>) -> bool {
    found.try_into().is_ok_and(|found| found >= BATCH)
}
