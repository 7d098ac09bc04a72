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
pub(crate) async fn round(db: &Db, until: Timestamp) -> Result<(), Error> {
    let mut last = None;
    loop {
        let owners = accounts::after(&mut db.read().await?, last, PAGE).await?;
        let Some(newest) = owners.last().copied() else {
            return Ok(());
        };
        for owner in owners {
            while portion(db, owner, until).await? {}
        }
        last = Some(newest);
    }
}

/// One transaction's days of one owner; says whether there may be more.
async fn portion(db: &Db, owner: OwnerId, until: Timestamp) -> Result<bool, Error> {
    if usage::rolled_up(&mut db.read().await?, owner).await?.is_some_and(|through| through >= until) {
        return Ok(false);
    }
    let mut tx = db.begin().await?;
    let more = usage::roll_up(&mut tx, owner, until, DAYS).await?;
    tx.commit().await?;
    Ok(more)
}
