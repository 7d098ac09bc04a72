//! Usage reports, from the totals alone: they cost as much as their rows, however long the ledger.

use std::collections::BTreeMap;

use bursar_db::{Db, Tx};
use bursar_id::{OwnerId, UserId};
use bursar_rpc::{Page, PageRequest};
use bursar_time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use super::costly::Costly;
use crate::domain::{MeterKey, MeterTotals, ModelName, Month, ProjectName, UsageKey, UsageTotals};
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
    /// From when on there is usage of lines after the given one.
    fn begins(&self, after: Option<&ReportKey>) -> Timestamp {
        let from = self.from.start_of_hour();
        match (self.interval, after) {
            (Interval::Hour | Interval::Day, Some(last)) => from.max(last.starts_at),
            _ => from,
        }
    }

    /// The part of its time that is read next, when there is usage from `first` on. It ends where an interval does, so that
    /// no line has usage of two; a page reads no more of them than it has lines for.
    fn part(&self, begin: Timestamp, first: Timestamp) -> (Timestamp, Timestamp) {
        let to = hour_at_or_after(self.to);
        let months = match self.interval {
            // A line may have usage of all of it, or has of so much that there are few.
            Interval::Whole | Interval::Month => return (begin, to),
            Interval::Hour => 1,
            Interval::Day => 12,
        };
        let first = begin.max(first.start_of_day());
        (first, Month::anchored(first.start_of_month(), months).start.min(to))
    }

    /// Whether it tells what single members used: more than totals.
    pub(crate) fn names_members(&self) -> bool {
        self.groups.contains(&Group::Member) || self.filter.member.is_some()
    }
}

/// Reads usage.
#[derive(Clone)]
pub(crate) struct ReportUseCases {
    pub(crate) db: Db,
    pub(crate) costly: Costly,
}

impl ReportUseCases {
    /// One page of the report's lines, in the order of their keys.
    pub(crate) async fn page(
        &self,
        owner: OwnerId,
        query: &ReportQuery,
        page: &PageRequest<ReportKey>,
    ) -> Result<Page<(ReportKey, ReportLine)>, Error> {
        let _place = self.costly.place(owner).await?;
        let mut tx = self.db.read().await?;
        let wanted = usize::try_from(page.limit()).unwrap_or(usize::MAX);
        let mut found: Vec<(ReportKey, ReportLine)> = Vec::new();
        let mut begin = query.begins(page.after());
        // Stretches without usage cost nothing.
        while found.len() < wanted
            && let Some(first) = usage::first_hour(&mut tx, owner, begin).await?.filter(|it| *it < query.to)
        {
            let part = query.part(begin, first);
            begin = part.1;
            let lines: Vec<(ReportKey, ReportLine)> = if query.groups.contains(&Group::Meter) {
                let lines = meters(&mut tx, owner, query, part).await?;
                lines.into_iter().map(|(key, it)| (key, ReportLine::Meter(it))).collect()
            } else {
                let lines = used_in(&mut tx, owner, query, part).await?;
                lines.into_iter().map(|(key, it)| (key, ReportLine::Usage(it))).collect()
            };
            found.extend(lines.into_iter().filter(|(key, _)| page.after().is_none_or(|last| key > last)));
        }
        found.truncate(wanted);
        Ok(page.page(found, |(key, _)| key.clone())?)
    }
}

/// All of the report's lines of one part of its time.
async fn used_in(
    tx: &mut Tx,
    owner: OwnerId,
    query: &ReportQuery,
    (from, to): (Timestamp, Timestamp),
) -> Result<BTreeMap<ReportKey, UsageTotals>, Error> {
    let begins = query.from.start_of_hour();
    let mut lines: BTreeMap<ReportKey, UsageTotals> = BTreeMap::new();
    let rolled_up = usage::rolled_up(tx, owner).await?.unwrap_or(Timestamp::MIN);
    for (grain, span) in spans(from, to, query.interval, rolled_up) {
        for row in usage::between(tx, owner, grain, span).await? {
            if query.filter.admits(&row.key) {
                lines.entry(used(query, begins, &row.key)).or_default().add(&row.totals);
            }
        }
    }
    Ok(lines)
}

/// The same of meters, which are added up by model and time alone.
async fn meters(
    tx: &mut Tx,
    owner: OwnerId,
    query: &ReportQuery,
    part: (Timestamp, Timestamp),
) -> Result<BTreeMap<ReportKey, MeterTotals>, Error> {
    let begins = query.from.start_of_hour();
    let mut lines: BTreeMap<ReportKey, MeterTotals> = BTreeMap::new();
    for (key, totals) in usage::meters_between(tx, owner, part).await? {
        if query.filter.model.as_ref().is_none_or(|it| key.model == *it) {
            lines.entry(counted(query, begins, &key)).or_default().add(&totals);
        }
    }
    Ok(lines)
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

    fn query(from: &str, to: &str, interval: Interval) -> ReportQuery {
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        ReportQuery { from, to, groups: Vec::new(), interval, filter: ReportFilter::default() }
    }

    #[test]
    fn a_page_reads_parts_that_end_where_intervals_do() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let (from, to) = ("2026-01-15T05:30:00Z", "2028-03-02T10:00:00Z");
        let (begin, end, late) = (at("2026-01-15T05:00:00Z"), at(to), at("2027-02-03T12:00:00Z"));
        for interval in [Interval::Whole, Interval::Month] {
            assert_eq!(query(from, to, interval).part(begin, late), (begin, end), "{interval:?}");
        }
        let hours = query(from, to, Interval::Hour);
        assert_eq!(hours.part(begin, begin), (begin, at("2026-02-01T00:00:00Z")));
        assert_eq!(hours.part(begin, late), (at("2027-02-03T00:00:00Z"), at("2027-03-01T00:00:00Z")));
        let days = query(from, to, Interval::Day);
        assert_eq!(days.part(begin, begin), (begin, at("2027-01-01T00:00:00Z")));
        assert_eq!(days.part(begin, late), (at("2027-02-03T00:00:00Z"), at("2028-02-01T00:00:00Z")));
        assert_eq!(days.part(begin, at("2028-03-01T01:00:00Z")).1, end);

        let key = UsageKey { hour: late, member: bursar_testkit::id(1), project: None, model: None };
        assert_eq!(hours.begins(Some(&used(&hours, begin, &key))), late, "the last line may have company");
        assert_eq!(hours.begins(None), begin);
    }

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
