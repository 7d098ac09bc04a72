//! Automatic top-ups: a pack that is bought by itself where fewer credits are available than there are to be.
//!
//! Two rules. **Crossing**: a decision that leaves less than the threshold where there was as much or more before has the account
//! looked at ([`AccountState::is_topped_up`]). **Looking** ([`AutoTopUp::next`]): as long as what is available and what is on
//! its way come to less than the threshold, a pack is bought, at most one in a cool-down, whatever becomes of it, and at most
//! for so much money in a calendar month. So nobody pays twice for one crossing, a pack that brings less than the threshold
//! (or less than what is owed) is bought again an hour later at the soonest, and never above the ceiling.
//!
//! How it is paid, and who is told, do not belong here.

use std::fmt;
use std::str::FromStr;

use bursar_money::{Credits, Price};
use bursar_time::{Span, Timestamp};

use super::catalog::ProductId;
use super::refusal::Inconsistent;
use super::state::AccountState;

/// How many attempts in a row may come to nothing: then it is switched off.
pub const MOST_DECLINES: u32 = 3;

/// What an account's managers have set of its top-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutoTopUp {
    /// Whether it is on.
    pub enabled: bool,
    /// Below how many available credits a pack is bought: above zero.
    pub threshold: Credits,
    /// Which pack.
    pub pack: ProductId,
    /// How much it may cost in a calendar month, net.
    pub ceiling: Price,
    /// With what it is paid: a saved payment method, the provider's own name for one, or nothing for the default.
    pub method: String,
    /// Who set it: `usr_…`.
    pub set_by: String,
    /// Why it is off although somebody had switched it on.
    pub stopped: Option<Stop>,
}

/// Why an automatic top-up was switched off by the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Too many attempts in a row were declined, or needed the customer.
    Declined,
    /// The catalog has no such pack any more, or none in the ceiling's currency.
    NoPack,
    /// The payment method is gone, and so is what it stood for.
    NoMethod,
    /// The organization has another owner.
    OwnerChanged,
    /// The subscription moved to an organization.
    SubscriptionMoved,
    /// The organization was deleted.
    Deleted,
}

impl Stop {
    /// Every reason.
    pub const ALL: [Self; 6] =
        [Self::Declined, Self::NoPack, Self::NoMethod, Self::OwnerChanged, Self::SubscriptionMoved, Self::Deleted];

    /// The API's word, which is stored, too.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Declined => "PAYMENT_DECLINED",
            Self::NoPack => "PACK_NOT_FOUND",
            Self::NoMethod => "PAYMENT_METHOD_REQUIRED",
            Self::OwnerChanged => "OWNER_CHANGED",
            Self::SubscriptionMoved => "SUBSCRIPTION_MOVED",
            Self::Deleted => "ORGANIZATION_DELETED",
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Stop {
    type Err = Inconsistent;

    fn from_str(text: &str) -> Result<Self, Inconsistent> {
        let found = Self::ALL.into_iter().find(|it| it.as_str() == text);
        found.ok_or(Inconsistent("a top-up was switched off for an unknown reason"))
    }
}

/// How an account's top-ups stand when it is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopUpSituation {
    /// What can be spent now.
    pub available: Credits,
    /// What will be there when all purchases under way are paid, less what is owed of it.
    pub pending: Credits,
    /// Whether the account has room for one more lot, and for one more payment that is open: nobody pays for what could not be
    /// delivered.
    pub has_room: bool,
    /// When the last attempt began, whatever became of it.
    pub attempted_at: Option<Timestamp>,
    /// What top-ups have cost in this month, and will where they are not paid yet.
    pub spent: Price,
    /// When this month ends.
    pub month_end: Timestamp,
}

/// What is to be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TopUpStep {
    /// Nothing: there is enough, or there will be.
    Enough,
    /// It is looked at again then: the cool-down is not over, or there is no room.
    Wait(Timestamp),
    /// It is looked at again then: no more may be spent before.
    Ceiling(Timestamp),
    /// A pack is bought now.
    Buy,
}

impl AutoTopUp {
    /// Whether it says the same as another one, whoever said it.
    pub fn says_what(&self, other: &Self) -> bool {
        let of = |it: &Self| (it.enabled, it.threshold, it.pack.clone(), it.ceiling, it.method.clone());
        of(self) == of(other)
    }

    /// Below what it tops up, if it is on.
    pub fn below(&self) -> Option<Credits> {
        self.enabled.then_some(self.threshold)
    }

    /// What is to be done at `now`, where the pack costs `price`, which is in the ceiling's currency.
    pub fn next(&self, price: Price, it: &TopUpSituation, cool_down: Span, now: Timestamp) -> TopUpStep {
        let there = it.available.checked_add(it.pending);
        if there.is_none_or(|there| there >= self.threshold) {
            return TopUpStep::Enough;
        }
        if let Some(until) = it.attempted_at.and_then(|at| cools_until(at, cool_down, now)) {
            return TopUpStep::Wait(until);
        }
        if !it.has_room {
            return TopUpStep::Wait(next_slot(now, cool_down));
        }
        let fits = it.spent.checked_add(price).is_ok_and(|sum| sum.micros() <= self.ceiling.micros());
        if fits { TopUpStep::Buy } else { TopUpStep::Ceiling(it.month_end) }
    }
}

