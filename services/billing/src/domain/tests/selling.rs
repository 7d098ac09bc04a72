//! The catalog's rules and the rate card's arithmetic.

use bursar_money::{Credits, Price, Quantity};

use super::world::credits;
use crate::domain::*;

fn usd(text: &str) -> Price {
    format!("{text} USD").parse().unwrap()
}

fn plan(id: &str, price: Option<Price>) -> Plan {
    Plan {
        id: ProductId::parse(id).unwrap(),
        display_name: id.to_owned(),
        price,
        credits: Credits::ZERO,
        seats: 5,
        organization: true,
        single_sign_on: false,
    }
}

fn pack(id: &str, price: Price) -> Pack {
    Pack { id: ProductId::parse(id).unwrap(), display_name: id.to_owned(), price, credits: credits(300) }
}

fn model(name: &str, per_unit: &str) -> ModelPrice {
    ModelPrice {
        model: ModelName::parse(name).unwrap(),
        display_name: name.to_owned(),
        unit: "second".to_owned(),
        credits_per_unit: per_unit.parse().unwrap(),
    }
}

#[test]
fn a_catalog_names_every_flaw_at_once() {
    let free = plan("free", Some(usd("0")));
    let good = Catalog::new(
        vec![free.clone(), plan("business", Some(usd("100.00"))), plan("enterprise", None)],
        vec![pack("starter", usd("20"))],
        vec![model("veo-3.1", "0.5")],
    );
    let good = good.unwrap();
    assert_eq!(good.plan("business").unwrap().price, Some(usd("100")));
    assert_eq!(good.pack("starter").unwrap().credits, credits(300));
    assert!(good.plan("gold").is_none());

    let mut unnamed = plan("silent", None);
    unnamed.display_name = " ".to_owned();
    unnamed.seats = 0;
    let mut worthless = pack("worthless", usd("1"));
    worthless.credits = Credits::ZERO;
    let flaws = Catalog::new(
        vec![plan("free", Some(usd("1"))), plan("free", None), unnamed],
        vec![pack("gift", usd("0")), pack("odd", usd("1.001")), worthless, pack("euro", "1 EUR".parse().unwrap())],
        vec![model("veo", "0"), model("veo", "1")],
    )
    .unwrap_err();
    let name = |text: &str| text.to_owned();
    let expected = vec![
        CatalogFlaw::Duplicate(name("plan free")),
        CatalogFlaw::Duplicate(name("model veo")),
        CatalogFlaw::Unnamed(name("plan silent")),
        CatalogFlaw::NoSeats(name("plan silent")),
        CatalogFlaw::Price(name("pack gift")),
        CatalogFlaw::Price(name("pack odd")),
        CatalogFlaw::NoCredits(name("pack worthless")),
        CatalogFlaw::NoCredits(name("model veo")),
        CatalogFlaw::Currency(name("pack euro")),
        CatalogFlaw::NoFreePlan,
    ];
    assert_eq!(flaws, expected);
}

#[test]
fn a_quantity_costs_its_price_rounded_up() {
    let card = RateCard::new([model("veo", "0.5"), model("token", "0.000003"), model("dear", "1000000000000")]);
    let estimate = |name: &str, quantity: &str| {
        let quantity: Quantity = quantity.parse().unwrap();
        card.estimate(&ModelName::parse(name).unwrap(), quantity).map(|it| it.to_string())
    };
    let cases = [
        ("veo", "8", Ok("4")),
        ("veo", "2.5", Ok("1.25")),
        ("veo", "0.000001", Ok("0.000001")),
        ("token", "1000000", Ok("3")),
        ("token", "0.4", Ok("0.000002")),
        ("dear", "1", Ok("1000000000000")),
        ("dear", "1.000001", Err(RateError::TooExpensive)),
        ("sora", "1", Err(RateError::UnknownModel)),
    ];
    for (name, quantity, expected) in cases {
        assert_eq!(estimate(name, quantity), expected.map(str::to_owned), "{quantity} of {name}");
    }
}

#[test]
fn names_and_labels_have_a_form() {
    for good in ["veo-3.1", "openai/gpt-5:mini", "Œuvre complète", &"x".repeat(128)] {
        assert!(ModelName::parse(good).is_ok(), "{good}");
        assert!(ProjectName::parse(good).is_ok(), "{good}");
    }
    for bad in ["", " ", " a", "a ", "a\n", "a\u{0}b", &"x".repeat(129)] {
        assert_eq!(ModelName::parse(bad), Err(AttributionError::Name), "{bad}");
        assert_eq!(ProjectName::parse(bad), Err(AttributionError::Name), "{bad}");
    }
    let labels = |count: usize| Labels::parse((0..count).map(|it| (format!("k{it}"), String::new())).collect());
    assert!(labels(32).is_ok());
    assert_eq!(labels(33), Err(AttributionError::TooManyLabels));
    assert_eq!(labels(10_000), Err(AttributionError::TooManyLabels));
    let one = |key: &str, value: &str| Labels::parse([(key.to_owned(), value.to_owned())].into());
    assert_eq!(one("", "v"), Err(AttributionError::LabelKey));
    assert_eq!(one("k", "a\u{0}"), Err(AttributionError::LabelValue));
    assert_eq!(one("k", &"v".repeat(257)), Err(AttributionError::LabelValue));
    assert!(Note::parse(&"n".repeat(500)).is_ok());
    assert_eq!(Note::parse(&"n".repeat(501)), Err(AttributionError::Note));
}
