//! Housekeeping: once in a period over all replicas, or in each of them.

use std::future::{Ready, ready};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bursar_db::Asker;
use bursar_jobs::{Failure, Next, Runner, Terms};
use bursar_time::Span;

use crate::world::{World, until};

/// Counts how often it was done, and fails the first times.
#[derive(Clone, Default)]
struct Broom {
    swept: Arc<AtomicU32>,
    failures_left: Arc<AtomicU32>,
}

impl Broom {
    fn swept(&self) -> u32 {
        self.swept.load(Ordering::SeqCst)
    }

    fn sweep(&self) -> Result<Next, Failure> {
        let fails = self.failures_left.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if fails.is_ok() {
            return Err(Failure::Never("the broom is broken".to_owned()));
        }
        self.swept.fetch_add(1, Ordering::SeqCst);
        Ok(Next::Finished)
    }

    /// For a runner: every hour.
    fn hourly(&self) -> impl Fn(&mut Runner) {
        move |runner: &mut Runner| {
            let broom = self.clone();
            runner.every("test.sweep", Span::HOUR, move || std::future::ready(broom.sweep()));
        }
    }
}

const AT_REST: &str =
    "SELECT count(*) FROM jobs WHERE kind = 'test.sweep' AND leased = 0 AND attempts = 0 AND lease > 0";

/// For whom work takes connections.
type Askers = Arc<Mutex<Vec<Asker>>>;

/// Work that notes for whom it takes connections.
fn noting(askers: &Askers) -> impl Fn() -> Ready<Result<Next, Failure>> + Send + Sync + use<> {
    let askers = Arc::clone(askers);
    move || {
        askers.lock().unwrap().push(Asker::current());
        ready(Ok(Next::Finished))
    }
}

bursar_testkit::engines! {
    async fn each_kind_takes_turns_of_its_own_at_the_connections(at: TestDb) {
        let (world, askers) = (World::new(&at).await, Askers::default());
        let replica = world.hire(Terms::DEFAULT, |runner| {
            runner.every("test.sweep", Span::HOUR, noting(&askers));
            runner.here("test.here", Span::HOUR, noting(&askers));
        });
        let noted = |name| askers.lock().unwrap().contains(&Asker::program(name));
        until("both are done", async || noted("test.sweep") && noted("test.here")).await;
        assert!(askers.lock().unwrap().iter().all(|it| *it != Asker::PROGRAM));
        replica.stop().await;
    }

    async fn it_is_done_once_in_a_period_over_all_replicas(at: TestDb) {
        let world = World::new(&at).await;
        let broom = Broom::default();
        let mut replicas = [0; 3].map(|_| world.hire(Terms::DEFAULT, broom.hourly()));
        until("it is done at first", async || broom.swept() == 1 && world.ask(AT_REST).await == 1).await;
        for hour in 2..=5 {
            world.clock.advance(Span::from_mins(59)).unwrap();
            // Whoever does this has looked at the table after the leap.
            world.enqueue(hour, None).await;
            let [one, two, three] = &mut replicas;
            tokio::select! { job = one.next() => job, job = two.next() => job, job = three.next() => job }.done();
            world.until_count(0).await;
            assert_eq!(broom.swept(), hour - 1, "before its time");
            world.clock.advance(Span::MINUTE).unwrap();
            until("it is done again", async || broom.swept() == hour && world.ask(AT_REST).await == 1).await;
        }
        world.clock.advance(Span::from_days(40)).unwrap();
        until("what was missed is made up for once", async || broom.swept() == 6 && world.ask(AT_REST).await == 1).await;
        for replica in replicas {
            replica.stop().await;
        }
        assert_eq!(broom.swept(), 6);
        assert_eq!(world.ask("SELECT count(*) FROM jobs WHERE kind = 'test.sweep'").await, 1);
    }

    async fn a_leap_while_it_is_done_is_not_slept_through(at: TestDb) {
        let world = World::new(&at).await;
        let (broom, clock) = (Broom::default(), world.clock.clone());
        let busy = broom.clone();
        let replica = world.hire(Terms::DEFAULT, move |runner: &mut Runner| {
            let (broom, clock) = (busy.clone(), clock.clone());
            runner.every("test.sweep", Span::HOUR, move || {
                if broom.swept() == 0 {
                    clock.advance(Span::DAY).unwrap();
                }
                std::future::ready(broom.sweep())
            });
        });
        until("the hours that passed meanwhile are made up for", async || broom.swept() == 2).await;
        replica.stop().await;
    }

    async fn it_is_never_given_up(at: TestDb) {
        let world = World::new(&at).await;
        let broom = Broom::default();
        broom.failures_left.store(50, Ordering::SeqCst);
        let replica = world.hire(Terms::DEFAULT, broom.hourly());
        until("it is done at last", async || {
            world.clock.advance(Span::HOUR).unwrap();
            broom.swept() > 0
        }).await;
        assert_eq!(broom.failures_left.load(Ordering::SeqCst), 0);
        assert_eq!(replica.jobs.dead_letters(10).await.unwrap(), []);
        replica.stop().await;
    }

    async fn it_is_not_begun_while_the_replica_drains_but_jobs_are(at: TestDb) {
        let world = World::new(&at).await;
        let broom = Broom::default();
        let mut replica = world.hire(Terms::DEFAULT, broom.hourly());
        until("it is done at first", async || broom.swept() == 1 && world.ask(AT_REST).await == 1).await;
        replica.shutdown.cancel();
        world.clock.advance(Span::DAY).unwrap();
        world.enqueue(1, None).await;
        replica.next().await.done();
        world.until_count(0).await;
        replica.stop().await;
        assert_eq!(broom.swept(), 1);
    }

    async fn what_is_for_each_replica_is_done_in_each(at: TestDb) {
        let world = World::new(&at).await;
        let broom = Broom::default();
        let here = |runner: &mut Runner| {
            let broom = broom.clone();
            runner.here("test.look", Span::HOUR, move || std::future::ready(broom.sweep()));
        };
        let replicas = [world.hire(Terms::DEFAULT, here), world.hire(Terms::DEFAULT, here)];
        until("each has looked", async || broom.swept() == 2).await;
        world.clock.advance(Span::SECOND).unwrap();
        until("each looks again when the clock leaps", async || broom.swept() == 4).await;
        for replica in replicas {
            replica.stop().await;
        }
    }

    async fn what_is_for_each_replica_goes_on_after_a_panic(at: TestDb) {
        let world = World::new(&at).await;
        let calls = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&calls);
        let replica = world.hire(Terms::DEFAULT, |runner: &mut Runner| {
            runner.here("test.look", Span::HOUR, move || {
                let call = counted.fetch_add(1, Ordering::SeqCst);
                assert!(call > 0, "on purpose, when it is called");
                async move {
                    assert!(call > 1, "on purpose, when it is polled");
                    Ok(Next::Finished)
                }
            });
        });
        for call in 1..=3 {
            until("it looks", async || calls.load(Ordering::SeqCst) == call).await;
            world.clock.advance(Span::HOUR).unwrap();
        }
        replica.stop().await;
    }
}
