//! Seeing off people whose accounts were deleted: nothing is spent, sold or renewed for them any more.
//!
//! The consumer of identity's events writes down who is gone, in the transaction that moves its cursor ([`depart`]): from
//! then on the personal account refuses, however long an old token lives. A job then ends the subscription.

use bursar_db::{DbError, Tx};
use bursar_id::{OwnerId, UserId};
use bursar_jobs::{Jobs, Kind};
use bursar_members::{Word, words};
use bursar_time::Timestamp;
use serde::{Deserialize, Serialize};

use super::subscriptions::SubscriptionUseCases;
use crate::error::Error;
use crate::store::{accounts, subscriptions};

/// Seeing off one person.
pub(crate) const FAREWELL: Kind<Farewell> = Kind::new("billing.farewell");

/// Whom to see off.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Farewell {
    /// Whose account was deleted.
    pub(crate) user: UserId,
}

/// Remembers that somebody's account was deleted: the person is no member of the personal account any more. Has the rest
/// done.
pub(crate) async fn depart(
    tx: &mut Tx,
    jobs: &Jobs,
    user: UserId,
    (incarnation, now): (u64, Timestamp),
) -> Result<(), DbError> {
    let owner = OwnerId::User(user);
    words::learn(tx, owner, user, Word { role: None, incarnation, version: 1 }).await?;
    accounts::raise_terms(tx, owner).await?;
    jobs.enqueue(tx, FAREWELL, &Farewell { user }, now, Some(&user.to_string())).await?;
    Ok(())
}

/// Ends the personal subscription, if there is one. What is left of its allowance expires when it would have; nobody can
/// spend it.
pub(crate) async fn see_off(subscriptions: &SubscriptionUseCases, Farewell { user }: Farewell) -> Result<(), Error> {
    let till = &subscriptions.till;
    let live = subscriptions::live(&mut till.db.read().await?, OwnerId::User(user)).await?;
    let Some(live) = live else { return Ok(()) };
    let ended = live.ended(till.clock.now());
    let mut tx = till.db.begin().await?;
    if !subscriptions::end(&mut tx, &ended).await? {
        // Renewed meanwhile: what it is now is looked at again.
        return Err(Error::Unavailable);
    }
    let event = subscriptions.ended(&ended)?;
    subscriptions.outbox.commit(tx, vec![event]).await?;
    tracing::info!(subscription = %ended.id, "its owner's account was deleted: the subscription ended");
    Ok(())
}
