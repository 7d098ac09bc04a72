//! A lane step by step: what is decided in memory, what has to wait for the store, and what of it counts when somebody
//! else was there first.

mod apart;
mod fair;
mod looking;
mod told;

use std::time::Duration;

use bursar_db::Db;
use bursar_id::{Id, OwnerId, UserId};
use bursar_members::{Word, words};
use bursar_money::Credits;
use bursar_testkit::{TestDb, at, credits, engines, id};
use bursar_time::{Clock, Span, Timestamp};
use futures::future::BoxFuture;
use tokio::sync::oneshot;
use tokio_util::task::TaskTracker;

use crate::domain::{
    Actor, Attribution, CaptureCommand, ChargeCommand, Command, Cost, GrantCommand, HoldCommand, Labels, LotSource,
    OperationKey, Outcome, RateCard, Refusal, Request, RequestName, Rules, Spender,
};
use crate::lane::aside::Aside;
use crate::lane::batch::Batcher;
use crate::lane::job::{Answer, Job, Refused, Submission};
use crate::lane::known::Warm;
use crate::lane::metrics::Metrics;
use crate::lane::rules::RulesSource;
use crate::lane::run::{Finished, Lane, connect};
use crate::store::{MIGRATIONS, accounts, holds};
use crate::usecase::audit;

/// The key for operation ids of every test here.
const KEY: OperationKey = OperationKey::new([5; 32]);

/// A lane over a store, with nobody else in front of it.
struct Bench {
    db: Db,
    clock: Clock,
    rules: RulesSource,
    lane: Lane,
}

type Reply = oneshot::Receiver<Vec<Answer>>;

fn rules() -> Rules {
    Rules::for_test(RateCard::default(), KEY)
}

fn charge(amount: &str) -> Command {
    Command::Charge(ChargeCommand {
        cost: Cost::Amount(credits(amount)),
        attribution: somebody(),
        labels: Labels::default(),
        occurred_at: None,
    })
}

fn hold(amount: &str, seconds: u64) -> Command {
    Command::Hold(HoldCommand {
        amount: credits(amount),
        ttl: Span::from_secs(seconds),
        attribution: somebody(),
        labels: Labels::default(),
    })
}

fn grant(amount: &str) -> Command {
    Command::Grant(GrantCommand { priority: 10, ..GrantCommand::new(credits(amount), LotSource::Pack) })
}

/// The product's service, for itself.
fn service() -> Actor {
    Actor::Service { service: id(4) }
}

impl Bench {
    async fn over(db: &TestDb, remembered: usize) -> Self {
        let (db, clock) = (db.open(&MIGRATIONS).await, Clock::test(at("2026-03-01T00:00:00Z")));
        let metrics = Metrics::new(&opentelemetry::global::meter("test"));
        let rules = RulesSource::new(rules());
        let batcher = batcher(&db, &clock, &rules);
        let aside = Aside::new(batcher.clone(), metrics.clone(), TaskTracker::new());
        let batcher = Batcher { db: connect(&db), ..batcher };
        let lane = Lane::new(batcher, Warm::new(remembered), metrics, 10_000, aside);
        Self { db, clock, rules, lane }
    }

    /// Hands the lane a request.
    fn ask(&mut self, owner: OwnerId, command: Command) -> Reply {
        self.ask_for(owner, Request::unnamed(command))
    }

    /// The same under a request id.
    fn ask_under(&mut self, owner: OwnerId, name: &str, command: Command) -> Reply {
        let name = RequestName::new(&service(), name.parse().unwrap());
        self.ask_for(owner, Request::new(Some(name), [1; 16], command))
    }

    fn ask_for(&mut self, owner: OwnerId, request: Request) -> Reply {
        let (submission, reply) = Submission::new(vec![Job { owner, actor: service(), request }], None);
        self.lane.take(submission);
        reply
    }

