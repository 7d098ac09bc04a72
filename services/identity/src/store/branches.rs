//! Rows of `refresh_tokens`: the branches of sessions. Whatever changes one needs the lock on its session.
//!
//! A branch is what its live tokens say: those that nobody has used yet, of which there are one or a few. The rotated ones
//! before them stay until they would have expired, since whoever has stolen one could otherwise go on until it is forgotten,
//! and its reuse would end nothing; but they are found by their digests alone, and nothing here passes over them.

use std::collections::HashMap;

use bursar_db::{DbError, Tx, on};
use bursar_id::{OwnerId, SessionId, UserId};
use bursar_time::Timestamp;

/// One refresh token as stored.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct RefreshTokenRow {
    /// The session it belongs to.
    pub session_id: SessionId,
    /// The chain of rotations it belongs to.
    pub branch: Vec<u8>,
    /// When the branch's user proved who it is.
    pub authenticated_at: Timestamp,
    /// By which means: the words of the claim `amr`, separated by spaces.
    pub methods: String,
    /// Whom the branch acts for; `None` is the session's, for a token of an older program.
    pub context: Option<OwnerId>,
    /// When the branch's client moved on to another one.
    pub left_at: Option<Timestamp>,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// Until when it may be used.
    pub expires_at: Timestamp,
    /// When a successor took over.
    pub rotated_at: Option<Timestamp>,
}

pub(super) const INSERT: &str = "INSERT INTO refresh_tokens \
    (digest, session_id, branch, authenticated_at, methods, context, left_at, issued_at, expires_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
pub(super) const TOKEN: &str = "SELECT session_id, branch, authenticated_at, methods, context, left_at, issued_at, \
    expires_at, rotated_at FROM refresh_tokens WHERE digest = $1";
pub(super) const LIVE: &str = "SELECT session_id, branch, authenticated_at, methods, context, left_at, issued_at, \
    expires_at, rotated_at FROM refresh_tokens \
    WHERE session_id = $1 AND branch = $2 AND rotated_at IS NULL ORDER BY issued_at DESC LIMIT 1";
pub(super) const LEFT_SQLITE: &str = "SELECT session_id, COUNT(DISTINCT branch) FROM refresh_tokens \
    WHERE session_id IN (SELECT value FROM json_each($1)) AND rotated_at IS NULL AND left_at IS NOT NULL AND expires_at > $2 \
    GROUP BY session_id";
pub(super) const LEFT_POSTGRES: &str = "SELECT session_id, COUNT(DISTINCT branch) FROM refresh_tokens \
    WHERE session_id = ANY(ARRAY(SELECT value FROM json_array_elements_text($1::json))) \
    AND rotated_at IS NULL AND left_at IS NOT NULL AND expires_at > $2 GROUP BY session_id";
pub(super) const RETIRE: &str = "UPDATE refresh_tokens SET rotated_at = $3 \
    WHERE session_id = $1 AND branch = $2 AND rotated_at IS NULL";
pub(super) const LEAVE: &str = "UPDATE refresh_tokens SET left_at = $3, \
    expires_at = CASE WHEN expires_at > $4 THEN $4 ELSE expires_at END \
    WHERE session_id = $1 AND branch = $2 AND rotated_at IS NULL AND left_at IS NULL";
pub(super) const TRIM: &str = "DELETE FROM refresh_tokens WHERE session_id = $1 AND rotated_at IS NULL AND branch NOT IN \
    (SELECT branch FROM refresh_tokens WHERE session_id = $1 AND rotated_at IS NULL \
    GROUP BY branch ORDER BY MAX(issued_at) DESC, branch LIMIT $2)";
pub(super) const ENTER: &str = "UPDATE refresh_tokens SET context = $4 \
    WHERE session_id = $1 AND branch = $3 AND rotated_at IS NULL \
    AND EXISTS (SELECT 1 FROM sessions WHERE id = $1 AND user_id = $2 AND ended_at IS NULL)";
pub(super) const ENTER_ONLY: &str = "UPDATE refresh_tokens SET context = $3 WHERE session_id = $1 AND rotated_at IS NULL \
    AND EXISTS (SELECT 1 FROM sessions WHERE id = $1 AND user_id = $2 AND ended_at IS NULL) \
    AND (SELECT COUNT(DISTINCT branch) FROM refresh_tokens WHERE session_id = $1 AND rotated_at IS NULL) = 1";

