//! The loop that empties a lane's queue.
//!
//! One transaction is under way at a time. Meanwhile the lane goes on deciding: what can be decided
//! on the accounts it remembers is prepared ([`super::warm`]), so that the next transaction has only
//! to be written. As soon as something waits that needs the store (a hold to capture, an account not
//! remembered), the next transaction is an ordinary batch of everything that waits
//! ([`super::batch`]).

use std::collections::VecDeque;
use std::future::poll_fn;

use bursar_db::DbError;
use futures::future::BoxFuture;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::task::TaskTracker;

use super::batch::{Batcher, Carried};
use super::job::{Answer, Job, Refused, Submission, all_jobs, answer};
use super::known::Warm;
use super::metrics::{Decided, Metrics};
use super::warm::{Decisions, Prepared, Written};

/// A transaction that has ended, well or not.
pub(super) struct Finished {
    submissions: Vec<Submission>,
    /// The answers, and the accounts to remember.
    carried: Carried,
    decided: Decided,
}

/// One lane.
pub(super) struct Lane {
    batcher: Batcher,
    warm: Warm,
    metrics: Metrics,
    limit: usize,
    /// Decided in memory, on top of what is under way.
    next: Prepared,
    /// What is not to be decided in memory.
    behind: Vec<Submission>,
    /// How many jobs `next` and `behind` have.
    waiting: usize,
    /// Other owners' requests, where each transaction has one owner: in the order in which they came.
    parked: VecDeque<Submission>,
}

impl Lane {
    /// A lane that puts up to `limit` jobs in a transaction.
    pub(super) fn new(batcher: Batcher, warm: Warm, metrics: Metrics, limit: usize) -> Self {
        let (next, behind, parked) = (Prepared::default(), Vec::new(), VecDeque::new());
        Self { batcher, warm, metrics, limit, next, behind, waiting: 0, parked }
    }

    /// Takes what waits in the queue, as far as there is room in the next transaction.
    fn take_all(&mut self, queue: &mut UnboundedReceiver<Submission>) {
        while self.waiting + self.parked.len() < self.limit
            && let Ok(next) = queue.try_recv()
        {
            self.take(next);
        }
    }

    /// Whether a submission can go into the next transaction: any can, unless a transaction has one owner.
    fn fits(&self, submission: &Submission) -> bool {
        let first = self.next.submissions().iter().chain(&self.behind).find_map(Submission::owner);
        !self.batcher.is_distributed() || first.is_none() || first == submission.owner()
    }

    /// Takes the owner who has waited longest, with everything of theirs.
    fn unpark(&mut self) {
        for submission in std::mem::take(&mut self.parked) {
            self.take(submission);
        }
    }

    /// Takes a submission from the queue, and decides it if it can be.
    pub(super) fn take(&mut self, submission: Submission) {
        if !self.fits(&submission) {
            self.parked.push_back(submission);
            return;
        }
        self.waiting += submission.jobs.len();
        let (now, rules) = (self.batcher.clock.now(), self.batcher.rules.current());
        // Behind one that cannot be decided here everything waits for the same batch.
        if self.behind.is_empty() && self.next.can_decide(&submission.jobs, &self.warm, &rules, now) {
            self.next.decide(submission, &mut self.warm, now);
        } else {
            self.behind.push(submission);
        }
    }

    /// Begins the transaction of everything that waits.
    pub(super) fn begin(&mut self) -> BoxFuture<'static, Finished> {
        self.waiting = 0;
        let batcher = self.batcher.clone();
        if self.behind.is_empty() {
            let (submissions, decisions) = self.next.take(&mut self.warm);
            return Box::pin(write(batcher, submissions, decisions));
        }
        let mut submissions = self.next.undo();
        submissions.append(&mut self.behind);
        for job in submissions.iter().flat_map(|submission| &submission.jobs) {
            self.warm.forget(job.owner);
        }
        Box::pin(carry_out(batcher, submissions))
    }

    /// Answers the callers and remembers how the transaction left its accounts.
    pub(super) fn end(&mut self, finished: Finished) {
        let Finished { submissions, carried, decided } = finished;
        self.metrics.record(carried.answers.len(), decided);
        // What was decided on top of it meanwhile rests on what did not come about.
        if decided == Decided::Again {
            let again = self.next.undo();
            self.behind.splice(..0, again);
            for job in submissions.iter().flat_map(|submission| &submission.jobs) {
                self.warm.forget(job.owner);
            }
        }
        answer(submissions, carried.answers);
        for known in carried.known {
            self.warm.keep(known);
        }
        self.decide_behind();
    }

    /// Decides what had to wait for the store, if all of it can be decided in memory now.
    fn decide_behind(&mut self) {
        let (now, rules) = (self.batcher.clock.now(), self.batcher.rules.current());
        if self.behind.iter().all(|submission| self.next.can_decide(&submission.jobs, &self.warm, &rules, now)) {
            for submission in std::mem::take(&mut self.behind) {
                self.waiting -= submission.jobs.len();
                self.take(submission);
            }
        }
    }
}

