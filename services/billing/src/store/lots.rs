//! Lots: credits granted at one time from one source with one expiry.

use bursar_db::{DbError, Tx, on};
use bursar_id::{LotId, OwnerId};
use bursar_money::Credits;
use bursar_time::Timestamp;
use sqlx::AssertSqlSafe;

use super::accounts::{number, owner_list};
use super::{bulk, pairs, sql, unreadable};
use crate::domain::{Lot, Note};

#[derive(sqlx::FromRow)]
struct LotRow {
    owner: OwnerId,
    id: LotId,
    number: i64,
    source: String,
    priority: i32,
    granted: Credits,
    remaining: Credits,
    held: Credits,
    spent: Credits,
    expired: Credits,
    voided: Credits,
    effective_at: Timestamp,
    expires_at: Option<Timestamp>,
    voided_at: Option<Timestamp>,
    note: Option<String>,
}

impl LotRow {
    fn read(self) -> Result<(OwnerId, Lot), DbError> {
        let lot = Lot {
            id: self.id,
            number: u64::try_from(self.number).map_err(unreadable)?,
            source: self.source.parse().map_err(unreadable)?,
            priority: self.priority,
            effective_at: self.effective_at,
            expires_at: self.expires_at,
            voided_at: self.voided_at,
            granted: self.granted,
            remaining: self.remaining,
            held: self.held,
            spent: self.spent,
            expired: self.expired,
            voided: self.voided,
            note: self.note.as_deref().map(Note::parse).transpose().map_err(unreadable)?,
        };
        Ok((self.owner, lot))
    }
}

fn read(rows: Vec<LotRow>) -> Result<Vec<(OwnerId, Lot)>, DbError> {
    rows.into_iter().map(LotRow::read).collect()
}

/// The lots of these owners that have something left or held.
pub(crate) async fn live(tx: &mut Tx, owners: &[OwnerId]) -> Result<Vec<(OwnerId, Lot)>, DbError> {
    read(match tx {
        Tx::Sqlite(t) => sqlx::query_as(sql::LIVE_LOTS.sqlite).bind(owner_list(owners)).fetch_all(&mut **t).await?,
        Tx::Postgres(t) => sqlx::query_as(sql::LIVE_LOTS.postgres).bind(owners.to_vec()).fetch_all(&mut **t).await?,
    })
}

/// Lots named one by one, live or not.
pub(crate) async fn named(tx: &mut Tx, lots: &[(OwnerId, LotId)]) -> Result<Vec<(OwnerId, Lot)>, DbError> {
    read(match tx {
        Tx::Sqlite(t) => sqlx::query_as(sql::LOTS_NAMED.sqlite).bind(pairs::json(lots)).fetch_all(&mut **t).await?,
        Tx::Postgres(t) => {
            let (owners, ids) = pairs::columns(lots);
            sqlx::query_as(sql::LOTS_NAMED.postgres).bind(owners).bind(ids).fetch_all(&mut **t).await?
        }
    })
}

/// A page of an owner's lots with numbers below `before`, newest first.
pub(crate) async fn page(tx: &mut Tx, owner: OwnerId, before: i64, limit: i64) -> Result<Vec<Lot>, DbError> {
    let rows: Vec<LotRow> =
        on!(tx, c => sqlx::query_as(sql::LOTS_PAGE).bind(owner).bind(before).bind(limit).fetch_all(c).await?);
    Ok(read(rows)?.into_iter().map(|(_, lot)| lot).collect())
}

/// A page of an owner's lots with numbers above `after`, oldest first.
pub(crate) async fn after(tx: &mut Tx, owner: OwnerId, after: i64, limit: i64) -> Result<Vec<Lot>, DbError> {
    let rows: Vec<LotRow> =
        on!(tx, c => sqlx::query_as(sql::LOTS_AFTER).bind(owner).bind(after).bind(limit).fetch_all(c).await?);
    Ok(read(rows)?.into_iter().map(|(_, lot)| lot).collect())
}

/// Whose lot this is.
pub(crate) async fn owner_of(tx: &mut Tx, lot: LotId) -> Result<Option<OwnerId>, DbError> {
    let row: Option<(OwnerId,)> = on!(tx, c => sqlx::query_as(sql::OWNER_OF_LOT).bind(lot).fetch_optional(c).await?);
    Ok(row.map(|(owner,)| owner))
}

/// Writes lots that were granted or changed.
pub(crate) async fn save(tx: &mut Tx, lots: &[(OwnerId, &Lot)]) -> Result<(), DbError> {
    if lots.is_empty() {
        return Ok(());
    }
    match tx {
        Tx::Sqlite(t) => {
            for part in bulk::parts(lots) {
                let mut query = sqlx::query(AssertSqlSafe(bulk::for_rows(sql::SAVE_LOTS.sqlite, part.len())));
                for (owner, lot) in part {
                    query = query.bind(*owner).bind(lot.id).bind(number(lot.number)).bind(lot.source.as_str());
                    query = query.bind(lot.priority).bind(lot.granted).bind(lot.remaining).bind(lot.held);
                    query = query.bind(lot.spent).bind(lot.expired).bind(lot.voided);
                    query = query.bind(lot.effective_at).bind(lot.expires_at).bind(lot.voided_at);
                    query = query.bind(lot.note.as_ref().map(|note| note.as_str().to_owned())).bind(lot.is_live());
                }
                query.execute(&mut **t).await?;
            }
        }
        Tx::Postgres(t) => {
            sqlx::query(sql::SAVE_LOTS.postgres)
                .bind(lots.iter().map(|(owner, _)| *owner).collect::<Vec<_>>())
                .bind(lots.iter().map(|(_, lot)| lot.id).collect::<Vec<_>>())
                .bind(lots.iter().map(|(_, lot)| number(lot.number)).collect::<Vec<_>>())
                .bind(lots.iter().map(|(_, lot)| lot.source.as_str()).collect::<Vec<_>>())
                .bind(lots.iter().map(|(_, lot)| lot.priority).collect::<Vec<_>>())
                .bind(credits(lots, |lot| lot.granted))
                .bind(credits(lots, |lot| lot.remaining))
                .bind(credits(lots, |lot| lot.held))
                .bind(credits(lots, |lot| lot.spent))
                .bind(credits(lots, |lot| lot.expired))
                .bind(credits(lots, |lot| lot.voided))
                .bind(times(lots, |lot| Some(lot.effective_at)))
                .bind(times(lots, |lot| lot.expires_at))
                .bind(times(lots, |lot| lot.voided_at))
                .bind(lots.iter().map(|(_, lot)| lot.note.as_ref().map(Note::as_str)).collect::<Vec<_>>())
                .execute(&mut **t)
                .await?;
        }
    }
    Ok(())
}

/// A column of times.
fn times(lots: &[(OwnerId, &Lot)], of: fn(&Lot) -> Option<Timestamp>) -> Vec<Option<i64>> {
    lots.iter().map(|(_, lot)| of(lot).map(Timestamp::as_micros)).collect()
}

/// A column of amounts.
fn credits(lots: &[(OwnerId, &Lot)], of: fn(&Lot) -> Credits) -> Vec<Credits> {
    lots.iter().map(|(_, lot)| of(lot)).collect()
}
