//! Callers that do one thing again and again for a fixed time, and how long each time took.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::Barrier;
use tonic::Status;

use super::hostile::{Way, Work};
use super::server::{Server, Usage};

/// The longest latency that is told apart, in microseconds.
const LONGEST: u64 = 60_000_000;

/// What was measured, for those figures that a ratio is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum What {
    /// One caller.
    Lone,
    /// One pool, many callers.
    Hot,
    /// One pool by charges that the rate card prices.
    Meters,
    /// One pool in batches.
    Batch,
    /// Many accounts.
    Many,
    /// Calls without a database.
    Ceiling,
    /// An invoice as a document.
    Document,
    /// What somebody is in an organization, at a steady pace.
    Access,
    /// One pool through one billing service, and then through two.
    Replicas(usize),
    /// One pool with so many limits.
    Limits(usize),
    /// The balance, on the short and on the long ledger.
    Balance(Ledger),
    /// A year's usage, on the short and on the long ledger.
    Usage(Ledger),
    /// What nine tenants do, before another one did its worst in this way.
    Alone(Way, Work),
    /// The same while it did.
    Beside(Way, Work),
    /// Nothing is made of it.
    Other,
}

/// How long a ledger was when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ledger {
    Short,
    Long,
}

/// What one load measured.
#[derive(Debug)]
pub(crate) struct Measured {
    /// By which ratios find it.
    pub(crate) what: What,
    pub(crate) name: String,
    pub(crate) callers: usize,
    /// Operations that succeeded: charges, pairs, reads.
    pub(crate) done: u64,
    /// Calls that failed.
    pub(crate) failed: u64,
    pub(crate) elapsed: Duration,
    pub(crate) p50: Duration,
    pub(crate) p99: Duration,
    /// What the servers used meanwhile.
    pub(crate) server: Usage,
    /// The server's memory afterwards, in bytes.
    pub(crate) memory: u64,
}

impl Measured {
    /// Operations per second.
    #[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "a figure for people, not an amount")]
    pub(crate) fn rate(&self) -> f64 {
        self.done as f64 / self.elapsed.as_secs_f64()
    }

    /// CPU time of the server for one operation, in microseconds.
    #[expect(clippy::float_arithmetic, clippy::cast_precision_loss, reason = "a figure for people, not an amount")]
    pub(crate) fn cpu_each(&self) -> f64 {
        if self.done == 0 { 0.0 } else { self.server.cpu.as_secs_f64() * 1e6 / self.done as f64 }
    }
}

/// What one caller has seen.
struct Seen {
    latencies: Histogram<u64>,
    done: u64,
    failed: u64,
    first_failure: Option<Status>,
}

/// Lets `callers` callers do `work` for `time`, all from the same moment on. `work` is given the
/// caller's number and the count of its calls so far, and says how many operations it did.
pub(crate) async fn run<W, F>(
    server: &Server,
    what: What,
    name: &str,
    callers: usize,
    time: Duration,
    work: W,
) -> anyhow::Result<Measured>
where
    W: Fn(usize, u64) -> F + Send + Sync + 'static,
    F: Future<Output = Result<u64, Status>> + Send + 'static,
{
    run_paced(server, (what, name), callers, (time, Duration::ZERO), work).await
}

/// The same with callers that begin a call every `pace`, each at another moment of it, and not as soon as the one before has
/// ended. One that is late begins at once, and does not make up for what it missed.
pub(crate) async fn run_paced<W, F>(
    server: &Server,
    (what, name): (What, &str),
    callers: usize,
    (time, pace): (Duration, Duration),
    work: W,
) -> anyhow::Result<Measured>
where
    W: Fn(usize, u64) -> F + Send + Sync + 'static,
    F: Future<Output = Result<u64, Status>> + Send + 'static,
{
    let work = Arc::new(work);
    let start = Arc::new(Barrier::new(callers + 1));
    let over = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::with_capacity(callers);
    for caller in 0..callers {
        let (work, start, over) = (Arc::clone(&work), Arc::clone(&start), Arc::clone(&over));
        tasks.push(tokio::spawn(async move {
            start.wait().await;
            let share = |part: usize| u32::try_from(part).unwrap_or(u32::MAX);
            let first = pace / share(callers).max(1) * share(caller);
            one_caller(caller, (&over, first, pace), &*work).await
        }));
    }
    let before = server.usage()?;
    start.wait().await;
    let began = Instant::now();
    tokio::time::sleep(time).await;
    over.store(true, Ordering::Relaxed);
    let mut all = Histogram::new_with_max(LONGEST, 3)?;
    let (mut done, mut failed) = (0, 0);
    for task in tasks {
        let seen = task.await??;
        all.add(&seen.latencies)?;
        done += seen.done;
        failed += seen.failed;
        if let Some(status) = seen.first_failure {
            tracing::error!(load = name, %status, "a request of the load failed");
        }
    }
    let elapsed = began.elapsed();
    let after = server.usage()?;
    Ok(Measured {
        what,
        name: name.to_owned(),
        callers,
        done,
        failed,
        elapsed,
        p50: Duration::from_micros(all.value_at_quantile(0.5)),
        p99: Duration::from_micros(all.value_at_quantile(0.99)),
        server: after.since(&before),
        memory: server.memory()?,
    })
}

async fn one_caller<W, F>(
    caller: usize,
    (over, first, pace): (&AtomicBool, Duration, Duration),
    work: &W,
) -> anyhow::Result<Seen>
where
    W: Fn(usize, u64) -> F,
    F: Future<Output = Result<u64, Status>>,
{
    let mut seen = Seen { latencies: Histogram::new_with_max(LONGEST, 3)?, done: 0, failed: 0, first_failure: None };
    let mut calls = 0;
    let mut due = Instant::now() + first;
    tokio::time::sleep_until(due.into()).await;
    while !over.load(Ordering::Relaxed) {
        let began = Instant::now();
        match work(caller, calls).await {
            Ok(operations) => seen.done += operations,
            Err(status) => {
                seen.failed += 1;
                seen.first_failure.get_or_insert(status);
            }
        }
        calls += 1;
        let took = began.elapsed();
        seen.latencies.saturating_record(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        due = (due + pace).max(Instant::now());
        if !pace.is_zero() {
            tokio::time::sleep_until(due.into()).await;
        }
    }
    Ok(seen)
}
