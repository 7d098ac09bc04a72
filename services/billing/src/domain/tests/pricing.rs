//! What work costs: tables of cases, and a naive model in whole millionths.

use std::collections::BTreeMap;

use bursar_money::{Credits, Quantity};
use bursar_time::Timestamp;
use proptest::prelude::*;

use crate::domain::*;

const MILLION: i128 = 1_000_000;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn model(name: &str) -> ModelName {
    ModelName::parse(name).unwrap()
}

fn meter(name: &str, rates: &[(&str, Option<&str>)]) -> MeterPrice {
    let rates =
        rates.iter().map(|(credits, from)| Rate { credits_per_unit: credits.parse().unwrap(), from: from.map(at) });
    MeterPrice { meter: MeterName::parse(name).unwrap(), unit: "unit".to_owned(), rates: rates.collect() }
}

fn card() -> RateCard {
    let price = |name: &str, meters| ModelPrice { model: model(name), display_name: name.to_owned(), meters };
    RateCard::new([
        price("veo", vec![meter("seconds", &[("0.5", None)])]),
        price(
            "claude",
            vec![
                meter("in", &[("0.000003", None), ("0.000002", Some("2027-01-01T00:00:00Z"))]),
                meter(
                    "out",
                    &[("0.5", None), ("1", Some("2027-01-01T00:00:00Z")), ("2", Some("2027-02-01T00:00:00Z"))],
                ),
                meter("dear", &[("1000000000000", None)]),
            ],
        ),
    ])
}

fn usage(text: &str) -> Vec<MeterUse> {
    let one = |text: &str| {
        let (meter, quantity) = text.split_once('=').unwrap();
        let meter = (!meter.is_empty()).then(|| MeterName::parse(meter).unwrap());
        MeterUse { meter, quantity: quantity.parse().unwrap() }
    };
    text.split_whitespace().map(one).collect()
}

/// The answer in a line: each component's rate and amount, then the sum.
fn said(answer: Result<Priced, RateError>) -> Result<String, RateError> {
    answer.map(|priced| {
        let parts =
            priced.components.iter().map(|it| format!("{}×{}@{}={}", it.meter, it.quantity, it.rate, it.amount));
        parts.chain([priced.amount.to_string()]).collect::<Vec<_>>().join(" ")
    })
}

#[test]
fn work_costs_what_its_meters_do() {
    let name = |text: &str| MeterName::parse(text).unwrap();
    let many = (0..33).map(|it| format!("m{it}=1")).collect::<Vec<_>>().join(" ");
    let cases = [
        ("veo", "=8", Ok("seconds×8@0.5=4 4")),
        ("veo", "seconds=2.5", Ok("seconds×2.5@0.5=1.25 1.25")),
        ("veo", "=0.000001", Ok("seconds×0.000001@0.5=0.000001 0.000001")),
        ("veo", "minutes=1", Err(RateError::UnknownMeter { model: model("veo"), meter: name("minutes") })),
        ("veo", "=1 seconds=1", Err(RateError::RepeatedMeter(name("seconds")))),
        ("veo", "=1 =1", Err(RateError::MeterMissing)),
        ("claude", "in=1000000", Ok("in×1000000@0.000003=3 3")),
        ("claude", "in=0.4 out=0.000001", Ok("in×0.4@0.000003=0.000002 out×0.000001@0.5=0.000001 0.000003")),
        ("claude", "out=2 in=1", Ok("out×2@0.5=1 in×1@0.000003=0.000003 1.000003")),
        ("claude", "=1", Err(RateError::MeterMissing)),
        ("claude", "in=1 =1", Err(RateError::MeterMissing)),
        ("claude", "in=1 out=1 in=2", Err(RateError::RepeatedMeter(name("in")))),
        ("claude", "in=1 image=1", Err(RateError::UnknownMeter { model: model("claude"), meter: name("image") })),
        ("claude", "dear=1", Ok("dear×1@1000000000000=1000000000000 1000000000000")),
        ("claude", "dear=1.000001", Err(RateError::TooExpensive)),
        ("claude", "dear=1 in=0.000001", Err(RateError::TooExpensive)),
        ("sora", "=1", Err(RateError::UnknownModel(model("sora")))),
        ("sora", "", Err(RateError::NoUsage)),
        ("sora", &many, Err(RateError::TooManyMeters)),
        ("sora", "a=1 a=1", Err(RateError::RepeatedMeter(name("a")))),
    ];
    for (name, used, expected) in cases {
        let answer = card().price(&model(name), &usage(used), at("2026-12-31T23:59:59.999999Z"));
        assert_eq!(said(answer), expected.map(str::to_owned), "{used} of {name}");
    }
}

