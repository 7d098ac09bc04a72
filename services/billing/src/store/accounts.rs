//! Accounts: one row per owner with its balances and the head of its ledger.

use std::collections::HashSet;

use bursar_db::{Db, DbError, Tx, exactly_one, on};
use bursar_id::OwnerId;
use bursar_members::Standing;
use bursar_money::Credits;
use bursar_time::Timestamp;

use super::json::JsonRows;
use super::{keys, sql, sql_one, unreadable};
use crate::domain::{Account, AlertPercents, Allowance, LedgerHead, Month, PercentSet, Period};

#[derive(sqlx::FromRow)]
struct AccountRow {
    owner: Vec<u8>,
    seq: i64,
    head_hash: Vec<u8>,
    last_at: Timestamp,
    available: Credits,
    held: Credits,
    debt: Credits,
    open_holds: i64,
    terms: i64,
    standing: i64,
    charged: i64,
    period_anchor: Timestamp,
    period_number: i64,
    period_spent: i64,
    renews_at: Option<Timestamp>,
    limits: i64,
    top_up_below: Option<Credits>,
    allowance_alerts: Option<String>,
    allowance: Option<Vec<u8>>,
    next_lapse: Option<Timestamp>,
}

impl AccountRow {
    fn read(self) -> Result<(OwnerId, Account), DbError> {
        let head = LedgerHead {
            seq: keys::read_number(self.seq)?,
            hash: self.head_hash.try_into().map_err(|_| unreadable("an account's head is no hash"))?,
            at: self.last_at,
        };
        let month = u32::try_from(self.period_number).map_err(unreadable)?;
        let account = Account {
            head,
            available: self.available,
            held: self.held,
            debt: self.debt,
            open_holds: u32::try_from(self.open_holds).map_err(unreadable)?,
            terms: keys::read_number(self.terms)?,
            standing: read_standing(self.standing)?,
            charged: self.charged,
            period: Period { spent: self.period_spent, ..Period::anchored(self.period_anchor, month) },
            renews_at: self.renews_at,
            limits: u32::try_from(self.limits).map_err(unreadable)?,
            top_up_below: self.top_up_below,
            alert_at: self.allowance_alerts.as_deref().map(read_alerts).transpose()?.unwrap_or_default(),
            allowance: self.allowance.and_then(|it| Allowance::from_bytes(&it, head.seq)),
            next_lapse: self.next_lapse,
        };
        Ok((keys::read_owner(&self.owner)?, account))
    }
}

/// How an owner stands, as a number: never renumbered.
fn code(standing: Standing) -> i64 {
    match standing {
        Standing::Active => 0,
        Standing::Pending => 1,
        Standing::Suspended => 2,
        Standing::Deleted => 3,
        Standing::Purged => 4,
    }
}

fn read_standing(number: i64) -> Result<Standing, DbError> {
    let found = Standing::ALL.into_iter().find(|standing| code(*standing) == number);
    found.ok_or_else(|| unreadable("an account's owner stands in no known way"))
}

/// At which percentages of an allowance somebody wants to be told.
fn read_alerts(text: &str) -> Result<PercentSet, DbError> {
    let percents: AlertPercents = serde_json::from_str(text).map_err(unreadable)?;
    Ok(PercentSet::from(&percents))
}

/// How much of its allowance an account has used, as it is stored.
pub(super) fn allowance(account: &Account) -> Option<Vec<u8>> {
    account.allowance.map(|it| it.to_bytes(account.head.seq))
}

/// Opens the accounts of these owners at `now`; those that exist stay as they are.
pub(crate) async fn open(tx: &mut Tx, owners: &[OwnerId], now: Timestamp) -> Result<(), DbError> {
    let anchor = Period::calendar(now).anchor;
    match tx {
        Tx::Sqlite(t) => {
            let mut rows = JsonRows::with_capacity(owners.len() * 110);
            for owner in owners {
                rows.row(|row| {
                    row.hex(&owner.to_bytes()).hex(&LedgerHead::genesis_hash(*owner));
                });
            }
            let open = sqlx::query(sql::OPEN_ACCOUNTS.sqlite).bind(rows.finish());
            open.bind(now).bind(anchor).execute(&mut **t).await?;
        }
        Tx::Postgres(t) if let [owner] = owners => {
            let open = sqlx::query(sql_one::OPEN_ACCOUNT).bind(keys::owner(*owner));
            open.bind(LedgerHead::genesis_hash(*owner).to_vec()).bind(now).bind(anchor).execute(&mut **t).await?;
        }
        Tx::Postgres(t) => {
            let hashes: Vec<_> = owners.iter().map(|owner| LedgerHead::genesis_hash(*owner).to_vec()).collect();
            let open = sqlx::query(sql::OPEN_ACCOUNTS.postgres).bind(keys::owners(owners)).bind(hashes);
            open.bind(now).bind(anchor).execute(&mut **t).await?;
        }
    }
    Ok(())
}

