//! What `SetContract` takes and gives.

use bursar_money::{Credits, Price};
use bursar_proto::billing::v1 as pb;
use bursar_proto::google::r#type::Money;
use bursar_rpc::convert::{optional_timestamp, price, to_money, to_timestamp};
use bursar_rpc::{Stored, Violations};
use bursar_time::Timestamp;

use super::catalog;
use super::subscription::subscription;
use crate::domain::{Catalog, Contract, Features, MAX_SEATS};
use crate::payment::Payments;
use crate::store::contracts::Waiting;
use crate::usecase::contracts::{Agreed, Deal, SetContract};

/// The longest id a plan can have.
const MAX_ID_BYTES: usize = 63;

/// Beyond any contract: taxes fit on top of it.
const MAX_PRICE_UNITS: i64 = 1_000_000_000;

/// How far ahead a contract may begin: ten years.
const MAX_MONTHS_AHEAD: u32 = 120;

/// Reads a contract and notes its bad fields.
pub(super) fn set_contract(
    (payments, now): (&Payments, Timestamp),
    asked: &pb::SetContractRequest,
    bad: &mut Violations,
) -> Option<SetContract> {
    bad.require("plan_id", !asked.plan_id.is_empty(), "must name one of the catalog");
    bad.require("plan_id", asked.plan_id.len() <= MAX_ID_BYTES, "must be at most 63 bytes");
    bad.require(
        "plan_id",
        asked.plan_id != Catalog::FREE,
        "must be another plan: to be on free, cancel the subscription",
    );
    let credits = bad.check("credits", asked.credits.parse::<Credits>());
    let seats = asked.seats;
    bad.require("seats", (1..=MAX_SEATS).contains(&seats), &format!("must be 1 to {MAX_SEATS}"));
    let price = price_of(asked.price.as_ref(), bad);
    let features = features_of(&asked.features, bad);
    let starts_at = bad.check("starts_at", optional_timestamp(asked.starts_at)).flatten();
    let latest = now.add_months_anchored(MAX_MONTHS_AHEAD);
    bad.require("starts_at", starts_at.is_none_or(|at| at <= latest), "must be at most ten years ahead");
    let method = bad.check("payment_method", payments.method_of_contract(&asked.payment_method));
    let contract =
        Contract { plan: asked.plan_id.clone(), credits: credits?, seats, price: price?, features: features? };
    Some(SetContract { deal: Deal::New(contract), method: method?, starts_at })
}

fn price_of(money: Option<&Money>, bad: &mut Violations) -> Option<Price> {
    let Some(money) = money else {
        bad.add("price", "must be given: zero for nothing");
        return None;
    };
    let price = bad.check("price", price(money))?;
    bad.require("price", !price.is_negative(), "must not be negative");
    bad.require("price", price.minor_units().is_some(), "must be whole in the currency's smallest unit");
    bad.require("price", price.units() <= MAX_PRICE_UNITS, "must be at most 1,000,000,000");
    Some(price)
}

/// Which features are named, however often.
fn features_of(named: &[i32], bad: &mut Violations) -> Option<Features> {
    let mut features = Features::default();
    for number in named {
        match pb::Feature::try_from(*number) {
            Ok(pb::Feature::Organizations) => features.organizations = true,
            Ok(pb::Feature::SingleSignOn) => features.single_sign_on = true,
            Ok(pb::Feature::Unspecified) | Err(_) => {
                bad.add("features", "must be FEATURE_ORGANIZATIONS and FEATURE_SINGLE_SIGN_ON at most");
                return None;
            }
        }
    }
    Some(features)
}

/// What was asked, as it is answered.
pub(super) fn asked(set: &SetContract) -> Option<pb::Contract> {
    let Deal::New(contract) = &set.deal else { return None };
    Some(pb::Contract {
        plan_id: contract.plan.clone(),
        credits: contract.credits.to_string(),
        seats: contract.seats,
        price: Some(to_money(contract.price)),
        features: catalog::features(contract.features),
        starts_at: set.starts_at.map(to_timestamp),
    })
}

/// A contract that begins later.
pub(super) fn waiting(waits: &Waiting) -> pb::Contract {
    pb::Contract {
        plan_id: waits.terms.plan.to_string(),
        credits: waits.terms.credits.to_string(),
        seats: waits.terms.seats,
        price: Some(to_money(waits.terms.price)),
        features: catalog::features(waits.terms.features.unwrap_or_default()),
        starts_at: Some(to_timestamp(waits.starts_at)),
    }
}

