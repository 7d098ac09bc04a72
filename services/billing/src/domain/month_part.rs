//! How the allowance of a month that is paid for is divided among the payments that have paid for it: the year's own, and those
//! of the changes that were made in the year since.
//!
//! Each has the credits that it brought, so that a refund or a dispute of one takes nothing that another has paid for, and for
//! them what of its own money is for the month: what was paid for the year is divided by its months, and what was paid for the
//! rest of it by those that were left. So the lots of a payment are what was paid with it, to the cent, whatever becomes of the
//! others.
//!
//! What brings a month no credits has no lot in it, and neither has what there is no room for: its money, and its credits, are
//! then with the first payment that has.

use bursar_money::{Credits, Price};

use super::change::Quote;
use super::interval::Prepaid;
use super::payment::{Bought, Payment};
use super::subscription::Subscription;

/// What of a month one payment has paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MonthPart {
    /// Its credits.
    pub credits: Credits,
    /// What was paid for these.
    pub paid: Price,
}

impl MonthPart {
    /// The parts of the month that a subscription is in, of which these are the payments, in the order in which they were
    /// delivered, the year's own first; at most so many are lots. `None` for a payment that has none: all of its money is gone,
    /// or it stands under the first one that has. `all` says whether there are no more of them: what others have paid for belongs
    /// to the year's own.
    pub fn of_payments(of: &Subscription, payments: &[Payment], all: bool, most: usize) -> Vec<Option<Self>> {
        let whole = of.paid_for_month();
        let mut paid: Vec<_> = payments.iter().map(|it| of.paid_for_month_with(it)).collect();
        if let Some((own, others)) = paid.split_first_mut()
            && (!all || others.is_empty())
        {
            let known = others.iter().try_fold(Price::zero(whole.currency()), |sum, it| sum.checked_add(*it));
            let rest = known.and_then(|known| whole.checked_sub(known)).ok();
            *own = rest.filter(|it| !it.is_negative()).unwrap_or(*own);
        }
        let shares = payments.iter().zip(paid);
        let shares = shares.map(|(it, paid)| (it.bought.month_after().0, (!it.is_gone()).then_some(paid)));
        Self::of_month(of.credits, &shares.collect::<Vec<_>>(), most)
    }

    /// The parts of a month of so many credits. Of each payment is said how many credits a month had after it, and what of its
    /// money is for this one, unless that is gone. Whatever came without a payment is a part of the year's own; where there are
    /// fewer credits than there were, what came last is gone first.
    fn of_month(credits: Credits, shares: &[(Credits, Option<Price>)], most: usize) -> Vec<Option<Self>> {
        let after: Vec<_> = shares.iter().map(|it| it.0).collect();
        let both = brought(credits, &after).into_iter().zip(shares);
        let mut parts: Vec<_> = both.map(|(credits, (_, paid))| Some(Self { credits, paid: (*paid)? })).collect();
        let (mut lots, mut without) = (0, Vec::new());
        for part in &mut parts {
            if part.is_some_and(|it| !it.credits.is_zero()) && lots < most {
                lots += 1;
            } else {
                without.extend(part.take());
            }
        }
        if let Some(first) = parts.iter_mut().flatten().next() {
            *first = without.into_iter().fold(*first, Self::with);
        }
        parts
    }

