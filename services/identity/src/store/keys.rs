//! Rows of `signing_keys`.

use bursar_db::{DbError, Tx, on};
use bursar_time::Timestamp;

/// One signing key as stored.
#[derive(Clone, sqlx::FromRow)]
pub struct KeyRow {
    /// Position in the rotation.
    pub generation: i64,
    /// The name tokens give it.
    pub kid: String,
    /// The Ed25519 public key.
    pub public_key: Vec<u8>,
    /// The Ed25519 secret key, sealed with the master key.
    pub sealed_private: Vec<u8>,
    /// When it was made and thereby published.
    pub created_at: Timestamp,
    /// From when it signs.
    pub signs_from: Timestamp,
}

pub(super) const INSERT: &str = "INSERT INTO signing_keys \
    (generation, kid, public_key, sealed_private, created_at, signs_from) VALUES ($1, $2, $3, $4, $5, $6) \
    ON CONFLICT (generation) DO NOTHING";
pub(super) const ALL: &str = "SELECT generation, kid, public_key, sealed_private, created_at, signs_from \
    FROM signing_keys ORDER BY generation";
pub(super) const DELETE: &str = "DELETE FROM signing_keys WHERE generation = $1";

/// Adds a key; `false` when another replica made this generation.
pub async fn insert(tx: &mut Tx, key: &KeyRow) -> Result<bool, DbError> {
    let done = on!(tx, c => sqlx::query(INSERT)
        .bind(key.generation)
        .bind(&key.kid)
        .bind(&key.public_key)
        .bind(&key.sealed_private)
        .bind(key.created_at)
        .bind(key.signs_from)
        .execute(c)
        .await?
        .rows_affected());
    Ok(done == 1)
}

/// Every key, in the order of the rotation.
pub async fn all(tx: &mut Tx) -> Result<Vec<KeyRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(ALL).fetch_all(c).await?))
}

/// Drops a retired key.
pub async fn delete(tx: &mut Tx, generation: i64) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(DELETE).bind(generation).execute(c).await?.rows_affected());
    Ok(())
}
