//! The consumer's side: the one loop that looks for due jobs and hands them out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bursar_db::{Asker, Db, DbError};
use bursar_secret::Secret;
use bursar_time::{CLOCKS_APART, Span, Timestamp};
use futures::FutureExt as _;
use opentelemetry::metrics::Meter;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::desk::{Desk, Hands, Run};
use crate::housekeeping::{self, CATCH_EVERY, FORGET_EVERY, Housework, MEASURE_EVERY};
use crate::meters::Meters;
use crate::store::{self, Wanted};
use crate::work::{Failure, Lease, Next, Work};
use crate::{Jobs, Kind, Terms};

/// How often the table is looked at without being woken: finds what other replicas have enqueued.
const LOOK_EVERY: Span = Span::SECOND;

/// Rest after the store failed.
const STORE_REST: Duration = Duration::from_secs(2);

/// How much longer a lease lasts than the work may take.
pub(crate) const MARGIN: Duration = Duration::from_secs(15);

/// Does the jobs of one store. Any number of replicas may run one each.
pub struct Runner {
    jobs: Jobs,
    meters: Meters,
    desks: Vec<Arc<Desk>>,
    local: Vec<(&'static str, Span, Housework)>,
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.desks.iter().map(|desk| desk.kind)).finish()
    }
}

impl Runner {
    /// A runner for the jobs of one store that knows no kind yet.
    pub fn new(jobs: Jobs, meter: &Meter) -> Self {
        Self { jobs, meters: Meters::new(meter), desks: Vec::new(), local: Vec::new() }
    }

    /// Has the jobs of a kind done by `work`.
    pub fn on<W: Work>(&mut self, kind: Kind<W::Payload>, terms: Terms, work: W) {
        let work = Arc::new(work);
        let run = move |lease: Arc<Lease>, clear: Arc<Secret<Vec<u8>>>| {
            let work = Arc::clone(&work);
            async move {
                let payload = serde_json::from_slice(clear.expose()).map_err(|error| unreadable(&error))?;
                work.run(&lease, payload).await
            }
            .boxed()
        };
        self.add(kind.name(), terms, None, Arc::new(run));
    }

    /// On which terms a kind of job is done here, by its name; `None` when nobody does it.
    pub fn terms(&self, kind: &str) -> Option<Terms> {
        self.desks.iter().find(|desk| desk.kind == kind).map(|desk| desk.terms)
    }

