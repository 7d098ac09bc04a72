//! One batch: lock, load, decide, write.
//!
//! The choreography is the same for one request and for a thousand: every step is one statement
//! over all accounts of the batch, and steps that nothing in the batch needs are left out.

use std::collections::{BTreeSet, HashMap};

use bursar_db::{Db, DbError, Tx};
use bursar_id::{ChargeId, HoldId, LotId, OwnerId, UserId};
use bursar_money::Credits;
use bursar_time::{Clock, Timestamp};

use crate::domain::{
    AccountState, Changes, Charge, Inconsistent, Membership, OperationId, Outcome, Refusal, Request, decide, standing,
};
use crate::store::{accounts, holds, ledger, lots, members, usage};

/// One request to one account, and who must be a member for it to be carried out.
#[derive(Debug, Clone)]
pub struct Job {
    /// Whose account.
    pub owner: OwnerId,
    /// The user who must belong to the organization; `None` where nobody has to (operators,
    /// personal accounts, the program's own bookkeeping).
    pub member: Option<Spender>,
    /// Begins this period `[start, end)` first: what a subscription does when it begins or renews.
    pub period: Option<(Timestamp, Timestamp)>,
    /// What is asked.
    pub request: Request,
}

impl Job {
    /// A request that needs nobody's membership.
    pub fn new(owner: OwnerId, request: Request) -> Self {
        Self { owner, member: None, period: None, request }
    }
}

/// A user who must belong to the organization whose credits are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Spender {
    /// The user.
    pub user: UserId,
    /// What the user's access token says; `None` when a service names the user.
    pub token: Option<Membership>,
}

/// Why a request was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The spender does not belong to the organization (any more).
    NotAMember,
    /// The credit rules say no.
    Rule(Refusal),
    /// This part of a batch found no room in its lane's queue.
    Overloaded,
    /// The database cannot be reached; whether the request took effect, its id will tell.
    Unavailable,
    /// The request cannot be written, or its account is damaged. Logged where it happened.
    Failed,
}

/// What became of one request.
pub type Answer = Result<Outcome, Refused>;

/// Runs batches against the store.
#[derive(Clone)]
pub struct Batcher {
    db: Db,
    clock: Clock,
}

impl Batcher {
    /// A batcher on this store, by this clock.
    pub fn new(db: Db, clock: Clock) -> Self {
        Self { db, clock }
    }

    /// Carries the jobs out in their order, in one transaction, and answers each.
    ///
    /// Nearly every request is new, so it first takes for granted that all are and leaves it to the
    /// ledger's unique index to object. Only a batch with a repetition in it is run again, with
    /// every request id looked up beforehand: that saves one index probe for each charge.
    pub(crate) async fn run(&self, jobs: &[&Job]) -> Result<Vec<Answer>, DbError> {
        match self.attempt(jobs, Repetitions::Unlikely).await {
            Ok(Some(answers)) => return Ok(answers),
            Ok(None) => {}
            Err(error) if error.is_unique_violation() => {}
            Err(error) => return Err(error),
        }
        let answers = self.attempt(jobs, Repetitions::LookedUp).await?;
        answers.ok_or_else(|| DbError::corrupt("a batch with all request ids looked up still met a repetition"))
    }

