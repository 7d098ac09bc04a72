//! The bounded queues in front of the lanes, and the loop that empties them.
//!
//! Once accepted, a submission is carried out even if its caller has gone: what a caller who gave up
//! does not learn, the same `request_id` tells on the next try.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bursar_db::DbError;
use bursar_id::OwnerId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::task::TaskTracker;

use super::batch::{Answer, Batcher, Job, Refused};

/// How the lanes are laid out.
#[derive(Clone, Copy, Debug)]
pub struct LaneSettings {
    /// How many lanes work side by side. Fewer and larger batches win on few cores.
    pub lanes: usize,
    /// The most requests in one transaction. A single submission may exceed it: it is never split.
    pub batch: usize,
    /// The most requests waiting over all lanes; one more is answered [`Overloaded`].
    pub waiting: usize,
    /// Whether waiting requests share a transaction. Without it every submission runs in a
    /// transaction of its own beside the others: the baseline that `bursar bench` compares with.
    pub combine: bool,
}

impl Default for LaneSettings {
    fn default() -> Self {
        Self { lanes: 1, batch: 1_024, waiting: 32_768, combine: true }
    }
}

/// The queue is full: nothing was taken, try again shortly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overloaded;

/// Requests of one caller, answered together and in their order.
struct Submission {
    jobs: Vec<Job>,
    reply: oneshot::Sender<Vec<Answer>>,
    /// Room in the queue, given back when the submission has been answered.
    _room: OwnedSemaphorePermit,
}

/// The way to every lane. Cheap to clone; the lanes end when the last clone is dropped.
#[derive(Clone)]
pub struct Lanes {
    lanes: Arc<[mpsc::UnboundedSender<Submission>]>,
    room: Arc<Semaphore>,
}

impl Lanes {
    /// Starts the lanes as tasks of `tasks`.
    pub(crate) fn start(settings: LaneSettings, batcher: &Batcher, tasks: &TaskTracker) -> Self {
        let lanes = (0..settings.lanes.max(1))
            .map(|_| {
                // Unbounded in itself; the semaphore bounds the requests in all the queues together.
                let (sender, receiver) = mpsc::unbounded_channel();
                if settings.combine {
                    tasks.spawn(run(receiver, batcher.clone(), settings.batch.max(1)));
                } else {
                    tasks.spawn(run_apart(receiver, batcher.clone()));
                }
                sender
            })
            .collect();
        Self { lanes, room: Arc::new(Semaphore::new(settings.waiting.max(1))) }
    }

    /// Carries out one request.
    pub async fn one(&self, job: Job) -> Result<Answer, Overloaded> {
        let lane = self.lane_of(job.owner);
        let mut answers = self.enqueue(lane, vec![job])?.await;
        Ok(answers.pop().unwrap_or(Err(Refused::Failed)))
    }

    /// Carries out many requests and gives one answer for each, in their order. Requests of one
    /// owner are decided in the order given.
    pub async fn many(&self, jobs: Vec<Job>) -> Result<Vec<Answer>, Overloaded> {
        if self.lanes.len() == 1 {
            return Ok(self.enqueue(0, jobs)?.await);
        }
        let total = jobs.len();
        let mut parts: Vec<(Vec<usize>, Vec<Job>)> = self.lanes.iter().map(|_| (Vec::new(), Vec::new())).collect();
        for (place, job) in jobs.into_iter().enumerate() {
            let part = &mut parts[self.lane_of(job.owner)];
            part.0.push(place);
            part.1.push(job);
        }
        let mut waits = Vec::new();
        for (lane, (places, jobs)) in parts.into_iter().enumerate().filter(|(_, part)| !part.1.is_empty()) {
            let count = jobs.len();
            match self.enqueue(lane, jobs) {
                Ok(wait) => waits.push((places, Ok(wait))),
                // Earlier parts are under way already: this part alone is turned away.
                Err(Overloaded) => waits.push((places, Err(count))),
            }
        }
        let mut answers: Vec<Answer> = (0..total).map(|_| Err(Refused::Failed)).collect();
        for (places, wait) in waits {
            let part = match wait {
                Ok(wait) => wait.await,
                Err(count) => (0..count).map(|_| Err(Refused::Overloaded)).collect(),
            };
            for (place, answer) in places.into_iter().zip(part) {
                answers[place] = answer;
            }
        }
        Ok(answers)
    }

