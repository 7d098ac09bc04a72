//! Saved payment methods. Of one that was removed nothing is kept but its id in what it has paid; earlier programs have kept
//! the row, with `removed_at`.

use bursar_db::{DbError, Tx, on};
use bursar_id::{OwnerId, PaymentMethodId, UserId};
use bursar_time::Timestamp;

use super::unreadable;
use crate::domain::{Card, SavedMethod};

macro_rules! columns {
    () => {
        "owner, id, token, brand, last4, exp_month, exp_year, is_default, added_by, created_at, serves_until"
    };
}

const INSERT: &str =
    concat!("INSERT INTO payment_methods (", columns!(), ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)");
const FIND: &str =
    concat!("SELECT ", columns!(), " FROM payment_methods WHERE owner = $1 AND id = $2 AND removed_at IS NULL");
const DEFAULT: &str =
    concat!("SELECT ", columns!(), " FROM payment_methods WHERE owner = $1 AND is_default = 1 AND removed_at IS NULL");
const OF_OWNERS_POSTGRES: &str =
    concat!("SELECT ", columns!(), " FROM payment_methods WHERE owner = ANY ($1::text[]) AND removed_at IS NULL");
const PAGE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM payment_methods WHERE owner = $1 AND id < $2 AND removed_at IS NULL ORDER BY id DESC LIMIT $3"
);
const COUNT: &str = "SELECT count(*) FROM payment_methods WHERE owner = $1 AND removed_at IS NULL";
const NO_DEFAULT: &str =
    "UPDATE payment_methods SET is_default = 0 WHERE owner = $1 AND is_default = 1 AND removed_at IS NULL";
const MAKE_DEFAULT: &str =
    "UPDATE payment_methods SET is_default = 1 WHERE owner = $1 AND id = $2 AND removed_at IS NULL";
const SHOW: &str = "UPDATE payment_methods SET brand = $2, last4 = $3, exp_month = $4, exp_year = $5 WHERE token = $1 \
     AND removed_at IS NULL";
const IS_SAVED: &str = "SELECT count(*) FROM payment_methods WHERE token = $1 AND removed_at IS NULL";
/// What was added after that is added anew, and serves.
const SERVE_UNTIL: &str = "UPDATE payment_methods SET serves_until = $4 WHERE owner = $1 AND added_by = $2 \
     AND created_at <= $3 AND serves_until IS NULL AND removed_at IS NULL";
const SERVE_ON: &str = "UPDATE payment_methods SET serves_until = NULL WHERE owner = $1 AND added_by = $2 \
     AND serves_until IS NOT NULL AND removed_at IS NULL";
const REMOVE: &str = "DELETE FROM payment_methods WHERE owner = $1 AND id = $2 AND removed_at IS NULL RETURNING token";
const FORGET: &str = "DELETE FROM payment_methods WHERE owner = $1 RETURNING token";

/// Every statement here, by its name; what is named for an engine is for that one alone.
#[cfg(test)]
pub(super) const STATEMENTS: [(&str, &str); 14] = [
    ("INSERT", INSERT),
    ("FIND", FIND),
    ("DEFAULT", DEFAULT),
    ("OF_OWNERS_POSTGRES", OF_OWNERS_POSTGRES),
    ("PAGE", PAGE),
    ("COUNT", COUNT),
    ("NO_DEFAULT", NO_DEFAULT),
    ("MAKE_DEFAULT", MAKE_DEFAULT),
    ("SHOW", SHOW),
    ("IS_SAVED", IS_SAVED),
    ("SERVE_UNTIL", SERVE_UNTIL),
    ("SERVE_ON", SERVE_ON),
    ("REMOVE", REMOVE),
    ("FORGET", FORGET),
];

/// Comes after every id.
const AFTER_ALL: &str = "~";

#[derive(sqlx::FromRow)]
struct Row {
    owner: OwnerId,
    id: PaymentMethodId,
    token: String,
    brand: String,
    last4: String,
    exp_month: i64,
    exp_year: i64,
    is_default: i64,
    added_by: String,
    created_at: Timestamp,
    serves_until: Option<Timestamp>,
}

impl Row {
    fn read(self) -> Result<SavedMethod, DbError> {
        let number = |value: i64| u32::try_from(value).map_err(unreadable);
        Ok(SavedMethod {
            id: self.id,
            owner: self.owner,
            token: self.token,
            card: Card {
                brand: self.brand,
                last4: self.last4,
                exp_month: number(self.exp_month)?,
                exp_year: number(self.exp_year)?,
            },
            is_default: self.is_default != 0,
            added_by: self.added_by,
            created_at: self.created_at,
            serves_until: self.serves_until,
        })
    }
}

/// Writes a new payment method. As the default it takes the place of whichever was.
pub(crate) async fn insert(tx: &mut Tx, new: &SavedMethod) -> Result<(), DbError> {
    if new.is_default {
        on!(tx, c => sqlx::query(NO_DEFAULT).bind(new.owner).execute(c).await?.rows_affected());
    }
    on!(tx, c => sqlx::query(INSERT)
        .bind(new.owner).bind(new.id).bind(&new.token).bind(&new.card.brand).bind(&new.card.last4)
        .bind(i64::from(new.card.exp_month)).bind(i64::from(new.card.exp_year)).bind(i64::from(new.is_default))
        .bind(&new.added_by).bind(new.created_at).bind(new.serves_until)
        .execute(c).await?.rows_affected());
    Ok(())
}

