//! Rows of `users`.

use bursar_db::{DbError, Tx, on};
use bursar_id::UserId;
use bursar_time::Timestamp;

/// One user as stored.
#[derive(Clone, sqlx::FromRow)]
pub struct UserRow {
    /// The user's id.
    pub id: UserId,
    /// The address as its holder wrote it.
    pub email: String,
    /// The case-folded address.
    pub email_key: String,
    /// When the address was proven.
    pub email_verified_at: Option<Timestamp>,
    /// The password's Argon2id hash in PHC form.
    pub password_hash: String,
    /// The name the person goes by.
    pub display_name: String,
    /// How often somebody signed up with the address before it was proven.
    pub sign_ups: i64,
    /// Counts the changes to the row; the etag.
    pub version: i64,
    /// When the user signed up.
    pub created_at: Timestamp,
    /// When the row last changed.
    pub updated_at: Timestamp,
    /// Since when the account is about to be deleted.
    pub leaving_since: Option<Timestamp>,
    /// How often that has begun: the number of the last departure.
    pub departures: i64,
}

pub(super) const INSERT: &str = "INSERT INTO users \
    (id, email, email_key, email_verified_at, password_hash, display_name, version, created_at, updated_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (email_key) DO NOTHING";
pub(super) const BY_ID: &str = "SELECT id, email, email_key, email_verified_at, password_hash, display_name, \
    sign_ups, version, created_at, updated_at, leaving_since, departures FROM users WHERE id = $1";
pub(super) const BY_ID_LOCKED: &str = "SELECT id, email, email_key, email_verified_at, password_hash, display_name, \
    sign_ups, version, created_at, updated_at, leaving_since, departures FROM users WHERE id = $1 FOR UPDATE";
pub(super) const BY_EMAIL: &str = "SELECT id, email, email_key, email_verified_at, password_hash, display_name, \
    sign_ups, version, created_at, updated_at, leaving_since, departures FROM users WHERE email_key = $1";
pub(super) const BY_IDS_SQLITE: &str = "SELECT id, email, email_key, email_verified_at, password_hash, display_name, \
    sign_ups, version, created_at, updated_at, leaving_since, departures FROM users WHERE id IN (SELECT value FROM json_each($1)) ORDER BY id";
pub(super) const BY_IDS_POSTGRES: &str = "SELECT id, email, email_key, email_verified_at, password_hash, display_name, \
    sign_ups, version, created_at, updated_at, leaving_since, departures FROM users \
    WHERE id IN (SELECT value FROM json_array_elements_text($1::json)) ORDER BY id";
pub(super) const SET_DISPLAY_NAME: &str =
    "UPDATE users SET display_name = $2, version = version + 1, updated_at = $3 WHERE id = $1";
pub(super) const SET_VERIFIED: &str = "UPDATE users SET email_verified_at = $2, updated_at = $2, version = version + 1, \
    password_hash = COALESCE($3, password_hash), display_name = COALESCE($4, display_name) \
    WHERE id = $1 AND email_verified_at IS NULL";
pub(super) const COUNT_SIGN_UP: &str =
    "UPDATE users SET sign_ups = sign_ups + 1 WHERE id = $1 AND email_verified_at IS NULL";
pub(super) const STRENGTHEN: &str = "UPDATE users SET password_hash = $3 WHERE id = $1 AND password_hash = $2";
/// What is asked of who never proved the address, by whether the account was to end before and stayed. Nobody sorts: the
/// index on `departures, created_at` has them in this order. (The sign keeps SQLite from another one by which it would.)
macro_rules! perished {
    ($before:literal, $order:literal) => {
        concat!(
            "SELECT id, email, email_key, email_verified_at, password_hash, display_name, \
             sign_ups, version, created_at, updated_at, leaving_since, departures FROM users \
             WHERE email_verified_at IS NULL AND leaving_since IS NULL AND ",
            $before,
            " AND NOT EXISTS (SELECT 1 FROM email_verifications v WHERE v.user_id = users.id \
             AND v.expires_at > $2 AND v.expires_at <= $3) ORDER BY ",
            $order
        )
    };
    ($before:literal, $order:literal, locked) => {
        concat!(perished!($before, $order), " FOR UPDATE OF users SKIP LOCKED")
    };
}

