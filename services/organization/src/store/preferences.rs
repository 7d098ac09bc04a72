//! Rows of `preferences`: what members prefer. They outlive the membership, and end with the account or with the organization.
//! Everything that makes or changes one needs the lock on its person, and the organization held after it; a purge erases them
//! by the lock on the organization.

use bursar_db::{DbError, Tx, on};
use bursar_id::{OrganizationId, UserId};
use bursar_time::Timestamp;

/// What a member prefers, as stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct PreferencesRow {
    /// The document as JSON; empty for nothing.
    pub document: String,
    /// Counts the changes; 0 before the first. The etag.
    pub version: i64,
}

pub(super) const OF: &str = "SELECT document, version FROM preferences WHERE organization_id = $1 AND user_id = $2";
pub(super) const SET: &str = "INSERT INTO preferences (organization_id, user_id, document, version, changed_at) \
    VALUES ($1, $2, $3, $4, $5) ON CONFLICT (organization_id, user_id) DO UPDATE SET document = excluded.document, \
    version = excluded.version, changed_at = excluded.changed_at";
pub(super) const ERASE: &str = "DELETE FROM preferences WHERE user_id = $1";

pub(super) const ERASE_SOME: &str = "DELETE FROM preferences WHERE organization_id = $1 AND user_id IN \
    (SELECT user_id FROM preferences WHERE organization_id = $1 ORDER BY user_id LIMIT $2)";

/// What a member prefers, and whose that is.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct MemberPreferencesRow {
    /// The member.
    pub user_id: UserId,
    /// What that is.
    #[sqlx(flatten)]
    pub preferences: PreferencesRow,
}

/// Of those alone who are members now.
pub(super) const LIST: &str = "SELECT p.user_id, p.document, p.version FROM preferences p JOIN memberships m \
    ON m.organization_id = p.organization_id AND m.user_id = p.user_id \
    WHERE p.organization_id = $1 AND p.user_id > $2 AND m.role IS NOT NULL ORDER BY p.user_id LIMIT $3";

/// What the members of an organization prefer, those who ever said so, in the order of their ids after the given one.
pub async fn list(
    tx: &mut Tx,
    organization: OrganizationId,
    after: Option<UserId>,
    limit: i64,
) -> Result<Vec<MemberPreferencesRow>, DbError> {
    let after = after.map(|user| user.to_string()).unwrap_or_default();
    Ok(on!(tx, c => sqlx::query_as(LIST).bind(organization).bind(after).bind(limit).fetch_all(c).await?))
}

/// Erases some of what members preferred in an organization; how many there were.
pub async fn erase_some(tx: &mut Tx, organization: OrganizationId, limit: i64) -> Result<u64, DbError> {
    Ok(on!(tx, c => sqlx::query(ERASE_SOME).bind(organization).bind(limit).execute(c).await?.rows_affected()))
}

/// What somebody prefers in an organization.
pub async fn of(tx: &mut Tx, organization: OrganizationId, user: UserId) -> Result<PreferencesRow, DbError> {
    let row = on!(tx, c => sqlx::query_as(OF).bind(organization).bind(user).fetch_optional(c).await?);
    Ok(row.unwrap_or_default())
}

/// Writes what somebody prefers.
pub async fn set(
    tx: &mut Tx,
    organization: OrganizationId,
    user: UserId,
    row: &PreferencesRow,
    now: Timestamp,
) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(SET)
        .bind(organization)
        .bind(user)
        .bind(&row.document)
        .bind(row.version)
        .bind(now)
        .execute(c)
        .await?
        .rows_affected());
    Ok(())
}

/// Erases what somebody preferred, wherever that was.
pub async fn erase(tx: &mut Tx, user: UserId) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(ERASE).bind(user).execute(c).await?.rows_affected());
    Ok(())
}