/// One of the owner's payment methods.
pub(crate) async fn find(tx: &mut Tx, owner: OwnerId, id: PaymentMethodId) -> Result<Option<SavedMethod>, DbError> {
    let row: Option<Row> = on!(tx, c => sqlx::query_as(FIND).bind(owner).bind(id).fetch_optional(c).await?);
    row.map(Row::read).transpose()
}

/// The owner's payment method that pays where none is named, if it serves at `at`.
pub(crate) async fn default(tx: &mut Tx, owner: OwnerId, at: Timestamp) -> Result<Option<SavedMethod>, DbError> {
    let row: Option<Row> = on!(tx, c => sqlx::query_as(DEFAULT).bind(owner).fetch_optional(c).await?);
    let default = row.map(Row::read).transpose()?;
    Ok(default.filter(|it| it.serves_at(at)))
}

/// All payment methods of these owners.
pub(crate) async fn of_owners(tx: &mut Tx, owners: &[OwnerId]) -> Result<Vec<SavedMethod>, DbError> {
    let rows: Vec<Row> = match tx {
        Tx::Postgres(t) => {
            let owners: Vec<String> = owners.iter().map(ToString::to_string).collect();
            sqlx::query_as(OF_OWNERS_POSTGRES).bind(owners).fetch_all(&mut **t).await?
        }
        Tx::Sqlite(t) => {
            let mut rows = Vec::new();
            for owner in owners {
                let page = sqlx::query_as(PAGE).bind(*owner).bind(AFTER_ALL).bind(i64::MAX);
                rows.extend(page.fetch_all(&mut **t).await?);
            }
            rows
        }
    };
    rows.into_iter().map(Row::read).collect()
}

/// How many the owner has.
pub(crate) async fn count(tx: &mut Tx, owner: OwnerId) -> Result<i64, DbError> {
    let (count,): (i64,) = on!(tx, c => sqlx::query_as(COUNT).bind(owner).fetch_one(c).await?);
    Ok(count)
}

/// Up to `limit` of the owner's payment methods, the latest first, older than `before`. Ids begin with their time.
pub(crate) async fn page(
    tx: &mut Tx,
    owner: OwnerId,
    before: Option<PaymentMethodId>,
    limit: i64,
) -> Result<Vec<SavedMethod>, DbError> {
    let before = before.map_or_else(|| AFTER_ALL.to_owned(), |id| id.to_string());
    let rows: Vec<Row> = on!(tx, c => sqlx::query_as(PAGE).bind(owner).bind(before).bind(limit).fetch_all(c).await?);
    rows.into_iter().map(Row::read).collect()
}

/// Makes one of the owner's payment methods the one that pays where none is named. `false`: there is none such.
pub(crate) async fn make_default(tx: &mut Tx, owner: OwnerId, id: PaymentMethodId) -> Result<bool, DbError> {
    on!(tx, c => sqlx::query(NO_DEFAULT).bind(owner).execute(c).await?.rows_affected());
    let rows = on!(tx, c => sqlx::query(MAKE_DEFAULT).bind(owner).bind(id).execute(c).await?.rows_affected());
    Ok(rows == 1)
}

/// Has people shown this of the payment method that the provider calls so. `false`: there is none such.
pub(crate) async fn show(tx: &mut Tx, token: &str, card: &Card) -> Result<bool, DbError> {
    let rows = on!(tx, c => sqlx::query(SHOW)
        .bind(token).bind(&card.brand).bind(&card.last4).bind(i64::from(card.exp_month)).bind(i64::from(card.exp_year))
        .execute(c).await?.rows_affected());
    Ok(rows > 0)
}

/// Whether anybody has saved what the provider calls so.
pub(crate) async fn is_saved(tx: &mut Tx, token: &str) -> Result<bool, DbError> {
    let (count,): (i64,) = on!(tx, c => sqlx::query_as(IS_SAVED).bind(token).fetch_one(c).await?);
    Ok(count > 0)
}

/// Has what somebody had added for the owner by `since` serve no longer than `until`. Doing it again changes nothing.
pub(crate) async fn serve_until(
    tx: &mut Tx,
    (owner, adder): (OwnerId, UserId),
    since: Timestamp,
    until: Timestamp,
) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(SERVE_UNTIL)
        .bind(owner).bind(adder.to_string()).bind(since).bind(until)
        .execute(c).await?.rows_affected());
    Ok(())
}

/// Has what somebody has added for the owner serve again.
pub(crate) async fn serve_on(tx: &mut Tx, (owner, adder): (OwnerId, UserId)) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(SERVE_ON).bind(owner).bind(adder.to_string()).execute(c).await?.rows_affected());
    Ok(())
}

/// Removes one of the owner's payment methods, and gives the provider's name for it. `None`: there is none such.
pub(crate) async fn remove(tx: &mut Tx, owner: OwnerId, id: PaymentMethodId) -> Result<Option<String>, DbError> {
    let row: Option<(String,)> = on!(tx, c => sqlx::query_as(REMOVE).bind(owner).bind(id).fetch_optional(c).await?);
    Ok(row.map(|(token,)| token))
}

/// Removes all of them, also what earlier programs have kept of those that were removed, and gives the provider's names for
/// them.
pub(crate) async fn forget(tx: &mut Tx, owner: OwnerId) -> Result<Vec<String>, DbError> {
    let rows: Vec<(String,)> = on!(tx, c => sqlx::query_as(FORGET).bind(owner).fetch_all(c).await?);
    Ok(rows.into_iter().map(|(token,)| token).collect())
}