    fn with(self, more: Self) -> Self {
        // Together they are at most the month, in one currency.
        Self {
            credits: self.credits.checked_add(more.credits).unwrap_or(self.credits),
            paid: self.paid.checked_add(more.paid).unwrap_or(self.paid),
        }
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

    /// What of a payment's money is for the month that it is in, of one that has paid for that: the same whenever it is asked,
    /// and whatever has become of the others.
    pub fn paid_for_month_with(&self, payment: &Payment) -> Price {
        let none = Price::zero(payment.net().currency());
        let Some(prepaid) = self.prepaid else { return none };
        prepaid.months_of(payment).take_while(|it| it.month <= prepaid.month).last().map_or(none, |it| it.part)
    }
}

impl Prepaid {
    /// The months of this time that a payment has paid for, from the first of them on, each with its part of the money.
    pub fn months_of(self, payment: &Payment) -> impl Iterator<Item = Self> {
        let (net, from) = (payment.net(), self.through.saturating_sub(self.interval.months()));
        let none = Price::zero(net.currency());
        let begun = match payment.bought {
            // For what was left of the month in which it was made, and for the months after it.
            Bought::Change { period, .. } if period >= from => {
                let (month, at) = (self.month(period), payment.created_at);
                let part = Quote::due_for_month(net, &month, &self.period(), at);
                Self { month: period, part, rest: net.checked_sub(part).unwrap_or(none), ..self }
            }
            _ => Self::beginning(self.interval, (self.anchor, self.first), from, net),
        };
        std::iter::successors(Some(begun), |it| it.next())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usd(cents: i64) -> Price {
        Price::from_minor_units("USD".parse().unwrap(), cents).unwrap()
    }

    /// What a month has in all, and how many lots at most; what it had after each payment, with the cents of that, unless they
    /// are gone; the credits and the cents of each.
    type Case = (u32, usize, &'static [(u32, Option<i64>)], &'static [Option<(u32, i64)>]);

    fn shares(of: &[(u32, Option<i64>)]) -> Vec<(Credits, Option<Price>)> {
        of.iter().map(|(after, cents)| (Credits::whole(*after), cents.map(usd))).collect()
    }

    #[test]
    fn each_payment_has_what_it_brought_and_what_it_paid() {
        let cases: [Case; 15] = [
            (1_500, 9, &[(1_500, Some(8_333))], &[Some((1_500, 8_333))]),
            (5_500, 9, &[(1_500, Some(8_333)), (5_500, Some(16_641))], &[Some((1_500, 8_333)), Some((4_000, 16_641))]),
            (6, 9, &[(2, Some(1)), (4, Some(2)), (6, Some(3))], &[Some((2, 1)), Some((2, 2)), Some((2, 3))]),
            // More of them came with no payment.
            (1_600, 9, &[(1_500, Some(7))], &[Some((1_600, 7))]),
            (6_000, 9, &[(1_500, Some(7)), (5_500, Some(9))], &[Some((2_000, 7)), Some((4_000, 9))]),
            // Something that costs more, and has fewer: its money is with what there is.
            (500, 9, &[(3_000, Some(7)), (500, Some(9))], &[Some((500, 16)), None]),
            (200, 9, &[(300, Some(1)), (50, Some(2)), (200, Some(4))], &[Some((50, 3)), None, Some((150, 4))]),
            (1_000, 9, &[(500, Some(1)), (3_000, Some(2)), (1_000, Some(4))], &[Some((500, 5)), Some((500, 2)), None]),
            (100, 9, &[(0, Some(1)), (100, Some(2))], &[None, Some((100, 3))]),
            // What is gone has nothing, and nothing of it is anybody else's.
            (5_500, 9, &[(1_500, Some(7)), (5_500, None)], &[Some((1_500, 7)), None]),
            (5_500, 9, &[(1_500, None), (5_500, Some(9))], &[None, Some((4_000, 9))]),
            (500, 9, &[(3_000, None), (500, Some(9))], &[None, None]),
            // What there is no room for is with the first that has any.
            (6, 2, &[(2, Some(1)), (4, Some(2)), (6, Some(3))], &[Some((4, 4)), Some((2, 2)), None]),
            (6, 1, &[(2, None), (4, Some(2)), (6, Some(3))], &[None, Some((4, 5)), None]),
            (6, 0, &[(2, Some(1)), (6, Some(3))], &[None, None]),
        ];
        for (all, most, of, expected) in cases {
            let parts = MonthPart::of_month(Credits::whole(all), &shares(of), most);
            let part = |(credits, cents): (u32, i64)| MonthPart { credits: Credits::whole(credits), paid: usd(cents) };
            assert_eq!(parts, expected.iter().map(|it| it.map(part)).collect::<Vec<_>>(), "{all} {most} {of:?}");
        }
    }

    proptest! {
        #[test]
        fn parts_are_the_month_to_the_cent(
            all in 1_u32..1_000_000,
            of in prop::collection::vec((0_u32..1_000_000, (0_i64..10_000_000).prop_map(Some)), 1..8),
            most in 1_usize..10,
        ) {
            let parts = MonthPart::of_month(Credits::whole(all), &shares(&of), most);
            prop_assert_eq!(parts.len(), of.len());
            let lots: Vec<_> = parts.into_iter().flatten().collect();
            prop_assert!(lots.len() <= most && lots.iter().all(|it| !it.credits.is_zero() && !it.paid.is_negative()));
            prop_assert_eq!(Credits::checked_sum(lots.iter().map(|it| it.credits)), Some(Credits::whole(all)));
            let cents: i64 = of.iter().filter_map(|(_, cents)| *cents).sum();
            prop_assert_eq!(lots.iter().map(|it| it.paid.minor_units().unwrap()).sum::<i64>(), cents);
        }
    }
}
