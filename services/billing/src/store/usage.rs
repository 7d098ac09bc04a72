//! Usage totals: what was spent, by hour and by day; and what meters counted. There may be any number of them, so they are
//! read in portions, each by the table's own key.

use bursar_db::{DbError, Tx, on};
use bursar_id::{Id, OwnerId, UserId, Uuid};
use bursar_time::{Span, Timestamp};

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
    /// How long one total counts.
    pub(crate) fn length(self) -> Span {
        match self {
            Self::Hour => Span::HOUR,
            Self::Day => Span::DAY,
        }
    }

    fn totals_from(self) -> &'static str {
        match self {
            Self::Hour => sql::HOURS_FROM,
            Self::Day => sql::DAYS_FROM,
        }
    }

    fn totals_at(self) -> &'static str {
        match self {
            Self::Hour => sql::TOTALS_OF_HOUR,
            Self::Day => sql::TOTALS_OF_DAY,
        }
    }

    fn first_start(self) -> &'static str {
        match self {
            Self::Hour => sql::FIRST_HOUR,
            Self::Day => sql::FIRST_DAY,
        }
    }
}

/// What is greater than every name that a text begins, and smaller than whatever comes after that name: no name has a control
/// character in it, and the database compares bytes.
const NEXT: char = '\u{1}';

/// Where reading begins in the order of the totals' keys: the first key that may be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Begin {
    starts_at: Timestamp,
    member: Uuid,
    project: String,
    model: String,
}

impl Begin {
    /// Everything that starts then or later.
    pub(crate) fn at(starts_at: Timestamp) -> Self {
        Self { starts_at, member: Uuid::nil(), project: String::new(), model: String::new() }
    }

    /// That, and of what starts then the member's and what follows.
    pub(crate) fn at_member(starts_at: Timestamp, member: UserId) -> Self {
        Self { member: keys::uuid(member), ..Self::at(starts_at) }
    }

    /// What follows all of a member's totals.
    pub(crate) fn after_member(starts_at: Timestamp, member: UserId) -> Self {
        let next = keys::uuid(member).as_u128().saturating_add(1);
        Self { member: Uuid::from_u128(next), ..Self::at(starts_at) }
    }

    /// What follows all totals of a member's project; without a name, of what is for none.
    pub(crate) fn after_project(starts_at: Timestamp, member: UserId, project: &str) -> Self {
        Self { project: format!("{project}{NEXT}"), ..Self::at_member(starts_at, member) }
    }

    /// What follows the total with these names; empty for none.
    pub(crate) fn after_names(starts_at: Timestamp, member: UserId, (project, model): (&str, &str)) -> Self {
        let (project, model) = (project.to_owned(), format!("{model}{NEXT}"));
        Self { project, model, ..Self::at_member(starts_at, member) }
    }

    /// What follows a total.
    pub(crate) fn after(key: &UsageKey) -> Self {
        let project = key.project.as_ref().map_or("", ProjectName::as_str);
        let model = key.model.as_ref().map_or("", ModelName::as_str);
        Self::after_names(key.hour, key.member, (project, model))
    }

