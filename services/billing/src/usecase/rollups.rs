//! Rolling up: whole days of usage become one row for each key, so that a report over a year reads days.
//!
//! Nothing waits for it: a day that is not rolled up yet is read as its hours. Any number of replicas may do it at once.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bursar_db::Db;
use bursar_id::OwnerId;
use bursar_time::{Span, Timestamp};

use super::walk::{Place, Walk};
use crate::error::Error;
use crate::store::{accounts, usage};

/// How many owners are read at a time.
const PAGE: i64 = 500;

/// How many days of one owner one transaction rolls up.
const DAYS: u32 = 32;

/// How long a day is left alone after its end: longer than any replica's clock is behind.
const MARGIN: Span = Span::HOUR;

/// Up to when everybody's days can be rolled up at `now`.
pub(crate) fn until(now: Timestamp) -> Timestamp {
    now.saturating_sub(MARGIN).start_of_day()
}

/// The rounds of one process: through every account once a day, in portions, so that nobody waits for somebody else's long history.
#[derive(Debug, Default)]
pub(crate) struct Rounds {
    walk: Walk,
    day: Mutex<Option<Day>>,
}

/// Up to when the walk rolls up.
#[derive(Debug, Clone, Copy)]
struct Day {
    until: Timestamp,
    /// Whether that was done for everybody.
    is_done: bool,
}

impl Rounds {
    /// Rolls up what is over at `until` from where the walk has come to. An account that fails keeps it from nobody else, and is tried
    /// again in the next walk. Says whether it has ended because that was enough: the next round is to come at once then.
    ///
    /// # Errors
    /// The accounts cannot be read.
    pub(crate) async fn go_on(&self, db: &Db, until: Timestamp, enough: Duration) -> Result<bool, Error> {
        if !self.is_due(until) {
            return Ok(false);
        }
        let ends = Instant::now() + enough;
        loop {
            let owners = accounts::after(&mut db.read().await?, self.walk.place().last, PAGE).await?;
            if owners.is_empty() {
                break;
            }
            for owner in owners {
                let place = self.walk.place();
                self.walk.is_at(place.at(owner));
                match account(db, owner, until).await {
                    Ok(()) => self.walk.is_at(place.past(owner)),
                    Err(error) => tracing::warn!(%owner, %error, "usage cannot be rolled up"),
                }
                if Instant::now() >= ends {
                    return Ok(true);
                }
            }
        }
        match self.walk.ends() {
            0 => self.is_at(Day { until, is_done: true }),
            failed => tracing::warn!(failed, "accounts have usage that is yet to be rolled up"),
        }
        Ok(false)
    }

    /// Whether days are to be rolled up still: once they are for everybody, there is nothing to look for until the next one is over. A
    /// walk that was begun for another day than that one ends, also for a later one: the clock may have been wrong.
    fn is_due(&self, until: Timestamp) -> bool {
        let day = *self.day.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(day) = day.filter(|day| day.until == until) {
            return !day.is_done;
        }
        self.walk.is_at(Place::default());
        self.is_at(Day { until, is_done: false });
        true
    }

    fn is_at(&self, day: Day) {
        *self.day.lock().unwrap_or_else(PoisonError::into_inner) = Some(day);
    }
}

/// A walk through every account, at none of which it fails.
#[cfg(test)]
pub(crate) async fn round(db: &Db, until: Timestamp) -> Result<(), Error> {
    let rounds = Rounds::default();
    while rounds.go_on(db, until, super::walk::ENOUGH).await? {}
    if rounds.is_due(until) { Err(Error::Failed) } else { Ok(()) }
}

async fn account(db: &Db, owner: OwnerId, until: Timestamp) -> Result<(), Error> {
    while portion(db, owner, until).await? {}
    Ok(())
}

/// One transaction's days of one owner; says whether there may be more. Days without usage cost nothing. Hours of a day
/// that has ended never change: an account's time does not run backwards.
async fn portion(db: &Db, owner: OwnerId, until: Timestamp) -> Result<bool, Error> {
    let through = usage::rolled_up(&mut db.read().await?, owner).await?;
    if through.is_some_and(|through| through >= until) {
        return Ok(false);
    }
    let mut through = through.unwrap_or(Timestamp::MIN);
    let mut tx = db.begin().await?;
    for _ in 0..DAYS {
        let first = usage::first_hour(&mut tx, owner, through).await?.map(Timestamp::start_of_day);
        let Some(day) = first.filter(|day| day.saturating_add(Span::DAY) <= until) else {
            usage::note_roll_up(&mut tx, owner, until.start_of_day()).await?;
            tx.commit().await?;
            return Ok(false);
        };
        through = day.saturating_add(Span::DAY);
        usage::roll_up_day(&mut tx, owner, (day, through)).await?;
    }
    usage::note_roll_up(&mut tx, owner, through).await?;
    tx.commit().await?;
    Ok(true)
}

#[cfg(test)]
mod tests;