    /// One transaction. `None` if a request that was refused turned out to be a repetition.
    async fn attempt(&self, jobs: &[&Job], repetitions: Repetitions) -> Result<Option<Vec<Answer>>, DbError> {
        let mut tx = self.db.begin().await?;
        let decided = carry_out(&mut tx, &self.clock, jobs, repetitions).await?;
        if decided.is_some() {
            tx.commit().await?;
        }
        Ok(decided)
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

/// Carries the jobs out in a transaction that does more than this (a subscription and its
/// allowance begin together). The accounts stay locked until it ends.
pub(crate) async fn apply(tx: &mut Tx, clock: &Clock, jobs: &[&Job]) -> Result<Vec<Answer>, DbError> {
    let decided = carry_out(tx, clock, jobs, Repetitions::LookedUp).await?;
    decided.ok_or_else(|| DbError::corrupt("a batch with all request ids looked up still met a repetition"))
}

async fn carry_out(
    tx: &mut Tx,
    clock: &Clock,
    jobs: &[&Job],
    repetitions: Repetitions,
) -> Result<Option<Vec<Answer>>, DbError> {
    let admitted = admit(tx, jobs).await?;
    let allowed: Vec<&Job> =
        jobs.iter().zip(&admitted).filter(|(_, admitted)| **admitted).map(|(job, _)| *job).collect();
    let owners: Vec<OwnerId> = allowed.iter().map(|job| job.owner).collect::<BTreeSet<_>>().into_iter().collect();
    let mut answers = Vec::with_capacity(jobs.len());
    let (mut states, now) = load(tx, clock, &owners, &allowed).await?;
    if repetitions == Repetitions::LookedUp {
        load_replays(tx, &allowed, &mut states).await?;
    }
    for (job, admitted) in jobs.iter().zip(admitted) {
        answers.push(match states.get_mut(&job.owner) {
            _ if !admitted => Err(Refused::NotAMember),
            Some(state) => decide_one(state, job, now),
            None => Err(Refused::Failed),
        });
    }
    if repetitions == Repetitions::Unlikely && a_refusal_repeats(tx, jobs, &answers).await? {
        return Ok(None);
    }
    save(tx, &mut states).await?;
    Ok(Some(answers))
}

/// Whether any request that the rules refused was carried out before: its first answer counts.
async fn a_refusal_repeats(tx: &mut Tx, jobs: &[&Job], answers: &[Answer]) -> Result<bool, DbError> {
    let refused = jobs.iter().zip(answers).filter(|(_, answer)| matches!(answer, Err(Refused::Rule(_))));
    let keys: Vec<_> = refused.filter_map(|(job, _)| Some((job.owner, job.request.key.as_ref()?.as_str()))).collect();
    Ok(!keys.is_empty() && !ledger::by_key(tx, &keys).await?.is_empty())
}

/// For each job, whether its spender belongs to the organization.
async fn admit(tx: &mut Tx, jobs: &[&Job]) -> Result<Vec<bool>, DbError> {
    let spenders: BTreeSet<(OwnerId, UserId)> =
        jobs.iter().filter_map(|job| job.member.map(|spender| (job.owner, spender.user))).collect();
    if spenders.is_empty() {
        return Ok(vec![true; jobs.len()]);
    }
    let known = members::named(tx, &spenders.into_iter().collect::<Vec<_>>()).await?;
    let belongs = |job: &Job| {
        job.member
            .is_none_or(|spender| standing(known.get(&(job.owner, spender.user)).copied(), spender.token).is_some())
    };
    Ok(jobs.iter().map(|job| belongs(job)).collect())
}

fn decide_one(state: &mut AccountState, job: &Job, now: Timestamp) -> Answer {
    roll_period(state, now);
    let booked = state.account().head.seq;
    let decided = decide(state, &job.request, now);
    // Not for a repetition: a late one must not set the period back.
    if let (Some((start, end)), Ok(_)) = (job.period, &decided)
        && state.account().head.seq > booked
    {
        state.enter_period(start, end);
    }
    decided.map_err(|refusal| match refusal {
        Refusal::Inconsistent(flaw) => {
            tracing::error!(owner = %job.owner, %flaw, "an account contradicts itself");
            Refused::Failed
        }
        refusal => Refused::Rule(refusal),
    })
}

/// Begins the period that contains `now`. Periods without a subscription follow one another month
/// by month; a subscription sets its own when it begins and renews.
fn roll_period(state: &mut AccountState, now: Timestamp) {
    let period = state.account().period;
    if now < period.end {
        return;
    }
    let mut months = 0;
    while period.end.add_months_anchored(months + 1) <= now {
        months += 1;
    }
    state.enter_period(period.end.add_months_anchored(months), period.end.add_months_anchored(months + 1));
}

/// Loads the accounts (opening the missing ones) and everything the jobs need. An account that
/// contradicts itself is left out: nothing more may be booked on top of it.
async fn load(
    tx: &mut Tx,
    clock: &Clock,
    owners: &[OwnerId],
    jobs: &[&Job],
) -> Result<(HashMap<OwnerId, AccountState>, Timestamp), DbError> {
    if owners.is_empty() {
        return Ok((HashMap::new(), clock.now()));
    }
    let mut rows = accounts::lock(tx, owners).await?;
    if rows.len() < owners.len() {
        let opened_at = clock.now();
        let month = opened_at.start_of_month();
        accounts::open(tx, owners, opened_at, (month, month.add_months_anchored(1))).await?;
        rows = accounts::lock(tx, owners).await?;
    }
    // One time for the whole batch, taken under the locks: what is overdue is what is loaded.
    let now = clock.now();
    let holding: Vec<OwnerId> =
        rows.iter().filter(|(_, account)| account.held > Credits::ZERO).map(|(owner, _)| *owner).collect();
    let mut live: HashMap<OwnerId, Vec<_>> = HashMap::with_capacity(owners.len());
    for (owner, lot) in lots::live(tx, owners).await? {
        live.entry(owner).or_default().push(lot);
    }
    let mut states = HashMap::with_capacity(owners.len());
    for (owner, account) in rows {
        match AccountState::new(owner, account, live.remove(&owner).unwrap_or_default()) {
            Ok(state) => drop(states.insert(owner, state)),
            Err(flaw) => tracing::error!(%owner, %flaw, "an account contradicts itself"),
        }
    }
    load_holds(tx, now, &holding, jobs, &mut states).await?;
    load_charges(tx, jobs, &mut states).await?;
    load_lots(tx, jobs, &mut states).await?;
    Ok((states, now))
}

/// What the jobs need of one kind, each once, in a stable order.
fn needed<T: Ord>(jobs: &[&Job], of: impl Fn(&Request) -> Option<T>) -> Vec<(OwnerId, T)> {
    let named: BTreeSet<_> = jobs.iter().filter_map(|job| Some((job.owner, of(&job.request)?))).collect();
    named.into_iter().collect()
}

async fn load_replays(tx: &mut Tx, jobs: &[&Job], states: &mut HashMap<OwnerId, AccountState>) -> Result<(), DbError> {
    let keys: Vec<_> = jobs.iter().filter_map(|job| Some((job.owner, job.request.key.as_ref()?.as_str()))).collect();
    if keys.is_empty() {
        return Ok(());
    }
    for (owner, entry) in ledger::by_key(tx, &keys).await? {
        if let Some(state) = states.get_mut(&owner) {
            state.load_replay(entry.into());
        }
    }
    Ok(())
}

/// Holds that are overdue or named, with the lots they are earmarked on.
async fn load_holds(
    tx: &mut Tx,
    now: Timestamp,
    holding: &[OwnerId],
    jobs: &[&Job],
    states: &mut HashMap<OwnerId, AccountState>,
) -> Result<(), DbError> {
    let named: Vec<(OwnerId, HoldId)> = needed(jobs, |request| request.needs().hold);
    let mut found = if named.is_empty() { Vec::new() } else { holds::named(tx, &named).await? };
    if !holding.is_empty() {
        found.extend(holds::overdue(tx, holding, now).await?);
    }
    let lots = found.iter().flat_map(|(owner, hold)| hold.earmarks.iter().map(|earmark| (*owner, earmark.lot)));
    load_missing_lots(tx, lots.collect(), states).await?;
    for (owner, hold) in found {
        if let Some(state) = states.get_mut(&owner) {
            state.load_hold(hold);
        }
    }
    Ok(())
}

/// Charges that are to be refunded, with what was refunded of them and the lots that paid.
async fn load_charges(tx: &mut Tx, jobs: &[&Job], states: &mut HashMap<OwnerId, AccountState>) -> Result<(), DbError> {
    let named: Vec<(OwnerId, ChargeId)> = needed(jobs, |request| request.needs().charge);
    if named.is_empty() {
        return Ok(());
    }
    let charges = charges(tx, &named).await?;
    let lots = charges.iter().flat_map(|(owner, charge)| charge.allocations.iter().map(|it| (*owner, it.lot)));
    load_missing_lots(tx, lots.collect(), states).await?;
    for (owner, charge) in charges {
        if let Some(state) = states.get_mut(&owner) {
            state.load_charge(charge);
        }
    }
    Ok(())
}

/// Charges as they are now: each from its entry, less the refunds that name it.
pub(crate) async fn charges(tx: &mut Tx, named: &[(OwnerId, ChargeId)]) -> Result<Vec<(OwnerId, Charge)>, DbError> {
    let mut refunded: HashMap<(OwnerId, String), Credits> = HashMap::new();
    for (owner, refund) in ledger::refunds_of(tx, named).await? {
        let Some(charge) = refund.subject else {
            continue;
        };
        let sum = refunded.entry((owner, charge.to_string())).or_insert(Credits::ZERO);
        *sum = sum.checked_add(refund.amount).unwrap_or(Credits::MAX);
    }
    let entries = ledger::by_operation(tx, named).await?;
    Ok(entries
        .into_iter()
        .filter_map(|(owner, entry)| {
            let Some(OperationId::Charge(id)) = entry.id else {
                return None;
            };
            let refunded = refunded.get(&(owner, id.to_string())).copied().unwrap_or(Credits::ZERO);
            Some((owner, Charge::from_entry(&entry, refunded)?))
        })
        .collect())
}

async fn load_lots(tx: &mut Tx, jobs: &[&Job], states: &mut HashMap<OwnerId, AccountState>) -> Result<(), DbError> {
    let named: Vec<(OwnerId, LotId)> = needed(jobs, |request| request.needs().lot);
    load_missing_lots(tx, named.into_iter().collect(), states).await
}

/// Loads the lots that are not there with the live ones: used up, but still able to get something back.
async fn load_missing_lots(
    tx: &mut Tx,
    mut lots: BTreeSet<(OwnerId, LotId)>,
    states: &mut HashMap<OwnerId, AccountState>,
) -> Result<(), DbError> {
    lots.retain(|(owner, lot)| states.get(owner).is_some_and(|state| state.lot(*lot).is_none()));
    if lots.is_empty() {
        return Ok(());
    }
    for (owner, lot) in lots::named(tx, &lots.into_iter().collect::<Vec<_>>()).await? {
        if let Some(state) = states.get_mut(&owner) {
            state.load_lot(lot);
        }
    }
    Ok(())
}

/// Writes what was decided: one statement per table.
async fn save(tx: &mut Tx, states: &mut HashMap<OwnerId, AccountState>) -> Result<(), DbError> {
    let mut changes: Vec<Changes> = Vec::with_capacity(states.len());
    for state in states.values_mut() {
        let change = state.take_changes();
        if !change.is_empty() {
            changes.push(change);
        }
    }
    if changes.is_empty() {
        return Ok(());
    }
    changes.sort_by_key(|change| change.owner);
    let entries: Vec<_> =
        changes.iter().flat_map(|it| it.entries.iter().map(|entry| (it.owner, entry.as_ref()))).collect();
    ledger::append(tx, &entries).await?;
    let touched = |it: &'_ Changes| it.lots_inserted.iter().chain(&it.lots_updated).cloned().collect::<Vec<_>>();
    let lots: Vec<_> = changes.iter().flat_map(|it| touched(it).into_iter().map(|lot| (it.owner, lot))).collect();
    lots::save(tx, &lots.iter().map(|(owner, lot)| (*owner, lot)).collect::<Vec<_>>()).await?;
    let holds: Vec<_> = changes
        .iter()
        .flat_map(|it| it.holds_inserted.iter().chain(&it.holds_updated).map(|hold| (it.owner, hold)))
        .collect();
    holds::save(tx, &holds).await?;
    let deltas: Vec<_> = changes.iter().flat_map(|it| it.usage.iter().map(|delta| (it.owner, delta))).collect();
    usage::add(tx, &deltas).await?;
    let due = next_due(tx, &changes, states).await?;
    let rows: Vec<_> = changes
        .iter()
        .map(|it| accounts::SavedAccount {
            owner: it.owner,
            account: it.account,
            next_due: due.get(&it.owner).copied(),
        })
        .collect();
    accounts::save(tx, &rows).await
}

/// When each changed account next has something to book: a lot that expires or a hold that lapses.
async fn next_due(
    tx: &mut Tx,
    changes: &[Changes],
    states: &HashMap<OwnerId, AccountState>,
) -> Result<HashMap<OwnerId, Timestamp>, DbError> {
    let holding: Vec<OwnerId> =
        changes.iter().filter(|it| it.account.held > Credits::ZERO).map(|it| it.owner).collect();
    let mut due = if holding.is_empty() { HashMap::new() } else { holds::next_deadlines(tx, &holding).await? };
    for change in changes {
        let live = states.get(&change.owner).into_iter().flat_map(AccountState::lots);
        let expiries = live.filter(|lot| lot.remaining > Credits::ZERO).filter_map(|lot| lot.expires_at);
        if let Some(expiry) = expiries.min() {
            let at = due.entry(change.owner).or_insert(expiry);
            *at = expiry.min(*at);
        }
    }
    Ok(due)
}

/// The account as it stands at `now`, for readers: whatever has fallen due counts as booked, though
/// nothing is written. `None` when the owner has no account yet.
pub(crate) async fn view(tx: &mut Tx, owner: OwnerId, now: Timestamp) -> Result<Option<AccountState>, DbError> {
    let Some(account) = accounts::find(tx, owner).await? else {
        return Ok(None);
    };
    let lots = lots::live(tx, &[owner]).await?.into_iter().map(|(_, lot)| lot).collect();
    let holding = account.held > Credits::ZERO;
    let damaged = |flaw: Inconsistent| DbError::corrupt(flaw.to_string());
    let mut states = HashMap::from([(owner, AccountState::new(owner, account, lots).map_err(damaged)?)]);
    if holding {
        let overdue = holds::overdue(tx, &[owner], now).await?;
        let earmarked = overdue.iter().flat_map(|(_, hold)| hold.earmarks.iter().map(|it| (owner, it.lot)));
        load_missing_lots(tx, earmarked.collect(), &mut states).await?;
        for (_, hold) in overdue {
            if let Some(state) = states.get_mut(&owner) {
                state.load_hold(hold);
            }
        }
    }
    Ok(states.remove(&owner).map(|mut state| {
        roll_period(&mut state, now);
        let sweep = Request::new(None, crate::domain::Command::Sweep);
        if let Err(refusal) = decide(&mut state, &sweep, now) {
            tracing::error!(%owner, %refusal, "an account contradicts itself");
        }
        state
    }))
}
