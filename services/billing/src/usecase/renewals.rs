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
//! Where its plan says so, the month's allowance is there all the while (`grace.rs`).
//!
//! A month whose provider says neither that it is paid nor that it is not, since it is away or refuses whatever this deployment
//! asks for (`payment/stripe/refusals.rs`), stays due: nobody's plan ends by what is not theirs. From the day of the last retry on
//! it is **late**: it is tried on, and operators are shown it ([`late`]).
//!
//! One that was canceled (`canceling.rs`) ends at its boundary: nothing is asked for, and none is held.
//!
//! Most months are ordinary, and are begun many at a time (`renewals/batches.rs`), by every replica at once ([`help`]); one
//! replica at a time does the round, which looks after everything else, too. Where the provider takes its time, months are
//! paid for up to an hour before they begin (`renewals/ahead.rs`), and then begin together with the others: by itself goes what
//! its provider has to be asked for at the boundary.
//!
//! What is left of the old allowance expires by itself: expiry is a rule of spending, not a job.

pub(crate) mod ahead;
mod batches;
mod help;
mod waiting;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bursar_db::{Db, Tx};
use bursar_id::{OwnerId, SubscriptionId};
use bursar_members::standings::{self, Standings};
use bursar_time::{Span, Timestamp};
use futures::{StreamExt as _, future, stream};

pub(crate) use self::help::{Left, help};
use self::waiting::held_of;
pub(crate) use self::waiting::waiting;
pub use self::waiting::{LateRenewal, late};
pub(super) use self::waiting::{is_held, is_held_by};
use super::cashier::note;
use super::contracts::{self, Planned};
use super::subscriptions::{SubscriptionUseCases, changed};
use super::years;
use crate::domain::{Payment, PaymentState, Refusal, Subscription};
use crate::error::Error;
use crate::payment::PaymentMethod;
use crate::store::{contracts as agreed, due, payments, subscriptions};

/// How many subscriptions are read at a time.
const PAGE: i64 = 500;

/// How long after a month was tried and not paid it is not tried again, however late that was: a stop of days uses up no
/// attempts.
const BETWEEN: Span = Span::from_hours(12);

/// After how much a round leaves the rest to the next one: an attempt at a job may take a minute, and everybody's months at one
/// boundary take longer.
#[derive(Debug, Clone, Copy)]
struct Portion {
    /// How many subscriptions are read at a time; a round ends after all of them.
    page: i64,
    /// Months that are begun by themselves, subscriptions that are ended, and what fails.
    single: usize,
    /// Months that are begun together.
    together: usize,
}

const PORTION: Portion = Portion { page: PAGE, single: 500, together: 20_000 };

/// For how long a round looks after subscriptions one by one: what fails may take its time.
const ENOUGH: Duration = Duration::from_secs(30);

/// How many are asked for side by side: each waits for a provider most of the time.
const SIDE_BY_SIDE: usize = 16;

/// Where rounds have come to, and what they have found on the way: each goes on where the one before ended, or was cut off, so
/// that what fails or is held stands in nobody's way, however much of it there is. Another replica begins with the longest
/// overdue again.
#[derive(Debug, Default)]
pub(crate) struct Walk(Mutex<Place>);

#[derive(Debug, Clone, Default)]
struct Place {
    reached: Option<Subscription>,
    failed: usize,
    late: usize,
    held: usize,
}

impl Walk {
    fn place(&self) -> Place {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_at(&self, place: Place) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }
}

/// What a round has done, and what the walk that it is a part of has found so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Round {
    /// Months that were begun, and subscriptions that were ended.
    pub(crate) done: usize,
    /// Subscriptions that are still due.
    pub(crate) failed: usize,
    /// Those of them that are late.
    pub(crate) late: usize,
    /// Those that are held.
    pub(crate) held: usize,
    /// It ended because it had done enough: there may be more to do.
    pub(crate) goes_on: bool,
}

impl Round {
    /// Where the walk is with this.
    fn reaching(&self, reached: Option<Subscription>) -> Place {
        Place { reached, failed: self.failed, late: self.late, held: self.held }
    }
}

/// Brings every subscription that is due up to date, the longest overdue first, from where the walk has come to. One that
/// fails is left for the next walk and stops no other. After so many it leaves the rest to the next round, which is to come at
/// once.
pub(crate) async fn next_round(subscriptions: &SubscriptionUseCases, walk: &Walk) -> Result<Round, Error> {
    within(subscriptions, PORTION, walk).await
}

/// A walk's first round.
#[cfg(test)]
pub(crate) async fn round(subscriptions: &SubscriptionUseCases) -> Result<Round, Error> {
    next_round(subscriptions, &Walk::default()).await
}

