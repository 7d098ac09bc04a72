//! What a month of a subscription is, and what it takes to change that: another plan, more seats or fewer.
//!
//! What costs more happens now, for the rest of the period; everything else with the next one. What is due, and the credits
//! that come with it, are the differences in the proportion of the time that is left, rounded down: nobody pays for a part of
//! a cent, and nobody gets a part of a millionth. Of a year that is paid for, money is divided by what is left of the year, and
//! credits by what is left of the month.
//!
//! From months to a year is a beginning: the year is due as a whole and its first month comes with all its credits, whatever is
//! left of the month that was paid for: its allowance stays beside, until it ends. From a year to months waits for the year's end.

use bursar_money::{Credits, Price, PriceError};
use serde::{Deserialize, Serialize};

use bursar_time::Timestamp;

use super::catalog::{Plan, ProductId};
use super::contract::Features;
use super::included::Included;
use super::interval::Interval;
use super::subscription::{Month, Subscription};

/// For how many people a subscription may be: beyond any organization.
pub const MAX_SEATS: u32 = 100_000;

/// Seats beside those that a plan includes: one at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtraSeats {
    /// How many.
    pub count: u32,
    /// What an interval of each costs, as it was when the first of them was bought.
    pub price: Price,
    /// The credits that each adds to a month.
    pub credits: Credits,
}

impl ExtraSeats {
    /// What all of them cost an interval.
    ///
    /// # Errors
    /// Beyond what a price can be.
    pub fn cost(&self) -> Result<Price, PriceError> {
        self.price.checked_mul(self.count)
    }
}

/// What a subscription is: what is paid, how often, and what each month gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The plan.
    pub plan: ProductId,
    /// What an interval costs, extra seats included.
    pub price: Price,
    /// Each month's allowance, that of extra seats included.
    pub credits: Credits,
    /// For how many people it is, in all.
    pub seats: u32,
    /// Those that the plan does not include.
    pub extra: Option<ExtraSeats>,
    /// How long one payment lasts.
    #[serde(default, skip_serializing_if = "Interval::is_month")]
    pub interval: Interval,
    /// What a contract includes, whatever its plan does; `None` for what the plan includes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub features: Option<Features>,
    /// What the plan includes, as it is sold; `None` where an earlier program has not said it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub included: Option<Box<Included>>,
    /// How many credits of a month that is over are there for one more at most; `None` for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollover: Option<Credits>,
    /// Whether a month's allowance is there from its boundary on although its payment is late.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub grant_in_grace: bool,
    /// With what it is paid from then on, as that is stored; `None` for what has paid so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paid_with: Option<String>,
}

/// Why there is no such change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Fewer seats than the plan has.
    #[error("must be at least {included}, which the plan includes")]
    BelowPlan {
        /// How many it has.
        included: u32,
    },
    /// The plan sells no seats beside its own.
    #[error("the plan sells no seats beside its own")]
    NoSeats,
    /// So many cost more than a price can be, or have more credits than there can be.
    #[error("so many seats cannot be paid")]
    TooMany,
    /// What is there and what it is to become are paid in two currencies.
    #[error("the subscription is paid in another currency: cancel it, and subscribe anew")]
    Currency,
}

impl From<PriceError> for ChangeError {
    fn from(error: PriceError) -> Self {
        match error {
            PriceError::CurrencyMismatch => Self::Currency,
            _ => Self::TooMany,
        }
    }
}

impl Terms {
    /// A plan of the catalog with its own seats; `None` where a contract says what it costs.
    pub fn of(plan: &Plan) -> Option<Self> {
        let (price, credits, seats) = (plan.price?, plan.credits, plan.seats);
        let (interval, rollover, grant_in_grace) = (plan.interval, plan.rollover, plan.grant_in_grace);
        Some(Self {
            plan: plan.id.clone(),
            price,
            credits,
            seats,
            extra: None,
            interval,
            features: None,
            included: Some(Box::new(Included::of(plan))),
            rollover,
            grant_in_grace,
            paid_with: None,
        })
    }

