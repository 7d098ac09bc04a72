//! What is given back of a lot's money, by refunds and by disputes that a bank decides for the customer: for which of the lot's
//! credits that was paid, and what the rest of the money is worth.
//!
//! Credits follow the money as debts do: what is left of them goes first, then what was used, then what nobody had. What an open
//! dispute has voided may come back, so it counts as left for as long as it can; what was used of it is earned for as long as its
//! money is kept.

use bursar_money::Price;

use super::worth::{Parts, Worth};

/// How much of a lot was given back by an instant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct GivenBack {
    /// In millionths of the currency's unit, net of tax.
    pub money: i64,
    /// How many micro-credits that comes to.
    pub credits: i64,
}

impl GivenBack {
    /// Of a lot with credits that had been another one's before: how much of its money, where so many micro-credits came to it, so
    /// many of them have become another lot's since, and so many of the others are given back.
    pub fn of_later(paid: Price, came: i64, goes_on: i64, credits: i64) -> i64 {
        let stays = came.saturating_sub(goes_on);
        let own = paid.checked_sub(Worth::moving_along(paid, came, goes_on)).unwrap_or(paid);
        own.share(u64::try_from(credits).unwrap_or(0), u64::try_from(stays).unwrap_or(0)).micros()
    }

    /// Of the first lot that had some credits: what the later ones do not have of `all` that is given back. With how many
    /// micro-credits came to each of them, the first one included, and how many of these are given back there.
    pub fn of_first(paid: Price, all: Price, lots: &[(i64, i64)]) -> i64 {
        let goes_on = |place: usize| lots.get(place + 1).map_or(0, |(came, _)| *came);
        let (mut along, mut own, mut later) = (paid, paid.micros(), 0_i64);
        for (place, (came, credits)) in lots.iter().enumerate() {
            let next = Worth::moving_along(along, *came, goes_on(place));
            if place == 0 {
                own = own.saturating_sub(next.micros());
            } else {
                later = later.saturating_add(Self::of_later(along, *came, goes_on(place), *credits));
            }
            along = next;
        }
        all.micros().saturating_sub(later).clamp(0, own.max(0))
    }
}

impl Parts {
    /// What the money that is kept was paid for, where `credits` are given back and `taken` were voided by refunds and disputes:
    /// what these had not taken for good may come back to the lot, or cannot any more.
    #[must_use]
    pub fn kept(self, taken: i64, credits: i64, may_come_back: bool) -> Self {
        let taken = taken.clamp(0, self.voided.max(0));
        let gone = taken.min(credits.max(0));
        let waits = if may_come_back { taken - gone } else { 0 };
        let Self { mut spent, mut expired, voided, left } = self;
        let (mut voided, mut left) = (voided - gone - waits, left.saturating_add(waits));
        let mut rest = credits.max(0) - gone;
        for part in [&mut spent, &mut left, &mut voided, &mut expired] {
            let here = rest.clamp(0, (*part).max(0));
            *part -= here;
            rest -= here;
        }
        Self { spent, expired, voided, left }
    }
}

