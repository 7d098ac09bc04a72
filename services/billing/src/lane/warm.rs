//! Accounts that a lane knows already: deciding in memory while the batch before is still being
//! written.
//!
//! A lane remembers how its last batches left their accounts. Charges, holds and grants of such
//! accounts are decided at once on what is remembered, and one transaction then writes them all: it
//! locks the accounts, makes sure that each row still is what the decisions rest on, and appends.
//! Every change of an account moves its row's ledger head, so an equal row means that nobody else was
//! there: the decisions are those that would be made under the lock. Otherwise (another replica, a
//! subscription that began, a member who left, a request id that was used before) nothing of them
//! counts, and the same requests are carried out anew from the store. This is
//! optimistic concurrency control (Kung and Robinson, 1981) with the account's row as the version.
//!
//! What is remembered is bounded, and forgetting costs one load.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};

use bursar_db::{DbError, Tx};
use bursar_id::OwnerId;
use bursar_time::Timestamp;

use super::batch::{
    Answer, Batcher, Carried, Job, Refused, Standing, a_refusal_repeats, admit, carry_out_anew, decide_one,
};
use super::queue::Submission;
use super::save::{self, Unsaved};
use crate::domain::{Account, AccountState, HoldState};
use crate::store::accounts;

/// An account as a batch left it.
pub(super) struct Known {
    /// Large, and handed from map to map.
    state: Box<AccountState>,
    /// Its row in the store.
    stored: Account,
    /// When its next open hold lapses. Open holds are not remembered themselves.
    deadline: Option<Timestamp>,
}

impl Known {
    /// An account whose changes are written.
    pub(super) fn new(mut state: AccountState, stored: Account, deadline: Option<Timestamp>) -> Self {
        state.rest();
        Self { state: Box::new(state), stored, deadline }
    }

    /// Whether everything that the job's decision needs is in memory.
    fn suffices_for(&self, job: &Job, now: Timestamp) -> bool {
        job.period.is_none()
            && job.acting.is_none()
            && !job.request.needs().something_made()
            && self.deadline.is_none_or(|deadline| now < deadline)
    }

    /// Takes what must be written. From here on the account counts as stored that way.
    fn take_unsaved(&mut self) -> Option<Unsaved> {
        let unsaved = Unsaved::of(&mut self.state)?;
        self.state.rest();
        self.stored = unsaved.changes.account;
        let placed = unsaved.changes.holds_inserted.iter().filter(|hold| hold.state == HoldState::Open);
        self.deadline = placed.map(|hold| hold.deadline).chain(self.deadline).min();
        Some(unsaved)
    }
}

/// The accounts that a lane remembers: those used recently, and those used before them.
pub(super) struct Warm {
    recent: HashMap<OwnerId, Known>,
    older: HashMap<OwnerId, Known>,
    most: usize,
}

impl Warm {
    /// Remembers up to `most` accounts.
    pub(super) fn new(most: usize) -> Self {
        Self { recent: HashMap::new(), older: HashMap::new(), most }
    }

    /// Remembers an account. When there are too many, the half that was not used for longest is forgotten.
    pub(super) fn keep(&mut self, known: Known) {
        let owner = known.state.owner();
        self.older.remove(&owner);
        self.recent.insert(owner, known);
        if self.recent.len() > self.most / 2 {
            self.older = std::mem::take(&mut self.recent);
        }
        if self.older.len() > self.most {
            self.older.clear();
        }
    }

    /// Forgets an account: what is remembered may not be what is stored.
    pub(super) fn forget(&mut self, owner: OwnerId) {
        drop(self.take(owner));
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.recent.len() + self.older.len()
    }

    fn get(&self, owner: OwnerId) -> Option<&Known> {
        self.recent.get(&owner).or_else(|| self.older.get(&owner))
    }

    fn take(&mut self, owner: OwnerId) -> Option<Known> {
        self.recent.remove(&owner).or_else(|| self.older.remove(&owner))
    }
}

/// Requests decided in memory, on their way into the store.
#[derive(Default)]
pub(super) struct Prepared {
    submissions: Vec<Submission>,
    answers: Vec<Answer>,
    /// The accounts decided on, each with the row that the decisions rest on.
    accounts: BTreeMap<OwnerId, (Account, Known)>,
}

