//! What credits are worth: of what was paid for a lot, the part for what was spent, is gone, or is left.
//!
//! A lot's cost basis is what was paid for it, net of tax, divided by its credits. Shares are rounded down from the sums so
//! far and not one by one, so that the parts of a lot always add up to what was paid, and a month's to the change.

use bursar_money::Price;

use super::entry::Posting;
use super::lot::Lot;

/// How a lot's credits are divided at one instant, in micro-credits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Parts {
    /// Charged, net of refunds.
    pub spent: i64,
    /// Gone because the lot expired.
    pub expired: i64,
    /// Gone because it was voided.
    pub voided: i64,
    /// Neither spent nor gone: what open holds reserve is in it.
    pub left: i64,
}

impl Parts {
    /// As the lot stands.
    pub fn of(lot: &Lot) -> Self {
        let left = lot.remaining.micro().saturating_add(lot.held.micro());
        Self { spent: lot.spent.micro(), expired: lot.expired.micro(), voided: lot.voided.micro(), left }
    }

    /// By how much an entry changed them.
    pub fn moved(by: &Posting) -> Self {
        let left = by.remaining.saturating_add(by.held);
        Self { spent: by.spent, expired: by.expired, voided: by.voided, left }
    }

    /// By how much a lot's end changes them that nobody has booked yet: what is left of it beside holds is gone since then.
    pub fn lapsed(lot: &Lot) -> Self {
        let left = lot.remaining.micro();
        Self { expired: left, left: -left, ..Self::default() }
    }

    /// These and those together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            spent: self.spent.saturating_add(other.spent),
            expired: self.expired.saturating_add(other.expired),
            voided: self.voided.saturating_add(other.voided),
            left: self.left.saturating_add(other.left),
        }
    }

    /// These without so many credits that are another owner's now: here they stand as voided, or they are held until they
    /// are.
    #[must_use]
    pub fn without_moved(self, credits: i64) -> Self {
        let voided = credits.clamp(0, self.voided.max(0));
        let left = credits.saturating_sub(voided).clamp(0, self.left.max(0));
        self.minus(Self { voided, left, ..Self::default() })
    }

    /// These without those.
    #[must_use]
    pub fn minus(self, other: Self) -> Self {
        let Self { spent, expired, voided, left } = other;
        self.plus(Self { spent: -spent, expired: -expired, voided: -voided, left: -left })
    }
}

/// What a lot's parts are worth: what was paid, divided among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Worth {
    /// Of what was spent: earned.
    pub spent: Price,
    /// Of what expired: breakage.
    pub expired: Price,
    /// Of what was voided.
    pub voided: Price,
    /// Of what is left: owed.
    pub left: Price,
}

impl Worth {
    /// Of `paid` for a lot of so many micro-credits in all, what goes along with those of them that move to another owner. The
    /// rest is what [`Self::of`] says of those that stay: together they are `paid`, to the millionth.
    pub fn moving_along(paid: Price, granted: i64, moved: i64) -> Price {
        let stays = granted.saturating_sub(moved.clamp(0, granted.max(0)));
        let stays = paid.share(u64::try_from(stays).unwrap_or(0), u64::try_from(granted).unwrap_or(0));
        // A share is between the price and nothing.
        paid.checked_sub(stays).unwrap_or(Price::zero(paid.currency()))
    }

    /// Of `paid` for a lot of so many micro-credits in all, what its parts have; they are never more than all.
    pub fn of(paid: Price, granted: i64, parts: &Parts) -> Self {
        let so_far = |credits: i64| {
            let share = paid.share(u64::try_from(credits).unwrap_or(0), u64::try_from(granted).unwrap_or(0));
            share.micros()
        };
        let spent = so_far(parts.spent);
        let expired = so_far(parts.spent.saturating_add(parts.expired));
        let voided = so_far(parts.spent.saturating_add(parts.expired).saturating_add(parts.voided));
        let all =
            so_far(parts.spent.saturating_add(parts.expired).saturating_add(parts.voided).saturating_add(parts.left));
        // Differences of shares of one price are between it and nothing.
        let price = |micros: i64| Price::from_micros(paid.currency(), micros).unwrap_or(Price::zero(paid.currency()));
        Self {
            spent: price(spent),
            expired: price(expired - spent),
            voided: price(voided - expired),
            left: price(all - voided),
        }
    }

    /// By how much each has grown since, in millionths of the currency's unit.
    pub fn since(&self, before: &Self) -> [i64; 4] {
        let [a, b] = [self, before].map(|it| [it.spent, it.expired, it.voided, it.left].map(Price::micros));
        [a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3]]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn paid(text: &str) -> Price {
        text.parse().unwrap()
    }

