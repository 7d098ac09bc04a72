//! The model's invoices and credit notes: as they are numbered, dated and made out, in text.

use std::collections::BTreeMap;

use super::calendar::local;
use super::taxes::{Bill, COUNTRIES, Country, Line};

/// Where an account's days may begin. In the second place a day of the model's begins in the evening before.
const ZONES: [&str; 3] = ["UTC", "America/New_York", "Europe/Berlin"];

/// Those of one account.
#[derive(Clone, Debug)]
pub(super) struct Papers {
    /// By whose taxes the next one is made out.
    pub(super) country: &'static Country,
    pub(super) zone: &'static str,
    issued: Vec<String>,
    /// How many of a kind there are in a year.
    numbers: BTreeMap<(&'static str, usize), usize>,
}

impl Papers {
    /// Those of the `number`-th account.
    pub(super) fn of(number: usize) -> Self {
        let (country, zone) = (&COUNTRIES[number % COUNTRIES.len()], ZONES[number / 2 % ZONES.len()]);
        Self { country, zone, issued: Vec::new(), numbers: BTreeMap::new() }
    }

    /// Something is paid for. Gives what that comes to.
    pub(super) fn invoiced(&mut self, day: usize, lines: Vec<Line>) -> Bill {
        let bill = Bill::of(lines, self.country);
        self.issues("", day, &bill);
        bill
    }

    /// A credit note says this.
    pub(super) fn noted(&mut self, day: usize, note: &Bill) {
        self.issues("C-", day, note);
    }

    fn issues(&mut self, kind: &'static str, day: usize, bill: &Bill) {
        let (year, date) = local(day, self.zone == ZONES[1]);
        let number = self.numbers.entry((kind, year)).or_default();
        *number += 1;
        self.issued.push(format!("{kind}{year}-{number:04} on {date}: {bill}"));
    }

    pub(super) fn sorted(&self) -> Vec<String> {
        let mut issued = self.issued.clone();
        issued.sort();
        issued
    }
}
