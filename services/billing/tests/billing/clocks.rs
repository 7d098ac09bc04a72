//! Clocks that are wrong (kind K): a replica that decides by one decides nothing, does no job, and says so.

use std::time::Instant;

use bursar_db::Engine;
use bursar_testkit::clocks::undecided;
use bursar_testkit::engines;
use bursar_time::{Clock, Span, Timestamp};

use crate::calls::Caller;
use crate::words::{reserve, spend};
use crate::world::{Person, World, until};

const HOUR: i64 = Span::HOUR.as_micros();

/// A charge is refused because of the clock, and may be tried again.
async fn assert_undecided(person: &Person) {
    undecided("charging", person.charge(spend(person.owner, "1")).await);
}

/// The latest time that any ledger has.
async fn latest(world: &World) -> Timestamp {
    let micros = world.scalar("SELECT CAST(COALESCE(MAX(at), 0) AS BIGINT) FROM ledger_entries").await;
    Timestamp::from_micros(micros).unwrap()
}

/// How often the sweeper has been begun.
async fn sweeps(world: &World) -> i64 {
    world.scalar("SELECT lease FROM jobs WHERE kind = 'billing.sweep'").await
}

async fn holds_open(ana: &Person) -> usize {
    let request = bursar_proto::billing::v1::ListHoldsRequest { owner: ana.owner.to_string(), ..Default::default() };
    ana.list_holds(request).await.expect("listed").holds.len()
}

engines! {
    async fn a_replica_an_hour_ahead_decides_nothing_and_lapses_nothing(db: TestDb) {
        let world = World::by(db, Clock::system()).await;
        if world.engine() == Engine::Sqlite {
            return;
        }
        let ana = world.person_with(1, "1000").await;
        ana.held(reserve(ana.owner, "10")).await;
        let wrong = Clock::system();
        wrong.skew(HOUR);
        let (instance, ready) = world.instance_by(wrong.clone()).await;
        let there = world.through(&instance, &ana);
        let problem = format!("{:#}", ready.check().await.expect_err("not ready"));
        assert!(problem.contains("ahead of the database's"), "{problem}");
        assert_undecided(&there).await;
        assert_plans(&instance).await;
        ana.charged(spend(ana.owner, "1")).await;

        let before = sweeps(&world).await;
        until("the other replica sweeps", async || sweeps(&world).await > before).await;
        assert_eq!(holds_open(&ana).await, 1, "its time is not over");
        assert!(latest(&world).await.since(Clock::system().now()) <= Span::from_secs(5));

        wrong.skew(0);
        until("it is ready again", async || ready.check().await.is_ok()).await;
        there.charged(spend(ana.owner, "1")).await;

        // Between two looks it is noticed at once, forward and back.
        for by in [400 * 24 * HOUR, -HOUR] {
            wrong.skew(by);
            if by > 0 {
                assert_undecided(&there).await;
            }
            wrong.skew(0);
            until("it is ready again", async || ready.check().await.is_ok()).await;
        }
        there.charged(spend(ana.owner, "1")).await;
        assert!(latest(&world).await.since(Clock::system().now()) <= Span::from_secs(5));
        world.audit(ana.owner).await;
    }

    async fn a_clock_that_leaps_for_seconds_decides_nothing_meanwhile(db: TestDb) {
        let clock = Clock::system();
        let world = World::by(db, clock.clone()).await;
        let ana = world.person_with(1, "1000").await;
        clock.skew(400 * 24 * HOUR);
        assert_undecided(&ana).await;
        clock.skew(0);
        ana.charged(spend(ana.owner, "1")).await;
        // Set back while it runs, time goes on from where it was.
        let (begun, before) = (Instant::now(), clock.now());
        clock.skew(-HOUR);
        ana.charged(spend(ana.owner, "1")).await;
        let passed = clock.now().since(before);
        // Both clocks are read in whole microseconds, at both ends.
        let most = Span::from_std(begun.elapsed()).saturating_add(Span::from_micros(3).unwrap());
        assert!(clock.now() >= before && passed <= most, "{passed}");
        world.audit(ana.owner).await;
    }

    async fn a_clock_behind_what_is_stored_decides_nothing_until_it_is_accepted(db: TestDb) {
        let world = World::by(db, Clock::system()).await;
        if world.engine() == Engine::Postgres {
            return;
        }
        let ana = world.person_with(1, "1000").await;
        world.store.use_at(Clock::system().now().saturating_add(Span::HOUR)).await.unwrap();
        let (instance, ready) = world.instance_by(Clock::system()).await;
        let there = world.through(&instance, &ana);
        let problem = format!("{:#}", ready.check().await.expect_err("not ready"));
        assert!(problem.contains("has been used until") && problem.contains("clock --accept"), "{problem}");
        assert_undecided(&there).await;
        world.store.accept_clock(Clock::system().now()).await.unwrap();
        until("it is ready", async || ready.check().await.is_ok()).await;
        there.charged(spend(ana.owner, "1")).await;
    }

    async fn a_test_clock_begins_where_the_store_was_left(db: TestDb) {
        let world = World::on(db).await;
        world.passes(Span::from_days(365));
        let left = world.now();
        until("it is noted", async || world.store.used_until().await.unwrap() >= left).await;
        let clock = Clock::test(left.saturating_sub(Span::from_days(300)));
        let (_instance, ready) = world.instance_by(clock.clone()).await;
        assert_eq!(clock.now(), left);
        until("it is ready", async || ready.check().await.is_ok()).await;
    }
}

/// What everybody may read without a token is shown by any clock.
async fn assert_plans(instance: &Caller) {
    let plans = instance.list_plans(bursar_proto::billing::v1::ListPlansRequest::default()).await.expect("shown");
    assert!(!plans.plans.is_empty());
}