    fn lane_of(&self, owner: OwnerId) -> usize {
        let mut hasher = DefaultHasher::new();
        owner.hash(&mut hasher);
        usize::try_from(hasher.finish() % self.lanes.len() as u64).unwrap_or(0)
    }

    /// Queues the jobs and gives what waits for their answers.
    fn enqueue(&self, lane: usize, jobs: Vec<Job>) -> Result<impl Future<Output = Vec<Answer>> + use<>, Overloaded> {
        let count = jobs.len();
        let permits = u32::try_from(count).map_err(|_| Overloaded)?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(permits).map_err(|_| Overloaded)?;
        let (reply, answer) = oneshot::channel();
        // A closed lane drops the reply, and the wait below ends with failures.
        let _closed = self.lanes[lane].send(Submission { jobs, reply, _room: room });
        Ok(async move { answer.await.unwrap_or_else(|_| (0..count).map(|_| Err(Refused::Failed)).collect()) })
    }
}

/// One lane: takes what waits, carries it out, answers; ends when nobody can send any more.
async fn run(mut queue: mpsc::UnboundedReceiver<Submission>, batcher: Batcher, limit: usize) {
    while let Some(first) = queue.recv().await {
        let mut waiting = first.jobs.len();
        let mut batch = vec![first];
        // Callers that were just answered are about to send again: let them, then take them all.
        tokio::task::yield_now().await;
        while waiting < limit {
            let Ok(next) = queue.try_recv() else { break };
            waiting += next.jobs.len();
            batch.push(next);
        }
        carry_out(&batcher, batch).await;
    }
}

/// The baseline: every submission in a transaction of its own, side by side.
async fn run_apart(mut queue: mpsc::UnboundedReceiver<Submission>, batcher: Batcher) {
    let under_way = TaskTracker::new();
    while let Some(submission) = queue.recv().await {
        let batcher = batcher.clone();
        under_way.spawn(async move { carry_out(&batcher, vec![submission]).await });
    }
    under_way.close();
    under_way.wait().await;
}

async fn carry_out(batcher: &Batcher, batch: Vec<Submission>) {
    let jobs: Vec<&Job> = batch.iter().flat_map(|submission| &submission.jobs).collect();
    let answers = match batcher.run(&jobs).await {
        Ok(answers) => answers,
        Err(error) => one_by_one(batcher, &jobs, &error).await,
    };
    let mut answers = answers.into_iter();
    for submission in batch {
        let part = answers.by_ref().take(submission.jobs.len()).collect();
        // A caller who has gone is told by the same request_id when it asks again.
        let _gone = submission.reply.send(part);
    }
}

/// A transaction failed as a whole: tries each request once alone, so that one which cannot be
/// written fails by itself. When the database cannot be reached there is nothing to try.
async fn one_by_one(batcher: &Batcher, jobs: &[&Job], error: &DbError) -> Vec<Answer> {
    let unreachable = matches!(error, DbError::Unavailable(..));
    tracing::warn!(requests = jobs.len(), %error, unreachable, "a batch failed");
    let mut answers = Vec::with_capacity(jobs.len());
    for job in jobs {
        if unreachable {
            answers.push(Err(Refused::Unavailable));
            continue;
        }
        answers.push(match batcher.run(&[job]).await {
            Ok(mut answers) => answers.pop().unwrap_or(Err(Refused::Failed)),
            Err(DbError::Unavailable(..)) => Err(Refused::Unavailable),
            Err(error) => {
                tracing::error!(owner = %job.owner, %error, "a request failed by itself");
                Err(Refused::Failed)
            }
        });
    }
    answers
}
