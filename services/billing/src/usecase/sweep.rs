//! The sweeper: books what has fallen due, so that nothing waits for its owner's next request.
//!
//! Expiry and deadlines are part of the spending rules whether they are booked or not; this is
//! bookkeeping, and any number of replicas may do it at once.

use std::time::Duration;

use bursar_db::Db;
use bursar_time::Clock;
use tokio_util::sync::CancellationToken;

use crate::domain::{Command, Outcome, Request};
use crate::error::Error;
use crate::lane::{Job, Lanes};
use crate::store::accounts;

/// How many accounts one round takes at most.
const ROUND: i64 = 500;

/// How long it rests when nothing is due. A test clock that moves wakes it at once.
const REST: Duration = Duration::from_secs(5);

/// Books due expiries and lapsed holds until `shutdown`.
pub(crate) async fn run(db: Db, clock: Clock, lanes: Lanes, shutdown: CancellationToken) {
    let mut changes = clock.subscribe();
    while !shutdown.is_cancelled() {
        let more = match round(&db, &clock, &lanes).await {
            Ok(swept) => swept > 0,
            Err(error) => {
                tracing::warn!(%error, "sweeping failed; trying again");
                false
            }
        };
        if more {
            continue;
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = changes.changed() => {}
            () = tokio::time::sleep(REST) => {}
        }
    }
}

/// One round over the longest overdue accounts. Returns how many entries were booked; none means
/// that nothing was due or nothing could be done about it.
async fn round(db: &Db, clock: &Clock, lanes: &Lanes) -> Result<usize, Error> {
    let due = accounts::due(&mut db.read().await?, clock.now(), ROUND).await?;
    if due.is_empty() {
        return Ok(0);
    }
    let jobs = due.into_iter().map(|owner| Job::new(owner, Request::new(None, Command::Sweep))).collect();
    let mut booked = 0;
    for answer in lanes.many(jobs).await? {
        match answer {
            Ok(Outcome::Swept { booked: entries }) => booked += entries,
            Ok(_) => {}
            Err(refused) => return Err(refused.into()),
        }
    }
    Ok(booked)
}
