//! Cancelling a subscription, and taking that back.
//!
//! | it is | at the period's end | now |
//! |---|---|---|
//! | `ACTIVE` | it is marked; the end of what is paid for ends it instead of renewing it (`renewals.rs`) | it ends, its allowance is void |
//! | `ACTIVE`, what was paid for is over | it ends: nothing of it was paid any more | the same |
//! | `PAST_DUE` | the same | the same |
//! | `INCOMPLETE` | it never begins: what is paid for it goes back | the same |
//!
//! Whatever is canceled gives up what waits to change it, and what ends what waits for its next period, in the same
//! transaction. A renewal that is under way either moves the subscription first, and the cancellation finds another
//! period than it has read, or finds it marked or ended, and its money goes back. Nothing is paid back otherwise, and no
//! pack is touched.

use bursar_db::Tx;
use bursar_id::OwnerId;
use bursar_proto::event::v1::event::Payload;
use bursar_rpc::{Answer, Asked, Done, Mutation};

use super::access::{self, Allowed};
use super::allowances;
use super::cashier::{Cashier, MOST_OPEN};
use super::contracts::Superseded;
use super::orders::enter;
use super::subscriptions::SubscriptionUseCases;
use crate::domain::{Actor, Command, Note, Payment, Refusal, Request, Subscription, SubscriptionState, VoidCommand};
use crate::error::Error;
use crate::lane::Job;
use crate::store::{accounts, payments, subscriptions};

/// When a subscription is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CancelAt {
    /// With the period that is paid for.
    PeriodEnd,
    /// At once.
    Now,
}

impl SubscriptionUseCases {
    /// Cancels the owner's subscription.
    pub(crate) async fn cancel(&self, owner: OwnerId, asked: &Asked<CancelAt>) -> Result<Answer<Subscription>, Error> {
        let standing = self.access.to(asked.caller(), owner).await;
        let mut m = self.mutations.begin(asked).await?;
        let done = self.cancel_in(&mut m, owner, asked, standing).await;
        let canceled = self.mutations.end(m, done).await?;
        self.cashier.jobs.wake();
        Ok(canceled)
    }

    async fn cancel_in(
        &self,
        m: &mut Mutation,
        owner: OwnerId,
        asked: &Asked<CancelAt>,
        standing: Result<Allowed, Error>,
    ) -> Result<Done<Subscription, Payload>, Error> {
        let Some(at) = open(m, owner, asked, standing).await? else { return Ok(Done::Replay) };
        // A payment's row is locked first, then the subscription's, then the account's, then a contract's.
        let mut superseded = Superseded::default();
        let waited = self.cashier.give_up_starts(m.tx(), owner, &mut superseded).await?;
        self.cashier.give_up_changes(m.tx(), owner, &mut superseded).await?;
        let actor = access::actor(asked.caller())?;
        let canceled = self.end_or_mark(m, owner, (*at, waited), actor).await?;
        self.cashier.put_off_superseded(m.tx(), owner, &superseded).await?;
        Ok(canceled)
    }

    /// Ends the owner's subscription, or marks it; `waited` was to be one.
    async fn end_or_mark(
        &self,
        m: &mut Mutation,
        owner: OwnerId,
        (at, waited): (CancelAt, Option<Subscription>),
        actor: Actor,
    ) -> Result<Done<Subscription, Payload>, Error> {
        let Some(live) = subscriptions::live(m.tx(), owner).await? else {
            let never_begun = waited.ok_or(Error::NoSubscription)?.ended(m.now());
            m.about(&never_begun.id);
            return Ok(Done::New(never_begun, Vec::new()));
        };
        m.about(&live.id);
        let goes_on = live.state == SubscriptionState::Active && (live.is_next_paid() || !live.is_due(m.now()));
        if at == CancelAt::PeriodEnd && goes_on {
            return mark(m, live.canceling(true)).await;
        }
        let ended = live.ended(m.now());
        self.cashier.give_up_dues(m.tx(), &live).await?;
        if !subscriptions::end(m.tx(), &ended).await? {
            return Err(overtaken(m, owner).await?);
        }
        self.void_allowance(m, &live, actor).await?;
        let event = self.ended(&ended)?;
        Ok(Done::New(ended, vec![event]))
    }

    /// Takes away what is left of the month's allowance, and the renewal that whoever spends would wait for.
    async fn void_allowance(&self, m: &mut Mutation, of: &Subscription, actor: Actor) -> Result<(), Error> {
        accounts::lock(m.tx(), &[of.owner]).await?;
        for lot in allowances::of_month(m.tx(), of.owner, of).await? {
            let command = Command::Void(VoidCommand { lot: lot.id, note: Note::parse("canceled").ok() });
            let request = Request::new(None, self.entropy.bytes(), command);
            allowances::void_rest(&self.till, m.tx(), &Job { owner: of.owner, actor, request }).await?;
        }
        Ok(accounts::no_renewal(m.tx(), of.owner, of.month.end).await?)
    }

