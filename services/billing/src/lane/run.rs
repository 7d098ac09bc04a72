//! The loop that empties a lane's queue.
//!
//! One transaction is under way at a time. Meanwhile the lane goes on deciding: what can be decided
//! on the accounts it remembers is prepared ([`super::warm`]), so that the next transaction has only
//! to be written. As soon as something waits that needs the store (a hold to capture, an account not
//! remembered), the next transaction is an ordinary batch of everything that waits
//! ([`super::batch`]).

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::time::Duration;

use bursar_db::Db;
use bursar_id::OwnerId;
use futures::future::BoxFuture;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio_util::task::TaskTracker;

use super::aside::{Aside, alone};
use super::batch::{Batcher, Carried};
use super::job::{Job, Submission, all_jobs};
use super::known::Warm;
use super::metrics::{Decided, Metrics};
use super::share::Share;
use super::shared::{Ended, carry_out, write};
use super::turns::Turns;
use super::warm::Prepared;

/// How long a transaction waits for a row that somebody else has locked. Then its account goes apart, and the others go on.
const PATIENCE: Duration = Duration::from_millis(500);

/// How long one of its statements may take. One that takes longer is its own batch's fault, which is then halved.
const STATEMENT: Duration = Duration::from_secs(5);

/// A transaction that has ended, well or not.
pub(super) struct Finished {
    submissions: Vec<Submission>,
    ended: Ended,
}

/// One lane.
pub(super) struct Lane {
    batcher: Batcher,
    warm: Warm,
    metrics: Metrics,
    limit: usize,
    aside: Aside,
    /// Decided in memory, on top of what is under way.
    next: Prepared,
    /// What is not to be decided in memory.
    behind: Vec<Submission>,
    /// How many jobs `next` and `behind` have.
    waiting: usize,
    /// Whose they are.
    share: Share,
    /// Who else waits, and who of them comes next.
    turns: Turns,
}

impl Lane {
    /// A lane that puts up to `limit` jobs in a transaction.
    pub(super) fn new(batcher: Batcher, warm: Warm, metrics: Metrics, limit: usize, aside: Aside) -> Self {
        let (next, behind, turns, share) = (Prepared::default(), Vec::new(), Turns::default(), Share::default());
        Self { batcher, warm, metrics, limit, aside, next, behind, waiting: 0, share, turns }
    }

    /// Takes what waits in the queue, and of all who wait as many as there is room for in the next transaction.
    pub(super) fn take_all(&mut self, queue: &mut UnboundedReceiver<Submission>) {
        while let Ok(next) = queue.try_recv() {
            // Where there is room for everybody, nobody needs a turn.
            if self.turns.is_empty() && self.waiting < self.limit && self.has_room(&next) {
                self.take(next);
            } else {
                self.turns.push(next);
            }
        }
        self.take_turns();
    }

    /// Of all who wait, takes as many as there is room for.
    pub(super) fn take_turns(&mut self) {
        while self.waiting < self.limit
            && let Some(owner) = self.next_turn()
            && let Some(next) = self.turns.pop(owner)
        {
            self.take(next);
        }
    }

    /// Whose turn is next, of those who have room left in the next transaction.
    fn next_turn(&self) -> Option<OwnerId> {
        let has_room = |owner| self.share.has_room(owner, self.turns.has_others(owner));
        match self.one_owner() {
            Some(owner) => has_room(owner).then_some(owner),
            None => self.turns.next(has_room),
        }
    }

    /// Whether the next transaction has room for a submission beside what others have of it.
    fn has_room(&self, submission: &Submission) -> bool {
        submission.owner().is_none_or(|owner| self.share.has_room(owner, self.turns.has_others(owner)))
    }

    /// Whose requests alone can go into the next transaction, where each has one owner.
    fn one_owner(&self) -> Option<OwnerId> {
        let mut taken = self.next.submissions().iter().chain(&self.behind);
        taken.find_map(Submission::owner).filter(|_| self.batcher.is_distributed())
    }

    /// Takes a submission, and decides it if it can be. One that does not fit into the next transaction waits.
    pub(super) fn take(&mut self, submission: Submission) {
        if self.one_owner().is_some_and(|one| submission.owner() != Some(one)) {
            self.turns.push(submission);
            return;
        }
        let Some(submission) = self.without_those_apart(submission) else { return };
        self.count(&submission);
        let (now, rules) = (self.batcher.clock.believed(), self.batcher.rules.current());
        match now {
            // Behind one that cannot be decided here everything waits for the same batch, which by a wrong clock fails.
            Ok(now) if self.behind.is_empty() && self.next.can_decide(&submission.jobs, &self.warm, &rules, now) => {
                self.next.decide(submission, &mut self.warm, now);
            }
            _ => self.behind.push(submission),
        }
    }

    fn count(&mut self, submission: &Submission) {
        self.waiting += submission.jobs.len();
        if let Some(owner) = submission.owner() {
            self.share.take(owner, submission.jobs.len());
        }
    }

    fn uncount(&mut self, submission: &Submission) {
        self.waiting -= submission.jobs.len();
        if let Some(owner) = submission.owner() {
            self.share.give_back(owner, submission.jobs.len());
        }
    }

