//! Having the days and months of limits follow those of their accounts where an earlier program has changed these: it has left the
//! limits as they were. Beside programs that know nothing of it there are new ones again and again.

use std::time::{Duration, Instant};

use bursar_id::OwnerId;
use bursar_time::Zone;

use super::super::ATTEMPTS;
use super::{Counting, accounts, asks, limits, of};
use crate::error::Error;
use crate::store::settings;
use crate::usecase::walk::{ENOUGH, Walk};

/// What a round does at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Portion {
    /// Accounts that are looked at together.
    pub(crate) page: i64,
    /// How long the ledger of one may be read.
    pub(crate) patience: Duration,
    /// After how much the rest is the next round's.
    pub(crate) enough: Duration,
}

/// What the job's rounds do. With the last account's ledger a round is done long before it would be cut off.
pub(crate) const PORTION: Portion = Portion { page: 500, patience: Duration::from_secs(10), enough: ENOUGH };

impl Counting {
    /// Looks at accounts with limits from where the walk has come to, each once in a walk. One that cannot be brought along, or not
    /// soon, keeps it from nobody else, and is looked at again in the next walk. Says whether there may be more of them: the next
    /// round is to come at once then.
    pub(crate) async fn follow_on(&self, walk: &Walk, portion: Portion) -> Result<bool, Error> {
        let until = Instant::now() + portion.enough;
        loop {
            let place = walk.place();
            let (behind, newest) = self.behind_after(place.last, portion.page).await?;
            let Some(newest) = newest else { break };
            for owner in behind {
                let place = walk.place();
                walk.is_at(place.at(owner));
                match tokio::time::timeout(portion.patience, self.bring_along(owner)).await {
                    Ok(Ok(())) => walk.is_at(place.past(owner)),
                    Ok(Err(error)) => {
                        tracing::warn!(%owner, %error, "the days and months of an account's limits cannot be moved");
                    }
                    Err(_) => {
                        tracing::warn!(%owner, "what an account's limits have seen takes too long to be read by itself");
                    }
                }
                if Instant::now() >= until {
                    return Ok(true);
                }
            }
            walk.is_at(walk.place().past(newest));
            if Instant::now() >= until {
                return Ok(true);
            }
        }
        let failed = walk.ends();
        if failed > 0 {
            tracing::warn!(failed, "accounts have limits whose days and months are yet to be moved");
        }
        Ok(false)
    }

    /// Whose limits have other days and months than their accounts, of so many accounts after this one, in order, and the last of
    /// them all; `None` where there are no more.
    async fn behind_after(&self, last: Option<OwnerId>, page: i64) -> Result<(Vec<OwnerId>, Option<OwnerId>), Error> {
        let mut tx = self.db.read().await?;
        let mut owners = limits::owners_after(&mut tx, last, page).await?;
        let Some(newest) = owners.last().copied() else { return Ok((owners, None)) };
        let sets = limits::of(&mut tx, &owners).await?;
        let known = settings::of_owners(&mut tx, &owners).await?;
        let is_behind = |owner: &OwnerId| {
            let zone = known.get(owner).map_or_else(Zone::default, |settings| settings.zone.clone());
            sets.get(owner).is_some_and(|set| *set.zone() != zone)
        };
        owners.retain(is_behind);
        Ok((owners, Some(newest)))
    }

    /// Has the days and months of an account's limits begin where the account's do. The ledger is read while the account is not
    /// locked, as for whoever changes that.
    async fn bring_along(&self, owner: OwnerId) -> Result<(), Error> {
        let mut reading = None;
        for _ in 0..ATTEMPTS {
            let mut tx = self.db.begin().await?;
            let Some((_, account)) = accounts::lock(&mut tx, &[owner]).await?.pop() else { return Ok(()) };
            let (set, zone) = of(&mut tx, owner).await?;
            if self.follow(&mut tx, (owner, &account), &zone, &mut reading).await? {
                return Ok(tx.commit().await?);
            }
            tx.rollback().await?;
            let asked = asks(&account, None, (&set, &zone), self.clock.now());
            self.ahead((None, owner), (asked, &zone), &mut reading).await?;
        }
        Err(Error::Overloaded)
    }
}

#[cfg(test)]
mod tests;
