//! One batch: lock, load, decide, write.
//!
//! The choreography is the same for one request and for a thousand: every step is one statement
//! over all accounts of the batch, and steps that nothing in the batch needs are left out.

use std::collections::{BTreeSet, HashMap};

use bursar_db::{Db, DbError, Tx};
use bursar_id::{OwnerId, Role, UserId};
use bursar_members::{Word, standing, words};
use bursar_time::{Clock, Timestamp};

use super::load::{load, load_replays};
use super::save::{self, Unsaved};
use super::warm::Known;
use crate::domain::{Account, AccountState, Outcome, Refusal, Request, Roles, decide};
use crate::store::ledger;

/// One request to one account, and who must be a member for it to be carried out.
#[derive(Debug, Clone)]
pub struct Job {
    /// Whose account.
    pub owner: OwnerId,
    /// The user who must belong to the organization; `None` where nobody has to (operators,
    /// personal accounts, the program's own bookkeeping).
    pub member: Option<Spender>,
    /// The user who acts on what was made before, if it is a user: then that must be the user's own,
    /// or the user's role must manage.
    pub acting: Option<Acting>,
    /// Begins this period `[start, end)` first: what a subscription does when it begins or renews.
    pub period: Option<(Timestamp, Timestamp)>,
    /// What is asked.
    pub request: Request,
}

impl Job {
    /// A request that needs nobody's membership.
    pub fn new(owner: OwnerId, request: Request) -> Self {
        Self { owner, member: None, acting: None, period: None, request }
    }
}

/// A user who must belong to the organization whose credits are asked for.
#[derive(Debug, Clone, Copy)]
pub struct Spender {
    /// The user.
    pub user: UserId,
    /// What the user's access token says; `None` when a service names the user.
    pub token: Option<Word>,
}

/// A user who settles a hold or refunds a charge.
#[derive(Debug, Clone, Copy)]
pub struct Acting {
    /// The user.
    pub user: UserId,
    /// The roles that may ask for this at all.
    pub may: Roles,
    /// The roles that may act on what others made.
    pub manages: Roles,
}

/// What a job's spender is to the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// Not, or no longer, a member of the organization.
    Outsider,
    /// A member in this role.
    Member(Role),
    /// Nobody's membership is asked for.
    Unasked,
}

impl Standing {
    fn role(self) -> Option<Role> {
        match self {
            Self::Member(role) => Some(role),
            Self::Outsider | Self::Unasked => None,
        }
    }
}

/// Why a request was not carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The spender does not belong to the organization (any more).
    NotAMember,
    /// The user's role does not allow this.
    RoleNotAllowed,
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

/// What a batch came to.
pub(super) struct Carried {
    /// One answer for each job, in their order.
    pub(super) answers: Vec<Answer>,
    /// The accounts as the batch left them.
    pub(super) known: Vec<Known>,
}

/// Runs batches against the store.
#[derive(Clone)]
pub struct Batcher {
    pub(super) db: Db,
    pub(super) clock: Clock,
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
    pub(super) async fn run(&self, jobs: &[&Job]) -> Result<Carried, DbError> {
        match self.attempt(jobs, Repetitions::Unlikely).await {
            Ok(Some(carried)) => return Ok(carried),
            Ok(None) => {}
            Err(error) if error.is_unique_violation() => {}
            Err(error) => return Err(error),
        }
        self.run_with_repetitions(jobs).await
    }

    /// The same for a batch that is known to hold a repetition.
    pub(super) async fn run_with_repetitions(&self, jobs: &[&Job]) -> Result<Carried, DbError> {
        self.attempt(jobs, Repetitions::LookedUp).await?.ok_or_else(unexpected_repetition)
    }