pub(super) const PERISHED: &str = perished!("departures = 0 AND created_at <= $1", "created_at LIMIT $4");
pub(super) const PERISHED_LOCKED: &str =
    perished!("departures = 0 AND created_at <= $1", "created_at LIMIT $4", locked);
/// Who signed up by a clock that was far ahead. The week would begin when that clock's time has come.
pub(super) const AHEAD: &str = perished!("departures = 0 AND created_at > $1", "created_at LIMIT $4");
pub(super) const AHEAD_LOCKED: &str = perished!("departures = 0 AND created_at > $1", "created_at LIMIT $4", locked);
pub(super) const STAYED: &str = perished!("departures > 0 AND +created_at <= $1", "departures, created_at LIMIT $4");
pub(super) const STAYED_LOCKED: &str =
    perished!("departures > 0 AND +created_at <= $1", "departures, created_at LIMIT $4", locked);
pub(super) const STAYED_AHEAD: &str =
    perished!("departures > 0 AND +created_at > $1", "departures, created_at LIMIT $4");
pub(super) const STAYED_AHEAD_LOCKED: &str =
    perished!("departures > 0 AND +created_at > $1", "departures, created_at LIMIT $4", locked);
pub(super) const LEAVE: &str =
    "UPDATE users SET leaving_since = $2, departures = departures + 1 WHERE id = $1 AND leaving_since IS NULL";
/// Also where it was let go in a store that this was restored from: who stays is not let go, by the schema.
pub(super) const STAY: &str = "UPDATE users SET leaving_since = NULL, let_go = NULL WHERE id = $1 AND departures = $2 \
    AND leaving_since IS NOT NULL AND (let_go IS NULL OR let_go <> departures OR let_go_in <> $3)";
pub(super) const LET_GO: &str = "UPDATE users SET let_go = departures, let_go_in = $3 WHERE id = $1 AND departures = $2 AND leaving_since IS NOT NULL";
pub(super) const IS_LET_GO: &str = "SELECT COUNT(*) FROM users \
    WHERE id = $1 AND departures = $2 AND leaving_since IS NOT NULL AND let_go = departures AND let_go_in = $3";
pub(super) const IS_LEAVING: &str = "SELECT COUNT(*) FROM users WHERE id = $1 AND leaving_since IS NOT NULL";
pub(super) const LEAVING_AFTER: &str = "SELECT id, departures FROM users \
    WHERE id > $1 AND leaving_since IS NOT NULL ORDER BY id LIMIT $2";
pub(super) const STAYED_AFTER: &str = "SELECT id, departures FROM users \
    WHERE id > $1 AND departures > 0 AND leaving_since IS NULL ORDER BY id LIMIT $2";
pub(super) const DELETE: &str = "DELETE FROM users WHERE id = $1";
pub(super) const REMEMBER_DELETED: &str = "INSERT INTO deleted_users (id, deleted_at) VALUES ($1, $2)";
pub(super) const NAMED_AFTER: &str = "SELECT id, display_name FROM users \
    WHERE id > $1 AND email_verified_at IS NOT NULL ORDER BY id LIMIT $2";
pub(super) const DELETED_AFTER: &str = "SELECT id FROM deleted_users WHERE id > $1 ORDER BY id LIMIT $2";

/// Adds a user; `false` when the address is taken.
pub async fn insert(tx: &mut Tx, user: &UserRow) -> Result<bool, DbError> {
    let done = on!(tx, c => sqlx::query(INSERT)
        .bind(user.id)
        .bind(&user.email)
        .bind(&user.email_key)
        .bind(user.email_verified_at)
        .bind(&user.password_hash)
        .bind(&user.display_name)
        .bind(user.version)
        .bind(user.created_at)
        .bind(user.updated_at)
        .execute(c)
        .await?
        .rows_affected());
    Ok(done == 1)
}

/// The user with this id.
pub async fn by_id(tx: &mut Tx, id: UserId) -> Result<Option<UserRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(BY_ID).bind(id).fetch_optional(c).await?))
}

