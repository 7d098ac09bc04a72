//! Rows of `email_verifications`.

use bursar_db::{DbError, Tx, on};
use bursar_id::UserId;
use bursar_time::Timestamp;

/// A mailed verification.
#[derive(Clone, sqlx::FromRow)]
pub struct VerificationRow {
    /// Whose address is proven.
    pub user_id: UserId,
    /// The case-folded address it was mailed to.
    pub email_key: String,
    /// The hash of the password that its sign-up chose.
    pub password_hash: Option<String>,
    /// The name that its sign-up chose.
    pub display_name: Option<String>,
    /// Until when it may be used.
    pub expires_at: Timestamp,
}

pub(super) const INSERT: &str = "INSERT INTO email_verifications \
    (digest, user_id, email_key, password_hash, display_name, expires_at) VALUES ($1, $2, $3, $4, $5, $6)";
pub(super) const TAKE: &str = "DELETE FROM email_verifications WHERE digest = $1 \
    RETURNING user_id, email_key, password_hash, display_name, expires_at";
pub(super) const COUNT_LIVE: &str = "SELECT COUNT(*) FROM email_verifications \
    WHERE user_id = $1 AND expires_at > $2 AND expires_at <= $3";
pub(super) const DELETE_OF: &str = "DELETE FROM email_verifications WHERE user_id = $1";

/// Keeps the digest of a token that is about to be mailed.
pub async fn insert(tx: &mut Tx, digest: &[u8], row: &VerificationRow) -> Result<(), DbError> {
    bursar_db::exactly_one(on!(tx, c => sqlx::query(INSERT)
        .bind(digest)
        .bind(row.user_id)
        .bind(&row.email_key)
        .bind(&row.password_hash)
        .bind(&row.display_name)
        .bind(row.expires_at)
        .execute(c)
        .await?
        .rows_affected()))
}

/// Takes a verification out, so that it works once.
pub async fn take(tx: &mut Tx, digest: &[u8]) -> Result<Option<VerificationRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(TAKE).bind(digest).fetch_optional(c).await?))
}

/// Whether a link that was mailed to a user can be followed: one that ends after the first of these, and no later than the
/// second.
pub async fn is_live(tx: &mut Tx, user: UserId, (after, until): (Timestamp, Timestamp)) -> Result<bool, DbError> {
    let (rows,): (i64,) =
        on!(tx, c => sqlx::query_as(COUNT_LIVE).bind(user).bind(after).bind(until).fetch_one(c).await?);
    Ok(rows > 0)
}

/// Drops every verification of a user whose address is proven now.
pub async fn delete_of(tx: &mut Tx, user: UserId) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(DELETE_OF).bind(user).execute(c).await?.rows_affected());
    Ok(())
}
