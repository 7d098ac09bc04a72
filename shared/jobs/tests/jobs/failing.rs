//! Work that fails: waits, dead letters, and what an operator does about them.

use std::time::Duration;

use bursar_jobs::{Failure, Jobs, Kind, Next, Terms};
use bursar_secret::{Sealer, Secret};
use bursar_time::Span;

use crate::world::{COUNT, World, until};

fn later() -> Result<Next, Failure> {
    Err(Failure::Later("the server is busy".to_owned()))
}

bursar_testkit::engines! {
    async fn what_fails_is_tried_again_after_growing_waits_and_then_a_dead_letter(at: TestDb) {
        let world = World::new(&at).await;
        let terms = Terms { attempts: 4, longest_wait: Span::from_secs(30), ..Terms::DEFAULT };
        let mut replica = world.hire(terms, |_| {});
        world.enqueue(1, None).await;
        for (attempt, longest) in [(1, 10), (2, 20), (3, 30)] {
            let job = replica.next().await;
            assert_eq!(job.attempt, attempt);
            job.end(later());
            world.until_put_back().await;
            let wait = world.due_in().await;
            assert!((longest / 2 - 1..=longest).contains(&wait), "{wait} s after attempt {attempt}");
            world.clock.advance(Span::from_secs(u32::try_from(longest).unwrap().into())).unwrap();
        }
        replica.next().await.end(later());
        until("it is given up", async || !replica.jobs.dead_letters(10).await.unwrap().is_empty()).await;
        let letters = replica.jobs.dead_letters(10).await.unwrap();
        let [letter] = letters.as_slice() else { panic!("{letters:?}") };
        assert_eq!((letter.kind.as_str(), letter.attempts), (COUNT.name(), 4));
        assert_eq!((letter.reason.as_str(), letter.dead_at), ("the server is busy", world.clock.now()));

        world.clock.advance(Span::DAY).unwrap();
        world.enqueue(2, None).await;
        replica.next().await.done();
        world.until_count(1).await;
        assert!(replica.is_idle(), "a dead letter rests");
        assert!(replica.jobs.retry(letter.id).await.unwrap());
        assert!(!replica.jobs.retry(letter.id).await.unwrap(), "it is none any more");
        let revived = replica.next().await;
        assert_eq!((revived.number, revived.attempt), (1, 1));
        revived.done();
        world.until_count(0).await;
        replica.stop().await;
    }

    async fn what_can_never_succeed_is_a_dead_letter_at_once_and_blocks_nobody(at: TestDb) {
        let world = World::new(&at).await;
        let mut replica = world.hire(Terms { at_once: 1, ..Terms::DEFAULT }, |_| {});
        world.enqueue(1, Some("ada")).await;
        world.enqueue(2, None).await;
        replica.next().await.end(Err(Failure::Never("no such\nmailbox".to_owned())));
        replica.next().await.done();
        world.until_count(1).await;
        let letters = replica.jobs.dead_letters(10).await.unwrap();
        assert_eq!((letters[0].attempts, letters[0].reason.as_str()), (1, "no such mailbox"));
        assert_eq!(replica.jobs.dead_letters(0).await.unwrap(), []);

        // A dead letter's key is free for another, which then stands in its way.
        world.clock.advance(Span::MINUTE).unwrap();
        world.enqueue(3, Some("ada")).await;
        let other = replica.next().await;
        assert_eq!(other.number, 3);
        assert!(!replica.jobs.retry(letters[0].id).await.unwrap(), "its key is taken");
        other.done();
        world.until_count(1).await;
        world.clock.advance(Span::from_days(31)).unwrap();
        until("it is forgotten", async || {
            world.clock.advance(Span::DAY).unwrap();
            world.count().await == 0
        }).await;
        replica.stop().await;
    }

    async fn what_passes_by_itself_costs_no_attempt(at: TestDb) {
        let world = World::new(&at).await;
        let mut replica = world.hire(Terms::DEFAULT, |_| {});
        world.enqueue(1, None).await;
        for _ in 0..3 {
            let job = replica.next().await;
            assert_eq!(job.attempt, 1);
            job.end(Err(Failure::Passing("a deadlock".to_owned())));
        }
        replica.next().await.done();
        world.until_count(0).await;
        replica.stop().await;
    }

    async fn work_that_takes_too_long_or_panics_has_failed(at: TestDb) {
        let world = World::new(&at).await;
        let terms = Terms { limit: Duration::from_millis(20), attempts: 1, ..Terms::DEFAULT };
        let mut replica = world.hire(terms, |runner| {
            runner.on(Kind::<()>::new("test.panic"), Terms { attempts: 1, ..Terms::DEFAULT }, Panics);
        });
        world.enqueue(1, None).await;
        let _never_answered = replica.next().await;
        let mut tx = world.db.begin().await.unwrap();
        replica.jobs.enqueue(&mut tx, Kind::new("test.panic"), &(), world.clock.now(), None).await.unwrap();
        tx.commit().await.unwrap();
        until("both are given up", async || replica.jobs.dead_letters(10).await.unwrap().len() == 2).await;
        let letters = replica.jobs.dead_letters(10).await.unwrap();
        let mut reasons: Vec<_> = letters.into_iter().map(|letter| (letter.kind, letter.reason)).collect();
        reasons.sort();
        assert_eq!(reasons, [
            ("test.count".to_owned(), "not done within 20ms".to_owned()),
            ("test.panic".to_owned(), "it panicked".to_owned()),
        ]);
        replica.stop().await;
    }

    async fn what_a_payload_holds_is_not_quoted_when_it_cannot_be_read(at: TestDb) {
        let world = World::new(&at).await;
        let replica = world.hire(Terms { attempts: 1, ..Terms::DEFAULT }, |_| {});
        let mut tx = world.db.begin().await.unwrap();
        let worded: Kind<String> = Kind::new(COUNT.name());
        replica.jobs.enqueue(&mut tx, worded, &"geheim".to_owned(), world.clock.now(), None).await.unwrap();
        tx.commit().await.unwrap();
        replica.jobs.wake();
        until("it is given up", async || !replica.jobs.dead_letters(10).await.unwrap().is_empty()).await;
        let letters = replica.jobs.dead_letters(10).await.unwrap();
        assert_eq!(letters[0].reason, "the payload cannot be read: Data at line 1, column 8");
        replica.stop().await;
    }

    async fn a_job_under_another_key_waits_for_the_right_one(at: TestDb) {
        let world = World::new(&at).await;
        world.enqueue(1, None).await;
        let stranger = World { sealer: Sealer::from_key(&Secret::new([8; 32])), ..World::new(&at).await };
        let other = stranger.hire(Terms::DEFAULT, |_| {});
        until("the other has tried", async || {
            world.ask("SELECT count(*) FROM jobs WHERE attempts = 1 AND leased = 0 AND failure IS NOT NULL").await == 1
        }).await;
        other.stop().await;
        let mut replica = world.hire(Terms::DEFAULT, |_| {});
        world.clock.advance(Span::MINUTE).unwrap();
        let job = replica.next().await;
        assert_eq!((job.number, job.attempt), (1, 2));
        job.done();
        world.until_count(0).await;
        replica.stop().await;
    }

    async fn what_is_not_periodic_any_more_leaves_nothing_behind(at: TestDb) {
        let world = World::new(&at).await;
        let before = world.hire(Terms::DEFAULT, |runner| {
            runner.every("test.retired", Span::HOUR, || std::future::ready(Ok(Next::Finished)));
        });
        let row = "SELECT count(*) FROM jobs WHERE kind = 'test.retired' AND lease > 0 AND leased = 0";
        until("it was done", async || world.ask(row).await == 1).await;
        before.stop().await;
        let replica = world.hire(Terms::DEFAULT, |_| {});
        until("its row is gone", async || {
            world.clock.advance(Span::from_days(2)).unwrap();
            world.ask("SELECT count(*) FROM jobs WHERE kind = 'test.retired'").await == 0
        }).await;
        assert_eq!(replica.jobs.dead_letters(10).await.unwrap(), []);
        replica.stop().await;
    }

    async fn a_kind_that_nobody_knows_waits_and_is_a_dead_letter_after_a_month(at: TestDb) {
        let world = World::new(&at).await;
        let mut tx = world.db.begin().await.unwrap();
        let jobs: Jobs = world.jobs();
        jobs.enqueue(&mut tx, Kind::new("test.tomorrow"), &1_u32, world.clock.now(), None).await.unwrap();
        tx.commit().await.unwrap();
        let mut replica = world.hire(Terms::DEFAULT, |_| {});
        world.clock.advance(Span::from_days(20)).unwrap();
        world.enqueue(1, None).await;
        replica.next().await.done();
        assert_eq!(jobs.dead_letters(10).await.unwrap(), [], "a newer program may come");
        until("it is given up", async || {
            world.clock.advance(Span::from_days(2)).unwrap();
            !jobs.dead_letters(10).await.unwrap().is_empty()
        }).await;
        assert_eq!(jobs.dead_letters(10).await.unwrap()[0].kind, "test.tomorrow");
        replica.stop().await;
    }
}

struct Panics;

impl bursar_jobs::Work for Panics {
    type Payload = ();

    async fn run(&self, _lease: &bursar_jobs::Lease, (): ()) -> Result<Next, Failure> {
        panic!("on purpose")
    }
}