/// Whether an owner may not buy now, and may again: nothing has to be paid or said. It is looked at under the account's lock,
/// too.
fn waits(subscription: &Subscription, standings: &Standings) -> bool {
    let standing = standings.get(&subscription.owner).copied().unwrap_or_default();
    Refusal::of_standing(subscription.owner, standing).is_some_and(|refusal| passes(&refusal))
}

async fn within(subscriptions: &SubscriptionUseCases, portion: Portion, walk: &Walk) -> Result<Round, Error> {
    let till = &subscriptions.till;
    let (now, until) = (till.clock.now(), Instant::now() + ENOUGH);
    let Place { mut reached, failed, late, held } = walk.place();
    let mut round = Round { failed, late, held, ..Round::default() };
    let (mut single, mut together, mut taken) = (0, 0, Vec::new());
    loop {
        let mut tx = till.db.read().await?;
        let (mut due, standings) = page(&mut tx, now, reached.as_ref(), portion.page).await?;
        let Some(newest) = due.last().cloned() else { break };
        let is_full = i64::try_from(due.len()).is_ok_and(|read| read == portion.page);
        due.retain(|it| !waits(it, &standings));
        let held = if till.clock.is_test() { BTreeSet::new() } else { held_of(&mut tx, &due, now).await? };
        tx.commit().await?;
        due.retain(|it| !held.contains(&it.id));
        round.held += held.len();
        let combines = till.batcher.combines_owners();
        let ordinary = due.extract_if(.., |it| combines && batches::is_ordinary(it, till)).collect();
        let batched = batches::renew(subscriptions, ordinary).await?;
        together += batched.done;
        round.done += batched.done;
        due.extend(batched.rest);
        taken.extend(batched.taken.iter().map(|it| it.owner));
        let (work, cut_at) = each(subscriptions, due, until, &mut round).await;
        single += work;
        let enough = single >= portion.single || together >= portion.together;
        // What was read last may have been all there was.
        round.goes_on = cut_at.is_some() || (enough && is_full);
        let is_over = cut_at.is_some() || enough;
        reached = Some(cut_at.unwrap_or(newest));
        walk.is_at(round.reaching(reached.clone()));
        if is_over {
            break;
        }
    }
    // Whoever had these in work is done with them by now, or has left them.
    let mut left = subscriptions::live_of(&mut till.db.read().await?, &taken).await?;
    left.retain(|it| batches::is_ordinary(it, till));
    let again = batches::renew(subscriptions, left).await?;
    round.done += again.done;
    let rest = again.rest.into_iter().chain(again.taken).collect();
    each(subscriptions, rest, until, &mut round).await;
    walk.is_at(if round.goes_on { round.reaching(reached) } else { Place::default() });
    Ok(round)
}

/// Brings these up to date, some side by side, the longest overdue first, and at least one, as long as there is time: what was
/// begun comes to its end. Says how much work that was, and up to which they were looked after where there was no time for all.
async fn each(
    subscriptions: &SubscriptionUseCases,
    mut due: Vec<Subscription>,
    until: Instant,
    round: &mut Round,
) -> (usize, Option<Subscription>) {
    due.sort_unstable_by_key(|it| (it.month.end, it.id));
    let (mut work, mut looked_after, mut last, count) = (0, 0, None, due.len());
    let in_time = |number: &usize| *number == 0 || Instant::now() < until;
    let mut begun = stream::iter(due.into_iter().enumerate())
        .take_while(|(number, _)| future::ready(in_time(number)))
        .map(async |(_, it)| (it.clone(), Box::pin(catch_up(subscriptions, it)).await))
        .buffered(SIDE_BY_SIDE);
    while let Some((subscription, caught_up)) = begun.next().await {
        match caught_up {
            Ok(steps) => {
                round.done += steps;
                work += steps;
            }
            Err(error) => {
                round.failed += 1;
                round.late += usize::from(subscription.is_late(subscriptions.till.clock.now()));
                work += 1;
                tracing::warn!(subscription = %subscription.id, %error, "a renewal failed; trying again");
            }
        }
        looked_after += 1;
        last = Some(subscription);
    }
    (work, last.filter(|_| looked_after < count))
}