    /// How many seats the plan includes.
    pub fn included(&self) -> u32 {
        self.seats.saturating_sub(self.extra.map_or(0, |extra| extra.count))
    }

    /// The same plan for so many people in all. More of what there is costs what was agreed for it; the first seats beside the
    /// plan's own cost what they are `offered` for.
    ///
    /// # Errors
    /// Fewer than the plan includes; more, which nobody sells; or more than can be paid.
    pub fn for_seats(&self, seats: u32, offered: Option<(Price, Credits)>) -> Result<Self, ChangeError> {
        let included = self.included();
        let count = seats.checked_sub(included).ok_or(ChangeError::BelowPlan { included })?;
        let alone = self.alone()?;
        if count == 0 {
            return Ok(alone);
        }
        let (price, credits) = self.extra.map(|it| (it.price, it.credits)).or(offered).ok_or(ChangeError::NoSeats)?;
        let extra = ExtraSeats { count, price, credits };
        let added = credits.checked_mul(count).ok_or(ChangeError::TooMany)?;
        Ok(Self {
            price: alone.price.checked_add(extra.cost()?)?,
            credits: alone.credits.checked_add(added).ok_or(ChangeError::TooMany)?,
            seats,
            extra: Some(extra),
            ..alone
        })
    }

    /// The plan without extra seats.
    fn alone(&self) -> Result<Self, ChangeError> {
        let Some(extra) = self.extra else { return Ok(self.clone()) };
        let added = extra.credits.checked_mul(extra.count).ok_or(ChangeError::TooMany)?;
        Ok(Self {
            price: self.price.checked_sub(extra.cost()?)?,
            credits: self.credits.saturating_sub(added),
            seats: self.included(),
            extra: None,
            ..self.clone()
        })
    }

    /// What of the price is the plan's, and what is for extra seats.
    ///
    /// # Errors
    /// Beyond what a price can be.
    pub fn parts(&self) -> Result<(Price, Price), PriceError> {
        let seats = self.extra.map_or(Ok(Price::zero(self.price.currency())), |extra| extra.cost())?;
        Ok((self.price.checked_sub(seats)?, seats))
    }
}

/// What of a payment is for seats beside the plan's own: a line of its own on the invoice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeatsPart {
    /// How many seats it is for; none where they take the place of seats at another price.
    pub seats: u32,
    /// How often the price is paid: once for each seat of an interval, once for what is left of one.
    pub quantity: u32,
    /// What is paid so often.
    pub unit_price: Price,
}

impl SeatsPart {
    /// What of a whole interval on these terms is for seats.
    pub fn of_whole(terms: &Terms) -> Option<Self> {
        terms.extra.map(|it| Self { seats: it.count, quantity: it.count, unit_price: it.price })
    }
}

/// What it takes to change a subscription at one instant, and what comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quote {
    /// What it is then.
    pub to: Terms,
    /// Whether that is so at once, because it costs more; else with the next period.
    pub at_once: bool,
    /// What is due at once, net.
    pub due: Price,
    /// What would be due and is not asked for, net ([`Quote::waiving`]).
    pub waived: Price,
    /// What of it is for more seats.
    pub seats_part: Option<SeatsPart>,
    /// The credits that come at once.
    pub credits: Credits,
}

