//! Renewals: when a subscription's month is over, the next one is paid and its allowance granted.
//!
//! A month's payment is written down before anybody is asked for it (`dues.rs`), and the month begins in the transaction that
//! learns that it is paid, which moves the subscription on from the month before: so of any number of replicas and attempts
//! one succeeds, and the others find it done. A month's payment and its lot have keys made of the subscription and the month's
//! number. Run late, it goes through the missed months one by one; each gets the lot it would have got, which has expired by
//! then. A subscription that ends gives up what waits for its next month, in the same transaction: what is paid goes back.
//!
//! A month that is paid for with its year begins without a payment (`years.rs`), also where the subscription ends with the year.
//!
//! But nobody pays for a year at once because a clock was wrong, or for months in which nothing could be spent. Where more
//! than one month is missing, they are made up for only if an operator says so ([`resume`]), or a test clock does, which is
//! meant. Until then the subscription is **held**: it stays as it is, and what the account has pays.
//!
//! Of an owner who is suspended nothing is renewed: the subscription stays due until that is over, and is then brought up to
//! date like any other. After more than a month of it that takes an operator's word, too.
//!
//! A month that is not paid is tried again 1, 3, 5 and 7 days after its boundary, and not within twelve hours of the last time;
//! until then the subscription is `PAST_DUE`, what it allows stays, and what the account has pays. After the last time it ends.
//!
//! One that was canceled (`canceling.rs`) ends at its boundary: nothing is asked for, and none is held.
//!
//! What is left of the old allowance expires by itself: expiry is a rule of spending, not a job.

use bursar_db::{Db, Tx};
use bursar_id::{OwnerId, SubscriptionId};
use bursar_members::standings::{self, Standings};
use bursar_time::{Span, Timestamp};

use super::cashier::note;
use super::subscriptions::{SubscriptionUseCases, changed};
use super::years;
use crate::domain::{Payment, PaymentState, Refusal, Subscription};
use crate::error::Error;
use crate::store::{payments, subscriptions};

/// How many subscriptions are read at a time.
const PAGE: i64 = 200;

/// How long after a month was tried and not paid it is not tried again, however late that was: a stop of days uses up no
/// attempts.
const BETWEEN: Span = Span::from_hours(12);

/// How many months one round begins at most: an attempt at a job may take a minute, and ten thousand at one boundary take longer.
const PORTION: usize = 500;

/// What a round has done.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Round {
    /// Months that were begun, and subscriptions that were ended.
    pub(crate) done: usize,
    /// Subscriptions that are still due.
    pub(crate) failed: usize,
    /// Those that are held.
    pub(crate) held: usize,
    /// It ended because it had done enough: there may be more to do.
    pub(crate) goes_on: bool,
}

/// Brings every subscription that is due up to date, the longest overdue first. One that fails is left for the next
/// round and stops no other. After so many months it leaves the rest to the next round, which is to come at once.
pub(crate) async fn round(subscriptions: &SubscriptionUseCases) -> Result<Round, Error> {
    let till = &subscriptions.till;
    let now = till.clock.now();
    let mut round = Round::default();
    let mut last: Option<Subscription> = None;
    loop {
        let (due, standings) = page(&mut till.db.read().await?, now, last.as_ref()).await?;
        for subscription in &due {
            // Nothing has to be paid or said of who may not buy now, and may again; it is looked at under the account's lock, too.
            let standing = standings.get(&subscription.owner).copied().unwrap_or_default();
            if Refusal::of_standing(subscription.owner, standing).is_some_and(|refusal| passes(&refusal)) {
                continue;
            }
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
            if round.done >= PORTION {
                return Ok(Round { goes_on: true, ..round });
            }
        }
        match due.into_iter().last() {
            Some(newest) => last = Some(newest),
            None => return Ok(round),
        }
    }
}

/// Some of the subscriptions that are due, after the given one, and how their owners stand who are not active.
async fn page(
    tx: &mut Tx,
    now: Timestamp,
    last: Option<&Subscription>,
) -> Result<(Vec<Subscription>, Standings), Error> {
    let due = subscriptions::due(tx, now, last, PAGE).await?;
    let owners: Vec<OwnerId> = due.iter().map(|it| it.owner).collect();
    let standings = standings::of(tx, &owners).await?;
    Ok((due, standings))
}

/// Whether a subscription waits for an operator: see the module.
pub(super) async fn is_held(subscriptions: &SubscriptionUseCases, subscription: &Subscription) -> Result<bool, Error> {
    let till = &subscriptions.till;
    if till.clock.is_test() || !subscription.is_held(till.clock.now()) {
        return Ok(false);
    }
    is_not_resumed(&mut till.db.read().await?, subscription).await
}

/// Whether no operator has said that its time has really passed.
async fn is_not_resumed(tx: &mut Tx, subscription: &Subscription) -> Result<bool, Error> {
    let until = subscriptions::resumed_until(tx, subscription).await?;
    Ok(until.is_none_or(|until| until < subscription.month.end))
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

/// Renews one subscription month by month until it is not due any more, held, or may not be renewed now. Says how many
/// months were begun or subscriptions ended; what it is afterwards, also by what somebody else does, the store knows.
pub(super) async fn catch_up(
    subscriptions: &SubscriptionUseCases,
    mut subscription: Subscription,
) -> Result<usize, Error> {
    let mut steps = 0;
    while subscription.is_due(subscriptions.till.clock.now()) && !is_held(subscriptions, &subscription).await? {
        match step(subscriptions, &subscription).await? {
            Step::Made(next) => subscription = *next,
            Step::Taken | Step::Waits => break,
        }
        steps += 1;
    }
    Ok(steps)
}

/// What became of one month.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// It was begun, or the subscription ended: what it is now.
    Made(Box<Subscription>),
    /// Somebody else has begun it, or ended the subscription.
    Taken,
    /// It stays due: its owner may not buy anything now, and may again.
    Waits,
}

