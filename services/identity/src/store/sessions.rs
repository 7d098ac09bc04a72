//! Rows of `sessions`.

use bursar_db::{DbError, Tx, on};
use bursar_id::{OwnerId, SessionId, UserId};
use bursar_time::Timestamp;

use crate::domain::session::EndReason;

/// One session as stored.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct SessionRow {
    /// The session's id.
    pub id: SessionId,
    /// Whose session it is.
    pub user_id: UserId,
    /// Whom it acted for when it was last used. Each branch has a context of its own.
    pub context: OwnerId,
    /// What the client called itself when its user signed in.
    pub user_agent: String,
    /// When its user signed in.
    pub created_at: Timestamp,
    /// When it last gave a token.
    pub last_used_at: Timestamp,
    /// When it ends by itself.
    pub expires_at: Timestamp,
    /// When it was ended.
    pub ended_at: Option<Timestamp>,
}

pub(super) const INSERT: &str = "INSERT INTO sessions \
    (id, user_id, context, user_agent, created_at, last_used_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)";
pub(super) const BY_ID: &str = "SELECT id, user_id, context, user_agent, created_at, last_used_at, expires_at, ended_at \
    FROM sessions WHERE id = $1";
pub(super) const BY_ID_LOCKED: &str = "SELECT id, user_id, context, user_agent, created_at, last_used_at, expires_at, ended_at \
    FROM sessions WHERE id = $1 FOR UPDATE";
pub(super) const LIVE_OF: &str = "SELECT id, user_id, context, user_agent, created_at, last_used_at, expires_at, ended_at \
    FROM sessions WHERE user_id = $1 AND id < $2 AND ended_at IS NULL AND expires_at > $3 AND last_used_at <= $4 \
    ORDER BY id DESC LIMIT $5";
pub(super) const END: &str = "UPDATE sessions SET ended_at = $2, end_reason = $3 WHERE id = $1 AND ended_at IS NULL";
pub(super) const END_ALL: &str =
    "UPDATE sessions SET ended_at = $2, end_reason = $3 WHERE user_id = $1 AND ended_at IS NULL";
pub(super) const TOUCH: &str = "UPDATE sessions SET context = $2, last_used_at = $3, expires_at = $4 WHERE id = $1";

/// Adds a session.
pub async fn insert(tx: &mut Tx, session: &SessionRow) -> Result<(), DbError> {
    bursar_db::exactly_one(on!(tx, c => sqlx::query(INSERT)
        .bind(session.id)
        .bind(session.user_id)
        .bind(session.context)
        .bind(&session.user_agent)
        .bind(session.created_at)
        .bind(session.last_used_at)
        .bind(session.expires_at)
        .execute(c)
        .await?
        .rows_affected()))
}

/// The session with this id, whether it still lives or not.
pub async fn by_id(tx: &mut Tx, id: SessionId) -> Result<Option<SessionRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(BY_ID).bind(id).fetch_optional(c).await?))
}

/// The session with this id, kept from changing until the transaction ends.
pub async fn by_id_locked(tx: &mut Tx, id: SessionId) -> Result<Option<SessionRow>, DbError> {
    Ok(match tx {
        Tx::Sqlite(t) => sqlx::query_as(BY_ID).bind(id).fetch_optional(&mut **t).await?,
        Tx::Postgres(t) => sqlx::query_as(BY_ID_LOCKED).bind(id).fetch_optional(&mut **t).await?,
    })
}

/// A user's live sessions older than `before`, the latest first: those that end after the first of these, and were last used no
/// later than the second.
pub async fn live_of(
    tx: &mut Tx,
    user: UserId,
    before: Option<SessionId>,
    (after, used_until): (Timestamp, Timestamp),
    limit: i64,
) -> Result<Vec<SessionRow>, DbError> {
    // No id is greater than `~`.
    let before = before.map_or_else(|| "~".to_owned(), |id| id.to_string());
    Ok(on!(tx, c => sqlx::query_as(LIVE_OF)
        .bind(user)
        .bind(before)
        .bind(after)
        .bind(used_until)
        .bind(limit)
        .fetch_all(c)
        .await?))
}

/// Ends a session; `false` when it had ended before.
pub async fn end(tx: &mut Tx, id: SessionId, now: Timestamp, reason: EndReason) -> Result<bool, DbError> {
    let done = on!(tx, c => sqlx::query(END)
        .bind(id)
        .bind(now)
        .bind(reason.as_str())
        .execute(c)
        .await?
        .rows_affected());
    Ok(done == 1)
}

/// Ends every session of a user.
pub async fn end_all(tx: &mut Tx, user: UserId, now: Timestamp, reason: EndReason) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(END_ALL).bind(user).bind(now).bind(reason.as_str()).execute(c).await?.rows_affected());
    Ok(())
}

/// Notes that a session gave a token for a context, which prolongs it.
pub async fn touch(
    tx: &mut Tx,
    id: SessionId,
    context: OwnerId,
    now: Timestamp,
    expires_at: Timestamp,
) -> Result<(), DbError> {
    bursar_db::exactly_one(on!(tx, c => sqlx::query(TOUCH)
        .bind(id)
        .bind(context)
        .bind(now)
        .bind(expires_at)
        .execute(c)
        .await?
        .rows_affected()))
}
