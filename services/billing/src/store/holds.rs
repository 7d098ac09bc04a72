//! Holds: credits reserved for work in progress.

use std::collections::HashMap;
use std::sync::Arc;

use bursar_db::{DbError, Tx, on};
use bursar_id::{ChargeId, HoldId, LotId, OwnerId, UserId};
use bursar_money::{Credits, Quantity};
use bursar_time::Timestamp;
use sqlx::AssertSqlSafe;

use super::accounts::owner_list;
use super::{bulk, pairs, sql, unreadable};
use crate::domain::{Allocation, Attribution, Hold, Labels, ModelName, ProjectName};

#[derive(sqlx::FromRow)]
struct HoldRow {
    owner: OwnerId,
    id: HoldId,
    state: String,
    amount: Credits,
    captured: Credits,
    earmarks: String,
    deadline: Timestamp,
    member: UserId,
    project: Option<String>,
    model: Option<String>,
    quantity: Option<Quantity>,
    labels: Option<String>,
    charge: Option<ChargeId>,
    created_at: Timestamp,
    settled_at: Option<Timestamp>,
}

impl HoldRow {
    fn read(self) -> Result<(OwnerId, Hold), DbError> {
        let earmarks: Vec<(LotId, i64)> = serde_json::from_str(&self.earmarks).map_err(unreadable)?;
        let labels = match &self.labels {
            Some(text) => Labels::parse(serde_json::from_str(text).map_err(unreadable)?).map_err(unreadable)?,
            None => Labels::default(),
        };
        let hold = Hold {
            id: self.id,
            amount: self.amount,
            state: self.state.parse().map_err(unreadable)?,
            deadline: self.deadline,
            earmarks: earmarks
                .into_iter()
                .map(|(lot, micro)| Ok(Allocation { lot, amount: Credits::from_micro(micro).map_err(unreadable)? }))
                .collect::<Result<_, DbError>>()?,
            attribution: Arc::new(Attribution {
                member: self.member,
                project: self.project.as_deref().map(ProjectName::parse).transpose().map_err(unreadable)?,
                model: self.model.as_deref().map(ModelName::parse).transpose().map_err(unreadable)?,
                quantity: self.quantity,
                labels,
            }),
            created_at: self.created_at,
            settled_at: self.settled_at,
            captured: self.captured,
            charge: self.charge,
        };
        Ok((self.owner, hold))
    }
}

fn read(rows: Vec<HoldRow>) -> Result<Vec<(OwnerId, Hold)>, DbError> {
    rows.into_iter().map(HoldRow::read).collect()
}

/// Open holds of these owners whose deadline is `now` or before.
pub(crate) async fn overdue(tx: &mut Tx, owners: &[OwnerId], now: Timestamp) -> Result<Vec<(OwnerId, Hold)>, DbError> {
    read(match tx {
        Tx::Sqlite(t) => {
            let overdue = sqlx::query_as(sql::OVERDUE_HOLDS.sqlite).bind(owner_list(owners)).bind(now);
            overdue.fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) => {
            let overdue = sqlx::query_as(sql::OVERDUE_HOLDS.postgres).bind(owners.to_vec()).bind(now);
            overdue.fetch_all(&mut **t).await?
        }
    })
}

/// Holds named one by one, in whatever state.
pub(crate) async fn named(tx: &mut Tx, holds: &[(OwnerId, HoldId)]) -> Result<Vec<(OwnerId, Hold)>, DbError> {
    read(match tx {
        Tx::Sqlite(t) => sqlx::query_as(sql::HOLDS_NAMED.sqlite).bind(pairs::json(holds)).fetch_all(&mut **t).await?,
        Tx::Postgres(t) => {
            let (owners, ids) = pairs::columns(holds);
            sqlx::query_as(sql::HOLDS_NAMED.postgres).bind(owners).bind(ids).fetch_all(&mut **t).await?
        }
    })
}

/// All open holds of one owner.
pub(crate) async fn open(tx: &mut Tx, owner: OwnerId) -> Result<Vec<Hold>, DbError> {
    let rows: Vec<HoldRow> = on!(tx, c => sqlx::query_as(sql::OPEN_HOLDS).bind(owner).fetch_all(c).await?);
    Ok(read(rows)?.into_iter().map(|(_, hold)| hold).collect())
}

/// Whose hold this is.
pub(crate) async fn owner_of(tx: &mut Tx, hold: HoldId) -> Result<Option<OwnerId>, DbError> {
    let row: Option<(OwnerId,)> = on!(tx, c => sqlx::query_as(sql::OWNER_OF_HOLD).bind(hold).fetch_optional(c).await?);
    Ok(row.map(|(owner,)| owner))
}

