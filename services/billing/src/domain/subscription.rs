//! Subscriptions: an owner's plan and the months it is paid for.
//!
//! Months are counted from the anchor, the instant at which the subscription began: from 31 January
//! they go to 28 February and 31 March. Nothing here touches credits; the allowance of each month is
//! a lot of its own, with the month's dates. Whoever pays by the year has paid for months to come ([`Prepaid`]).

use std::fmt;
use std::str::FromStr;

use bursar_id::{OwnerId, PaymentId, SubscriptionId};
use bursar_money::{Credits, Price, PriceError};
use bursar_time::{Span, Timestamp};

use super::catalog::ProductId;
use super::change::{ExtraSeats, Terms};
use super::contract::Features;
use super::included::Included;
use super::interval::{Interval, Prepaid};
use super::payment::{Bought, Payment};
use super::refusal::Inconsistent;

/// How many days after the end of the last paid month its next one is tried again.
const RETRY_AFTER_DAYS: [u64; 4] = [1, 3, 5, 7];

/// How many days after that nobody is waited for any more, but for what is neither paid nor declined.
const LATE_AFTER: Span = Span::from_days(7);

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
    /// Its month is over and the next one is not paid: it is tried again, and what the plan allows stays.
    PastDue,
    /// It begins once its first payment is there; nothing is granted yet.
    Incomplete,
    /// Over for good; the owner is on the free plan or has another subscription.
    Ended,
}

impl SubscriptionState {
    /// The stored name, which is the API's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "ACTIVE",
            Self::PastDue => "PAST_DUE",
            Self::Incomplete => "INCOMPLETE",
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
        [Self::Active, Self::PastDue, Self::Incomplete, Self::Ended]
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
    /// What an interval costs, extra seats included.
    pub price: Price,
    /// The month's allowance, that of extra seats included; zero for none.
    pub credits: Credits,
    /// How many members and pending invitations an organization may have.
    pub seats: u32,
    /// Those of the seats that the plan does not include.
    pub extra: Option<ExtraSeats>,
    /// What its contract includes; `None` where it has none, and includes what its plan does.
    pub features: Option<Features>,
    /// What its plan includes, as it was sold; `None` where an earlier program has not kept it.
    pub included: Option<Box<Included>>,
    /// How many credits of a month that is over are there for one more at most; `None` for none.
    pub rollover: Option<Credits>,
    /// Whether a month's allowance is there from its boundary on although its payment is late.
    pub grant_in_grace: bool,
    /// How each month is paid, as the payment provider knows it.
    pub payment_method: String,
    /// The last payment, by its id; of old periods the provider's name for it.
    pub payment_reference: String,
    /// When it began; the months are counted from here, unless `prepaid` says otherwise.
    pub started_at: Timestamp,
    /// The month that it is in: the one that was begun last.
    pub month: Month,
    /// Until when it is paid for, where that is not just that month; `None` where it never was paid by the year.
    pub prepaid: Option<Prepaid>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// How often the next month was tried and not paid.
    pub failures: u32,
    /// When it is tried again; `None` unless that has happened.
    pub next_retry_at: Option<Timestamp>,
    /// Whether it ends with what is paid for instead of being renewed.
    pub cancel_at_period_end: bool,
    /// What it is to be after what is paid for, where that is something else.
    pub pending: Option<Terms>,
    /// How often it was changed, or a change was planned or taken back: whoever has read it before is overtaken.
    pub changes: u32,
}

impl Subscription {
    /// The subscription that a payment begins at `at`, with a first month that is paid for; `None` where the payment is for
    /// something else.
    pub fn begun(payment: &Payment, at: Timestamp) -> Option<Self> {
        let Bought::Start {
            subscription,
            plan,
            credits,
            seats,
            interval,
            features,
            included,
            rollover,
            grant_in_grace,
            contract: _,
        } = &payment.bought
        else {
            return None;
        };
        let year = || Prepaid::beginning(*interval, (at, 0), 0, payment.net());
        Some(Self {
            id: *subscription,
            owner: payment.owner,
            plan: plan.clone(),
            state: SubscriptionState::Active,
            price: payment.net(),
            credits: *credits,
            seats: *seats,
            extra: None,
            features: *features,
            included: included.clone(),
            rollover: *rollover,
            grant_in_grace: *grant_in_grace,
            payment_method: payment.method.clone(),
            payment_reference: payment.id.to_string(),
            started_at: at,
            month: Month::anchored(at, 0),
            prepaid: (*interval == Interval::Year).then(year),
            ended_at: None,
            failures: 0,
            next_retry_at: None,
            cancel_at_period_end: false,
            pending: None,
            changes: 0,
        })
    }

