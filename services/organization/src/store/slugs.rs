//! Rows of `slugs`: which organization every slug leads to. What changes one that an organization has or had needs the lock
//! on that.

use bursar_db::{DbError, Tx, exactly_one, on};
use bursar_id::OrganizationId;
use bursar_time::Timestamp;

use crate::domain::slug::Slug;

/// A slug that an organization had.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct FormerSlug {
    /// The slug.
    pub slug: String,
    /// Since when it is a former one.
    pub since: Timestamp,
}

pub(super) const TAKE: &str = "INSERT INTO slugs (slug, organization_id, taken_at) VALUES ($1, $2, $3) \
    ON CONFLICT (slug) DO NOTHING";
pub(super) const FIND: &str = "SELECT organization_id FROM slugs WHERE slug = $1";

pub(super) const RETIRE: &str = "UPDATE slugs SET former_since = $3 WHERE organization_id = $1 AND slug = $2";
/// What an older program has left is not known to have become a former one before it was taken.
pub(super) const FORMER: &str = "SELECT s.slug, COALESCE(s.former_since, s.taken_at) AS since FROM slugs s \
    JOIN organizations o ON o.id = s.organization_id WHERE s.organization_id = $1 AND s.slug <> o.slug \
    ORDER BY since, s.slug";
pub(super) const FREE: &str = "DELETE FROM slugs WHERE organization_id = $1 AND slug = $2";
/// Purged organizations whose slugs nobody needs to keep any more.
pub(super) const KEPT: &str = "SELECT id FROM organizations WHERE state = 'PURGED' AND slug <> id AND deleted_at <= $1 \
    ORDER BY deleted_at LIMIT $2";
/// An id is no slug that anybody could ask for.
pub(super) const TAKE_ID: &str = "INSERT INTO slugs (slug, organization_id, taken_at) VALUES ($1, $2, $3)";
pub(super) const NAME_BY_ID: &str = "UPDATE organizations SET slug = id WHERE id = $1";
pub(super) const FREE_OTHERS: &str = "DELETE FROM slugs WHERE organization_id = $1 AND slug <> $2";

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

/// A slug that an organization has becomes one that it had at `since`; or again the present one, where that is `None`.
pub async fn retire(
    tx: &mut Tx,
    organization: OrganizationId,
    slug: &str,
    since: Option<Timestamp>,
) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(RETIRE)
        .bind(organization)
        .bind(slug)
        .bind(since)
        .execute(c)
        .await?
        .rows_affected()))
}

/// The slugs that an organization had, those that it gave up first before the others.
pub async fn former(tx: &mut Tx, organization: OrganizationId) -> Result<Vec<FormerSlug>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(FORMER).bind(organization).fetch_all(c).await?))
}

/// Frees a slug that an organization had.
pub async fn free(tx: &mut Tx, organization: OrganizationId, slug: &str) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(FREE).bind(organization).bind(slug).execute(c).await?.rows_affected()))
}

/// Up to `limit` organizations that were purged, were deleted before then, and still have slugs.
pub async fn kept(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<Vec<OrganizationId>, DbError> {
    Ok(on!(tx, c => sqlx::query_scalar(KEPT).bind(before).bind(limit).fetch_all(c).await?))
}

/// Frees every slug of a purged organization; from then on its id stands in their place.
pub async fn free_all(tx: &mut Tx, organization: OrganizationId, now: Timestamp) -> Result<(), DbError> {
    let id = organization.to_string();
    exactly_one(on!(&mut *tx, c => sqlx::query(TAKE_ID)
        .bind(&id)
        .bind(organization)
        .bind(now)
        .execute(c)
        .await?
        .rows_affected()))?;
    exactly_one(on!(&mut *tx, c => sqlx::query(NAME_BY_ID).bind(organization).execute(c).await?.rows_affected()))?;
    on!(tx, c => sqlx::query(FREE_OTHERS).bind(organization).bind(&id).execute(c).await?.rows_affected());
    Ok(())
}
