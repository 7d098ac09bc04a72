//! Rows of `suspensions`.

use bursar_db::{Db, DbError, Tx, on};
use bursar_id::UserId;
use bursar_members::people::Register;
use bursar_time::Timestamp;

/// A suspension as stored.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct SuspensionRow {
    /// Since when.
    pub since: Timestamp,
    /// What the operator said.
    pub reason: String,
}

/// Where identity itself knows who is suspended.
#[derive(Clone, Debug)]
pub struct Suspensions(pub Db);

impl Register for Suspensions {
    async fn suspended(&self, after: Option<UserId>, limit: u16) -> Result<Vec<UserId>, DbError> {
        let after = after.map(|user| user.to_string()).unwrap_or_default();
        let page = live_after(&mut self.0.read().await?, &after, i64::from(limit)).await?;
        Ok(page.into_iter().map(|(user, _)| user).collect())
    }
}

pub(super) const OF: &str = "SELECT since, reason FROM suspensions WHERE user_id = $1 AND since IS NOT NULL";
pub(super) const BEGIN: &str = "INSERT INTO suspensions (user_id, since, reason, version) VALUES ($1, $2, $3, 1) \
    ON CONFLICT (user_id) DO UPDATE SET since = excluded.since, reason = excluded.reason, \
    version = suspensions.version + 1 WHERE suspensions.since IS NULL RETURNING version";
pub(super) const END: &str = "UPDATE suspensions SET since = NULL, reason = '', version = version + 1 \
    WHERE user_id = $1 AND since IS NOT NULL RETURNING version";
pub(super) const LIVE_AFTER: &str =
    "SELECT user_id, version FROM suspensions WHERE user_id > $1 AND since IS NOT NULL ORDER BY user_id LIMIT $2";

/// A user's suspension, if there is one.
pub async fn of(tx: &mut Tx, user: UserId) -> Result<Option<SuspensionRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(OF).bind(user).fetch_optional(c).await?))
}

/// Suspends a user; the version under which that is to be told. `None` when the user is suspended already. The user's row
/// must be locked.
pub async fn begin(tx: &mut Tx, user: UserId, row: &SuspensionRow) -> Result<Option<i64>, DbError> {
    let version: Option<(i64,)> =
        on!(tx, c => sqlx::query_as(BEGIN).bind(user).bind(row.since).bind(&row.reason).fetch_optional(c).await?);
    Ok(version.map(|(version,)| version))
}

/// Takes a suspension back; the version under which that is to be told. `None` when there is none. The user's row must be
/// locked.
pub async fn end(tx: &mut Tx, user: UserId) -> Result<Option<i64>, DbError> {
    let version: Option<(i64,)> = on!(tx, c => sqlx::query_as(END).bind(user).fetch_optional(c).await?);
    Ok(version.map(|(version,)| version))
}

/// Those who are suspended, after an id (as text; empty for the first), with the version under which that was told, in the
/// order of ids.
pub async fn live_after(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<(UserId, i64)>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(LIVE_AFTER).bind(after).bind(limit).fetch_all(c).await?))
}
