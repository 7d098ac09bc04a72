//! Usage reports, from the totals alone: they cost as much as their rows, however long the ledger, and a page of one holds in
//! memory what it shows, however many rows it is made of.

mod export;
mod lines;
mod reading;
mod walk;

use bursar_db::Db;
use bursar_id::{OwnerId, UserId};
use bursar_rpc::{Caller, Page, PageRequest, Permission};
use bursar_time::{Clock, Span, Timestamp, Zone};
use serde::{Deserialize, Serialize};

use self::reading::{Bounds, Found, read};
use super::access::Access;
use super::costly::{Costly, Place};
use crate::domain::{MeterKey, MeterTotals, ModelName, ProjectName, UsageKey, UsageTotals};
use crate::error::Error;
use crate::store::usage::{self, Begin, Grain};

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

/// What rows belong together in the order in which they are read: nothing more comes of a section once another one begins.
/// The names say in how much of their lines' keys its rows agree.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Section {
    /// In when they start: all of an interval.
    Interval,
    /// And in the member.
    Member,
    /// And in the project.
    Project,
    /// And in the model: one line.
    #[default]
    Line,
}

impl Section {
    fn is_same(self, one: &ReportKey, other: &ReportKey) -> bool {
        one.starts_at == other.starts_at
            && (self < Self::Member || one.member == other.member)
            && (self < Self::Project || one.project == other.project)
            && (self < Self::Line || one.model == other.model)
    }
}

/// Up to where a report has been read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The last line, or where there would be one.
    #[serde(flatten)]
    pub(crate) key: ReportKey,
    /// Of what nothing is left: of that line alone, or of all that stands together with it.
    #[serde(default)]
    pub(crate) done: Section,
}

impl Position {
    /// After a line.
    fn after(key: &ReportKey) -> Self {
        Self { key: key.clone(), done: Section::Line }
    }

    /// Whether it is further on than another one.
    fn is_beyond(&self, other: &Self) -> bool {
        self.key > other.key || (self.key == other.key && self.done < other.done)
    }
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
    /// From when on there is usage of lines after the given position.
    fn begins(&self, after: Option<&Position>) -> Timestamp {
        let from = self.from.start_of_hour();
        match after {
            None => from,
            // Without groups an interval has one line.
            Some(last) if last.done == Section::Interval || self.groups.is_empty() => {
                from.max(self.interval(last.key.starts_at).1)
            }
            Some(_) if self.interval == Interval::Whole => from,
            Some(last) => from.max(last.key.starts_at),
        }
    }

    /// The interval that a time is in, as far as the report's time reaches.
    fn interval(&self, time: Timestamp) -> (Timestamp, Timestamp) {
        let (from, to) = (self.from.start_of_hour(), hour_at_or_after(self.to));
        let (begin, end) = match self.interval {
            Interval::Whole => (from, to),
            Interval::Hour => (time.start_of_hour(), time.start_of_hour().saturating_add(Span::HOUR)),
            Interval::Day => self.zone.day(time),
            Interval::Month => self.zone.month(time),
        };
        (begin.max(from), end.min(to))
    }

    /// What stands together where rows come by member, then by project, then by model.
    fn section(&self) -> Section {
        let [member, project, model] =
            [Group::Member, Group::Project, Group::Model].map(|it| self.groups.contains(&it));
        match (member, project, model) {
            _ if !self.names_members() => Section::Interval,
            (_, true, true) => Section::Line,
            (_, true, false) => Section::Project,
            (true, false, _) => Section::Member,
            (false, false, _) => Section::Interval,
        }
    }

    /// What stands together where totals of a grain come in the order of their keys: by time first. Within an hour, and a day
    /// that is rolled up, they come by member. (Of one member alone it is not worth reading everybody's.)
    fn section_in(&self, grain: Grain) -> Section {
        let one_start = match self.interval {
            Interval::Hour => true,
            Interval::Day => grain == Grain::Day && self.zone.is_utc(),
            Interval::Whole | Interval::Month => false,
        };
        if one_start && self.filter.member.is_none() { self.section() } else { Section::Interval }
    }

    /// Where reading begins in an interval of which totals start at `from`.
    fn begin(&self, from: Timestamp, section: Section, after: Option<&Position>) -> Begin {
        let first = self.filter.member.map_or_else(|| Begin::at(from), |member| Begin::at_member(from, member));
        let Some(last) = after.filter(|it| it.key.starts_at == self.starts_at(from)) else { return first };
        let Some(member) = self.filter.member.or_else(|| last.key.member.parse().ok()) else { return first };
        match section {
            Section::Interval => first,
            Section::Member if last.done > Section::Member && self.groups.contains(&Group::Model) => {
                Begin::at_member(from, member)
            }
            Section::Member => Begin::after_member(from, member),
            Section::Project => Begin::after_project(from, member, &last.key.project),
            Section::Line => Begin::after_names(from, member, (&last.key.project, &last.key.model)),
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

    /// Whether it tells what single members used: more than totals. Then what it has shown of an interval can be skipped, too.
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

    /// One page of the report's lines, in the order of their keys. It may be short, even empty, and still not be the last.
    pub(crate) async fn page(
        &self,
        caller: &Caller,
        owner: OwnerId,
        query: &ReportQuery,
        page: &PageRequest<Position>,
    ) -> Result<Page<(ReportKey, ReportLine)>, Error> {
        let wanted = usize::try_from(page.limit()).unwrap_or(usize::MAX);
        let Found { lines, next, .. } = self.lines(caller, owner, (query, page.after()), wanted).await?;
        let position = |(key, _): &(ReportKey, ReportLine)| Position::after(key);
        Ok(if next.is_some() { page.page_before(lines, position, next)? } else { page.page(lines, position)? })
    }

    /// The report's next lines after the given position, at most so many.
    async fn lines(
        &self,
        caller: &Caller,
        owner: OwnerId,
        asked: (&ReportQuery, Option<&Position>),
        wanted: usize,
    ) -> Result<Found, Error> {
        let (db, query, after) = (self.db.clone(), asked.0.clone(), asked.1.cloned());
        let reading = move |place: Place| async move {
            let mut tx = db.read().await?.keeping(place);
            read(&mut tx, owner, (&query, after.as_ref()), wanted, Bounds::OF_A_PAGE).await
        };
        self.costly.read(caller, owner, reading).await
    }
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

/// The line that usage with this key belongs to, in an interval that starts then.
fn used(query: &ReportQuery, starts_at: Timestamp, key: &UsageKey) -> ReportKey {
    let UsageKey { hour: _, member, project, model } = key;
    let when =
        |wanted: Group, text: Option<String>| text.filter(|_| query.groups.contains(&wanted)).unwrap_or_default();
    ReportKey {
        starts_at,
        member: when(Group::Member, Some(member.to_string())),
        project: when(Group::Project, project.as_ref().map(ToString::to_string)),
        model: when(Group::Model, model.as_ref().map(ToString::to_string)),
        meter: String::new(),
    }
}

/// The line that a meter's count with this key belongs to.
fn counted(query: &ReportQuery, starts_at: Timestamp, key: &MeterKey) -> ReportKey {
    let by_model = query.groups.contains(&Group::Model);
    ReportKey {
        starts_at,
        member: String::new(),
        project: String::new(),
        model: if by_model { key.model.to_string() } else { String::new() },
        meter: key.meter.to_string(),
    }
}

#[cfg(test)]
mod tests;
