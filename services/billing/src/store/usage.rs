//! Usage totals: what was spent, by hour and by day.

use std::collections::BTreeMap;

use bursar_db::{DbError, Tx, on};
use bursar_id::{OwnerId, UserId};
use bursar_time::Timestamp;
use sqlx::AssertSqlSafe;

use super::{bulk, sql, unreadable};
use crate::domain::{ModelName, ProjectName, UsageDelta, UsageKey, UsageTotals};

/// How long a stored total counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grain {
    /// One UTC hour.
    Hour,
    /// One UTC day: the sum of its hours, kept so that a year is 365 rows and not 8,760.
    Day,
}

impl Grain {
    /// The stored name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "HOUR",
            Self::Day => "DAY",
        }
    }
}

/// One stored total.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct UsageRow {
    /// Whose and when; `key.hour` is the start of the hour or day.
    pub(crate) key: UsageKey,
    /// What it counts.
    pub(crate) totals: UsageTotals,
}

#[derive(sqlx::FromRow)]
struct TotalsRow {
    starts_at: Timestamp,
    member: UserId,
    project: String,
    model: String,
    charged: i64,
    refunded: i64,
    charges: i64,
    quantity: i64,
}

impl TotalsRow {
    fn read(self) -> Result<UsageRow, DbError> {
        let named = |text: String| (!text.is_empty()).then_some(text);
        let key = UsageKey {
            hour: self.starts_at,
            member: self.member,
            project: named(self.project).map(|it| ProjectName::parse(&it)).transpose().map_err(unreadable)?,
            model: named(self.model).map(|it| ModelName::parse(&it)).transpose().map_err(unreadable)?,
        };
        let Self { charged, refunded, charges, quantity, .. } = self;
        Ok(UsageRow { key, totals: UsageTotals { charged, refunded, charges, quantity } })
    }
}

/// The totals of one grain that start in `[from, to)`, after the row `after` in the order of their keys.
pub(crate) async fn between(
    tx: &mut Tx,
    owner: OwnerId,
    grain: Grain,
    (from, to): (Timestamp, Timestamp),
) -> Result<Vec<UsageRow>, DbError> {
    let rows: Vec<TotalsRow> = on!(tx, c => sqlx::query_as(sql::USAGE_BETWEEN)
        .bind(owner).bind(grain.as_str()).bind(from).bind(to).fetch_all(c).await?);
    rows.into_iter().map(TotalsRow::read).collect()
}

/// What was ever charged and refunded, in micro-credits, by the totals. Hours and days must say the
/// same; where they differ, the days' sums are given as none, which no ledger matches.
pub(crate) async fn sums(tx: &mut Tx, owner: OwnerId) -> Result<(i128, i128), DbError> {
    let rows: Vec<(String, i64, i64)> = on!(tx, c => sqlx::query_as(sql::USAGE_SUMS).bind(owner).fetch_all(c).await?);
    let sums: Vec<_> =
        rows.iter().map(|(_, charged, refunded)| (i128::from(*charged), i128::from(*refunded))).collect();
    Ok(match sums.as_slice() {
        [] => (0, 0),
        [days, hours] if days == hours => *days,
        _ => (-1, -1),
    })
}

/// Adds what a batch used to the totals of its hours and days.
pub(crate) async fn add(tx: &mut Tx, deltas: &[(OwnerId, &UsageDelta)]) -> Result<(), DbError> {
    if deltas.is_empty() {
        return Ok(());
    }
    let rows = totals(deltas);
    match tx {
        Tx::Sqlite(t) => {
            for part in bulk::parts(&rows.iter().collect::<Vec<_>>()) {
                let mut query = sqlx::query(AssertSqlSafe(bulk::for_rows(sql::ADD_USAGE.sqlite, part.len())));
                for ((owner, grain, key), add) in part {
                    query = query.bind(*owner).bind(grain.as_str()).bind(key.hour).bind(key.member);
                    query = query.bind(project(key).to_owned()).bind(model(key).to_owned());
                    query = query.bind(add.charged).bind(add.refunded).bind(add.charges).bind(add.quantity);
                }
                query.execute(&mut **t).await?;
            }
        }
        Tx::Postgres(t) => {
            let counts = |of: fn(&UsageTotals) -> i64| -> Vec<i64> { rows.values().map(of).collect() };
            sqlx::query(sql::ADD_USAGE.postgres)
                .bind(rows.keys().map(|(owner, ..)| *owner).collect::<Vec<_>>())
                .bind(rows.keys().map(|(_, grain, _)| grain.as_str()).collect::<Vec<_>>())
                .bind(rows.keys().map(|(.., key)| key.hour).collect::<Vec<_>>())
                .bind(rows.keys().map(|(.., key)| key.member).collect::<Vec<_>>())
                .bind(rows.keys().map(|(.., key)| project(key)).collect::<Vec<_>>())
                .bind(rows.keys().map(|(.., key)| model(key)).collect::<Vec<_>>())
                .bind(counts(|it| it.charged))
                .bind(counts(|it| it.refunded))
                .bind(counts(|it| it.charges))
                .bind(counts(|it| it.quantity))
                .execute(&mut **t)
                .await?;
        }
    }
    Ok(())
}

/// Each delta counts in its hour and in its day; one row may be added to only once in a statement.
fn totals(deltas: &[(OwnerId, &UsageDelta)]) -> BTreeMap<(OwnerId, Grain, UsageKey), UsageTotals> {
    let mut rows: BTreeMap<_, UsageTotals> = BTreeMap::new();
    for (owner, delta) in deltas {
        for (grain, starts_at) in [(Grain::Hour, delta.key.hour), (Grain::Day, delta.key.hour.start_of_day())] {
            let key = UsageKey { hour: starts_at, ..delta.key.clone() };
            let row = rows.entry((*owner, grain, key)).or_default();
            row.charged = row.charged.saturating_add(delta.add.charged);
            row.refunded = row.refunded.saturating_add(delta.add.refunded);
            row.charges = row.charges.saturating_add(delta.add.charges);
            row.quantity = row.quantity.saturating_add(delta.add.quantity);
        }
    }
    rows
}

fn project(key: &UsageKey) -> &str {
    key.project.as_ref().map(ProjectName::as_str).unwrap_or_default()
}

fn model(key: &UsageKey) -> &str {
    key.model.as_ref().map(ModelName::as_str).unwrap_or_default()
}