/// Locks the accounts of these owners until the transaction ends; gives them in the owners' order. Owners without an
/// account are missing from the answer.
pub(crate) async fn lock(tx: &mut Tx, owners: &[OwnerId]) -> Result<Vec<(OwnerId, Account)>, DbError> {
    let rows: Vec<AccountRow> = match tx {
        Tx::Sqlite(t) => {
            let lock = sqlx::query_as(sql::LOCK_ACCOUNTS.sqlite).bind(keys::owner_list(owners));
            lock.fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) if let [owner] = owners => {
            sqlx::query_as(sql_one::LOCK_ACCOUNT).bind(keys::owner(*owner)).fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) => {
            sqlx::query_as(sql::LOCK_ACCOUNTS.postgres).bind(keys::owners(owners)).fetch_all(&mut **t).await?
        }
    };
    rows.into_iter().map(AccountRow::read).collect()
}

/// One account as it is, without a lock.
pub(crate) async fn find(tx: &mut Tx, owner: OwnerId) -> Result<Option<Account>, DbError> {
    let row: Option<AccountRow> =
        on!(tx, c => sqlx::query_as(sql::READ_ACCOUNT).bind(keys::owner(owner)).fetch_optional(c).await?);
    Ok(row.map(AccountRow::read).transpose()?.map(|(_, account)| account))
}

/// Those of some accounts that somebody else has locked; on PostgreSQL.
pub(crate) const LOCKED: &str =
    "WITH free AS MATERIALIZED (SELECT owner FROM accounts WHERE owner = ANY ($1::bytea[]) FOR UPDATE SKIP LOCKED)
     SELECT owner FROM accounts WHERE owner = ANY ($1::bytea[]) AND owner NOT IN (SELECT owner FROM free)";

/// Those of these accounts that somebody else has locked. Nobody can on SQLite, which has one writer.
pub(crate) async fn locked(db: &Db, owners: &[OwnerId]) -> Result<Vec<OwnerId>, DbError> {
    let Db::Postgres(pool) = db else { return Ok(Vec::new()) };
    let rows: Vec<(Vec<u8>,)> =
        sqlx::query_as(LOCKED).bind(keys::owners(owners)).fetch_all(&mut pool.acquire().await?).await?;
    rows.iter().map(|(owner,)| keys::read_owner(owner)).collect()
}

/// Notes that nothing renews the account that seemed to be due at `now`: its subscription has ended, or grants nothing.
pub(crate) async fn no_renewal(tx: &mut Tx, owner: OwnerId, now: Timestamp) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(sql::NO_RENEWAL).bind(keys::owner(owner)).bind(now).execute(c).await?.rows_affected());
    Ok(())
}

/// Begins a month counted from an anchor in an account that is open, where no grant does: of its allowance nothing is left.
/// What was spent in it before counts in it.
pub(crate) async fn begin_period(tx: &mut Tx, owner: OwnerId, anchor: Timestamp, month: &Month) -> Result<(), DbError> {
    let (owner, number) = (keys::owner(owner), i64::from(month.number));
    exactly_one(on!(tx, c => sqlx::query(sql::BEGIN_PERIOD)
        .bind(owner).bind(anchor).bind(number).bind(month.end).execute(c).await?.rows_affected()))
}

/// Says that what is remembered of an account, if it is open, counts no more: something that its requests are decided
/// by has changed. Waits for the batch that has it in work.
pub(crate) async fn raise_terms(tx: &mut Tx, owner: OwnerId) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(sql::RAISE_TERMS).bind(keys::owner(owner)).execute(c).await?.rows_affected());
    Ok(())
}

