//! Rows of `service_accounts`.

use bursar_db::{DbError, Tx, on};
use bursar_id::ServiceAccountId;
use bursar_time::Timestamp;

/// One service account as stored.
#[derive(Clone, sqlx::FromRow)]
pub struct ServiceAccountRow {
    /// The account's id, which is its client id.
    pub id: ServiceAccountId,
    /// What it is for.
    pub display_name: String,
    /// Its role: `operator`, `identity`, `organization`, `billing` or `product`.
    pub role: String,
    /// SHA-256 of its secret.
    pub secret_digest: Vec<u8>,
    /// SHA-256 of the secret before the last rotation.
    pub previous_digest: Option<Vec<u8>>,
    /// Until when the previous secret works.
    pub previous_until: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When its secret last changed.
    pub rotated_at: Timestamp,
    /// When it was disabled, if it was.
    pub disabled_at: Option<Timestamp>,
}

pub(super) const INSERT: &str = "INSERT INTO service_accounts \
    (id, display_name, role, secret_digest, created_at, rotated_at) VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT (id) DO NOTHING";
pub(super) const BY_ID: &str = "SELECT id, display_name, role, secret_digest, previous_digest, previous_until, \
    created_at, rotated_at, disabled_at FROM service_accounts WHERE id = $1";
pub(super) const BY_ID_LOCKED: &str = "SELECT id, display_name, role, secret_digest, previous_digest, previous_until, \
    created_at, rotated_at, disabled_at FROM service_accounts WHERE id = $1 FOR UPDATE";
pub(super) const AFTER: &str = "SELECT id, display_name, role, secret_digest, previous_digest, previous_until, \
    created_at, rotated_at, disabled_at FROM service_accounts WHERE id > $1 ORDER BY id LIMIT $2";
pub(super) const SET_SECRET: &str = "UPDATE service_accounts \
    SET secret_digest = $2, previous_digest = $3, previous_until = $4, rotated_at = $5 WHERE id = $1";
pub(super) const DISABLE: &str = "UPDATE service_accounts SET disabled_at = $2 WHERE id = $1 AND disabled_at IS NULL";

/// Adds an account with the fields of a new one; `false` when its id is taken.
pub async fn insert(tx: &mut Tx, account: &ServiceAccountRow) -> Result<bool, DbError> {
    let done = on!(tx, c => sqlx::query(INSERT)
        .bind(account.id)
        .bind(&account.display_name)
        .bind(&account.role)
        .bind(&account.secret_digest)
        .bind(account.created_at)
        .execute(c)
        .await?
        .rows_affected());
    Ok(done == 1)
}

/// The account with this id.
pub async fn by_id(tx: &mut Tx, id: ServiceAccountId) -> Result<Option<ServiceAccountRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(BY_ID).bind(id).fetch_optional(c).await?))
}

/// The account with this id, kept from changing until the transaction ends.
pub async fn by_id_locked(tx: &mut Tx, id: ServiceAccountId) -> Result<Option<ServiceAccountRow>, DbError> {
    Ok(match tx {
        Tx::Sqlite(t) => sqlx::query_as(BY_ID).bind(id).fetch_optional(&mut **t).await?,
        Tx::Postgres(t) => sqlx::query_as(BY_ID_LOCKED).bind(id).fetch_optional(&mut **t).await?,
    })
}

/// Accounts after `after`, in the order of their ids.
pub async fn after(
    tx: &mut Tx,
    after: Option<ServiceAccountId>,
    limit: i64,
) -> Result<Vec<ServiceAccountRow>, DbError> {
    let after = after.map(|id| id.to_string()).unwrap_or_default();
    Ok(on!(tx, c => sqlx::query_as(AFTER).bind(after).bind(limit).fetch_all(c).await?))
}

/// Gives an account a new secret, and the old one its last instant.
pub async fn set_secret(
    tx: &mut Tx,
    id: ServiceAccountId,
    digest: &[u8],
    previous: Option<(&[u8], Timestamp)>,
    now: Timestamp,
) -> Result<(), DbError> {
    bursar_db::exactly_one(on!(tx, c => sqlx::query(SET_SECRET)
        .bind(id)
        .bind(digest)
        .bind(previous.map(|(digest, _)| digest))
        .bind(previous.map(|(_, until)| until))
        .bind(now)
        .execute(c)
        .await?
        .rows_affected()))
}

/// Disables an account; `false` when it was already.
pub async fn disable(tx: &mut Tx, id: ServiceAccountId, now: Timestamp) -> Result<bool, DbError> {
    let done = on!(tx, c => sqlx::query(DISABLE).bind(id).bind(now).execute(c).await?.rows_affected());
    Ok(done == 1)
}