/// The next deadline of each of these owners that has an open hold.
pub(crate) async fn next_deadlines(tx: &mut Tx, owners: &[OwnerId]) -> Result<HashMap<OwnerId, Timestamp>, DbError> {
    let rows: Vec<(OwnerId, Timestamp)> = match tx {
        Tx::Sqlite(t) => {
            sqlx::query_as(sql::NEXT_DEADLINES.sqlite).bind(owner_list(owners)).fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) => {
            sqlx::query_as(sql::NEXT_DEADLINES.postgres).bind(owners.to_vec()).fetch_all(&mut **t).await?
        }
    };
    Ok(rows.into_iter().collect())
}

/// Writes holds that were placed or settled.
pub(crate) async fn save(tx: &mut Tx, holds: &[(OwnerId, &Hold)]) -> Result<(), DbError> {
    if holds.is_empty() {
        return Ok(());
    }
    let texts: Vec<_> = holds.iter().map(|(_, hold)| texts(hold)).collect::<Result<_, _>>()?;
    match tx {
        Tx::Sqlite(t) => {
            let mut texts = texts.into_iter();
            for part in bulk::parts(holds) {
                let mut query = sqlx::query(AssertSqlSafe(bulk::for_rows(sql::SAVE_HOLDS.sqlite, part.len())));
                for ((owner, hold), (earmarks, labels)) in part.iter().zip(texts.by_ref()) {
                    let by = &hold.attribution;
                    query = query.bind(*owner).bind(hold.id).bind(hold.state.as_str());
                    query = query.bind(hold.amount).bind(hold.captured).bind(earmarks).bind(hold.deadline);
                    query = query.bind(by.member).bind(by.project.as_ref().map(ToString::to_string));
                    query = query.bind(by.model.as_ref().map(ToString::to_string)).bind(by.quantity).bind(labels);
                    query = query.bind(hold.charge).bind(hold.created_at).bind(hold.settled_at);
                }
                query.execute(&mut **t).await?;
            }
        }
        Tx::Postgres(t) => {
            let (earmarks, labels): (Vec<_>, Vec<_>) = texts.into_iter().unzip();
            let by = |hold: &Hold| Arc::clone(&hold.attribution);
            sqlx::query(sql::SAVE_HOLDS.postgres)
                .bind(holds.iter().map(|(owner, _)| *owner).collect::<Vec<_>>())
                .bind(holds.iter().map(|(_, hold)| hold.id).collect::<Vec<_>>())
                .bind(holds.iter().map(|(_, hold)| hold.state.as_str()).collect::<Vec<_>>())
                .bind(holds.iter().map(|(_, hold)| hold.amount).collect::<Vec<_>>())
                .bind(holds.iter().map(|(_, hold)| hold.captured).collect::<Vec<_>>())
                .bind(earmarks)
                .bind(holds.iter().map(|(_, hold)| hold.deadline).collect::<Vec<_>>())
                .bind(holds.iter().map(|(_, hold)| by(hold).member).collect::<Vec<_>>())
                .bind(
                    holds
                        .iter()
                        .map(|(_, hold)| by(hold).project.as_ref().map(ToString::to_string))
                        .collect::<Vec<_>>(),
                )
                .bind(
                    holds.iter().map(|(_, hold)| by(hold).model.as_ref().map(ToString::to_string)).collect::<Vec<_>>(),
                )
                .bind(holds.iter().map(|(_, hold)| by(hold).quantity).collect::<Vec<_>>())
                .bind(labels)
                .bind(holds.iter().map(|(_, hold)| hold.charge).collect::<Vec<_>>())
                .bind(holds.iter().map(|(_, hold)| hold.created_at).collect::<Vec<_>>())
                .bind(holds.iter().map(|(_, hold)| hold.settled_at).collect::<Vec<_>>())
                .execute(&mut **t)
                .await?;
        }
    }
    Ok(())
}

/// Earmarks and labels in their stored form.
fn texts(hold: &Hold) -> Result<(String, Option<String>), DbError> {
    let earmarks: Vec<_> = hold.earmarks.iter().map(|it| (it.lot, it.amount.micro())).collect();
    let labels = &hold.attribution.labels;
    let labels =
        (!labels.is_empty()).then(|| serde_json::to_string(labels.as_map())).transpose().map_err(unreadable)?;
    Ok((serde_json::to_string(&earmarks).map_err(unreadable)?, labels))
}
