//! Rolling up: whole days of usage become one row for each key, so that a report over a year reads days.
//!
//! Nothing waits for it: a day that is not rolled up yet is read as its hours. Any number of replicas may do it at once.

use bursar_db::Db;
use bursar_id::OwnerId;
use bursar_time::{Span, Timestamp};

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

/// Every account once, in portions, so that nobody waits for somebody else's long history.
///
/// # Errors
/// The last account's whose usage could not be rolled up; the others' was.
pub(crate) async fn round(db: &Db, until: Timestamp) -> Result<(), Error> {
    let (mut last, mut failed) = (None, None);
    loop {
        let owners = accounts::after(&mut db.read().await?, last, PAGE).await?;
        let Some(newest) = owners.last().copied() else {
            return failed.map_or(Ok(()), Err);
        };
        for owner in owners {
            if let Err(error) = account(db, owner, until).await {
                tracing::warn!(%owner, %error, "usage cannot be rolled up");
                failed = Some(error);
            }
        }
        last = Some(newest);
    }
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