impl Worth {
    /// What is kept of a lot's money, divided among the parts that it was paid for. What no credits are left for is breakage.
    pub fn kept(money: Price, parts: &Parts) -> Self {
        let all = parts.spent.saturating_add(parts.expired).saturating_add(parts.voided).saturating_add(parts.left);
        if all > 0 {
            return Self::of(money, all, parts);
        }
        let none = Price::zero(money.currency());
        Self { spent: none, expired: none, voided: money, left: none }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usd(micros: i64) -> Price {
        Price::from_micros("USD".parse().unwrap(), micros).unwrap()
    }

    fn sum(parts: Parts) -> i64 {
        parts.spent + parts.expired + parts.voided + parts.left
    }

    #[test]
    fn what_is_left_goes_first_then_what_was_used_then_what_nobody_had() {
        let parts = Parts { spent: 100, expired: 20, voided: 80, left: 0 };
        // Refunds and disputes have voided 50 of the 80.
        let cases = [
            // Nothing is given back: a dispute is open, or has been won too late.
            (0, true, Parts { voided: 30, left: 50, ..parts }),
            (0, false, parts),
            (20, true, Parts { voided: 30, left: 30, ..parts }),
            (20, false, Parts { voided: 60, ..parts }),
            (50, true, Parts { voided: 30, ..parts }),
            (90, true, Parts { spent: 60, voided: 30, ..parts }),
            (160, true, Parts { spent: 0, voided: 20, ..parts }),
            (200, true, Parts::default()),
            (900, true, Parts::default()),
        ];
        for (credits, may_come_back, expected) in cases {
            assert_eq!(parts.kept(50, credits, may_come_back), expected, "{credits} {may_come_back}");
        }
        let held = Parts { spent: 10, left: 90, ..Parts::default() };
        assert_eq!(held.kept(0, 60, true), Parts { left: 40, ..Parts::default() }, "what is reserved was used");
    }

    #[test]
    fn what_is_kept_for_nothing_is_breakage() {
        let worth = Worth::kept(usd(7), &Parts::default());
        assert_eq!((worth.voided, worth.spent, worth.expired, worth.left), (usd(7), usd(0), usd(0), usd(0)));
    }

    proptest! {
        /// Paid, less what is given back, is what was earned, what was breakage and what is left, to the millionth.
        #[test]
        fn what_is_kept_adds_up(
            cents in 0_i64..10_000_000,
            (spent, expired, voided, left) in (0_i64..1_000_000, 0_i64..1_000_000, 0_i64..1_000_000, 0_i64..1_000_000),
            taken in 0_i64..1_000_000,
            credits in 0_i64..4_000_000,
            back in 0_i64..=100,
            may_come_back in any::<bool>(),
        ) {
            let parts = Parts { spent, expired, voided, left };
            let kept = parts.kept(taken, credits, may_come_back);
            prop_assert!([kept.spent, kept.expired, kept.voided, kept.left].iter().all(|it| *it >= 0));
            prop_assert_eq!(sum(kept), sum(parts) - credits.min(sum(parts)));
            let paid = cents * 10_000;
            let money = paid - paid / 100 * back;
            let worth = Worth::kept(usd(money), &kept);
            let all = [worth.spent, worth.expired, worth.voided, worth.left].map(Price::micros);
            prop_assert_eq!(all.iter().sum::<i64>(), money);
            prop_assert!(all.iter().all(|it| *it >= 0));
        }

        /// However often what was left went on: all of it given back is all that was paid, of a part each lot has its own.
        #[test]
        fn what_is_given_back_is_divided_among_the_lots_that_had_the_credits(
            cents in 1_i64..10_000_000,
            granted in 1_000_i64..1_000_000,
            goes_on in prop::collection::vec(1_i64..=100, 0..4),
            part in 0_i64..=1_000,
        ) {
            let paid = usd(cents * 10_000);
            let mut came = vec![granted];
            for percent in goes_on {
                came.push(came[came.len() - 1] * percent / 100);
            }
            let next = |place: usize| came.get(place + 1).copied().unwrap_or(0);
            // Wherever the credits are, the last ones first.
            let mut rest = (granted * part + 999) / 1_000;
            let mut lots: Vec<(i64, i64)> = came.iter().map(|it| (*it, 0)).collect();
            for place in (0..came.len()).rev() {
                lots[place].1 = rest.min(came[place] - next(place));
                rest -= lots[place].1;
            }
            let all = paid.share(u64::try_from(part).unwrap(), 1_000);
            let mut divided = vec![GivenBack::of_first(paid, all, &lots)];
            let mut along = Worth::moving_along(paid, granted, next(0));
            prop_assert!((0..=paid.micros() - along.micros()).contains(&divided[0]));
            for (place, (here, credits)) in lots.iter().copied().enumerate().skip(1) {
                let own = GivenBack::of_later(along, here, next(place), credits);
                let on = Worth::moving_along(along, here, next(place));
                prop_assert!((0..=along.micros() - on.micros()).contains(&own));
                divided.push(own);
                along = on;
            }
            let off = divided.iter().sum::<i64>() - all.micros();
            // Credits are taken whole, upwards: by less than the price of one, and some millionths for each lot.
            let rounded = 4 * i64::try_from(lots.len()).unwrap();
            let (least, most) = if part == 1_000 { (0, 0) } else { (-rounded, paid.micros() / granted + rounded) };
            prop_assert!((least..=most).contains(&off), "{} of {}..={}", off, least, most);
        }
    }
}