    /// The subscription that begins once its payment is there, as it would be if that had been so at once.
    pub fn incomplete(payment: &Payment) -> Option<Self> {
        let begun = Self::begun(payment, payment.created_at)?;
        Some(Self { state: SubscriptionState::Incomplete, ..begun })
    }

    /// The last payment, if it has an id.
    pub fn payment(&self) -> Option<PaymentId> {
        self.payment_reference.parse().ok()
    }

    /// Whether its month is over at `now` and the next one has to be paid.
    pub fn is_due(&self, now: Timestamp) -> bool {
        match self.state {
            SubscriptionState::Active => self.month.end <= now,
            SubscriptionState::PastDue => self.next_retry_at.is_none_or(|retry| retry <= now),
            SubscriptionState::Incomplete | SubscriptionState::Ended => false,
        }
    }

    /// How many months at `now` are over or have begun that nobody has paid for.
    pub fn months_behind(&self, now: Timestamp) -> u32 {
        let (anchor, first) = self.counted();
        let behind =
            (first..=first.saturating_add(MOST_BEHIND)).take_while(|it| Month::anchored(anchor, *it).end <= now);
        if self.is_due(now) { u32::try_from(behind.count()).unwrap_or(u32::MAX) } else { 0 }
    }

    /// Whether more than one month would have to be made up for at `now`: by itself only one is. Somebody has to say that the
    /// others are to be paid for (product.md, "Subscriptions"; `usecase/renewals.rs`). Nothing is paid for one that ends.
    pub fn is_held(&self, now: Timestamp) -> bool {
        let ends = self.cancel_at_period_end && !self.is_next_paid();
        !ends && self.is_due(now) && self.next_month().end <= now
    }

    /// Whether it is due at `now`, and was before the day on which its next month would be tried for the last time: where that is
    /// not held, nobody can say whether it is paid.
    pub fn is_late(&self, now: Timestamp) -> bool {
        self.is_due(now) && self.month.end.saturating_add(LATE_AFTER) <= now
    }

    /// The month after the one that it is in.
    pub fn next_month(&self) -> Month {
        let number = self.month.number.saturating_add(1);
        self.prepaid.map_or_else(|| Month::anchored(self.started_at, number), |it| it.month(number))
    }

    /// Whether that month is paid for already.
    pub fn is_next_paid(&self) -> bool {
        self.prepaid.is_some_and(|it| it.next().is_some())
    }

    /// How long one payment lasts.
    pub fn interval(&self) -> Interval {
        self.prepaid.map_or(Interval::Month, |it| it.interval)
    }

    /// When what is paid for ends.
    pub fn paid_until(&self) -> Timestamp {
        self.prepaid.map_or(self.month.end, |it| it.until())
    }

    /// What was paid for last, under the number of the month that it is in.
    pub fn paid_period(&self) -> Month {
        self.prepaid.map_or(self.month, |it| it.period())
    }

    /// What was paid for the month that it is in.
    pub fn paid_for_month(&self) -> Price {
        self.prepaid.map_or(self.price, |it| it.part)
    }

    /// From where its months are counted, and how many of them come before the one that it is in.
    pub fn counted(&self) -> (Timestamp, u32) {
        let from_beginning = (self.started_at, self.month.number);
        self.prepaid.map_or(from_beginning, |it| (it.anchor, self.month.number.saturating_sub(it.first)))
    }

    /// Whether the month that it is in is paid for, and has not ended at `now`.
    pub fn is_paid_for(&self, now: Timestamp) -> bool {
        self.state == SubscriptionState::Active && !self.is_due(now)
    }

    /// Whether it can be changed at `now`: it is paid for, and goes on after that.
    pub fn is_changeable(&self, now: Timestamp) -> bool {
        self.is_paid_for(now) && !self.cancel_at_period_end
    }

    /// The same subscription on other terms from now on.
    #[must_use]
    pub fn changed(&self, to: &Terms) -> Self {
        Self { changes: self.changes.saturating_add(1), ..self.on(to.clone()) }
    }

    /// The same subscription after so much more was paid for the time that is paid for; a part of it was for its month, and is
    /// a lot of its own.
    ///
    /// # Errors
    /// Another currency's, or more than there can be.
    pub fn having_paid(self, due: Price, for_month: Price) -> Result<Self, PriceError> {
        let more = due.checked_sub(for_month)?;
        let prepaid = self.prepaid.map(|it| it.with_more(more)).transpose()?;
        Ok(Self { prepaid, ..self })
    }

    /// The same subscription on the terms of a year, which begins at `at` with months of its own, paid by `reference`.
    #[must_use]
    pub fn begun_anew(&self, to: &Terms, reference: String, at: Timestamp) -> Self {
        let number = self.month.number.saturating_add(1);
        let prepaid = Prepaid::beginning(to.interval, (at, number), number, to.price);
        Self { month: prepaid.month(number), prepaid: Some(prepaid), payment_reference: reference, ..self.changed(to) }
    }

