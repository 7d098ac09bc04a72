//! The ledger: append-only rows, numbered without gaps per owner. Entries come without their details, which stand in
//! pages of their own ([`super::details`]).

use bursar_db::{DbError, Tx, on};
use bursar_id::{ChargeId, OwnerId, Uuid};
use bursar_time::Timestamp;

use super::{keys, sql, sql_one, unreadable, unreadable_entry};
use crate::domain::{Entry, RequestKey, StoredEntry};

#[derive(sqlx::FromRow)]
struct EntryRow {
    owner: Vec<u8>,
    seq: i64,
    at: i64,
    request_key: Option<Uuid>,
    body: Vec<u8>,
    hash: Vec<u8>,
}

impl EntryRow {
    fn stored(self) -> (Vec<u8>, StoredEntry) {
        let Self { owner, seq, at, request_key, body, hash } = self;
        (owner, StoredEntry { seq, at, request_key: request_key.map(|key| key.as_bytes().to_vec()), body, hash })
    }
}

fn read(rows: Vec<EntryRow>) -> Result<Vec<(OwnerId, Entry)>, DbError> {
    let one = |row: EntryRow| {
        let (owner, stored) = row.stored();
        Ok((keys::read_owner(&owner)?, Entry::from_stored(stored).map_err(unreadable_entry)?))
    };
    rows.into_iter().map(one).collect()
}

/// A request key's column.
pub(super) fn key_column(key: &RequestKey) -> Uuid {
    Uuid::from_bytes(*key.as_bytes())
}

/// The entries that earlier requests booked under these keys.
pub(crate) async fn by_key(tx: &mut Tx, named: &[(OwnerId, RequestKey)]) -> Result<Vec<(OwnerId, Entry)>, DbError> {
    let named: Vec<_> = named.iter().map(|(owner, key)| (*owner, key_column(key))).collect();
    read(match tx {
        Tx::Sqlite(t) => {
            sqlx::query_as(sql::ENTRIES_BY_KEY.sqlite).bind(keys::uuid_list(&named)).fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) if let Some(owner) = keys::one_owner(&named) => {
            let found = sqlx::query_as(sql_one::ENTRIES_BY_KEY).bind(keys::owner(owner));
            found.bind(keys::uuids(&named)).fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) => {
            let (owners, found) = keys::uuid_columns(&named);
            sqlx::query_as(sql::ENTRIES_BY_KEY.postgres).bind(owners).bind(found).fetch_all(&mut **t).await?
        }
    })
}

/// The entries with these numbers, as far as there are any.
pub(crate) async fn by_seq(tx: &mut Tx, named: &[(OwnerId, u64)]) -> Result<Vec<(OwnerId, Entry)>, DbError> {
    read(match tx {
        Tx::Sqlite(t) => {
            sqlx::query_as(sql::ENTRIES_BY_SEQ.sqlite).bind(keys::number_list(named)).fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) if let Some(owner) = keys::one_owner(named) => {
            let found = sqlx::query_as(sql_one::ENTRIES_BY_SEQ).bind(keys::owner(owner));
            found.bind(keys::numbers(named)).fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) => {
            let (owners, numbers) = keys::number_columns(named);
            sqlx::query_as(sql::ENTRIES_BY_SEQ.postgres).bind(owners).bind(numbers).fetch_all(&mut **t).await?
        }
    })
}

/// The last refund of each of these charges that has one.
pub(crate) async fn last_refunds(
    tx: &mut Tx,
    charges: &[(OwnerId, ChargeId)],
) -> Result<Vec<(OwnerId, Entry)>, DbError> {
    let charges: Vec<_> = charges.iter().map(|(owner, charge)| (*owner, keys::uuid(*charge))).collect();
    read(match tx {
        Tx::Sqlite(t) => {
            sqlx::query_as(sql::LAST_REFUNDS.sqlite).bind(keys::uuid_list(&charges)).fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) if let Some(owner) = keys::one_owner(&charges) => {
            let found = sqlx::query_as(sql_one::LAST_REFUNDS).bind(keys::owner(owner));
            found.bind(keys::uuids(&charges)).fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) => {
            let (owners, ids) = keys::uuid_columns(&charges);
            sqlx::query_as(sql::LAST_REFUNDS.postgres).bind(owners).bind(ids).fetch_all(&mut **t).await?
        }
    })
}

/// A page of an owner's entries with numbers below `before`, newest first.
pub(crate) async fn before(tx: &mut Tx, owner: OwnerId, before: i64, limit: i64) -> Result<Vec<Entry>, DbError> {
    let owner = keys::owner(owner);
    let rows: Vec<EntryRow> =
        on!(tx, c => sqlx::query_as(sql::ENTRIES_BEFORE).bind(owner).bind(before).bind(limit).fetch_all(c).await?);
    Ok(read(rows)?.into_iter().map(|(_, entry)| entry).collect())
}

/// A page of an owner's entries with numbers above `after`, oldest first, as they are stored: an
/// audit must be able to name a row that cannot be read.
pub(crate) async fn after(tx: &mut Tx, owner: OwnerId, after: i64, limit: i64) -> Result<Vec<StoredEntry>, DbError> {
    let owner = keys::owner(owner);
    let rows: Vec<EntryRow> =
        on!(tx, c => sqlx::query_as(sql::ENTRIES_AFTER).bind(owner).bind(after).bind(limit).fetch_all(c).await?);
    Ok(rows.into_iter().map(|row| row.stored().1).collect())
}

/// When an owner's entry number `seq` took effect.
pub(crate) async fn time_of(tx: &mut Tx, owner: OwnerId, seq: i64) -> Result<Option<Timestamp>, DbError> {
    let row: Option<(i64,)> =
        on!(tx, c => sqlx::query_as(sql::TIME_OF_ENTRY).bind(keys::owner(owner)).bind(seq).fetch_optional(c).await?);
    row.map(|(at,)| Timestamp::from_micros(at).map_err(unreadable)).transpose()
}

/// The hash of an owner's entry number `seq`.
pub(crate) async fn hash_of(tx: &mut Tx, owner: OwnerId, seq: u64) -> Result<Option<Vec<u8>>, DbError> {
    let (owner, seq) = (keys::owner(owner), keys::number(seq));
    let row: Option<(Vec<u8>,)> =
        on!(tx, c => sqlx::query_as(sql::HASH_OF_ENTRY).bind(owner).bind(seq).fetch_optional(c).await?);
    Ok(row.map(|(hash,)| hash))
}