/// A look inside.
#[cfg(test)]
impl Lane {
    pub(super) fn waiting(&self) -> usize {
        self.waiting
    }

    pub(super) fn undecided(&self) -> usize {
        self.behind.len()
    }

    pub(super) fn remembered(&self) -> usize {
        self.warm.len()
    }
}

/// Empties a lane's queue until nobody can send any more.
pub(super) async fn run(queue: &mut UnboundedReceiver<Submission>, mut lane: Lane) {
    loop {
        if lane.waiting == 0 {
            lane.unpark();
        }
        if lane.waiting == 0 {
            let Some(first) = queue.recv().await else { return };
            lane.take(first);
        }
        lane.take_all(queue);
        let mut under_way = lane.begin();
        // Each time the database has answered a step and is busy with the next, what arrived meanwhile
        // is decided. The queue itself wakes nobody: that would cost more than the decision.
        let finished = poll_fn(|context| {
            let progress = under_way.as_mut().poll(context);
            if progress.is_pending() {
                lane.take_all(queue);
            }
            progress
        })
        .await;
        lane.end(finished);
    }
}

/// The baseline: every submission in a transaction of its own, side by side.
pub(super) async fn run_uncombined(mut queue: UnboundedReceiver<Submission>, batcher: Batcher) {
    let under_way = TaskTracker::new();
    while let Some(submission) = queue.recv().await {
        let batcher = batcher.clone();
        under_way.spawn(async move {
            let Finished { submissions, carried, .. } = carry_out(batcher, vec![submission]).await;
            answer(submissions, carried.answers);
        });
    }
    under_way.close();
    under_way.wait().await;
}

/// An ordinary batch.
async fn carry_out(batcher: Batcher, submissions: Vec<Submission>) -> Finished {
    let jobs = all_jobs(&submissions);
    let carried = match batcher.run(&jobs).await {
        Ok(carried) => carried,
        Err(error) => one_by_one(&batcher, &jobs, &error).await,
    };
    // Its accounts were forgotten before, so nothing can have been decided on them.
    Finished { submissions, carried, decided: Decided::Store }
}

/// A batch whose decisions are made.
async fn write(batcher: Batcher, submissions: Vec<Submission>, decisions: Decisions) -> Finished {
    let jobs = all_jobs(&submissions);
    let (carried, decided) = match batcher.write(&jobs, decisions).await {
        Ok(Written::AsDecided(answers)) => (Carried { answers, known: Vec::new() }, Decided::Memory),
        Ok(Written::Redone(carried)) => (carried, Decided::Again),
        Err(error) => (one_by_one(&batcher, &jobs, &error).await, Decided::Again),
    };
    Finished { submissions, carried, decided }
}

/// A transaction failed as a whole: tries each request once alone, so that one which cannot be
/// written fails by itself. When the database cannot be reached there is nothing to try.
async fn one_by_one(batcher: &Batcher, jobs: &[&Job], error: &DbError) -> Carried {
    let unreachable = matches!(error, DbError::Unavailable(..));
    tracing::warn!(requests = jobs.len(), %error, unreachable, "a batch failed");
    let mut answers: Vec<Answer> = Vec::with_capacity(jobs.len());
    for job in jobs {
        if unreachable {
            answers.push(Err(Refused::Unavailable));
            continue;
        }
        answers.push(match batcher.run(&[job]).await {
            Ok(mut carried) => carried.answers.pop().unwrap_or(Err(Refused::Failed)),
            Err(DbError::Unavailable(..)) => Err(Refused::Unavailable),
            Err(DbError::NewerFormat { what }) => {
                tracing::warn!(owner = %job.owner, %what, "a request needs a newer program");
                Err(Refused::NewerFormat)
            }
            Err(error) => {
                tracing::error!(owner = %job.owner, %error, "a request failed by itself");
                Err(Refused::Failed)
            }
        });
    }
    Carried { answers, known: Vec::new() }
}
