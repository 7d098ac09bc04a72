//! What one account can have by the thousands, deleted some at a time once it is sure to end. Needs the lock on the user.

use bursar_db::{DbError, Tx};
use bursar_id::{SessionId, UserId};

/// Of the first sessions alone, one more than go at a time: that of who asks stays among them.
pub(super) const TOKENS_SQLITE: &str = "DELETE FROM refresh_tokens WHERE digest IN (SELECT digest FROM refresh_tokens \
    WHERE session_id IN (SELECT id FROM sessions WHERE user_id = $1 ORDER BY id LIMIT $3) LIMIT $2)";
/// With arrays: no plan, whatever it is made on, reads all tokens to join them.
pub(super) const TOKENS_POSTGRES: &str = "DELETE FROM refresh_tokens WHERE digest = ANY(ARRAY(SELECT digest \
    FROM refresh_tokens WHERE session_id = ANY(ARRAY(SELECT id FROM sessions WHERE user_id = $1 ORDER BY id LIMIT $3)) LIMIT $2))";
pub(super) const SESSIONS_SQLITE: &str = "DELETE FROM sessions WHERE id IN \
    (SELECT id FROM sessions WHERE user_id = $1 AND id <> $2 ORDER BY id LIMIT $3)";
pub(super) const SESSIONS_POSTGRES: &str = "DELETE FROM sessions WHERE id = ANY(ARRAY\
    (SELECT id FROM sessions WHERE user_id = $1 AND id <> $2 ORDER BY id LIMIT $3))";
pub(super) const VERIFICATIONS_SQLITE: &str = "DELETE FROM email_verifications WHERE digest IN \
    (SELECT digest FROM email_verifications WHERE user_id = $1 LIMIT $2)";
pub(super) const VERIFICATIONS_POSTGRES: &str = "DELETE FROM email_verifications WHERE digest = ANY(ARRAY\
    (SELECT digest FROM email_verifications WHERE user_id = $1 LIMIT $2))";

/// Deletes up to `limit` refresh tokens of a user's first sessions; fewer are all that these have. Says how many.
pub async fn delete_tokens(tx: &mut Tx, user: UserId, limit: i64) -> Result<u64, DbError> {
    let sessions = limit.saturating_add(1);
    Ok(match tx {
        Tx::Sqlite(t) => {
            let query = sqlx::query(TOKENS_SQLITE).bind(user).bind(limit).bind(sessions);
            query.execute(&mut **t).await?.rows_affected()
        }
        Tx::Postgres(t) => {
            let query = sqlx::query(TOKENS_POSTGRES).bind(user).bind(limit).bind(sessions);
            query.execute(&mut **t).await?.rows_affected()
        }
    })
}

/// Deletes up to `limit` of a user's first sessions but one, whose tokens have gone before; says how many.
pub async fn delete_sessions(tx: &mut Tx, user: UserId, but: Option<SessionId>, limit: i64) -> Result<u64, DbError> {
    let but = but.map(|session| session.to_string()).unwrap_or_default();
    Ok(match tx {
        Tx::Sqlite(t) => {
            let query = sqlx::query(SESSIONS_SQLITE).bind(user).bind(but).bind(limit);
            query.execute(&mut **t).await?.rows_affected()
        }
        Tx::Postgres(t) => {
            let query = sqlx::query(SESSIONS_POSTGRES).bind(user).bind(but).bind(limit);
            query.execute(&mut **t).await?.rows_affected()
        }
    })
}

/// Deletes up to `limit` of the links that were mailed to a user; says how many.
pub async fn delete_verifications(tx: &mut Tx, user: UserId, limit: i64) -> Result<u64, DbError> {
    Ok(match tx {
        Tx::Sqlite(t) => {
            let query = sqlx::query(VERIFICATIONS_SQLITE).bind(user).bind(limit);
            query.execute(&mut **t).await?.rows_affected()
        }
        Tx::Postgres(t) => {
            let query = sqlx::query(VERIFICATIONS_POSTGRES).bind(user).bind(limit);
            query.execute(&mut **t).await?.rows_affected()
        }
    })
}
