//! Writing down what the plans of subscriptions include that earlier programs have sold: these have left that to whichever catalog
//! is in use. Once it is written, no edit touches it. Beside programs that know nothing of it there are new ones again and again.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bursar_db::{Db, DbError};
use bursar_events::Outbox;
use bursar_id::OwnerId;

use super::subscriptions::changed;
use super::walk::ENOUGH;
use crate::domain::{Assortment, Subscription};
use crate::error::Error;
use crate::store::{included, subscriptions};

/// Subscriptions that are looked at together.
const PART: i64 = 256;

/// What a round does at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portion {
    /// Subscriptions that are looked at together.
    part: i64,
    /// After how much the rest is the next round's.
    enough: Duration,
}

pub(crate) const PORTION: Portion = Portion { part: PART, enough: ENOUGH };

/// Where the rounds of a process have come to: the id of a subscription, as text. Each goes on where the one before ended, or was
/// cut off: those of which nobody knows it are there again and again.
#[derive(Debug, Default)]
pub(crate) struct Rounds(Mutex<String>);

impl Rounds {
    /// Writes it down of those of which it is not known, by what is sold, and tells of it: what was told last may be another
    /// catalog's. Of a plan that no catalog has any more nobody knows it. One that cannot be read keeps it from nobody else. Says
    /// whether it has ended because that was enough: the next round is to come at once then.
    pub(crate) async fn go_on(
        &self,
        (db, outbox): (&Db, &Outbox),
        sold: &Assortment,
        portion: Portion,
    ) -> Result<bool, Error> {
        let until = Instant::now() + portion.enough;
        loop {
            let after = self.place();
            let part = included::not_kept(&mut db.read().await?, &after, portion.part).await?;
            let Some((last, _)) = part.last() else {
                self.is_at(String::new());
                return Ok(false);
            };
            // Where it is cut off now, the next one is behind these.
            self.is_at(last.clone());
            let owners: Vec<OwnerId> = part.iter().map(|(_, owner)| *owner).collect();
            if let Err(error) = keep_part(db, outbox, sold, &owners).await {
                self.is_at(after);
                return Err(error);
            }
            if Instant::now() >= until {
                return Ok(true);
            }
        }
    }

    fn place(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn is_at(&self, place: String) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }
}

/// The same of all of them.
pub(crate) async fn round(db: &Db, outbox: &Outbox, sold: &Assortment) -> Result<(), Error> {
    let rounds = Rounds::default();
    while rounds.go_on((db, outbox), sold, PORTION).await? {}
    Ok(())
}

/// The same of these owners. Where it fails for all of them together each is by itself.
///
/// # Errors
/// The store is away: it is nobody's fault.
async fn keep_part(db: &Db, outbox: &Outbox, sold: &Assortment, owners: &[OwnerId]) -> Result<(), Error> {
    match keep(db, outbox, sold, owners).await {
        Ok(()) => Ok(()),
        Err(error @ DbError::Unavailable(_)) => Err(error.into()),
        Err(_) => keep_each(db, outbox, sold, owners).await,
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
