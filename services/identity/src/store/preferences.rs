//! Rows of `preferences`: what users prefer outside of organizations. They end with their users.

use bursar_db::{DbError, Tx, exactly_one, on};
use bursar_id::UserId;
use bursar_time::Timestamp;

pub(super) const OF: &str = "SELECT document FROM preferences WHERE user_id = $1";
pub(super) const SET: &str = "INSERT INTO preferences (user_id, document, changed_at) VALUES ($1, $2, $3) \
    ON CONFLICT (user_id) DO UPDATE SET document = excluded.document, changed_at = excluded.changed_at";

/// What somebody prefers, as JSON; empty for nothing.
pub async fn of(tx: &mut Tx, user: UserId) -> Result<String, DbError> {
    let row: Option<(String,)> = on!(tx, c => sqlx::query_as(OF).bind(user).fetch_optional(c).await?);
    Ok(row.map(|(document,)| document).unwrap_or_default())
}

/// Writes what somebody prefers; needs the lock on the user.
pub async fn set(tx: &mut Tx, user: UserId, document: &str, now: Timestamp) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(SET).bind(user).bind(document).bind(now).execute(c).await?.rows_affected()))
}