/// Says how the owner of an account that is open stands from now on. Waits for the batch that has it in work, and what is
/// remembered of the account counts no more.
pub(crate) async fn set_standing(tx: &mut Tx, owner: OwnerId, standing: Standing) -> Result<(), DbError> {
    let set = on!(tx, c => sqlx::query(sql::SET_STANDING).bind(keys::owner(owner)).bind(code(standing))
        .execute(c).await?.rows_affected());
    bursar_db::exactly_one(set)
}

/// Says below what an account that is open is topped up from now on. Waits for the batch that has it in work, and what is
/// remembered of the account counts no more.
pub(crate) async fn set_top_up(tx: &mut Tx, owner: OwnerId, below: Option<Credits>) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(sql::SET_TOP_UP).bind(keys::owner(owner)).bind(below)
        .execute(c).await?.rows_affected()))
}

/// Says at which percentages of an allowance the managers of an account that is open want to be told from now on. Waits for
/// the batch that has it in work, and what is remembered of the account counts no more.
pub(crate) async fn set_alerts(tx: &mut Tx, owner: OwnerId, percents: &AlertPercents) -> Result<(), DbError> {
    let some = (!percents.as_slice().is_empty()).then(|| serde_json::to_string(percents)).transpose();
    let some = some.map_err(unreadable)?;
    exactly_one(on!(tx, c => sqlx::query(sql::SET_ALERTS).bind(keys::owner(owner)).bind(some)
        .execute(c).await?.rows_affected()))
}

/// The owners of accounts who are not active, after `after`, a page at a time, in order.
pub(crate) async fn inactive_after(
    tx: &mut Tx,
    after: Option<OwnerId>,
    limit: i64,
) -> Result<Vec<(OwnerId, Standing)>, DbError> {
    let after = after.map(keys::owner).unwrap_or_default();
    let rows: Vec<(Vec<u8>, i64)> =
        on!(tx, c => sqlx::query_as(sql::INACTIVE_AFTER).bind(after).bind(limit).fetch_all(c).await?);
    rows.iter().map(|(owner, standing)| Ok((keys::read_owner(owner)?, read_standing(*standing)?))).collect()
}

/// The same for every organization's account: anybody's membership may have changed. Takes the rows as they lie, since
/// no statement that spans distributed tables may lock them in order; where that crosses a batch, the database ends one
/// of the two, which is then done again.
pub(crate) async fn raise_all_terms(tx: &mut Tx) -> Result<(), DbError> {
    // Organizations come before users.
    let first_user = vec![1_u8];
    on!(tx, c => sqlx::query(sql::RAISE_ALL_TERMS).bind(first_user).execute(c).await?.rows_affected());
    Ok(())
}

/// Up to `limit` accounts that have something to book at `now`, the longest overdue first.
pub(crate) async fn due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<OwnerId>, DbError> {
    let rows: Vec<(Vec<u8>,)> =
        on!(tx, c => sqlx::query_as(sql::DUE_ACCOUNTS).bind(now).bind(limit).fetch_all(c).await?);
    rows.iter().map(|(owner,)| keys::read_owner(owner)).collect()
}

/// Every owner after `after`, a page at a time, in order.
pub(crate) async fn after(tx: &mut Tx, after: Option<OwnerId>, limit: i64) -> Result<Vec<OwnerId>, DbError> {
    let after = after.map(keys::owner).unwrap_or_default();
    let rows: Vec<(Vec<u8>,)> =
        on!(tx, c => sqlx::query_as(sql::OWNERS_AFTER).bind(after).bind(limit).fetch_all(c).await?);
    rows.iter().map(|(owner,)| keys::read_owner(owner)).collect()
}

/// Those of these owners who have an account.
pub(crate) async fn among(tx: &mut Tx, owners: &[OwnerId]) -> Result<HashSet<OwnerId>, DbError> {
    let rows: Vec<(Vec<u8>,)> = match tx {
        Tx::Sqlite(t) => {
            sqlx::query_as(sql::OWNERS_AMONG.sqlite).bind(keys::owner_list(owners)).fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) => {
            sqlx::query_as(sql::OWNERS_AMONG.postgres).bind(keys::owners(owners)).fetch_all(&mut **t).await?
        }
    };
    rows.iter().map(|(owner,)| keys::read_owner(owner)).collect()
}

