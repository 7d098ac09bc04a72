//! What one account can make of a shared transaction: it is bounded, and when it fails, the others go on.

use std::time::Duration;

use bursar_db::{Engine, on};
use bursar_id::OwnerId;
use bursar_rpc::Problem;
use bursar_testkit::{credits, engines};
use bursar_time::Span;
use tonic::Code;

use super::{Batcher, Bench, Lane, Reply, TaskTracker, charge, grant, hold, left, owner, told, told_apart};
use crate::domain::{Command, Outcome};
use crate::error::Error;
use crate::lane::aside::{Aside, alone};
use crate::lane::job::{Job, Refused, Submission};
use crate::lane::known::Warm;
use crate::lane::load::DUE_AT_ONCE;
use crate::lane::metrics::Metrics;
use crate::lane::shared::ALL_PARTS;
use crate::store::{accounts, holds};

impl Bench {
    /// Does something to the schema by hand.
    async fn alter(&self, sql: &'static str) {
        let mut tx = self.db.begin().await.unwrap();
        let altered = async {
            Ok::<_, bursar_db::DbError>(on!(&mut tx, c => sqlx::raw_sql(sql).execute(c).await?.rows_affected()))
        };
        altered.await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Somebody changes the terms of an owner's one lot by hand.
    async fn damage_lot(&self, owner: OwnerId, terms: Vec<u8>) {
        let sql = "UPDATE lots SET terms = $2 WHERE owner = $1";
        let mut tx = self.db.begin().await.unwrap();
        let changed = async {
            let bytes = owner.to_bytes().to_vec();
            Ok::<_, bursar_db::DbError>(
                on!(&mut tx, c => sqlx::query(sql).bind(bytes).bind(terms).execute(c).await?.rows_affected()),
            )
        };
        assert_eq!(changed.await.unwrap(), 1, "{sql}");
        tx.commit().await.unwrap();
    }

    /// Has the lane's statements ended after so long, instead of what a lane allows them.
    fn hurry(&mut self, statement: Duration) {
        let batcher = super::batcher(&self.db, &self.clock, &self.rules);
        let metrics = Metrics::new(&opentelemetry::global::meter("test"));
        let aside = Aside::new(batcher.clone(), metrics.clone(), TaskTracker::new());
        let own = Batcher { db: self.db.dedicated(Duration::from_millis(500), statement), ..batcher };
        self.lane = Lane::new(own, Warm::new(0), metrics, 10_000, aside);
    }

    /// How often somebody tried to write something, whatever came of it; on PostgreSQL, where a sequence counts it.
    async fn tries(&self) -> i64 {
        let mut tx = self.db.read().await.unwrap();
        let bursar_db::Tx::Postgres(t) = &mut tx else { panic!("not PostgreSQL") };
        let (tries,): (i64,) = sqlx::query_as("SELECT last_value FROM tries").fetch_one(&mut **t).await.unwrap();
        tries
    }

    /// Requests of several owners in one call; each by itself where a transaction has one owner, as the queue has it.
    fn ask_together(&mut self, asked: Vec<(OwnerId, Command)>) -> Vec<Reply> {
        if std::env::var_os("BURSAR_TEST_DISTRIBUTED").is_some() {
            return asked.into_iter().map(|(owner, command)| self.ask(owner, command)).collect();
        }
        let job = |(owner, command)| Job { owner, actor: super::service(), request: super::Request::unnamed(command) };
        let (submission, reply) = Submission::new(asked.into_iter().map(job).collect(), None);
        self.lane.take(submission);
        vec![reply]
    }
}

engines! {
    async fn what_is_due_in_one_account_is_booked_in_portions_while_others_go_on(db: TestDb) {
        let (mut bench, ana, ben) = (Bench::over(&db, 16).await, owner(1), owner(2));
        bench.answer(ana, grant("10000")).await.unwrap();
        bench.answer(ben, grant("10")).await.unwrap();
        let many = DUE_AT_ONCE * 2 + 500;
        let placed: Vec<Reply> = (0..many).map(|n| bench.ask(ana, hold("1", 60 + n as u64 % 7))).collect();
        bench.settle().await;
        assert!(placed.into_iter().all(|reply| told(reply).is_ok()));
        bench.answer(ana, hold("1", 3_600)).await.unwrap();

        bench.clock.advance(Span::from_secs(120)).unwrap();
        let (hers, his) = (bench.ask(ana, charge("10000")), bench.ask(ben, charge("1")));
        let both = bench.ask_together(vec![(ana, charge("1")), (ben, charge("1"))]);
        let under_way = bench.lane.begin();
        bench.settle_after(under_way).await;
        assert_eq!(left(told(his)).0, credits("9"), "at once");
        // One is still reserved, so that all the others must have lapsed before.
        let missing = told_apart(hers).await;
        assert!(matches!(missing, Err(Refused::Rule(crate::domain::Refusal::InsufficientCredits { available, .. })) if available == credits("9999")));
        let mut lefts = Vec::new();
        for reply in both {
            let told = tokio::time::timeout(std::time::Duration::from_secs(20), reply).await.unwrap().unwrap();
            lefts.extend(told.into_iter().map(|answer| left(answer).0));
        }
        assert_eq!(lefts, [credits("9998"), credits("8")], "each in its place");
        let open = holds::open(&mut bench.db.read().await.unwrap(), ana, (super::Timestamp::MIN, 0), 10).await.unwrap();
        assert_eq!(open.len(), 1);
        bench.assert_sound(ana, "9998").await;
        bench.assert_sound(ben, "8").await;
    }

    async fn what_lapsed_long_ago_is_booked_as_it_fell_due(db: TestDb) {
        let (mut bench, ana) = (Bench::over(&db, 16).await, owner(1));
        bench.answer(ana, grant("5000")).await.unwrap();
        let many = DUE_AT_ONCE + 10; // entry 1 is the grant, then the holds
        let placed: Vec<Reply> = (0..many).map(|n| bench.ask(ana, hold("1", 60 + n as u64))).collect();
        bench.settle().await;
        let deadlines: Vec<_> = placed.into_iter().map(|reply| match told(reply) {
            Ok(Outcome::Held(held)) => held.hold.deadline,
            other => panic!("{other:?}"),
        }).collect();
        bench.clock.advance(Span::from_hours(2)).unwrap();
        let late = bench.ask(ana, charge("5000"));
        bench.settle().await;
        assert_eq!(left(told_apart(late).await).0, credits("0"));
        let mut tx = bench.db.read().await.unwrap();
        let rows = crate::store::ledger::after(&mut tx, ana, 1 + i64::try_from(many).unwrap(), 2_000).await.unwrap();
        let times: Vec<_> = rows.iter().take(many).map(|row| row.at).collect();
        assert_eq!(times, deadlines.iter().map(|it| it.as_micros()).collect::<Vec<_>>());
        drop(tx);
        bench.assert_sound(ana, "0").await;
    }

    async fn an_account_that_cannot_be_read_fails_alone(db: TestDb) {
        let (mut bench, ana) = (Bench::over(&db, 0).await, owner(1));
        let others: Vec<OwnerId> = (2..40).map(owner).collect();
        for owner in [vec![ana], others.clone()].concat() {
            bench.answer(owner, grant("10")).await.unwrap();
        }
        bench.damage_lot(ana, vec![0]).await;
        for round in 1..=2 {
            let hers = bench.ask(ana, charge("1"));
            let theirs: Vec<Reply> = others.iter().map(|other| bench.ask(*other, charge("1"))).collect();
            bench.settle().await;
            for reply in theirs {
                assert_eq!(left(told(reply)).0, credits(&(10 - round).to_string()));
            }
            assert_eq!(told_apart(hers).await, Err(Refused::Failed));
        }
    }

    async fn what_a_later_program_wrote_keeps_nobody_else_waiting(db: TestDb) {
        let (mut bench, ana, ben) = (Bench::over(&db, 0).await, owner(1), owner(2));
        for owner in [ana, ben] {
            bench.answer(owner, grant("10")).await.unwrap();
        }
        bench.damage_lot(ana, vec![2]).await;
        let (hers, his) = (bench.ask(ana, charge("1")), bench.ask(ben, charge("1")));
        bench.settle().await;
        assert_eq!(left(told(his)).0, credits("9"));
        assert_eq!(told_apart(hers).await, Err(Refused::NewerFormat));
    }

    async fn a_row_that_somebody_keeps_locked_keeps_nobody_else_waiting(db: TestDb) {
        let (mut bench, ana) = (Bench::over(&db, 16).await, owner(1));
        if bench.db.engine() == Engine::Sqlite {
            return; // It has one writer and no locks of rows.
        }
        let others: Vec<OwnerId> = (2..30).map(owner).collect();
        for owner in [vec![ana], others.clone()].concat() {
            bench.answer(owner, grant("10")).await.unwrap();
        }
        let mut keeper = bench.db.begin().await.unwrap();
        accounts::lock(&mut keeper, &[ana]).await.unwrap();
        let hers = bench.ask(ana, charge("1"));
        let theirs: Vec<Reply> = others.iter().map(|other| bench.ask(*other, charge("1"))).collect();
        bench.settle().await;
        assert!(theirs.into_iter().all(|reply| left(told(reply)).0 == credits("9")));
        let again = bench.ask(ana, charge("2"));
        keeper.rollback().await.unwrap();
        assert_eq!(left(told_apart(hers).await).0, credits("9"), "as soon as it can be");
        assert_eq!(left(told_apart(again).await).0, credits("7"), "behind the first");
        assert!(bench.lane.keeps_apart(ana), "whoever made others wait stays apart for a while");
        let later = bench.ask(ana, charge("1"));
        assert_eq!(left(told_apart(later).await).0, credits("6"));
        // As often as it takes whoever would leave to do so.
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert!(bench.lane.keeps_apart(ana), "also when it has succeeded meanwhile");
        bench.assert_sound(ana, "6").await;
    }

    async fn all_parts_of_a_batch_that_failed_take_a_bounded_time_together(db: TestDb) {
        let mut bench = Bench::over(&db, 0).await;
        if bench.db.engine() == Engine::Sqlite || std::env::var_os("BURSAR_TEST_DISTRIBUTED").is_some() {
            return; // It cannot be made to take its time; and of one owner there are no parts.
        }
        let all: Vec<OwnerId> = (1..=64).map(owner).collect();
        for owner in &all {
            bench.answer(*owner, grant("10")).await.unwrap();
        }
        // Each fourth makes each part fail that it is in, so that there are many; each other part takes most of a second.
        let damaged: Vec<OwnerId> = all.iter().copied().step_by(4).collect();
        for owner in &damaged {
            bench.damage_lot(*owner, vec![0]).await;
        }
        bench.alter("CREATE FUNCTION takes_its_time() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.8); RETURN NULL; END $$;
            CREATE TRIGGER slow AFTER INSERT ON ledger_entries FOR EACH STATEMENT EXECUTE FUNCTION takes_its_time()").await;
        let replies: Vec<(OwnerId, Reply)> = all.iter().map(|owner| (*owner, bench.ask(*owner, charge("1")))).collect();
        let since = std::time::Instant::now();
        bench.settle().await;
        let took = since.elapsed();
        assert!(took < ALL_PARTS + std::time::Duration::from_secs(5), "{took:?}");
        bench.alter("DROP TRIGGER slow ON ledger_entries").await;
        let (mut done, mut untried) = (0, 0);
        for (owner, reply) in replies {
            match told_apart(reply).await {
                Ok(_) => done += 1,
                Err(Refused::Failed) => assert!(damaged.contains(&owner), "{owner}"),
                Err(Refused::Unavailable) if damaged.contains(&owner) => {}
                Err(Refused::Unavailable) => {
                    untried += 1;
                    let again = bench.ask(owner, charge("2"));
                    bench.settle().await;
                    assert_eq!(left(told_apart(again).await).0, credits("8"), "nothing of the first was kept");
                }
                other => panic!("{owner}: {other:?}"),
            }
        }
        assert!(done > 0 && untried > 0, "{done} were carried out, {untried} were told to come again");
    }

    async fn a_statement_that_takes_its_time_is_waited_for(db: TestDb) {
        let (mut bench, ana) = (Bench::over(&db, 16).await, owner(1));
        if bench.db.engine() == Engine::Sqlite {
            return; // It is no peer that could be silent.
        }
        bench.answer(ana, grant("10")).await.unwrap();
        // Longer than a connection may be silent on which nothing is at work.
        bench.alter("CREATE FUNCTION takes_its_time() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1.7); RETURN NULL; END $$;
            CREATE TRIGGER slow AFTER INSERT ON ledger_entries FOR EACH STATEMENT EXECUTE FUNCTION takes_its_time()").await;
        let hers = bench.ask(ana, charge("1"));
        assert_eq!(bench.lane.undecided(), 0, "one statement, outside of any transaction");
        bench.settle().await;
        assert_eq!(left(told(hers)).0, credits("9"));
        assert!(!bench.lane.keeps_apart(ana), "nothing failed");
        bench.assert_sound(ana, "9").await;
    }

    async fn a_statement_that_takes_too_long_is_its_own_accounts_fault(db: TestDb) {
        let (mut bench, ana, ben) = (Bench::over(&db, 0).await, owner(1), owner(2));
        if bench.db.engine() == Engine::Sqlite {
            return; // It ends no statement.
        }
        for owner in [ana, ben] {
            bench.answer(owner, grant("10")).await.unwrap();
        }
        bench.answer(ana, charge("1")).await.unwrap();
        // The third entry of an account takes longer than the lane allows; apart there is time for it.
        bench.alter("CREATE FUNCTION takes_its_time() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1.9); RETURN NULL; END $$;
            CREATE TRIGGER slow AFTER INSERT ON ledger_entries FOR EACH ROW WHEN (NEW.seq = 3) EXECUTE FUNCTION takes_its_time()").await;
        bench.hurry(Duration::from_millis(1_600));
        let (hers, his) = (bench.ask(ana, charge("1")), bench.ask(ben, charge("1")));
        bench.settle().await;
        assert_eq!(left(told(his)).0, credits("9"));
        assert!(bench.lane.keeps_apart(ana), "her part is what was refused");
        assert_eq!(left(told_apart(hers).await).0, credits("8"));
        bench.assert_sound(ana, "8").await;
        bench.assert_sound(ben, "9").await;
    }

    async fn apart_a_statement_that_takes_too_long_is_no_store_that_is_away(db: TestDb) {
        let (mut bench, ana) = (Bench::over(&db, 0).await, owner(1));
        if bench.db.engine() == Engine::Sqlite {
            return; // It ends no statement.
        }
        bench.answer(ana, grant("10")).await.unwrap();
        bench.answer(ana, charge("1")).await.unwrap();
        bench.alter("CREATE FUNCTION takes_its_time() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN NULL; END $$;
            CREATE TRIGGER slow AFTER INSERT ON ledger_entries FOR EACH ROW WHEN (NEW.seq = 3) EXECUTE FUNCTION takes_its_time()").await;
        bench.hurry(Duration::from_millis(1_600));
        let hers = bench.ask(ana, charge("1"));
        bench.settle().await;
        let refused = told_apart(hers).await.unwrap_err();
        assert_eq!(refused, Refused::TimedOut, "the statement was ended, and the database is there");
        bench.db.ping().await.unwrap();
        let problem = Problem::from(Error::from(refused));
        assert_eq!((problem.code(), problem.reason()), (Code::Unavailable, "STATEMENT_TIMED_OUT"));
        bench.alter("DROP TRIGGER slow ON ledger_entries").await;
        let again = bench.ask(ana, charge("2"));
        bench.settle().await;
        assert_eq!(left(told_apart(again).await).0, credits("7"), "nothing of the first was kept");
        bench.assert_sound(ana, "7").await;
    }

    /// Kind L: what a dead replica's lock, or a statement that overruns, may cost all the others of a transaction.
    async fn a_transaction_of_a_lane_waits_half_a_second_for_a_lock_and_five_for_a_statement(db: TestDb) {
        let (mut bench, ana) = (Bench::over(&db, 16).await, owner(1));
        if bench.db.engine() == Engine::Sqlite {
            return; // It has one writer and no locks of rows.
        }
        bench.alter("CREATE TABLE bounds (locks TEXT NOT NULL, statements TEXT NOT NULL);
            CREATE FUNCTION look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                INSERT INTO bounds VALUES (current_setting('lock_timeout'), current_setting('statement_timeout')); RETURN NULL; END $$;
            CREATE TRIGGER look AFTER INSERT ON ledger_entries FOR EACH STATEMENT EXECUTE FUNCTION look()").await;
        bench.answer(ana, grant("10")).await.unwrap();
        let next = bench.ask(ana, charge("1"));
        assert_eq!(bench.lane.undecided(), 0, "one was decided by the store, one is in memory");
        bench.settle().await;
        assert_eq!(left(told(next)).0, credits("9"));
        let mut tx = bench.db.read().await.unwrap();
        let bursar_db::Tx::Postgres(t) = &mut tx else { panic!("not PostgreSQL") };
        let asked = sqlx::query_as("SELECT locks, statements FROM bounds");
        let seen: Vec<(String, String)> = asked.fetch_all(&mut **t).await.unwrap();
        assert!(seen.len() >= 2, "both were written by the lane: {seen:?}");
        for (locks, statements) in seen {
            assert_eq!((locks.as_str(), statements.as_str()), ("500ms", "5s"));
        }
    }

    async fn apart_nobody_waits_long_for_a_locked_row_either(db: TestDb) {
        let (mut bench, ana) = (Bench::over(&db, 0).await, owner(1));
        if bench.db.engine() == Engine::Sqlite {
            return; // It has one writer and no locks of rows.
        }
        bench.answer(ana, grant("10")).await.unwrap();
        let mut keeper = bench.db.begin().await.unwrap();
        accounts::lock(&mut keeper, &[ana]).await.unwrap();
        let hers = bench.ask(ana, charge("1"));
        bench.settle().await;
        assert_eq!(told_apart(hers).await, Err(Refused::Unavailable), "while it is still locked");
        keeper.rollback().await.unwrap();
        let again = bench.ask(ana, charge("2"));
        bench.settle().await;
        assert_eq!(left(told_apart(again).await).0, credits("8"), "nothing of the first was kept");
        bench.assert_sound(ana, "8").await;
    }

    async fn of_many_requests_of_one_account_the_one_that_fails_is_found_by_halving(db: TestDb) {
        let (mut bench, ana) = (Bench::over(&db, 0).await, owner(1));
        bench.answer(ana, grant("100")).await.unwrap();
        let counted = bench.db.engine() == Engine::Postgres;
        bench.alter(if counted {
            "CREATE SEQUENCE tries;
             CREATE FUNCTION tried() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('tries'); RETURN NULL; END $$;
             CREATE TRIGGER tried BEFORE INSERT ON ledger_entries FOR EACH STATEMENT EXECUTE FUNCTION tried();
             ALTER TABLE holds ADD CONSTRAINT poison CHECK (deadline < 0)"
        } else {
            "CREATE TRIGGER poison BEFORE INSERT ON holds BEGIN SELECT RAISE(ABORT, 'poison'); END"
        }).await;
        let bad = 21;
        let command = |n| if n == bad { hold("1", 60) } else { charge("1") };
        let job = |n| Job { owner: ana, actor: super::service(), request: super::Request::unnamed(command(n)) };
        let jobs: Vec<Job> = (0..64).map(job).collect();
        let answers = alone(&super::batcher(&bench.db, &bench.clock, &bench.rules), ana, &jobs.iter().collect::<Vec<_>>()).await;
        let mut available = 100;
        for (n, answer) in answers.into_iter().enumerate() {
            if n == bad {
                assert_eq!(answer, Err(Refused::Failed));
                continue;
            }
            available -= 1;
            assert_eq!(left(answer).0, credits(&available.to_string()), "in their order");
        }
        if counted {
            let tries = bench.tries().await;
            assert!(tries < 32, "{tries} for 64 requests");
        }
        bench.assert_sound(ana, "37").await;
    }
}