impl Quote {
    /// What it takes at `now` to have a subscription on other terms that is in this month, and is paid for during this time.
    ///
    /// # Errors
    /// [`ChangeError::Currency`].
    pub fn of(from: &Terms, to: Terms, (month, paid): (&Month, &Month), now: Timestamp) -> Result<Self, ChangeError> {
        let more = to.price.checked_sub(from.price)?;
        let none = Price::zero(more.currency());
        if from.interval == Interval::Month && to.interval == Interval::Year {
            let (due, seats_part, credits) = (to.price, SeatsPart::of_whole(&to), to.credits);
            return Ok(Self { to, at_once: true, due, waived: none, seats_part, credits });
        }
        if from.interval != to.interval || more.micros() <= 0 {
            let (due, waived, credits) = (none, none, Credits::ZERO);
            return Ok(Self { to, at_once: false, due, waived, seats_part: None, credits });
        }
        let (left, whole) = left_of(paid, now);
        let due = more.share(left, whole).floor_to_minor();
        let (was, is) = (from.parts()?, to.parts()?);
        let (plan, seats) = (is.0.checked_sub(was.0)?, is.1.checked_sub(was.1)?);
        let for_seats = match (plan.is_negative(), seats.micros() > 0) {
            (_, false) => none,
            // Nothing of it is the plan's.
            (true, true) => due,
            // Two that are rounded down are together at most their sum, rounded down.
            (false, true) => due.checked_sub(plan.share(left, whole).floor_to_minor())?,
        };
        let count = |terms: &Terms| terms.extra.map_or(0, |it| it.count);
        // Where those there were had another price, how many more there are says nothing of what is paid for them.
        let alike = from.extra.zip(to.extra).is_none_or(|(was, is)| was.price == is.price);
        let new = if alike { count(&to).saturating_sub(count(from)) } else { 0 };
        let part = SeatsPart { seats: new, quantity: 1, unit_price: for_seats };
        let seats_part = (!for_seats.is_zero()).then_some(part);
        let (left, whole) = left_of(month, now);
        let credits = share(to.credits.saturating_sub(from.credits), left, whole);
        Ok(Self { to, at_once: true, due, waived: none, seats_part, credits })
    }

    /// What of the due is for the month that the subscription is in; the rest is for the months after it that are paid for.
    pub fn due_for_month(due: Price, month: &Month, paid: &Month, now: Timestamp) -> Price {
        let (left, _) = left_of(month, now);
        let (all, _) = left_of(paid, now);
        if left >= all { due } else { due.share(left, all).floor_to_minor() }
    }

    /// What waits for the next period of a subscription that is on these terms now: nothing where it stays as it is.
    pub fn pending(&self, present: &Terms) -> Option<Terms> {
        (self.to != *present).then(|| self.to.clone())
    }
}

/// What is left of a month at `now`, of what: at most all of it.
fn left_of(month: &Month, now: Timestamp) -> (u64, u64) {
    let (whole, left) = (month.end.since(month.start), month.end.since(now.max(month.start)));
    (left.as_micros().unsigned_abs(), whole.as_micros().unsigned_abs())
}

/// The part of an amount, rounded down to a millionth.
fn share(amount: Credits, left: u64, whole: u64) -> Credits {
    // At most 10^18 times 2^63.
    let product = i128::from(amount.micro()).saturating_mul(i128::from(left.min(whole)));
    let micro = product.checked_div(i128::from(whole)).and_then(|it| i64::try_from(it).ok());
    micro.and_then(|it| Credits::from_micro(it).ok()).unwrap_or(Credits::ZERO)
}

impl Subscription {
    /// What it is now.
    pub fn terms(&self) -> Terms {
        let interval = self.interval();
        let Self { plan, price, credits, seats, extra, features, included, rollover, grant_in_grace, .. } =
            self.clone();
        Terms {
            plan,
            price,
            credits,
            seats,
            extra,
            interval,
            features,
            included,
            rollover,
            grant_in_grace,
            paid_with: None,
        }
    }

    /// What it is after what is paid for.
    pub fn next_terms(&self) -> Terms {
        self.pending.clone().unwrap_or_else(|| self.terms())
    }

    /// With what the time after what is paid for is paid, as that is stored.
    pub fn next_method(&self) -> &str {
        self.pending.as_ref().and_then(|it| it.paid_with.as_deref()).unwrap_or(&self.payment_method)
    }

