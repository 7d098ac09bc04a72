//! Usage reports, from the totals alone: they cost as much as their rows, however long the ledger.

use std::collections::BTreeMap;

use bursar_db::Db;
use bursar_id::OwnerId;
use bursar_rpc::PageRequest;
use bursar_time::{Span, Timestamp};
use serde::{Deserialize, Serialize};

use crate::domain::{UsageKey, UsageTotals};
use crate::error::Error;
use crate::store::usage::{self, Grain, UsageRow};

/// What a report tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Group {
    /// Who spent.
    Member,
    /// For which project.
    Project,
    /// With which model.
    Model,
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
    ) -> Result<(Vec<(ReportKey, UsageTotals)>, String), Error> {
        let lines = self.usage(owner, query).await?;
        let wanted = usize::try_from(page.limit()).unwrap_or(usize::MAX);
        let rest = lines.into_iter().filter(|(key, _)| page.after().is_none_or(|last| key > last));
        let page = page.page(rest.take(wanted).collect(), |(key, _)| key.clone())?;
        Ok((page.rows, page.next_page_token))
    }

    /// All of the report's lines.
    async fn usage(&self, owner: OwnerId, query: &ReportQuery) -> Result<BTreeMap<ReportKey, UsageTotals>, Error> {
        let from = query.from.start_of_hour();
        let to = hour_at_or_after(query.to);
        let mut tx = self.db.read().await?;
        let mut lines = BTreeMap::new();
        for (grain, span) in spans(from, to, query.interval) {
            for row in usage::between(&mut tx, owner, grain, span).await? {
                add(&mut lines, query, from, &row);
            }
        }
        Ok(lines)
    }
}

fn hour_at_or_after(time: Timestamp) -> Timestamp {
    let hour = time.start_of_hour();
    if hour == time { time } else { hour.saturating_add(Span::HOUR) }
}

/// Whole days are read as days; only the hours before the first and after the last are read as hours.
fn spans(from: Timestamp, to: Timestamp, interval: Interval) -> Vec<(Grain, (Timestamp, Timestamp))> {
    let first_day = match from.start_of_day() {
        day if day == from => day,
        day => day.saturating_add(Span::DAY),
    };
    let last_day = to.start_of_day();
    if interval == Interval::Hour || first_day >= last_day {
        return vec![(Grain::Hour, (from, to))];
    }
    let spans = [(Grain::Hour, (from, first_day)), (Grain::Day, (first_day, last_day)), (Grain::Hour, (last_day, to))];
    spans.into_iter().filter(|(_, (start, end))| start < end).collect()
}

fn add(lines: &mut BTreeMap<ReportKey, UsageTotals>, query: &ReportQuery, from: Timestamp, row: &UsageRow) {
    let UsageKey { hour, member, project, model } = &row.key;
    let when = |wanted: Group, text: String| {
        if query.groups.contains(&wanted) { text } else { String::new() }
    };
    let key = ReportKey {
        starts_at: match query.interval {
            Interval::Whole => from,
            Interval::Hour => *hour,
            Interval::Day => hour.start_of_day(),
            Interval::Month => hour.start_of_month(),
        },
        member: when(Group::Member, member.to_string()),
        project: when(Group::Project, project.as_ref().map(ToString::to_string).unwrap_or_default()),
        model: when(Group::Model, model.as_ref().map(ToString::to_string).unwrap_or_default()),
    };
    let line = lines.entry(key).or_default();
    line.charged = line.charged.saturating_add(row.totals.charged);
    line.refunded = line.refunded.saturating_add(row.totals.refunded);
    line.charges = line.charges.saturating_add(row.totals.charges);
    line.quantity = line.quantity.saturating_add(row.totals.quantity);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_reports_read_days_and_only_their_edges_as_hours() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let hour = |from: &str, to: &str| (Grain::Hour, (at(from), at(to)));
        let day = |from: &str, to: &str| (Grain::Day, (at(from), at(to)));
        let (a, b) = ("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
        assert_eq!(spans(at(a), at(b), Interval::Whole), [day(a, b)], "a year is its days");
        let (a, b) = ("2026-01-01T05:00:00Z", "2026-01-03T02:00:00Z");
        let (c, d) = ("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z");
        assert_eq!(spans(at(a), at(b), Interval::Day), [hour(a, c), day(c, d), hour(d, b)], "edges are hours");
        assert_eq!(spans(at(a), at(b), Interval::Hour), [hour(a, b)], "hours are hours");
        let (a, b) = ("2026-01-01T05:00:00Z", "2026-01-01T07:00:00Z");
        assert_eq!(spans(at(a), at(b), Interval::Whole), [hour(a, b)], "within a day");
    }
}
