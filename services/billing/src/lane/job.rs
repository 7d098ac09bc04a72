//! What goes into a lane and what comes out of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bursar_id::OwnerId;
use futures::future::join_all;
use tokio::sync::oneshot;

use super::places::Place;
use crate::domain::{Actor, Outcome, Refusal, Request};

/// One request to one account, and who makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Whose account.
    pub owner: OwnerId,
    /// Who asks.
    pub actor: Actor,
    /// What is asked.
    pub request: Request,
}

/// Why a request was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The credit rules say no.
    Rule(Refusal),
    /// The account's renewal comes first: this is the request, to be made again afterwards.
    RenewalDue(Box<Job>),
    /// The database cannot be reached; whether the request took effect, its id will tell.
    Unavailable,
    /// What the request asked of the database took longer than it may: nothing was written.
    TimedOut,
    /// Something of the account was written by a later program: it must be asked of that.
    NewerFormat,
    /// The request cannot be written, or its account is damaged. Logged where it happened.
    Failed,
}

/// What became of one request.
pub type Answer = Result<Outcome, Refused>;

/// The queue is full: nothing was taken, try again shortly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overloaded;

/// Requests of one caller, answered together and in their order.
pub(super) struct Submission {
    pub(super) jobs: Vec<Job>,
    reply: oneshot::Sender<Vec<Answer>>,
    /// Its places in the queue, given back when the submission has been answered. A part of another one has none.
    place: Option<Arc<Place>>,
}

impl Submission {
    /// A submission and where its answers will come.
    pub(super) fn new(jobs: Vec<Job>, place: Option<Arc<Place>>) -> (Self, oneshot::Receiver<Vec<Answer>>) {
        let (reply, answer) = oneshot::channel();
        (Self { jobs, reply, place }, answer)
    }

    /// Takes the jobs apart that have no answer yet: a submission for each owner of some, and what answers the caller as
    /// soon as all of those are answered.
    pub(super) fn scatter(
        self,
        mut answers: Vec<Option<Answer>>,
    ) -> (BTreeMap<OwnerId, Self>, impl Future<Output = ()> + Send + use<>) {
        let Self { jobs, reply, place } = self;
        answers.resize_with(jobs.len(), || None);
        let mut parts: BTreeMap<OwnerId, (Vec<usize>, Vec<Job>)> = BTreeMap::new();
        for (number, job) in jobs.into_iter().enumerate().filter(|(number, _)| answers[*number].is_none()) {
            let (numbers, jobs) = parts.entry(job.owner).or_default();
            numbers.push(number);
            jobs.push(job);
        }
        let (mut submissions, mut waits) = (BTreeMap::new(), Vec::new());
        for (owner, (numbers, jobs)) in parts {
            let (submission, answer) = Self::new(jobs, None);
            submissions.insert(owner, submission);
            waits.push(async move { (numbers, answer.await.unwrap_or_default()) });
        }
        let gathered = async move {
            for (numbers, told) in join_all(waits).await {
                numbers.into_iter().zip(told).for_each(|(number, answer)| answers[number] = Some(answer));
            }
            let _gone = reply.send(answers.into_iter().map(|it| it.unwrap_or(Err(Refused::Failed))).collect());
            drop(place);
        };
        (submissions, gathered)
    }

    /// The owner of its first request: of all of them, where a transaction has one owner.
    pub(super) fn owner(&self) -> Option<OwnerId> {
        self.jobs.first().map(|job| job.owner)
    }

    /// Whether it has requests of other owners, too.
    pub(super) fn is_mixed(&self) -> bool {
        self.jobs.windows(2).any(|pair| pair[0].owner != pair[1].owner)
    }

    /// Tells the caller. One who has gone is told by the same request id when it asks again.
    pub(super) fn answer(self, answers: Vec<Answer>) {
        let _gone = self.reply.send(answers);
    }
}

/// All jobs of some submissions, in their order.
pub(super) fn all_jobs(submissions: &[Submission]) -> Vec<&Job> {
    submissions.iter().flat_map(|submission| &submission.jobs).collect()
}

/// Gives every submission its part of the answers.
pub(super) fn answer(submissions: Vec<Submission>, answers: Vec<Answer>) {
    let mut answers = answers.into_iter();
    for submission in submissions {
        let part = answers.by_ref().take(submission.jobs.len()).collect();
        submission.answer(part);
    }
}
