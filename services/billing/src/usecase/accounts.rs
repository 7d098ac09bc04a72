//! Reading an account: its balance, its lots and its ledger.

use bursar_db::{Db, Tx};
use bursar_id::{OwnerId, UserId};
use bursar_money::Credits;
use bursar_rpc::{Caller, Page, PageRequest};
use bursar_time::{Clock, Timestamp};

use super::audit::{self, Verdict};
use super::costly::{Costly, Place};
use super::entries::{Listed, readable, with_details, worked_for};
use crate::domain::{BadLedger, Balance, EntryKind, Flaw, Lot, ModelName, Period, ProjectName, Unreadable};
use crate::error::Error;
use crate::lane::{RulesHandle, view};
use crate::store::{accounts, ledger, lots};

/// The most entries that one page of a filtered ledger looks at: a filter that matches little gives
/// short pages, never long waits.
const SCAN: i64 = 5_000;

/// Up to how many entries a page of an unfiltered ledger is read at once, beside everything else.
const SHORT: u32 = 200;

/// What an account has, with the lots that could be spent now in burn order.
#[derive(Debug, Clone)]
pub(crate) struct AccountView {
    pub(crate) balance: Balance,
    pub(crate) period: Period,
    pub(crate) lots: Vec<Lot>,
}

/// Which entries of a ledger are wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct LedgerFilter {
    pub(crate) from: Option<Timestamp>,
    pub(crate) to: Option<Timestamp>,
    pub(crate) member: Option<UserId>,
    pub(crate) project: Option<ProjectName>,
    pub(crate) kinds: Vec<EntryKind>,
    pub(crate) newest_first: bool,
}

impl LedgerFilter {
    /// Whether it leaves out entries of the span that it asks for.
    fn is_selective(&self) -> bool {
        self.member.is_some() || self.project.is_some() || !self.kinds.is_empty()
    }

    fn matches(&self, listed: &Listed) -> bool {
        let (entry, by) = (&listed.entry, listed.work.as_ref());
        self.from.is_none_or(|from| entry.at >= from)
            && self.to.is_none_or(|to| entry.at < to)
            && self.member.is_none_or(|member| by.is_some_and(|by| by.member == member))
            && self
                .project
                .as_ref()
                .is_none_or(|project| by.and_then(|by| by.project.as_ref()).is_some_and(|it| it == project))
            && (self.kinds.is_empty() || self.kinds.contains(&entry.kind()))
    }
}

/// Reads accounts.
#[derive(Clone)]
pub(crate) struct AccountUseCases {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) rules: RulesHandle,
    pub(crate) costly: Costly,
}

impl AccountUseCases {
    /// A service is told when there is no such account; to its user, one that was never used is empty.
    pub(crate) async fn opened(&self, caller: &Caller, owner: OwnerId) -> Result<(), Error> {
        if caller.user().is_ok() || accounts::find(&mut self.db.read().await?, owner).await?.is_some() {
            return Ok(());
        }
        Err(Error::NotFound("account"))
    }

    /// The account as it stands now, for any work or for what names this model and project; an owner without an account
    /// has nothing.
    pub(crate) async fn balance(
        &self,
        owner: OwnerId,
        model: Option<&ModelName>,
        project: Option<&ProjectName>,
    ) -> Result<AccountView, Error> {
        let now = self.clock.now();
        let mut tx = self.db.read().await?;
        let Some(state) = view(&mut tx, &self.rules.current(), owner, now).await? else {
            let none = Credits::ZERO;
            let balance = Balance { available: none, held: none, next_expiry: None, spent_this_period: 0 };
            return Ok(AccountView { balance, period: Period::calendar(now), lots: Vec::new() });
        };
        let now = state.time(now);
        let any = model.is_none() && project.is_none();
        let pays = |lot: &&Lot| any || lot.terms.scope.admits(model, project);
        Ok(AccountView {
            balance: state.balance(now, model, project),
            period: state.account().period,
            lots: state.spendable_lots(now).filter(pays).cloned().collect(),
        })
    }

    /// All lots there ever were, the newest first. It needs no place among what is costly: nothing is filtered, so a page is a
    /// walk along the table's key and reads the rows that it shows.
    pub(crate) async fn lots(&self, owner: OwnerId, page: &PageRequest<u64>) -> Result<Page<Lot>, Error> {
        let before = page.after().map_or(i64::MAX, |number| i64::try_from(*number).unwrap_or(i64::MAX));
        let mut tx = self.db.read().await?;
        let rows = lots::page(&mut tx, owner, before, page.limit()).await?;
        Ok(page.page(rows, |lot| lot.number)?)
    }

