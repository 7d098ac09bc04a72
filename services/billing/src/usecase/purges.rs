//! What becomes of an account whose owner is purged: unspent credits are voided, what the ledger says in free text is erased,
//! and the account closes with its last hold. Financial records stay: entries, lots, subscriptions, purchases and invoices;
//! what managers have set is erased, and the profiles in invoices are when their time is over (`invoices.rs`).
//!
//! Credits are voided by the decisions themselves (`domain/decide/owner.rs`), some lots with each, whoever asks for
//! whatever; the job asks until nothing is left. What is held stays so until its hold ends, and is then gone.
//!
//! Details are erased once: of what is done afterwards (a hold that ends, a refund, another erasure) none are kept. The ledger
//! first says whose are erased, an entry for each member and one for what belongs to no member, and then they are removed,
//! in portions. All of it may be cut off anywhere and done again: only what is there is erased, and only whose something is
//! there is said.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bursar_db::Db;
use bursar_id::{OwnerId, UserId};
use bursar_jobs::{Failure, Jobs, Kind, Lease, Next, Terms, Work};
use bursar_members::Standing;
use serde::{Deserialize, Serialize};

use super::erasures;
use super::invoices;
use super::orders::Till;
use super::removals::Removals;
use crate::domain::{Actor, Command, Outcome, Request};
use crate::error::Error;
use crate::lane::{Job, Lanes};
use crate::store::{accounts, details, limits, projects};

/// Clearing one account.
pub(crate) const PURGE: Kind<Purge> = Kind::new("billing.purge");

/// On which terms: a long ledger's details are many portions, and given up, they would stay for ever.
pub(crate) const TERMS: Terms = Terms { limit: Duration::from_mins(5), ..Terms::PATIENT };

/// How many pages of details are looked through at a time.
const PAGES: usize = 64;

/// How many erasures are booked together.
const ERASURES: usize = 200;

/// Which account to clear.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Purge {
    /// Whose.
    owner: OwnerId,
}

/// Has an account cleared.
pub(super) async fn begin(till: &Till, jobs: &Jobs, owner: OwnerId) -> Result<(), Error> {
    let now = till.clock.now();
    let mut tx = till.db.begin().await?;
    jobs.enqueue(&mut tx, PURGE, &Purge { owner }, now, Some(&owner.to_string())).await?;
    tx.commit().await?;
    jobs.wake();
    Ok(())
}

/// Clears accounts.
#[derive(Clone)]
pub(crate) struct Purger {
    pub(crate) db: Db,
    pub(crate) lanes: Lanes,
    pub(crate) removals: Removals,
}

impl Work for Purger {
    type Payload = Purge;

    async fn run(&self, _lease: &Lease, Purge { owner }: Purge) -> Result<Next, Failure> {
        self.clear(owner).await?;
        Ok(Next::Finished)
    }
}

impl Purger {
    /// Clears an account, if its owner is purged still: a restored organization may know it again.
    async fn clear(&self, owner: OwnerId) -> Result<(), Error> {
        let account = accounts::find(&mut self.db.read().await?, owner).await?;
        if account.is_none_or(|account| account.standing != Standing::Purged) {
            return Ok(());
        }
        self.leave(owner).await?;
        self.void(owner).await?;
        self.forget_limits(owner).await?;
        self.erase(owner).await?;
        tracing::info!(%owner, "the account of an owner who is gone is cleared");
        Ok(())
    }

    /// Erases what managers have set. Invoices stay.
    async fn leave(&self, owner: OwnerId) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        let cards = invoices::leave(&mut tx, owner).await?;
        self.removals.later(&mut tx, cards).await?;
        Ok(tx.commit().await?)
    }

    /// Voids what is left, some lots with each request.
    async fn void(&self, owner: OwnerId) -> Result<(), Error> {
        while !matches!(self.lanes.one(job(owner, Command::Sweep)).await??, Outcome::Swept { booked: 0 }) {}
        Ok(())
    }

    /// Nothing is spent any more that a limit could be about: the limits go, and the projects that they may be about. What was
    /// used of limits that are deleted is still there.
    async fn forget_limits(&self, owner: OwnerId) -> Result<(), Error> {
        let mut tx = self.db.begin().await?;
        let account = accounts::lock(&mut tx, &[owner]).await?.pop();
        if account.is_some_and(|(_, account)| account.standing == Standing::Purged) {
            limits::delete_all(&mut tx, owner).await?;
            projects::forget_all(&mut tx, owner).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Erases what all entries say in free text so far.
    async fn erase(&self, owner: OwnerId) -> Result<(), Error> {
        let whose = self.whose(owner).await?;
        let mut erased = BTreeMap::new();
        for some in whose.chunks(ERASURES) {
            let erase = |member: &Option<UserId>| job(owner, Command::Erase { member: *member });
            for answer in self.lanes.many(some.iter().map(erase).collect()).await? {
                let Outcome::Erased(it) = answer? else { return Err(Error::Failed) };
                erased.insert(it.member, it.entry);
            }
        }
        erasures::remove(&self.db, owner, &erased).await
    }

    /// Whose details there are, `None` among them for what belongs to no member.
    async fn whose(&self, owner: OwnerId) -> Result<Vec<Option<UserId>>, Error> {
        let mut whose = BTreeSet::new();
        let mut from = 1;
        loop {
            let pages = details::from(&mut self.db.read().await?, owner, from, PAGES).await?;
            let Some((last, _)) = pages.last() else { return Ok(whose.into_iter().collect()) };
            from = last + 1;
            let entries = pages.iter().flat_map(|(_, page)| page.entries());
            whose.extend(entries.map(|(_, details)| details.member));
        }
    }
}

/// The program's own request.
fn job(owner: OwnerId, command: Command) -> Job {
    Job { owner, actor: Actor::Job, request: Request::unnamed(command) }
}

#[cfg(test)]
mod tests;