    /// Does `work` once in each `period` over all replicas, and again at once when it says so. It is never given up:
    /// after a failure it is tried again after a wait that grows up to the period. It is not begun once the process is
    /// draining, and of several periods that were missed one is made up for.
    ///
    /// `name` stands in the database and in metrics, and never changes.
    pub fn every<F, Fut>(&mut self, name: &'static str, period: Span, work: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Next, Failure>> + Send + 'static,
    {
        let terms = Terms {
            at_once: 1,
            first_wait: Span::from_secs(2).min(period),
            longest_wait: period.min(Terms::DEFAULT.longest_wait),
            ..Terms::DEFAULT
        };
        self.add(name, terms, Some(period), Arc::new(move |_, _| work().boxed()));
    }

    /// Does `work` in this replica at once, then in each `period`, and whenever a test clock leaps: for what each process
    /// holds in its memory. Nothing of it is stored.
    pub fn here<F, Fut>(&mut self, name: &'static str, period: Span, work: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Next, Failure>> + Send + 'static,
    {
        self.local.push((name, period, Box::new(move || work().boxed())));
    }

    /// Once an hour, deletes what is old by `work`, which is given the store and the time and says how many rows it
    /// deleted. It should do so in short transactions, and may be cut off between two.
    pub fn tidy<F, Fut>(&mut self, name: &'static str, work: F)
    where
        F: Fn(Db, Timestamp) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<u64, DbError>> + Send + 'static,
    {
        let jobs = self.jobs.clone();
        self.every(name, Span::HOUR, move || {
            let rows = work(jobs.db().clone(), jobs.clock().now());
            async move {
                let rows = rows.await?;
                if rows > 0 {
                    tracing::info!(name, rows, "deleted what is old");
                }
                Ok(Next::Finished)
            }
        });
    }

    fn add(&mut self, kind: &'static str, terms: Terms, period: Option<Span>, run: Run) {
        let places = Arc::new(Semaphore::new(terms.at_once.max(1)));
        self.desks.push(Arc::new(Desk { kind, terms, period, places, run }));
    }

    /// Works until `halt`, and each kind of job takes turns of its own at the store's connections. From `shutdown` on, nothing periodic is begun; jobs still are, so that what the last calls have
    /// enqueued is done. Jobs under way at `halt` are finished; if they are cut off, their leases lapse.
    pub async fn run(self, shutdown: CancellationToken, halt: CancellationToken) {
        Asker::program("jobs").scope(self.look_and_hand_out(shutdown, halt)).await;
    }

    async fn look_and_hand_out(mut self, shutdown: CancellationToken, halt: CancellationToken) {
        self.keep_house();
        let mut local = JoinSet::new();
        for (name, period, work) in std::mem::take(&mut self.local) {
            let (clock, shutdown) = (self.jobs.clock().clone(), shutdown.clone());
            local.spawn(Asker::program(name).scope(housekeeping::keep_doing(name, period, work, clock, shutdown)));
        }
        let (hands, mut running) = (Hands::default(), JoinSet::new());
        let mut enrolled = false;
        while !halt.is_cancelled() {
            // Taken before looking, so that no leap is missed.
            let leap = self.jobs.clock().changed();
            let rest = match self.round(&mut enrolled, &hands, &mut running, shutdown.is_cancelled()).await {
                Ok(rest) => rest.to_std(),
                Err(DbError::Clock(doubt)) => {
                    tracing::debug!(%doubt, "no job is begun");
                    LOOK_EVERY.to_std()
                }
                Err(error) => {
                    tracing::warn!(%error, "the jobs cannot be looked at");
                    STORE_REST
                }
            };
            tokio::select! {
                () = halt.cancelled() => {}
                () = leap => {}
                () = tokio::time::sleep(rest) => {}
                () = self.jobs.rung() => {}
                Some(_) = running.join_next() => {}
            }
        }
        while running.join_next().await.is_some() {}
    }

    /// What every runner does beside.
    fn keep_house(&mut self) {
        let (jobs, meters) = (self.jobs.clone(), self.meters.clone());
        let mut kinds: Vec<&'static str> = self.desks.iter().map(|desk| desk.kind).collect();
        kinds.push("jobs.forget");
        let kinds: Arc<[&'static str]> = kinds.into();
        let known = Arc::clone(&kinds);
        self.here("jobs.measure", MEASURE_EVERY, move || {
            housekeeping::measure(jobs.clone(), meters.clone(), Arc::clone(&known))
        });
        let jobs = self.jobs.clone();
        let mut longest: Vec<(&'static str, Span)> =
            self.desks.iter().map(|desk| (desk.kind, desk.longest())).collect();
        longest.push(("jobs.forget", FORGET_EVERY.saturating_add(CLOCKS_APART)));
        let longest: Arc<[(&'static str, Span)]> = longest.into();
        self.here("jobs.catch", CATCH_EVERY, move || housekeeping::catch(jobs.clone(), Arc::clone(&longest)));
        let jobs = self.jobs.clone();
        self.every("jobs.forget", FORGET_EVERY, move || housekeeping::forget(jobs.clone(), Arc::clone(&kinds)));
    }

    /// Looks once and hands out what is due and finds a free place. Says how long nothing will be due.
    async fn round(
        &self,
        enrolled: &mut bool,
        hands: &Hands,
        running: &mut JoinSet<()>,
        draining: bool,
    ) -> Result<Span, DbError> {
        // Nothing is begun by a clock that is not to be decided by; another replica's may be right.
        let now = self.jobs.clock().believed()?;
        if !*enrolled {
            for desk in self.desks.iter().filter(|desk| desk.period.is_some()) {
                self.jobs.enrol(desk.kind).await?;
            }
            *enrolled = true;
        }
        let open: Vec<&Arc<Desk>> = self.desks.iter().filter(|desk| !draining || desk.period.is_none()).collect();
        let kinds: Vec<&'static str> = open.iter().map(|desk| desk.kind).collect();
        let due = store::first_due(&mut self.jobs.db().read().await?, &kinds).await?;
        let mut rest = LOOK_EVERY;
        for (kind, at) in due {
            if at > now {
                rest = rest.min(at.since(now));
            } else if let Some(desk) = open.iter().find(|desk| desk.kind == kind) {
                self.hand_out(desk, hands, running).await?;
            }
        }
        Ok(rest)
    }

    /// Takes as many jobs of one kind as there are free places. Each that ends has the table looked at again.
    async fn hand_out(&self, desk: &Arc<Desk>, hands: &Hands, running: &mut JoinSet<()>) -> Result<(), DbError> {
        let limit = desk.places.available_permits();
        if limit == 0 {
            return Ok(());
        }
        let clock = self.jobs.clock();
        let now = clock.now();
        let until = now.saturating_add(Span::from_std(desk.terms.limit.saturating_add(MARGIN)));
        let mut tx = self.jobs.db().begin().await?;
        let wanted = Wanted { kind: desk.kind, now, until, limit, but: &hands.all() };
        let taken = store::take(&mut tx, &wanted, clock).await?;
        tx.commit().await?;
        for job in taken {
            if let Ok(permit) = Arc::clone(&desk.places).try_acquire_owned() {
                let place = hands.take(job.lease.id, permit);
                let attempt = Arc::clone(desk).attempt(self.jobs.clone(), self.meters.clone(), job, place);
                running.spawn(Asker::program(desk.kind).scope(attempt));
            }
        }
        Ok(())
    }
}

/// What is wrong with a payload. The error's own text quotes from it, and a payload may hold addresses and tokens.
fn unreadable(error: &serde_json::Error) -> Failure {
    let (what, line, column) = (error.classify(), error.line(), error.column());
    Failure::Later(format!("the payload cannot be read: {what:?} at line {line}, column {column}"))
}
