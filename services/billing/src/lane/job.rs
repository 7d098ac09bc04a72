//! What goes into a lane and what comes out of it.

use bursar_id::OwnerId;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::domain::{Actor, Outcome, Refusal, Request};

/// One request to one account, and who makes it.
#[derive(Debug, Clone)]
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
    /// The database cannot be reached; whether the request took effect, its id will tell.
    Unavailable,
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
    /// Room in the queue, given back when the submission has been answered.
    _room: OwnedSemaphorePermit,
}

impl Submission {
    /// A submission and where its answers will come.
    pub(super) fn new(jobs: Vec<Job>, room: OwnedSemaphorePermit) -> (Self, oneshot::Receiver<Vec<Answer>>) {
        let (reply, answer) = oneshot::channel();
        (Self { jobs, reply, _room: room }, answer)
    }

    /// The owner of its first request: of all of them, where a transaction has one owner.
    pub(super) fn owner(&self) -> Option<OwnerId> {
        self.jobs.first().map(|job| job.owner)
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
