//! Usage reports, from the totals alone: they cost as much as their rows, however long the ledger.

use std::collections::BTreeMap;

use bursar_db::Db;
use bursar_id::{OwnerId, UserId};
use bursar_rpc::{Page, PageRequest};
use bursar_time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::{MeterKey, MeterTotals, ModelName, ProjectName, UsageKey, UsageTotals};
use crate::error::Error;
use crate::store::usage::{self, Grain};

/// What a report tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    /// Who spent.
    Member,
    /// For which project.
    Project,
    /// With which model.
    Model,
    /// By which of its meters: totals of their own.
    Meter,
}

/// Into which spans a report divides its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interval {
    /// One row for the whole time.
    Whole,
    /// A row for each UTC hour.
    Hour,
    /// A row for each UTC day.
    Day,
    /// A row for each UTC calendar month.
    Month,
}

/// One line of a report: what its groups and its interval are, and what was used.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct ReportKey {
    pub(crate) starts_at: Timestamp,
    pub(crate) member: String,
    pub(crate) project: String,
    pub(crate) model: String,
    pub(crate) meter: String,
}

/// What one line adds up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReportLine {
    /// What was charged and refunded.
    Usage(UsageTotals),
    /// What a meter counted and cost.
    Meter(MeterTotals),
}

/// What a report covers.
#[derive(Debug, Clone)]
pub(crate) struct ReportQuery {
    /// Rounded down to the hour.
    pub(crate) from: Timestamp,
    /// Rounded up to the hour.
    pub(crate) to: Timestamp,
    pub(crate) groups: Vec<Group>,
    pub(crate) interval: Interval,
    pub(crate) filter: ReportFilter,
}

/// What a report leaves out; `None` lets everything through.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReportFilter {
    pub(crate) member: Option<UserId>,
    pub(crate) project: Option<ProjectName>,
    pub(crate) model: Option<ModelName>,
}

impl ReportFilter {
    fn admits(&self, key: &UsageKey) -> bool {
        let Self { member, project, model } = self;
        member.is_none_or(|it| key.member == it)
            && project.as_ref().is_none_or(|it| key.project.as_ref() == Some(it))
            && model.as_ref().is_none_or(|it| key.model.as_ref() == Some(it))
    }
}

impl ReportQuery {
    /// Whether it tells what single members used: more than totals.
    pub(crate) fn names_members(&self) -> bool {
        self.groups.contains(&Group::Member) || self.filter.member.is_some()
    }
}

/// Reads usage.
#[derive(Clone)]
pub(crate) struct ReportUseCases {
    pub(crate) db: Db,
}

impl ReportUseCases {
    /// One page of the report's lines, in the order of their keys.
    pub(crate) async fn page(
        &self,
        owner: OwnerId,
        query: &ReportQuery,
        page: &PageRequest<ReportKey>,
    ) -> Result<Page<(ReportKey, ReportLine)>, Error> {
        let lines = if query.groups.contains(&Group::Meter) {
            self.meters(owner, query).await?.into_iter().map(|(key, it)| (key, ReportLine::Meter(it))).collect()
        } else {
            self.usage(owner, query).await?.into_iter().map(|(key, it)| (key, ReportLine::Usage(it))).collect()
        };
        let lines: Vec<(ReportKey, ReportLine)> = lines;
        let wanted = usize::try_from(page.limit()).unwrap_or(usize::MAX);
        let rest = lines.into_iter().filter(|(key, _)| page.after().is_none_or(|last| key > last));
        Ok(page.page(rest.take(wanted).collect(), |(key, _)| key.clone())?)
    }

    /// All of the report's lines.
    async fn usage(&self, owner: OwnerId, query: &ReportQuery) -> Result<BTreeMap<ReportKey, UsageTotals>, Error> {
        let from = query.from.start_of_hour();
        let to = hour_at_or_after(query.to);
        let mut tx = self.db.read().await?;
        let mut lines: BTreeMap<ReportKey, UsageTotals> = BTreeMap::new();
        let rolled_up = usage::rolled_up(&mut tx, owner).await?.unwrap_or(Timestamp::MIN);
        for (grain, span) in spans(from, to, query.interval, rolled_up) {
            for row in usage::between(&mut tx, owner, grain, span).await? {
                if query.filter.admits(&row.key) {
                    lines.entry(used(query, from, &row.key)).or_default().add(&row.totals);
                }
            }
        }
        Ok(lines)
    }

