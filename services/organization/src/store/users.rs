//! Rows of `users`: what identity's events told of people.

use bursar_db::{DbError, Tx, on};
use bursar_id::UserId;
use bursar_time::Timestamp;

pub(super) const ENSURE: &str = "INSERT INTO users (id, display_name) VALUES ($1, '') ON CONFLICT (id) DO NOTHING";
pub(super) const IS_DELETED: &str = "SELECT deleted_at FROM users WHERE id = $1";
pub(super) const IS_DELETED_LOCKED: &str = "SELECT deleted_at FROM users WHERE id = $1 FOR NO KEY UPDATE";
pub(super) const RENAME: &str = "INSERT INTO users (id, display_name) VALUES ($1, $2) ON CONFLICT (id) \
    DO UPDATE SET display_name = excluded.display_name WHERE users.deleted_at IS NULL";
pub(super) const DELETE: &str = "INSERT INTO users (id, display_name, deleted_at) VALUES ($1, '', $2) \
    ON CONFLICT (id) DO UPDATE SET display_name = '', deleted_at = excluded.deleted_at \
    WHERE users.deleted_at IS NULL";

/// Locks a person who is about to join until the transaction ends; `false` when the account was deleted. A
/// deletion that comes later finds the membership.
pub async fn lock_living(tx: &mut Tx, user: UserId) -> Result<bool, DbError> {
    on!(&mut *tx, c => sqlx::query(ENSURE).bind(user).execute(c).await?.rows_affected());
    let (deleted_at,): (Option<Timestamp>,) = match tx {
        Tx::Sqlite(t) => sqlx::query_as(IS_DELETED).bind(user).fetch_one(&mut **t).await?,
        Tx::Postgres(t) => sqlx::query_as(IS_DELETED_LOCKED).bind(user).fetch_one(&mut **t).await?,
    };
    Ok(deleted_at.is_none())
}

/// Whether a person's account was not deleted, as far as is known.
pub async fn is_living(tx: &mut Tx, user: UserId) -> Result<bool, DbError> {
    let row: Option<(Option<Timestamp>,)> =
        on!(tx, c => sqlx::query_as(IS_DELETED).bind(user).fetch_optional(c).await?);
    Ok(row.is_none_or(|(deleted_at,)| deleted_at.is_none()))
}

/// Remembers what a person is called.
pub async fn rename(tx: &mut Tx, user: UserId, display_name: &str) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(RENAME).bind(user).bind(display_name).execute(c).await?.rows_affected());
    Ok(())
}

/// Remembers that a person is gone; `false` when that was known.
pub async fn delete(tx: &mut Tx, user: UserId, now: Timestamp) -> Result<bool, DbError> {
    Ok(on!(tx, c => sqlx::query(DELETE).bind(user).bind(now).execute(c).await?.rows_affected()) == 1)
}
