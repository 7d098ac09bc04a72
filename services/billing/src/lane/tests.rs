//! A lane step by step: what is decided in memory, what has to wait for the store, and what of it counts when somebody
//! else was there first.

use std::sync::Arc;

use bursar_db::Db;
use bursar_id::{Id, OwnerId};
use bursar_money::Credits;
use bursar_testkit::{TestDb, at, credits, engines, id};
use bursar_time::{Clock, Span};
use futures::future::BoxFuture;
use tokio::sync::oneshot;

use super::batch::{Answer, Batcher, Job, Refused};
use super::metrics::Metrics;
use super::queue::Submission;
use super::run::{Finished, Lane};
use super::warm::Warm;
use crate::domain::{
    Attribution, CaptureCommand, ChargeCommand, Command, GrantCommand, HoldCommand, Labels, LotSource, Outcome,
    Pricing, Refusal, Request, RequestKey,
};
use crate::store::MIGRATIONS;
use crate::usecase::audit;

/// A lane over a store, with nobody else in front of it.
struct Bench {
    db: Db,
    clock: Clock,
    lane: Lane,
    made: u64,
}

type Reply = oneshot::Receiver<Vec<Answer>>;

impl Bench {
    async fn over(db: &TestDb, remembered: usize) -> Self {
        let (db, clock) = (db.open(&MIGRATIONS).await, Clock::test(at("2026-03-01T00:00:00Z")));
        let metrics = Metrics::new(&opentelemetry::global::meter("test"));
        let lane = Lane::new(Batcher::new(db.clone(), clock.clone()), Warm::new(remembered), metrics, 1_000);
        Self { db, clock, lane, made: remembered as u64 * 1_000 }
    }

    fn next<K>(&mut self) -> Id<K> {
        self.made += 1;
        Id::from_parts(self.made, [9; 10])
    }

    fn charge(&mut self, amount: &str) -> Command {
        Command::Charge(ChargeCommand {
            charge: self.next(),
            amount: credits(amount),
            pricing: Pricing::Named,
            attribution: somebody(),
            occurred_at: None,
        })
    }

    fn hold(&mut self, amount: &str, seconds: u64) -> Command {
        let (hold, ttl) = (self.next(), Span::from_secs(seconds));
        Command::Hold(HoldCommand { hold, amount: credits(amount), ttl, attribution: somebody() })
    }

    fn grant(&mut self, amount: &str) -> Command {
        Command::Grant(GrantCommand {
            lot: self.next(),
            amount: credits(amount),
            source: LotSource::Pack,
            priority: 10,
            effective_at: None,
            expires_at: None,
            note: None,
        })
    }

    /// Hands the lane a request.
    fn ask(&mut self, owner: OwnerId, command: Command) -> Reply {
        self.ask_under(owner, None, command)
    }

    /// The same under a request id.
    fn ask_under(&mut self, owner: OwnerId, key: Option<&str>, command: Command) -> Reply {
        let key = key.map(|key| RequestKey::new("r", &key.parse().unwrap()));
        let (submission, reply) = Submission::alone(vec![Job::new(owner, Request::new(key, command))]);
        self.lane.take(submission);
        reply
    }

    /// Runs the lane until nothing waits.
    async fn settle(&mut self) {
        while self.lane.waiting() > 0 {
            let under_way = self.lane.begin();
            self.lane.end(under_way.await);
        }
    }

    async fn settle_after(&mut self, under_way: BoxFuture<'static, Finished>) {
        let finished = under_way.await;
        self.lane.end(finished);
        self.settle().await;
    }

    /// Asks, and waits for the answer.
    async fn answer(&mut self, owner: OwnerId, command: Command) -> Answer {
        let reply = self.ask(owner, command);
        self.settle().await;
        told(reply)
    }

    /// Somebody else, who does not go through the lane.
    async fn elsewhere(&mut self, owner: OwnerId, command: Command) {
        let batcher = Batcher::new(self.db.clone(), self.clock.clone());
        let job = Job::new(owner, Request::new(None, command));
        batcher.run(&[&job]).await.unwrap().answers.pop().unwrap().unwrap();
    }

    async fn assert_sound(&self, owner: OwnerId, available: &str) {
        let verdict = audit::verify(&self.db, owner).await.unwrap();
        let audit = verdict.result.unwrap_or_else(|bad| panic!("{bad}"));
        assert_eq!(audit.available, credits(available));
    }
}

fn somebody() -> Arc<Attribution> {
    Arc::new(Attribution { member: id(1), project: None, model: None, quantity: None, labels: Labels::default() })
}

fn owner(n: u64) -> OwnerId {
    OwnerId::User(Id::from_parts(n, [7; 10]))
}

