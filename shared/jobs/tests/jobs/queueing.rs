//! What is enqueued, and that each of it is done once.

use std::collections::BTreeSet;

use bursar_jobs::{Failure, Kind, Lease, Next, Terms, Work};
use bursar_time::Span;
use tokio::sync::mpsc;

use crate::world::{COUNT, PATIENCE, World, until};

const BELL: Kind<()> = Kind::new("test.bell");

/// Rings.
struct Bell(mpsc::UnboundedSender<()>);

impl Work for Bell {
    type Payload = ();

    async fn run(&self, _lease: &Lease, (): ()) -> Result<Next, Failure> {
        self.0.send(()).map_err(Failure::later)?;
        Ok(Next::Finished)
    }
}

bursar_testkit::engines! {
    async fn a_job_is_done_when_its_transaction_commits_and_not_before(at: TestDb) {
        let world = World::new(&at).await;
        let mut replica = world.hire(Terms::DEFAULT, |_| {});
        let now = world.clock.now();
        let mut undone = world.db.begin().await.unwrap();
        replica.jobs.enqueue(&mut undone, COUNT, &1, now, None).await.unwrap();
        undone.rollback().await.unwrap();
        let mut open = world.db.begin().await.unwrap();
        replica.jobs.enqueue(&mut open, COUNT, &2, now, None).await.unwrap();
        replica.jobs.wake();
        tokio::task::yield_now().await;
        assert!(replica.is_idle(), "done before the commit");
        open.commit().await.unwrap();
        replica.jobs.wake();
        let job = replica.next().await;
        assert_eq!((job.number, job.attempt), (2, 1));
        job.done();
        world.until_count(0).await;
        replica.stop().await;
    }

    async fn a_job_is_not_done_before_its_time(at: TestDb) {
        let world = World::new(&at).await;
        let mut replica = world.hire(Terms::DEFAULT, |_| {});
        let mut tx = world.db.begin().await.unwrap();
        let later = world.clock.now().saturating_add(Span::HOUR);
        replica.jobs.enqueue(&mut tx, COUNT, &1, later, None).await.unwrap();
        tx.commit().await.unwrap();
        world.clock.advance(Span::from_mins(59)).unwrap();
        world.enqueue(2, None).await;
        let now = replica.next().await;
        assert_eq!(now.number, 2);
        now.done();
        world.until_count(1).await;
        world.clock.advance(Span::MINUTE).unwrap();
        let then = replica.next().await;
        assert_eq!(then.number, 1);
        then.done();
        world.until_count(0).await;
        replica.stop().await;
    }

    async fn what_a_job_carries_is_sealed(at: TestDb) {
        let world = World::new(&at).await;
        let jobs = world.jobs();
        let mut tx = world.db.begin().await.unwrap();
        let letter: bursar_jobs::Kind<String> = bursar_jobs::Kind::new("test.letter");
        jobs.enqueue(&mut tx, letter, &"geheim".to_owned(), world.clock.now(), None).await.unwrap();
        let row: Vec<u8> = bursar_db::on!(&mut tx, c =>
            sqlx::Row::get(&sqlx::query("SELECT sealed FROM jobs").fetch_one(c).await.unwrap(), 0));
        let shown = String::from_utf8_lossy(&row);
        assert!(!shown.contains("geheim"), "{shown}");
    }

    async fn several_replicas_do_each_job_once(at: TestDb) {
        const JOBS: u32 = 60;
        let world = World::new(&at).await;
        let terms = Terms { at_once: 7, ..Terms::DEFAULT };
        let mut replicas = [world.hire(terms, |_| {}), world.hire(terms, |_| {}), world.hire(terms, |_| {})];
        for number in 0..JOBS {
            world.enqueue(number, None).await;
        }
        let mut done = BTreeSet::new();
        for _ in 0..JOBS {
            for replica in &replicas {
                replica.jobs.wake();
            }
            let [one, two, three] = &mut replicas;
            let job = tokio::select! { job = one.next() => job, job = two.next() => job, job = three.next() => job };
            assert!(done.insert(job.number), "{} was done twice", job.number);
            assert_eq!(job.attempt, 1);
            job.done();
        }
        world.until_count(0).await;
        for mut replica in replicas {
            assert!(replica.is_idle(), "something was done twice");
            replica.stop().await;
        }
    }

    async fn a_replica_takes_no_more_than_it_has_places(at: TestDb) {
        let world = World::new(&at).await;
        for number in 0..5 {
            world.enqueue(number, None).await;
        }
        let (ring, mut rung) = mpsc::unbounded_channel();
        let mut replica = world.hire(Terms { at_once: 2, ..Terms::DEFAULT }, |runner| {
            runner.on(BELL, Terms::DEFAULT, Bell(ring));
        });
        let (one, two) = (replica.next().await, replica.next().await);
        let leased = "SELECT count(*) FROM jobs WHERE leased = 1 AND kind = 'test.count'";
        let mut tx = world.db.begin().await.unwrap();
        replica.jobs.enqueue(&mut tx, BELL, &(), world.clock.now(), None).await.unwrap();
        tx.commit().await.unwrap();
        replica.jobs.wake();
        // Whoever rings has looked at the others again: they come first.
        tokio::time::timeout(PATIENCE, rung.recv()).await.expect("it rings").unwrap();
        assert_eq!(world.ask(leased).await, 2, "the others are left to other replicas");
        assert!(replica.is_idle());
        one.done();
        let three = replica.next().await;
        assert!(world.ask(leased).await <= 2);
        two.done();
        three.done();
        replica.next().await.done();
        replica.next().await.done();
        world.until_count(0).await;
        replica.stop().await;
    }

    async fn of_two_jobs_with_one_key_one_is_done(at: TestDb) {
        let world = World::new(&at).await;
        world.enqueue(1, Some("ada")).await;
        world.enqueue(2, Some("ada")).await;
        world.enqueue(3, Some("ben")).await;
        world.enqueue(4, None).await;
        world.enqueue(5, None).await;
        assert_eq!(world.count().await, 4);
        let mut replica = world.hire(Terms { at_once: 9, ..Terms::DEFAULT }, |_| {});
        let mut numbers = Vec::new();
        for _ in 0..4 {
            let job = replica.next().await;
            numbers.push(job.number);
            job.done();
        }
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 3, 4, 5]);
        world.until_count(0).await;
        replica.stop().await;
    }

    async fn what_is_asked_for_while_it_is_done_is_done_again(at: TestDb) {
        let world = World::new(&at).await;
        let mut replica = world.hire(Terms::DEFAULT, |_| {});
        world.enqueue(1, Some("ada")).await;
        let first = replica.next().await;
        world.enqueue(2, Some("ada")).await;
        assert_eq!(world.count().await, 1);
        assert!(replica.is_idle(), "not two at once");
        first.done();
        let again = replica.next().await;
        assert_eq!((again.number, again.attempt), (1, 1));
        again.done();
        world.until_count(0).await;
        replica.stop().await;
    }

    async fn what_is_asked_for_while_the_last_attempt_fails_is_done(at: TestDb) {
        let world = World::new(&at).await;
        let mut replica = world.hire(Terms { attempts: 1, ..Terms::DEFAULT }, |_| {});
        for failure in [Failure::Later("busy".to_owned()), Failure::Never("no such mailbox".to_owned())] {
            world.enqueue(1, Some("ada")).await;
            let last = replica.next().await;
            world.enqueue(2, Some("ada")).await;
            last.end(Err(failure));
            let again = replica.next().await;
            assert_eq!((again.number, again.attempt), (1, 1));
            assert_eq!(replica.jobs.dead_letters(10).await.unwrap(), [], "the request is not buried with the failure");
            again.done();
            world.until_count(0).await;
        }
        replica.stop().await;
    }

    async fn what_is_asked_for_while_an_attempt_fails_does_not_wait(at: TestDb) {
        let world = World::new(&at).await;
        let terms = Terms { first_wait: Span::HOUR, ..Terms::DEFAULT };
        let mut replica = world.hire(terms, |_| {});
        world.enqueue(1, Some("ada")).await;
        let first = replica.next().await;
        world.enqueue(2, Some("ada")).await;
        first.end(Err(Failure::Later("busy".to_owned())));
        // The clock stands still: it is due at once, and a new job.
        let again = replica.next().await;
        assert_eq!((again.number, again.attempt), (1, 1));
        again.end(Err(Failure::Later("busy".to_owned())));
        world.until_put_back().await;
        assert!(world.due_in().await >= 29 * 60, "nobody has asked again");
        replica.stop().await;
    }

    async fn a_job_that_has_more_to_do_goes_on_at_once(at: TestDb) {
        let world = World::new(&at).await;
        let mut replica = world.hire(Terms::DEFAULT, |_| {});
        world.enqueue(1, None).await;
        for _ in 0..3 {
            let part = replica.next().await;
            assert_eq!(part.attempt, 1);
            part.end(Ok(Next::Again));
        }
        replica.next().await.done();
        world.until_count(0).await;
        replica.stop().await;
    }

    async fn a_job_under_way_is_finished_when_the_replica_stops(at: TestDb) {
        let world = World::new(&at).await;
        let mut replica = world.hire(Terms { at_once: 1, ..Terms::DEFAULT }, |_| {});
        world.enqueue(1, None).await;
        world.enqueue(2, None).await;
        let job = replica.next().await;
        // Told here, so that it is before the job is done, whenever the task begins.
        replica.shutdown.cancel();
        let stopping = tokio::spawn(replica.stop());
        tokio::task::yield_now().await;
        assert!(!stopping.is_finished());
        job.done();
        stopping.await.expect("it stops");
        until("the other is left", async || world.count().await == 1).await;
    }
}
