//! Rows of `sessions` and `refresh_tokens`.

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
    /// Whom its next access token acts for.
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
    /// Until when it may be used.
    pub expires_at: Timestamp,
    /// When a successor took over.
    pub rotated_at: Option<Timestamp>,
}

pub(super) const INSERT: &str = "INSERT INTO sessions \
    (id, user_id, context, user_agent, created_at, last_used_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)";
pub(super) const BY_ID: &str = "SELECT id, user_id, context, user_agent, created_at, last_used_at, expires_at, ended_at \
    FROM sessions WHERE id = $1";
pub(super) const BY_ID_LOCKED: &str = "SELECT id, user_id, context, user_agent, created_at, last_used_at, expires_at, ended_at \
    FROM sessions WHERE id = $1 FOR UPDATE";
pub(super) const LIVE_OF: &str = "SELECT id, user_id, context, user_agent, created_at, last_used_at, expires_at, ended_at \
    FROM sessions WHERE user_id = $1 AND id < $2 AND ended_at IS NULL AND expires_at > $3 ORDER BY id DESC LIMIT $4";
pub(super) const END: &str = "UPDATE sessions SET ended_at = $2, end_reason = $3 WHERE id = $1 AND ended_at IS NULL";
pub(super) const SET_CONTEXT: &str =
    "UPDATE sessions SET context = $3 WHERE id = $1 AND user_id = $2 AND ended_at IS NULL";
pub(super) const TOUCH: &str = "UPDATE sessions SET last_used_at = $2, expires_at = $3 WHERE id = $1";
pub(super) const INSERT_TOKEN: &str = "INSERT INTO refresh_tokens \
    (digest, session_id, branch, authenticated_at, methods, issued_at, expires_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7)";
pub(super) const TOKEN: &str = "SELECT session_id, branch, authenticated_at, methods, expires_at, rotated_at \
    FROM refresh_tokens WHERE digest = $1";
pub(super) const RETIRE_BRANCH: &str = "UPDATE refresh_tokens SET rotated_at = $3 \
    WHERE session_id = $1 AND branch = $2 AND rotated_at IS NULL";

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

/// A user's live sessions older than `before`, the latest first.
pub async fn live_of(
    tx: &mut Tx,
    user: UserId,
    before: Option<SessionId>,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<SessionRow>, DbError> {
    // No id is greater than `~`.
    let before = before.map_or_else(|| "~".to_owned(), |id| id.to_string());
    Ok(on!(tx, c => sqlx::query_as(LIVE_OF).bind(user).bind(before).bind(now).bind(limit).fetch_all(c).await?))
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

/// Sets whom a user's session acts for; `false` when there is no such session (any more).
pub async fn set_context(tx: &mut Tx, id: SessionId, user: UserId, context: OwnerId) -> Result<bool, DbError> {
    let done = on!(tx, c => sqlx::query(SET_CONTEXT)
        .bind(id)
        .bind(user)
        .bind(context)
        .execute(c)
        .await?
        .rows_affected());
    Ok(done == 1)
}

/// Notes that a session gave a token, which prolongs it.
pub async fn touch(tx: &mut Tx, id: SessionId, now: Timestamp, expires_at: Timestamp) -> Result<(), DbError> {
    bursar_db::exactly_one(on!(tx, c => sqlx::query(TOUCH)
        .bind(id)
        .bind(now)
        .bind(expires_at)
        .execute(c)
        .await?
        .rows_affected()))
}

/// Keeps a new refresh token by its digest.
pub async fn insert_token(
    tx: &mut Tx,
    digest: &[u8],
    token: &RefreshTokenRow,
    issued_at: Timestamp,
) -> Result<(), DbError> {
    bursar_db::exactly_one(on!(tx, c => sqlx::query(INSERT_TOKEN)
        .bind(digest)
        .bind(token.session_id)
        .bind(&token.branch)
        .bind(token.authenticated_at)
        .bind(&token.methods)
        .bind(issued_at)
        .bind(token.expires_at)
        .execute(c)
        .await?
        .rows_affected()))
}

/// The refresh token with this digest.
pub async fn token(tx: &mut Tx, digest: &[u8]) -> Result<Option<RefreshTokenRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(TOKEN).bind(digest).fetch_optional(c).await?))
}

/// Retires every live token of a branch.
pub async fn retire_branch(tx: &mut Tx, session: SessionId, branch: &[u8], now: Timestamp) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(RETIRE_BRANCH).bind(session).bind(branch).bind(now).execute(c).await?.rows_affected());
    Ok(())
}