/// One month: pays it and begins it, or tries it again later; ends the subscription after the last time, when it was canceled,
/// or when the account may have no credits any more in this deployment.
async fn step(subscriptions: &SubscriptionUseCases, from: &Subscription) -> Result<Step, Error> {
    let till = &subscriptions.till;
    match till.may_sell_to(&mut till.db.read().await?, from.owner).await {
        Ok(()) => {}
        // Whoever is suspended renews nothing; what is due is caught up with once that is over.
        Err(Error::Refused(refusal)) if passes(&refusal) => return Ok(Step::Waits),
        // Nobody pays for what could not be spent.
        Err(Error::Refused(_)) => return end(subscriptions, till.db.begin().await?, from).await,
        Err(error) => return Err(error),
    }
    if from.is_next_paid() {
        return match years::go_on(subscriptions, from).await {
            Ok(next) => Ok(next.map_or(Step::Taken, |next| Step::Made(Box::new(next)))),
            // Suspended since, or without room for one more lot: it begins once that is over.
            Err(Error::Refused(_)) => Ok(Step::Waits),
            Err(error) => Err(error),
        };
    }
    if from.cancel_at_period_end {
        return end(subscriptions, till.db.begin().await?, from).await;
    }
    let payment = subscriptions.cashier.dues(from).await?;
    go_on(subscriptions, from, &payment).await
}

/// Whether an owner may become active again to whom nothing is sold now.
pub(super) fn passes(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::OrganizationSuspended | Refusal::UserSuspended | Refusal::OrganizationPending)
}

/// Asks for a month's payment, if nothing is known of it, and does what follows.
async fn go_on(subscriptions: &SubscriptionUseCases, from: &Subscription, payment: &Payment) -> Result<Step, Error> {
    let cashier = &subscriptions.cashier;
    let heard = cashier.ask(payment).await?;
    let mut said = payment.clone();
    note(&mut said, heard.as_ref());
    if said.state != PaymentState::Paid {
        let mut tx = subscriptions.till.db.begin().await?;
        let payment = cashier.heard(&mut tx, payment.id, heard.as_ref()).await?;
        match payment.state {
            // Nobody was asked: its owner may not buy now.
            PaymentState::Created => return Ok(Step::Waits),
            PaymentState::Pending | PaymentState::RequiresAction | PaymentState::Declined | PaymentState::Canceled => {
                return not_paid(subscriptions, tx, from, &payment).await;
            }
            // Somebody else has heard so.
            PaymentState::Paid => tx.rollback().await?,
        }
    }
    cashier.hear(payment.id, heard.as_ref()).await?;
    begun(subscriptions, from).await
}

/// What became of a month whose payment is there: it has begun, or its owner may not have it, now or for good.
async fn begun(subscriptions: &SubscriptionUseCases, from: &Subscription) -> Result<Step, Error> {
    let live = subscriptions::live(&mut subscriptions.till.db.read().await?, from.owner).await?;
    match live.filter(|it| it.id == from.id) {
        Some(begun) if begun.month.number > from.month.number => Ok(Step::Made(Box::new(begun))),
        // Suspended since, or without room for one more lot: the payment stays, and is the month's once that is over. Or
        // deleted since: the payment went back, and looked at again the subscription ends.
        Some(_due) => Ok(Step::Waits),
        None => Ok(Step::Taken),
    }
}

/// The month is not paid: it is tried again later, or that was the last time. Then nobody waits for its payment any more. In
/// one transaction with what was heard, so that each attempt counts once.
async fn not_paid(
    subscriptions: &SubscriptionUseCases,
    mut tx: Tx,
    from: &Subscription,
    payment: &Payment,
) -> Result<Step, Error> {
    payments::update(&mut tx, payment).await?;
    let clock = &subscriptions.till.clock;
    // A test clock lets days pass in a moment, and means it.
    let not_before = if clock.is_test() { Timestamp::MIN } else { clock.now().saturating_add(BETWEEN) };
    let Some(past_due) = from.not_paid(not_before) else { return end(subscriptions, tx, from).await };
    if !subscriptions::not_paid(&mut tx, &past_due).await? {
        tx.commit().await?;
        return Ok(Step::Taken);
    }
    let event = changed(&past_due, &past_due.plan, past_due.seats);
    subscriptions.outbox.commit(tx, vec![event]).await?;
    tracing::info!(subscription = %past_due.id, failures = past_due.failures, "its next month was not paid");
    Ok(Step::Made(Box::new(past_due)))
}

async fn end(subscriptions: &SubscriptionUseCases, mut tx: Tx, from: &Subscription) -> Result<Step, Error> {
    let ended = from.lapsed();
    subscriptions.cashier.give_up_dues(&mut tx, from).await?;
    if !subscriptions::end(&mut tx, &ended).await? {
        return Ok(Step::Taken);
    }
    let event = subscriptions.ended(&ended)?;
    subscriptions.outbox.commit(tx, vec![event]).await?;
    subscriptions.cashier.jobs.wake();
    tracing::info!(subscription = %ended.id, "it is not renewed (any more): the subscription ended");
    Ok(Step::Made(Box::new(ended)))
}

#[cfg(test)]
mod tests;
