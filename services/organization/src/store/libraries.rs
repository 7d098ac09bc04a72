//! Rows of `libraries`: one for each owner that has or had items.

use bursar_db::{DbError, Tx, exactly_one, on};
use bursar_id::OwnerId;

/// The row's own value is written, so that there is a lock on it whether it was there or not.
pub(super) const LOCK: &str = "INSERT INTO libraries (owner, bytes) VALUES ($1, 0) \
    ON CONFLICT (owner) DO UPDATE SET owner = excluded.owner RETURNING bytes";
pub(super) const SET: &str = "UPDATE libraries SET bytes = $2 WHERE owner = $1";

/// Locks an owner's library until the transaction ends, and says how many bytes of the quota it takes.
pub async fn lock(tx: &mut Tx, owner: OwnerId) -> Result<i64, DbError> {
    Ok(on!(tx, c => sqlx::query_scalar(LOCK).bind(owner).fetch_one(c).await?))
}

/// Writes how many bytes it takes.
pub async fn set(tx: &mut Tx, owner: OwnerId, bytes: i64) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(SET).bind(owner).bind(bytes).execute(c).await?.rows_affected()))
}
