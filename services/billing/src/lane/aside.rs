//! Accounts that are carried out apart from the others.
//!
//! A lane's transaction is shared, so what one account can make of it is bounded: at most [`DUE_AT_ONCE`] holds lapse in
//! it, and an account that makes it fail, or whose row somebody keeps locked, is not taken into it again. The requests of
//! such an account wait here, in their order, each owner's on a task of its own and few of them at work at a time, on the
//! service's connections, where they stand before the callers, and everybody else goes on. An account comes back as soon as nothing of it waits; one that
//! failed stays for a while first.
//!
//! [`DUE_AT_ONCE`]: super::load::DUE_AT_ONCE

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bursar_db::{Asker, DbError};
use bursar_id::OwnerId;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::batch::Batcher;
use super::job::{Answer, Job, Refused, Submission, all_jobs, answer};
use super::metrics::Metrics;
use super::shared::ALL_PARTS;

/// How long an account whose requests failed is kept apart after the last of them.
const COOL_DOWN: Duration = Duration::from_secs(10);

/// How many accounts are at work at a time: each takes one of the service's connections.
const SIDE_BY_SIDE: usize = 4;

/// The most submissions that are taken at a time.
const AT_ONCE: usize = 256;

/// Who waits apart. Cheap to clone.
#[derive(Clone)]
pub(super) struct Aside(Arc<Inner>);

struct Inner {
    batcher: Batcher,
    metrics: Metrics,
    /// Where the tasks run: on the service's runtime, whose connections the batcher has.
    runtime: Handle,
    tasks: TaskTracker,
    places: Semaphore,
    queues: Mutex<HashMap<OwnerId, UnboundedSender<Submission>>>,
    /// How many of them there are: looked at for each request, so without a lock.
    count: AtomicUsize,
}

impl Aside {
    /// Nobody waits yet. To be called on the runtime to which the batcher's connections belong.
    pub(super) fn new(batcher: Batcher, metrics: Metrics, tasks: TaskTracker) -> Self {
        // Whoever waits for a row that somebody keeps locked, or for a statement without an end, has a place that others wait
        // for. The statement ends before `ALL_PARTS` does, so that it is known that it was not the store.
        let batcher = Batcher { db: batcher.db.impatient(), ..batcher };
        let (queues, count) = (Mutex::default(), AtomicUsize::new(0));
        let (runtime, places) = (Handle::current(), Semaphore::new(SIDE_BY_SIDE));
        Self(Arc::new(Inner { batcher, metrics, runtime, tasks, places, queues, count }))
    }

    /// Whether anybody waits apart.
    pub(super) fn is_empty(&self) -> bool {
        self.0.count.load(Ordering::Acquire) == 0
    }

    /// Whether this owner's requests wait apart.
    pub(super) fn has(&self, owner: OwnerId) -> bool {
        !self.is_empty() && self.0.queues().contains_key(&owner)
    }

    /// Has the requests of one owner carried out apart, behind those that wait there already. `failed`: because they made a
    /// shared transaction fail.
    pub(super) fn put(&self, owner: OwnerId, submission: Submission, failed: bool) {
        let mut queues = self.0.queues();
        match queues.entry(owner) {
            Entry::Occupied(entry) => drop(entry.get().send(submission)),
            Entry::Vacant(entry) => {
                let (sender, receiver) = unbounded_channel();
                drop(sender.send(submission));
                entry.insert(sender);
                self.0.count.fetch_add(1, Ordering::Release);
                self.0.metrics.apart(1);
                let seat = Seat { inner: Arc::clone(&self.0), owner, left: false };
                // Not tracked while it only keeps the account apart: nobody who stops has to wait for that.
                let busy = self.0.tasks.token();
                // What spends waits for no round of those who read.
                let work = Asker::spread("apart", &owner).scope(work(seat, receiver, failed, busy));
                drop(self.0.runtime.spawn(work));
            }
        }
    }

    /// Sees that somebody is answered.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.spawn_on(task, &self.0.runtime);
    }
}

