//! One batch: lock, load, decide, write.
//!
//! The choreography is the same for one request and for a thousand: every step is one statement
//! over all accounts of the batch, and steps that nothing in the batch needs are left out.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bursar_db::audit::{self, AuditRow};
use bursar_db::{Db, DbError, Tx};
use bursar_events::Outbox;
use bursar_id::OwnerId;
use bursar_jobs::Jobs;
use bursar_money::Credits;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::Publish as _;
use bursar_time::{Clock, Timestamp};

use super::audit_rows;
use super::job::{Answer, Job, Refused};
use super::known::Known;
use super::limits::events;
use super::load::{Loaded, Portion, load, load_replays, portion};
use super::rules::RulesHandle;
use super::top_ups;
use crate::domain::{Account, AccountState, Actor, Command, Outcome, Refusal, Request, RequestKey, Rules, decide};
use crate::store::ledger;
use crate::store::write::{self, Batch, Layout, Unsaved};

/// What a batch came to.
pub(super) struct Carried {
    /// One answer for each job, in their order; `None`: its account has to be carried out apart.
    pub(super) answers: Vec<Option<Answer>>,
    /// The accounts as the batch left them.
    pub(super) known: Vec<Known>,
}

/// What a batch is about to come to, and what tells of it when it does.
struct Told {
    carried: Carried,
    rows: Vec<AuditRow>,
    events: Vec<Payload>,
    /// Whether a job was enqueued with it.
    crossed: bool,
}

/// Runs batches against the store.
#[derive(Clone)]
pub struct Batcher {
    pub(super) db: Db,
    pub(super) clock: Clock,
    pub(super) rules: RulesHandle,
    pub(super) layout: Layout,
    /// Whether what many owners ask for may share a transaction.
    pub(super) combine: bool,
    /// Where alerts and audit rows are told; nowhere in tests that are about nothing of that.
    pub(super) outbox: Option<Outbox>,
    /// Where accounts are looked at that fell below what their top-up wants; likewise.
    pub(super) jobs: Option<Jobs>,
}

impl Batcher {
    /// A batcher on this store, by this clock, under these rules.
    pub fn new(db: Db, clock: Clock, rules: RulesHandle) -> Self {
        Self { db, clock, rules, layout: Layout::Together, combine: true, outbox: None, jobs: None }
    }

    /// The same, telling of alerts and audit rows by events of this outbox, which is in the same store.
    #[must_use]
    pub fn telling(self, outbox: Outbox) -> Self {
        Self { outbox: Some(outbox), ..self }
    }

    /// The same, having accounts looked at by these jobs, which are in the same store.
    #[must_use]
    pub fn topping_up(self, jobs: Jobs) -> Self {
        Self { jobs: Some(jobs), ..self }
    }

    /// Has those accounts looked at that fell below what their top-up wants; whether there are any.
    pub(super) async fn look_at_crossed(&self, tx: &mut Tx, unsaved: &[Unsaved]) -> Result<bool, DbError> {
        let Some(jobs) = &self.jobs else { return Ok(false) };
        let mut any = false;
        for owner in top_ups::crossed(unsaved) {
            top_ups::look(jobs, tx, owner, self.clock.now()).await?;
            any = true;
        }
        Ok(any)
    }

    /// Has the jobs done at once that were enqueued by what is committed now.
    pub(super) fn wake(&self, crossed: bool) {
        if let Some(jobs) = self.jobs.as_ref().filter(|_| crossed) {
            jobs.wake();
        }
    }

    /// Commits what was written together with its audit rows and the events that tell of both.
    pub(super) async fn commit(&self, mut tx: Tx, rows: &[AuditRow], mut events: Vec<Payload>) -> Result<(), DbError> {
        if !rows.is_empty() {
            audit::record_all(&mut tx, rows).await?;
            let told = |outbox: &Outbox| rows.iter().map(|row| outbox.audited(row)).collect::<Vec<_>>();
            events.extend(self.outbox.as_ref().map(told).unwrap_or_default());
        }
        match &self.outbox {
            Some(outbox) => outbox.commit(tx, events).await,
            None => tx.commit().await,
        }
    }

