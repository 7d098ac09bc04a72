//! Usage reports, from the totals alone: they cost as much as their rows, however long the ledger.

mod export;

use std::collections::BTreeMap;

use bursar_db::{Db, Tx};
use bursar_id::{OwnerId, UserId};
use bursar_rpc::{Caller, Page, PageRequest, Permission};
use bursar_time::{Clock, Span, Timestamp, Zone};
use serde::{Deserialize, Serialize};

use super::access::Access;
use super::costly::Costly;
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
    /// A row for each day of the zone.
    Day,
    /// A row for each calendar month of the zone.
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
    /// Where days and months begin.
    pub(crate) zone: Zone,
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
            (Interval::Hour | Interval::Day | Interval::Month, Some(last)) => from.max(last.starts_at),
            _ => from,
        }
    }

    /// The part of its time that is read next, when there is usage from `first` on. It ends where an interval does, so that
    /// no line has usage of two; a page reads not many more of them than it has lines for.
    fn part(&self, begin: Timestamp, first: Timestamp) -> (Timestamp, Timestamp) {
        let to = hour_at_or_after(self.to);
        let months = match self.interval {
            // The one line has usage of all of it.
            Interval::Whole => return (begin, to),
            Interval::Hour => 1,
            // Days of UTC are rows, days of elsewhere are made of hours.
            Interval::Day if !self.zone.is_utc() => 1,
            Interval::Day | Interval::Month => 12,
        };
        // Usage of a day that is rolled up may have its row at the day's beginning, an hour or more before `first`.
        let first = begin.max(self.zone.day(first.start_of_day()).0);
        (first, self.zone.months(first, months).1.min(to))
    }

    /// What is read of a part of its time: days where they are rolled up and no line has less than a day of them.
    fn spans(&self, (from, to): (Timestamp, Timestamp), rolled_up: Timestamp) -> Vec<(Grain, (Timestamp, Timestamp))> {
        match self.interval {
            Interval::Hour => vec![(Grain::Hour, (from, to))],
            Interval::Day if !self.zone.is_utc() => vec![(Grain::Hour, (from, to))],
            Interval::Month if !self.zone.is_utc() => {
                let months = std::iter::successors(Some(from), |it| Some(self.zone.month(*it).1));
                let months = months.take_while(|it| *it < to);
                months.flat_map(|it| days_and_edges(it, self.zone.month(it).1.min(to), rolled_up)).collect()
            }
            Interval::Whole | Interval::Day | Interval::Month => days_and_edges(from, to, rolled_up),
        }
    }

    fn starts_at(&self, hour: Timestamp) -> Timestamp {
        match self.interval {
            Interval::Whole => self.from.start_of_hour(),
            Interval::Hour => hour,
            Interval::Day => self.zone.day(hour).0,
            Interval::Month => self.zone.month(hour).0,
        }
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
    pub(crate) clock: Clock,
    pub(crate) access: Access,
    pub(crate) costly: Costly,
}

impl ReportUseCases {
    /// Everybody who belongs there sees the owner's totals; who used what is for those who may see that.
    pub(crate) async fn admit(&self, caller: &Caller, owner: OwnerId, query: &ReportQuery) -> Result<(), Error> {
        if query.names_members() {
            self.access.to(&caller.clone().at(Permission::ViewUsage), owner).await?;
        }
        self.check_zone(owner, query).await
    }

    /// Usage is counted by hours of UTC: days can begin only where one of those does.
    async fn check_zone(&self, owner: OwnerId, query: &ReportQuery) -> Result<(), Error> {
        if query.zone.is_utc() {
            return Ok(());
        }
        let (now, mut tx) = (self.clock.now(), self.db.read().await?);
        let first = usage::first_hour(&mut tx, owner, query.from.start_of_hour()).await?.unwrap_or(now);
        let last = query.to.min(now);
        if query.zone.has_whole_hours(first.min(last), last) {
            return Ok(());
        }
        Err(Error::TimeZoneUnsupported(query.zone.clone()))
    }

