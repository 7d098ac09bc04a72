//! Which subscriptions wait for an operator, as long as none has said that their time has really passed: see `renewals.rs`.

use std::collections::BTreeSet;
use std::slice;

use bursar_db::Tx;
use bursar_id::{OwnerId, SubscriptionId};
use bursar_time::{Clock, Timestamp};

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
