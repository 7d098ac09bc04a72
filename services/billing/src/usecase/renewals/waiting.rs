//! Which subscriptions wait for an operator: those that are held, as long as nobody has said that their time has really passed, and
//! those that are late, whose provider somebody has to look after. See `renewals.rs`.

use std::collections::BTreeSet;
use std::slice;

use bursar_db::{Db, Tx};
use bursar_id::{OwnerId, SubscriptionId};
use bursar_time::{Clock, Timestamp};

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
        let is_late = |it: &&Subscription| it.is_late(now) && !held.contains(&it.id) && !waits(it, &standings);
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
