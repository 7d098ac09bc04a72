//! One attempt at a job, from the lease to what becomes of it.

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bursar_db::DbError;
use bursar_id::JobId;
use bursar_secret::{Entropy, Secret};
use bursar_time::{CLOCKS_APART, Span, Timestamp};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::meters::{Ended, Meters};
use crate::runner::MARGIN;
use crate::store::{self, Settled, Taken};
use crate::work::{Failure, Lease, Next};
use crate::{Jobs, Terms, backoff};

/// How often something begins again when what is in the way passes by itself.
const PASSING_TRIES: u32 = 4;

/// The pause before the first of these, in milliseconds; it doubles.
const PASSING_PAUSE: u64 = 50;

/// The longest reason that is stored, in characters.
const LONGEST_REASON: usize = 300;

/// Does one job: its lease, and its payload in clear.
pub(crate) type Run =
    Arc<dyn Fn(Arc<Lease>, Arc<Secret<Vec<u8>>>) -> BoxFuture<'static, Result<Next, Failure>> + Send + Sync>;

/// Where the jobs of one kind are done.
pub(crate) struct Desk {
    pub(crate) kind: &'static str,
    pub(crate) terms: Terms,
    /// For what is done once in a period.
    pub(crate) period: Option<Span>,
    pub(crate) places: Arc<Semaphore>,
    pub(crate) run: Run,
}

/// What becomes of a job.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Finish,
    PutBack {
        attempts: u32,
        wait: Span,
        reason: Option<String>,
    },
    Bury {
        reason: String,
    },
    /// Its own transaction has finished it, or it is somebody else's.
    Leave,
}

impl Desk {
    /// The longest that a job of the kind is put off: by a lease, after a failure, or until the next period.
    pub(crate) fn longest(&self) -> Span {
        let lease = Span::from_std(self.terms.limit.saturating_add(MARGIN));
        lease.max(self.terms.longest_wait).max(self.period.unwrap_or_default()).saturating_add(CLOCKS_APART)
    }

    /// Does a job that was taken, and writes what became of it. `_place` is free again afterwards.
    pub(crate) async fn attempt(self: Arc<Self>, jobs: Jobs, meters: Meters, taken: Taken, _place: Place) {
        let begun = Instant::now();
        // Waits count from here: a test clock that leaps while the work goes on has then passed them already.
        let since = jobs.clock().now();
        let lease = Arc::new(taken.lease);
        let outcome = match jobs.open(lease.id, &taken.sealed) {
            Some(clear) => self.work(&lease, Arc::new(clear), jobs.entropy()).await,
            // Tried again for the usual time: the operator may have started with the wrong key file.
            None => Err(Failure::Later("the payload cannot be unsealed: another master key?".to_owned())),
        };
        let lost = outcome == Err(Failure::Lost);
        let mut verdict = self.judge(&lease, outcome, jobs.entropy());
        let settled = settle(&jobs, &lease, since, &verdict).await;
        if let (Verdict::Bury { reason }, Ok(Settled::OnceMore)) = (&verdict, &settled) {
            verdict = Verdict::PutBack { attempts: 0, wait: Span::ZERO, reason: Some(reason.clone()) };
        }
        let ended = match &verdict {
            Verdict::Leave if lost => Ended::Lost,
            Verdict::PutBack { reason: Some(_), .. } => Ended::Failed,
            Verdict::Bury { .. } => Ended::Dead,
            Verdict::Finish | Verdict::PutBack { .. } | Verdict::Leave => Ended::Done,
        };
        self.tell(&lease, &verdict);
        match settled {
            Ok(Settled::AsSaid | Settled::OnceMore) => {}
            Ok(Settled::Lost) => tracing::debug!(id = %lease.id, "a job was taken by somebody else meanwhile"),
            Err(error) => {
                tracing::warn!(id = %lease.id, kind = self.kind, %error, "a job cannot be settled; its lease lapses");
            }
        }
        meters.attempt(self.kind, ended, begun.elapsed());
    }

    /// Does the work, for as long as it may take. What passes by itself is tried again at once.
    async fn work(&self, lease: &Arc<Lease>, clear: Arc<Secret<Vec<u8>>>, entropy: &Entropy) -> Result<Next, Failure> {
        let deadline = Instant::now() + self.terms.limit;
        for tries in 1.. {
            lease.begin();
            let run = async { (self.run)(Arc::clone(lease), Arc::clone(&clear)).await };
            let outcome = match tokio::time::timeout_at(deadline, AssertUnwindSafe(run).catch_unwind()).await {
                Err(_) => return Err(Failure::Later(format!("not done within {:?}", self.terms.limit))),
                Ok(Err(_)) => return Err(Failure::Later("it panicked".to_owned())),
                Ok(Ok(outcome)) => outcome,
            };
            if !matches!(outcome, Err(Failure::Passing(_))) || tries == PASSING_TRIES {
                return outcome;
            }
            tokio::time::sleep(pause(tries, entropy)).await;
        }
        Err(Failure::Lost)
    }