    /// The same of meters, which are added up by model and time alone.
    async fn meters(&self, owner: OwnerId, query: &ReportQuery) -> Result<BTreeMap<ReportKey, MeterTotals>, Error> {
        let from = query.from.start_of_hour();
        let to = hour_at_or_after(query.to);
        let mut tx = self.db.read().await?;
        let mut lines: BTreeMap<ReportKey, MeterTotals> = BTreeMap::new();
        for (key, totals) in usage::meters_between(&mut tx, owner, (from, to)).await? {
            if query.filter.model.as_ref().is_none_or(|it| key.model == *it) {
                lines.entry(counted(query, from, &key)).or_default().add(&totals);
            }
        }
        Ok(lines)
    }
}

fn hour_at_or_after(time: Timestamp) -> Timestamp {
    let hour = time.start_of_hour();
    if hour == time { time } else { hour.saturating_add(Span::HOUR) }
}

/// Whole days that are rolled up are read as days; only the hours before the first and after the last are read as hours.
fn spans(
    from: Timestamp,
    to: Timestamp,
    interval: Interval,
    rolled_up: Timestamp,
) -> Vec<(Grain, (Timestamp, Timestamp))> {
    let first_day = match from.start_of_day() {
        day if day == from => day,
        day => day.saturating_add(Span::DAY),
    };
    let last_day = to.start_of_day().min(rolled_up);
    if interval == Interval::Hour || first_day >= last_day {
        return vec![(Grain::Hour, (from, to))];
    }
    let spans = [(Grain::Hour, (from, first_day)), (Grain::Day, (first_day, last_day)), (Grain::Hour, (last_day, to))];
    spans.into_iter().filter(|(_, (start, end))| start < end).collect()
}

/// The line that usage with this key belongs to.
fn used(query: &ReportQuery, from: Timestamp, key: &UsageKey) -> ReportKey {
    let UsageKey { hour, member, project, model } = key;
    let when =
        |wanted: Group, text: Option<String>| text.filter(|_| query.groups.contains(&wanted)).unwrap_or_default();
    ReportKey {
        starts_at: starts_at(query.interval, from, *hour),
        member: when(Group::Member, Some(member.to_string())),
        project: when(Group::Project, project.as_ref().map(ToString::to_string)),
        model: when(Group::Model, model.as_ref().map(ToString::to_string)),
        meter: String::new(),
    }
}

/// The line that a meter's count with this key belongs to.
fn counted(query: &ReportQuery, from: Timestamp, key: &MeterKey) -> ReportKey {
    let by_model = query.groups.contains(&Group::Model);
    ReportKey {
        starts_at: starts_at(query.interval, from, key.hour),
        member: String::new(),
        project: String::new(),
        model: if by_model { key.model.to_string() } else { String::new() },
        meter: key.meter.to_string(),
    }
}

fn starts_at(interval: Interval, from: Timestamp, hour: Timestamp) -> Timestamp {
    match interval {
        Interval::Whole => from,
        Interval::Hour => hour,
        Interval::Day => hour.start_of_day(),
        Interval::Month => hour.start_of_month(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_reports_read_days_and_only_their_edges_as_hours() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let hour = |from: &str, to: &str| (Grain::Hour, (at(from), at(to)));
        let day = |from: &str, to: &str| (Grain::Day, (at(from), at(to)));
        let read = |from: &str, to: &str, interval| spans(at(from), at(to), interval, Timestamp::MAX);
        let (a, b) = ("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
        assert_eq!(read(a, b, Interval::Whole), [day(a, b)], "a year is its days");
        let rolled_up = "2026-06-01T00:00:00Z";
        let known = spans(at(a), at(b), Interval::Whole, at(rolled_up));
        assert_eq!(known, [day(a, rolled_up), hour(rolled_up, b)], "as far as they are rolled up");
        assert_eq!(spans(at(a), at(b), Interval::Day, Timestamp::MIN), [hour(a, b)], "none is");
        let (a, b) = ("2026-01-01T05:00:00Z", "2026-01-03T02:00:00Z");
        let (c, d) = ("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z");
        assert_eq!(read(a, b, Interval::Day), [hour(a, c), day(c, d), hour(d, b)], "edges are hours");
        assert_eq!(read(a, b, Interval::Hour), [hour(a, b)], "hours are hours");
        let (a, b) = ("2026-01-01T05:00:00Z", "2026-01-01T07:00:00Z");
        assert_eq!(read(a, b, Interval::Whole), [hour(a, b)], "within a day");
    }
}
