//! What is due for a change and is less than its provider takes: nobody is asked for it, and the change is made.
//!
//! No credits come with that: they are a part of the period's as what is due is a part of its price. What it is for besides (its plan,
//! its seats) it is at once, and the next period is paid as a whole; what is waived in a month is less than one payment in all. (What
//! is due for less than a cent is rounded down to nothing as ever, `change.rs`, and waives nothing.)

use bursar_money::{Credits, Price};

use super::change::Quote;
use super::subscription::Subscription;

impl Quote {
    /// Whether what is due for a change of this subscription may be waived: a part of a period after which no month begins that is
    /// paid for already, or granted before it is paid, and would have more credits.
    pub fn is_waivable(&self, of: &Subscription) -> bool {
        let is_a_part = self.at_once && self.to.interval == of.interval();
        is_a_part
            && !self.due.is_zero()
            && (self.to.credits <= of.credits || (of.month.end >= of.paid_until() && !self.to.grant_in_grace))
    }

    /// The same for nothing: what would be due is waived, and brings no credits.
    #[must_use]
    pub fn waiving(self) -> Self {
        let due = Price::zero(self.due.currency());
        Self { waived: self.due, due, seats_part: None, credits: Credits::ZERO, ..self }
    }
}

#[cfg(test)]
mod tests {
    use bursar_time::Timestamp;

    use super::*;
    use crate::domain::tests::begun;
    use crate::domain::{Interval, Terms};

    const BEGIN: &str = "2026-01-31T10:00:00Z";
    /// An hour before the first month's end.
    const LATE: &str = "2026-02-28T09:00:00Z";

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn quote(of: &Subscription, to: Terms) -> Quote {
        Quote::of(&of.terms(), to, (&of.month, &of.paid_period()), at(LATE)).unwrap()
    }

    fn dearer(of: &Subscription, more: &str, credits: &str) -> Terms {
        let terms = of.terms();
        let price = terms.price.checked_add(more.parse().unwrap()).unwrap();
        Terms { price, credits: credits.parse().unwrap(), ..terms }
    }

    /// The same by the year.
    fn yearly(of: &Subscription) -> Subscription {
        of.begun_anew(&Terms { interval: Interval::Year, ..of.terms() }, String::new(), at(BEGIN))
    }

    #[test]
    fn what_is_waived_is_told_and_brings_no_credits() {
        let of = begun("business", at(BEGIN));
        let asked = quote(&of, dearer(&of, "300.00 USD", "5500"));
        assert!(asked.is_waivable(&of) && !asked.credits.is_zero());
        let waived = asked.clone().waiving();
        assert_eq!((waived.waived, waived.due), (asked.due, Price::zero(asked.due.currency())));
        assert_eq!((waived.credits, &waived.seats_part, waived.at_once), (Credits::ZERO, &None, true));
        assert_eq!(waived.to, asked.to, "what it is from then on stays");
        assert!(!waived.is_waivable(&of), "nothing is due any more");
    }

    #[test]
    fn only_a_part_is_waived_and_none_that_months_with_more_credits_follow() {
        let of = begun("business", at(BEGIN));
        let cheaper = Terms { price: "1.00 USD".parse().unwrap(), ..of.terms() };
        assert!(!quote(&of, cheaper).is_waivable(&of), "nothing is due");
        let a_year = Terms { interval: Interval::Year, ..dearer(&of, "0.10 USD", "5500") };
        assert!(!quote(&of, a_year).is_waivable(&of), "it begins anew, and is paid as a whole");
        let year = yearly(&of);
        assert!(year.month.end < year.paid_until());
        assert!(!quote(&year, dearer(&year, "0.10 USD", "5500")).is_waivable(&year), "its months would bring more");
        let seats = Terms { credits: year.credits, ..dearer(&year, "0.10 USD", "5500") };
        assert!(quote(&year, seats).is_waivable(&year), "seats alone");
        let early = Terms { grant_in_grace: true, ..dearer(&of, "0.10 USD", "5500") };
        assert!(!quote(&of, early).is_waivable(&of), "the next month's would come before they are paid");
    }
}
