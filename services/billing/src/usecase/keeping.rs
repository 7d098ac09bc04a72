//! Writing down what the plans of subscriptions include that earlier programs have sold: these have left that to whichever catalog
//! is in use. Once it is written, no edit touches it. Beside programs that know nothing of it there are new ones again and again.

use bursar_db::Db;
use bursar_events::Outbox;
use bursar_id::OwnerId;

use super::subscriptions::changed;
use crate::domain::Assortment;
use crate::error::Error;
use crate::store::{included, subscriptions};

/// Subscriptions that are looked at together.
const PART: i64 = 256;

/// Writes it down of all of which it is not known, by what is sold, and tells of it: what was told last may be another catalog's.
/// Of a plan that no catalog has any more nobody knows it.
pub(crate) async fn round(db: &Db, outbox: &Outbox, sold: &Assortment) -> Result<(), Error> {
    let mut after = String::new();
    loop {
        let part = included::not_kept(&mut db.read().await?, &after, PART).await?;
        let Some((last, _)) = part.last() else { return Ok(()) };
        after.clone_from(last);
        let owners: Vec<OwnerId> = part.iter().map(|(_, owner)| *owner).collect();
        let (mut tx, mut events) = (db.begin().await?, Vec::new());
        for live in subscriptions::live_of(&mut tx, &owners).await? {
            let known = live.with_included(sold);
            let is_new = live.included.is_none() && known.included.is_some();
            // Whoever has changed it meanwhile tells of it.
            if is_new && included::keep(&mut tx, &known).await? {
                events.push(changed(&known, sold));
            }
        }
        outbox.commit(tx, events).await?;
    }
}

#[cfg(test)]
mod tests;
