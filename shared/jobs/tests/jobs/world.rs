//! A store with jobs in it, and workers that do what the test tells them.

use std::time::Duration;

use bursar_db::{Db, Engine, Migrations, PoolOptions, on};
use bursar_jobs::{Failure, Jobs, Kind, Lease, Next, Runner, Terms, Work};
use bursar_secret::{Entropy, Sealer, Secret};
use bursar_testkit::TestDb;
use bursar_time::{Clock, Timestamp};
use opentelemetry::metrics::Meter;
use sqlx::Row;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes; only a test that fails waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A job that carries a number.
pub(crate) const COUNT: Kind<u32> = Kind::new("test.count");

/// Somebody who works must be told how it goes.
pub(crate) struct Worker {
    tell: mpsc::UnboundedSender<Working>,
}

/// A job under way.
pub(crate) struct Working {
    pub(crate) number: u32,
    pub(crate) attempt: u32,
    answer: oneshot::Sender<Result<Next, Failure>>,
}

impl Working {
    /// Ends it.
    pub(crate) fn end(self, outcome: Result<Next, Failure>) {
        self.answer.send(outcome).expect("somebody works on it");
    }

    /// Ends it well.
    pub(crate) fn done(self) {
        self.end(Ok(Next::Finished));
    }
}

impl Work for Worker {
    type Payload = u32;

    async fn run(&self, lease: &Lease, number: u32) -> Result<Next, Failure> {
        let (answer, told) = oneshot::channel();
        let working = Working { number, attempt: lease.attempt(), answer };
        self.tell.send(working).map_err(Failure::later)?;
        told.await.map_err(Failure::later)?
    }
}

/// A replica's runner.
pub(crate) struct Replica {
    pub(crate) jobs: Jobs,
    /// What its worker was given, in order.
    pub(crate) work: mpsc::UnboundedReceiver<Working>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) halt: CancellationToken,
    at_work: JoinHandle<()>,
}

impl Replica {
    /// The next job that this replica was given.
    pub(crate) async fn next(&mut self) -> Working {
        tokio::time::timeout(PATIENCE, self.work.recv()).await.expect("a job within the time").expect("a runner")
    }

    /// Whether it has nothing to do at the moment.
    pub(crate) fn is_idle(&mut self) -> bool {
        self.work.try_recv().is_err()
    }

    /// Dies on the spot.
    pub(crate) async fn die(self) {
        self.at_work.abort();
        self.at_work.await.expect_err("killed");
    }

    /// Stops, and waits until it has.
    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.halt.cancel();
        tokio::time::timeout(PATIENCE, self.at_work).await.expect("it ends").expect("it ends quietly");
    }
}

pub(crate) struct World {
    pub(crate) db: Db,
    pub(crate) sealer: Sealer,
    pub(crate) entropy: Entropy,
    pub(crate) clock: Clock,
}

pub(crate) fn meter() -> Meter {
    opentelemetry::global::meter("test")
}

impl World {
    pub(crate) async fn new(at: &TestDb) -> Self {
        let db = Db::open(&at.store_url(), &Migrations::SHARED, &PoolOptions::default()).await.expect("opens");
        db.migrate(&Migrations::SHARED).await.expect("migrates");
        let start = Timestamp::from_micros(1_785_000_000_000_000).expect("in range");
        let sealer = Sealer::from_key(&Secret::new([7; 32]));
        Self { db, sealer, entropy: Entropy::seeded(1), clock: Clock::test(start) }
    }

    /// A replica's handle.
    pub(crate) fn jobs(&self) -> Jobs {
        Jobs::new(self.db.clone(), self.sealer.clone(), self.entropy.clone(), self.clock.clone())
    }

    /// A runner at work that does [`COUNT`] on these terms and whatever `more` adds.
    pub(crate) fn hire(&self, terms: Terms, more: impl FnOnce(&mut Runner)) -> Replica {
        let jobs = self.jobs();
        let (tell, work) = mpsc::unbounded_channel();
        let mut runner = Runner::new(jobs.clone(), &meter());
        runner.on(COUNT, terms, Worker { tell });
        more(&mut runner);
        let (shutdown, halt) = (CancellationToken::new(), CancellationToken::new());
        let at_work = tokio::spawn(runner.run(shutdown.clone(), halt.clone()));
        Replica { jobs, work, shutdown, halt, at_work }
    }

    /// Enqueues a job that is due now.
    pub(crate) async fn enqueue(&self, number: u32, unique: Option<&str>) {
        let mut tx = self.db.begin().await.expect("begins");
        self.jobs().enqueue(&mut tx, COUNT, &number, self.clock.now(), unique).await.expect("enqueues");
        tx.commit().await.expect("commits");
    }

    /// How many jobs of [`COUNT`] are in the table, dead or alive.
    pub(crate) async fn count(&self) -> i64 {
        self.ask("SELECT count(*) FROM jobs WHERE kind = 'test.count'").await
    }

    /// Waits until so many are.
    pub(crate) async fn until_count(&self, count: i64) {
        until(&format!("{count} jobs"), async || self.count().await == count).await;
    }

    /// How many seconds pass until the only job is due; negative when it is.
    pub(crate) async fn due_in(&self) -> i64 {
        let due = self.ask("SELECT min(due_at) FROM jobs WHERE kind = 'test.count' AND dead_at IS NULL").await;
        (due - self.clock.now().as_micros()) / 1_000_000
    }

    /// Waits until nobody works on the only job.
    pub(crate) async fn until_put_back(&self) {
        let leased = "SELECT count(*) FROM jobs WHERE kind = 'test.count' AND leased = 1";
        until("the job is put back", async || self.ask(leased).await == 0).await;
    }

    /// A number from the store.
    pub(crate) async fn ask(&self, statement: &'static str) -> i64 {
        let mut tx = self.db.read().await.expect("begins");
        on!(&mut tx, c => sqlx::query(statement).fetch_one(c).await.expect(statement).get(0))
    }

    /// A table in which effects leave a trace.
    pub(crate) async fn with_effects(&self) {
        let mut tx = self.db.begin().await.expect("begins");
        let table = match tx.engine() {
            Engine::Sqlite => "CREATE TABLE effects (number INTEGER NOT NULL) STRICT",
            Engine::Postgres => "CREATE TABLE effects (number BIGINT NOT NULL)",
        };
        on!(&mut tx, c => sqlx::query(table).execute(c).await.expect("makes it").rows_affected());
        tx.commit().await.expect("commits");
    }
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, reached: impl AsyncFn() -> bool) {
    let wait = async {
        while !reached().await {
            tokio::task::yield_now().await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, wait).await.is_ok(), "never reached: {what}");
}