    /// The same names in what starts at another time.
    pub(crate) fn moved_to(&self, starts_at: Timestamp) -> Self {
        Self { starts_at, ..self.clone() }
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

/// The next totals of one grain that start before `to`, in the order of their keys, at most so many.
pub(crate) async fn portion(
    tx: &mut Tx,
    owner: OwnerId,
    grain: Grain,
    (begin, to): (&Begin, Timestamp),
    limit: usize,
) -> Result<Vec<UsageRow>, DbError> {
    let Begin { starts_at, member, project, model } = begin;
    let rows: Vec<TotalsRow> = on!(tx, c => sqlx::query_as(grain.totals_from())
        .bind(keys::owner(owner)).bind(to).bind(starts_at).bind(member).bind(project).bind(model).bind(many(limit))
        .fetch_all(c).await?);
    rows.into_iter().map(TotalsRow::read).collect()
}

/// The next totals of the one hour or day in which reading begins, in the order of their keys, at most so many; with a
/// member up to that member's.
pub(crate) async fn of_start(
    tx: &mut Tx,
    owner: OwnerId,
    grain: Grain,
    (begin, last): (&Begin, Option<UserId>),
    limit: usize,
) -> Result<Vec<UsageRow>, DbError> {
    let Begin { starts_at, member, project, model } = begin;
    let last = last.map_or(Uuid::max(), keys::uuid);
    let rows: Vec<TotalsRow> = on!(tx, c => sqlx::query_as(grain.totals_at())
        .bind(keys::owner(owner)).bind(starts_at).bind(member).bind(project).bind(model).bind(last).bind(many(limit))
        .fetch_all(c).await?);
    rows.into_iter().map(TotalsRow::read).collect()
}

/// The next of what meters counted in the hours that start in `[from, to)`, in the order of their keys, after the last one
/// that was read, at most so many.
pub(crate) async fn meters(
    tx: &mut Tx,
    owner: OwnerId,
    (from, to): (Timestamp, Timestamp),
    after: Option<&MeterKey>,
    limit: usize,
) -> Result<Vec<(MeterKey, MeterTotals)>, DbError> {
    let (from, model, meter) = match after {
        None => (from, "", String::new()),
        Some(last) => (last.hour, last.model.as_str(), format!("{}{NEXT}", last.meter)),
    };
    let rows: Vec<MeterRow> = on!(tx, c => sqlx::query_as(sql::METERS_FROM)
        .bind(keys::owner(owner)).bind(to).bind(from).bind(model).bind(&meter).bind(many(limit)).fetch_all(c).await?);
    rows.into_iter().map(read_meter).collect()
}

fn many(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

/// Up to where an owner's days are rolled up: the hours before that are read as days.
pub(crate) async fn rolled_up(tx: &mut Tx, owner: OwnerId) -> Result<Option<Timestamp>, DbError> {
    let row: Option<(Timestamp,)> =
        on!(tx, c => sqlx::query_as(sql::ROLLED_UP).bind(keys::owner(owner)).fetch_optional(c).await?);
    Ok(row.map(|(through,)| through))
}

/// When an owner's first total of a grain starts from `from` on.
pub(crate) async fn first(
    tx: &mut Tx,
    owner: OwnerId,
    grain: Grain,
    from: Timestamp,
) -> Result<Option<Timestamp>, DbError> {
    let row: Option<(Timestamp,)> =
        on!(tx, c => sqlx::query_as(grain.first_start()).bind(keys::owner(owner)).bind(from).fetch_optional(c).await?);
    Ok(row.map(|(starts_at,)| starts_at))
}

/// Whether anything was ever charged for a project of an owner's.
pub(crate) async fn names_project(tx: &mut Tx, owner: OwnerId, project: &ProjectName) -> Result<bool, DbError> {
    names(tx, owner, sql::PROJECT_USED, project.as_str()).await
}

/// Whether anything was ever charged with a model for an owner.
pub(crate) async fn names_model(tx: &mut Tx, owner: OwnerId, model: &ModelName) -> Result<bool, DbError> {
    names(tx, owner, sql::MODEL_USED, model.as_str()).await
}

/// Hours are never forgotten, so they say it alone.
async fn names(tx: &mut Tx, owner: OwnerId, statement: &'static str, name: &str) -> Result<bool, DbError> {
    let row: Option<(Timestamp,)> =
        on!(tx, c => sqlx::query_as(statement).bind(keys::owner(owner)).bind(name).fetch_optional(c).await?);
    Ok(row.is_some())
}

/// An owner's first hour with usage from `from` on.
pub(crate) async fn first_hour(tx: &mut Tx, owner: OwnerId, from: Timestamp) -> Result<Option<Timestamp>, DbError> {
    first(tx, owner, Grain::Hour, from).await
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
