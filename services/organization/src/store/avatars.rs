//! Rows of `avatars`.

use bursar_db::{DbError, Tx, on};
use bursar_id::OrganizationId;

use crate::domain::avatar::Picture;

/// A picture as stored.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct AvatarRow {
    /// Its media type.
    pub media_type: String,
    /// Names it.
    pub etag: String,
    /// The file; `None` where whoever asks has it.
    pub content: Option<Vec<u8>>,
}

pub(super) const FIND: &str = "SELECT media_type, etag, CASE WHEN etag = $3 THEN NULL ELSE content END AS content \
    FROM avatars WHERE organization_id = $1 AND size = $2";
pub(super) const REMOVE: &str = "DELETE FROM avatars WHERE organization_id = $1";
pub(super) const PUT: &str = "INSERT INTO avatars (organization_id, size, media_type, etag, content) \
    VALUES ($1, $2, $3, $4, $5)";

/// An organization's picture in one size, without its content where that is the one that `known` names.
pub async fn find(
    tx: &mut Tx,
    organization: OrganizationId,
    size: u32,
    known: &str,
) -> Result<Option<AvatarRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(FIND)
        .bind(organization)
        .bind(i64::from(size))
        .bind(known)
        .fetch_optional(c)
        .await?))
}

/// Puts these pictures into the place of those that were there. The organization must be locked.
pub async fn replace(tx: &mut Tx, organization: OrganizationId, pictures: &[Picture]) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(REMOVE).bind(organization).execute(c).await?.rows_affected());
    for picture in pictures {
        on!(tx, c => sqlx::query(PUT)
            .bind(organization)
            .bind(i64::from(picture.size))
            .bind(picture.media_type)
            .bind(&picture.etag)
            .bind(&picture.content)
            .execute(c)
            .await?
            .rows_affected());
    }
    Ok(())
}