    /// The account's audit.
    ///
    /// # Errors
    /// [`Error::NewerFormat`] where a later program wrote an entry: this one cannot judge it.
    pub(crate) async fn verify(&self, caller: &Caller, owner: OwnerId) -> Result<Verdict, Error> {
        let (db, key, clock) = (self.db.clone(), self.rules.current().key, self.clock.clone());
        let audited = move |place: Place| async move {
            let mut tx = db.read().await?.keeping(place);
            audit::verify_in(&mut tx, key, owner, clock.now()).await
        };
        let verdict = self.costly.read(caller, owner, audited).await?;
        match &verdict.result {
            Err(BadLedger { flaw: Flaw::Unreadable(Unreadable::NewerFormat), .. }) => Err(Error::NewerFormat),
            _ => Ok(verdict),
        }
    }

    /// A page of the ledger, as `show` shows it. A page may be short, even empty, and still not be the last.
    pub(crate) async fn ledger<T: Send + 'static>(
        &self,
        (caller, owner): (&Caller, OwnerId),
        filter: &LedgerFilter,
        page: &PageRequest<u64>,
        show: impl FnOnce(Page<Listed>) -> T + Send + 'static,
    ) -> Result<T, Error> {
        // A page that is not filtered costs what it shows; one that is may look at thousands to show nothing.
        if !filter.is_selective() && page.size() <= SHORT {
            return self.entries(self.db.read().await?, owner, filter, page).await.map(show);
        }
        let (this, filter, page) = (self.clone(), filter.clone(), page.clone());
        let searched = move |place: Place| async move {
            let tx = this.db.read().await?.keeping(place);
            this.entries(tx, owner, &filter, &page).await.map(show)
        };
        self.costly.read(caller, owner, searched).await
    }

    async fn entries(
        &self,
        mut tx: Tx,
        owner: OwnerId,
        filter: &LedgerFilter,
        page: &PageRequest<u64>,
    ) -> Result<Page<Listed>, Error> {
        let Some(account) = accounts::find(&mut tx, owner).await? else {
            return Ok(Page::foreign(Vec::new(), String::new()));
        };
        let last = account.head.seq;
        let low = match filter.from {
            Some(from) => first_at(&mut tx, owner, last, from).await?,
            None => 1,
        };
        let high = match filter.to {
            Some(to) => first_at(&mut tx, owner, last, to).await?,
            None => last + 1,
        };
        // Entries with numbers in [low, high), narrowed by where the last page ended.
        let (low, high) = match (page.after(), filter.newest_first) {
            (None, _) => (low, high),
            (Some(seen), true) => (low, high.min(*seen)),
            (Some(seen), false) => (low.max(seen + 1), high),
        };
        let size = usize::try_from(page.size()).unwrap_or(usize::MAX);
        let mut found = Vec::new();
        let mut cursor = if filter.newest_first { high } else { low };
        let mut scanned: i64 = 0;
        while found.len() < size && scanned < SCAN && cursor_in(cursor, low, high, filter.newest_first) {
            let want = page.limit().max(200).min(SCAN - scanned);
            let rows = if filter.newest_first {
                ledger::before(&mut tx, owner, signed(cursor), want).await?
            } else {
                readable(ledger::after(&mut tx, owner, signed(cursor) - 1, want).await?)?
            };
            if rows.is_empty() {
                break;
            }
            for listed in worked_for(&mut tx, owner, rows, &self.rules.current()).await? {
                let seq = listed.entry.seq;
                scanned += 1;
                cursor = if filter.newest_first { seq } else { seq + 1 };
                let inside = (low..high).contains(&seq);
                if inside && filter.matches(&listed) {
                    found.push(listed);
                }
                if found.len() == size || !inside {
                    break;
                }
            }
        }
        with_details(&mut tx, owner, &mut found).await?;
        let more = cursor_in(cursor, low, high, filter.newest_first);
        let seen = if filter.newest_first { cursor } else { cursor.saturating_sub(1) };
        Ok(page.page_before(found, |listed| listed.entry.seq, more.then_some(seen))?)
    }
}

fn cursor_in(cursor: u64, low: u64, high: u64, newest_first: bool) -> bool {
    if newest_first { cursor > low && cursor <= high } else { cursor < high && cursor >= low }
}

fn signed(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

/// The number of the first entry at or after `at`, by bisection: entries are in order of time.
pub(super) async fn first_at(tx: &mut Tx, owner: OwnerId, last: u64, at: Timestamp) -> Result<u64, Error> {
    let (mut low, mut high) = (1, last + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        match ledger::time_of(tx, owner, signed(middle)).await? {
            Some(time) if time < at => low = middle + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}

#[cfg(test)]
mod tests;
