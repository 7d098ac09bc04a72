//! The lines of a report that are being added up: as many as a page has, and no more, however many rows they are made of.

use std::collections::BTreeMap;

use bursar_time::Timestamp;

use super::{Position, ReportKey, ReportQuery, Section};
use crate::domain::{MeterTotals, UsageTotals};

/// What rows count, and lines add up.
pub(super) trait Totals: Default {
    fn add(&mut self, other: &Self);
}

impl Totals for UsageTotals {
    fn add(&mut self, other: &Self) {
        Self::add(self, other);
    }
}

impl Totals for MeterTotals {
    fn add(&mut self, other: &Self) {
        Self::add(self, other);
    }
}

/// Adds rows up to lines, section by section.
#[derive(Debug)]
pub(super) struct Lines<'a, T> {
    query: &'a ReportQuery,
    after: Option<&'a Position>,
    wanted: usize,
    found: Vec<(ReportKey, T)>,
    /// Those of the section that is being read: the first ones, as many as are still wanted.
    open: BTreeMap<ReportKey, T>,
    /// That section, by the greatest of its lines so far, also of those that are left out.
    section: Option<(ReportKey, Section)>,
    /// The last section that was read whole.
    done: Option<Position>,
    /// The interval that is being read, as far as the report's time reaches, when it starts on the calendar, and how many of its
    /// rows have been read.
    interval: (Timestamp, Timestamp),
    starts_at: Timestamp,
    rows: usize,
}

impl<'a, T: Totals> Lines<'a, T> {
    /// The report's first lines after a position, at most so many.
    pub(super) fn new(query: &'a ReportQuery, after: Option<&'a Position>, wanted: usize) -> Self {
        let none = Timestamp::MAX;
        Self {
            query,
            after,
            wanted,
            found: Vec::new(),
            open: BTreeMap::new(),
            section: None,
            done: None,
            interval: (none, none),
            starts_at: none,
            rows: 0,
        }
    }

    /// Where the lines begin.
    pub(super) fn after(&self) -> Option<&'a Position> {
        self.after
    }

    /// The interval that the last row was in, and how many rows of it there were so far.
    pub(super) fn interval(&self) -> ((Timestamp, Timestamp), usize) {
        (self.interval, self.rows)
    }

    /// When the interval starts that totals of this hour or day belong to.
    pub(super) fn starts_at(&mut self, hour: Timestamp) -> Timestamp {
        let (begin, end) = self.interval;
        if hour < begin || hour >= end {
            (self.interval, self.rows) = (self.query.interval(hour), 0);
            self.starts_at = self.query.starts_at(hour);
        }
        self.rows += 1;
        self.starts_at
    }

    /// Adds the next row, whose line has this key; without totals it is left out. Says whether lines are still wanted.
    #[must_use]
    pub(super) fn see(&mut self, section: Section, key: ReportKey, totals: Option<&T>) -> bool {
        let begins = self.section.as_ref().is_some_and(|(of, _)| !section.is_same(of, &key));
        if begins && !self.close() {
            return false;
        }
        if self.section.as_ref().is_none_or(|(greatest, _)| key > *greatest) {
            self.section = Some((key.clone(), section));
        }
        if let Some(totals) = totals.filter(|_| self.after.is_none_or(|last| key > last.key)) {
            self.add(key, totals);
        }
        true
    }

    fn add(&mut self, key: ReportKey, totals: &T) {
        if let Some(line) = self.open.get_mut(&key) {
            return line.add(totals);
        }
        // Whatever is dropped has enough lines before it, and they stay.
        if self.open.len() >= self.wanted.saturating_sub(self.found.len()) {
            if self.open.last_key_value().is_none_or(|(last, _)| key > *last) {
                return;
            }
            self.open.pop_last();
        }
        self.open.entry(key).or_default().add(totals);
    }

    /// The section has been read whole. Says whether lines are still wanted.
    pub(super) fn close(&mut self) -> bool {
        self.found.extend(std::mem::take(&mut self.open));
        if let Some((key, done)) = self.section.take() {
            self.done = Some(Position { key, done });
        }
        self.found.len() < self.wanted
    }

    /// The interval is to be read in another way, from its beginning.
    pub(super) fn leave(&mut self) {
        self.open.clear();
        self.section = None;
    }

    /// The lines that are whole.
    pub(super) fn whole(self) -> Vec<(ReportKey, T)> {
        self.found
    }

    /// Up to where all is read, if that is further on than where it began.
    pub(super) fn progress(&self) -> Option<Position> {
        let done = self.done.as_ref().filter(|done| self.after.is_none_or(|last| done.is_beyond(last)));
        done.cloned()
    }
}

#[cfg(test)]
mod tests {
    use bursar_time::Zone;

    use super::super::{Group, Interval, ReportFilter};
    use super::*;

    #[test]
    fn no_more_lines_are_held_than_are_wanted() {
        let (from, to, filter) = (Timestamp::EPOCH, Timestamp::MAX, ReportFilter::default());
        let (groups, interval, zone) = (vec![Group::Project], Interval::Whole, Zone::default());
        let query = ReportQuery { from, to, groups, interval, zone, filter };
        let key = |number: usize| ReportKey {
            starts_at: from,
            member: String::new(),
            project: format!("p{number:04}"),
            model: String::new(),
            meter: String::new(),
        };
        let last = Position::after(&key(99));
        let mut lines: Lines<'_, UsageTotals> = Lines::new(&query, Some(&last), 10);
        let one = UsageTotals { charged: 1, refunded: 0, charges: 1 };
        // In no order, three times each.
        for number in (0..3_000).map(|it| it * 7 % 1_000) {
            assert!(lines.see(Section::Interval, key(number), Some(&one)));
            assert!(lines.open.len() <= 10);
        }
        assert!(!lines.close());
        assert_eq!(lines.progress(), Some(Position { key: key(999), done: Section::Interval }));
        let expected: Vec<_> =
            (100..110).map(|number| (key(number), UsageTotals { charged: 3, refunded: 0, charges: 3 })).collect();
        assert_eq!(lines.whole(), expected);
    }
}