    fn judge(&self, lease: &Lease, outcome: Result<Next, Failure>, entropy: &Entropy) -> Verdict {
        let reason = match outcome {
            Ok(Next::Again) => return Verdict::PutBack { attempts: 0, wait: Span::ZERO, reason: None },
            Ok(Next::Finished) if lease.is_finished() => return Verdict::Leave,
            Ok(Next::Finished) => {
                return match self.period {
                    Some(period) => Verdict::PutBack { attempts: 0, wait: period, reason: None },
                    None => Verdict::Finish,
                };
            }
            Err(Failure::Lost) => return Verdict::Leave,
            Err(Failure::Never(reason)) if self.period.is_none() => {
                return Verdict::Bury { reason: presentable(&reason) };
            }
            Err(Failure::Passing(reason) | Failure::Later(reason) | Failure::Never(reason)) => presentable(&reason),
        };
        if self.period.is_none() && lease.attempt >= self.terms.attempts {
            return Verdict::Bury { reason };
        }
        let wait = backoff::wait_after(&self.terms, lease.attempt, entropy);
        Verdict::PutBack { attempts: lease.attempt, wait, reason: Some(reason) }
    }

    fn tell(&self, lease: &Lease, verdict: &Verdict) {
        let (id, kind, attempt) = (lease.id, self.kind, lease.attempt);
        match verdict {
            Verdict::Finish | Verdict::PutBack { reason: None, .. } => tracing::debug!(%id, kind, attempt, "job done"),
            Verdict::PutBack { reason: Some(reason), .. } => {
                tracing::warn!(%id, kind, attempt, reason, "job failed, trying again later");
            }
            Verdict::Bury { reason } => {
                tracing::error!(%id, kind, attempt, reason, "job given up: it is a dead letter now");
            }
            Verdict::Leave => tracing::debug!(%id, kind, attempt, "job done, or lost to somebody else"),
        }
    }
}

/// Writes the verdict. What passes by itself is tried again; otherwise the lease lapses and the job is done once more.
async fn settle(jobs: &Jobs, lease: &Lease, since: Timestamp, verdict: &Verdict) -> Result<Settled, DbError> {
    let mut tries = 1;
    loop {
        match settle_once(jobs, lease, since, verdict).await {
            Err(error) if error.is_retryable() && tries < PASSING_TRIES => {
                tokio::time::sleep(pause(tries, jobs.entropy())).await;
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}

async fn settle_once(jobs: &Jobs, lease: &Lease, since: Timestamp, verdict: &Verdict) -> Result<Settled, DbError> {
    if *verdict == Verdict::Leave {
        return Ok(Settled::AsSaid);
    }
    let now = jobs.clock().now();
    let mut tx = jobs.db().begin().await?;
    let settled = match verdict {
        Verdict::Leave => Settled::AsSaid,
        Verdict::Finish => store::finish(&mut tx, lease).await?,
        Verdict::PutBack { attempts, wait, reason } => {
            store::put_back(&mut tx, lease, *attempts, since.saturating_add(*wait), reason.as_deref()).await?
        }
        Verdict::Bury { reason } => store::bury(&mut tx, lease, now, reason).await?,
    };
    tx.commit().await?;
    Ok(settled)
}

/// 50 to 100 ms, 100 to 200 ms, …
fn pause(tries: u32, entropy: &Entropy) -> Duration {
    let least = PASSING_PAUSE << tries.saturating_sub(1).min(8);
    Duration::from_millis(least + entropy.u64_below(least))
}

/// A reason of a bounded length on one line.
fn presentable(reason: &str) -> String {
    reason.chars().take(LONGEST_REASON).map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The jobs that this replica works on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hands(Arc<Mutex<BTreeSet<JobId>>>);

impl Hands {
    /// All of them.
    pub(crate) fn all(&self) -> Vec<JobId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    /// Takes a job in hand until the place is dropped.
    pub(crate) fn take(&self, id: JobId, permit: OwnedSemaphorePermit) -> Place {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        Place { hands: self.clone(), id, _permit: permit }
    }
}

/// One of the places at a desk, with the job that is done there.
pub(crate) struct Place {
    hands: Hands,
    id: JobId,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.hands.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
