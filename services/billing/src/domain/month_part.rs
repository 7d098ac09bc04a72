//! How the allowance of a month that is paid for is divided among the payments that have paid for it: the year's own, and those
//! of the changes that were made in the year since.
//!
//! Each has the credits that it brought, so that a refund or a dispute of one takes nothing that another has paid for. What was
//! paid for the month is divided by the credits, each part rounded down to the currency's smallest unit and the last one the
//! rest, so that they are the month's price.

use bursar_money::{Credits, Price};

use super::payment::Bought;
use super::subscription::Subscription;

/// What of a month one payment has paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MonthPart {
    /// Its credits; there may be none.
    pub credits: Credits,
    /// What was paid for these.
    pub paid: Price,
}

impl MonthPart {
    /// The parts of a month of so many credits, for which so much was paid: one for each payment, in the order in which they
    /// were delivered. `after` says how many credits a month had after each of them, the year's own first. Whatever came
    /// without a payment is a part of that one's; where there are fewer than there were, what came last is gone first.
    pub fn of_month(credits: Credits, paid: Price, after: &[Credits]) -> Vec<Self> {
        let brought = brought(credits, after);
        let last = brought.iter().rposition(|it| !it.is_zero());
        let (whole, mut rest) = (credits.micro().unsigned_abs(), paid);
        let mut parts = Vec::with_capacity(brought.len());
        for (place, credits) in brought.into_iter().enumerate() {
            let is_last = last == Some(place);
            let share = || paid.share(credits.micro().unsigned_abs(), whole).floor_to_minor();
            let part = if is_last { rest } else { share() };
            // Shares that are rounded down are together at most all of it, in the same currency.
            rest = rest.checked_sub(part).unwrap_or(Price::zero(part.currency()));
            parts.push(Self { credits, paid: part });
        }
        parts
    }
}

/// How many of a month's credits each payment brought: together all of them.
fn brought(credits: Credits, after: &[Credits]) -> Vec<Credits> {
    let mut left = Vec::with_capacity(after.len());
    let mut least = credits;
    for level in after.iter().rev() {
        least = least.min(*level);
        left.push(least);
    }
    let (mut brought, mut before) = (Vec::with_capacity(left.len()), Credits::ZERO);
    for level in left.into_iter().rev() {
        brought.push(level.saturating_sub(before));
        before = level;
    }
    if let Some(own) = brought.first_mut() {
        // At most all of them.
        *own = own.checked_add(credits.saturating_sub(before)).unwrap_or(*own);
    }
    brought
}

impl Bought {
    /// How many credits a month has once it is delivered, and how often the subscription had been changed before.
    pub fn month_after(&self) -> (Credits, u32) {
        match self {
            Self::Change { to, after, .. } => (to.credits, *after),
            other => (other.credits(), 0),
        }
    }
}

impl Subscription {
    /// The number of the first month of what was paid for last.
    pub fn paid_from(&self) -> u32 {
        self.prepaid.map_or(self.month.number, |it| it.through.saturating_sub(it.interval.months()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usd(cents: i64) -> Price {
        Price::from_minor_units("USD".parse().unwrap(), cents).unwrap()
    }

    fn whole(credits: &[u32]) -> Vec<Credits> {
        credits.iter().copied().map(Credits::whole).collect()
    }

    /// What a month has in all, what it had after each payment; what each brought, and its cents of 100.00.
    type Case = (u32, &'static [u32], &'static [u32], &'static [i64]);

    #[test]
    fn each_payment_has_what_it_brought() {
        let cases: [Case; 9] = [
            (1_500, &[1_500], &[1_500], &[10_000]),
            (5_500, &[1_500, 5_500], &[1_500, 4_000], &[2_727, 7_273]),
            (6, &[2, 4, 6], &[2, 2, 2], &[3_333, 3_333, 3_334]),
            // More of them came with no payment.
            (1_600, &[1_500], &[1_600], &[10_000]),
            (6_000, &[1_500, 5_500], &[2_000, 4_000], &[3_333, 6_667]),
            // Something that costs more, and has fewer.
            (500, &[3_000, 500], &[500, 0], &[10_000, 0]),
            (2_000, &[3_000, 500, 2_000], &[500, 0, 1_500], &[2_500, 0, 7_500]),
            (1_000, &[500, 3_000, 1_000], &[500, 500, 0], &[5_000, 5_000, 0]),
            (100, &[0, 100], &[0, 100], &[0, 10_000]),
        ];
        for (all, after, credits, cents) in cases {
            let parts = MonthPart::of_month(Credits::whole(all), usd(10_000), &whole(after));
            assert_eq!(parts.iter().map(|it| it.credits).collect::<Vec<_>>(), whole(credits), "{all} {after:?}");
            let paid: Vec<_> = parts.iter().map(|it| it.paid.minor_units().unwrap()).collect();
            assert_eq!(paid, cents, "{all} {after:?}");
        }
    }

    proptest! {
        #[test]
        fn parts_are_the_month_to_the_cent(
            all in 1_u32..1_000_000,
            after in prop::collection::vec(0_u32..1_000_000, 1..8),
            cents in 0_i64..10_000_000,
        ) {
            let parts = MonthPart::of_month(Credits::whole(all), usd(cents), &whole(&after));
            prop_assert_eq!(parts.len(), after.len());
            prop_assert_eq!(Credits::checked_sum(parts.iter().map(|it| it.credits)), Some(Credits::whole(all)));
            prop_assert_eq!(parts.iter().map(|it| it.paid.minor_units().unwrap()).sum::<i64>(), cents);
            prop_assert!(parts.iter().all(|it| !it.paid.is_negative() && (!it.credits.is_zero() || it.paid.is_zero())));
        }
    }
}
