//! Renewals: when a subscription's month is over, the next one is paid and its allowance granted.
//!
//! Each month is one transaction that first moves the subscription on from the month before, so of
//! any number of replicas and attempts one succeeds, and the others find it done. A month's payment
//! and its lot have keys made of the subscription and the month's number. Run late, it goes through
//! the missed months one by one; each gets the lot it would have got, which has expired by then.
//!
//! But a clock that is wrong for a few seconds must not pay for a year. Where more than one month is missing, they are made
//! up for only if another clock says so, too (the database's; a test clock is meant), or an operator does ([`resume`]).
//! Until then the subscription is **held**: it stays as it is, and what the account has pays.
//!
//! Of an owner who is suspended nothing is renewed: the subscription stays due until that is over, and is then brought up to
//! date like any other.
//!
//! What is left of the old allowance expires by itself: expiry is a rule of spending, not a job.

use bursar_db::{Db, Engine, Tx};
use bursar_id::{OwnerId, SubscriptionId};
use bursar_money::Price;
use bursar_time::Timestamp;

use super::orders::Till;
use super::subscriptions::SubscriptionUseCases;
use crate::domain::{Actor, Refusal, Subscription};
use crate::error::Error;
use crate::lane::Job;
use crate::payment::{Payment, PaymentKey, PaymentMethod, Settlement};
use crate::store::subscriptions;

/// How many subscriptions are read at a time.
const PAGE: i64 = 200;

/// What a round has done.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Round {
    /// Months that were begun, and subscriptions that were ended.
    pub(crate) done: usize,
    /// Subscriptions that are still due.
    pub(crate) failed: usize,
    /// Those that are held.
    pub(crate) held: usize,
}

/// Brings every subscription that is due up to date, the longest overdue first. One that fails is left for the next
/// round and stops no other.
pub(crate) async fn round(subscriptions: &SubscriptionUseCases) -> Result<Round, Error> {
    let till = &subscriptions.till;
    let now = till.clock.now();
    let mut round = Round::default();
    let mut last: Option<Subscription> = None;
    loop {
        let due = subscriptions::due(&mut till.db.read().await?, now, last.as_ref(), PAGE).await?;
        for subscription in &due {
            if is_held(subscriptions, subscription).await? {
                round.held += 1;
                continue;
            }
            match catch_up(subscriptions, subscription.clone()).await {
                Ok(steps) => round.done += steps,
                Err(error) => {
                    round.failed += 1;
                    tracing::warn!(subscription = %subscription.id, %error, "a renewal failed; trying again");
                }
            }
        }
        match due.into_iter().last() {
            Some(newest) => last = Some(newest),
            None => return Ok(round),
        }
    }
}

/// Whether a subscription waits for an operator: see the module.
pub(super) async fn is_held(subscriptions: &SubscriptionUseCases, subscription: &Subscription) -> Result<bool, Error> {
    let till = &subscriptions.till;
    if !subscription.is_held(till.clock.now()) || has_another_clock(till) {
        return Ok(false);
    }
    is_not_resumed(&mut till.db.read().await?, subscription).await
}

/// Whether no operator has said that its time has really passed.
async fn is_not_resumed(tx: &mut Tx, subscription: &Subscription) -> Result<bool, Error> {
    let until = subscriptions::resumed_until(tx, subscription).await?;
    Ok(until.is_none_or(|until| until < subscription.month.end))
}

/// Whether more than this machine's clock says what time it is: the database's does, or nobody would be served.
fn has_another_clock(till: &Till) -> bool {
    till.clock.is_test() || till.db.engine() == Engine::Postgres
}

/// What waits for an operator, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRenewal {
    /// Whose it is.
    pub owner: OwnerId,
    /// The subscription.
    pub subscription: SubscriptionId,
    /// Since when it is due.
    pub since: Timestamp,
    /// How many periods are missing.
    pub periods: u32,
}

/// The subscriptions that are more than one period behind at `now` and are not resumed, the longest overdue first; `most`
/// of them at most.
///
/// # Errors
/// The store failed.
pub async fn held(db: &Db, now: Timestamp, most: usize) -> Result<Vec<HeldRenewal>, Error> {
    let (mut found, mut last) = (Vec::new(), None);
    // There the database's clock says what time it is: nothing waits.
    if db.engine() == Engine::Postgres {
        return Ok(found);
    }
    let mut tx = db.read().await?;
    loop {
        let due = subscriptions::due(&mut tx, now, last.as_ref(), PAGE).await?;
        for it in due.iter().filter(|it| it.is_held(now)) {
            if is_not_resumed(&mut tx, it).await? {
                let (owner, subscription, since) = (it.owner, it.id, it.month.end);
                found.push(HeldRenewal { owner, subscription, since, periods: it.months_behind(now) });
            }
            if found.len() == most {
                return Ok(found);
            }
        }
        match due.into_iter().last() {
            Some(newest) => last = Some(newest),
            None => return Ok(found),
        }
    }
}

