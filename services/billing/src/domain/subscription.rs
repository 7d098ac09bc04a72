//! Subscriptions: an owner's plan and the months it is paid for.
//!
//! Months are counted from the anchor, the instant at which the subscription began: from 31 January
//! they go to 28 February and 31 March. Nothing here touches credits; the allowance of each month is
//! a lot of its own, with the month's dates.

use std::fmt;
use std::str::FromStr;

use bursar_id::{OwnerId, SubscriptionId};
use bursar_money::{Credits, Price};
use bursar_time::Timestamp;

use super::catalog::{Plan, ProductId};
use super::lot::Lot;
use super::refusal::Inconsistent;

/// Months that a subscription is said to be behind at most: a century's.
const MOST_BEHIND: u32 = 1_200;

/// One month of a subscription: `[start, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Month {
    /// 0 for the first.
    pub number: u32,
    /// Its first instant.
    pub start: Timestamp,
    /// The first instant after it: the start of the next.
    pub end: Timestamp,
}

impl Month {
    /// The `number`-th month counted from `anchor`. Each begins on the anchor's day of the month at the
    /// anchor's time of day (UTC), or on the last day of a month that is too short.
    pub fn anchored(anchor: Timestamp, number: u32) -> Self {
        Self {
            number,
            start: anchor.add_months_anchored(number),
            end: anchor.add_months_anchored(number.saturating_add(1)),
        }
    }

    /// Whether it is going on at `time`.
    pub fn contains(&self, time: Timestamp) -> bool {
        (self.start..self.end).contains(&time)
    }
}

/// Where a subscription is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubscriptionState {
    /// Paid for until the month's end, and renewed then.
    Active,
    /// Over for good; the owner is on the free plan or has another subscription.
    Ended,
}

impl SubscriptionState {
    /// The stored name, which is the API's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::Ended => "ENDED",
        }
    }
}

impl fmt::Display for SubscriptionState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SubscriptionState {
    type Err = Inconsistent;

    fn from_str(text: &str) -> Result<Self, Inconsistent> {
        [Self::Active, Self::Ended]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or(Inconsistent("a subscription has an unknown state"))
    }
}

/// An owner's plan with the terms that were agreed: a catalog edit never touches them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Its id.
    pub id: SubscriptionId,
    /// Whose it is.
    pub owner: OwnerId,
    /// The plan.
    pub plan: ProductId,
    /// Where it is in its life.
    pub state: SubscriptionState,
    /// What a month costs.
    pub price: Price,
    /// The month's allowance; zero for none.
    pub credits: Credits,
    /// How many members and pending invitations an organization may have.
    pub seats: u32,
    /// How each month is paid, as the payment provider knows it.
    pub payment_method: String,
    /// The provider's name for the last payment.
    pub payment_reference: String,
    /// When it began; the months are counted from here.
    pub started_at: Timestamp,
    /// The month that is paid for last.
    pub month: Month,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
}

/// A month's payment: with what, and the provider's name for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paid {
    /// The payment method.
    pub method: String,
    /// The payment.
    pub reference: String,
}

impl Subscription {
    /// Begins at `at` with the plan's terms, its price among them, and a first month that is paid for.
    pub fn begin(id: SubscriptionId, owner: OwnerId, (plan, price): (&Plan, Price), paid: Paid, at: Timestamp) -> Self {
        Self {
            id,
            owner,
            plan: plan.id.clone(),
            state: SubscriptionState::Active,
            price,
            credits: plan.credits,
            seats: plan.seats,
            payment_method: paid.method,
            payment_reference: paid.reference,
            started_at: at,
            month: Month::anchored(at, 0),
            ended_at: None,
        }
    }

    /// Whether its month is over at `now` and the next one has to be paid.
    pub fn is_due(&self, now: Timestamp) -> bool {
        self.state == SubscriptionState::Active && self.month.end <= now
    }

    /// How many months at `now` are over or have begun that nobody has paid for.
    pub fn months_behind(&self, now: Timestamp) -> u32 {
        let first = self.month.number;
        let behind = (first..=first.saturating_add(MOST_BEHIND))
            .take_while(|it| Month::anchored(self.started_at, *it).end <= now);
        if self.is_due(now) { u32::try_from(behind.count()).unwrap_or(u32::MAX) } else { 0 }
    }

    /// Whether more than one month would have to be made up for at `now`: by one machine's clock alone only one is. Another
    /// clock or somebody who knows has to say that so much time has passed, or a wrong clock would pay for it (product.md,
    /// "Subscriptions"; `usecase/renewals.rs`).
    pub fn is_held(&self, now: Timestamp) -> bool {
        self.is_due(now) && self.next_month().end <= now
    }

    /// The month after the one that is paid for.
    pub fn next_month(&self) -> Month {
        Month::anchored(self.started_at, self.month.number.saturating_add(1))
    }

    /// The same subscription with its next month paid.
    #[must_use]
    pub fn renewed(&self, reference: String) -> Self {
        Self { month: self.next_month(), payment_reference: reference, ..self.clone() }
    }