impl Prepared {
    /// Whether these jobs can all be decided in memory, on top of what is prepared already.
    pub(super) fn can_decide(&self, jobs: &[Job], warm: &Warm, now: Timestamp) -> bool {
        let known = |owner| self.accounts.get(&owner).map(|(_, known)| known).or_else(|| warm.get(owner));
        jobs.iter().all(|job| known(job.owner).is_some_and(|known| known.suffices_for(job, now)))
    }

    /// Decides a submission that [`Prepared::can_decide`].
    pub(super) fn decide(&mut self, submission: Submission, warm: &mut Warm, now: Timestamp) {
        for job in &submission.jobs {
            if let Entry::Vacant(entry) = self.accounts.entry(job.owner)
                && let Some(known) = warm.take(job.owner)
            {
                entry.insert((known.stored, known));
            }
            self.answers.push(match self.accounts.get_mut(&job.owner) {
                // In memory are only those who were admitted; the transaction makes sure that they still are.
                Some((_, known)) => decide_one(&mut known.state, job, None, now),
                None => Err(Refused::Failed),
            });
        }
        self.submissions.push(submission);
    }

    /// Gives up what was decided: its accounts are forgotten, its submissions wait again.
    pub(super) fn undo(&mut self) -> Vec<Submission> {
        std::mem::take(self).submissions
    }

    /// Takes everything. From here on its accounts are remembered as they were decided.
    pub(super) fn take(&mut self, warm: &mut Warm) -> (Vec<Submission>, Decisions) {
        let Self { submissions, answers, accounts } = std::mem::take(self);
        let mut decisions = Decisions {
            answers,
            basis: BTreeMap::new(),
            unsaved: Vec::with_capacity(accounts.len()),
            deadlines: HashMap::new(),
        };
        for (owner, (stored, mut known)) in accounts {
            decisions.basis.insert(owner, stored);
            decisions.unsaved.extend(known.take_unsaved());
            decisions.deadlines.extend(known.deadline.map(|deadline| (owner, deadline)));
            warm.keep(known);
        }
        (submissions, decisions)
    }
}

/// What was decided in memory.
pub(super) struct Decisions {
    answers: Vec<Answer>,
    /// The rows that the decisions rest on.
    basis: BTreeMap<OwnerId, Account>,
    /// What must be written, in the order of owners.
    unsaved: Vec<Unsaved>,
    deadlines: HashMap<OwnerId, Timestamp>,
}

/// How requests decided in memory got into the store.
pub(super) enum Written {
    /// As they were decided: with these answers.
    AsDecided(Vec<Answer>),
    /// Not so: somebody else was there first. They were carried out anew.
    Anew(Carried),
}

impl Batcher {
    /// Writes what was decided in one transaction, or carries the same jobs out anew.
    pub(super) async fn write(&self, jobs: &[&Job], decisions: Decisions) -> Result<Written, DbError> {
        let mut tx = self.db.begin().await?;
        if !still_true(&mut tx, jobs, &decisions).await? {
            let carried = carry_out_anew(&mut tx, &self.clock, jobs).await?;
            tx.commit().await?;
            return Ok(Written::Anew(carried));
        }
        match save_all(&mut tx, &decisions).await {
            Ok(()) => tx.commit().await?,
            Err(error) if error.is_unique_violation() => {
                tx.rollback().await?;
                return Ok(Written::Anew(self.run_with_repetitions(jobs).await?));
            }
            Err(error) => return Err(error),
        }
        Ok(Written::AsDecided(decisions.answers))
    }
}

/// Locks the accounts; whether the decisions are those that would be made now.
async fn still_true(tx: &mut Tx, jobs: &[&Job], decisions: &Decisions) -> Result<bool, DbError> {
    if admit(tx, jobs).await?.contains(&Standing::Outsider) {
        return Ok(false);
    }
    let owners: Vec<OwnerId> = decisions.basis.keys().copied().collect();
    let stored: BTreeMap<OwnerId, Account> = accounts::lock(tx, &owners).await?.into_iter().collect();
    Ok(stored == decisions.basis && !a_refusal_repeats(tx, jobs, &decisions.answers).await?)
}

async fn save_all(tx: &mut Tx, decisions: &Decisions) -> Result<(), DbError> {
    if decisions.unsaved.is_empty() {
        return Ok(());
    }
    save::save(tx, &decisions.unsaved).await?;
    save::save_accounts(tx, &decisions.unsaved, &decisions.deadlines).await
}