    /// The same subscription on these terms; whatever the interval is stands in `prepaid`. Where an earlier program has planned
    /// them, its plan includes what it did, unless it is another one.
    pub(super) fn on(&self, terms: Terms) -> Self {
        let Terms {
            plan, price, credits, seats, extra, features, included, rollover, grant_in_grace, paid_with, ..
        } = terms;
        let same = self.included.as_ref().filter(|_| plan == self.plan);
        let included = included.or_else(|| same.cloned());
        let payment_method = paid_with.unwrap_or_else(|| self.payment_method.clone());
        Self {
            plan,
            price,
            credits,
            seats,
            extra,
            features,
            included,
            rollover,
            grant_in_grace,
            payment_method,
            pending: None,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn price(text: &str) -> Price {
        text.parse().unwrap()
    }

    fn credits(text: &str) -> Credits {
        text.parse().unwrap()
    }

    fn plan(id: &str, cost: &str, allowance: &str, seats: u32) -> Terms {
        let plan = ProductId::parse(id).unwrap();
        let (price, credits) = (price(cost), credits(allowance));
        Terms {
            plan,
            price,
            credits,
            seats,
            extra: None,
            interval: Interval::Month,
            features: None,
            included: None,
            rollover: None,
            grant_in_grace: false,
            paid_with: None,
        }
    }

    fn offered() -> (Price, Credits) {
        (price("9.99 USD"), credits("150"))
    }

    /// January, of 31 days.
    fn month() -> Month {
        Month::anchored("2026-01-01T00:00:00Z".parse().unwrap(), 0)
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn seats_beside_the_plans_own_cost_what_was_agreed() {
        let alone = plan("business", "100.00 USD", "1500", 10);
        let twelve = alone.for_seats(12, Some(offered())).unwrap();
        assert_eq!((twelve.price, twelve.credits, twelve.seats), (price("119.98 USD"), credits("1800"), 12));
        assert_eq!((twelve.included(), twelve.parts().unwrap()), (10, (price("100.00 USD"), price("19.98 USD"))));
        let dearer = Some((price("50.00 USD"), credits("1")));
        assert_eq!(twelve.for_seats(13, dearer).unwrap().price, price("129.97 USD"), "more of them are as they were");
        assert_eq!(twelve.for_seats(11, None).unwrap().price, price("109.99 USD"), "also where they are sold no more");
        assert_eq!(
            (twelve.for_seats(12, dearer).unwrap(), twelve.for_seats(10, dearer).unwrap()),
            (twelve.clone(), alone.clone())
        );
        assert_eq!(alone.for_seats(11, dearer).unwrap().price, price("150.00 USD"), "all of them gone, it begins anew");

        assert_eq!(twelve.for_seats(9, Some(offered())), Err(ChangeError::BelowPlan { included: 10 }));
        assert_eq!(alone.for_seats(0, Some(offered())), Err(ChangeError::BelowPlan { included: 10 }));
        assert_eq!(alone.for_seats(11, None), Err(ChangeError::NoSeats));
        assert_eq!(alone.for_seats(10, None), Ok(alone.clone()));
        let costly = Some((price("900000000000.00 USD"), Credits::ZERO));
        assert_eq!(alone.for_seats(12, costly), Err(ChangeError::TooMany));
        let rich = Some((price("1.00 USD"), credits("900000000000")));
        assert_eq!(alone.for_seats(MAX_SEATS, rich), Err(ChangeError::TooMany));
        assert_eq!(alone.for_seats(11, Some((price("1.00 EUR"), Credits::ZERO))), Err(ChangeError::Currency));
    }

    #[test]
    fn what_costs_more_is_due_for_the_time_that_is_left() {
        let (solo, business) = (plan("solo", "10.00 USD", "100", 1), plan("business", "100.00 USD", "1500", 10));
        let twelve = business.for_seats(12, Some(offered())).unwrap();
        // From, to, when; what is due, what of it is for seats, the credits.
        let cases = [
            (&solo, &business, "2026-01-01T00:00:00Z", "90.00 USD", None, "1400"),
            (&solo, &business, "2025-12-31T23:59:58Z", "90.00 USD", None, "1400"),
            (&solo, &business, "2026-01-16T12:00:00Z", "45.00 USD", None, "700"),
            (&solo, &business, "2026-01-31T23:59:59Z", "0.00 USD", None, "0.000522"),
            (&solo, &business, "2026-01-11T00:00:00Z", "60.96 USD", None, "948.387096"),
            (&business, &twelve, "2026-01-11T00:00:00Z", "13.53 USD", Some("13.53 USD"), "203.225806"),
            // 90.00 × 21 ÷ 31 is 60.9677, 19.98 × 21 ÷ 31 is 13.5348: their sum has one cent more than both rounded down.
            (&solo, &twelve, "2026-01-11T00:00:00Z", "74.50 USD", Some("13.54 USD"), "1151.612903"),
        ];
        for (from, to, now, due, seats, more) in cases {
            let quote = Quote::of(from, to.clone(), (&month(), &month()), at(now)).unwrap();
            assert!(quote.at_once, "{now}");
            let for_seats = quote.seats_part.as_ref().map(|it| it.unit_price);
            assert_eq!((quote.due, for_seats, quote.credits), (price(due), seats.map(price), credits(more)), "{now}");
            let back = Quote::of(to, from.clone(), (&month(), &month()), at(now)).unwrap();
            assert_eq!(
                (back.at_once, back.due.is_zero(), back.credits, back.to),
                (false, true, Credits::ZERO, from.clone())
            );
        }
        let same = Quote::of(&business, business.clone(), (&month(), &month()), at("2026-01-11T00:00:00Z")).unwrap();
        assert_eq!((same.at_once, same.pending(&business), same.pending(&solo)), (false, None, Some(business.clone())));
        let euros = plan("eu", "100.00 EUR", "1500", 10);
        assert_eq!(
            Quote::of(&business, euros, (&month(), &month()), at("2026-01-11T00:00:00Z")),
            Err(ChangeError::Currency)
        );
    }

    #[test]
    fn what_costs_more_all_in_all_has_no_line_below_zero() {
        let (large, small) = (plan("large", "100.00 USD", "3000", 10), plan("small", "50.00 USD", "500", 1));
        let now = at("2026-01-01T00:00:00Z");
        let many = small.for_seats(21, Some((price("5.00 USD"), Credits::ZERO))).unwrap();
        let quote = Quote::of(&large, many, (&month(), &month()), now).unwrap();
        let part = quote.seats_part.unwrap();
        assert_eq!((quote.due, part.unit_price, part.seats), (price("50.00 USD"), price("50.00 USD"), 20));
        assert_eq!(quote.credits, Credits::ZERO, "there are fewer");
        let few = small.for_seats(3, Some((price("5.00 USD"), Credits::ZERO))).unwrap();
        let quote = Quote::of(&few, large, (&month(), &month()), now).unwrap();
        assert_eq!((quote.due, quote.seats_part), (price("40.00 USD"), None));
    }

    proptest! {
        /// Whatever changes and whenever: what is due is never more than the difference, and its lines are never below zero.
        #[test]
        fn parts_add_up(
            prices in prop::array::uniform2(0_i64..100_000),
            seats in prop::array::uniform2((0_u32..50, 1_i64..5_000)),
            after in 0_i64..2_678_400_000_000,
        ) {
            let terms = |n: usize| {
                let alone = Terms { price: Price::from_minor_units("USD".parse().unwrap(), prices[n]).unwrap(), ..plan("p", "0.00 USD", "7", 3) };
                let (count, cost) = seats[n];
                let cost = Price::from_minor_units("USD".parse().unwrap(), cost).unwrap();
                alone.for_seats(3 + count, Some((cost, credits("0.5")))).unwrap()
            };
            let (from, to) = (terms(0), terms(1));
            let now = Timestamp::from_micros(month().start.as_micros() + after).unwrap();
            let quote = Quote::of(&from, to.clone(), (&month(), &month()), now).unwrap();
            let more = to.price.micros() - from.price.micros();
            prop_assert_eq!(quote.at_once, more > 0);
            let left = i128::from(month().end.since(now).as_micros());
            let exact = i128::from(more.max(0)) * left / i128::from(month().end.since(month().start).as_micros());
            prop_assert_eq!(i128::from(quote.due.micros()), exact / 10_000 * 10_000);
            let part = quote.seats_part.map_or(0, |it| it.unit_price.micros());
            prop_assert!((0..=quote.due.micros()).contains(&part));
        }
    }
}
