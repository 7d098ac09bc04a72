//! The catalogs that were ever used, by version.

use bursar_db::{DbError, Tx, on};
use bursar_time::Timestamp;

use super::unreadable;
use crate::domain::CatalogVersion;

const BY_DIGEST: &str = "SELECT version, digest, format, body, first_used_at FROM catalogs WHERE digest = $1";
const BY_VERSION: &str = "SELECT version, digest, format, body, first_used_at FROM catalogs WHERE version = $1";
const LATEST: &str = "SELECT version, digest, format, body, first_used_at FROM catalogs \
     WHERE version > (SELECT COALESCE(MAX(version), 0) FROM catalogs) - $1 ORDER BY version DESC";
/// Of two that take the same version or bring the same catalog, the second one does nothing. (SQLite needs the WHERE to
/// tell ON CONFLICT from a join's ON.)
const INSERT: &str = "INSERT INTO catalogs (version, digest, format, body, first_used_at) \
     SELECT COALESCE(MAX(version), 0) + 1, $1, $2, $3, $4 FROM catalogs WHERE TRUE ON CONFLICT DO NOTHING";

/// Every statement here, by its name.
#[cfg(test)]
pub(super) const STATEMENTS: [(&str, &str); 4] =
    [("BY_DIGEST", BY_DIGEST), ("BY_VERSION", BY_VERSION), ("LATEST", LATEST), ("INSERT", INSERT)];

/// A catalog as it is kept.
#[derive(Debug, sqlx::FromRow)]
pub(crate) struct CatalogRow {
    version: i64,
    /// SHA-256 of `body`.
    pub(crate) digest: Vec<u8>,
    /// What a program must know to read `body`.
    pub(crate) format: i64,
    /// The canonical text.
    pub(crate) body: String,
    /// When it was first used.
    pub(crate) first_used_at: Timestamp,
}

impl CatalogRow {
    /// Its version.
    pub(crate) fn version(&self) -> Result<CatalogVersion, DbError> {
        let number = u32::try_from(self.version).map_err(unreadable)?;
        CatalogVersion::new(number).ok_or_else(|| unreadable("a catalog has the version 0"))
    }
}

/// The catalog with this digest.
pub(crate) async fn by_digest(tx: &mut Tx, digest: &[u8]) -> Result<Option<CatalogRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(BY_DIGEST).bind(digest).fetch_optional(c).await?))
}

/// The catalog of this version.
pub(crate) async fn by_version(tx: &mut Tx, version: CatalogVersion) -> Result<Option<CatalogRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(BY_VERSION).bind(i64::from(version.get())).fetch_optional(c).await?))
}

/// The catalogs that were used last, at most `limit`, the last one first.
pub(crate) async fn latest(tx: &mut Tx, limit: i64) -> Result<Vec<CatalogRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(LATEST).bind(limit).fetch_all(c).await?))
}

/// Keeps a catalog under the next version. Writes nothing when another replica has just kept this one, or another under
/// that version.
pub(crate) async fn insert(tx: &mut Tx, digest: &[u8], format: i64, body: &str, now: Timestamp) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(INSERT).bind(digest).bind(format).bind(body).bind(now).execute(c).await?.rows_affected());
    Ok(())
}
