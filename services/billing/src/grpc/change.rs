//! What `PreviewChange`, `ChangePlan` and `SetSeats` take and give.

use bursar_money::Price;
use bursar_proto::billing::v1 as pb;
use bursar_proto::google::r#type::Money;
use bursar_rpc::convert::{price, to_money, to_timestamp};
use bursar_rpc::{Stored, Violations};

use super::subscription::subscription;
use crate::domain::{Catalog, MAX_SEATS};
use crate::usecase::changing::{Change, Changed, Preview};

/// The longest id a plan can have.
const MAX_ID_BYTES: usize = 63;

/// Reads a change to a plan, or within the present one where that may be left out.
pub(super) fn preview(asked: &pb::PreviewChangeRequest, bad: &mut Violations) -> Change {
    let plan = (!asked.plan_id.is_empty()).then(|| plan(&asked.plan_id, bad));
    Change { plan, seats: seats(asked.seats, bad), expected: expected(asked.expected_due.as_ref(), bad) }
}

/// Reads a change to a plan.
pub(super) fn to_plan(asked: &pb::ChangePlanRequest, bad: &mut Violations) -> Change {
    bad.require("plan_id", !asked.plan_id.is_empty(), "must name one of the catalog");
    let plan = Some(plan(&asked.plan_id, bad));
    Change { plan, seats: seats(asked.seats, bad), expected: expected(asked.expected_due.as_ref(), bad) }
}

/// Reads a change of seats.
pub(super) fn to_seats(asked: &pb::SetSeatsRequest, bad: &mut Violations) -> Change {
    bad.require("seats", asked.seats > 0, "must be at least 1");
    Change { plan: None, seats: seats(asked.seats, bad), expected: expected(asked.expected_due.as_ref(), bad) }
}

fn plan(id: &str, bad: &mut Violations) -> String {
    bad.require("plan_id", id.len() <= MAX_ID_BYTES, "must be at most 63 bytes");
    bad.require("plan_id", id != Catalog::FREE, "must be another plan: to be on free, cancel the subscription");
    id.to_owned()
}

fn seats(seats: u32, bad: &mut Violations) -> Option<u32> {
    bad.require("seats", seats <= MAX_SEATS, &format!("must be at most {MAX_SEATS}"));
    (seats > 0).then_some(seats)
}

/// What is expected to be due, if anything is.
fn expected(due: Option<&Money>, bad: &mut Violations) -> Option<Price> {
    let due = bad.check("expected_due", price(due?))?;
    bad.require("expected_due", !due.is_negative(), "must not be negative");
    Some(due)
}

/// The payment is shown as it is when the answer is given: of it the id alone is kept.
impl Stored for Changed {
    type Message = pb::ChangePlanResponse;
    fn to_message(&self) -> pb::ChangePlanResponse {
        let payment = self.payment.map(|id| pb::Payment { id: id.to_string(), ..Default::default() });
        pb::ChangePlanResponse { subscription: Some(subscription(&self.subscription)), payment }
    }
}

/// What a change would take.
pub(super) fn previewed(preview: &Preview) -> pb::PreviewChangeResponse {
    let Preview { quote, bill, at } = preview;
    let none = Price::zero(quote.due.currency());
    let total = bill.as_ref().map_or(quote.due, |bill| bill.total);
    pb::PreviewChangeResponse {
        due: Some(to_money(quote.due)),
        tax: Some(to_money(total.checked_sub(quote.due).unwrap_or(none))),
        total: Some(to_money(total)),
        credits: quote.credits.to_string(),
        effective_at: Some(to_timestamp(*at)),
        next_price: Some(to_money(quote.to.price)),
        next_credits: quote.to.credits.to_string(),
        seats: quote.to.seats,
        waived: Some(to_money(quote.waived)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(units: i64) -> Money {
        Money { currency_code: "USD".to_owned(), units, nanos: 0 }
    }

    /// A plan, seats and what is expected to be due; the fields that are bad.
    type Case<'a> = (&'a str, u32, Option<Money>, &'a [&'a str]);

    #[test]
    fn every_bad_field_is_named() {
        let long = "x".repeat(64);
        let odd = Some(Money { currency_code: "usd".to_owned(), ..usd(1) });
        let cases: [Case<'_>; 8] = [
            ("business", 0, None, &[]),
            ("business", 100_000, Some(usd(0)), &[]),
            ("", 100_001, None, &["plan_id", "seats"]),
            ("free", 1, None, &["plan_id"]),
            (&long, 1, None, &["plan_id"]),
            ("business", 1, Some(usd(-1)), &["expected_due"]),
            ("business", u32::MAX, odd.clone(), &["expected_due", "seats"]),
            ("", 0, odd, &["expected_due", "plan_id"]),
        ];
        for (plan_id, seats, expected_due, expected) in cases {
            let asked =
                pb::ChangePlanRequest { plan_id: plan_id.to_owned(), seats, expected_due, ..Default::default() };
            let mut bad = Violations::new();
            to_plan(&asked, &mut bad);
            assert_eq!(fields(bad), expected, "{asked:?}");
        }
        let none = pb::SetSeatsRequest::default();
        let mut bad = Violations::new();
        to_seats(&none, &mut bad);
        assert_eq!(fields(bad), ["seats"]);
        let present = pb::PreviewChangeRequest { seats: 3, ..Default::default() };
        let mut bad = Violations::new();
        let read = preview(&present, &mut bad);
        assert_eq!(read, Change { plan: None, seats: Some(3), expected: None });
        assert!(bad.is_empty());
    }

    fn fields(bad: Violations) -> Vec<String> {
        let fields = bad.finish().err().map(|problem| problem.fields().to_vec()).unwrap_or_default();
        let mut names: Vec<_> = fields.into_iter().map(|(field, _)| field).collect();
        names.sort();
        names.dedup();
        names
    }
}
