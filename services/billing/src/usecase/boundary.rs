//! The turn of a month: whoever spends first after it finds the renewal done, or does it.
//!
//! The engine refuses to spend from an account whose renewal is due and not looked after; the request then comes here. Where
//! the renewal cannot be done at once it is waited for a moment ([`PATIENCE`], `RENEWAL_DUE`), and afterwards what the account
//! has pays.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bursar_id::OwnerId;
use bursar_time::Span;
use futures::StreamExt as _;
use tokio::sync::Mutex;

use super::renewals;
use super::subscriptions::SubscriptionUseCases;
use crate::domain::Refusal;
use crate::error::Error;
use crate::lane::{Answer, Job, Lanes, Refused, spread};
use crate::store::{accounts, subscriptions};

/// How long after the turn of the month somebody who spends is asked to come again.
const PATIENCE: Span = Span::SECOND;

/// How many renewals one batch of requests does side by side.
const SIDE_BY_SIDE: usize = 8;

/// Of how many owners the renewals may be looked after at a time.
const STRIPES: usize = 64;

/// The lanes, with the renewals that their requests meet.
#[derive(Clone)]
pub(crate) struct Renewing {
    lanes: Lanes,
    subscriptions: SubscriptionUseCases,
    /// One request of an owner's looks after the renewal, and the others find it done.
    turns: Arc<[Mutex<()>]>,
}

impl Renewing {
    pub(crate) fn new(lanes: Lanes, subscriptions: SubscriptionUseCases) -> Self {
        Self { lanes, subscriptions, turns: (0..STRIPES).map(|_| Mutex::default()).collect() }
    }

    /// Carries out one request.
    pub(crate) async fn one(&self, job: Job) -> Result<Answer, Error> {
        match self.lanes.one(job).await? {
            Err(Refused::RenewalDue(job)) => {
                self.renew(job.owner).await?;
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
        let each = futures::stream::iter(owners).map(async |owner| (owner, self.renew(owner).await.is_ok()));
        let renewed: HashMap<OwnerId, bool> = each.buffer_unordered(SIDE_BY_SIDE).collect().await;
        let again = due.into_iter().filter(|(_, job)| renewed.get(&job.owner) == Some(&true));
        let (numbers, jobs): (Vec<usize>, Vec<Job>) = again.map(|(number, job)| (number, settled(job))).unzip();
        if !jobs.is_empty() {
            let told = self.lanes.many(jobs).await?;
            numbers.into_iter().zip(told).for_each(|(number, answer)| answers[number] = answer);
        }
        Ok(answers)
    }

    /// Brings an owner's subscription up to date, if it has one that is due.
    ///
    /// # Errors
    /// It could not be done, and its time has come only just now.
    async fn renew(&self, owner: OwnerId) -> Result<(), Error> {
        let _turn = self.turns[spread(owner, STRIPES)].lock().await;
        let till = &self.subscriptions.till;
        let now = till.clock.now();
        let mut tx = till.db.read().await?;
        let renews_at = accounts::find(&mut tx, owner).await?.and_then(|account| account.renews_at);
        if renews_at.is_none_or(|renewal| now < renewal) {
            // Somebody else has seen to it meanwhile.
            return Ok(());
        }
        let live = subscriptions::live(&mut tx, owner).await?;
        tx.commit().await?;
        if let Some(due) = live.filter(|it| it.is_due(now)) {
            if renewals::is_held(&self.subscriptions, &due).await? {
                // It stays due: the clock that says so may be wrong. Meanwhile what the account has pays.
                return Ok(());
            }
            let fresh = now < due.month.end.saturating_add(PATIENCE);
            if let Err(error) = renewals::catch_up(&self.subscriptions, due).await {
                tracing::warn!(%owner, %error, "a renewal that somebody waits for failed");
                return if fresh { Err(Refusal::RenewalDue.into()) } else { Ok(()) };
            }
        }
        let mut tx = till.db.begin().await?;
        if subscriptions::live(&mut tx, owner).await?.is_some_and(|it| it.is_due(now)) {
            // It may not be renewed now, or somebody else is at it: who spends next looks again.
            return Ok(());
        }
        // Where nothing renews it (any more), nobody needs to.
        accounts::no_renewal(&mut tx, owner, now).await?;
        Ok(tx.commit().await?)
    }
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
