//! What a runner does for the table itself and for its own process.

use std::sync::Arc;

use bursar_time::{Clock, Span};
use futures::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::meters::Meters;
use crate::store;
use crate::work::{Failure, Next};
use crate::{Jobs, KEEP_DEAD};

/// How often the depths are measured.
pub(crate) const MEASURE_EVERY: Span = Span::from_secs(30);

/// How often dead letters are looked at for their age.
pub(crate) const FORGET_EVERY: Span = Span::DAY;

/// Something that is done again and again.
pub(crate) type Housework = Box<dyn Fn() -> BoxFuture<'static, Result<Next, Failure>> + Send + Sync>;

/// Does `work` at once, then in each period and whenever a test clock leaps, until `shutdown`.
pub(crate) async fn keep_doing(
    name: &'static str,
    period: Span,
    work: Housework,
    clock: Clock,
    shutdown: CancellationToken,
) {
    while !shutdown.is_cancelled() {
        let again = clock.sleep(period);
        match work().await {
            Ok(Next::Again) => continue,
            Ok(Next::Finished) => {}
            Err(failure) => tracing::warn!(name, ?failure, "housekeeping failed; trying again"),
        }
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = again => {}
        }
    }
}

/// Measures how much there is to do.
pub(crate) async fn measure(jobs: Jobs, meters: Meters, kinds: Arc<[&'static str]>) -> Result<Next, Failure> {
    let depths = store::depths(&mut jobs.db().read().await?).await?;
    let now = jobs.clock().now();
    for kind in kinds.iter() {
        let depth = depths.iter().find(|(found, _)| found == kind).map(|(_, depth)| *depth);
        meters.depth(kind, &depth.unwrap_or_default(), now);
    }
    Ok(Next::Finished)
}

/// Deletes the dead letters that are old enough, and makes some of what no program has known for as long.
pub(crate) async fn forget(jobs: Jobs, kinds: Arc<[&'static str]>) -> Result<Next, Failure> {
    let now = jobs.clock().now();
    let before = now.saturating_sub(KEEP_DEAD);
    let mut tx = jobs.db().begin().await?;
    let strangers = store::bury_strangers(&mut tx, &kinds, before, now).await?;
    let gone = store::forget(&mut tx, before).await?;
    tx.commit().await?;
    if strangers > 0 {
        tracing::error!(strangers, "jobs of kinds that no program knows are dead letters now");
    }
    Ok(if gone < store::BATCH.unsigned_abs() { Next::Finished } else { Next::Again })
}
