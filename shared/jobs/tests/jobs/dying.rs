//! Workers that die: between taking a job and finishing it, and after somebody else has taken it.

use bursar_db::{Db, exactly_one, on};
use bursar_jobs::{Failure, Kind, Lease, Next, Runner, Terms, Work};
use bursar_time::Span;
use tokio::sync::mpsc;

use crate::world::{World, until};

const EFFECT: Kind<i64> = Kind::new("test.effect");

/// Has its effect in the transaction that finishes the job, when it is told to go on.
struct Effect {
    db: Db,
    begun: mpsc::UnboundedSender<mpsc::UnboundedSender<()>>,
    ended: mpsc::UnboundedSender<Result<Next, Failure>>,
}

impl Effect {
    async fn attempt(&self, lease: &Lease, number: i64) -> Result<Next, Failure> {
        let (go, mut told) = mpsc::unbounded_channel();
        self.begun.send(go).map_err(Failure::later)?;
        told.recv().await;
        let mut tx = self.db.begin().await?;
        insert(&mut tx, number).await?;
        lease.finish(&mut tx).await?;
        tx.commit().await?;
        Ok(Next::Finished)
    }
}

async fn insert(tx: &mut bursar_db::Tx, number: i64) -> Result<(), bursar_db::DbError> {
    exactly_one(on!(tx, c => sqlx::query("INSERT INTO effects (number) VALUES ($1)").bind(number)
        .execute(c).await?.rows_affected()))
}

impl Work for Effect {
    type Payload = i64;

    async fn run(&self, lease: &Lease, number: i64) -> Result<Next, Failure> {
        let outcome = self.attempt(lease, number).await;
        self.ended.send(outcome.clone()).map_err(Failure::later)?;
        outcome
    }
}

bursar_testkit::engines! {
    async fn a_job_whose_worker_dies_is_done_by_another(at: TestDb) {
        let world = World::new(&at).await;
        let mut dying = world.hire(Terms::DEFAULT, |_| {});
        world.enqueue(1, None).await;
        let job = dying.next().await;
        assert_eq!((job.number, job.attempt), (1, 1));
        dying.die().await;
        assert_eq!(world.count().await, 1);

        let mut other = world.hire(Terms::DEFAULT, |_| {});
        world.enqueue(2, None).await;
        let second = other.next().await;
        assert_eq!(second.number, 2, "the lease of the first still holds");
        second.done();
        world.clock.advance(Span::from_mins(2)).unwrap();
        let again = other.next().await;
        assert_eq!((again.number, again.attempt), (1, 2));
        again.done();
        world.until_count(0).await;
        other.stop().await;
    }

    async fn a_leap_gives_a_replica_nothing_that_it_is_doing(at: TestDb) {
        let world = World::new(&at).await;
        let mut replica = world.hire(Terms { at_once: 3, ..Terms::DEFAULT }, |_| {});
        world.enqueue(1, None).await;
        let job = replica.next().await;
        world.clock.advance(Span::DAY).unwrap();
        world.enqueue(2, None).await;
        replica.next().await.done();
        assert!(replica.is_idle(), "the job was taken twice");
        job.done();
        world.until_count(0).await;
        replica.stop().await;
    }

    async fn an_effect_in_the_transaction_that_finishes_happens_once(at: TestDb) {
        let world = World::new(&at).await;
        world.with_effects().await;
        let (begun, mut beginnings) = mpsc::unbounded_channel();
        let (ended, mut ends) = mpsc::unbounded_channel();
        let hire = |runner: &mut Runner| {
            let effect = Effect { db: world.db.clone(), begun: begun.clone(), ended: ended.clone() };
            runner.on(EFFECT, Terms { at_once: 1, ..Terms::DEFAULT }, effect);
        };
        let (slow, fast) = (world.hire(Terms::DEFAULT, hire), world.hire(Terms::DEFAULT, hire));
        let mut tx = world.db.begin().await.unwrap();
        slow.jobs.enqueue(&mut tx, EFFECT, &7, world.clock.now(), None).await.unwrap();
        tx.commit().await.unwrap();

        // One has it and is slow; its lease lapses and the other takes it, too.
        let first = beginnings.recv().await.unwrap();
        world.clock.advance(Span::from_mins(2)).unwrap();
        let second = beginnings.recv().await.unwrap();
        second.send(()).unwrap();
        assert_eq!(ends.recv().await.unwrap(), Ok(Next::Finished));
        first.send(()).unwrap();
        assert_eq!(ends.recv().await.unwrap(), Err(Failure::Lost));
        until("the job is gone", async || world.ask("SELECT count(*) FROM jobs WHERE kind = 'test.effect'").await == 0).await;
        assert_eq!(world.ask("SELECT count(*) FROM effects").await, 1);
        slow.stop().await;
        fast.stop().await;
        assert_eq!(world.ask("SELECT count(*) FROM effects").await, 1);
    }

    async fn an_effect_that_was_cut_off_before_the_commit_is_had_again(at: TestDb) {
        let world = World::new(&at).await;
        world.with_effects().await;
        let (begun, mut beginnings) = mpsc::unbounded_channel();
        let (ended, mut ends) = mpsc::unbounded_channel();
        let hire = |runner: &mut Runner| {
            let effect = Effect { db: world.db.clone(), begun: begun.clone(), ended: ended.clone() };
            runner.on(EFFECT, Terms::DEFAULT, effect);
        };
        let dying = world.hire(Terms::DEFAULT, hire);
        let mut tx = world.db.begin().await.unwrap();
        dying.jobs.enqueue(&mut tx, EFFECT, &7, world.clock.now(), None).await.unwrap();
        tx.commit().await.unwrap();
        let _never_told = beginnings.recv().await.unwrap();
        dying.die().await;
        let other = world.hire(Terms::DEFAULT, hire);
        world.clock.advance(Span::from_mins(2)).unwrap();
        beginnings.recv().await.unwrap().send(()).unwrap();
        assert_eq!(ends.recv().await.unwrap(), Ok(Next::Finished));
        assert_eq!(world.ask("SELECT count(*) FROM effects").await, 1);
        assert_eq!(world.ask("SELECT count(*) FROM jobs WHERE kind = 'test.effect'").await, 0);
        other.stop().await;
    }
}
