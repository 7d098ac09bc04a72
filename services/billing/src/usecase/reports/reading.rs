//! Reading the rows of a report, in portions: one after the other where a page is made of few, or in the order of members
//! where an interval has many of them ([`super::walk`]), so that the next page does not read again what the last one showed.

use bursar_db::Tx;
use bursar_id::OwnerId;
use bursar_time::Timestamp;

use super::lines::{Lines, Totals};
use super::{Group, Position, ReportKey, ReportLine, ReportQuery, Section, counted, used};
use crate::domain::{MeterTotals, UsageTotals};
use crate::error::Error;
use crate::store::usage::{self, Begin, UsageRow};

/// What reading one page may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Rows that one statement reads.
    pub(super) portion: usize,
    /// Rows of one interval that are read for every page of it, if it has no more.
    pub(super) few: usize,
    /// Hours and days of one interval that are read side by side.
    pub(super) side_by_side: usize,
    /// Rows of all of them that are held in memory.
    pub(super) held: usize,
    /// Rows of one page, whoever is not shown included.
    pub(super) page: usize,
}

impl Bounds {
    /// A page of what everybody may ask for.
    pub(super) const OF_A_PAGE: Self =
        Self { portion: 2_000, few: 4_000, side_by_side: 2_000, held: 16_000, page: 1_000_000 };

    /// Rows that are read at a time of each of so many hours or days.
    pub(super) fn each(self, starts: usize) -> usize {
        (self.held / starts.max(1)).clamp(8.min(self.portion), self.portion)
    }
}

/// The lines that were read.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) lines: Vec<(ReportKey, ReportLine)>,
    /// Where to go on, where there is more and not all lines that were wanted are here.
    pub(super) next: Option<Position>,
    /// How many rows that took.
    #[cfg_attr(not(test), expect(dead_code, reason = "what a page costs is a matter of tests"))]
    pub(super) read: usize,
}

/// How far reading came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Through the whole span.
    Through,
    /// There are as many lines as are wanted.
    Enough,
    /// As many rows were read as may be.
    Spent,
    /// To an interval of which there are many rows; nothing of it is kept.
    Large((Timestamp, Timestamp)),
    /// Nowhere: there are too many hours and days to read them side by side.
    TooMany,
}

/// Rows that are read of an owner's usage.
pub(super) struct Reading<'a> {
    pub(super) tx: &'a mut Tx,
    pub(super) owner: OwnerId,
    pub(super) query: &'a ReportQuery,
    pub(super) bounds: Bounds,
    /// Up to where days are rolled up.
    pub(super) rolled_up: Timestamp,
    pub(super) read: usize,
}

/// The report's next lines after a position, at most so many.
///
/// # Errors
/// [`Error::ReportTooLarge`] when what stands together with one line is more than may be read for a page.
pub(super) async fn read(
    tx: &mut Tx,
    owner: OwnerId,
    (query, after): (&ReportQuery, Option<&Position>),
    wanted: usize,
    bounds: Bounds,
) -> Result<Found, Error> {
    let rolled_up = usage::rolled_up(tx, owner).await?.unwrap_or(Timestamp::MIN);
    let mut reading = Reading { tx, owner, query, bounds, rolled_up, read: 0 };
    if query.groups.contains(&Group::Meter) {
        let mut lines = Lines::new(query, after, wanted);
        let step = reading.meters(&mut lines).await?;
        reading.found(step, lines, ReportLine::Meter)
    } else {
        let mut lines = Lines::new(query, after, wanted);
        let step = reading.usage(&mut lines).await?;
        reading.found(step, lines, ReportLine::Usage)
    }
}

