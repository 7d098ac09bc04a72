//! The ledger: append-only rows, numbered without gaps per owner.

use std::fmt::Display;

use bursar_db::{DbError, Tx, on};
use bursar_id::{ChargeId, OwnerId};
use bursar_time::Timestamp;
use sqlx::AssertSqlSafe;

use super::{bulk, pairs, sql, unreadable};
use crate::domain::{Entry, EntryRow};

#[derive(sqlx::FromRow)]
struct StoredEntry {
    owner: OwnerId,
    seq: i64,
    kind: String,
    at: i64,
    amount: i64,
    available_after: i64,
    held_after: i64,
    operation_id: Option<String>,
    subject: Option<String>,
    member: Option<String>,
    project: Option<String>,
    model: Option<String>,
    quantity: Option<i64>,
    labels: Option<String>,
    occurred_at: Option<i64>,
    expires_at: Option<i64>,
    source: Option<String>,
    priority: Option<i32>,
    effective_at: Option<i64>,
    note: Option<String>,
    request_key: Option<String>,
    body_hash: i64,
    postings: String,
    hash: Vec<u8>,
}

impl StoredEntry {
    fn columns(self) -> (OwnerId, EntryRow) {
        let row = EntryRow {
            seq: self.seq,
            kind: self.kind,
            at: self.at,
            amount: self.amount,
            available_after: self.available_after,
            held_after: self.held_after,
            operation_id: self.operation_id,
            subject: self.subject,
            member: self.member,
            project: self.project,
            model: self.model,
            quantity: self.quantity,
            labels: self.labels,
            occurred_at: self.occurred_at,
            expires_at: self.expires_at,
            source: self.source,
            priority: self.priority,
            effective_at: self.effective_at,
            note: self.note,
            request_key: self.request_key,
            body_hash: self.body_hash,
            postings: self.postings,
            hash: self.hash,
        };
        (self.owner, row)
    }
}

fn read(rows: Vec<StoredEntry>) -> Result<Vec<(OwnerId, Entry)>, DbError> {
    rows.into_iter()
        .map(|row| {
            let (owner, row) = row.columns();
            Ok((owner, Entry::try_from(row).map_err(unreadable)?))
        })
        .collect()
}

/// The entries that earlier requests booked under these keys.
pub(crate) async fn by_key(tx: &mut Tx, keys: &[(OwnerId, &str)]) -> Result<Vec<(OwnerId, Entry)>, DbError> {
    read(match tx {
        Tx::Sqlite(t) => sqlx::query_as(sql::ENTRIES_BY_KEY.sqlite).bind(pairs::json(keys)).fetch_all(&mut **t).await?,
        Tx::Postgres(t) => {
            let (owners, keys): (Vec<OwnerId>, Vec<&str>) = keys.iter().copied().unzip();
            sqlx::query_as(sql::ENTRIES_BY_KEY.postgres).bind(owners).bind(keys).fetch_all(&mut **t).await?
        }
    })
}

/// The entries that made these operations.
pub(crate) async fn by_operation<T: Display>(
    tx: &mut Tx,
    operations: &[(OwnerId, T)],
) -> Result<Vec<(OwnerId, Entry)>, DbError> {
    read(match tx {
        Tx::Sqlite(t) => {
            let find = sqlx::query_as(sql::ENTRIES_BY_OPERATION.sqlite).bind(pairs::json(operations));
            find.fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) => {
            let (owners, ids) = pairs::columns(operations);
            sqlx::query_as(sql::ENTRIES_BY_OPERATION.postgres).bind(owners).bind(ids).fetch_all(&mut **t).await?
        }
    })
}

/// The refunds of these charges, oldest first.
pub(crate) async fn refunds_of(tx: &mut Tx, charges: &[(OwnerId, ChargeId)]) -> Result<Vec<(OwnerId, Entry)>, DbError> {
    read(match tx {
        Tx::Sqlite(t) => sqlx::query_as(sql::REFUNDS_OF.sqlite).bind(pairs::json(charges)).fetch_all(&mut **t).await?,
        Tx::Postgres(t) => {
            let (owners, ids) = pairs::columns(charges);
            sqlx::query_as(sql::REFUNDS_OF.postgres).bind(owners).bind(ids).fetch_all(&mut **t).await?
        }
    })
}

/// Whose operation this is.
pub(crate) async fn owner_of(tx: &mut Tx, operation: impl Display) -> Result<Option<OwnerId>, DbError> {
    let operation = operation.to_string();
    let row: Option<(OwnerId,)> =
        on!(tx, c => sqlx::query_as(sql::OWNER_OF_OPERATION).bind(operation).fetch_optional(c).await?);
    Ok(row.map(|(owner,)| owner))
}

