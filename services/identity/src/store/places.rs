//! Rows of `sign_in_places`: from where an account was signed in to.

use bursar_db::{DbError, Tx, exactly_one, on};
use bursar_id::UserId;
use bursar_time::{Timestamp, latest_beginning};

/// Places that are remembered of one account; the latest ones.
const MOST: i64 = 32;

pub(super) const IS_KNOWN: &str = "SELECT p.last_at FROM sign_in_places p JOIN users u ON u.id = p.user_id \
    WHERE u.email_key = $1 AND p.place = $2 AND p.last_at > $3 AND p.last_at <= $4";
pub(super) const NOTE: &str = "INSERT INTO sign_in_places (user_id, place, last_at) VALUES ($1, $2, $3) \
    ON CONFLICT (user_id, place) DO UPDATE SET last_at = excluded.last_at";
/// What a clock noted that was far ahead goes first: it would be the latest for as long.
pub(super) const TRIM: &str = "DELETE FROM sign_in_places WHERE user_id = $1 AND place NOT IN \
    (SELECT place FROM sign_in_places WHERE user_id = $1 AND last_at <= $3 ORDER BY last_at DESC, place LIMIT $2)";
pub(super) const FORGET: &str = "DELETE FROM sign_in_places WHERE user_id = $1";

/// Whether the account with this case-folded address, if there is one, was signed in to from a place after the first of these,
/// and no later than the second.
pub async fn is_known(
    tx: &mut Tx,
    email_key: &str,
    place: &[u8],
    (since, until): (Timestamp, Timestamp),
) -> Result<bool, DbError> {
    let found: Option<(Timestamp,)> = on!(tx, c => sqlx::query_as(IS_KNOWN)
        .bind(email_key)
        .bind(place)
        .bind(since)
        .bind(until)
        .fetch_optional(c)
        .await?);
    Ok(found.is_some())
}

/// Remembers that a user signed in from a place, and forgets the place that is longest ago when there are too many.
pub async fn note(tx: &mut Tx, user: UserId, place: &[u8], now: Timestamp) -> Result<(), DbError> {
    exactly_one(
        on!(&mut *tx, c => sqlx::query(NOTE).bind(user).bind(place).bind(now).execute(c).await?.rows_affected()),
    )?;
    let latest = latest_beginning(now);
    on!(tx, c => sqlx::query(TRIM).bind(user).bind(MOST).bind(latest).execute(c).await?.rows_affected());
    Ok(())
}

/// Forgets every place of a user, whose password is another one from now on.
pub async fn forget(tx: &mut Tx, user: UserId) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(FORGET).bind(user).execute(c).await?.rows_affected());
    Ok(())
}
