//! Writing down what the plans of subscriptions include that earlier programs have sold: these have left that to whichever catalog
//! is in use. Once it is written, no edit touches it. Beside programs that know nothing of it there are new ones again and again.

use bursar_db::{Db, DbError};
use bursar_events::Outbox;
use bursar_id::OwnerId;

use super::subscriptions::changed;
use crate::domain::{Assortment, Subscription};
use crate::error::Error;
use crate::store::{included, subscriptions};

/// Subscriptions that are looked at together.
const PART: i64 = 256;

/// Writes it down of all of which it is not known, by what is sold, and tells of it: what was told last may be another catalog's.
/// Of a plan that no catalog has any more nobody knows it. One that cannot be read keeps it from nobody else.
pub(crate) async fn round(db: &Db, outbox: &Outbox, sold: &Assortment) -> Result<(), Error> {
    let mut after = String::new();
    loop {
        let part = included::not_kept(&mut db.read().await?, &after, PART).await?;
        let Some((last, _)) = part.last() else { return Ok(()) };
        after.clone_from(last);
        let owners: Vec<OwnerId> = part.iter().map(|(_, owner)| *owner).collect();
        match keep(db, outbox, sold, &owners).await {
            Ok(()) => {}
            Err(error @ DbError::Unavailable(_)) => return Err(error.into()),
            Err(_) => keep_each(db, outbox, sold, &owners).await?,
        }
    }
}

/// The same of one owner after the other, where it fails for all of them together.
async fn keep_each(db: &Db, outbox: &Outbox, sold: &Assortment, owners: &[OwnerId]) -> Result<(), Error> {
    for owner in owners {
        match keep(db, outbox, sold, &[*owner]).await {
            Ok(()) => {}
            Err(error @ DbError::Unavailable(_)) => return Err(error.into()),
            Err(error) => tracing::warn!(%owner, %error, "what a subscription's plan includes cannot be written down"),
        }
    }
    Ok(())
}

/// Writes it down of these owners' subscriptions. Where there is nothing to write, as of plans that no catalog has, nobody's turn
/// to write is taken.
async fn keep(db: &Db, outbox: &Outbox, sold: &Assortment, owners: &[OwnerId]) -> Result<(), DbError> {
    let live = subscriptions::live_of(&mut db.read().await?, owners).await?;
    let forgotten = live.iter().filter(|it| it.included.is_none()).map(|it| it.with_included(sold));
    let new: Vec<Subscription> = forgotten.filter(|it| it.included.is_some()).collect();
    if new.is_empty() {
        return Ok(());
    }
    let (mut tx, mut events) = (db.begin().await?, Vec::new());
    for known in &new {
        // Whoever has changed it meanwhile tells of it.
        if included::keep(&mut tx, known).await? {
            events.push(changed(known, sold));
        }
    }
    outbox.commit(tx, events).await
}

#[cfg(test)]
mod tests;