fn told(mut reply: Reply) -> Answer {
    reply.try_recv().expect("an answer").pop().expect("one")
}

/// What was left right after a charge, and whether it was a repetition.
fn left(answer: Answer) -> (Credits, bool) {
    match answer {
        Ok(Outcome::Charged(it)) => (it.balance_after, it.replayed),
        other => panic!("not a charge: {other:?}"),
    }
}

engines! {
    async fn the_first_request_loads_and_the_next_are_decided_at_once(db: TestDb) {
        let (mut bench, ana) = (Bench::over(&db, 16).await, owner(1));
        let grant = bench.grant("10");
        let granted = bench.ask(ana, grant);
        assert_eq!(bench.lane.undecided(), 1, "nothing is known of the account");
        bench.settle().await;
        told(granted).unwrap();

        let (one, two, three) = (bench.charge("1"), bench.charge("2"), bench.charge("3"));
        let one = bench.ask(ana, one);
        assert_eq!(bench.lane.undecided(), 0, "decided");
        let under_way = bench.lane.begin();
        // On top of what is not even written yet.
        let (two, three) = (bench.ask(ana, two), bench.ask(ana, three));
        assert_eq!(bench.lane.undecided(), 0, "decided");
        bench.settle_after(under_way).await;
        let lefts = [one, two, three].map(|reply| left(told(reply)).0);
        assert_eq!(lefts, ["9", "7", "4"].map(credits));
        bench.assert_sound(ana, "4").await;
    }

    async fn what_somebody_else_wrote_meanwhile_is_seen(db: TestDb) {
        let (mut bench, ana) = (Bench::over(&db, 16).await, owner(1));
        let grant = bench.grant("10");
        bench.answer(ana, grant).await.unwrap();
        let (small, large) = (bench.charge("1"), bench.charge("9"));
        let (small, large) = (bench.ask(ana, small), bench.ask(ana, large));
        let theirs = bench.charge("5");
        bench.elsewhere(ana, theirs).await;
        let under_way = bench.lane.begin();
        let last = bench.charge("4");
        let last = bench.ask(ana, last);
        bench.settle_after(under_way).await;
        assert_eq!(left(told(small)).0, credits("4"));
        assert_eq!(told(large), Err(Refused::Rule(Refusal::InsufficientCredits { required: credits("9"), available: credits("4") })));
        assert_eq!(left(told(last)).0, credits("0"), "decided on what did not come about, then again");
        bench.assert_sound(ana, "0").await;
    }

    async fn a_refusal_from_memory_counts_only_if_it_is_still_true(db: TestDb) {
        let (mut bench, ana) = (Bench::over(&db, 16).await, owner(1));
        let grant = bench.grant("1");
        bench.answer(ana, grant).await.unwrap();
        let charge = bench.charge("2");
        let reply = bench.ask(ana, charge);
        let more = bench.grant("5");
        bench.elsewhere(ana, more).await;
        bench.settle().await;
        assert_eq!(left(told(reply)).0, credits("4"));
        bench.assert_sound(ana, "4").await;
    }

    async fn a_repetition_is_found_wherever_its_first_is(db: TestDb) {
        let (mut bench, ana) = (Bench::over(&db, 16).await, owner(1));
        let grant = bench.grant("3");
        bench.answer(ana, grant).await.unwrap();
        let charges: Vec<Command> = (0..4).map(|_| bench.charge("2")).collect();
        let mut charges = charges.into_iter();
        let mut ask = |bench: &mut Bench| bench.ask_under(ana, Some("one"), charges.next().unwrap());
        let (first, same_batch) = (ask(&mut bench), ask(&mut bench));
        let under_way = bench.lane.begin();
        // Not enough is left for another: it would be refused if it were one.
        let under_way_already = ask(&mut bench);
        bench.settle_after(under_way).await;
        let stored = ask(&mut bench);
        bench.settle().await;
        assert_eq!(left(told(first)), (credits("1"), false));
        for (what, reply) in [("same batch", same_batch), ("batch before", under_way_already), ("store", stored)] {
            assert_eq!(left(told(reply)), (credits("1"), true), "first in the {what}");
        }
        bench.assert_sound(ana, "1").await;
    }

    async fn a_hold_is_captured_from_the_store_and_lapses_in_time(db: TestDb) {
        let (mut bench, ana) = (Bench::over(&db, 16).await, owner(1));
        let grant = bench.grant("10");
        bench.answer(ana, grant).await.unwrap();
        let (held, lapsing) = (bench.hold("4", 600), bench.hold("3", 60));
        let Command::Hold(HoldCommand { hold, .. }) = held else { unreachable!() };
        let (held, lapsing) = (bench.ask(ana, held), bench.ask(ana, lapsing));
        assert_eq!(bench.lane.undecided(), 0, "placed from memory");
        bench.settle().await;
        told(held).unwrap();
        told(lapsing).unwrap();

        let (charge, amount) = (bench.next(), credits("1"));
        let capture = bench.ask(ana, Command::Capture(CaptureCommand { hold, charge, amount, allow_excess: false }));
        let beside = bench.charge("1");
        let beside = bench.ask(ana, beside);
        assert_eq!(bench.lane.undecided(), 2, "the hold is in the store, and what comes after waits with it");
        bench.settle().await;
        assert_eq!(left(told(capture)).0, credits("6"));
        assert_eq!(left(told(beside)).0, credits("5"));

        bench.clock.advance(Span::from_secs(60)).unwrap();
        let late = bench.charge("8");
        let late = bench.ask(ana, late);
        assert_eq!(bench.lane.undecided(), 1, "a hold has lapsed, which only the store knows");
        bench.settle().await;
        assert_eq!(left(told(late)).0, credits("0"), "five, and three from the lapsed hold");
        let open = crate::store::holds::open(&mut bench.db.read().await.unwrap(), ana).await.unwrap();
        assert_eq!(open, [], "one captured, one lapsed");
        bench.assert_sound(ana, "0").await;
    }

    async fn looking_for_something_opens_no_account(db: TestDb) {
        let (mut bench, nobody) = (Bench::over(&db, 16).await, owner(1));
        let (hold, charge) = (bench.next(), bench.next());
        let commands = [
            (Command::Release { hold }, Refusal::HoldNotFound),
            (
                Command::Capture(CaptureCommand { hold, charge, amount: credits("1"), allow_excess: false }),
                Refusal::HoldNotFound,
            ),
        ];
        for (command, refusal) in commands {
            assert_eq!(bench.answer(nobody, command).await, Err(Refused::Rule(refusal)));
        }
        let stored = crate::store::accounts::find(&mut bench.db.read().await.unwrap(), nobody).await.unwrap();
        assert_eq!(stored, None);
        // What was remembered of it is nothing that is stored.
        let grant = bench.grant("2");
        bench.answer(nobody, grant).await.unwrap();
        bench.assert_sound(nobody, "2").await;
    }

    async fn what_cannot_be_written_fails_alone(db: TestDb) {
        let (mut bench, ana) = (Bench::over(&db, 16).await, owner(1));
        let grant = bench.grant("10");
        bench.answer(ana, grant).await.unwrap();
        // Something that the database refuses and no validation sees.
        let poison = match bench.db.engine() {
            bursar_db::Engine::Postgres => "ALTER TABLE ledger_entries ADD CONSTRAINT poison CHECK (amount <> 3000000)",
            bursar_db::Engine::Sqlite => "CREATE TRIGGER poison BEFORE INSERT ON ledger_entries WHEN NEW.amount = 3000000
                BEGIN SELECT RAISE(ABORT, 'poison'); END",
        };
        let mut tx = bench.db.begin().await.unwrap();
        async { Ok::<_, bursar_db::DbError>(bursar_db::on!(&mut tx, c => sqlx::query(poison).execute(c).await?.rows_affected())) }
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let (one, bad, two) = (bench.charge("1"), bench.charge("3"), bench.charge("2"));
        let (one, bad, two) = (bench.ask(ana, one), bench.ask(ana, bad), bench.ask(ana, two));
        let under_way = bench.lane.begin();
        let on_top = bench.charge("1");
        let on_top = bench.ask(ana, on_top);
        bench.settle_after(under_way).await;
        assert_eq!(left(told(one)).0, credits("9"));
        assert_eq!(told(bad), Err(Refused::Failed));
        assert_eq!(left(told(two)).0, credits("7"));
        assert_eq!(left(told(on_top)).0, credits("6"));
        bench.assert_sound(ana, "6").await;
    }

    async fn no_more_is_remembered_than_allowed(db: TestDb) {
        for most in [0, 1, 4] {
            let mut bench = Bench::over(&db, most).await;
            for round in 0..3 {
                for n in 1..=10 {
                    let grant = bench.grant("1");
                    bench.answer(owner(n), grant).await.unwrap_or_else(|refused| panic!("{round} {n}: {refused:?}"));
                }
            }
            assert!(bench.lane.remembered() <= most, "{} of at most {most}", bench.lane.remembered());
        }
        let bench = Bench::over(&db, 0).await;
        for n in 1..=10 {
            bench.assert_sound(owner(n), "9").await;
        }
    }
}
