//! Deciding in memory while the batch before is still being written.
//!
//! A lane remembers how its last batches left their accounts. Charges, holds and grants of such
//! accounts are decided at once on what is remembered, and one statement then writes them all: it
//! locks the accounts, makes sure that each row still is what the decisions rest on, and appends.
//! Every booking moves an account's ledger head, and whatever else its requests are decided by (members,
//! policies, limits) raises its `terms`: so an equal row means that nobody else was there, and the decisions
//! are those that would be made under the lock. Otherwise (another replica, a subscription that began, a member
//! who left, a request id that was used before) nothing of them counts, and the same requests are carried out
//! by an ordinary batch. This is optimistic concurrency control (Kung and Robinson, 1981) with the account's row
//! as the version.
//!
//! What is remembered is bounded, and forgetting costs one load.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use bursar_db::DbError;
use bursar_db::audit::AuditRow;
use bursar_id::OwnerId;
use bursar_time::Timestamp;

use super::audit_rows;
use super::batch::{Batcher, Carried, decide_one, refused_keys};
use super::job::{Answer, Job, Refused, Submission};
use super::known::{Known, Warm};
use super::limits::events;
use super::top_ups;
use crate::domain::{Account, Command, RequestKey, Rules};
use crate::store::ledger;
use crate::store::write::{self, Batch, Unsaved};

/// Requests decided in memory, on their way into the store.
#[derive(Default)]
pub(super) struct Prepared {
    submissions: Vec<Submission>,
    answers: Vec<Answer>,
    /// What the audit log is told of them.
    rows: Vec<AuditRow>,
    /// The accounts decided on, each with the row that the decisions rest on.
    accounts: BTreeMap<OwnerId, (Account, Known)>,
}

impl Prepared {
    /// Whether these jobs can all be decided in memory, on top of what is prepared already.
    pub(super) fn can_decide(&self, jobs: &[Job], warm: &Warm, rules: &Arc<Rules>, now: Timestamp) -> bool {
        let known = |owner| self.accounts.get(&owner).map(|(_, known)| known).or_else(|| warm.get(owner));
        jobs.iter().all(|job| known(job.owner).is_some_and(|known| known.suffices_for(job, rules, now)))
    }

    /// Decides a submission that [`Prepared::can_decide`].
    pub(super) fn decide(&mut self, submission: Submission, warm: &mut Warm, now: Timestamp) {
        for job in &submission.jobs {
            if let Entry::Vacant(entry) = self.accounts.entry(job.owner)
                && let Some(known) = warm.take(job.owner)
            {
                entry.insert((known.stored, known));
            }
            let answer = match self.accounts.get_mut(&job.owner) {
                Some((_, known)) => decide_one(&mut known.state, job, now),
                None => Err(Refused::Failed),
            };
            self.rows.extend(audit_rows::row(job, &answer, now));
            self.answers.push(answer);
        }
        self.submissions.push(submission);
    }

    /// What was decided.
    pub(super) fn submissions(&self) -> &[Submission] {
        &self.submissions
    }

    /// Gives up what was decided: its accounts are forgotten, its submissions wait again.
    pub(super) fn undo(&mut self) -> Vec<Submission> {
        std::mem::take(self).submissions
    }

    /// Takes everything. From here on its accounts are remembered as they were decided.
    pub(super) fn take(&mut self, warm: &mut Warm) -> (Vec<Submission>, Decisions) {
        let Self { submissions, answers, rows, accounts } = std::mem::take(self);
        let unsaved = Vec::with_capacity(accounts.len());
        let mut decisions = Decisions { answers, rows, basis: BTreeMap::new(), unsaved };
        for (owner, (stored, mut known)) in accounts {
            decisions.basis.insert(owner, stored);
            decisions.unsaved.extend(known.take_unsaved());
            warm.keep(known);
        }
        (submissions, decisions)
    }
}

/// What was decided in memory.
pub(super) struct Decisions {
    answers: Vec<Answer>,
    /// What the audit log is told of them, as of when they were made.
    rows: Vec<AuditRow>,
    /// The rows that the decisions rest on.
    basis: BTreeMap<OwnerId, Account>,
    /// What must be written, in the order of owners.
    unsaved: Vec<Unsaved>,
}

impl Decisions {
    fn batch(&self) -> Batch<'_> {
        Batch { basis: self.basis.iter().map(|(owner, row)| (*owner, row)).collect(), unsaved: &self.unsaved }
    }
}

/// How requests decided in memory got into the store.
pub(super) enum Written {
    /// As they were decided: with these answers.
    AsDecided(Vec<Answer>),
    /// Not so: somebody else was there first. They were carried out by an ordinary batch.
    Redone(Carried),
}

impl Batcher {
    /// Writes what was decided in one transaction, or carries the same jobs out by an ordinary batch.
    pub(super) async fn write(&self, jobs: &[&Job], decisions: Decisions) -> Result<Written, DbError> {
        let refused = refused_keys(jobs.iter().copied().zip(&decisions.answers));
        match self.put(&refused, &decisions.batch(), &decisions.rows).await {
            Ok(true) => Ok(Written::AsDecided(decisions.answers)),
            Ok(false) => Ok(Written::Redone(self.run(jobs).await?)),
            Err(error) if error.is_unique_violation() => Ok(Written::Redone(self.run_with_repetitions(jobs).await?)),
            // The connection was lost, as when the server was restarted: nobody knows whether it took effect. What has a
            // name, or does nothing twice, can be asked again.
            Err(DbError::Unavailable(_)) if jobs.iter().all(|job| can_be_repeated(job)) => {
                Ok(Written::Redone(self.run_with_repetitions(jobs).await?))
            }
            Err(error) => Err(error),
        }
    }

    /// Writes the batch; `false` if its decisions do not count: an account is not as they rest on it, or one of the
    /// requests refused was carried out before and has its first answer.
    async fn put(
        &self,
        refused: &[(OwnerId, RequestKey)],
        batch: &Batch<'_>,
        rows: &[AuditRow],
    ) -> Result<bool, DbError> {
        let events = events(batch.unsaved);
        let nobody_crossed = top_ups::crossed(batch.unsaved).next().is_none();
        if refused.is_empty() && events.is_empty() && rows.is_empty() && nobody_crossed {
            return write::commit(&self.db, self.layout, batch).await;
        }
        let mut tx = self.db.begin().await?;
        let new = refused.is_empty() || ledger::by_key(&mut tx, refused).await?.is_empty();
        if new && write::write(&mut tx, self.layout, batch).await? {
            let crossed = self.look_at_crossed(&mut tx, batch.unsaved).await?;
            self.commit(tx, rows, events).await?;
            self.wake(crossed);
            return Ok(true);
        }
        tx.rollback().await?;
        Ok(false)
    }
}

fn can_be_repeated(job: &Job) -> bool {
    job.request.name.is_some() || matches!(job.request.command, Command::Release { .. } | Command::Sweep)
}