    /// One transaction. `None` if a request that was refused turned out to be a repetition.
    async fn attempt(&self, jobs: &[&Job], repetitions: Repetitions) -> Result<Option<Carried>, DbError> {
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

fn unexpected_repetition() -> DbError {
    DbError::corrupt("a batch with all request ids looked up still met a repetition")
}

/// Carries the jobs out in a transaction that does more than this (a subscription and its
/// allowance begin together). The accounts stay locked until it ends.
pub(crate) async fn apply(tx: &mut Tx, clock: &Clock, jobs: &[&Job]) -> Result<Vec<Answer>, DbError> {
    Ok(carry_out_anew(tx, clock, jobs).await?.answers)
}

/// Carries the jobs out with every request id looked up.
pub(super) async fn carry_out_anew(tx: &mut Tx, clock: &Clock, jobs: &[&Job]) -> Result<Carried, DbError> {
    carry_out(tx, clock, jobs, Repetitions::LookedUp).await?.ok_or_else(unexpected_repetition)
}

async fn carry_out(
    tx: &mut Tx,
    clock: &Clock,
    jobs: &[&Job],
    repetitions: Repetitions,
) -> Result<Option<Carried>, DbError> {
    let admitted = admit(tx, jobs).await?;
    let allowed: Vec<&Job> = jobs
        .iter()
        .zip(&admitted)
        .filter(|(_, standing)| **standing != Standing::Outsider)
        .map(|(job, _)| *job)
        .collect();
    let owners: Vec<OwnerId> = allowed.iter().map(|job| job.owner).collect::<BTreeSet<_>>().into_iter().collect();
    let mut answers = Vec::with_capacity(jobs.len());
    let (mut states, now) = load(tx, clock, &owners, &allowed).await?;
    let stored = states.iter().map(|(owner, state)| (*owner, *state.account())).collect();
    if repetitions == Repetitions::LookedUp {
        load_replays(tx, &allowed, &mut states).await?;
    }
    for (job, standing) in jobs.iter().zip(admitted) {
        answers.push(match states.get_mut(&job.owner) {
            _ if standing == Standing::Outsider => Err(Refused::NotAMember),
            Some(state) => decide_one(state, job, standing.role(), now),
            None => Err(Refused::Failed),
        });
    }
    if repetitions == Repetitions::Unlikely && a_refusal_repeats(tx, jobs, &answers).await? {
        return Ok(None);
    }
    let known = write(tx, states, stored).await?;
    Ok(Some(Carried { answers, known }))
}

/// Writes what was decided and says how the accounts are stored now.
async fn write(
    tx: &mut Tx,
    mut states: HashMap<OwnerId, AccountState>,
    mut stored: HashMap<OwnerId, Account>,
) -> Result<Vec<Known>, DbError> {
    let mut unsaved: Vec<Unsaved> = states.values_mut().filter_map(Unsaved::of).collect();
    unsaved.sort_by_key(|it| it.changes.owner);
    save::save(tx, &unsaved).await?;
    let deadlines = save::deadlines(tx, states.values()).await?;
    save::save_accounts(tx, &unsaved, &deadlines).await?;
    stored.extend(unsaved.iter().map(|it| (it.changes.owner, it.changes.account)));
    let known = |(owner, state)| Some(Known::new(state, *stored.get(&owner)?, deadlines.get(&owner).copied()));
    Ok(states.into_iter().filter_map(known).collect())
}

/// Whether any request that the rules refused was carried out before: its first answer counts.
pub(super) async fn a_refusal_repeats(tx: &mut Tx, jobs: &[&Job], answers: &[Answer]) -> Result<bool, DbError> {
    let refused = jobs.iter().zip(answers).filter(|(_, answer)| matches!(answer, Err(Refused::Rule(_))));
    let keys: Vec<_> = refused.filter_map(|(job, _)| Some((job.owner, job.request.key.as_ref()?.as_str()))).collect();
    Ok(!keys.is_empty() && !ledger::by_key(tx, &keys).await?.is_empty())
}

/// For each job, what its spender is to the organization.
pub(super) async fn admit(tx: &mut Tx, jobs: &[&Job]) -> Result<Vec<Standing>, DbError> {
    let spenders: BTreeSet<(OwnerId, UserId)> =
        jobs.iter().filter_map(|job| job.member.map(|spender| (job.owner, spender.user))).collect();
    if spenders.is_empty() {
        return Ok(vec![Standing::Unasked; jobs.len()]);
    }
    let known = words::named(tx, &spenders.into_iter().collect::<Vec<_>>()).await?;
    let of = |job: &Job| {
        let Some(spender) = job.member else { return Standing::Unasked };
        let role = standing(known.get(&(job.owner, spender.user)).copied(), spender.token);
        role.map_or(Standing::Outsider, Standing::Member)
    };
    Ok(jobs.iter().map(|job| of(job)).collect())
}

/// Decides one job on what is loaded. `role` is the spender's; none on a personal account.
pub(super) fn decide_one(state: &mut AccountState, job: &Job, role: Option<Role>, now: Timestamp) -> Answer {
    permitted(state, job, role)?;
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

/// Whether the user who acts may do so: on its own work, or by its role on everybody's. (What does not
/// exist is nobody's, and the rules say so.)
fn permitted(state: &AccountState, job: &Job, role: Option<Role>) -> Result<(), Refused> {
    let Some(acting) = job.acting else {
        return Ok(());
    };
    let has = |roles: Roles| role.is_none_or(|role| roles.contains(role));
    let maker = state.maker_of(&job.request);
    let own = maker.is_none_or(|maker| maker == acting.user);
    if has(acting.may) && (own || has(acting.manages)) { Ok(()) } else { Err(Refused::RoleNotAllowed) }
}

/// Begins the period that contains `now`. Periods without a subscription follow one another month
/// by month; a subscription sets its own when it begins and renews.
pub(super) fn roll_period(state: &mut AccountState, now: Timestamp) {
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
