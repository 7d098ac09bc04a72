//! Usage totals: what was spent, by hour and by day; and what meters counted.

use bursar_db::{DbError, Tx, on};
use bursar_id::{Id, OwnerId, Uuid};
use bursar_time::Timestamp;
use futures::TryStreamExt as _;

use super::{keys, sql, unreadable};
use crate::domain::{MeterKey, MeterName, MeterTotals, ModelName, ProjectName, UsageKey, UsageTotals};

/// How long a stored total counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Grain {
    /// One UTC hour: written with each charge.
    Hour,
    /// One UTC day: rolled up from its hours, so that a year is 365 rows and not 8,760.
    Day,
}

impl Grain {
    /// The totals that start in a span.
    fn between(self) -> &'static str {
        match self {
            Self::Hour => sql::HOURS_BETWEEN,
            Self::Day => sql::DAYS_BETWEEN,
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
    member: Uuid,
    project: String,
    model: String,
    charged: i64,
    refunded: i64,
    charges: i64,
}

impl TotalsRow {
    fn read(self) -> Result<UsageRow, DbError> {
        let named = |text: String| (!text.is_empty()).then_some(text);
        let key = UsageKey {
            hour: self.starts_at,
            member: Id::from_uuid(self.member),
            project: named(self.project).map(|it| ProjectName::parse(&it)).transpose().map_err(unreadable)?,
            model: named(self.model).map(|it| ModelName::parse(&it)).transpose().map_err(unreadable)?,
        };
        let Self { charged, refunded, charges, .. } = self;
        Ok(UsageRow { key, totals: UsageTotals { charged, refunded, charges } })
    }
}

/// An hour, a model, a meter, its quantity and what it cost.
type MeterRow = (Timestamp, String, String, i64, i64);

fn read_meter((hour, model, meter, quantity, charged): MeterRow) -> Result<(MeterKey, MeterTotals), DbError> {
    let model = ModelName::parse(&model).map_err(unreadable)?;
    let meter = MeterName::parse(&meter).map_err(unreadable)?;
    Ok((MeterKey { hour, model, meter }, MeterTotals { quantity, charged }))
}

/// The totals of one grain that start in `[from, to)`, in the order of their keys.
pub(crate) async fn between(
    tx: &mut Tx,
    owner: OwnerId,
    grain: Grain,
    (from, to): (Timestamp, Timestamp),
) -> Result<Vec<UsageRow>, DbError> {
    let rows: Vec<TotalsRow> =
        on!(tx, c => sqlx::query_as(grain.between()).bind(keys::owner(owner)).bind(from).bind(to).fetch_all(c).await?);
    rows.into_iter().map(TotalsRow::read).collect()
}

/// What meters counted in the hours that start in `[from, to)`, in the order of their keys.
pub(crate) async fn meters_between(
    tx: &mut Tx,
    owner: OwnerId,
    (from, to): (Timestamp, Timestamp),
) -> Result<Vec<(MeterKey, MeterTotals)>, DbError> {
    let rows: Vec<MeterRow> = on!(tx, c => sqlx::query_as(sql::METERS_BETWEEN)
        .bind(keys::owner(owner)).bind(from).bind(to).fetch_all(c).await?);
    rows.into_iter().map(read_meter).collect()
}

/// Shows every total of one grain that there ever was, one after the other: an audit keeps none of them.
pub(crate) async fn each(
    tx: &mut Tx,
    owner: OwnerId,
    grain: Grain,
    mut see: impl FnMut(&UsageRow),
) -> Result<(), DbError> {
    let (owner, from, to) = (keys::owner(owner), Timestamp::MIN, Timestamp::MAX);
    on!(tx, c => {
        let mut rows = sqlx::query_as::<_, TotalsRow>(grain.between()).bind(owner).bind(from).bind(to).fetch(c);
        while let Some(row) = rows.try_next().await? {
            see(&row.read()?);
        }
    });
    Ok(())
}

/// The same of what meters counted.
pub(crate) async fn each_meter(
    tx: &mut Tx,
    owner: OwnerId,
    mut see: impl FnMut(&MeterKey, &MeterTotals),
) -> Result<(), DbError> {
    let (owner, from, to) = (keys::owner(owner), Timestamp::MIN, Timestamp::MAX);
    on!(tx, c => {
        let mut rows = sqlx::query_as::<_, MeterRow>(sql::METERS_BETWEEN).bind(owner).bind(from).bind(to).fetch(c);
        while let Some(row) = rows.try_next().await? {
            let (key, totals) = read_meter(row)?;
            see(&key, &totals);
        }
    });
    Ok(())
}

/// Up to where an owner's days are rolled up: the hours before that are read as days.
pub(crate) async fn rolled_up(tx: &mut Tx, owner: OwnerId) -> Result<Option<Timestamp>, DbError> {
    let row: Option<(Timestamp,)> =
        on!(tx, c => sqlx::query_as(sql::ROLLED_UP).bind(keys::owner(owner)).fetch_optional(c).await?);
    Ok(row.map(|(through,)| through))
}

/// An owner's first hour with usage from `from` on.
pub(crate) async fn first_hour(tx: &mut Tx, owner: OwnerId, from: Timestamp) -> Result<Option<Timestamp>, DbError> {
    let row: Option<(Timestamp,)> =
        on!(tx, c => sqlx::query_as(sql::FIRST_HOUR).bind(keys::owner(owner)).bind(from).fetch_optional(c).await?);
    Ok(row.map(|(hour,)| hour))
}

/// Makes the day's rows of an owner of the hours from `begin` until `end`, however often.
pub(crate) async fn roll_up_day(
    tx: &mut Tx,
    owner: OwnerId,
    (begin, end): (Timestamp, Timestamp),
) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(sql::ROLL_UP_DAY)
        .bind(keys::owner(owner)).bind(begin).bind(end).execute(c).await?.rows_affected());
    Ok(())
}

/// Notes up to where an owner's days are rolled up.
pub(crate) async fn note_roll_up(tx: &mut Tx, owner: OwnerId, through: Timestamp) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(sql::NOTE_ROLL_UP)
        .bind(keys::owner(owner)).bind(through).execute(c).await?.rows_affected());
    Ok(())
}
