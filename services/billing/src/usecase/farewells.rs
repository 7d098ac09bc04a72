//! Seeing off people whose accounts were deleted: nothing is spent, sold or renewed for them any more.
//!
//! The consumer of identity's events writes down who is gone, in the transaction that moves its cursor ([`depart`]): from
//! then on the personal account refuses, and so does every organization's, however long an old token lives and whoever names
//! them. A job then ends the subscription and gives up what waits for its payment.

use bursar_db::{DbError, Tx};
use bursar_id::{OwnerId, UserId};
use bursar_jobs::{Jobs, Kind};
use bursar_members::{Word, standings as known, words};
use bursar_time::Timestamp;
use serde::{Deserialize, Serialize};

use super::invoices;
use super::standings;
use super::subscriptions::SubscriptionUseCases;
use crate::error::Error;
use crate::store::{accounts, projects};

/// Seeing off one person.
pub(crate) const FAREWELL: Kind<Farewell> = Kind::new("billing.farewell");

/// Whom to see off.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Farewell {
    /// Whose account was deleted.
    pub(crate) user: UserId,
}

/// Remembers that somebody's account was deleted: the person is no member of the personal account any more, nor of any
/// organization, whatever organization has told so far (`store/members.rs`). Has the rest done.
pub(crate) async fn depart(
    tx: &mut Tx,
    jobs: &Jobs,
    user: UserId,
    (incarnation, now): (u64, Timestamp),
) -> Result<(), DbError> {
    let owner = OwnerId::User(user);
    // What lanes remember of who belongs there counts no more. First, because batches lock organizations before people.
    for organization in words::organizations_of(tx, user).await? {
        accounts::raise_terms(tx, organization).await?;
    }
    // So that a sale that is being booked is over, or finds them gone.
    accounts::open(tx, &[owner], now).await?;
    words::learn(tx, owner, user, Word { role: None, incarnation, version: 1 }).await?;
    accounts::raise_terms(tx, owner).await?;
    // Suspended before: that is over with the account.
    if known::forget(tx, owner).await? {
        standings::follow(tx, jobs, owner, now).await?;
    }
    jobs.enqueue(tx, FAREWELL, &Farewell { user }, now, Some(&user.to_string())).await?;
    Ok(())
}

/// Erases what the person has set of the account, forgets the projects, gives up what waits for its payment, and ends the personal
/// subscription, if there is one.
pub(crate) async fn see_off(subscriptions: &SubscriptionUseCases, Farewell { user }: Farewell) -> Result<(), Error> {
    let (owner, now) = (OwnerId::User(user), subscriptions.till.clock.now());
    let mut tx = subscriptions.till.db.begin().await?;
    // Whoever is just opening the account to set something is waited for; whoever comes later finds the person gone.
    accounts::open(&mut tx, &[owner], now).await?;
    let cards = invoices::leave(&mut tx, owner).await?;
    projects::forget_all(&mut tx, owner).await?;
    subscriptions.cashier.removals().later(&mut tx, cards).await?;
    tx.commit().await?;
    subscriptions.cashier.give_up_all(owner).await?;
    subscriptions.end_now(owner, false).await
}
