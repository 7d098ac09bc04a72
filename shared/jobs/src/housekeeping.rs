//! What a runner does for the table itself and for its own process.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bursar_db::DbError;
use bursar_time::{Clock, Span, Timestamp, latest_beginning};
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

/// How often it is looked for jobs that are due later than they can be.
pub(crate) const CATCH_EVERY: Span = Span::MINUTE;

/// Makes due what is due later than its terms allow: a clock that was 400 days ahead stops no job for as long. Somebody who
/// still works on such a job loses it, as when a lease lapses. `kinds`: each with the longest that it may wait. What it has given
/// up died now: it is kept as long as any other, a batch at a time.
pub(crate) async fn catch(jobs: Jobs, kinds: Arc<[(&'static str, Span)]>) -> Result<Next, Failure> {
    let now = jobs.clock().believed().map_err(DbError::from)?;
    catch_by(&jobs, &kinds, now).await
}

/// The same by what a clock showed a moment ago.
async fn catch_by(jobs: &Jobs, kinds: &[(&'static str, Span)], now: Timestamp) -> Result<Next, Failure> {
    let mut tx = jobs.db().begin().await?;
    for (kind, longest) in kinds {
        let caught = store::catch(&mut tx, kind, now.saturating_add(*longest), now).await?;
        if caught > 0 {
            tracing::warn!(kind, caught, "jobs were put off by a clock that was ahead: they are due now");
        }
    }
    if jobs.clock().is_long_past(now) {
        // What was put off since is not due yet.
        tx.rollback().await?;
        return Ok(Next::Again);
    }
    tx.commit().await?;
    // By itself: every replica does it, and whoever loses against another one loses nothing else.
    let mut tx = jobs.db().begin().await?;
    let redated = store::redate(&mut tx, latest_beginning(now), now).await?;
    tx.commit().await?;
    if redated > 0 {
        tracing::warn!(redated, "dead letters were dated by a clock that was ahead: they are kept from now on");
    }
    Ok(if redated == store::BATCH.unsigned_abs() { Next::Again } else { Next::Finished })
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
    use bursar_time::BELIEVED_AHEAD;

    use super::*;
    use crate::Kind;

    bursar_testkit::engines! {
        /// Kind K: a lease, a wait, a period and a job of a clock that was 400 days ahead stop nothing for 400 days.
        async fn what_a_clock_that_was_ahead_put_off_is_due_now(db: TestDb) {
            let db = db.open(&Migrations::SHARED).await;
            let now = Timestamp::from_micros(1_785_000_000_000_000).unwrap();
            let by = |clock| Jobs::new(db.clone(), Sealer::from_key(&Secret::new([7; 32])), Entropy::seeded(1), clock);
            let right = by(Clock::test(now));
            let wrong = by(Clock::test(now.saturating_add(Span::from_days(400))));
            let ahead = wrong.clock().now();
            let mut tx = db.begin().await.unwrap();
            for kind in ["test.waits", "test.leased"] {
                wrong.enqueue(&mut tx, Kind::new(kind), &(), ahead, None).await.unwrap();
            }
            // What is meant for later stays for later.
            right.enqueue(&mut tx, Kind::new("test.later"), &(), ahead, None).await.unwrap();
            let until = ahead.saturating_add(Span::MINUTE);
            let wanted = store::Wanted { kind: "test.leased", now: ahead, until, limit: 1, but: &[] };
            assert_eq!(store::take(&mut tx, &wanted, wrong.clock()).await.unwrap().len(), 1);
            tx.commit().await.unwrap();
            wrong.enrol("test.periodic").await.unwrap();
            let kinds = ["test.waits", "test.leased", "test.periodic", "test.later"];
            let longest: Vec<(&'static str, Span)> = kinds.into_iter().map(|kind| (kind, Span::HOUR)).collect();
            assert_eq!(catch(right, longest.into()).await, Ok(Next::Finished));
            let due = store::first_due(&mut db.read().await.unwrap(), &kinds).await.unwrap();
            let expected = [("test.waits", now), ("test.leased", now), ("test.periodic", now), ("test.later", ahead)];
            for (kind, at) in expected {
                assert!(due.contains(&(kind.to_owned(), at)), "{kind}: {due:?}");
            }
        }

        /// Whoever stood still in between takes what others have put off meanwhile for a wrong clock's.
        async fn what_was_put_off_since_the_clock_was_read_stays_for_later(db: TestDb) {
            let db = db.open(&Migrations::SHARED).await;
            let clock = Clock::test(Timestamp::from_micros(1_785_000_000_000_000).unwrap());
            let jobs = Jobs::new(db.clone(), Sealer::from_key(&Secret::new([7; 32])), Entropy::seeded(1), clock.clone());
            let read = clock.now();
            clock.advance(Span::from_days(40)).unwrap();
            let mut tx = db.begin().await.unwrap();
            jobs.enqueue(&mut tx, Kind::new("test.waits"), &(), clock.now(), None).await.unwrap();
            tx.commit().await.unwrap();
            let kinds = [("test.waits", Span::HOUR)];
            assert_eq!(catch_by(&jobs, &kinds, read).await, Ok(Next::Again));
            assert_eq!(catch_by(&jobs, &kinds, clock.now()).await, Ok(Next::Finished));
            let due = store::first_due(&mut db.read().await.unwrap(), &["test.waits"]).await.unwrap();
            assert_eq!(due, [("test.waits".to_owned(), clock.now())]);
        }

        /// Kind K: nor do they hide what dies later for 400 days, as long as the right clock comes there.
        async fn dead_letters_of_a_clock_far_ahead_are_kept_as_long_as_any_other(db: TestDb) {
            let db = db.open(&Migrations::SHARED).await;
            let now = Timestamp::from_micros(1_785_000_000_000_000).unwrap();
            let by = |clock| Jobs::new(db.clone(), Sealer::from_key(&Secret::new([7; 32])), Entropy::seeded(1), clock);
            let right = by(Clock::test(now));
            let (near, ahead) = (now.saturating_add(BELIEVED_AHEAD), now.saturating_add(Span::from_days(400)));
            let mut tx = db.begin().await.unwrap();
            for (kind, died_at, count) in [("test.near", near, 1), ("test.far", ahead, store::BATCH + 1)] {
                for _ in 0..count {
                    right.enqueue(&mut tx, Kind::new(kind), &(), now, None).await.unwrap();
                }
                let wanted = store::Wanted { kind, now, until: ahead, limit: 1_000, but: &[] };
                let taken = store::take(&mut tx, &wanted, right.clock()).await.unwrap();
                for taken in taken {
                    let buried = store::bury(&mut tx, &taken.lease, died_at, "no").await.unwrap();
                    assert_eq!(buried, store::Settled::AsSaid);
                }
            }
            tx.commit().await.unwrap();
            let kinds: Arc<[(&'static str, Span)]> = Arc::new([]);
            for expected in [Next::Again, Next::Finished] {
                assert_eq!(catch(right.clone(), Arc::clone(&kinds)).await, Ok(expected));
            }
            let letters = store::dead(&mut db.read().await.unwrap(), 1_000).await.unwrap();
            let died: Vec<Timestamp> = letters.iter().map(|letter| letter.dead_at).collect();
            let (first, rest) = died.split_first().unwrap();
            assert_eq!((*first, rest.len()), (near, 501), "what may be right keeps its own time");
            assert!(rest.iter().all(|at| *at == now), "{rest:?}");
        }

        /// Whoever revives one at the moment at which it is forgotten is told that it is tried again.
        async fn a_dead_letter_that_is_revived_while_it_is_forgotten_is_kept(db: TestDb) {
            let db = db.open(&Migrations::SHARED).await;
            let clock = Clock::test(Timestamp::from_micros(1_785_000_000_000_000).unwrap());
            let sealer = Sealer::from_key(&Secret::new([7; 32]));
            let jobs = Jobs::new(db.clone(), sealer, Entropy::seeded(1), clock.clone());
            let (kind, now) = ("test.revived", clock.now());
            let mut tx = db.begin().await.unwrap();
            for _ in 0..2 {
                jobs.enqueue(&mut tx, Kind::new(kind), &(), now, None).await.unwrap();
            }
            let wanted = store::Wanted { kind, now, until: now.saturating_add(Span::MINUTE), limit: 2, but: &[] };
            let taken = store::take(&mut tx, &wanted, &clock).await.unwrap();
            for taken in &taken {
                store::bury(&mut tx, &taken.lease, now, "no").await.unwrap();
            }
            tx.commit().await.unwrap();
            clock.advance(KEEP_DEAD.saturating_add(Span::DAY)).unwrap();
            let mut tx = db.begin().await.unwrap();
            assert!(store::revive(&mut tx, taken[0].lease.id(), clock.now()).await.unwrap());
            let revived = async {
                bursar_testkit::postgres::somebody_waits(&db).await;
                tx.commit().await.unwrap();
            };
            let (forgotten, ()) = futures::join!(forget(jobs, Arc::new([kind])), revived);
            assert_eq!(forgotten, Ok(Next::Finished));
            let depths = store::depths(&mut db.read().await.unwrap()).await.unwrap();
            let [(_, depth)] = &depths[..] else { panic!("the revived one is gone: {depths:?}") };
            assert_eq!((depth.waiting, depth.dead), (1, 0), "and the other one is forgotten");
        }

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