/// The first multiple of a span since the epoch that is after `now`: one time for everybody who looks before it. However often
/// an account falls below while it has to wait, it is looked at once then.
pub fn next_slot(now: Timestamp, span: Span) -> Timestamp {
    let step = span.as_micros().max(1);
    let left = step - now.as_micros().rem_euclid(step);
    now.saturating_add(Span::from_micros(left).unwrap_or(span))
}

/// Until when no other attempt may follow the one that began at `at`; `None` if one may now. An attempt that is further ahead
/// than a cool-down lasts was dated by a clock that was wrong, and says nothing.
fn cools_until(at: Timestamp, cool_down: Span, now: Timestamp) -> Option<Timestamp> {
    let until = at.saturating_add(cool_down);
    (now < until && at <= now.saturating_add(cool_down)).then_some(until)
}

/// Deciding.
impl AccountState {
    /// Whether the account had as much at `at` as its top-up wants; `false` where it has none.
    pub(super) fn is_topped_up(&self, at: Timestamp) -> bool {
        self.account.top_up_below.is_some_and(|below| self.spendable(at) >= below)
    }
}

#[cfg(test)]
mod tests {
    use bursar_money::Currency;

    use super::*;

    const NOW: &str = "2026-01-15T12:00:00Z";
    const MONTH_END: &str = "2026-02-01T00:00:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn credits(text: &str) -> Credits {
        text.parse().unwrap()
    }

    fn usd(units: i64) -> Price {
        Price::from_units_nanos(Currency::USD, units, 0).unwrap()
    }

    fn set() -> AutoTopUp {
        AutoTopUp {
            enabled: true,
            threshold: credits("100"),
            pack: ProductId::parse("starter").unwrap(),
            ceiling: usd(60),
            method: String::new(),
            set_by: "usr_1".to_owned(),
            stopped: None,
        }
    }

    fn having(available: &str, pending: &str) -> TopUpSituation {
        TopUpSituation {
            available: credits(available),
            pending: credits(pending),
            has_room: true,
            attempted_at: None,
            spent: usd(0),
            month_end: at(MONTH_END),
        }
    }

    fn step(it: &TopUpSituation) -> TopUpStep {
        set().next(usd(20), it, Span::HOUR, at(NOW))
    }

    #[test]
    fn what_is_on_its_way_counts_as_if_it_were_there() {
        for (available, pending, bought) in [
            ("100", "0", false),
            ("99.999999", "0", true),
            ("0", "0", true),
            ("99.999999", "0.000001", false),
            ("0", "99.999999", true),
            ("0", "300", false),
            ("1000000000000", "1000000000000", false),
        ] {
            let wanted = if bought { TopUpStep::Buy } else { TopUpStep::Enough };
            assert_eq!(step(&having(available, pending)), wanted, "{available} and {pending}");
        }
    }

    #[test]
    fn one_attempt_a_cool_down_whatever_the_clock_did() {
        let until = "2026-01-15T12:00:00.000001Z";
        for (attempted_at, wanted) in [
            ("2026-01-15T11:00:00Z", TopUpStep::Buy),
            ("2026-01-15T11:00:00.000001Z", TopUpStep::Wait(at(until))),
            ("2026-01-15T12:00:00Z", TopUpStep::Wait(at("2026-01-15T13:00:00Z"))),
            ("2026-01-15T13:00:00Z", TopUpStep::Wait(at("2026-01-15T14:00:00Z"))),
            // Dated by a clock that was ahead.
            ("2026-01-15T13:00:00.000001Z", TopUpStep::Buy),
            ("9999-12-31T23:59:59Z", TopUpStep::Buy),
        ] {
            let it = TopUpSituation { attempted_at: Some(at(attempted_at)), ..having("0", "0") };
            assert_eq!(step(&it), wanted, "{attempted_at}");
        }
        let full = TopUpSituation { has_room: false, ..having("0", "0") };
        assert_eq!(step(&full), TopUpStep::Wait(at("2026-01-15T13:00:00Z")), "nobody pays for what has no room");
        // With enough there is nothing to wait for.
        let enough = TopUpSituation { attempted_at: Some(at(NOW)), ..having("100", "0") };
        assert_eq!(step(&enough), TopUpStep::Enough);
    }

    #[test]
    fn the_ceiling_is_exact_and_never_exceeded() {
        let cent = Price::from_minor_units(Currency::USD, 1).unwrap();
        let most = Price::from_micros(Currency::USD, i64::MAX).unwrap_or_else(|_| usd(1_000_000_000));
        for (spent, fits) in [
            (usd(0), true),
            (usd(40), true),
            (usd(40).checked_add(cent).unwrap(), false),
            (usd(60), false),
            (usd(61), false),
            (most, false),
        ] {
            let wanted = if fits { TopUpStep::Buy } else { TopUpStep::Ceiling(at(MONTH_END)) };
            assert_eq!(step(&TopUpSituation { spent, ..having("0", "0") }), wanted, "{spent}");
        }
    }

    #[test]
    fn reasons_are_words_that_are_read_again() {
        for stop in Stop::ALL {
            assert_eq!(stop.as_str().parse(), Ok(stop));
        }
        "NONE".parse::<Stop>().unwrap_err();
    }

    #[test]
    fn who_says_it_makes_no_difference_to_what_it_says() {
        let other = AutoTopUp { set_by: "usr_2".to_owned(), stopped: Some(Stop::Declined), ..set() };
        assert!(set().says_what(&other) && set() != other);
        assert!(!set().says_what(&AutoTopUp { enabled: false, ..set() }));
        assert_eq!((set().below(), AutoTopUp { enabled: false, ..set() }.below()), (Some(credits("100")), None));
    }
}