    /// The rules that hold now.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        self.rules.current()
    }

    /// The same for tables that are distributed by owner: each batch has one owner.
    #[must_use]
    pub fn distributed(self) -> Self {
        Self { layout: Layout::Distributed, ..self }
    }

    pub(super) fn is_distributed(&self) -> bool {
        self.layout == Layout::Distributed
    }

    /// Carries the jobs out in their order, in one transaction, and answers each.
    ///
    /// Nearly every request is new, so it first takes for granted that all are and leaves it to the
    /// ledger's unique index to object. Only a batch with a repetition in it is run again, with
    /// every request id looked up beforehand: that saves one index probe for each charge.
    pub(super) async fn run(&self, jobs: &[&Job]) -> Result<Carried, DbError> {
        match self.attempt(jobs, Repetitions::Unlikely).await {
            Ok(Some(carried)) => return Ok(carried),
            Ok(None) => {}
            Err(error) if error.is_unique_violation() => {}
            Err(error) => return Err(error),
        }
        self.run_with_repetitions(jobs).await
    }

    /// The same for a batch that may well hold a repetition.
    pub(super) async fn run_with_repetitions(&self, jobs: &[&Job]) -> Result<Carried, DbError> {
        self.attempt(jobs, Repetitions::LookedUp).await?.ok_or_else(unexpected_repetition)
    }

    /// Carries a job out in a transaction that does more than this (a subscription and its
    /// allowance begin together). The account stays locked until it ends.
    pub(crate) async fn apply(&self, tx: &mut Tx, job: &Job) -> Result<Answer, DbError> {
        while self.portion(tx, job.owner).await? {}
        let carried = carry_out(self, tx, &[job], Repetitions::LookedUp).await?;
        // What is booked this way takes nothing, so it alerts nobody, and is a part of what has an audit row of its own.
        let answer = carried.ok_or_else(unexpected_repetition)?.carried.answers.pop().flatten();
        Ok(answer.unwrap_or(Err(Refused::Unavailable)))
    }

    /// The same for jobs of several accounts, in their order; not to be asked where [`combines_owners`](Self::combines_owners) says no. `None` in the place of
    /// an answer: more is due in that account than is booked with others', and nothing was carried out for it.
    pub(crate) async fn apply_all(&self, tx: &mut Tx, jobs: &[Job]) -> Result<Vec<Option<Answer>>, DbError> {
        let jobs: Vec<&Job> = jobs.iter().collect();
        let carried = carry_out(self, tx, &jobs, Repetitions::LookedUp).await?;
        Ok(carried.ok_or_else(unexpected_repetition)?.carried.answers)
    }

    /// Whether one transaction may carry out what many owners ask for.
    pub(crate) fn combines_owners(&self) -> bool {
        !self.is_distributed() && self.combine
    }

    /// The same, with a transaction for each owner.
    #[must_use]
    pub fn uncombined(self) -> Self {
        Self { combine: false, ..self }
    }

    /// Books what is due in an account in portions, each in a transaction of its own, until what is left of it can be
    /// booked in one.
    pub(super) async fn catch_up(&self, owner: OwnerId) -> Result<(), DbError> {
        loop {
            let mut tx = self.db.begin().await?;
            let more = self.portion(&mut tx, owner).await?;
            tx.commit().await?;
            if !more {
                return Ok(());
            }
        }
    }

    /// Books a portion of what is due in an account, if it is in arrears: as it would have been booked when the last of
    /// it fell due.
    async fn portion(&self, tx: &mut Tx, owner: OwnerId) -> Result<bool, DbError> {
        let Some(portion) = portion(tx, &self.clock, &self.rules.current(), owner).await? else { return Ok(false) };
        let Portion { mut state, stored, until } = portion;
        let sweep = Request::unnamed(Command::Sweep);
        decide(&mut state, &sweep, &Actor::Job, until).map_err(|refusal| DbError::corrupt(refusal.to_string()))?;
        write(self, tx, HashMap::from([(owner, state)]), HashMap::from([(owner, stored)])).await?;
        Ok(true)
    }

    /// One transaction. `None` if a request that was refused turned out to be a repetition.
    async fn attempt(&self, jobs: &[&Job], repetitions: Repetitions) -> Result<Option<Carried>, DbError> {
        let mut tx = self.db.begin().await?;
        let decided = carry_out(self, &mut tx, jobs, repetitions).await?;
        let Some(Told { carried, rows, events, crossed }) = decided else { return Ok(None) };
        self.commit(tx, &rows, events).await?;
        self.wake(crossed);
        Ok(Some(carried))
    }
}

/// What is known of earlier requests when a batch is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repetitions {
    /// Nothing: an id that was used and is accepted again violates the ledger's unique index, and
    /// one that is refused is looked up before the refusal counts.
    Unlikely,
    /// Everything: each request id was looked up under the accounts' locks.
    LookedUp,
}

fn unexpected_repetition() -> DbError {
    DbError::corrupt("a batch with all request ids looked up still met a repetition")
}

