//! A transaction that several accounts share, and what comes of it when it fails.
//!
//! It fails as a whole, and most often because of one account: a row that cannot be read, that somebody else keeps locked,
//! a statement that takes too long. That account is found by halving the batch; it goes apart ([`super::aside`]), and the
//! others are carried out.

use std::collections::BTreeSet;
use std::time::Duration;

use bursar_db::DbError;
use bursar_id::OwnerId;
use tokio::time::Instant;

use super::batch::{Batcher, Carried};
use super::job::{Job, Refused};
use super::metrics::Decided;
use super::warm::{Decisions, Written};
use crate::store::accounts;

/// How long a transaction may take as we count, longer than the store lets one of its statements take (`run.rs`), whatever the store does: a host that is gone answers nothing.
const LIMIT: Duration = Duration::from_secs(10);

/// How long all the parts of a batch that failed may take together. Whoever was not tried until then may ask again.
pub(super) const ALL_PARTS: Duration = Duration::from_secs(15);

/// How a transaction ended.
pub(super) struct Ended {
    /// The answers, and the accounts to remember.
    pub(super) carried: Carried,
    /// Those of the accounts that have to be carried out apart which made it fail.
    pub(super) failed: BTreeSet<OwnerId>,
    /// How it was decided.
    pub(super) decided: Decided,
    /// Whether nobody answered in time: the connection is of no use any more.
    pub(super) lost: bool,
}

impl Ended {
    fn well(carried: Carried, decided: Decided) -> Self {
        Self { carried, failed: BTreeSet::new(), decided, lost: false }
    }

    /// The store cannot be reached: nobody knows what took effect.
    fn unreachable(jobs: &[&Job], decided: Decided, lost: bool) -> Self {
        let answers = vec![Some(Err(Refused::Unavailable)); jobs.len()];
        Self { carried: Carried { answers, known: Vec::new() }, failed: BTreeSet::new(), decided, lost }
    }
}

/// An ordinary batch.
pub(super) async fn carry_out(batcher: &Batcher, jobs: &[&Job]) -> Ended {
    // Its accounts were forgotten before, so nothing can have been decided on them.
    match tokio::time::timeout(LIMIT, batcher.run(jobs)).await {
        Ok(Ok(carried)) => Ended::well(carried, Decided::Store),
        Ok(Err(error)) => divided(batcher, jobs, error, Decided::Store).await,
        Err(_elapsed) => lost(jobs, Decided::Store),
    }
}

/// A batch whose decisions are made.
pub(super) async fn write(batcher: &Batcher, jobs: &[&Job], decisions: Decisions) -> Ended {
    match tokio::time::timeout(LIMIT, batcher.write(jobs, decisions)).await {
        Ok(Ok(Written::AsDecided(answers))) => {
            let answers = answers.into_iter().map(Some).collect();
            Ended::well(Carried { answers, known: Vec::new() }, Decided::Memory)
        }
        Ok(Ok(Written::Redone(carried))) => Ended::well(carried, Decided::Again),
        Ok(Err(error)) => divided(batcher, jobs, error, Decided::Again).await,
        Err(_elapsed) => lost(jobs, Decided::Again),
    }
}

fn lost(jobs: &[&Job], decided: Decided) -> Ended {
    tracing::warn!(requests = jobs.len(), "the store did not answer in time");
    Ended::unreachable(jobs, decided, true)
}

/// The batch failed: halves it until each part either is carried out or is one account's alone.
async fn divided(batcher: &Batcher, jobs: &[&Job], error: DbError, decided: Decided) -> Ended {
    let mut ended = Ended::unreachable(jobs, decided, false);
    let owners: BTreeSet<OwnerId> = jobs.iter().map(|job| job.owner).collect();
    tracing::warn!(requests = jobs.len(), accounts = owners.len(), %error, "a batch failed");
    if matches!(error, DbError::Unavailable(_) | DbError::Clock(_)) {
        return ended;
    }
    let mut parts = split(batcher, owners.into_iter().collect(), &error, &mut ended.failed).await;
    // Whoever is in no part is alone to blame.
    ended.carried.answers.fill(None);
    let mut gone = false;
    let until = Instant::now() + ALL_PARTS;
    while let Some(part) = parts.pop() {
        let numbers: Vec<usize> = (0..jobs.len()).filter(|it| part.binary_search(&jobs[*it].owner).is_ok()).collect();
        let theirs: Vec<&Job> = numbers.iter().map(|it| jobs[*it]).collect();
        let unreachable = || vec![Some(Err(Refused::Unavailable)); theirs.len()];
        // Once the store does not answer nobody is asked any more; what other parts were answered stands.
        gone |= Instant::now() >= until;
        let limit = until.min(Instant::now() + LIMIT);
        let asked = if gone { None } else { Some(tokio::time::timeout_at(limit, batcher.run(&theirs)).await) };
        let answers = match asked {
            Some(Ok(Ok(carried))) => {
                ended.carried.known.extend(carried.known);
                carried.answers
            }
            None => unreachable(),
            Some(Ok(Err(DbError::Unavailable(_)))) => {
                gone = true;
                unreachable()
            }
            Some(Ok(Err(error))) => {
                parts.extend(split(batcher, part, &error, &mut ended.failed).await);
                continue;
            }
            Some(Err(_elapsed)) => {
                (gone, ended.lost) = (true, true);
                unreachable()
            }
        };
        numbers.into_iter().zip(answers).for_each(|(number, answer)| ended.carried.answers[number] = answer);
    }
    ended
}

/// The parts of these accounts, in their order, that are to be tried next. Those that are left out go apart.
async fn split(
    batcher: &Batcher,
    mut owners: Vec<OwnerId>,
    error: &DbError,
    failed: &mut BTreeSet<OwnerId>,
) -> Vec<Vec<OwnerId>> {
    if let [owner] = *owners {
        // Where two met, neither is to blame.
        failed.extend((!matches!(error, DbError::Serialization)).then_some(owner));
        return Vec::new();
    }
    if matches!(error, DbError::Locked)
        && let Ok(Ok(locked)) = tokio::time::timeout(LIMIT, accounts::locked(&batcher.db, &owners)).await
        && !locked.is_empty()
    {
        owners.retain(|owner| !locked.contains(owner));
        failed.extend(locked);
        return if owners.is_empty() { Vec::new() } else { vec![owners] };
    }
    let second = owners.split_off(owners.len() / 2);
    vec![owners, second]
}
