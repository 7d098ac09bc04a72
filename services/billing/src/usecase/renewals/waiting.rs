//! Which subscriptions wait for an operator: those that are held, as long as nobody has said that their time has really passed, and
//! those that are late, whose provider somebody has to look after. See `renewals.rs`.

use std::collections::BTreeSet;
use std::slice;

use bursar_db::{Db, Tx};
use bursar_id::{OwnerId, SubscriptionId};
use bursar_time::{Clock, Span, Timestamp};

use super::{PAGE, page, waits};
use crate::domain::Subscription;
use crate::error::Error;
use crate::store::subscriptions;
use crate::usecase::subscriptions::SubscriptionUseCases;

/// Which of these wait for an operator, in one look at all of them: there may be very many.
pub(super) async fn held_of(
    tx: &mut Tx,
    due: &[Subscription],
    now: Timestamp,
) -> Result<BTreeSet<SubscriptionId>, Error> {
    let behind: Vec<&Subscription> = due.iter().filter(|it| it.is_held(now)).collect();
    if behind.is_empty() {
        return Ok(BTreeSet::new());
    }
    let owners: Vec<OwnerId> = behind.iter().map(|it| it.owner).collect();
    let resumed = subscriptions::resumed_of(tx, &owners).await?;
    let waits = |it: &&Subscription| resumed.get(&it.id).is_none_or(|until| *until < it.month.end);
    Ok(behind.into_iter().filter(waits).map(|it| it.id).collect())
}

/// Whether a subscription waits for an operator.
pub(in crate::usecase) async fn is_held(
    subscriptions: &SubscriptionUseCases,
    subscription: &Subscription,
) -> Result<bool, Error> {
    let till = &subscriptions.till;
    if till.clock.is_test() || !subscription.is_held(till.clock.now()) {
        return Ok(false);
    }
    is_held_by(&mut till.db.read().await?, &till.clock, subscription).await
}

/// The same, as this transaction sees it.
pub(in crate::usecase) async fn is_held_by(
    tx: &mut Tx,
    clock: &Clock,
    subscription: &Subscription,
) -> Result<bool, Error> {
    // A test clock leaps as it likes, and means it.
    if clock.is_test() {
        return Ok(false);
    }
    Ok(!held_of(tx, slice::from_ref(subscription), clock.now()).await?.is_empty())
}

/// Up to how many that wait are counted.
const COUNTED: usize = 100_000;

/// How long after its time a month is asked for at the latest, for all that is counted: nobody is called for what is about to be
/// asked.
const ASKED_WITHIN: Span = Span::from_mins(10);

/// How many wait at present.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// That are held.
    pub(crate) held: usize,
    /// That are late.
    pub(crate) late: usize,
}

/// How many subscriptions wait for an operator, as the store has it, and so the same in every replica, whichever does the rounds.
/// What is due is read no further than to the first that is neither: the longest overdue come first.
///
/// # Errors
/// The store failed.
pub(crate) async fn waiting(subscriptions: &SubscriptionUseCases) -> Result<Waiting, Error> {
    let clock = &subscriptions.till.clock;
    let now = clock.now();
    let asked = now.saturating_sub(ASKED_WITHIN);
    let (mut found, mut read, mut last) = (Waiting::default(), 0, None);
    let mut tx = subscriptions.till.db.read().await?;
    while read < COUNTED {
        let (due, standings) = page(&mut tx, now, last.as_ref(), PAGE).await?;
        // A test clock leaps as it likes, and means it.
        let held = if clock.is_test() { BTreeSet::new() } else { held_of(&mut tx, &due, now).await? };
        for it in due.iter().filter(|it| !waits(it, &standings)) {
            if held.contains(&it.id) {
                found.held += 1;
            } else if it.is_late(asked) && !it.is_next_paid() {
                found.late += 1;
            }
        }
        read += due.len();
        last = due.into_iter().last();
        if last.as_ref().is_none_or(|newest| !newest.is_late(now)) {
            break;
        }
    }
    Ok(found)
}

/// A month of which nobody can say whether it is paid, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateRenewal {
    /// Whose it is.
    pub owner: OwnerId,
    /// The subscription.
    pub subscription: SubscriptionId,
    /// Since when it is due.
    pub since: Timestamp,
    /// How often it was tried and not paid.
    pub failures: u32,
}

/// The subscriptions that at `now` are due beyond the day of their last retry and not held, the longest overdue first; `most` of
/// them at most. Who is suspended has time.
///
/// # Errors
/// The store failed.
pub async fn late(db: &Db, now: Timestamp, most: usize) -> Result<Vec<LateRenewal>, Error> {
    let (mut found, mut last) = (Vec::new(), None);
    let mut tx = db.read().await?;
    loop {
        let (due, standings) = page(&mut tx, now, last.as_ref(), PAGE).await?;
        let held = held_of(&mut tx, &due, now).await?;
        // What is paid with its year waits for room, and for nobody's word.
        let may_be = |it: &Subscription| !it.is_next_paid() && !held.contains(&it.id) && !waits(it, &standings);
        let is_late = |it: &&Subscription| it.is_late(now) && may_be(it);
        for it in due.iter().filter(is_late) {
            found.push(LateRenewal {
                owner: it.owner,
                subscription: it.id,
                since: it.month.end,
                failures: it.failures,
            });
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
