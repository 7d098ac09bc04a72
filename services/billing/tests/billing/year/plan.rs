//! What the model knows of somebody's plan: its months by the calendar, and what is paid.

use super::calendar::after_months;
use super::sold::{Days, Terms};
use super::taxes::Bill;

/// A plan that somebody has.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) has: Terms,
    /// What it is when what is paid for ends.
    pub(super) next: Option<Terms>,
    pub(super) anchor: usize,
    /// How many months have begun.
    pub(super) months: usize,
    /// How many months are paid for.
    pub(super) paid: usize,
    /// The credits of each month that is paid for: what was paid first brings, and each change since.
    pub(super) brings: Vec<u64>,
    /// What was paid first of what is paid for, if nothing of that was given back; somebody else may have paid it.
    pub(super) bill: Option<Bill>,
    pub(super) marked: bool,
    /// How many attempts at the next month will be declined, and how many were.
    pub(super) fails: usize,
    pub(super) failed: usize,
    /// The month that is over was declined; it is tried again on this day.
    pub(super) retry: Option<usize>,
    /// The month that is not paid is there already.
    pub(super) granted: bool,
    /// What of the month that is over is there for the next one, lot by lot, the oldest first.
    pub(super) over: Vec<u64>,
}

impl Plan {
    pub(super) fn new(anchor: usize, has: Terms) -> Self {
        Self {
            has,
            next: None,
            anchor,
            months: 0,
            paid: 0,
            brings: Vec::new(),
            bill: None,
            marked: false,
            fails: 0,
            failed: 0,
            retry: None,
            granted: false,
            over: Vec::new(),
        }
    }

    /// The month that was begun last.
    pub(super) fn month(&self) -> Days {
        (after_months(self.anchor, self.months - 1), self.end())
    }

    pub(super) fn end(&self) -> usize {
        after_months(self.anchor, self.months)
    }

    /// What was paid for last: a month, or a year.
    pub(super) fn paid_for(&self) -> Days {
        (after_months(self.anchor, self.paid - self.has.of.months), self.paid_end())
    }

    pub(super) fn paid_end(&self) -> usize {
        after_months(self.anchor, self.paid)
    }
}