    /// The same subscription in its next month, which is paid for already; `None` where it is not.
    #[must_use]
    pub fn gone_on(&self) -> Option<Self> {
        let prepaid = self.prepaid?.next()?;
        Some(Self { month: self.next_month(), prepaid: Some(prepaid), ..self.clone() })
    }

    /// The same subscription, on other terms with its next month (`None`: on the present ones).
    #[must_use]
    pub fn planning(&self, pending: Option<Terms>) -> Self {
        Self { changes: self.changes.saturating_add(1), pending, ..self.clone() }
    }

    /// The same subscription with what comes after what is paid for: paid, on the terms that were planned for it.
    #[must_use]
    pub fn renewed(&self, reference: String) -> Self {
        let (month, terms) = (self.next_month(), self.next_terms());
        let never = self.prepaid.is_none() && terms.interval == Interval::Month;
        let from = self.prepaid.map_or((self.started_at, 0), |it| (it.anchor, it.first));
        let prepaid = Prepaid::beginning(terms.interval, from, month.number, terms.price);
        Self {
            state: SubscriptionState::Active,
            month,
            prepaid: (!never).then_some(prepaid),
            payment_reference: reference,
            failures: 0,
            next_retry_at: None,
            ..self.on(terms)
        }
    }

    /// The same subscription in its next month, if that is paid for or will have been; `None` where it ends instead.
    #[must_use]
    pub fn followed(&self) -> Option<Self> {
        let renewed = || (!self.cancel_at_period_end).then(|| self.renewed(self.payment_reference.clone()));
        self.gone_on().or_else(renewed)
    }

    /// The same subscription after its next month was tried and not paid: it is tried again so many days after the boundary,
    /// and not before `not_before`. `None` when that was the last time.
    pub fn not_paid(&self, not_before: Timestamp) -> Option<Self> {
        let days = *RETRY_AFTER_DAYS.get(usize::try_from(self.failures).ok()?)?;
        Some(Self {
            state: SubscriptionState::PastDue,
            failures: self.failures.saturating_add(1),
            next_retry_at: Some(self.month.end.saturating_add(Span::from_days(days)).max(not_before)),
            ..self.clone()
        })
    }

    /// The subscription as it ends here at `at` and goes on as `to`'s: the same one, with its months, terms and payment.
    #[must_use]
    pub fn moved(&self, to: OwnerId, at: Timestamp) -> (Self, Self) {
        (self.ended(at), Self { owner: to, ..self.clone() })
    }

    /// The same subscription, ending with the month that is paid for last or going on after it.
    #[must_use]
    pub fn canceling(&self, at_period_end: bool) -> Self {
        Self { cancel_at_period_end: at_period_end, ..self.clone() }
    }

    /// The same subscription, over since the month that is paid for ended, or since the next one was tried for the last time.
    #[must_use]
    pub fn lapsed(&self) -> Self {
        self.ended(self.next_retry_at.unwrap_or(self.month.end))
    }

    /// The same subscription, going on as if it had not ended.
    #[must_use]
    pub fn revived(&self) -> Self {
        Self { state: SubscriptionState::Active, ended_at: None, ..self.clone() }
    }

    /// The same subscription, over since `at`.
    #[must_use]
    pub fn ended(&self, at: Timestamp) -> Self {
        Self { state: SubscriptionState::Ended, ended_at: Some(at), next_retry_at: None, pending: None, ..self.clone() }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::tests::begun;

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
        let subscription = begun("business", began);
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
        assert!(!subscription.canceling(true).is_held(at("2027-03-07T10:00:00Z")), "nothing is paid for what ends");
        assert!(!subscription.lapsed().is_held(at("2027-03-07T10:00:00Z")), "what is over waits for nobody");

        // Not paid at the boundary, and 1, 3, 5 and 7 days after it.
        let mut it = subscription.clone();
        for retry in ["2026-03-01T10:00:00Z", "2026-03-03T10:00:00Z", "2026-03-05T10:00:00Z", "2026-03-07T10:00:00Z"] {
            it = it.not_paid(at("2026-02-28T10:00:00Z")).unwrap();
            assert_eq!((it.state, it.next_retry_at), (SubscriptionState::PastDue, Some(at(retry))));
            let before = at(retry).saturating_sub(Span::SECOND);
            assert_eq!((it.is_due(before), it.is_due(at(retry))), (false, true), "{retry}");
            assert_eq!(
                it.renewed(String::new()).month,
                subscription.next_month(),
                "a success is the month from its boundary"
            );
        }
        assert_eq!(it.not_paid(Timestamp::MIN), None, "five times are enough");
        assert_eq!(it.lapsed().ended_at, Some(at("2026-03-07T10:00:00Z")));
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