#[test]
fn a_rate_holds_from_its_time_on() {
    let cases = [
        ("2026-01-01T00:00:00Z", "in×1@0.000003=0.000003 out×1@0.5=0.5 0.500003"),
        ("2026-12-31T23:59:59.999999Z", "in×1@0.000003=0.000003 out×1@0.5=0.5 0.500003"),
        ("2027-01-01T00:00:00Z", "in×1@0.000002=0.000002 out×1@1=1 1.000002"),
        ("2027-01-31T23:59:59.999999Z", "in×1@0.000002=0.000002 out×1@1=1 1.000002"),
        ("2027-02-01T00:00:00Z", "in×1@0.000002=0.000002 out×1@2=2 2.000002"),
        ("9999-12-31T00:00:00Z", "in×1@0.000002=0.000002 out×1@2=2 2.000002"),
    ];
    for (when, expected) in cases {
        let answer = card().price(&model("claude"), &usage("in=1 out=1"), at(when));
        assert_eq!(said(answer), Ok(expected.to_owned()), "at {when}");
    }
}

#[test]
fn meters_are_named_as_models_are() {
    for good in ["input_tokens", "Œuvre complète", &"x".repeat(128)] {
        assert_eq!(MeterName::parse(good).unwrap().as_str(), good);
    }
    for bad in ["", " ", " a", "a ", "a\n", &"x".repeat(129)] {
        assert_eq!(MeterName::parse(bad), Err(AttributionError::Name), "{bad:?}");
    }
}

/// A rate card as the naive model has it: for each meter its rates in millionths, by the micro-second they hold from.
type Naive = Vec<BTreeMap<i64, i128>>;

fn rates() -> impl Strategy<Value = BTreeMap<i64, i128>> {
    let rate = prop_oneof![1..50_i128, 1..=10_000_000_i128, Just(Credits::MAX.micro().into())];
    let changes = prop::collection::btree_map(-10..10_i64, rate.clone(), 0..4);
    (rate, changes).prop_map(|(first, mut rates)| {
        rates.insert(i64::MIN, first);
        rates
    })
}

fn used() -> impl Strategy<Value = Vec<(Option<usize>, i64)>> {
    let quantity = prop_oneof![1..3_000_000_i64, 1..=Quantity::MAX.millionths()];
    prop::collection::vec((prop::option::weighted(0.9, 0..6_usize), quantity), 0..6)
}

fn named(number: usize) -> MeterName {
    MeterName::parse(&format!("m{number}")).unwrap()
}

fn real(naive: &Naive) -> ModelPrice {
    let rate = |(from, micro): (&i64, &i128)| Rate {
        credits_per_unit: Credits::from_micro(i64::try_from(*micro).unwrap()).unwrap(),
        from: (*from > i64::MIN).then(|| Timestamp::from_micros(*from).unwrap()),
    };
    let meters = naive.iter().enumerate().map(|(number, rates)| MeterPrice {
        meter: named(number),
        unit: "unit".to_owned(),
        rates: rates.iter().map(rate).collect(),
    });
    ModelPrice { model: model("it"), display_name: "It".to_owned(), meters: meters.collect() }
}

/// What the naive model says: the components' amounts, or nothing where there is no price.
fn expected(naive: &Naive, used: &[(Option<usize>, i64)], now: i64) -> Option<Vec<i128>> {
    let only = (naive.len() == 1).then_some(0);
    let meters: Vec<usize> = used.iter().map(|(meter, _)| meter.or(only)).collect::<Option<_>>()?;
    let twice = (1..meters.len()).any(|place| meters[..place].contains(&meters[place]));
    if meters.is_empty() || twice || meters.iter().any(|it| *it >= naive.len()) {
        return None;
    }
    let price = |(meter, (_, quantity)): (&usize, &(Option<usize>, i64))| {
        let (_, rate) = naive[*meter].range(..=now).next_back().unwrap();
        let exact = rate * i128::from(*quantity);
        (exact + MILLION - 1) / MILLION
    };
    let amounts: Vec<i128> = meters.iter().zip(used).map(price).collect();
    (amounts.iter().sum::<i128>() <= i128::from(Credits::MAX.micro())).then_some(amounts)
}

proptest! {
    #[test]
    fn prices_are_those_of_the_naive_model(
        naive in prop::collection::vec(rates(), 1..6),
        used in used(),
        now in -12..12_i64,
    ) {
        let card = RateCard::new([real(&naive)]);
        let usage: Vec<MeterUse> = used.iter().map(|(meter, quantity)| MeterUse {
            meter: meter.map(named),
            quantity: Quantity::from_millionths(*quantity).unwrap(),
        }).collect();
        let answer = card.price(&model("it"), &usage, Timestamp::from_micros(now).unwrap());
        let amounts = answer.as_ref().ok().map(|priced| {
            let sum: i128 = priced.components.iter().map(|it| i128::from(it.amount.micro())).sum();
            assert_eq!(sum, i128::from(priced.amount.micro()), "the amount is the sum of its components");
            assert!(priced.components.iter().all(|it| !it.amount.is_zero()), "no use is free");
            priced.components.iter().map(|it| i128::from(it.amount.micro())).collect::<Vec<_>>()
        });
        prop_assert_eq!(amounts, expected(&naive, &used, now), "{:?}", answer);
    }
}
