//! Rows of `slugs`: which organization every slug leads to, for ever.

use bursar_db::{DbError, Tx, on};
use bursar_id::OrganizationId;
use bursar_time::Timestamp;

use crate::domain::slug::Slug;

pub(super) const TAKE: &str = "INSERT INTO slugs (slug, organization_id, taken_at) VALUES ($1, $2, $3) \
    ON CONFLICT (slug) DO NOTHING";
pub(super) const FIND: &str = "SELECT organization_id FROM slugs WHERE slug = $1";

/// Takes a slug; `false` when it is taken already, by whomever. Waits for a transaction that is taking it.
pub async fn take(tx: &mut Tx, slug: &Slug, organization: OrganizationId, now: Timestamp) -> Result<bool, DbError> {
    let done = on!(tx, c => sqlx::query(TAKE)
        .bind(slug.as_str())
        .bind(organization)
        .bind(now)
        .execute(c)
        .await?
        .rows_affected());
    Ok(done == 1)
}

/// The organization that has or had a slug.
pub async fn find(tx: &mut Tx, slug: &Slug) -> Result<Option<OrganizationId>, DbError> {
    let row: Option<(OrganizationId,)> =
        on!(tx, c => sqlx::query_as(FIND).bind(slug.as_str()).fetch_optional(c).await?);
    Ok(row.map(|(id,)| id))
}
