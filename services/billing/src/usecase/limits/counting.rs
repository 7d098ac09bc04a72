//! Having limits count what their windows have seen where nobody counts that yet: those of a limit that is set, and where an
//! account's days and months are to begin elsewhere, those of all its limits by the day and the month.
//!
//! The ledger is read while the account is not locked, on the threads for what is costly, and not before it is known that it has to
//! be: a request that was answered before, or is refused, reads nothing. Only what has been booked since is read under the lock, in
//! the transaction after which the windows are others.

pub(crate) mod following;

use bursar_db::{Db, Tx};
use bursar_id::OwnerId;
use bursar_rpc::Caller;
use bursar_time::{Clock, Zone};

use super::reading::Reading;
use super::{asks, of};
use crate::domain::{Account, Asked, SettingsChange, is_supported};
use crate::error::Error;
use crate::lane::RulesHandle;
use crate::store::{accounts, limits};
use crate::usecase::costly::{Costly, Place};
use crate::usecase::subscriptions::SubscriptionUseCases;

/// Counts what windows of limits have seen.
#[derive(Clone)]
pub(crate) struct Counting {
    db: Db,
    clock: Clock,
    rules: RulesHandle,
    costly: Costly,
}

impl Counting {
    /// In the store and by the clock of these subscriptions.
    pub(crate) fn beside(of: &SubscriptionUseCases, (rules, costly): (&RulesHandle, &Costly)) -> Self {
        let till = &of.till;
        Self { db: till.db.clone(), clock: till.clock.clone(), rules: rules.clone(), costly: costly.clone() }
    }

    /// Reads what these windows have seen until little is left, for somebody who asks about an owner, or for a job where nobody does.
    pub(super) async fn ahead(
        &self,
        (caller, owner): (Option<&Caller>, OwnerId),
        (asked, zone): (Vec<Asked>, &Zone),
        reading: &mut Option<Reading>,
    ) -> Result<(), Error> {
        if asked.is_empty() {
            return Ok(());
        }
        let mut begun = Reading::go_on(reading.take(), owner, asked, zone);
        let (db, rules) = (self.db.clone(), self.rules.current());
        let ahead = move |place: Place| async move { begun.ahead(&db, &rules, place).await.map(|()| begun) };
        *reading = Some(match caller {
            Some(caller) => self.costly.read(caller, owner, ahead).await?,
            None => self.costly.read_for_job(owner, ahead).await?,
        });
        Ok(())
    }

    /// Has what these windows have seen be what is counted of them. The account is locked. `false`: nothing is read yet, which is
    /// for the threads for what is costly, or more is left than is read while others wait.
    pub(super) async fn count(
        &self,
        tx: &mut Tx,
        (owner, account): (OwnerId, &Account),
        (asked, zone): (Vec<Asked>, &Zone),
        reading: &mut Option<Reading>,
    ) -> Result<bool, Error> {
        if asked.is_empty() {
            return Ok(true);
        }
        let ahead = reading.take();
        if ahead.is_none() && account.head.seq > 0 {
            return Ok(false);
        }
        let mut begun = Reading::go_on(ahead, owner, asked, zone);
        if !begun.rest(tx, &self.rules.current(), account.head.seq).await? {
            *reading = Some(begun);
            return Ok(false);
        }
        limits::replace_use(tx, owner, &begun.about(), &begun.finish()).await?;
        Ok(true)
    }

    /// Reads what the account's days and months have seen, where a change of its settings is to have them begin elsewhere, or an
    /// earlier program's has left them as they were: where the account's days begin already, limits follow, whatever may be chosen now.
    pub(crate) async fn follow_ahead(
        &self,
        caller: &Caller,
        owner: OwnerId,
        change: &SettingsChange,
        reading: &mut Option<Reading>,
    ) -> Result<(), Error> {
        let now = self.clock.now();
        let mut tx = self.db.read().await?;
        let Some(account) = accounts::find(&mut tx, owner).await? else { return Ok(()) };
        let (set, present) = of(&mut tx, owner).await?;
        drop(tx);
        let is_refused = change.zone.as_ref().is_some_and(|zone| !is_supported(zone, now));
        let zone = change.zone.as_ref().unwrap_or(&present);
        if set.zone() == zone || is_refused {
            return Ok(());
        }
        let asked = asks(&account, None, (&set, zone), now);
        self.ahead((Some(caller), owner), (asked, zone), reading).await
    }

    /// Has the days and months of the account's limits begin as in `zone` from now on, with what they have seen, if they do not. The
    /// account is locked. `false`: more is to be read than is read while others wait.
    pub(crate) async fn follow(
        &self,
        tx: &mut Tx,
        (owner, account): (OwnerId, &Account),
        zone: &Zone,
        reading: &mut Option<Reading>,
    ) -> Result<bool, Error> {
        let Some(set) = limits::of(tx, &[owner]).await?.remove(&owner).filter(|set| set.zone() != zone) else {
            return Ok(true);
        };
        let asked = asks(account, None, (&set, zone), self.clock.now());
        if !self.count(tx, (owner, account), (asked, zone), reading).await? {
            return Ok(false);
        }
        limits::move_to(tx, owner, zone).await?;
        Ok(true)
    }
}