    fn text(worth: &Worth) -> [String; 4] {
        [worth.spent, worth.expired, worth.voided, worth.left].map(|it| it.to_string())
    }

    #[test]
    fn a_lot_of_a_hundred_dollars_is_divided_by_its_credits() {
        let million = 1_000_000;
        let cases = [
            (Parts { left: 1_500 * million, ..Parts::default() }, ["0.00 USD", "0.00 USD", "0.00 USD", "100.00 USD"]),
            (
                Parts { spent: 500 * million, left: 1_000 * million, ..Parts::default() },
                ["33.333333 USD", "0.00 USD", "0.00 USD", "66.666667 USD"],
            ),
            (
                Parts { spent: 500 * million, expired: 500 * million, voided: 500 * million, left: 0 },
                ["33.333333 USD", "33.333333 USD", "33.333334 USD", "0.00 USD"],
            ),
        ];
        for (parts, expected) in cases {
            assert_eq!(text(&Worth::of(paid("100.00 USD"), 1_500 * million, &parts)), expected, "{parts:?}");
        }
        let nothing = Worth::of(paid("0.00 USD"), 5, &Parts { spent: 2, left: 3, ..Parts::default() });
        assert!(nothing.spent.is_zero() && nothing.left.is_zero(), "what was free is worth nothing");
    }

    #[test]
    fn what_moves_takes_its_part_along() {
        for (paid_for, granted, moved, along) in [
            ("100.00 USD", 1_500, 900, "60.00 USD"),
            ("100.00 USD", 1_500, 1_500, "100.00 USD"),
            ("100.00 USD", 1_500, 0, "0.00 USD"),
            ("100.00 USD", 3, 1, "33.333334 USD"),
            ("100.00 USD", 3, 2, "66.666667 USD"),
            ("0.00 USD", 3, 2, "0.00 USD"),
            ("100.00 USD", 3, 4, "100.00 USD"),
        ] {
            assert_eq!(Worth::moving_along(paid(paid_for), granted, moved).to_string(), along, "{granted} {moved}");
        }
        let parts = Parts { spent: 1, expired: 2, voided: 3, left: 4 };
        assert_eq!(parts.without_moved(2), Parts { voided: 1, ..parts });
        assert_eq!(parts.without_moved(5), Parts { voided: 0, left: 2, ..parts });
    }

    proptest! {
        #[test]
        fn what_moves_and_what_stays_add_up_to_what_was_paid(cents in 0_i64..10_000_000, spent in 0_i64..1_000_000, held in 0_i64..1_000_000, moved in 0_i64..1_000_000) {
            let granted = spent + held + moved;
            prop_assume!(granted > 0);
            let paid = Price::from_micros("USD".parse().unwrap(), cents * 10_000).unwrap();
            let here = Parts { spent, voided: moved, left: held, ..Parts::default() }.without_moved(moved);
            let here = Worth::of(paid, granted, &here);
            let along = Worth::moving_along(paid, granted, moved);
            prop_assert!(!along.is_negative());
            let there = if moved == 0 { 0 } else { Worth::of(along, moved, &Parts { left: moved, ..Parts::default() }).left.micros() };
            let sum = here.spent.micros() + here.voided.micros() + here.left.micros() + there;
            prop_assert_eq!(sum, if moved == 0 { paid.micros() - along.micros() } else { paid.micros() });
            prop_assert!(moved > 0 || along.is_zero());
        }

        #[test]
        fn parts_add_up_to_what_was_paid(cents in 0_i64..10_000_000, spent in 0_i64..1_000_000, expired in 0_i64..1_000_000, voided in 0_i64..1_000_000, left in 0_i64..1_000_000) {
            let granted = spent + expired + voided + left;
            prop_assume!(granted > 0);
            let paid = Price::from_micros("USD".parse().unwrap(), cents * 10_000).unwrap();
            let worth = Worth::of(paid, granted, &Parts { spent, expired, voided, left });
            let parts = [worth.spent, worth.expired, worth.voided, worth.left].map(Price::micros);
            prop_assert_eq!(parts.iter().sum::<i64>(), paid.micros());
            prop_assert!(parts.iter().all(|it| *it >= 0));
            let exact = i128::from(paid.micros()) * i128::from(left) / i128::from(granted);
            prop_assert!((i128::from(parts[3]) - exact).abs() <= 1, "within a millionth");
        }
    }
}
