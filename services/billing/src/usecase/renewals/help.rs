//! Beginning months together beside whichever replica does the round: every process helps, and each begins elsewhere.
//!
//! What one has in work the others pass over, which costs a look at each. So where more is due than one page, whoever helps
//! begins anywhere among it, goes on from there to the end and then once from the beginning, and where it meets others it goes
//! elsewhere again: of any number each is mostly alone with what it takes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bursar_id::SubscriptionId;
use bursar_time::Timestamp;

use super::{PAGE, batches, page, waits};
use crate::domain::Subscription;
use crate::error::Error;
use crate::store::due;
use crate::usecase::subscriptions::SubscriptionUseCases;

/// For how long a process leaves to the round what it could not begin together with others.
const LEFT_FOR: Duration = Duration::from_mins(1);

/// Among how many of those that are due whoever helps chooses where to begin: an index is read up to there.
const AMONG: u64 = 20_000;

/// What a process could not begin together with others, and leaves to the round for a while.
#[derive(Debug, Default)]
pub(crate) struct Left(Mutex<HashMap<SubscriptionId, Instant>>);

impl Left {
    /// Leaves these, and forgets which were left long ago.
    fn leave(&self, rest: &[Subscription], now: Instant) {
        let mut left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        left.retain(|_, since| now.duration_since(*since) < LEFT_FOR);
        left.extend(rest.iter().map(|it| (it.id, now)));
    }

    fn has(&self, subscription: &Subscription, now: Instant) -> bool {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        left.get(&subscription.id).is_some_and(|since| now.duration_since(*since) < LEFT_FOR)
    }
}

/// Begins months together, beside whichever replica does the round: of any number each takes what no other has. Everything
/// else is left to the round, for a while also what could not be begun just now. Says how many months were begun.
///
/// # Errors
/// The store cannot be reached, or the clock not be believed.
pub(crate) async fn help(subscriptions: &SubscriptionUseCases, left: &Left) -> Result<usize, Error> {
    let till = &subscriptions.till;
    if !till.batcher.combines_owners() {
        return Ok(0);
    }
    let (now, mut done) = (till.clock.now(), 0);
    let mut last = somewhere(subscriptions, now).await?;
    // Whether what lies before the place where it began is looked at.
    let mut is_round = last.is_none();
    loop {
        let (due, standings) = page(&mut till.db.read().await?, now, last.as_ref(), PAGE).await?;
        let Some(newest) = due.last().cloned() else {
            if is_round {
                return Ok(done);
            }
            (last, is_round) = (None, true);
            continue;
        };
        let is_for_all = |it: &Subscription| !waits(it, &standings) && batches::is_ordinary(it, till);
        let due = due.into_iter().filter(|it| is_for_all(it) && !left.has(it, Instant::now())).collect();
        let batched = batches::renew(subscriptions, due).await?;
        left.leave(&batched.rest, Instant::now());
        done += batched.done;
        // Only where it has begun something itself: so it comes to an end.
        let meets_others = !is_round && batched.done > 0 && !batched.taken.is_empty();
        let elsewhere = if meets_others { somewhere(subscriptions, now).await? } else { None };
        last = elsewhere.or(Some(newest));
    }
}

/// Anywhere among what is due; nowhere if that is no more than a page. Where less is due than it chooses among, it chooses among
/// less.
async fn somewhere(subscriptions: &SubscriptionUseCases, now: Timestamp) -> Result<Option<Subscription>, Error> {
    let mut tx = subscriptions.till.db.read().await?;
    if due::somewhere(&mut tx, now, PAGE).await?.is_none() {
        return Ok(None);
    }
    let mut number = i64::try_from(subscriptions.entropy.u64_below(AMONG)).unwrap_or_default();
    loop {
        let found = due::somewhere(&mut tx, now, number).await?;
        if found.is_some() || number == 0 {
            return Ok(found);
        }
        number /= 16;
    }
}
