//! Rows of `throttles`: in the database, so that every replica counts the same attempts.

use bursar_db::{DbError, Tx, on};
use bursar_time::{Span, Timestamp};

/// The update changes nothing: it takes the row's lock, and makes both engines answer with the row.
pub(super) const LOCK: &str = "INSERT INTO throttles (bucket, drained_at) VALUES ($1, $2) \
    ON CONFLICT (bucket) DO UPDATE SET drained_at = throttles.drained_at RETURNING drained_at";
pub(super) const LOOK: &str = "SELECT drained_at FROM throttles WHERE bucket = $1";
pub(super) const SET: &str = "UPDATE throttles SET drained_at = $2 WHERE bucket = $1";
pub(super) const GIVE_BACK: &str = "UPDATE throttles SET drained_at = drained_at - $2 WHERE bucket = $1";

/// When a bucket is empty, kept from changing until the transaction ends. A new bucket is empty now.
pub async fn drained_at(tx: &mut Tx, bucket: &str, now: Timestamp) -> Result<Timestamp, DbError> {
    let (drained_at,) = on!(tx, c => sqlx::query_as(LOCK).bind(bucket).bind(now).fetch_one(c).await?);
    Ok(drained_at)
}

/// When a bucket is empty, as far as one sees without a lock; `None`: it was never used.
pub async fn look(tx: &mut Tx, bucket: &str) -> Result<Option<Timestamp>, DbError> {
    let found: Option<(Timestamp,)> = on!(tx, c => sqlx::query_as(LOOK).bind(bucket).fetch_optional(c).await?);
    Ok(found.map(|(drained_at,)| drained_at))
}

/// Sets when a bucket is empty.
pub async fn set(tx: &mut Tx, bucket: &str, drained_at: Timestamp) -> Result<(), DbError> {
    bursar_db::exactly_one(
        on!(tx, c => sqlx::query(SET).bind(bucket).bind(drained_at).execute(c).await?.rows_affected()),
    )
}

/// Gives back an attempt that was no failure. A bucket that was pruned meanwhile has nothing to give back to.
pub async fn give_back(tx: &mut Tx, bucket: &str, leak: Span) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(GIVE_BACK).bind(bucket).bind(leak.as_micros()).execute(c).await?.rows_affected());
    Ok(())
}
