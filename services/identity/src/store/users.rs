//! Rows of `users`.

use bursar_db::{DbError, Tx, on};
use bursar_id::UserId;
use bursar_time::Timestamp;

/// One user as stored.
#[derive(Clone, sqlx::FromRow)]
pub struct UserRow {
    /// The user's id.
    pub id: UserId,
    /// The address as its holder wrote it.
    pub email: String,
    /// The case-folded address.
    pub email_key: String,
    /// When the address was proven.
    pub email_verified_at: Option<Timestamp>,
    /// The password's Argon2id hash in PHC form.
    pub password_hash: String,
    /// The name the person goes by.
    pub display_name: String,
    /// Counts the changes to the row; the etag.
    pub version: i64,
    /// When the user signed up.
    pub created_at: Timestamp,
    /// When the row last changed.
    pub updated_at: Timestamp,
}

pub(super) const INSERT: &str = "INSERT INTO users \
    (id, email, email_key, email_verified_at, password_hash, display_name, version, created_at, updated_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (email_key) DO NOTHING";
pub(super) const BY_ID: &str = "SELECT id, email, email_key, email_verified_at, password_hash, display_name, \
    version, created_at, updated_at FROM users WHERE id = $1";
pub(super) const BY_ID_LOCKED: &str = "SELECT id, email, email_key, email_verified_at, password_hash, display_name, \
    version, created_at, updated_at FROM users WHERE id = $1 FOR UPDATE";
pub(super) const BY_EMAIL: &str = "SELECT id, email, email_key, email_verified_at, password_hash, display_name, \
    version, created_at, updated_at FROM users WHERE email_key = $1";
pub(super) const BY_IDS_SQLITE: &str = "SELECT id, email, email_key, email_verified_at, password_hash, display_name, \
    version, created_at, updated_at FROM users WHERE id IN (SELECT value FROM json_each($1)) ORDER BY id";
pub(super) const BY_IDS_POSTGRES: &str = "SELECT id, email, email_key, email_verified_at, password_hash, display_name, \
    version, created_at, updated_at FROM users \
    WHERE id IN (SELECT value FROM json_array_elements_text($1::json)) ORDER BY id";
pub(super) const SET_DISPLAY_NAME: &str =
    "UPDATE users SET display_name = $2, version = version + 1, updated_at = $3 WHERE id = $1";
pub(super) const SET_VERIFIED: &str = "UPDATE users SET email_verified_at = $2, version = version + 1, updated_at = $2 \
    WHERE id = $1 AND email_verified_at IS NULL";
pub(super) const DELETE: &str = "DELETE FROM users WHERE id = $1";
pub(super) const REMEMBER_DELETED: &str = "INSERT INTO deleted_users (id, deleted_at) VALUES ($1, $2)";
pub(super) const NAMED_AFTER: &str = "SELECT id, display_name FROM users \
    WHERE id > $1 AND email_verified_at IS NOT NULL ORDER BY id LIMIT $2";
pub(super) const DELETED_AFTER: &str = "SELECT id FROM deleted_users WHERE id > $1 ORDER BY id LIMIT $2";

/// Adds a user; `false` when the address is taken.
pub async fn insert(tx: &mut Tx, user: &UserRow) -> Result<bool, DbError> {
    let done = on!(tx, c => sqlx::query(INSERT)
        .bind(user.id)
        .bind(&user.email)
        .bind(&user.email_key)
        .bind(user.email_verified_at)
        .bind(&user.password_hash)
        .bind(&user.display_name)
        .bind(user.version)
        .bind(user.created_at)
        .bind(user.updated_at)
        .execute(c)
        .await?
        .rows_affected());
    Ok(done == 1)
}

/// The user with this id.
pub async fn by_id(tx: &mut Tx, id: UserId) -> Result<Option<UserRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(BY_ID).bind(id).fetch_optional(c).await?))
}

/// The user with this id, kept from changing until the transaction ends.
pub async fn by_id_locked(tx: &mut Tx, id: UserId) -> Result<Option<UserRow>, DbError> {
    Ok(match tx {
        Tx::Sqlite(t) => sqlx::query_as(BY_ID).bind(id).fetch_optional(&mut **t).await?,
        Tx::Postgres(t) => sqlx::query_as(BY_ID_LOCKED).bind(id).fetch_optional(&mut **t).await?,
    })
}

/// The user with this case-folded address.
pub async fn by_email(tx: &mut Tx, email_key: &str) -> Result<Option<UserRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(BY_EMAIL).bind(email_key).fetch_optional(c).await?))
}

/// Those of the given users that exist, in the order of their ids.
pub async fn by_ids(tx: &mut Tx, ids: &[UserId]) -> Result<Vec<UserRow>, DbError> {
    let ids = serde_json::Value::from(ids.iter().map(ToString::to_string).collect::<Vec<_>>()).to_string();
    Ok(match tx {
        Tx::Sqlite(t) => sqlx::query_as(BY_IDS_SQLITE).bind(ids).fetch_all(&mut **t).await?,
        Tx::Postgres(t) => sqlx::query_as(BY_IDS_POSTGRES).bind(ids).fetch_all(&mut **t).await?,
    })
}

/// Renames a user; the row must exist.
pub async fn set_display_name(tx: &mut Tx, id: UserId, name: &str, now: Timestamp) -> Result<(), DbError> {
    bursar_db::exactly_one(on!(tx, c => sqlx::query(SET_DISPLAY_NAME)
        .bind(id)
        .bind(name)
        .bind(now)
        .execute(c)
        .await?
        .rows_affected()))
}

/// Marks the address as proven; `false` when it was already.
pub async fn set_verified(tx: &mut Tx, id: UserId, now: Timestamp) -> Result<bool, DbError> {
    let done = on!(tx, c => sqlx::query(SET_VERIFIED).bind(id).bind(now).execute(c).await?.rows_affected());
    Ok(done == 1)
}

/// Deletes a user with everything that hangs on it (sessions, tokens, verifications).
pub async fn delete(tx: &mut Tx, id: UserId) -> Result<bool, DbError> {
    let done = on!(tx, c => sqlx::query(DELETE).bind(id).execute(c).await?.rows_affected());
    Ok(done == 1)
}

/// Remembers that a user there was is gone: nothing but the id, for those who come too late to be told.
pub async fn remember_deleted(tx: &mut Tx, id: UserId, now: Timestamp) -> Result<(), DbError> {
    bursar_db::exactly_one(
        on!(tx, c => sqlx::query(REMEMBER_DELETED).bind(id).bind(now).execute(c).await?.rows_affected()),
    )
}

/// The users with a proven address after an id (as text; empty for the first), with their names, in the order of ids.
pub async fn named_after(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<(UserId, String)>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(NAMED_AFTER).bind(after).bind(limit).fetch_all(c).await?))
}

/// Those who deleted the account, after an id (as text; empty for the first), in the order of ids.
pub async fn deleted_after(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<UserId>, DbError> {
    let rows: Vec<(UserId,)> = on!(tx, c => sqlx::query_as(DELETED_AFTER).bind(after).bind(limit).fetch_all(c).await?);
    Ok(rows.into_iter().map(|(id,)| id).collect())
}