/// The user with this id, kept from changing until the transaction ends.
pub async fn by_id_locked(tx: &mut Tx, id: UserId) -> Result<Option<UserRow>, DbError> {
    Ok(match tx {
        Tx::Sqlite(t) => sqlx::query_as(BY_ID).bind(id).fetch_optional(&mut **t).await?,
        Tx::Postgres(t) => sqlx::query_as(BY_ID_LOCKED).bind(id).fetch_optional(&mut **t).await?,
    })
}

/// The user with this case-folded address.
pub async fn by_email(tx: &mut Tx, email_key: &str) -> Result<Option<UserRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(BY_EMAIL).bind(email_key).fetch_optional(c).await?))
}

/// Those of the given users that exist, in the order of their ids.
pub async fn by_ids(tx: &mut Tx, ids: &[UserId]) -> Result<Vec<UserRow>, DbError> {
    let ids = serde_json::Value::from(ids.iter().map(ToString::to_string).collect::<Vec<_>>()).to_string();
    Ok(match tx {
        Tx::Sqlite(t) => sqlx::query_as(BY_IDS_SQLITE).bind(ids).fetch_all(&mut **t).await?,
        Tx::Postgres(t) => sqlx::query_as(BY_IDS_POSTGRES).bind(ids).fetch_all(&mut **t).await?,
    })
}

/// Renames a user; the row must exist.
pub async fn set_display_name(tx: &mut Tx, id: UserId, name: &str, now: Timestamp) -> Result<(), DbError> {
    bursar_db::exactly_one(on!(tx, c => sqlx::query(SET_DISPLAY_NAME)
        .bind(id)
        .bind(name)
        .bind(now)
        .execute(c)
        .await?
        .rows_affected()))
}

/// Marks the address as proven, by whoever signed up with this password hash and this name; `None` leaves what there is.
/// `false` when it was proven already.
pub async fn set_verified(
    tx: &mut Tx,
    id: UserId,
    password_hash: Option<&str>,
    display_name: Option<&str>,
    now: Timestamp,
) -> Result<bool, DbError> {
    let done = on!(tx, c => sqlx::query(SET_VERIFIED)
        .bind(id)
        .bind(now)
        .bind(password_hash)
        .bind(display_name)
        .execute(c)
        .await?
        .rows_affected());
    Ok(done == 1)
}

/// Notes that somebody signed up once more with an address that nobody has proven.
pub async fn count_sign_up(tx: &mut Tx, id: UserId) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(COUNT_SIGN_UP).bind(id).execute(c).await?.rows_affected());
    Ok(())
}

/// Replaces a stored hash by a stronger one of the same password, unless the password has changed meanwhile.
pub async fn strengthen(tx: &mut Tx, id: UserId, weak: &str, strong: &str) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(STRENGTHEN).bind(id).bind(weak).bind(strong).execute(c).await?.rows_affected());
    Ok(())
}

/// Some of the users who signed up until the first of `signed_up`, or after the second, which only a clock far ahead could
/// write; who never proved the address and cannot by any link that was mailed and ends after the first of `links`, and no later
/// than the second. They are kept from changing until the transaction ends. Those that were to end and stayed stand behind the
/// others.
pub async fn perished(
    tx: &mut Tx,
    signed_up: (Timestamp, Timestamp),
    links: (Timestamp, Timestamp),
    limit: i64,
) -> Result<Vec<UserRow>, DbError> {
    let ((until, latest), (after, furthest)) = (signed_up, links);
    let mut found: Vec<UserRow> = Vec::new();
    for (bound, sqlite, postgres) in [
        (until, PERISHED, PERISHED_LOCKED),
        (latest, AHEAD, AHEAD_LOCKED),
        (until, STAYED, STAYED_LOCKED),
        (latest, STAYED_AHEAD, STAYED_AHEAD_LOCKED),
    ] {
        let left = limit.saturating_sub(i64::try_from(found.len()).unwrap_or(i64::MAX));
        if left > 0 {
            found.extend(match tx {
                Tx::Sqlite(t) => {
                    let query = sqlx::query_as(sqlite).bind(bound).bind(after).bind(furthest).bind(left);
                    query.fetch_all(&mut **t).await?
                }
                Tx::Postgres(t) => {
                    let query = sqlx::query_as(postgres).bind(bound).bind(after).bind(furthest).bind(left);
                    query.fetch_all(&mut **t).await?
                }
            });
        }
    }
    Ok(found)
}