/// Keeps a new refresh token by its digest.
pub async fn insert(tx: &mut Tx, digest: &[u8], token: &RefreshTokenRow) -> Result<(), DbError> {
    bursar_db::exactly_one(on!(tx, c => sqlx::query(INSERT)
        .bind(digest)
        .bind(token.session_id)
        .bind(&token.branch)
        .bind(token.authenticated_at)
        .bind(&token.methods)
        .bind(token.context)
        .bind(token.left_at)
        .bind(token.issued_at)
        .bind(token.expires_at)
        .execute(c)
        .await?
        .rows_affected()))
}

/// The refresh token with this digest.
pub async fn token(tx: &mut Tx, digest: &[u8]) -> Result<Option<RefreshTokenRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(TOKEN).bind(digest).fetch_optional(c).await?))
}

/// The latest live token of a branch, which says what the branch is; `None` when it has ended.
pub async fn live(tx: &mut Tx, session: SessionId, branch: &[u8]) -> Result<Option<RefreshTokenRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(LIVE).bind(session).bind(branch).fetch_optional(c).await?))
}

/// Whom a branch acts for; `None` when it has ended, or when it is an older program's.
pub async fn context(tx: &mut Tx, session: SessionId, branch: &[u8]) -> Result<Option<OwnerId>, DbError> {
    Ok(live(tx, session, branch).await?.and_then(|token| token.context))
}

/// How many branches of each of these sessions were left and have not ended; sessions without any are left out.
pub async fn left(tx: &mut Tx, sessions: &[SessionId], now: Timestamp) -> Result<HashMap<SessionId, i64>, DbError> {
    let ids = serde_json::Value::from(sessions.iter().map(ToString::to_string).collect::<Vec<_>>()).to_string();
    let rows: Vec<(SessionId, i64)> = match tx {
        Tx::Sqlite(t) => sqlx::query_as(LEFT_SQLITE).bind(ids).bind(now).fetch_all(&mut **t).await?,
        Tx::Postgres(t) => sqlx::query_as(LEFT_POSTGRES).bind(ids).bind(now).fetch_all(&mut **t).await?,
    };
    Ok(rows.into_iter().collect())
}

/// Retires every live token of a branch.
pub async fn retire(tx: &mut Tx, session: SessionId, branch: &[u8], now: Timestamp) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(RETIRE).bind(session).bind(branch).bind(now).execute(c).await?.rows_affected());
    Ok(())
}

/// Notes that a branch's client moves on to another one: its live token ends at `until` if nobody uses it.
pub async fn leave(
    tx: &mut Tx,
    session: SessionId,
    branch: &[u8],
    now: Timestamp,
    until: Timestamp,
) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(LEAVE)
        .bind(session)
        .bind(branch)
        .bind(now)
        .bind(until)
        .execute(c)
        .await?
        .rows_affected());
    Ok(())
}

/// Ends the branches of a session that are longest unused, so that no more than `most` are left: without a live token a branch
/// is over, and its rotated ones give no successor.
pub async fn trim(tx: &mut Tx, session: SessionId, most: i64) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(TRIM).bind(session).bind(most).execute(c).await?.rows_affected());
    Ok(())
}

/// Moves a branch of a user's session into a context; without a branch, the only one of the session, if it has no other.
/// A session that has ended stays as it is.
pub async fn enter(
    tx: &mut Tx,
    session: SessionId,
    user: UserId,
    branch: Option<&[u8]>,
    context: OwnerId,
) -> Result<(), DbError> {
    match branch {
        Some(branch) => {
            on!(tx, c => sqlx::query(ENTER)
                .bind(session)
                .bind(user)
                .bind(branch)
                .bind(context)
                .execute(c)
                .await?
                .rows_affected());
        }
        None => {
            on!(tx, c => sqlx::query(ENTER_ONLY)
                .bind(session)
                .bind(user)
                .bind(context)
                .execute(c)
                .await?
                .rows_affected());
        }
    }
    Ok(())
}