/// Says that the time has really passed: whatever is due at `now`, of one owner or of everybody, is made up for by the
/// programs that run. Returns of how many subscriptions.
///
/// # Errors
/// The store failed.
pub async fn resume(db: &Db, owner: Option<OwnerId>, now: Timestamp) -> Result<u64, Error> {
    let mut tx = db.begin().await?;
    let resumed = subscriptions::resume(&mut tx, owner, now).await?;
    tx.commit().await?;
    Ok(resumed)
}

/// Renews one subscription month by month until it is not due any more, or held.
pub(super) async fn catch_up(
    subscriptions: &SubscriptionUseCases,
    mut subscription: Subscription,
) -> Result<usize, Error> {
    let mut steps = 0;
    while subscription.is_due(subscriptions.till.clock.now()) && !is_held(subscriptions, &subscription).await? {
        let Some(next) = step(subscriptions, &subscription).await? else {
            // Somebody else is at it.
            break;
        };
        subscription = next;
        steps += 1;
    }
    Ok(steps)
}

/// One month: pays it and begins it, or ends the subscription when the payment is declined or the account may have no credits
/// any more in this deployment. `None` if somebody else did.
async fn step(subscriptions: &SubscriptionUseCases, from: &Subscription) -> Result<Option<Subscription>, Error> {
    let till = &subscriptions.till;
    match till.may_sell_to(&mut till.db.read().await?, from.owner).await {
        Ok(()) => {}
        // Whoever is suspended renews nothing; what is due is caught up with once that is over.
        Err(Error::Refused(refusal)) if passes(&refusal) => return Ok(None),
        // Nobody pays for what could not be spent.
        Err(Error::Refused(_)) => return end(subscriptions, from).await,
        Err(error) => return Err(error),
    }
    let method = PaymentMethod::from_stored(from.payment_method.clone());
    match pay(subscriptions, from, from.price, &method) {
        Settlement::Paid { reference } => renew(subscriptions, from, reference).await,
        Settlement::Declined { .. } => end(subscriptions, from).await,
    }
}

/// Whether an owner may become active again to whom nothing is sold now.
fn passes(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::OrganizationSuspended | Refusal::UserSuspended | Refusal::OrganizationPending)
}

/// Takes the payment of the month after `from`'s.
fn pay(subscriptions: &SubscriptionUseCases, from: &Subscription, amount: Price, method: &PaymentMethod) -> Settlement {
    let key = PaymentKey::of(&format!("{}:{}", from.id, from.next_month().number));
    subscriptions.till.payments.pay(&Payment { key, amount, method })
}

async fn renew(
    subscriptions: &SubscriptionUseCases,
    from: &Subscription,
    reference: String,
) -> Result<Option<Subscription>, Error> {
    let renewed = from.renewed(reference);
    let mut tx = subscriptions.till.db.begin().await?;
    if !subscriptions::renew(&mut tx, &renewed, from.month.number).await? {
        return Ok(None);
    }
    if let Err(refused) = subscriptions.till.demand_sale_to(&mut tx, renewed.owner).await {
        // Suspended or deleted since it was paid; where the store failed, the same payment is asked for again.
        if matches!(refused, Error::Refused(_)) {
            subscriptions.till.payments.give_back(&renewed.payment_reference);
        }
        return Err(refused);
    }
    let request = subscriptions.allowance(&renewed)?;
    let job = Job { owner: renewed.owner, actor: Actor::Job, request };
    subscriptions.till.book(&mut tx, &job).await?;
    tx.commit().await?;
    Ok(Some(renewed))
}

async fn end(subscriptions: &SubscriptionUseCases, from: &Subscription) -> Result<Option<Subscription>, Error> {
    let ended = from.lapsed();
    let mut tx = subscriptions.till.db.begin().await?;
    if !subscriptions::end(&mut tx, &ended).await? {
        return Ok(None);
    }
    let event = subscriptions.ended(&ended)?;
    subscriptions.outbox.commit(tx, vec![event]).await?;
    tracing::info!(subscription = %ended.id, "it could not be renewed: the subscription ended");
    Ok(Some(ended))
}

#[cfg(test)]
mod tests;
