//! Rows of `users`: what identity told of people.

use bursar_db::{DbError, Tx, on};
use bursar_id::UserId;
use bursar_time::Timestamp;

use super::unreadable;
use crate::domain::departure::{Departure, Standing};

/// Whether somebody is here to stay, as stored. Nobody has told anything of somebody without a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct PersonRow {
    /// When it became known that the account was deleted.
    pub deleted_at: Option<Timestamp>,
    /// Since when the account is about to be deleted.
    pub departing_since: Option<Timestamp>,
    /// The incarnation of the last departure that is known.
    pub departure_incarnation: i64,
    /// Its number.
    pub departure: i64,
}

impl PersonRow {
    /// Whether the person is here to stay.
    pub fn standing(&self) -> Standing {
        match (self.deleted_at, self.departing_since) {
            (Some(_), _) => Standing::Gone,
            (None, Some(_)) => Standing::Leaving,
            (None, None) => Standing::Staying,
        }
    }

    /// The last departure that is known.
    pub fn last_departure(&self) -> Result<Departure, DbError> {
        let incarnation = u64::try_from(self.departure_incarnation).map_err(unreadable)?;
        Ok(Departure { incarnation, number: u64::try_from(self.departure).map_err(unreadable)? })
    }
}

pub(super) const ENSURE: &str = "INSERT INTO users (id, display_name) VALUES ($1, '') ON CONFLICT (id) DO NOTHING";
pub(super) const PERSON: &str =
    "SELECT deleted_at, departing_since, departure_incarnation, departure FROM users WHERE id = $1";
/// Not FOR UPDATE: rows that refer to this one may be written meanwhile.
pub(super) const PERSON_LOCKED: &str = "SELECT deleted_at, departing_since, departure_incarnation, departure \
    FROM users WHERE id = $1 FOR NO KEY UPDATE";
pub(super) const RENAME: &str = "INSERT INTO users (id, display_name) VALUES ($1, $2) ON CONFLICT (id) \
    DO UPDATE SET display_name = excluded.display_name WHERE users.deleted_at IS NULL";
pub(super) const DELETE: &str = "INSERT INTO users (id, display_name, deleted_at) VALUES ($1, '', $2) \
    ON CONFLICT (id) DO UPDATE SET display_name = '', deleted_at = excluded.deleted_at, departing_since = NULL \
    WHERE users.deleted_at IS NULL";
pub(super) const SET_DEPARTURE: &str = "UPDATE users SET departure_incarnation = $2, departure = $3, \
    departing_since = $4 WHERE id = $1 AND deleted_at IS NULL";
pub(super) const STAY_BEFORE: &str = "UPDATE users SET departing_since = NULL \
    WHERE departing_since IS NOT NULL AND departure_incarnation < $1";

pub(super) const GONE_AFTER: &str =
    "SELECT id FROM users WHERE id > $1 AND deleted_at IS NOT NULL ORDER BY id LIMIT $2";

/// Locks a person until the transaction ends, known or not: whoever makes somebody an owner, a member or responsible for
/// something does so first, before any organization is locked. What is told of the person later finds what was made.
pub async fn lock(tx: &mut Tx, user: UserId) -> Result<PersonRow, DbError> {
    on!(&mut *tx, c => sqlx::query(ENSURE).bind(user).execute(c).await?.rows_affected());
    Ok(lock_known(tx, user).await?.unwrap_or_default())
}

/// Like [`lock`]; `None` for somebody of whom nothing is known, who therefore is a member nowhere.
pub async fn lock_known(tx: &mut Tx, user: UserId) -> Result<Option<PersonRow>, DbError> {
    Ok(match tx {
        Tx::Sqlite(t) => sqlx::query_as(PERSON).bind(user).fetch_optional(&mut **t).await?,
        Tx::Postgres(t) => sqlx::query_as(PERSON_LOCKED).bind(user).fetch_optional(&mut **t).await?,
    })
}

/// What is known of a person now.
pub async fn person(tx: &mut Tx, user: UserId) -> Result<PersonRow, DbError> {
    let row: Option<PersonRow> = on!(tx, c => sqlx::query_as(PERSON).bind(user).fetch_optional(c).await?);
    Ok(row.unwrap_or_default())
}

/// Remembers what a person is called.
pub async fn rename(tx: &mut Tx, user: UserId, display_name: &str) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(RENAME).bind(user).bind(display_name).execute(c).await?.rows_affected());
    Ok(())
}

/// Remembers that a person is gone; `false` when that was known.
pub async fn delete(tx: &mut Tx, user: UserId, now: Timestamp) -> Result<bool, DbError> {
    Ok(on!(tx, c => sqlx::query(DELETE).bind(user).bind(now).execute(c).await?.rows_affected()) == 1)
}

/// Writes the last departure of a person that is known, and since when it is under way; `None`: it is over. Nothing
/// changes for somebody who is gone. Needs the lock.
pub async fn set_departure(
    tx: &mut Tx,
    user: UserId,
    departure: Departure,
    since: Option<Timestamp>,
) -> Result<(), DbError> {
    let incarnation = i64::try_from(departure.incarnation).map_err(unreadable)?;
    let number = i64::try_from(departure.number).map_err(unreadable)?;
    on!(tx, c => sqlx::query(SET_DEPARTURE)
        .bind(user)
        .bind(incarnation)
        .bind(number)
        .bind(since)
        .execute(c)
        .await?
        .rows_affected());
    Ok(())
}

/// Takes back every departure of an earlier incarnation that is under way: a restored identity begins it anew, or knows
/// nothing of it.
pub async fn stay_before(tx: &mut Tx, incarnation: u64) -> Result<(), DbError> {
    let incarnation = i64::try_from(incarnation).map_err(unreadable)?;
    on!(tx, c => sqlx::query(STAY_BEFORE).bind(incarnation).execute(c).await?.rows_affected());
    Ok(())
}

/// Those who are gone, after an id (as text; empty for the first), in the order of ids.
pub async fn gone_after(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<UserId>, DbError> {
    let rows: Vec<(UserId,)> = on!(tx, c => sqlx::query_as(GONE_AFTER).bind(after).bind(limit).fetch_all(c).await?);
    Ok(rows.into_iter().map(|(id,)| id).collect())
}
