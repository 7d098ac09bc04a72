//! How long a subscription is paid for at a time: a month, or a year of months.
//!
//! The allowance is a month's whatever is paid. So a year has twelve lots, each with a month's dates; what was paid for the year
//! is divided among them, each part rounded down to the currency's smallest unit and the last one the rest, so that the twelve
//! are the year's price. A month of a year that was changed since may have several (`domain/month_part.rs`).
//!
//! A subscription that was never paid by the year counts its months from its beginning, and each is paid for itself: that is
//! no [`Prepaid`]. One that is, or was, says here from when its months count: whoever changes from months to a year begins anew.

use std::fmt;
use std::str::FromStr;

use bursar_money::{Price, PriceError};
use bursar_time::Timestamp;
use serde::{Deserialize, Serialize};

use super::refusal::Inconsistent;
use super::subscription::Month;

/// How long one payment lasts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Interval {
    /// A month.
    #[default]
    Month,
    /// Twelve months.
    Year,
}

impl Interval {
    /// The name in the catalog's file and in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Month => "month",
            Self::Year => "year",
        }
    }

    /// How many months it has.
    pub fn months(self) -> u32 {
        match self {
            Self::Month => 1,
            Self::Year => 12,
        }
    }

    /// Whether it is a month: what is not said.
    pub fn is_month(&self) -> bool {
        *self == Self::Month
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Interval {
    type Err = Inconsistent;

    fn from_str(text: &str) -> Result<Self, Inconsistent> {
        [Self::Month, Self::Year]
            .into_iter()
            .find(|it| it.as_str() == text)
            .ok_or(Inconsistent("a plan has an unknown interval"))
    }
}

/// Until when a subscription is paid for that is, or once was, paid by the year, and from when its months count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prepaid {
    /// How long what was paid last lasts.
    pub interval: Interval,
    /// The instant from which the months count.
    pub anchor: Timestamp,
    /// The number of the month that begins there.
    pub first: u32,
    /// The number of the month that it is in.
    pub month: u32,
    /// The number of the first month that is not paid for.
    pub through: u32,
    /// What was paid for the month that it is in.
    pub part: Price,
    /// What was paid for the months after it.
    pub rest: Price,
}

impl Prepaid {
    /// Months from `number` on that are paid for at `price`, all of them together. The number of months counts from `anchor`,
    /// which is where the month `first` begins.
    pub fn beginning(interval: Interval, (anchor, first): (Timestamp, u32), number: u32, price: Price) -> Self {
        let through = number.saturating_add(interval.months());
        let whole =
            Self { interval, anchor, first, month: number, through, part: Price::zero(price.currency()), rest: price };
        whole.divided()
    }

    /// The next of the months that are paid for; `None` after the last.
    #[must_use]
    pub fn next(self) -> Option<Self> {
        let month = self.month.checked_add(1).filter(|month| *month < self.through)?;
        Some(Self { month, ..self }.divided())
    }

    /// Takes the part of its month from what is left.
    fn divided(self) -> Self {
        let months = self.through.saturating_sub(self.month);
        let part = if months <= 1 { self.rest } else { self.rest.share(1, months.into()).floor_to_minor() };
        // A part of it, in the same currency.
        let rest = self.rest.checked_sub(part).unwrap_or(Price::zero(part.currency()));
        Self { part, rest, ..self }
    }

    /// The same after more was paid for the months after the one that it is in.
    ///
    /// # Errors
    /// Another currency's, or more than there can be.
    pub fn with_more(self, more: Price) -> Result<Self, PriceError> {
        Ok(Self { rest: self.rest.checked_add(more)?, ..self })
    }

    /// The month of this number.
    pub fn month(&self, number: u32) -> Month {
        Month { number, ..Month::anchored(self.anchor, number.saturating_sub(self.first)) }
    }

    /// When the months end that are paid for.
    pub fn until(&self) -> Timestamp {
        self.month(self.through).start
    }

    /// What was paid for last: from the first of its months to the end, under the number of the month that it is in.
    pub fn period(&self) -> Month {
        let start = self.month(self.through.saturating_sub(self.interval.months())).start;
        Month { number: self.month, start, end: self.until() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usd(cents: i64) -> Price {
        Price::from_minor_units("USD".parse().unwrap(), cents).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// All of the months that are paid for.
    fn months(begun: Prepaid) -> Vec<Prepaid> {
        std::iter::successors(Some(begun), |it| it.next()).collect()
    }

    #[test]
    fn a_year_has_a_months_dates_and_its_price_in_twelve_parts() {
        let begun = Prepaid::beginning(Interval::Year, (at("2027-12-31T10:00:00Z"), 0), 0, usd(100_000));
        let all = months(begun);
        let parts: Vec<_> = all.iter().map(|it| it.part.minor_units().unwrap()).collect();
        assert_eq!(parts, [8333, 8333, 8333, 8333, 8333, 8333, 8333, 8333, 8334, 8334, 8334, 8334]);
        let starts: Vec<_> = all.iter().map(|it| it.month(it.month).start.to_string()[..10].to_owned()).collect();
        let days = ["2027-12-31", "2028-01-31", "2028-02-29", "2028-03-31", "2028-04-30", "2028-05-31"];
        assert_eq!(starts[..6], days, "with a leap day");
        assert_eq!((begun.until(), begun.period().start), (at("2028-12-31T10:00:00Z"), at("2027-12-31T10:00:00Z")));
        assert_eq!(all[11].month(11).end, begun.until());
    }

    #[test]
    fn a_leap_days_year_ends_on_the_last_of_february() {
        let begun = Prepaid::beginning(Interval::Year, (at("2028-02-29T00:00:00Z"), 3), 3, usd(1));
        assert_eq!(begun.until(), at("2029-02-28T00:00:00Z"));
        let fourth = Prepaid::beginning(Interval::Year, (begun.anchor, begun.first), 3 + 36, usd(1));
        assert_eq!((fourth.period().start, fourth.until()), (at("2031-02-28T00:00:00Z"), at("2032-02-29T00:00:00Z")));
        let month = Prepaid::beginning(Interval::Month, (begun.anchor, begun.first), 15, usd(700));
        assert_eq!((month.part, month.rest, month.next()), (usd(700), usd(0), None));
        assert_eq!((month.until(), month.period()), (at("2029-03-29T00:00:00Z"), month.month(15)));
    }

    proptest! {
        /// Whatever a year costs and whenever more is paid for it: its months' parts are what was paid, to the cent, and
        /// its months follow one another from its first instant to its last.
        #[test]
        fn twelve_parts_are_the_price(
            cents in 0_i64..100_000_000,
            more in 0_i64..1_000_000,
            after in 0_usize..12,
            seconds in 0_i64..4_102_444_800,
            first in 0_u32..100,
        ) {
            let anchor = Timestamp::from_unix_secs(seconds).unwrap();
            let mut it = Prepaid::beginning(Interval::Year, (anchor, first), first, usd(cents));
            let (mut sum, mut end, mut paid) = (0, anchor, cents);
            for number in 0..12_usize {
                let month = it.month(it.month);
                prop_assert_eq!(month.start, end);
                end = month.end;
                sum += it.part.minor_units().unwrap();
                if number == after && number < 11 {
                    it = it.with_more(usd(more)).unwrap();
                    paid += more;
                }
                if let Some(next) = it.next() {
                    prop_assert!(number < 11 && (it.part.micros() - next.part.micros() <= 10_000));
                    it = next;
                } else {
                    prop_assert_eq!(number, 11);
                }
            }
            prop_assert_eq!((sum, end, it.rest), (paid, it.until(), usd(0)));
        }
    }
}