    /// Has the owner's subscription go on that was to end with its period.
    pub(crate) async fn resume(&self, owner: OwnerId, asked: &Asked<()>) -> Result<Answer<Subscription>, Error> {
        let standing = self.access.to(asked.caller(), owner).await;
        let mut m = self.mutations.begin(asked).await?;
        let done = resume_in(&mut m, owner, asked, standing).await;
        self.mutations.end(m, done).await
    }
}

async fn resume_in(
    m: &mut Mutation,
    owner: OwnerId,
    asked: &Asked<()>,
    standing: Result<Allowed, Error>,
) -> Result<Done<Subscription, Payload>, Error> {
    if open(m, owner, asked, standing).await?.is_none() {
        return Ok(Done::Replay);
    }
    let live = subscriptions::live(m.tx(), owner).await?.ok_or(Error::NoSubscription)?;
    m.about(&live.id);
    if !live.cancel_at_period_end {
        return Err(Error::NotCanceled);
    }
    if live.is_due(m.now()) && !live.is_next_paid() {
        // It has ended with its period, whether or not that is written down yet.
        return Err(Error::NoSubscription);
    }
    mark(m, live.canceling(false)).await
}

/// The caller's standing, what was asked, and how the owner stands; `None` where it was answered before.
async fn open<'a, C>(
    m: &mut Mutation,
    owner: OwnerId,
    asked: &'a Asked<C>,
    standing: Result<Allowed, Error>,
) -> Result<Option<&'a C>, Error> {
    let Some((command, _)) = enter(m, owner, asked, standing).await? else { return Ok(None) };
    let account = accounts::find(m.tx(), owner).await?;
    let refusal = account.and_then(|account| Refusal::of_standing(owner, account.standing));
    refusal.map_or(Ok(Some(command)), |refusal| Err(refusal.into()))
}

/// Writes whether it ends with its period. Other services learn nothing: what the plan allows is as it was.
async fn mark(m: &mut Mutation, marked: Subscription) -> Result<Done<Subscription, Payload>, Error> {
    if !subscriptions::cancel(m.tx(), &marked).await? {
        return Err(overtaken(m, marked.owner).await?);
    }
    Ok(Done::New(marked, Vec::new()))
}

/// Why a subscription is not any more as it was read a moment ago: it was renewed, or has ended.
async fn overtaken(m: &mut Mutation, owner: OwnerId) -> Result<Error, Error> {
    let live = subscriptions::live(m.tx(), owner).await?;
    Ok(live.map_or(Error::NoSubscription, |_changed| Refusal::RenewalDue.into()))
}

impl Cashier {
    /// Nobody waits for the first payment of a subscription any more: what is paid of it goes back. Gives the latest of those
    /// that were waited for.
    async fn give_up_starts(
        &self,
        tx: &mut Tx,
        owner: OwnerId,
        superseded: &mut Superseded,
    ) -> Result<Option<Subscription>, Error> {
        let waiting = payments::waiting_starts(tx, owner, i64::from(MOST_OPEN)).await?;
        let given_up = self.give_up_these(tx, waiting, superseded).await?;
        Ok(given_up.iter().find_map(Subscription::incomplete))
    }

    /// Nobody waits for a change that is not paid any more: what is paid of it goes back.
    pub(super) async fn give_up_changes(
        &self,
        tx: &mut Tx,
        owner: OwnerId,
        superseded: &mut Superseded,
    ) -> Result<(), Error> {
        let waiting = payments::waiting_changes(tx, owner, i64::from(MOST_OPEN)).await?;
        self.give_up_these(tx, waiting, superseded).await.map(drop)
    }

    /// Nobody waits for these any more: what is paid of those that are open still goes back. Gives them, and notes which contracts
    /// were to begin with them.
    pub(super) async fn give_up_these(
        &self,
        tx: &mut Tx,
        waiting: Vec<Payment>,
        superseded: &mut Superseded,
    ) -> Result<Vec<Payment>, Error> {
        let mut given_up = Vec::new();
        for waited_for in waiting {
            if let Some(mut open) = payments::lock(tx, waited_for.id).await?.filter(Payment::is_open) {
                self.give_up(tx, &mut open, None).await?;
                superseded.note(&open);
                given_up.push(open);
            }
        }
        Ok(given_up)
    }
}

#[cfg(test)]
mod lives;
#[cfg(test)]
pub(super) mod tests;
