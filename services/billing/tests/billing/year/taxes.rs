//! Taxes as the model knows them: a table by country, and what comes of it, in cents.

use std::fmt;

/// A tax: its name, its rate as it is written, and the same in thousandths of a percent.
type Tax = (&'static str, &'static str, u64);

/// A hundred percent.
const WHOLE: u64 = 100_000;

/// Where an account may be: a country's code, and what the table has of it.
#[derive(Debug)]
pub(super) struct Country {
    pub(super) code: &'static str,
    taxes: &'static [Tax],
}

/// Nowhere, in countries with a tax or two, and in one that the table does not have.
pub(super) static COUNTRIES: [Country; 6] = [
    Country { code: "DE", taxes: &[("USt.", "19", 19_000)] },
    Country { code: "", taxes: &[] },
    Country { code: "CA", taxes: &[("GST", "5", 5_000), ("QST", "9.975", 9_975)] },
    Country { code: "CH", taxes: &[("MWST", "8.1", 8_100)] },
    Country { code: "FR", taxes: &[] },
    Country { code: "US", taxes: &[("Sales tax", "8.875", 8_875)] },
];

/// The table as an operator writes it.
pub(super) fn table() -> String {
    let entry = |code: &str, (name, percent, _): &Tax| {
        format!("[[taxes]]\ncountry = \"{code}\"\nname = \"{name}\"\npercent = \"{percent}\"\n\n")
    };
    let of = |it: &Country| it.taxes.iter().map(|tax| entry(it.code, tax)).collect::<Vec<_>>();
    COUNTRIES.iter().flat_map(of).collect::<Vec<_>>().concat()
}

/// A line of an invoice, and what it comes to without taxes.
pub(super) type Line = (String, u64);

/// What an invoice or a credit note says: lines, their sum, and the taxes on that.
#[derive(Clone, Debug)]
pub(super) struct Bill {
    lines: Vec<Line>,
    taxes: Vec<(&'static Tax, u64)>,
}

impl Bill {
    /// What is billed to somebody in a country.
    pub(super) fn of(lines: Vec<Line>, country: &'static Country) -> Self {
        let bill = Self { lines, taxes: Vec::new() };
        let taxes = country.taxes.iter().map(|tax| (tax, part(bill.net(), tax.2, WHOLE))).collect();
        Self { taxes, ..bill }
    }

    fn net(&self) -> u64 {
        self.lines.iter().map(|(_, cents)| cents).sum()
    }

    /// What is paid.
    pub(super) fn gross(&self) -> u64 {
        self.net() + self.taxes.iter().map(|(_, cents)| cents).sum::<u64>()
    }

    /// The credit note for so many cents that are given back after so many others. All of it at once has the invoice's own lines,
    /// else there is one line for what is given back without its taxes.
    pub(super) fn credit(&self, before: u64, cents: u64) -> Self {
        if cents == self.gross() {
            return self.clone();
        }
        let parts: Vec<_> =
            self.shares(before + cents).iter().zip(self.shares(before)).map(|(is, was)| is - was).collect();
        let (net, taxes) = parts.split_first().unwrap();
        let taxes = self.taxes.iter().zip(taxes).map(|((tax, _), cents)| (*tax, *cents)).collect();
        Self { lines: vec![(format!("CREDIT 1 × {net} once"), *net)], taxes }
    }

    /// What of so many cents is net, and what is each of the taxes: of what is left of them and of the bill its part, one after the
    /// other.
    fn shares(&self, cents: u64) -> Vec<u64> {
        let (mut rest, mut whole) = (cents, self.gross());
        let own = std::iter::once(self.net()).chain(self.taxes.iter().map(|(_, cents)| *cents));
        own.map(|of| {
            let share = part(rest, of, whole);
            rest -= share;
            whole -= of;
            share
        })
        .collect()
    }
}

impl fmt::Display for Bill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<_> = self.lines.iter().map(|(line, _)| line.as_str()).collect();
        f.write_str(&lines.join(", "))?;
        for ((name, percent, _), cents) in &self.taxes {
            write!(f, " + {name} {percent} {cents}")?;
        }
        write!(f, " = {}", self.gross())
    }
}

/// A part of so many cents, rounded half up.
fn part(cents: u64, of: u64, whole: u64) -> u64 {
    (2 * cents * of + whole) / (2 * whole)
}