/// A page of an owner's entries with numbers below `before`, newest first.
pub(crate) async fn before(tx: &mut Tx, owner: OwnerId, before: i64, limit: i64) -> Result<Vec<Entry>, DbError> {
    let rows: Vec<StoredEntry> =
        on!(tx, c => sqlx::query_as(sql::ENTRIES_BEFORE).bind(owner).bind(before).bind(limit).fetch_all(c).await?);
    Ok(read(rows)?.into_iter().map(|(_, entry)| entry).collect())
}

/// A page of an owner's entries with numbers above `after`, oldest first, as they are stored: an
/// audit must be able to name a row that cannot be read.
pub(crate) async fn after(tx: &mut Tx, owner: OwnerId, after: i64, limit: i64) -> Result<Vec<EntryRow>, DbError> {
    let rows: Vec<StoredEntry> =
        on!(tx, c => sqlx::query_as(sql::ENTRIES_AFTER).bind(owner).bind(after).bind(limit).fetch_all(c).await?);
    Ok(rows.into_iter().map(|row| row.columns().1).collect())
}

/// When an owner's entry number `seq` took effect.
pub(crate) async fn time_of(tx: &mut Tx, owner: OwnerId, seq: i64) -> Result<Option<Timestamp>, DbError> {
    let row: Option<(Timestamp,)> =
        on!(tx, c => sqlx::query_as(sql::TIME_OF_ENTRY).bind(owner).bind(seq).fetch_optional(c).await?);
    Ok(row.map(|(at,)| at))
}

/// Appends entries. A number or a request key that is taken fails the transaction.
pub(crate) async fn append(tx: &mut Tx, entries: &[(OwnerId, &Entry)]) -> Result<(), DbError> {
    match tx {
        Tx::Sqlite(t) => {
            for part in bulk::parts(entries) {
                let mut query = sqlx::query(AssertSqlSafe(bulk::for_rows(sql::APPEND_ENTRIES.sqlite, part.len())));
                for (owner, entry) in part {
                    let it = EntryRow::from(*entry);
                    query = query.bind(*owner).bind(it.seq).bind(it.kind).bind(it.at).bind(it.amount);
                    query = query.bind(it.available_after).bind(it.held_after).bind(it.operation_id).bind(it.subject);
                    query = query.bind(it.member).bind(it.project).bind(it.model).bind(it.quantity).bind(it.labels);
                    query = query.bind(it.occurred_at).bind(it.expires_at).bind(it.source).bind(it.priority);
                    query = query.bind(it.effective_at).bind(it.note).bind(it.request_key).bind(it.body_hash);
                    query = query.bind(it.postings).bind(it.hash);
                }
                query.execute(&mut **t).await?;
            }
        }
        Tx::Postgres(t) => {
            let owners: Vec<OwnerId> = entries.iter().map(|(owner, _)| *owner).collect();
            let rows: Vec<EntryRow> = entries.iter().map(|(_, entry)| EntryRow::from(*entry)).collect();
            let texts = |of: fn(&EntryRow) -> Option<&str>| rows.iter().map(of).collect::<Vec<Option<&str>>>();
            let numbers = |of: fn(&EntryRow) -> Option<i64>| rows.iter().map(of).collect::<Vec<Option<i64>>>();
            sqlx::query(sql::APPEND_ENTRIES.postgres)
                .bind(owners)
                .bind(numbers(|it| Some(it.seq)))
                .bind(texts(|it| Some(&it.kind)))
                .bind(numbers(|it| Some(it.at)))
                .bind(numbers(|it| Some(it.amount)))
                .bind(numbers(|it| Some(it.available_after)))
                .bind(numbers(|it| Some(it.held_after)))
                .bind(texts(|it| it.operation_id.as_deref()))
                .bind(texts(|it| it.subject.as_deref()))
                .bind(texts(|it| it.member.as_deref()))
                .bind(texts(|it| it.project.as_deref()))
                .bind(texts(|it| it.model.as_deref()))
                .bind(numbers(|it| it.quantity))
                .bind(texts(|it| it.labels.as_deref()))
                .bind(numbers(|it| it.occurred_at))
                .bind(numbers(|it| it.expires_at))
                .bind(texts(|it| it.source.as_deref()))
                .bind(rows.iter().map(|it| it.priority).collect::<Vec<_>>())
                .bind(numbers(|it| it.effective_at))
                .bind(texts(|it| it.note.as_deref()))
                .bind(texts(|it| it.request_key.as_deref()))
                .bind(numbers(|it| Some(it.body_hash)))
                .bind(texts(|it| Some(&it.postings)))
                .bind(rows.iter().map(|it| it.hash.as_slice()).collect::<Vec<_>>())
                .execute(&mut **t)
                .await?;
        }
    }
    Ok(())
}
