//! The turn of a month: whoever spends first after it finds the renewal done, or does it.
//!
//! The engine refuses to spend from an account whose renewal is due and not looked after; the request then comes here. Where
//! the renewal cannot be done at once, or its payment is open, whoever has asked for that, it is waited for a moment
//! ([`PATIENCE`], `RENEWAL_DUE`), and afterwards what the account has pays. One that was declined is not waited for, nor is one
//! whose allowance is there already (`grace.rs`).
//!
//! Whoever changes a subscription comes here as well ([`Wants::Terms`]), whatever its account has: what is said where the next
//! period is not there afterwards is `overdue.rs`'s to say.
//!
//! An account may stay due for long: held for an operator, suspended, or failing. It is looked at once in a moment ([`LOOKED_FOR`])
//! by one of its requests at a time, and nobody else's wait for that. A provider may be silent for much longer than anybody waits:
//! the look goes on without whoever began it, has the owner's turn until it ends, and meanwhile what the account has pays.

use std::collections::{BTreeSet, HashMap};
use std::pin::pin;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bursar_db::{Asker, Tx};
use bursar_id::OwnerId;
use bursar_time::{Span, Timestamp};
use futures::StreamExt as _;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::timeout;
use tracing::Instrument as _;

use super::dues::thing_after;
use super::renewals;
use super::subscriptions::SubscriptionUseCases;
use crate::domain::{Payment, Refusal, Subscription};
use crate::error::Error;
use crate::lane::{Answer, Job, Lanes, Refused};
use crate::store::{accounts, payments, subscriptions};

/// How long after the turn of the month somebody who spends is asked to come again.
const PATIENCE: Span = Span::SECOND;

/// How long a request waits for a provider that is asked for a renewal, for itself or for another one.
const WAIT: Duration = Duration::from_secs(1);

/// How many renewals are done at once for requests, whether these still wait or not.
const AT_ONCE: usize = 4_096;

/// For how long nobody waits for a renewal that was waited for in vain, unless it ends before: longer than a provider is asked.
const SILENT_FOR: Duration = Duration::from_mins(1);

/// How many renewals one batch of requests does side by side.
const SIDE_BY_SIDE: usize = 8;

/// For how long nobody looks again after an account that stays due: what it has pays meanwhile.
const LOOKED_FOR: Duration = Duration::from_secs(1);

/// How many accounts are remembered before those are forgotten that nobody looks after any more.
const REMEMBERED: usize = 1_024;

/// Who looks after whose renewal, and whose was looked after a moment ago and stays due.
pub(crate) struct Looks {
    all: std::sync::Mutex<HashMap<OwnerId, Look>>,
    places: Arc<Semaphore>,
}

impl Default for Looks {
    fn default() -> Self {
        Self { all: std::sync::Mutex::default(), places: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

#[derive(Default)]
struct Look {
    /// One request of the owner's looks after the renewal, and the others find it done.
    turn: Arc<Mutex<()>>,
    /// Somebody is at it: as long as that is so, whether anybody waits or not.
    at_work: bool,
    stays_due_until: Option<Instant>,
}

impl Looks {
    fn all(&self) -> MutexGuard<'_, HashMap<OwnerId, Look>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, owner: OwnerId, now: Instant) -> Arc<Mutex<()>> {
        let mut all = self.all();
        if all.len() >= REMEMBERED {
            all.retain(|_, look| Arc::strong_count(&look.turn) > 1 || look.stays_due_until.is_some_and(|it| now < it));
        }
        Arc::clone(&all.entry(owner).or_default().turn)
    }

    fn begins(&self, owner: OwnerId) {
        self.all().entry(owner).or_default().at_work = true;
    }

    /// Somebody has waited in vain. Nobody else does as long as the look goes on: its end is what counts then, and may have come.
    fn is_silent(&self, owner: OwnerId, now: Instant) {
        if let Some(look) = self.all().get_mut(&owner).filter(|look| look.at_work) {
            look.stays_due_until = Some(now + SILENT_FOR);
        }
    }

    /// A look has ended; the account stays due or does not.
    fn ends(&self, owner: OwnerId, stays_due_until: Option<Instant>) {
        let mut all = self.all();
        let look = all.entry(owner).or_default();
        (look.at_work, look.stays_due_until) = (false, stays_due_until);
    }

    fn stays_due(&self, owner: OwnerId, now: Instant) -> bool {
        self.all().get(&owner).and_then(|look| look.stays_due_until).is_some_and(|until| now < until)
    }
}

/// The lanes, with the renewals that their requests meet.
#[derive(Clone)]
pub(crate) struct Renewing {
    lanes: Lanes,
    renewals: Due,
}

/// For what a renewal is looked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    /// To spend: it is there once the account has what the period brings.
    Credits,
    /// To change the subscription: it is there once its period is.
    Terms,
}

/// Whatever is due of the owners who spend, or change what they have.
#[derive(Clone)]
pub(super) struct Due {
    subscriptions: SubscriptionUseCases,
    looks: Arc<Looks>,
}

impl Renewing {
    pub(crate) fn new(lanes: Lanes, subscriptions: SubscriptionUseCases) -> Self {
        Self { lanes, renewals: Due::of(subscriptions) }
    }