    /// Hands on what belongs to accounts that are carried out apart, so that the order of their requests stays; of a
    /// submission with requests of others as well, those go their own way.
    fn without_those_apart(&mut self, submission: Submission) -> Option<Submission> {
        if self.aside.is_empty() || !submission.jobs.iter().any(|job| self.aside.has(job.owner)) {
            return Some(submission);
        }
        if let Some(owner) = submission.owner().filter(|_| !submission.is_mixed()) {
            self.aside.put(owner, submission, false);
            return None;
        }
        let (parts, gathered) = submission.scatter(Vec::new());
        self.aside.spawn(gathered);
        for (owner, part) in parts {
            if self.aside.has(owner) {
                self.aside.put(owner, part, false);
            } else {
                self.turns.push(part);
            }
        }
        None
    }

    /// Begins the transaction of everything that waits.
    pub(super) fn begin(&mut self) -> BoxFuture<'static, Finished> {
        self.waiting = 0;
        self.share.begin(|owner| self.turns.has_others(owner));
        let batcher = self.batcher.clone();
        if self.behind.is_empty() {
            let (submissions, decisions) = self.next.take(&mut self.warm);
            return Box::pin(async move {
                let ended = write(&batcher, &all_jobs(&submissions), decisions).await;
                Finished { submissions, ended }
            });
        }
        let mut submissions = self.next.undo();
        submissions.append(&mut self.behind);
        self.forget(&submissions);
        Box::pin(async move {
            let ended = carry_out(&batcher, &all_jobs(&submissions)).await;
            Finished { submissions, ended }
        })
    }

    fn forget(&mut self, submissions: &[Submission]) {
        for job in submissions.iter().flat_map(|submission| &submission.jobs) {
            self.warm.forget(job.owner);
        }
    }

    /// Answers the callers and remembers how the transaction left its accounts.
    pub(super) fn end(&mut self, finished: Finished) {
        let Finished { submissions, ended: Ended { carried: Carried { answers, known }, failed, decided, .. } } =
            finished;
        self.metrics.record(answers.len(), decided);
        // What was decided on top of it meanwhile rests on what did not come about.
        if decided == Decided::Again {
            let again = self.next.undo();
            self.behind.splice(..0, again);
            self.forget(&submissions);
        }
        let mut answers = answers.into_iter();
        for submission in submissions {
            let part: Vec<_> = answers.by_ref().take(submission.jobs.len()).collect();
            if part.iter().all(Option::is_some) {
                submission.answer(part.into_iter().flatten().collect());
                continue;
            }
            let (apart, gathered) = submission.scatter(part);
            self.aside.spawn(gathered);
            for (owner, part) in apart {
                self.aside.put(owner, part, failed.contains(&owner));
            }
        }
        for known in known {
            self.warm.keep(known);
        }
        self.decide_behind();
    }

    /// Decides what had to wait for the store, if all of it can be decided in memory now.
    fn decide_behind(&mut self) {
        let (now, rules) = (self.batcher.clock.believed(), self.batcher.rules.current());
        let can_decide = |it: &Submission| now.is_ok_and(|now| self.next.can_decide(&it.jobs, &self.warm, &rules, now));
        if !self.aside.is_empty() || self.behind.iter().all(can_decide) {
            for submission in std::mem::take(&mut self.behind) {
                self.uncount(&submission);
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

    pub(super) fn keeps_apart(&self, owner: OwnerId) -> bool {
        self.aside.has(owner)
    }

    pub(super) fn undecided(&self) -> usize {
        self.behind.len()
    }

    pub(super) fn remembered(&self) -> usize {
        self.warm.len()
    }
}

/// Empties a lane's queue until nobody can send any more. `home` is the store of the service, from which the lane has
/// connections of its own.
pub(super) async fn run(queue: &mut UnboundedReceiver<Submission>, mut lane: Lane, home: &Db) {
    loop {
        lane.take_turns();
        if lane.waiting == 0 {
            let Some(first) = queue.recv().await else { break };
            lane.take(first);
        }
        lane.take_all(queue);
        if lane.waiting == 0 {
            continue;
        }
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
        drop(under_way);
        if finished.ended.lost {
            reconnect(&mut lane, home);
        }
        lane.end(finished);
    }
    lane.batcher.db.close_dedicated().await;
}

/// Connections on which nobody answered any more are left to themselves, and others take their place.
fn reconnect(lane: &mut Lane, home: &Db) {
    let lost = std::mem::replace(&mut lane.batcher.db, connect(home));
    tokio::spawn(async move { lost.close_dedicated().await });
}

/// Connections of a lane's own.
pub(super) fn connect(home: &Db) -> Db {
    home.dedicated(PATIENCE, STATEMENT)
}

/// The baseline: every submission in a transaction of its own, side by side.
pub(super) async fn run_uncombined(mut queue: UnboundedReceiver<Submission>, batcher: Batcher) {
    let under_way = TaskTracker::new();
    while let Some(submission) = queue.recv().await {
        let batcher = batcher.clone();
        under_way.spawn(async move {
            let jobs: Vec<&Job> = submission.jobs.iter().collect();
            let mut answers = carry_out(&batcher, &jobs).await.carried.answers;
            let apart = |job: &&Job, answer: &Option<_>| answer.is_none().then_some(job.owner);
            let apart: BTreeSet<OwnerId> = jobs.iter().zip(&answers).filter_map(|(job, it)| apart(job, it)).collect();
            for owner in apart {
                let theirs: Vec<usize> = (0..jobs.len()).filter(|it| jobs[*it].owner == owner).collect();
                let again: Vec<&Job> = theirs.iter().map(|it| jobs[*it]).collect();
                let told = alone(&batcher, owner, &again).await;
                theirs.into_iter().zip(told).for_each(|(number, answer)| answers[number] = Some(answer));
            }
            drop(jobs);
            submission.answer(answers.into_iter().flatten().collect());
        });
    }
    under_way.close();
    under_way.wait().await;
}
