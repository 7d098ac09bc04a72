//! One interval's rows by member, then by project, then by model: its hours and days, each in that order by the table's own key,
//! side by side. So a page begins where the last one ended, and reads what it shows.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use bursar_id::UserId;
use bursar_time::Timestamp;

use super::lines::Lines;
use super::reading::{Reading, Step};
use crate::domain::{ModelName, ProjectName, UsageTotals};
use crate::error::Error;
use crate::store::usage::{self, Begin, Grain, UsageRow};

/// One hour's or day's rows, as far as they have been read.
struct Start {
    grain: Grain,
    /// What has not been read.
    begin: Begin,
    ahead: VecDeque<UsageRow>,
    /// There is nothing that has not been read.
    ended: bool,
}

/// Whose row it is, of which start.
type Next = Reverse<(UserId, Option<ProjectName>, Option<ModelName>, usize)>;

impl Reading<'_> {
    /// Reads an interval's totals by member.
    pub(super) async fn walk(
        &mut self,
        lines: &mut Lines<'_, UsageTotals>,
        interval: (Timestamp, Timestamp),
    ) -> Result<Step, Error> {
        let section = self.query.section();
        let begin = self.query.begin(interval.0, section, lines.after());
        let Some(mut starts) = self.starts(interval, &begin).await? else { return Ok(Step::TooMany) };
        let each = self.bounds.each(starts.len());
        let mut next: BinaryHeap<Next> = BinaryHeap::with_capacity(starts.len());
        for (number, start) in starts.iter_mut().enumerate() {
            if !self.fill(start, each).await? {
                return Ok(Step::Spent);
            }
            next.extend(start.next(number));
        }
        while let Some(Reverse((.., number))) = next.pop() {
            let Some(start) = starts.get_mut(number) else { continue };
            let Some(row) = start.ahead.pop_front() else { continue };
            if !self.see(lines, section, &row) {
                return Ok(Step::Enough);
            }
            if start.ahead.is_empty() && !self.fill(start, each).await? {
                return Ok(Step::Spent);
            }
            next.extend(start.next(number));
        }
        Ok(if lines.close() { Step::Through } else { Step::Enough })
    }

    /// The hours and days of an interval in which there is usage, if they are not too many. Looking for one is reading a row.
    async fn starts(&mut self, interval: (Timestamp, Timestamp), begin: &Begin) -> Result<Option<Vec<Start>>, Error> {
        let mut starts = Vec::new();
        for (grain, (mut from, to)) in self.query.spans(interval, self.rolled_up) {
            while let Some(at) = usage::first(self.tx, self.owner, grain, from).await?.filter(|at| *at < to) {
                self.read += 1;
                if starts.len() >= self.bounds.side_by_side {
                    return Ok(None);
                }
                starts.push(Start { grain, begin: begin.moved_to(at), ahead: VecDeque::new(), ended: false });
                from = at.saturating_add(grain.length());
            }
        }
        Ok(Some(starts))
    }

    /// Reads on in one of them. Says whether it may.
    async fn fill(&mut self, start: &mut Start, rows: usize) -> Result<bool, Error> {
        if start.ended {
            return Ok(true);
        }
        let Some(limit) = self.room(rows) else { return Ok(false) };
        let last = self.query.filter.member;
        let rows = usage::of_start(self.tx, self.owner, start.grain, (&start.begin, last), limit).await?;
        self.read += rows.len();
        start.ended = rows.len() < limit;
        if let Some(last) = rows.last() {
            start.begin = Begin::after(&last.key);
        }
        start.ahead = rows.into();
        Ok(true)
    }
}

impl Start {
    fn next(&self, number: usize) -> Option<Next> {
        let key = &self.ahead.front()?.key;
        Some(Reverse((key.member, key.project.clone(), key.model.clone(), number)))
    }
}