    /// Carries out one request.
    pub(crate) async fn one(&self, job: Job) -> Result<Answer, Error> {
        match self.lanes.one(job).await? {
            Err(Refused::RenewalDue(job)) => {
                self.renewals.renew(job.owner).await?;
                Ok(self.lanes.one(settled(*job)).await?)
            }
            answer => Ok(answer),
        }
    }

    /// Carries out many requests and answers in their order.
    pub(crate) async fn many(&self, jobs: Vec<Job>) -> Result<Vec<Answer>, Error> {
        let mut answers = self.lanes.many(jobs).await?;
        let due: Vec<(usize, Job)> = answers.iter().enumerate().filter_map(due).collect();
        if due.is_empty() {
            return Ok(answers);
        }
        let owners: BTreeSet<OwnerId> = due.iter().map(|(_, job)| job.owner).collect();
        let each = futures::stream::iter(owners).map(async |owner| (owner, self.renewals.renew(owner).await.is_ok()));
        let renewed: HashMap<OwnerId, bool> = each.buffer_unordered(SIDE_BY_SIDE).collect().await;
        let again = due.into_iter().filter(|(_, job)| renewed.get(&job.owner) == Some(&true));
        let (numbers, jobs): (Vec<usize>, Vec<Job>) = again.map(|(number, job)| (number, settled(job))).unzip();
        if !jobs.is_empty() {
            let told = self.lanes.many(jobs).await?;
            numbers.into_iter().zip(told).for_each(|(number, answer)| answers[number] = answer);
        }
        Ok(answers)
    }
}

impl Due {
    /// Beside everybody else who looks after renewals here.
    pub(super) fn of(subscriptions: SubscriptionUseCases) -> Self {
        Self { looks: Arc::clone(&subscriptions.looks), subscriptions }
    }

    /// Brings the subscription of an owner who spends up to date ([`Due::renew_for`]).
    async fn renew(&self, owner: OwnerId) -> Result<(), Error> {
        self.renew_for(owner, Wants::Credits).await
    }

    /// Brings an owner's subscription up to date, if it has one that is due. What its provider takes too long for goes on without
    /// whoever waits: then what the account has pays.
    ///
    /// # Errors
    /// It could not be done, or its payment is open, and its time has come only just now.
    pub(super) async fn renew_for(&self, owner: OwnerId, wants: Wants) -> Result<(), Error> {
        if self.looks.stays_due(owner, Instant::now()) {
            return Ok(());
        }
        let mut work = pin!(self.by_itself(owner, wants));
        loop {
            if let Ok(done) = timeout(WAIT, &mut work).await {
                return done;
            }
            // Whoever waits for our own store goes on waiting: it would spend a pack for nothing.
            if self.waits_for_the_provider(owner).await? {
                break;
            }
        }
        tracing::warn!(%owner, "a renewal's provider takes too long: what the account has pays meanwhile");
        self.in_grace(owner).await?;
        self.looks.is_silent(owner, Instant::now());
        Ok(())
    }

