//! Accounts: one row per owner with its balances and the head of its ledger.

use bursar_db::{DbError, Tx, on};
use bursar_id::OwnerId;
use bursar_money::Credits;
use bursar_time::Timestamp;
use sqlx::AssertSqlSafe;

use super::json::JsonRows;
use super::{bulk, sql};
use crate::domain::{Account, LedgerHead, Period};

#[derive(sqlx::FromRow)]
struct AccountRow {
    owner: OwnerId,
    seq: i64,
    head_hash: Vec<u8>,
    available: Credits,
    held: Credits,
    period_start: Timestamp,
    period_end: Timestamp,
    period_spent: Credits,
    last_at: Timestamp,
}

impl AccountRow {
    fn read(self) -> Result<(OwnerId, Account), DbError> {
        let corrupt = || DbError::corrupt("an account's ledger head is unreadable");
        let head = LedgerHead {
            seq: u64::try_from(self.seq).map_err(|_| corrupt())?,
            hash: self.head_hash.try_into().map_err(|_| corrupt())?,
            at: self.last_at,
        };
        let period = Period { start: self.period_start, end: self.period_end, spent: self.period_spent };
        Ok((self.owner, Account { head, available: self.available, held: self.held, period }))
    }
}

/// Opens the accounts of these owners at `now`, in the period `[start, end)`; those that exist stay as they are.
pub(crate) async fn open(
    tx: &mut Tx,
    owners: &[OwnerId],
    now: Timestamp,
    (start, end): (Timestamp, Timestamp),
) -> Result<(), DbError> {
    match tx {
        Tx::Sqlite(t) => {
            let mut rows = JsonRows::with_capacity(owners.len() * 110);
            for owner in owners {
                rows.row(|row| {
                    row.word(owner).hex(&LedgerHead::genesis_hash(*owner));
                });
            }
            let open = sqlx::query(sql::OPEN_ACCOUNTS.sqlite).bind(rows.finish());
            open.bind(start).bind(end).bind(now).execute(&mut **t).await?;
        }
        Tx::Postgres(t) => {
            let hashes: Vec<_> = owners.iter().map(|owner| LedgerHead::genesis_hash(*owner).to_vec()).collect();
            let open = sqlx::query(sql::OPEN_ACCOUNTS.postgres).bind(owners.to_vec()).bind(hashes);
            open.bind(start).bind(end).bind(now).execute(&mut **t).await?;
        }
    }
    Ok(())
}

/// Locks the accounts of these owners, in the owners' order, until the transaction ends. Owners without an account are
/// missing from the answer.
pub(crate) async fn lock(tx: &mut Tx, owners: &[OwnerId]) -> Result<Vec<(OwnerId, Account)>, DbError> {
    let rows: Vec<AccountRow> = match tx {
        Tx::Sqlite(t) => {
            let lock = sqlx::query_as(sql::LOCK_ACCOUNTS.sqlite).bind(owner_list(owners));
            lock.fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) => {
            sqlx::query_as(sql::LOCK_ACCOUNTS.postgres).bind(owners.to_vec()).fetch_all(&mut **t).await?
        }
    };
    rows.into_iter().map(AccountRow::read).collect()
}

/// One account as it is, without a lock.
pub(crate) async fn find(tx: &mut Tx, owner: OwnerId) -> Result<Option<Account>, DbError> {
    let row: Option<AccountRow> = on!(tx, c => sqlx::query_as(sql::READ_ACCOUNT).bind(owner).fetch_optional(c).await?);
    Ok(row.map(AccountRow::read).transpose()?.map(|(_, account)| account))
}

/// Up to `limit` accounts that have something to book at `now`, the longest overdue first.
pub(crate) async fn due(tx: &mut Tx, now: Timestamp, limit: i64) -> Result<Vec<OwnerId>, DbError> {
    let rows: Vec<(OwnerId,)> =
        on!(tx, c => sqlx::query_as(sql::DUE_ACCOUNTS).bind(now).bind(limit).fetch_all(c).await?);
    Ok(rows.into_iter().map(|(owner,)| owner).collect())
}

/// Every owner after `after`, a page at a time, in the order of their ids.
pub(crate) async fn after(tx: &mut Tx, after: Option<OwnerId>, limit: i64) -> Result<Vec<OwnerId>, DbError> {
    let after = after.map(|owner| owner.to_string()).unwrap_or_default();
    let rows: Vec<(OwnerId,)> =
        on!(tx, c => sqlx::query_as(sql::OWNERS_AFTER).bind(after).bind(limit).fetch_all(c).await?);
    Ok(rows.into_iter().map(|(owner,)| owner).collect())
}

/// What a batch leaves of one account.
pub(crate) struct SavedAccount {
    pub(crate) owner: OwnerId,
    pub(crate) account: Account,
    pub(crate) next_due: Option<Timestamp>,
}

/// Writes balances, heads and the next due times back.
pub(crate) async fn save(tx: &mut Tx, accounts: &[SavedAccount]) -> Result<(), DbError> {
    match tx {
        Tx::Sqlite(t) => {
            for part in bulk::parts(accounts) {
                let mut query = sqlx::query(AssertSqlSafe(bulk::for_rows(sql::SAVE_ACCOUNTS.sqlite, part.len())));
                for SavedAccount { owner, account, next_due } in part {
                    query = query.bind(*owner).bind(number(account.head.seq)).bind(account.head.hash.to_vec());
                    query = query.bind(account.available).bind(account.held);
                    query = query.bind(account.period.start).bind(account.period.end).bind(account.period.spent);
                    query = query.bind(account.head.at).bind(*next_due).bind(account.head.at);
                }
                query.execute(&mut **t).await?;
            }
        }
        Tx::Postgres(t) => {
            let column = |of: fn(&Account) -> i64| -> Vec<i64> { accounts.iter().map(|it| of(&it.account)).collect() };
            sqlx::query(sql::SAVE_ACCOUNTS.postgres)
                .bind(accounts.iter().map(|it| it.owner).collect::<Vec<_>>())
                .bind(column(|it| number(it.head.seq)))
                .bind(accounts.iter().map(|it| it.account.head.hash.to_vec()).collect::<Vec<_>>())
                .bind(column(|it| it.available.micro()))
                .bind(column(|it| it.held.micro()))
                .bind(column(|it| it.period.start.as_micros()))
                .bind(column(|it| it.period.end.as_micros()))
                .bind(column(|it| it.period.spent.micro()))
                .bind(column(|it| it.head.at.as_micros()))
                .bind(accounts.iter().map(|it| it.next_due.map(Timestamp::as_micros)).collect::<Vec<_>>())
                .execute(&mut **t)
                .await?;
        }
    }
    Ok(())
}

/// Owners as the JSON list that SQLite's statements take.
pub(crate) fn owner_list(owners: &[OwnerId]) -> String {
    let mut list = JsonRows::with_capacity(owners.len() * 34);
    for owner in owners {
        list.word(owner);
    }
    list.finish()
}

/// A ledger number in its stored form. Numbers are gapless, so none ever comes near the limit.
pub(crate) fn number(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}