impl Inner {
    fn queues(&self) -> MutexGuard<'_, HashMap<OwnerId, UnboundedSender<Submission>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An owner's seat among those who wait apart; empty again when it is dropped, also by a panic: those whose requests
/// were in it are then told that they failed.
struct Seat {
    inner: Arc<Inner>,
    owner: OwnerId,
    /// Whether it was given up: from then on somebody else's of the same owner may stand in its place.
    left: bool,
}

impl Seat {
    /// Gives the seat up unless something has come meanwhile, which is what is given back.
    fn leave(&mut self, queue: &mut UnboundedReceiver<Submission>) -> Option<Submission> {
        let mut queues = self.inner.queues();
        let more = queue.try_recv().ok();
        self.left = more.is_none();
        if self.left {
            queues.remove(&self.owner);
        }
        more
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.left {
            self.inner.queues().remove(&self.owner);
        }
        self.inner.count.fetch_sub(1, Ordering::Release);
        self.inner.metrics.apart(-1);
    }
}

async fn work(mut seat: Seat, mut queue: UnboundedReceiver<Submission>, failed: bool, mut busy: TaskTrackerToken) {
    // Until when it stays apart, whether or not anything comes.
    let mut until = failed.then(|| Instant::now() + COOL_DOWN);
    let inner = Arc::clone(&seat.inner);
    let mut next = queue.try_recv().ok();
    loop {
        let Some(first) = next.take() else {
            drop(busy);
            next = match until {
                Some(until) => tokio::time::timeout_at(until, queue.recv()).await.ok().flatten(),
                None => None,
            };
            next = next.or_else(|| seat.leave(&mut queue));
            if next.is_none() {
                return;
            }
            busy = inner.tasks.token();
            continue;
        };
        let mut submissions = vec![first];
        while submissions.len() < AT_ONCE
            && let Ok(more) = queue.try_recv()
        {
            submissions.push(more);
        }
        let jobs = all_jobs(&submissions);
        let place = inner.places.acquire().await;
        let answers = alone(&inner.batcher, seat.owner, &jobs).await;
        drop(place);
        // That it made others fail is not forgotten because it succeeds alone.
        if answers.iter().any(|it| matches!(it, Err(Refused::Failed | Refused::TimedOut | Refused::Unavailable))) {
            until = Some(Instant::now() + COOL_DOWN);
        }
        answer(submissions, answers);
        next = queue.try_recv().ok();
    }
}

/// Carries out requests of one owner, all of them together within a bounded time: others wait for their place. Whoever was not
/// carried out until then may ask again.
pub(super) async fn alone(batcher: &Batcher, owner: OwnerId, jobs: &[&Job]) -> Vec<Answer> {
    let mut answers: Vec<Answer> = vec![Err(Refused::Unavailable); jobs.len()];
    if tokio::time::timeout(ALL_PARTS, in_parts(batcher, owner, jobs, &mut answers)).await.is_err() {
        tracing::warn!(%owner, requests = jobs.len(), "the requests of an account were not all carried out in time");
    }
    answers
}

/// What is due is booked in portions before. If requests fail together they are halved, and carried out in their order, until it
/// is known which of them fail by themselves. Those that are not tried keep the answer they have.
async fn in_parts(batcher: &Batcher, owner: OwnerId, jobs: &[&Job], answers: &mut [Answer]) {
    if let Err(error) = batcher.catch_up(owner).await {
        answers.fill(Err(refused(owner, error)));
        return;
    }
    let mut parts = vec![(0, jobs.len())];
    while let Some((start, end)) = parts.pop() {
        let error = match batcher.run(&jobs[start..end]).await {
            Ok(carried) => {
                for (answer, told) in answers[start..end].iter_mut().zip(carried.answers) {
                    *answer = told.unwrap_or(Err(Refused::Unavailable));
                }
                continue;
            }
            Err(error) => error,
        };
        tracing::warn!(%owner, requests = end - start, %error, "a batch failed");
        // By none of them in particular: the others would not fare better.
        if matches!(error, DbError::Unavailable(_) | DbError::Locked | DbError::Clock(_)) {
            return;
        }
        if end - start > 1 {
            let middle = start + (end - start) / 2;
            parts.extend([(middle, end), (start, middle)]);
        } else {
            answers[start..end].fill(Err(refused(owner, error)));
        }
    }
}

/// What the caller of a request that failed is told.
fn refused(owner: OwnerId, error: DbError) -> Refused {
    match error {
        DbError::Unavailable(_) | DbError::Locked | DbError::Clock(_) => Refused::Unavailable,
        DbError::TimedOut => Refused::TimedOut,
        DbError::NewerFormat { what } => {
            tracing::warn!(%owner, %what, "a request needs a newer program");
            Refused::NewerFormat
        }
        error => {
            tracing::error!(%owner, %error, "a request failed by itself");
            Refused::Failed
        }
    }
}