    /// Grants the month that waits for its payment, where the plan says so.
    async fn in_grace(&self, owner: OwnerId) -> Result<(), Error> {
        let Due { subscriptions: SubscriptionUseCases { till, cashier, .. }, .. } = self;
        let mut tx = till.db.begin().await?;
        if let Some(due) = subscriptions::live(&mut tx, owner).await?.filter(|it| it.is_due(till.clock.now())) {
            cashier.grant_in_grace(&mut tx, &due).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Whether it is a provider's answer that a renewal waits for.
    async fn waits_for_the_provider(&self, owner: OwnerId) -> Result<bool, Error> {
        let till = &self.subscriptions.till;
        if till.payments.pays_at_once() {
            return Ok(false);
        }
        if self.looks.places.available_permits() == 0 {
            // Nobody would get a place before it answers.
            return Ok(true);
        }
        let mut tx = till.db.read().await?;
        let Some(live) = subscriptions::live(&mut tx, owner).await? else { return Ok(false) };
        let last = payments::last_attempt(&mut tx, thing_after(&live)).await?;
        Ok(last.as_ref().is_some_and(Payment::is_open))
    }

    /// Looks after an owner's renewal when the turn comes, in a task that has the turn until it ends, whoever waits for it.
    async fn by_itself(&self, owner: OwnerId, wants: Wants) -> Result<(), Error> {
        let turn = self.looks.turn(owner, Instant::now()).lock_owned().await;
        let place = Arc::clone(&self.looks.places).acquire_owned().await;
        // Whoever waits for the turn may find that somebody has looked meanwhile.
        if self.looks.stays_due(owner, Instant::now()) {
            return Ok(());
        }
        self.looks.begins(owner);
        let due = self.clone();
        let work = async move {
            let _held = (place, turn);
            let looked = due.look_after(owner, wants).await;
            // A test clock lets an operator's word and what follows it happen in one moment.
            let stays_due = matches!(looked, Ok(Looked::StaysDue)) && !due.subscriptions.till.clock.is_test();
            due.looks.ends(owner, stays_due.then(|| Instant::now() + LOOKED_FOR));
            looked.map(drop)
        };
        // Behind no crowd of whoever asks, and with thousands of others that are due as few askers among many.
        let work = Asker::spread("renewals", &owner).scope(work);
        tokio::spawn(work.in_current_span()).await.map_err(|_| Error::Failed)?
    }

    async fn look_after(&self, owner: OwnerId, wants: Wants) -> Result<Looked, Error> {
        let till = &self.subscriptions.till;
        let now = till.clock.now();
        let mut tx = till.db.read().await?;
        if is_there(&mut tx, owner, (wants, now)).await? {
            // Somebody else has seen to it meanwhile.
            return Ok(Looked::Settled);
        }
        let live = subscriptions::live(&mut tx, owner).await?;
        tx.commit().await?;
        if let Some(due) = live.filter(|it| it.is_due(now)) {
            if renewals::is_held(&self.subscriptions, &due).await? {
                // The clock that says so may be wrong. Meanwhile what the account has pays.
                return Ok(Looked::StaysDue);
            }
            let fresh = is_fresh(&due, now);
            if let Err(error) = Box::pin(renewals::catch_up(&self.subscriptions, due)).await {
                tracing::warn!(%owner, %error, "a renewal that somebody waits for failed");
                // Somebody else may have renewed it, or it was granted before its payment, which nobody waits for.
                if is_there(&mut till.db.read().await?, owner, (wants, now)).await? {
                    return Ok(Looked::Settled);
                }
                return if fresh { Err(Refusal::RenewalDue.into()) } else { Ok(Looked::StaysDue) };
            }
        }
        let mut tx = till.db.read().await?;
        let live = subscriptions::live(&mut tx, owner).await?;
        if live.as_ref().is_some_and(|it| it.is_due(now)) {
            // It may not be renewed now, or somebody else is at it.
            return Ok(Looked::StaysDue);
        }
        if live.as_ref().is_some_and(Subscription::may_be_in_grace) {
            let renews_at = accounts::find(&mut tx, owner).await?.and_then(|account| account.renews_at);
            if renews_at.is_some_and(|renewal| now < renewal) {
                // What is not paid yet is there.
                return Ok(Looked::Settled);
            }
        }
        if let Some(unpaid) = live
            && self.is_awaited(&mut tx, &unpaid).await?
        {
            return Err(Refusal::RenewalDue.into());
        }
        tx.commit().await?;
        // Where nothing renews it (any more), nobody needs to. Of what somebody else has renewed meanwhile the next time stays.
        let mut tx = till.db.begin().await?;
        accounts::no_renewal(&mut tx, owner, now).await?;
        tx.commit().await?;
        Ok(Looked::Settled)
    }

    /// Whether the payment of a month that has begun only just now is open: it may be paid at any moment. By the time as it is
    /// then: a provider may have been asked meanwhile.
    async fn is_awaited(&self, tx: &mut Tx, from: &Subscription) -> Result<bool, Error> {
        if !is_fresh(from, self.subscriptions.till.clock.now()) {
            return Ok(false);
        }
        let last = payments::last_attempt(tx, thing_after(from)).await?;
        Ok(last.as_ref().is_some_and(Payment::is_open))
    }
}

/// Whether there is what was due and is wanted, or nothing is due.
async fn is_there(tx: &mut Tx, owner: OwnerId, (wants, now): (Wants, Timestamp)) -> Result<bool, Error> {
    if wants == Wants::Terms {
        // Of a plan without credits, and where they came before their payment, the account says nothing.
        return Ok(subscriptions::live(tx, owner).await?.is_none_or(|it| !it.is_due(now)));
    }
    let renews_at = accounts::find(tx, owner).await?.and_then(|account| account.renews_at);
    Ok(renews_at.is_none_or(|renewal| now < renewal))
}

/// Whether a subscription's month has ended only just now.
pub(super) fn is_fresh(from: &Subscription, now: Timestamp) -> bool {
    (from.month.end..from.month.end.saturating_add(PATIENCE)).contains(&now)
}

/// What became of a renewal that somebody looked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Looked {
    /// It is done, or nothing is due.
    Settled,
    /// It may not be done now, or could not be: what the account has pays.
    StaysDue,
}

fn due((number, answer): (usize, &Answer)) -> Option<(usize, Job)> {
    match answer {
        Err(Refused::RenewalDue(job)) => Some((number, Job::clone(job))),
        _ => None,
    }
}

fn settled(job: Job) -> Job {
    Job { request: job.request.with_renewal_settled(), ..job }
}

#[cfg(test)]
mod tests;