impl Reading<'_> {
    fn found<T: Totals>(self, step: Step, lines: Lines<'_, T>, line: impl Fn(T) -> ReportLine) -> Result<Found, Error> {
        let next = match step {
            Step::Spent => Some(lines.progress().ok_or(Error::ReportTooLarge(self.bounds.page))?),
            _ => None,
        };
        let lines = lines.whole().into_iter().map(|(key, it)| (key, line(it))).collect();
        Ok(Found { lines, next, read: self.read })
    }

    /// How many of so many rows may be read.
    pub(super) fn room(&self, rows: usize) -> Option<usize> {
        Some(rows.min(self.bounds.page.saturating_sub(self.read))).filter(|rows| *rows > 0)
    }

    /// The part of the report's time in which there is usage from `begin` on. Stretches without any cost nothing.
    async fn part(&mut self, begin: Timestamp) -> Result<Option<(Timestamp, Timestamp)>, Error> {
        let first = usage::first_hour(self.tx, self.owner, begin).await?;
        Ok(first.filter(|it| *it < self.query.to).map(|it| self.query.part(begin, it)))
    }

    async fn usage(&mut self, lines: &mut Lines<'_, UsageTotals>) -> Result<Step, Error> {
        let mut begin = self.query.begins(lines.after());
        while let Some(part) = self.part(begin).await? {
            begin = part.1;
            let mut step = self.follow(lines, part, self.query.names_members()).await?;
            if let Step::Large(interval) = step {
                begin = interval.1;
                step = self.walk(lines, interval).await?;
                if step == Step::TooMany {
                    step = self.follow(lines, interval, false).await?;
                }
            }
            if step != Step::Through {
                return Ok(step);
            }
        }
        Ok(Step::Through)
    }

    /// Reads totals one after the other, by time. With `leaves`, an interval of which there are many is left.
    async fn follow(
        &mut self,
        lines: &mut Lines<'_, UsageTotals>,
        part: (Timestamp, Timestamp),
        leaves: bool,
    ) -> Result<Step, Error> {
        for (grain, (from, to)) in self.query.spans(part, self.rolled_up) {
            let section = self.query.section_in(grain);
            let mut begin = self.query.begin(from, section, lines.after());
            loop {
                let Some(limit) = self.room(self.bounds.portion) else { return Ok(Step::Spent) };
                let rows = usage::portion(self.tx, self.owner, grain, (&begin, to), limit).await?;
                self.read += rows.len();
                if !rows.iter().all(|row| self.see(lines, section, row)) {
                    return Ok(Step::Enough);
                }
                match rows.last() {
                    Some(last) if rows.len() == limit => begin = Begin::after(&last.key),
                    _ => break,
                }
                let (interval, of_it) = lines.interval();
                if leaves && section == Section::Interval && of_it > self.bounds.few {
                    lines.leave();
                    return Ok(Step::Large(interval));
                }
            }
        }
        Ok(if lines.close() { Step::Through } else { Step::Enough })
    }

    pub(super) fn see(&self, lines: &mut Lines<'_, UsageTotals>, section: Section, row: &UsageRow) -> bool {
        let line = used(self.query, lines.starts_at(row.key.hour), &row.key);
        lines.see(section, line, self.query.filter.admits(&row.key).then_some(&row.totals))
    }

    /// The same of meters, which are few in an hour: they are added up by model and time alone.
    async fn meters(&mut self, lines: &mut Lines<'_, MeterTotals>) -> Result<Step, Error> {
        let mut begin = self.query.begins(lines.after());
        while let Some(part) = self.part(begin).await? {
            begin = part.1;
            let mut last = None;
            loop {
                let Some(limit) = self.room(self.bounds.portion) else { return Ok(Step::Spent) };
                let rows = usage::meters(self.tx, self.owner, part, last.as_ref(), limit).await?;
                self.read += rows.len();
                for (key, totals) in &rows {
                    let line = counted(self.query, lines.starts_at(key.hour), key);
                    let admitted = self.query.filter.model.as_ref().is_none_or(|it| key.model == *it);
                    if !lines.see(Section::Interval, line, admitted.then_some(totals)) {
                        return Ok(Step::Enough);
                    }
                }
                if rows.len() < limit {
                    break;
                }
                last = rows.into_iter().last().map(|(key, _)| key);
            }
            if !lines.close() {
                return Ok(Step::Enough);
            }
        }
        Ok(Step::Through)
    }
}
