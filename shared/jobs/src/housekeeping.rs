//! What a runner does for the table itself and for its own process.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bursar_time::{Clock, Span};
use futures::FutureExt as _;
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

/// Does `work` at once, then in each period and whenever a test clock leaps, until `shutdown`, whatever goes wrong.
pub(crate) async fn keep_doing(
    name: &'static str,
    period: Span,
    work: Housework,
    clock: Clock,
    shutdown: CancellationToken,
) {
    while !shutdown.is_cancelled() {
        let again = clock.sleep(period);
        let done = AssertUnwindSafe(async { work().await }).catch_unwind().await;
        match done.unwrap_or_else(|_| Err(Failure::Later("it panicked".to_owned()))) {
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

/// Deletes the dead letters that are old enough, and makes some of what no program has known for as long; rows of what was
/// periodic just go. Each at most a batch, and again at once when there may be more.
pub(crate) async fn forget(jobs: Jobs, kinds: Arc<[&'static str]>) -> Result<Next, Failure> {
    let now = jobs.clock().now();
    let before = now.saturating_sub(KEEP_DEAD);
    let mut tx = jobs.db().begin().await?;
    let retired = store::drop_retired(&mut tx, &kinds, before).await?;
    let strangers = store::bury_strangers(&mut tx, &kinds, before, now).await?;
    let gone = store::forget(&mut tx, before).await?;
    tx.commit().await?;
    if strangers > 0 {
        tracing::error!(strangers, "jobs of kinds that no program knows are dead letters now");
    }
    let full = [retired, strangers, gone].contains(&store::BATCH.unsigned_abs());
    Ok(if full { Next::Again } else { Next::Finished })
}

#[cfg(test)]
mod tests {
    use bursar_db::Migrations;
    use bursar_secret::{Entropy, Sealer, Secret};
    use bursar_time::Timestamp;

    use super::*;
    use crate::Kind;

    bursar_testkit::engines! {
        async fn strangers_are_buried_a_batch_at_a_time(db: TestDb) {
            let db = db.open(&Migrations::SHARED).await;
            let clock = Clock::test(Timestamp::from_micros(1_785_000_000_000_000).unwrap());
            let sealer = Sealer::from_key(&Secret::new([7; 32]));
            let jobs = Jobs::new(db.clone(), sealer, Entropy::seeded(1), clock.clone());
            let mut tx = db.begin().await.unwrap();
            for _ in 0..=store::BATCH {
                jobs.enqueue(&mut tx, Kind::new("test.strange"), &(), clock.now(), None).await.unwrap();
            }
            tx.commit().await.unwrap();
            clock.advance(KEEP_DEAD.saturating_add(Span::DAY)).unwrap();
            let kinds: Arc<[&'static str]> = Arc::new(["test.known"]);
            for (next, buried) in [(Next::Again, store::BATCH), (Next::Finished, store::BATCH + 1)] {
                assert_eq!(forget(jobs.clone(), Arc::clone(&kinds)).await, Ok(next));
                let [(_, depth)] = &store::depths(&mut db.read().await.unwrap()).await.unwrap()[..] else {
                    panic!("one kind");
                };
                assert_eq!(depth.dead, buried.unsigned_abs());
            }
        }
    }
}