async fn carry_out(
    batcher: &Batcher,
    tx: &mut Tx,
    jobs: &[&Job],
    repetitions: Repetitions,
) -> Result<Option<Told>, DbError> {
    let owners: Vec<OwnerId> = jobs.iter().map(|job| job.owner).collect::<BTreeSet<_>>().into_iter().collect();
    let (Loaded { mut states, in_arrears }, now) =
        load(tx, &batcher.clock, &batcher.rules.current(), &owners, jobs).await?;
    let stored: HashMap<OwnerId, Account> = states.iter().map(|(owner, state)| (*owner, *state.account())).collect();
    if repetitions == Repetitions::LookedUp {
        load_replays(tx, jobs, &mut states).await?;
    }
    let decided = jobs.iter().map(|job| match states.get_mut(&job.owner) {
        Some(state) => Some(decide_one(state, job, now)),
        None if in_arrears.contains(&job.owner) => None,
        None => Some(Err(Refused::Failed)),
    });
    let answers: Vec<Option<Answer>> = decided.collect();
    if repetitions == Repetitions::Unlikely {
        let refused = refused_keys(answered(jobs, &answers));
        if !refused.is_empty() && !ledger::by_key(tx, &refused).await?.is_empty() {
            return Ok(None);
        }
    }
    let rows = audit_rows::rows(answered(jobs, &answers), now);
    let (known, events, crossed) = write(batcher, tx, states, stored).await?;
    Ok(Some(Told { carried: Carried { answers, known }, rows, events, crossed }))
}

/// The jobs that were decided, each with its answer.
fn answered<'a>(
    jobs: &'a [&'a Job],
    answers: &'a [Option<Answer>],
) -> impl Iterator<Item = (&'a Job, &'a Answer)> + use<'a> {
    jobs.iter().zip(answers).filter_map(|(job, answer)| Some((*job, answer.as_ref()?)))
}

/// Decides one job on what is loaded.
pub(super) fn decide_one(state: &mut AccountState, job: &Job, now: Timestamp) -> Answer {
    decide(state, &job.request, &job.actor, now).map_err(|refusal| match refusal {
        Refusal::Inconsistent(flaw) => {
            tracing::error!(owner = %job.owner, %flaw, "an account contradicts itself");
            Refused::Failed
        }
        Refusal::RenewalDue => Refused::RenewalDue(Box::new(job.clone())),
        refusal => Refused::Rule(refusal),
    })
}

/// The names of requests that booked nothing, so that the ledger's index had nothing to object to: those that the rules
/// refused, and those that found a hold or lot to be as they want it. One that was carried out before is answered as it
/// was then, and another one under its name is refused.
pub(super) fn refused_keys<'a>(decided: impl Iterator<Item = (&'a Job, &'a Answer)>) -> Vec<(OwnerId, RequestKey)> {
    let booked_nothing = |answer: &Answer| match answer {
        Err(Refused::Rule(_) | Refused::RenewalDue(_)) => true,
        Ok(Outcome::Released(released)) => released.replayed,
        Ok(Outcome::Voided(voided)) => voided.replayed,
        _ => false,
    };
    let looked_up = decided.filter(|(_, answer)| booked_nothing(answer));
    looked_up.filter_map(|(job, _)| Some((job.owner, job.request.key()?))).collect()
}

/// Takes what is new of a state; `None` if nothing is.
pub(super) fn take_unsaved(state: &mut AccountState) -> Option<Unsaved> {
    let changes = state.take_changes();
    if changes.is_empty() {
        return None;
    }
    let with_something = state.lots().filter(|lot| lot.remaining > Credits::ZERO);
    let next_expiry = with_something.filter_map(|lot| lot.terms.expires_at).min();
    let next_due = [next_expiry, changes.account.next_lapse].into_iter().flatten().min();
    Some(Unsaved { changes, next_due })
}

/// Writes what was decided and says how the accounts are stored now, what is to be told of it, and whether any of them is to
/// be looked at.
async fn write(
    batcher: &Batcher,
    tx: &mut Tx,
    mut states: HashMap<OwnerId, AccountState>,
    mut stored: HashMap<OwnerId, Account>,
) -> Result<(Vec<Known>, Vec<Payload>, bool), DbError> {
    let mut unsaved: Vec<Unsaved> = states.values_mut().filter_map(take_unsaved).collect();
    unsaved.sort_by_key(|it| it.changes.owner);
    if !unsaved.is_empty() {
        let basis = unsaved.iter().filter_map(|it| Some((it.changes.owner, stored.get(&it.changes.owner)?)));
        let batch = Batch { basis: basis.collect(), unsaved: &unsaved };
        if !write::write(tx, batcher.layout, &batch).await? {
            return Err(DbError::corrupt("an account changed while it was locked"));
        }
    }
    let crossed = batcher.look_at_crossed(tx, &unsaved).await?;
    stored.extend(unsaved.iter().map(|it| (it.changes.owner, it.changes.account)));
    let known = |(owner, state)| Some(Known::new(state, stored.get(&owner)?));
    Ok((states.into_iter().filter_map(known).collect(), events(&unsaved), crossed))
}