/// Some of the subscriptions that are due, after the given one, and how their owners stand who are not active.
async fn page(
    tx: &mut Tx,
    now: Timestamp,
    last: Option<&Subscription>,
    most: i64,
) -> Result<(Vec<Subscription>, Standings), Error> {
    let due = due::page(tx, now, last, most).await?;
    let owners: Vec<OwnerId> = due.iter().map(|it| it.owner).collect();
    let standings = standings::of(tx, &owners).await?;
    Ok((due, standings))
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
        let due = due::page(&mut tx, now, last.as_ref(), PAGE).await?;
        let held = held_of(&mut tx, &due, now).await?;
        for it in due.iter().filter(|it| held.contains(&it.id)) {
            let (owner, subscription, since) = (it.owner, it.id, it.month.end);
            found.push(HeldRenewal { owner, subscription, since, periods: it.months_behind(now) });
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
    let mut tx = till.db.read().await?;
    let (may, waits) = (till.may_sell_to(&mut tx, from.owner).await, agreed::of(&mut tx, from.owner).await?);
    tx.commit().await?;
    match may {
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
            Err(Error::Refused(refusal)) => {
                tracing::warn!(subscription = %from.id, %refusal, "a month that is paid for cannot begin yet");
                Ok(Step::Waits)
            }
            Err(error) => Err(error),
        };
    }
    if from.cancel_at_period_end {
        return end(subscriptions, till.db.begin().await?, from).await;
    }
    match contracts::plan(subscriptions, from, waits).await? {
        Planned::Nothing => {}
        Planned::Made(planned) => return Ok(Step::Made(planned)),
        Planned::Overtaken => return Ok(Step::Taken),
    }
    let dues = subscriptions.cashier.dues(from).await;
    let payment = or_in_grace(subscriptions, from, dues).await?;
    go_on(subscriptions, from, &payment).await
}

/// What is known of a due month, or that nobody says, and nobody knows for how long: where the plan has it so, its allowance is
/// granted meanwhile.
async fn or_in_grace<T>(
    subscriptions: &SubscriptionUseCases,
    from: &Subscription,
    known: Result<T, Error>,
) -> Result<T, Error> {
    if known.is_err() && from.next_terms().grant_in_grace {
        let mut tx = subscriptions.till.db.begin().await?;
        Box::pin(subscriptions.cashier.grant_in_grace(&mut tx, from)).await?;
        tx.commit().await?;
    }
    known
}

/// Whether an owner may become active again to whom nothing is sold now.
pub(super) fn passes(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::OrganizationSuspended | Refusal::UserSuspended | Refusal::OrganizationPending)
}

/// Asks for a month's payment, if nothing is known of it, and does what follows.
async fn go_on(subscriptions: &SubscriptionUseCases, from: &Subscription, payment: &Payment) -> Result<Step, Error> {
    let cashier = &subscriptions.cashier;
    let heard = or_in_grace(subscriptions, from, cashier.ask(payment).await).await?;
    let mut said = payment.clone();
    note(&mut said, heard.as_ref());
    if said.state != PaymentState::Paid {
        let mut tx = subscriptions.till.db.begin().await?;
        let mut payment = cashier.heard(&mut tx, payment.id, heard.as_ref()).await?;
        let method = PaymentMethod::from_stored(from.next_method());
        if !payment.returned && Box::pin(cashier.give_up_replaced(&mut tx, &mut payment, &method)).await? {
            // Another card is to pay: that uses up no attempt, and the next round begins the next.
            tx.commit().await?;
            cashier.jobs.wake();
            return Ok(Step::Waits);
        }
        match payment.state {
            // Nobody was asked: its owner may not buy now.
            PaymentState::Created => return Ok(Step::Waits),
            // Somebody else has given it up for that.
            _ if payment.returned => return Ok(Step::Waits),
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
    // A test clock lets days pass in a moment, and means it: then it is tried again at once, but after this attempt
    // (`dues.rs`).
    let now = clock.now();
    let not_before = if clock.is_test() { now } else { now.saturating_add(BETWEEN) };
    let Some(past_due) = from.not_paid(not_before) else { return end(subscriptions, tx, from).await };
    if !subscriptions::not_paid(&mut tx, &past_due).await? {
        tx.commit().await?;
        return Ok(Step::Taken);
    }
    Box::pin(subscriptions.cashier.grant_in_grace(&mut tx, from)).await?;
    let event = changed(&past_due, &subscriptions.catalog.current());
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
    Box::pin(subscriptions.cashier.void_grace(&mut tx, from)).await?;
    let event = subscriptions.ended(&ended)?;
    subscriptions.outbox.commit(tx, vec![event]).await?;
    subscriptions.cashier.jobs.wake();
    tracing::info!(subscription = %ended.id, "it is not renewed (any more): the subscription ended");
    Ok(Step::Made(Box::new(ended)))
}

#[cfg(test)]
mod lateness;
#[cfg(test)]
mod many;
#[cfg(test)]
mod paid;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod yearly;