/// Begins the departure of a user who is not leaving; needs the lock.
pub async fn leave(tx: &mut Tx, id: UserId, now: Timestamp) -> Result<(), DbError> {
    bursar_db::exactly_one(on!(tx, c => sqlx::query(LEAVE).bind(id).bind(now).execute(c).await?.rows_affected()))
}

/// Which departure of a user's: its number, and the incarnation of the store.
pub type Departure = (i64, u64);

/// Notes that organization has let a departure go: nobody takes it back any more. `false` when it is not under way any more.
pub async fn let_go(tx: &mut Tx, id: UserId, (number, incarnation): Departure) -> Result<bool, DbError> {
    let incarnation = incarnation.cast_signed();
    Ok(on!(tx, c => sqlx::query(LET_GO).bind(id).bind(number).bind(incarnation).execute(c).await?.rows_affected()) == 1)
}

/// Whether that is noted of a departure which is under way.
pub async fn is_let_go(tx: &mut Tx, id: UserId, (number, incarnation): Departure) -> Result<bool, DbError> {
    let incarnation = incarnation.cast_signed();
    let (rows,): (i64,) =
        on!(tx, c => sqlx::query_as(IS_LET_GO).bind(id).bind(number).bind(incarnation).fetch_one(c).await?);
    Ok(rows > 0)
}

/// Takes a departure back; `false` when it is not under way any more, or organization has let it go.
pub async fn stay(tx: &mut Tx, id: UserId, (number, incarnation): Departure) -> Result<bool, DbError> {
    let incarnation = incarnation.cast_signed();
    Ok(on!(tx, c => sqlx::query(STAY).bind(id).bind(number).bind(incarnation).execute(c).await?.rows_affected()) == 1)
}

/// Whether an account is about to be deleted.
pub async fn is_leaving(tx: &mut Tx, id: UserId) -> Result<bool, DbError> {
    let (rows,): (i64,) = on!(tx, c => sqlx::query_as(IS_LEAVING).bind(id).fetch_one(c).await?);
    Ok(rows > 0)
}

/// Those after an id (as text; empty for the first) who are leaving, with the number of the departure, in the order of ids.
pub async fn leaving_after(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<(UserId, i64)>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(LEAVING_AFTER).bind(after).bind(limit).fetch_all(c).await?))
}

/// Those after an id (as text; empty for the first) who were leaving and stay, with the number of the departure that is
/// over, in the order of ids.
pub async fn stayed_after(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<(UserId, i64)>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(STAYED_AFTER).bind(after).bind(limit).fetch_all(c).await?))
}

/// Deletes a user with everything that hangs on it (sessions, tokens, verifications).
pub async fn delete(tx: &mut Tx, id: UserId) -> Result<bool, DbError> {
    let done = on!(tx, c => sqlx::query(DELETE).bind(id).execute(c).await?.rows_affected());
    Ok(done == 1)
}

/// Remembers that a user there was is gone: nothing but the id, for those who come too late to be told.
pub async fn remember_deleted(tx: &mut Tx, id: UserId, now: Timestamp) -> Result<(), DbError> {
    bursar_db::exactly_one(
        on!(tx, c => sqlx::query(REMEMBER_DELETED).bind(id).bind(now).execute(c).await?.rows_affected()),
    )
}

/// The users with a proven address after an id (as text; empty for the first), with their names, in the order of ids.
pub async fn named_after(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<(UserId, String)>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(NAMED_AFTER).bind(after).bind(limit).fetch_all(c).await?))
}

/// Those who deleted the account, after an id (as text; empty for the first), in the order of ids.
pub async fn deleted_after(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<UserId>, DbError> {
    let rows: Vec<(UserId,)> = on!(tx, c => sqlx::query_as(DELETED_AFTER).bind(after).bind(limit).fetch_all(c).await?);
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

#[cfg(test)]
mod tests;
