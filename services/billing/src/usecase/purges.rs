//! What becomes of an account whose owner is purged: unspent credits are voided, what the ledger says in free text is erased,
//! and the account closes with its last hold. Financial records stay: entries, lots, subscriptions and purchases.
//!
//! Credits are voided by the decisions themselves (`domain/decide/owner.rs`), some lots with each, whoever asks for
//! whatever; the job asks until nothing is left. What is held stays so until its hold ends, and is then gone.
//!
//! Details are erased twice where holds are open: at once, and when the last of them has ended. Each time the ledger first
//! says whose are erased, an entry for each member and one for what belongs to no member, and then they are removed, in
//! portions. All of it may be cut off anywhere and done again: only what is there is erased, and only whose something is
//! there is said.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bursar_db::Db;
use bursar_id::{OwnerId, UserId};
use bursar_jobs::{Failure, Jobs, Kind, Lease, Next, Terms, Work};
use bursar_members::Standing;
use bursar_time::{Clock, Span};
use serde::{Deserialize, Serialize};

use super::orders::Till;
use crate::domain::{Account, Actor, Command, Outcome, Request};
use crate::error::Error;
use crate::lane::{Job, Lanes};
use crate::store::{accounts, details};

/// Clearing one account.
pub(crate) const PURGE: Kind<Purge> = Kind::new("billing.purge");

/// On which terms: a long ledger's details are many portions.
pub(crate) const TERMS: Terms = Terms { limit: Duration::from_mins(5), ..Terms::DEFAULT };

/// How often it is looked whether the last hold has ended.
const LOOK_AGAIN: Span = Span::MINUTE;

/// How many pages of details one transaction takes.
const PAGES: usize = 64;

/// How many erasures are booked together.
const ERASURES: usize = 200;

/// Which account to clear, and how far that has come.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Purge {
    /// Whose.
    owner: OwnerId,
    /// Whether all has been erased while holds were open: what is left is what their ends have added.
    #[serde(default)]
    closing: bool,
}

/// Has an account cleared.
pub(super) async fn begin(till: &Till, jobs: &Jobs, owner: OwnerId) -> Result<(), Error> {
    let now = till.clock.now();
    let mut tx = till.db.begin().await?;
    let purge = Purge { owner, closing: false };
    jobs.enqueue(&mut tx, PURGE, &purge, now, Some(&owner.to_string())).await?;
    tx.commit().await?;
    jobs.wake();
    Ok(())
}

/// Clears accounts.
#[derive(Clone)]
pub(crate) struct Purger {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) lanes: Lanes,
    pub(crate) jobs: Jobs,
}

impl Work for Purger {
    type Payload = Purge;

    async fn run(&self, lease: &Lease, purge: Purge) -> Result<Next, Failure> {
        let Purge { owner, closing } = purge;
        if self.account(owner).await?.is_none() {
            return Ok(Next::Finished);
        }
        self.void(owner).await?;
        // What has lapsed by now is booked: no hold is open that could still end.
        let closed = self.account(owner).await?.is_none_or(|account| account.open_holds == 0);
        // In between nothing has to be erased: what ends of holds add is, when the last of them has ended.
        if closed || !closing {
            self.erase(owner).await?;
        }
        if closed {
            tracing::info!(%owner, "the account of an owner who is gone is closed");
            return Ok(Next::Finished);
        }
        self.later(lease, &Purge { owner, closing: true }).await
    }
}

impl Purger {
    /// The account, if its owner is purged still: a restored organization may know it again.
    async fn account(&self, owner: OwnerId) -> Result<Option<Account>, Error> {
        let account = accounts::find(&mut self.db.read().await?, owner).await?;
        Ok(account.filter(|account| account.standing == Standing::Purged))
    }

    /// Voids what is left, some lots with each request.
    async fn void(&self, owner: OwnerId) -> Result<(), Error> {
        while !matches!(self.lanes.one(job(owner, Command::Sweep)).await??, Outcome::Swept { booked: 0 }) {}
        Ok(())
    }

    /// Comes back when the next hold may have lapsed, or been settled.
    async fn later(&self, lease: &Lease, purge: &Purge) -> Result<Next, Failure> {
        let now = self.clock.now();
        let mut tx = self.db.begin().await?;
        lease.finish(&mut tx).await?;
        let at = now.saturating_add(LOOK_AGAIN);
        self.jobs.enqueue(&mut tx, PURGE, purge, at, Some(&purge.owner.to_string())).await?;
        tx.commit().await?;
        Ok(Next::Finished)
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
        let mut next = Some(1);
        while let Some(from) = next {
            next = self.portion(owner, &erased, from).await?;
        }
        Ok(())
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

    /// One transaction of removing, from entry number `from` on; says where to go on. The account is locked: a page is
    /// read, changed and put back as a whole.
    async fn portion(
        &self,
        owner: OwnerId,
        erased: &BTreeMap<Option<UserId>, u64>,
        from: u64,
    ) -> Result<Option<u64>, Error> {
        // Before the first of these entries nothing was said of anybody else.
        let Some(before) = erased.values().min().copied() else { return Ok(None) };
        let mut tx = self.db.begin().await?;
        accounts::lock(&mut tx, &[owner]).await?;
        let pages = details::from(&mut tx, owner, from, PAGES).await?;
        let next = match pages.last() {
            Some((last, _)) if pages.len() == PAGES => Some(last + 1),
            _ => None,
        };
        let changed = pages.into_iter().filter_map(|(last, mut page)| page.erase_each(erased).then_some((last, page)));
        details::replace(&mut tx, owner, &changed.collect::<Vec<_>>()).await?;
        let copies = (from, next.unwrap_or(before).min(before));
        details::erase_all_hold_labels(&mut tx, owner, copies).await?;
        details::erase_lot_notes(&mut tx, owner, copies).await?;
        tx.commit().await?;
        Ok(next)
    }
}

/// The program's own request.
fn job(owner: OwnerId, command: Command) -> Job {
    Job { owner, actor: Actor::Job, request: Request::unnamed(command) }
}