    /// One page of the report's lines, in the order of their keys.
    pub(crate) async fn page(
        &self,
        owner: OwnerId,
        query: &ReportQuery,
        page: &PageRequest<ReportKey>,
    ) -> Result<Page<(ReportKey, ReportLine)>, Error> {
        let wanted = usize::try_from(page.limit()).unwrap_or(usize::MAX);
        let found = self.lines(owner, query, page.after(), wanted).await?;
        Ok(page.page(found, |(key, _)| key.clone())?)
    }

    /// The report's next lines after the given one, at most so many.
    pub(super) async fn lines(
        &self,
        owner: OwnerId,
        query: &ReportQuery,
        after: Option<&ReportKey>,
        wanted: usize,
    ) -> Result<Vec<(ReportKey, ReportLine)>, Error> {
        let _place = self.costly.place(owner).await?;
        let mut tx = self.db.read().await?;
        let mut found: Vec<(ReportKey, ReportLine)> = Vec::new();
        let mut begin = query.begins(after);
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
            found.extend(lines.into_iter().filter(|(key, _)| after.is_none_or(|last| key > last)));
        }
        found.truncate(wanted);
        Ok(found)
    }
}

/// All of the report's lines of one part of its time.
async fn used_in(
    tx: &mut Tx,
    owner: OwnerId,
    query: &ReportQuery,
    part: (Timestamp, Timestamp),
) -> Result<BTreeMap<ReportKey, UsageTotals>, Error> {
    let mut lines: BTreeMap<ReportKey, UsageTotals> = BTreeMap::new();
    let rolled_up = usage::rolled_up(tx, owner).await?.unwrap_or(Timestamp::MIN);
    for (grain, span) in query.spans(part, rolled_up) {
        for row in usage::between(tx, owner, grain, span).await? {
            if query.filter.admits(&row.key) {
                lines.entry(used(query, &row.key)).or_default().add(&row.totals);
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
    let mut lines: BTreeMap<ReportKey, MeterTotals> = BTreeMap::new();
    for (key, totals) in usage::meters_between(tx, owner, part).await? {
        if query.filter.model.as_ref().is_none_or(|it| key.model == *it) {
            lines.entry(counted(query, &key)).or_default().add(&totals);
        }
    }
    Ok(lines)
}

fn hour_at_or_after(time: Timestamp) -> Timestamp {
    let hour = time.start_of_hour();
    if hour == time { time } else { hour.saturating_add(Span::HOUR) }
}

/// Whole days that are rolled up are read as days; only the hours before the first and after the last are read as hours.
fn days_and_edges(from: Timestamp, to: Timestamp, rolled_up: Timestamp) -> Vec<(Grain, (Timestamp, Timestamp))> {
    let first_day = match from.start_of_day() {
        day if day == from => day,
        day => day.saturating_add(Span::DAY),
    };
    let last_day = to.start_of_day().min(rolled_up);
    if first_day >= last_day {
        return vec![(Grain::Hour, (from, to))];
    }
    let spans = [(Grain::Hour, (from, first_day)), (Grain::Day, (first_day, last_day)), (Grain::Hour, (last_day, to))];
    spans.into_iter().filter(|(_, (start, end))| start < end).collect()
}

/// The line that usage with this key belongs to.
fn used(query: &ReportQuery, key: &UsageKey) -> ReportKey {
    let UsageKey { hour, member, project, model } = key;
    let when =
        |wanted: Group, text: Option<String>| text.filter(|_| query.groups.contains(&wanted)).unwrap_or_default();
    ReportKey {
        starts_at: query.starts_at(*hour),
        member: when(Group::Member, Some(member.to_string())),
        project: when(Group::Project, project.as_ref().map(ToString::to_string)),
        model: when(Group::Model, model.as_ref().map(ToString::to_string)),
        meter: String::new(),
    }
}

/// The line that a meter's count with this key belongs to.
fn counted(query: &ReportQuery, key: &MeterKey) -> ReportKey {
    let by_model = query.groups.contains(&Group::Model);
    ReportKey {
        starts_at: query.starts_at(key.hour),
        member: String::new(),
        project: String::new(),
        model: if by_model { key.model.to_string() } else { String::new() },
        meter: key.meter.to_string(),
    }
}

#[cfg(test)]
mod tests;
