//! The sweeper: books what has fallen due, so that nothing waits for its owner's next request.
//!
//! Expiry and deadlines are part of the spending rules whether they are booked or not; this is
//! bookkeeping, and any number of replicas may do it at once.

use bursar_db::Db;
use bursar_time::Clock;

use crate::domain::{Actor, Command, Outcome, Request};
use crate::error::Error;
use crate::lane::{Job, Lanes};
use crate::store::accounts;

/// How many accounts one round takes at most.
const ROUND: i64 = 500;

/// One round over the longest overdue accounts. Returns how many entries were booked; none means that nothing was due.
///
/// # Errors
/// Nothing could be booked at all. What cannot be booked in one account keeps no other one waiting.
pub(crate) async fn round(db: &Db, clock: &Clock, lanes: &Lanes) -> Result<usize, Error> {
    let due = accounts::due(&mut db.read().await?, clock.now(), ROUND).await?;
    if due.is_empty() {
        return Ok(0);
    }
    let job = |owner| Job { owner, actor: Actor::Job, request: Request::unnamed(Command::Sweep) };
    let jobs = due.into_iter().map(job).collect();
    let (mut booked, mut refusal) = (0, None);
    for answer in lanes.many(jobs).await? {
        match answer {
            Ok(Outcome::Swept { booked: entries }) => booked += entries,
            Ok(_) => {}
            Err(refused) => {
                tracing::warn!(?refused, "what is due in an account cannot be booked");
                refusal = Some(refused);
            }
        }
    }
    match refusal {
        Some(refused) if booked == 0 => Err(refused.into()),
        _ => Ok(booked),
    }
}