    /// The subscription as it ends here at `at` and goes on as `to`'s: the same one, with its months, terms and payment.
    #[must_use]
    pub fn moved(&self, to: OwnerId, at: Timestamp) -> (Self, Self) {
        (self.ended(at), Self { owner: to, ..self.clone() })
    }

    /// Whether a lot is what the month that is paid for last included.
    pub fn includes(&self, lot: &Lot) -> bool {
        lot.terms.origin.subscription == Some((self.id, self.month.number))
    }

    /// The same subscription, over since the month that is paid for ended.
    #[must_use]
    pub fn lapsed(&self) -> Self {
        self.ended(self.month.end)
    }

    /// The same subscription, going on as if it had not ended.
    #[must_use]
    pub fn revived(&self) -> Self {
        Self { state: SubscriptionState::Active, ended_at: None, ..self.clone() }
    }

    /// The same subscription, over since `at`.
    #[must_use]
    pub fn ended(&self, at: Timestamp) -> Self {
        Self { state: SubscriptionState::Ended, ended_at: Some(at), ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn months_keep_the_anchor_day_where_the_month_has_it() {
        let cases = [
            ("2026-01-31T10:00:00Z", ["2026-02-28T10:00:00Z", "2026-03-31T10:00:00Z", "2026-04-30T10:00:00Z"]),
            ("2028-01-31T00:00:00Z", ["2028-02-29T00:00:00Z", "2028-03-31T00:00:00Z", "2028-04-30T00:00:00Z"]),
            ("2026-01-30T00:00:00Z", ["2026-02-28T00:00:00Z", "2026-03-30T00:00:00Z", "2026-04-30T00:00:00Z"]),
            (
                "2026-11-30T23:59:59.999999Z",
                ["2026-12-30T23:59:59.999999Z", "2027-01-30T23:59:59.999999Z", "2027-02-28T23:59:59.999999Z"],
            ),
            ("2026-01-15T12:30:00Z", ["2026-02-15T12:30:00Z", "2026-03-15T12:30:00Z", "2026-04-15T12:30:00Z"]),
        ];
        for (anchor, ends) in cases {
            for (number, end) in (0..).zip(ends) {
                assert_eq!(Month::anchored(at(anchor), number).end, at(end), "month {number} from {anchor}");
            }
        }
    }

    #[test]
    fn a_month_begins_and_does_not_end_with_its_bounds() {
        let month = Month::anchored(at("2026-01-31T10:00:00Z"), 1);
        assert!(month.contains(at("2026-02-28T10:00:00Z")), "its start is in it");
        assert!(month.contains(at("2026-03-31T09:59:59.999999Z")));
        assert!(!month.contains(at("2026-03-31T10:00:00Z")), "its end is in the next");
    }

    #[test]
    fn one_month_is_made_up_for_by_itself_and_more_are_held() {
        let began = at("2026-01-31T10:00:00Z");
        let price = Price::from_micros("USD".parse().unwrap(), 100_000_000).unwrap();
        let subscription = Subscription {
            id: bursar_id::Id::from_parts(1, [1; 10]),
            owner: OwnerId::User(bursar_id::Id::from_parts(1, [1; 10])),
            plan: ProductId::parse("business").unwrap(),
            state: SubscriptionState::Active,
            price,
            credits: Credits::ZERO,
            seats: 1,
            payment_method: String::new(),
            payment_reference: String::new(),
            started_at: began,
            month: Month::anchored(began, 0),
            ended_at: None,
        };
        let cases = [
            ("2026-02-28T09:59:59Z", 0, false),
            ("2026-02-28T10:00:00Z", 1, false),
            ("2026-03-31T09:59:59Z", 1, false),
            ("2026-03-31T10:00:00Z", 2, true),
            ("2027-03-07T10:00:00Z", 13, true),
            ("9999-01-01T00:00:00Z", MOST_BEHIND + 1, true),
        ];
        for (now, behind, held) in cases {
            assert_eq!((subscription.months_behind(at(now)), subscription.is_held(at(now))), (behind, held), "{now}");
        }
        assert!(!subscription.lapsed().is_held(at("2027-03-07T10:00:00Z")), "what is over waits for nobody");
    }

    proptest! {
        /// Against jiff's calendar: the day is the anchor's or the month's last, and nothing is missed or doubled.
        #[test]
        fn months_follow_one_another_without_gaps(seconds in 0_i64..4_102_444_800, number in 0_u32..600) {
            let anchor = Timestamp::from_unix_secs(seconds).unwrap();
            let month = Month::anchored(anchor, number);
            prop_assert!(month.start < month.end);
            prop_assert_eq!(month.end, Month::anchored(anchor, number + 1).start);

            let civil = |time: Timestamp| {
                let time = jiff::Timestamp::from_microsecond(time.as_micros()).unwrap();
                time.to_zoned(jiff::tz::TimeZone::UTC).datetime()
            };
            let (began, starts) = (civil(anchor), civil(month.start));
            let months = |date: jiff::civil::DateTime| i32::from(date.year()) * 12 + i32::from(date.month());
            prop_assert_eq!(months(starts) - months(began), i32::try_from(number).unwrap());
            prop_assert_eq!(starts.day(), began.day().min(starts.days_in_month()));
            prop_assert_eq!(starts.time(), began.time());
        }
    }
}
