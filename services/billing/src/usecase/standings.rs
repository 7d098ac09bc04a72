//! How owners stand: what an organization that is suspended or deleted, and a user who is suspended, mean here.
//!
//! The consumers of organization's and identity's events write it on the account's row, in the transaction that moves the
//! cursor ([`follow`]): from then on requests are decided by it. A job does what takes longer: it ends the subscription of
//! whoever was deleted and has it go on where that is taken back in time, and has what is purged voided and erased
//! (`purges.rs`).

use bursar_db::{DbError, Tx};
use bursar_id::OwnerId;
use bursar_jobs::{Jobs, Kind};
use bursar_members::{Standing, standings};
use bursar_time::Timestamp;
use serde::{Deserialize, Serialize};

use super::purges;
use super::subscriptions::{SubscriptionUseCases, changed};
use super::top_ups;
use crate::domain::Stop;
use crate::error::Error;
use crate::lane;
use crate::store::{accounts, subscriptions, whereabouts};

/// Doing what an owner's standing asks for.
pub(crate) const STANDING: Kind<Change> = Kind::new("billing.standing");

/// How many owners are looked at together.
const PAGE: i64 = 500;

/// Whose standing has changed. How the owner stands is read when the job is done: of several changes the last counts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Change {
    /// The owner.
    pub(crate) owner: OwnerId,
}

/// Has an account follow what is known of its owner's standing. Opens it for whoever is not active: so that the standing
/// has a place before the first request.
pub(crate) async fn follow(tx: &mut Tx, jobs: &Jobs, owner: OwnerId, now: Timestamp) -> Result<(), DbError> {
    let standing = standings::of(tx, &[owner]).await?.remove(&owner).unwrap_or_default();
    if standing != Standing::Active {
        accounts::open(tx, &[owner], now).await?;
    } else if accounts::find(tx, owner).await?.is_none() {
        return Ok(());
    }
    stand(tx, jobs, (owner, standing), now).await
}

async fn stand(
    tx: &mut Tx,
    jobs: &Jobs,
    (owner, standing): (OwnerId, Standing),
    now: Timestamp,
) -> Result<(), DbError> {
    accounts::set_standing(tx, owner, standing).await?;
    match standing {
        Standing::Deleted | Standing::Purged => drop(top_ups::switch_off(tx, owner, Stop::Deleted, now).await?),
        // Nothing was bought meanwhile.
        Standing::Active => {
            let account = accounts::find(tx, owner).await?;
            if account.is_some_and(|account| account.top_up_below.is_some()) {
                lane::look(jobs, tx, owner, now).await?;
            }
        }
        Standing::Pending | Standing::Suspended => {}
    }
    jobs.enqueue(tx, STANDING, &Change { owner }, now, Some(&owner.to_string())).await
}

/// After a snapshot: accounts of owners of whom it told nothing are active again.
pub(crate) async fn follow_all(tx: &mut Tx, jobs: &Jobs, now: Timestamp) -> Result<(), DbError> {
    let mut after = None;
    loop {
        let stored = accounts::inactive_after(tx, after, PAGE).await?;
        let Some((last, _)) = stored.last() else { return Ok(()) };
        after = Some(*last);
        let owners: Vec<OwnerId> = stored.iter().map(|(owner, _)| *owner).collect();
        let known = standings::of(tx, &owners).await?;
        for (owner, was) in stored {
            let is = known.get(&owner).copied().unwrap_or_default();
            if is != was {
                stand(tx, jobs, (owner, is), now).await?;
            }
        }
    }
}

/// Does what an owner's standing asks for now. Doing it again changes nothing.
pub(crate) async fn settle(
    subscriptions: &SubscriptionUseCases,
    jobs: &Jobs,
    Change { owner }: Change,
) -> Result<(), Error> {
    let till = &subscriptions.till;
    let account = accounts::find(&mut till.db.read().await?, owner).await?;
    match account.map(|account| account.standing) {
        None | Some(Standing::Pending | Standing::Suspended) => Ok(()),
        Some(Standing::Active) => resume(subscriptions, owner).await,
        Some(Standing::Deleted) => subscriptions.end_now(owner, true).await,
        Some(Standing::Purged) => {
            subscriptions.cashier.give_up_all(owner).await?;
            subscriptions.end_now(owner, true).await?;
            purges::begin(till, jobs, owner).await
        }
    }
}

/// Has the subscription go on that ended with its owner, if what was paid for is not over. Later the owner is on the free
/// plan, as after any subscription that has ended. That it had ended is noted: months of which that was told stay as they are.
async fn resume(subscriptions: &SubscriptionUseCases, owner: OwnerId) -> Result<(), Error> {
    let (till, now) = (&subscriptions.till, subscriptions.till.clock.now());
    let mut tx = till.db.begin().await?;
    let Some(ended) = subscriptions::ended_with_owner(&mut tx, owner, now).await? else {
        return Ok(());
    };
    let revived = ended.revived();
    if !subscriptions::revive(&mut tx, &revived).await? {
        return Ok(());
    }
    whereabouts::note_return(&mut tx, &ended, now).await?;
    let event = changed(&revived, &subscriptions.catalog.current());
    subscriptions.outbox.commit(tx, vec![event]).await?;
    tracing::info!(subscription = %revived.id, "its owner is back: the subscription goes on");
    Ok(())
}
