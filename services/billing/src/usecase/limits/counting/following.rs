//! Having the days and months of limits follow those of their accounts where an earlier program has changed these: it has left the
//! limits as they were. Beside programs that know nothing of it there are new ones again and again.

use bursar_id::OwnerId;
use bursar_time::Zone;

use super::super::ATTEMPTS;
use super::{Counting, Reading, accounts, asks, limits, of};
use crate::error::Error;
use crate::store::settings;

/// Accounts that are looked at together.
pub(crate) const PART: i64 = 500;

impl Counting {
    /// Looks at every account with limits once, in parts of so many. One that cannot be brought along keeps it from nobody else.
    ///
    /// # Errors
    /// The last account's that could not be.
    pub(crate) async fn follow_all(&self, part: i64) -> Result<(), Error> {
        let (mut last, mut failed) = (None, None);
        loop {
            let mut tx = self.db.read().await?;
            let owners = limits::owners_after(&mut tx, last, part).await?;
            let Some(newest) = owners.last().copied() else { return failed.map_or(Ok(()), Err) };
            let sets = limits::of(&mut tx, &owners).await?;
            let known = settings::of_owners(&mut tx, &owners).await?;
            drop(tx);
            for (owner, set) in sets {
                let zone = known.get(&owner).map_or_else(Zone::default, |settings| settings.zone.clone());
                if *set.zone() == zone {
                    continue;
                }
                if let Err(error) = self.bring_along(owner).await {
                    tracing::warn!(%owner, %error, "the days and months of an account's limits cannot be moved");
                    failed = Some(error);
                }
            }
            last = Some(newest);
        }
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
            let mut begun = Reading::go_on(reading.take(), owner, asked, &zone);
            begun.ahead(&self.db, &self.rules.current(), ()).await?;
            reading = Some(begun);
        }
        Err(Error::Overloaded)
    }
}
