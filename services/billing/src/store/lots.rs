//! Lots: credits granted at one time from one source with one expiry.

use std::sync::Arc;

use bursar_db::{DbError, Tx, on};
use bursar_id::{Id, OwnerId, Uuid};
use bursar_money::Credits;
use bursar_time::Timestamp;

use super::{keys, sql, sql_one, unreadable, unreadable_form};
use crate::domain::{Lot, LotTerms, Note};

#[derive(sqlx::FromRow)]
struct LotRow {
    owner: Vec<u8>,
    number: i64,
    id: Uuid,
    terms: Vec<u8>,
    granted: Credits,
    remaining: Credits,
    held: Credits,
    spent: Credits,
    expired: Credits,
    voided: Credits,
    voided_at: Option<Timestamp>,
    note: Option<String>,
}

impl LotRow {
    fn read(self) -> Result<(OwnerId, Lot), DbError> {
        let bad = |why| unreadable_form(why, format_args!("the terms of lot {}: {why}", self.number));
        let lot = Lot {
            id: Id::from_uuid(self.id),
            number: keys::read_number(self.number)?,
            terms: Arc::new(LotTerms::from_bytes(&self.terms).map_err(bad)?),
            voided_at: self.voided_at,
            granted: self.granted,
            remaining: self.remaining,
            held: self.held,
            spent: self.spent,
            expired: self.expired,
            voided: self.voided,
            note: self.note.as_deref().map(Note::parse).transpose().map_err(unreadable)?,
        };
        Ok((keys::read_owner(&self.owner)?, lot))
    }
}

fn read(rows: Vec<LotRow>) -> Result<Vec<(OwnerId, Lot)>, DbError> {
    rows.into_iter().map(LotRow::read).collect()
}

fn of_one(rows: Vec<LotRow>) -> Result<Vec<Lot>, DbError> {
    Ok(read(rows)?.into_iter().map(|(_, lot)| lot).collect())
}

/// The lots of these owners that have something left or held.
pub(crate) async fn live(tx: &mut Tx, owners: &[OwnerId]) -> Result<Vec<(OwnerId, Lot)>, DbError> {
    read(match tx {
        Tx::Sqlite(t) => {
            sqlx::query_as(sql::LIVE_LOTS.sqlite).bind(keys::owner_list(owners)).fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) if let [owner] = owners => {
            sqlx::query_as(sql_one::LIVE_LOTS).bind(keys::owner(*owner)).fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) => {
            sqlx::query_as(sql::LIVE_LOTS.postgres).bind(keys::owners(owners)).fetch_all(&mut **t).await?
        }
    })
}

/// Lots named one by one by the numbers of their grants, live or not.
pub(crate) async fn named(tx: &mut Tx, lots: &[(OwnerId, u64)]) -> Result<Vec<(OwnerId, Lot)>, DbError> {
    read(match tx {
        Tx::Sqlite(t) => {
            sqlx::query_as(sql::LOTS_NAMED.sqlite).bind(keys::number_list(lots)).fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) if let Some(owner) = keys::one_owner(lots) => {
            let named = sqlx::query_as(sql_one::LOTS_NAMED).bind(keys::owner(owner)).bind(keys::numbers(lots));
            named.fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) => {
            let (owners, numbers) = keys::number_columns(lots);
            sqlx::query_as(sql::LOTS_NAMED.postgres).bind(owners).bind(numbers).fetch_all(&mut **t).await?
        }
    })
}

/// A page of an owner's lots with numbers below `before`, newest first.
pub(crate) async fn page(tx: &mut Tx, owner: OwnerId, before: i64, limit: i64) -> Result<Vec<Lot>, DbError> {
    let owner = keys::owner(owner);
    of_one(on!(tx, c => sqlx::query_as(sql::LOTS_PAGE).bind(owner).bind(before).bind(limit).fetch_all(c).await?))
}

/// A page of an owner's lots with numbers above `after`, oldest first.
pub(crate) async fn after(tx: &mut Tx, owner: OwnerId, after: i64, limit: i64) -> Result<Vec<Lot>, DbError> {
    let owner = keys::owner(owner);
    of_one(on!(tx, c => sqlx::query_as(sql::LOTS_AFTER).bind(owner).bind(after).bind(limit).fetch_all(c).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_of_a_later_program_are_newer_and_not_broken() {
        let row = |format: u8| LotRow {
            owner: Vec::new(),
            number: 1,
            id: Uuid::nil(),
            terms: vec![format],
            granted: Credits::ZERO,
            remaining: Credits::ZERO,
            held: Credits::ZERO,
            spent: Credits::ZERO,
            expired: Credits::ZERO,
            voided: Credits::ZERO,
            voided_at: None,
            note: None,
        };
        let corrupt = DbError::corrupt(String::new());
        let same = |a: &DbError, b: &DbError| std::mem::discriminant(a) == std::mem::discriminant(b);
        assert!(matches!(row(2).read(), Err(DbError::NewerFormat { .. })));
        assert!(row(0).read().is_err_and(|error| same(&error, &corrupt)));
        assert!(row(1).read().is_err_and(|error| same(&error, &corrupt)), "cut off");
    }
}
