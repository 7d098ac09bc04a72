//! Rows of `objects`: what lies in the object store, and whether it counts.

use bursar_db::{DbError, Tx, exactly_one, on};
use bursar_id::OwnerId;
use bursar_time::Timestamp;

pub(super) const INSERT: &str = "INSERT INTO objects (id, uploader, size, segment, refs, lease_until) \
    VALUES ($1, $2, $3, $4, 0, $5)";
pub(super) const RENEW: &str = "UPDATE objects SET lease_until = $2 \
    WHERE id = $1 AND uploader IS NOT NULL AND lease_until > $3";
pub(super) const ADOPT: &str = "UPDATE objects SET refs = 1, uploader = NULL, lease_until = 0 \
    WHERE id = $1 AND uploader IS NOT NULL AND lease_until > $2";
pub(super) const SHARE: &str = "UPDATE objects SET refs = refs + 1 WHERE id = $1 AND refs > 0";
pub(super) const RELEASE: &str = "UPDATE objects SET refs = refs - 1, lease_until = $2 WHERE id = $1";
pub(super) const ABANDON: &str = "UPDATE objects SET uploader = NULL, lease_until = $2 \
    WHERE id = $1 AND uploader IS NOT NULL";
pub(super) const RESERVED: &str = "SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM objects \
    WHERE uploader = $1 AND lease_until > $2";
pub(super) const LOOSE: &str = "SELECT id FROM objects WHERE refs = 0 AND lease_until < $1 \
    ORDER BY lease_until, id LIMIT $2";
pub(super) const POSTPONE: &str = "UPDATE objects SET lease_until = $2 WHERE id = $1 AND refs = 0";
pub(super) const SHORTEN: &str = "UPDATE objects SET lease_until = $1 WHERE id IN \
    (SELECT id FROM objects WHERE refs = 0 AND lease_until > $2 ORDER BY lease_until, id LIMIT $3) \
    AND refs = 0 AND lease_until > $2";
pub(super) const FORGET: &str = "DELETE FROM objects WHERE id = $1 AND refs = 0 AND lease_until < $2";

/// An object that is about to be written.
#[derive(Clone, Debug)]
pub struct NewObject<'a> {
    /// Its name, which no other has or had.
    pub id: &'a str,
    /// For whom it is written.
    pub uploader: OwnerId,
    /// How many bytes it shall have.
    pub size: i64,
    /// How long its segments are.
    pub segment: i64,
    /// Until when it counts as being written.
    pub lease_until: Timestamp,
}

/// Notes an object before its first byte is written.
pub async fn insert(tx: &mut Tx, object: &NewObject<'_>) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(INSERT)
        .bind(object.id)
        .bind(object.uploader)
        .bind(object.size)
        .bind(object.segment)
        .bind(object.lease_until)
        .execute(c)
        .await?
        .rows_affected()))
}

/// It is still being written, until then. False if it had lapsed.
pub async fn renew(tx: &mut Tx, id: &str, until: Timestamp, now: Timestamp) -> Result<bool, DbError> {
    let rows = on!(tx, c => sqlx::query(RENEW).bind(id).bind(until).bind(now).execute(c).await?.rows_affected());
    Ok(rows == 1)
}

/// It is written, and somebody's content from now on. False if it had lapsed: it may be half removed.
pub async fn adopt(tx: &mut Tx, id: &str, now: Timestamp) -> Result<bool, DbError> {
    Ok(on!(tx, c => sqlx::query(ADOPT).bind(id).bind(now).execute(c).await?.rows_affected()) == 1)
}

/// It is one more owner's content. False if it is nobody's any more.
pub async fn share(tx: &mut Tx, id: &str) -> Result<bool, DbError> {
    Ok(on!(tx, c => sqlx::query(SHARE).bind(id).execute(c).await?.rows_affected()) == 1)
}

/// It is one owner's content less; if nobody's, it waits until then to be removed.
pub async fn release(tx: &mut Tx, id: &str, until: Timestamp) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(RELEASE).bind(id).bind(until).execute(c).await?.rows_affected()))
}

/// It will not be written any further.
pub async fn abandon(tx: &mut Tx, id: &str, now: Timestamp) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(ABANDON).bind(id).bind(now).execute(c).await?.rows_affected());
    Ok(())
}

/// How many bytes are being written for an owner.
pub async fn reserved(tx: &mut Tx, owner: OwnerId, now: Timestamp) -> Result<i64, DbError> {
    Ok(on!(tx, c => sqlx::query_scalar(RESERVED).bind(owner).bind(now).fetch_one(c).await?))
}

/// Objects that are nobody's and have lapsed before then.
pub async fn loose(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<Vec<String>, DbError> {
    Ok(on!(tx, c => sqlx::query_scalar(LOOSE).bind(before).bind(limit).fetch_all(c).await?))
}

/// One that could not be removed is looked at again then.
pub async fn postpone(tx: &mut Tx, id: &str, until: Timestamp) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(POSTPONE).bind(id).bind(until).execute(c).await?.rows_affected());
    Ok(())
}

/// Up to `limit` of those that are nobody's and would lapse after `after` lapse then already; says how many.
pub async fn shorten(tx: &mut Tx, until: Timestamp, after: Timestamp, limit: i64) -> Result<u64, DbError> {
    Ok(on!(tx, c => sqlx::query(SHORTEN).bind(until).bind(after).bind(limit).execute(c).await?.rows_affected()))
}

/// One of which nothing is left is forgotten.
pub async fn forget(tx: &mut Tx, id: &str, before: Timestamp) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(FORGET).bind(id).bind(before).execute(c).await?.rows_affected());
    Ok(())
}
