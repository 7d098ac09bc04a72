//! The bounded queues in front of the lanes.
//!
//! Once accepted, a submission is carried out even if its caller has gone: what a caller who gave up
//! does not learn, the same `request_id` tells on the next try.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bursar_id::OwnerId;
use opentelemetry::metrics::Meter;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use super::aside::Aside;
use super::batch::Batcher;
use super::job::{Answer, Job, Overloaded, Refused, Submission};
use super::known::Warm;
use super::metrics::Metrics;
use super::places::{Place, Places};
use super::run::{Lane, run_uncombined};
use super::share::PORTION;
use super::thread;

/// How the lanes are laid out.
#[derive(Clone, Copy, Debug)]
pub struct LaneSettings {
    /// How many lanes work side by side. Fewer and larger batches win on few cores.
    pub lanes: usize,
    /// The most requests in one transaction. The last submission that goes into it may exceed that: none is split.
    pub batch: usize,
    /// The most requests waiting over all lanes; one more is answered [`Overloaded`]. One owner's may be as many as
    /// there are places left for everybody else.
    pub waiting: usize,
    /// Whether waiting requests share a transaction. Without it every submission runs in a
    /// transaction of its own beside the others: the baseline that `bursar bench` compares with.
    pub combine: bool,
    /// The most accounts that all lanes together remember between batches (`warm`): each its row and
    /// its live lots.
    pub warm: usize,
}

impl Default for LaneSettings {
    fn default() -> Self {
        Self { lanes: 1, batch: 1_024, waiting: 32_768, combine: true, warm: 16_384 }
    }
}

/// Jobs for one lane, and their places among those of their caller.
type Part = (Vec<usize>, Vec<Job>);

/// The way to every lane. Cheap to clone; the lanes end when the last clone is dropped.
#[derive(Clone)]
pub struct Lanes {
    to: Arc<[mpsc::UnboundedSender<Submission>]>,
    places: Places,
    /// Whether requests of several owners may share a transaction.
    together: bool,
    /// The most requests that are queued as one submission: others have their turns in between.
    portion: usize,
}

impl Lanes {
    /// Starts the lanes, each on a thread of its own; `tasks` is not done before they are.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub(crate) fn start(
        settings: LaneSettings,
        batcher: &Batcher,
        meter: &Meter,
        tasks: &TaskTracker,
    ) -> std::io::Result<Self> {
        let metrics = Metrics::new(meter);
        let aside = Aside::new(batcher.clone(), metrics.clone(), tasks.clone());
        let count = settings.lanes.max(1);
        let mut lanes = Vec::with_capacity(count);
        for number in 0..count {
            // Unbounded in itself; the places bound the requests in all the queues together.
            let (sender, receiver) = mpsc::unbounded_channel();
            let (batcher, metrics) = (batcher.clone(), metrics.clone());
            if settings.combine {
                let aside = aside.clone();
                let lane = move |batcher| {
                    let warm = Warm::new(settings.warm / count);
                    Lane::new(batcher, warm, metrics.clone(), settings.batch.max(1), aside.clone())
                };
                thread::start(format!("lane {number}"), batcher, receiver, lane, tasks.token())?;
            } else {
                tasks.spawn(run_uncombined(receiver, batcher));
            }
            lanes.push(sender);
        }
        let places = Places::new(settings.waiting);
        // Side by side, portions would not be in their order.
        let portion = if settings.combine { PORTION } else { usize::MAX };
        Ok(Self { to: lanes.into(), places, together: !batcher.is_distributed(), portion })
    }

    /// Carries out one request.
    pub async fn one(&self, job: Job) -> Result<Answer, Overloaded> {
        let (lane, jobs) = (self.lane_of(job.owner), vec![job]);
        let place = Arc::new(self.places.take(&jobs)?);
        let mut answers = self.enqueue(lane, jobs, place).await;
        Ok(answers.pop().unwrap_or(Err(Refused::Failed)))
    }

    /// Carries out many requests and gives one answer for each, in their order. Requests of one
    /// owner are decided in the order given. There is room for all of them, or none is queued.
    pub async fn many(&self, jobs: Vec<Job>) -> Result<Vec<Answer>, Overloaded> {
        let total = jobs.len();
        let place = Arc::new(self.places.take(&jobs)?);
        let large = total > self.portion;
        if self.to.len() == 1 && self.together && !large {
            return Ok(self.enqueue(0, jobs, place).await);
        }
        // A part for each lane; or for each owner, where a transaction has one, and where there is so much that others would
        // wait for it: that is given out in portions, and an owner's own follow each other.
        let mut parts: BTreeMap<(usize, Option<OwnerId>), Part> = BTreeMap::new();
        for (number, job) in jobs.into_iter().enumerate() {
            let lane = self.lane_of(job.owner);
            let part = parts.entry((lane, (large || !self.together).then_some(job.owner))).or_default();
            part.0.push(number);
            part.1.push(job);
        }
        let mut waits = Vec::new();
        for ((lane, _), (numbers, jobs)) in parts {
            let mut jobs = jobs.into_iter();
            for numbers in numbers.chunks(self.portion) {
                let portion = jobs.by_ref().take(self.portion).collect();
                waits.push((numbers.to_vec(), self.enqueue(lane, portion, Arc::clone(&place))));
            }
        }
        let mut answers: Vec<Answer> = (0..total).map(|_| Err(Refused::Failed)).collect();
        for (numbers, wait) in waits {
            for (number, answer) in numbers.into_iter().zip(wait.await) {
                answers[number] = answer;
            }
        }
        Ok(answers)
    }

    fn lane_of(&self, owner: OwnerId) -> usize {
        spread(owner, self.to.len())
    }

    /// Queues the jobs and gives what waits for their answers.
    fn enqueue(&self, lane: usize, jobs: Vec<Job>, place: Arc<Place>) -> impl Future<Output = Vec<Answer>> + use<> {
        let count = jobs.len();
        let (submission, answer) = Submission::new(jobs, Some(place));
        // A closed lane drops the reply, and the wait below ends with failures.
        let _closed = self.to[lane].send(submission);
        async move { answer.await.unwrap_or_else(|_| (0..count).map(|_| Err(Refused::Failed)).collect()) }
    }
}

/// Which of so many places an owner has, always the same one.
fn spread(owner: OwnerId, over: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    owner.hash(&mut hasher);
    usize::try_from(hasher.finish() % over.max(1) as u64).unwrap_or(0)
}