/// What is stored of an owner beside the account's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Beside {
    Entries,
    Lots,
    Payments,
    Purchases,
    Invoices,
    Subscriptions,
    Details,
    Holds,
    Hours,
    Days,
    Meters,
    Uses,
}

impl Beside {
    pub(crate) const ALL: [Self; 12] = [
        Self::Entries,
        Self::Lots,
        Self::Payments,
        Self::Purchases,
        Self::Invoices,
        Self::Subscriptions,
        Self::Details,
        Self::Holds,
        Self::Hours,
        Self::Days,
        Self::Meters,
        Self::Uses,
    ];
}

/// The first owner after `after` of whom there is something of a kind, in the order in which its table has them.
pub(crate) async fn next_with(tx: &mut Tx, what: Beside, after: Option<OwnerId>) -> Result<Option<OwnerId>, DbError> {
    let text = match what {
        Beside::Entries => return next_in(tx, sql::NEXT_WITH_ENTRIES, after).await,
        Beside::Lots => return next_in(tx, sql::NEXT_WITH_LOTS, after).await,
        Beside::Payments => sql::NEXT_WITH_PAYMENTS,
        Beside::Purchases => sql::NEXT_WITH_PURCHASES,
        Beside::Invoices => sql::NEXT_WITH_INVOICES,
        Beside::Subscriptions => sql::NEXT_WITH_SUBSCRIPTIONS,
        Beside::Details => return next_in(tx, sql::NEXT_WITH_DETAILS, after).await,
        Beside::Holds => return next_in(tx, sql::NEXT_WITH_HOLDS, after).await,
        Beside::Hours => return next_in(tx, sql::NEXT_WITH_HOURS, after).await,
        Beside::Days => return next_in(tx, sql::NEXT_WITH_DAYS, after).await,
        Beside::Meters => return next_in(tx, sql::NEXT_WITH_METERS, after).await,
        Beside::Uses => return next_in(tx, sql::NEXT_WITH_USES, after).await,
    };
    let after = after.map(|it| it.to_string()).unwrap_or_default();
    let row: Option<(OwnerId,)> = on!(tx, c => sqlx::query_as(text).bind(after).fetch_optional(c).await?);
    Ok(row.map(|(owner,)| owner))
}

/// The same in a table of the credit path.
async fn next_in(tx: &mut Tx, text: &'static str, after: Option<OwnerId>) -> Result<Option<OwnerId>, DbError> {
    let after = after.map(keys::owner).unwrap_or_default();
    let row: Option<(Vec<u8>,)> = on!(tx, c => sqlx::query_as(text).bind(after).fetch_optional(c).await?);
    row.map(|(owner,)| keys::read_owner(&owner)).transpose()
}

/// Whether anything is stored of an owner in a table of the credit path, where nobody has anything without an account. What
/// reports have rolled up says nothing by itself, and limits may be set before.
pub(crate) async fn has_left(tx: &mut Tx, owner: OwnerId) -> Result<bool, DbError> {
    let row: Option<(Vec<u8>,)> = on!(tx, c => sqlx::query_as(sql::LEFT_OF_ACCOUNT)
        .bind(keys::owner(owner)).fetch_optional(c).await?);
    Ok(row.is_some())
}

/// Where the ledgers of the owners after `after` end, a page at a time, in the order of owners.
pub(crate) async fn heads_after(
    tx: &mut Tx,
    after: Option<OwnerId>,
    limit: i64,
) -> Result<Vec<(OwnerId, LedgerHead)>, DbError> {
    let after = after.map(keys::owner).unwrap_or_default();
    let rows: Vec<(Vec<u8>, i64, Vec<u8>, Timestamp)> =
        on!(tx, c => sqlx::query_as(sql::HEADS_AFTER).bind(after).bind(limit).fetch_all(c).await?);
    let read = |(owner, seq, hash, at): (Vec<u8>, i64, Vec<u8>, Timestamp)| {
        let hash = hash.try_into().map_err(|_| unreadable("an account's head is no hash"))?;
        Ok((keys::read_owner(&owner)?, LedgerHead { seq: keys::read_number(seq)?, hash, at }))
    };
    rows.into_iter().map(read).collect()
}