/// Of the payment the id alone is kept; the contract stands in the request.
impl Stored for Agreed {
    type Message = pb::SetContractResponse;
    fn to_message(&self) -> pb::SetContractResponse {
        let contract = self.waits.as_ref().map(waiting);
        let payment = self.payment.map(|id| pb::Payment { id: id.to_string(), ..Default::default() });
        let subscription = self.subscription.as_ref().map(|it| pb::Subscription { contract, ..subscription(it) });
        pb::SetContractResponse { contract: None, subscription, payment }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usd(units: i64, nanos: i32) -> Money {
        Money { currency_code: "USD".to_owned(), units, nanos }
    }

    fn good() -> pb::SetContractRequest {
        pb::SetContractRequest {
            plan_id: "enterprise".to_owned(),
            credits: "20000".to_owned(),
            seats: 100_000,
            price: Some(usd(900, 500_000_000)),
            features: vec![pb::Feature::SingleSignOn.into(), pb::Feature::SingleSignOn.into()],
            payment_method: "invoice".to_owned(),
            ..Default::default()
        }
    }

    fn read(asked: &pb::SetContractRequest) -> Result<SetContract, Vec<String>> {
        let mut bad = Violations::new();
        let set = set_contract((&Payments::Sandbox, Timestamp::EPOCH), asked, &mut bad);
        let Err(problem) = bad.finish() else { return Ok(set.expect("nothing is wrong with it")) };
        let mut fields: Vec<_> = problem.fields().iter().map(|(field, _)| field.clone()).collect();
        fields.dedup();
        Err(fields)
    }

    #[test]
    fn a_contract_is_read_as_it_was_written() {
        let answer = asked(&read(&good()).unwrap()).unwrap();
        assert_eq!((answer.plan_id.as_str(), answer.credits.as_str(), answer.seats), ("enterprise", "20000", 100_000));
        assert_eq!((answer.price, answer.starts_at), (Some(usd(900, 500_000_000)), None));
        assert_eq!(answer.features, [i32::from(pb::Feature::SingleSignOn)], "however often it is named");
        let none =
            pb::SetContractRequest { credits: "0".into(), price: Some(usd(0, 0)), features: Vec::new(), ..good() };
        let latest = Timestamp::EPOCH.add_months_anchored(120);
        let none = pb::SetContractRequest { starts_at: Some(to_timestamp(latest)), ..none };
        let answer = asked(&read(&none).unwrap()).unwrap();
        assert_eq!((answer.credits.as_str(), answer.price, answer.features.len()), ("0", Some(usd(0, 0)), 0));
        assert_eq!(answer.starts_at, Some(to_timestamp(latest)));
    }

    #[test]
    fn every_bad_field_is_named() {
        let late = to_timestamp(Timestamp::EPOCH.add_months_anchored(120).saturating_add(bursar_time::Span::SECOND));
        let cases: [(pb::SetContractRequest, &[&str]); 12] = [
            (pb::SetContractRequest { plan_id: String::new(), ..good() }, &["plan_id"]),
            (pb::SetContractRequest { plan_id: "free".into(), ..good() }, &["plan_id"]),
            (pb::SetContractRequest { plan_id: "x".repeat(64), ..good() }, &["plan_id"]),
            (pb::SetContractRequest { credits: "-1".into(), ..good() }, &["credits"]),
            (pb::SetContractRequest { seats: 0, ..good() }, &["seats"]),
            (pb::SetContractRequest { seats: 100_001, ..good() }, &["seats"]),
            (pb::SetContractRequest { price: Some(usd(-1, 0)), ..good() }, &["price"]),
            (pb::SetContractRequest { price: Some(usd(1, 1_000)), ..good() }, &["price"]),
            (pb::SetContractRequest { price: Some(usd(1_000_000_001, 0)), ..good() }, &["price"]),
            (pb::SetContractRequest { features: vec![0], ..good() }, &["features"]),
            (pb::SetContractRequest { starts_at: Some(late), ..good() }, &["starts_at"]),
            (pb::SetContractRequest::default(), &["plan_id", "credits", "seats", "price"]),
        ];
        for (asked, expected) in cases {
            assert_eq!(read(&asked).unwrap_err(), expected, "{asked:?}");
        }
        let card = pb::SetContractRequest { payment_method: "cash".into(), features: vec![99], ..good() };
        assert_eq!(read(&card).unwrap_err(), ["features", "payment_method"]);
    }
}