    /// Runs the lane until nothing waits.
    async fn settle(&mut self) {
        loop {
            self.lane.take_turns();
            if self.lane.waiting() == 0 {
                return;
            }
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
        let batcher = batcher(&self.db, &self.clock, &self.rules);
        let job = Job { owner, actor: service(), request: Request::unnamed(command) };
        batcher.run(&[&job]).await.unwrap().answers.pop().unwrap().unwrap().unwrap();
    }

    /// What organization's event says of a user, as billing applies it.
    async fn tell(&self, owner: OwnerId, user: UserId, word: Word) {
        let mut tx = self.db.begin().await.unwrap();
        words::learn(&mut tx, owner, user, word).await.unwrap();
        accounts::raise_terms(&mut tx, owner).await.unwrap();
        tx.commit().await.unwrap();
    }

    async fn assert_sound(&self, owner: OwnerId, available: &str) {
        let verdict = audit::verify(&self.db, KEY, owner, self.clock.now()).await.unwrap();
        let audit = verdict.result.unwrap_or_else(|bad| panic!("{bad}"));
        assert_eq!(audit.available, credits(available));
    }
}

/// A batcher, as if the tables were distributed in the run that is about that (scripts/test.sh).
fn batcher(db: &Db, clock: &Clock, rules: &RulesSource) -> Batcher {
    let batcher = Batcher::new(db.clone(), clock.clone(), rules.handle());
    if std::env::var_os("BURSAR_TEST_DISTRIBUTED").is_some() { batcher.distributed() } else { batcher }
}

fn somebody() -> Attribution {
    Attribution { member: id(1), project: None, model: None }
}

fn owner(n: u64) -> OwnerId {
    OwnerId::User(Id::from_parts(n, [7; 10]))
}

fn told(mut reply: Reply) -> Answer {
    reply.try_recv().expect("an answer").pop().expect("one")
}

/// The same of an account that is carried out apart, as soon as it comes.
async fn told_apart(reply: Reply) -> Answer {
    let answers = tokio::time::timeout(Duration::from_secs(20), reply).await.expect("an answer in time");
    answers.expect("an answer").pop().expect("one")
}

/// What was left right after a charge, and whether it was a repetition.
fn left(answer: Answer) -> (Credits, bool) {
    match answer {
        Ok(Outcome::Charged(it)) => (it.balance_after, it.replayed),
        other => panic!("not a charge: {other:?}"),
    }
}

engines! {
    async fn a_repetition_beside_a_refusal_is_redone_together(db: TestDb) {
        let (mut bench, ana, ben) = (Bench::over(&db, 16).await, owner(1), owner(2));
        for owner in [ana, ben] {
            bench.answer(owner, grant("10")).await.unwrap();
        }
        let first = bench.ask_under(ben, "b", charge("1"));
        bench.settle().await;
        assert_eq!(left(told(first)), (credits("9"), false));

        let refused = bench.ask_under(ana, "a", charge("11"));
        let again = bench.ask_under(ben, "b", charge("1"));
        assert_eq!(bench.lane.undecided(), 0, "decided, and one of them was carried out before");
        bench.settle().await;
        assert!(matches!(told(refused), Err(Refused::Rule(Refusal::InsufficientCredits { .. }))));
        assert_eq!(left(told(again)), (credits("9"), true));
        let next = [bench.ask(ana, charge("1")), bench.ask(ben, charge("1"))];
        assert_eq!(bench.lane.undecided(), 0, "one batch did it, so both are remembered");
        bench.settle().await;
        assert_eq!(next.map(|reply| left(told(reply)).0), [credits("9"), credits("8")]);
        bench.assert_sound(ben, "8").await;
    }

    async fn the_first_request_loads_and_the_next_are_decided_at_once(db: TestDb) {
        let (mut bench, ana) = (Bench::over(&db, 16).await, owner(1));
        let granted = bench.ask(ana, grant("10"));
        assert_eq!(bench.lane.undecided(), 1, "nothing is known of the account");
        bench.settle().await;
        told(granted).unwrap();

        let one = bench.ask(ana, charge("1"));
        assert_eq!(bench.lane.undecided(), 0, "decided");
        let under_way = bench.lane.begin();
        // On top of what is not even written yet.
        let (two, three) = (bench.ask(ana, charge("2")), bench.ask(ana, charge("3")));
        assert_eq!(bench.lane.undecided(), 0, "decided");
        bench.settle_after(under_way).await;
        let lefts = [one, two, three].map(|reply| left(told(reply)).0);
        assert_eq!(lefts, ["9", "7", "4"].map(credits));
        bench.assert_sound(ana, "4").await;
    }

    async fn what_somebody_else_wrote_meanwhile_is_seen(db: TestDb) {
        let (mut bench, ana) = (Bench::over(&db, 16).await, owner(1));
        bench.answer(ana, grant("10")).await.unwrap();
        let (small, large) = (bench.ask(ana, charge("1")), bench.ask(ana, charge("9")));
        bench.elsewhere(ana, charge("5")).await;
        let under_way = bench.lane.begin();
        let last = bench.ask(ana, charge("4"));
        bench.settle_after(under_way).await;
        assert_eq!(left(told(small)).0, credits("4"));
        assert_eq!(told(large), Err(Refused::Rule(Refusal::InsufficientCredits { required: credits("9"), available: credits("4") })));
        assert_eq!(left(told(last)).0, credits("0"), "decided on what did not come about, then again");
        bench.assert_sound(ana, "0").await;
    }

    async fn a_refusal_from_memory_counts_only_if_it_is_still_true(db: TestDb) {
        let (mut bench, ana) = (Bench::over(&db, 16).await, owner(1));
        bench.answer(ana, grant("1")).await.unwrap();
        let reply = bench.ask(ana, charge("2"));
        bench.elsewhere(ana, grant("5")).await;
        bench.settle().await;
        assert_eq!(left(told(reply)).0, credits("4"));
        bench.assert_sound(ana, "4").await;
    }

    async fn a_repetition_is_found_wherever_its_first_is(db: TestDb) {
        let (mut bench, ana) = (Bench::over(&db, 16).await, owner(1));
        bench.answer(ana, grant("3")).await.unwrap();
        let ask = |bench: &mut Bench| bench.ask_under(ana, "one", charge("2"));
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
        bench.answer(ana, grant("10")).await.unwrap();
        let (held, lapsing) = (bench.ask(ana, hold("4", 600)), bench.ask(ana, hold("3", 60)));
        assert_eq!(bench.lane.undecided(), 0, "placed from memory");
        bench.settle().await;
        let Ok(Outcome::Held(held)) = told(held) else { panic!("not held") };
        told(lapsing).unwrap();

        let cost = Some(Cost::Amount(credits("1")));
        let command = CaptureCommand { hold: held.hold.id, cost, allow_excess: false };
        let capture = bench.ask(ana, Command::Capture(command));
        let beside = bench.ask(ana, charge("1"));
        assert_eq!(bench.lane.undecided(), 2, "the hold is in the store, and what comes after waits with it");
        bench.settle().await;
        assert_eq!(left(told(capture)).0, credits("6"));
        assert_eq!(left(told(beside)).0, credits("5"));

        bench.clock.advance(Span::from_secs(60)).unwrap();
        let late = bench.ask(ana, charge("8"));
        assert_eq!(bench.lane.undecided(), 1, "a hold has lapsed, which only the store knows");
        bench.settle().await;
        assert_eq!(left(told(late)).0, credits("0"), "five, and three from the lapsed hold");
        let open = holds::open(&mut bench.db.read().await.unwrap(), ana, (Timestamp::MIN, 0), 10).await.unwrap();
        assert_eq!(open, [], "one captured, one lapsed");
        bench.assert_sound(ana, "0").await;
    }

    async fn looking_for_something_opens_no_account(db: TestDb) {
        let (mut bench, nobody) = (Bench::over(&db, 16).await, owner(1));
        let elsewhere = KEY.id(nobody, bench.clock.now(), 1);
        let capture = |hold| Command::Capture(CaptureCommand { hold, cost: None, allow_excess: false });
        let commands = [
            (Command::Release { hold: id(1) }, Refusal::HoldNotFound),
            (capture(id(1)), Refusal::HoldNotFound),
            (capture(elsewhere), Refusal::HoldNotFound),
        ];
        for (command, refusal) in commands {
            assert_eq!(bench.answer(nobody, command).await, Err(Refused::Rule(refusal)));
        }
        let stored = accounts::find(&mut bench.db.read().await.unwrap(), nobody).await.unwrap();
        assert_eq!(stored, None);
        // What was remembered of it is nothing that is stored.
        bench.answer(nobody, grant("2")).await.unwrap();
        bench.assert_sound(nobody, "2").await;
    }

    async fn what_cannot_be_written_fails_alone(db: TestDb) {
        let (mut bench, ana) = (Bench::over(&db, 16).await, owner(1));
        bench.answer(ana, grant("10")).await.unwrap();
        // Something that the database refuses and no validation sees.
        let poison = match bench.db.engine() {
            bursar_db::Engine::Postgres => "ALTER TABLE holds ADD CONSTRAINT poison CHECK (deadline % 1000000000 <> 7000000)",
            bursar_db::Engine::Sqlite => "CREATE TRIGGER poison BEFORE INSERT ON holds WHEN NEW.deadline % 1000000000 = 7000000
                BEGIN SELECT RAISE(ABORT, 'poison'); END",
        };
        let mut tx = bench.db.begin().await.unwrap();
        async { Ok::<_, bursar_db::DbError>(bursar_db::on!(&mut tx, c => sqlx::query(poison).execute(c).await?.rows_affected())) }
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let poisoned = (0..2_000).find(|ttl| (bench.clock.now().as_micros() / 1_000_000 + ttl) % 1_000 == 7).unwrap();
        let poisoned = hold("3", u64::try_from(poisoned).unwrap());
        let (one, bad, two) =
            (bench.ask(ana, charge("1")), bench.ask(ana, poisoned), bench.ask(ana, charge("2")));
        let under_way = bench.lane.begin();
        let on_top = bench.ask(ana, charge("1"));
        bench.settle_after(under_way).await;
        assert_eq!(left(told_apart(one).await).0, credits("9"));
        assert_eq!(told_apart(bad).await, Err(Refused::Failed));
        assert_eq!(left(told_apart(two).await).0, credits("7"));
        assert_eq!(left(told_apart(on_top).await).0, credits("6"));
        bench.assert_sound(ana, "6").await;
    }

    async fn no_more_is_remembered_than_allowed(db: TestDb) {
        for most in [0, 1, 4] {
            let mut bench = Bench::over(&db, most).await;
            for round in 0..3 {
                for n in 1..=10 {
                    bench.answer(owner(n), grant("1")).await.unwrap_or_else(|refused| panic!("{round} {n}: {refused:?}"));
                }
            }
            assert!(bench.lane.remembered() <= most, "{} of at most {most}", bench.lane.remembered());
        }
        let bench = Bench::over(&db, 0).await;
        for n in 1..=10 {
            bench.assert_sound(owner(n), "9").await;
        }
    }

    async fn a_member_who_left_is_refused_however_warm_the_account_is(db: TestDb) {
        let (mut bench, team) = (Bench::over(&db, 16).await, OwnerId::Organization(Id::from_parts(1, [7; 10])));
        let bo: UserId = id(2);
        bench.answer(team, grant("10")).await.unwrap();
        let ask = |bench: &mut Bench| {
            let spender = Some(Spender { user: bo, token: None });
            bench.ask_for(team, Request::unnamed(charge("1")).for_member(spender))
        };
        let (unknown, told_of) = (ask(&mut bench), Word { role: Some(bursar_id::Role::Member), incarnation: 1, version: 1 });
        bench.settle().await;
        assert_eq!(told(unknown), Err(Refused::Rule(Refusal::NotAMember)));

        bench.tell(team, bo, told_of).await;
        let joined = ask(&mut bench);
        bench.settle().await;
        assert_eq!(left(told(joined)).0, credits("9"));
        let warm = ask(&mut bench);
        assert_eq!(bench.lane.undecided(), 0, "the membership is remembered");
        bench.tell(team, bo, Word { role: None, incarnation: 1, version: 2 }).await;
        bench.settle().await;
        assert_eq!(told(warm), Err(Refused::Rule(Refusal::NotAMember)), "decided in memory, but left before it was written");
        let later = ask(&mut bench);
        bench.settle().await;
        assert_eq!(told(later), Err(Refused::Rule(Refusal::NotAMember)));
        bench.assert_sound(team, "9").await;
    }

    async fn what_was_decided_under_other_rules_is_not_remembered(db: TestDb) {
        let (mut bench, ana) = (Bench::over(&db, 16).await, owner(1));
        bench.answer(ana, grant("10")).await.unwrap();
        bench.rules.change(|rules| rules.max_open_holds = 1);
        let (first, second) = (bench.ask(ana, hold("1", 60)), bench.ask(ana, hold("1", 60)));
        assert_eq!(bench.lane.undecided(), 2, "loaded anew, under the new rules");
        bench.settle().await;
        told(first).unwrap();
        assert_eq!(told(second), Err(Refused::Rule(Refusal::TooManyHolds { limit: 1 })));
        bench.assert_sound(ana, "9").await;
    }

    async fn a_deadline_that_was_settled_before_it_came_is_set_right(db: TestDb) {
        let (mut bench, ana) = (Bench::over(&db, 16).await, owner(1));
        bench.answer(ana, grant("10")).await.unwrap();
        let Ok(Outcome::Held(early)) = bench.answer(ana, hold("1", 60)).await else { panic!("not held") };
        bench.answer(ana, hold("1", 600)).await.unwrap();
        bench.answer(ana, Command::Release { hold: early.hold.id }).await.unwrap();
        bench.clock.advance(Span::from_secs(60)).unwrap();
        let now = bench.clock.now();
        let due = accounts::due(&mut bench.db.read().await.unwrap(), now, 10).await.unwrap();
        assert_eq!(due, [ana], "somebody should look");
        bench.answer(ana, Command::Sweep).await.unwrap();
        let due = accounts::due(&mut bench.db.read().await.unwrap(), now, 10).await.unwrap();
        assert_eq!(due, [], "nothing is due until the other one lapses");
        let row = accounts::find(&mut bench.db.read().await.unwrap(), ana).await.unwrap().unwrap();
        assert_eq!(row.next_lapse, Some(now.saturating_add(Span::from_secs(540))));
        bench.assert_sound(ana, "9").await;
    }
}
