//! Rows of `memberships`: the projection of what organization has told.

use bursar_db::{DbError, Tx, on};
use bursar_id::{OrganizationId, UserId};

use crate::domain::membership::Membership;

pub(super) const LEARN: &str = "INSERT INTO memberships (user_id, organization_id, role, version) \
    VALUES ($1, $2, $3, $4) ON CONFLICT (user_id, organization_id) \
    DO UPDATE SET role = excluded.role, version = excluded.version WHERE memberships.version < excluded.version";
pub(super) const GET: &str = "SELECT role, version FROM memberships WHERE user_id = $1 AND organization_id = $2";
pub(super) const FORGET: &str = "DELETE FROM memberships WHERE user_id = $1";

/// Keeps a statement unless a later one is known.
pub async fn learn(
    tx: &mut Tx,
    user: UserId,
    organization: OrganizationId,
    membership: Membership,
) -> Result<(), DbError> {
    let version = i64::try_from(membership.version).unwrap_or(i64::MAX);
    on!(tx, c => sqlx::query(LEARN)
        .bind(user)
        .bind(organization)
        .bind(membership.role)
        .bind(version)
        .execute(c)
        .await?
        .rows_affected());
    Ok(())
}

/// The last statement, if there was one.
pub async fn get(tx: &mut Tx, user: UserId, organization: OrganizationId) -> Result<Option<Membership>, DbError> {
    let row: Option<(Option<bursar_id::Role>, i64)> =
        on!(tx, c => sqlx::query_as(GET).bind(user).bind(organization).fetch_optional(c).await?);
    Ok(row.map(|(role, version)| Membership { role, version: u64::try_from(version).unwrap_or(0) }))
}

/// Forgets everything about a user.
pub async fn forget(tx: &mut Tx, user: UserId) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(FORGET).bind(user).execute(c).await?.rows_affected());
    Ok(())
}
