//! The catalog's rules, and the forms of names and labels.

use bursar_id::{Id, OwnerId};
use bursar_money::{Credits, Price};
use bursar_time::Timestamp;

use crate::domain::*;

/// A subscription to a plan that began then, without credits, and with which no program has kept what its plan includes.
pub(in crate::domain) fn begun(plan: &str, began: Timestamp) -> Subscription {
    Subscription {
        id: Id::from_parts(1, [1; 10]),
        owner: OwnerId::User(Id::from_parts(1, [1; 10])),
        plan: ProductId::parse(plan).unwrap(),
        state: SubscriptionState::Active,
        price: "100.00 USD".parse().unwrap(),
        credits: Credits::ZERO,
        seats: 1,
        extra: None,
        features: None,
        included: None,
        rollover: None,
        grant_in_grace: false,
        payment_method: String::new(),
        payment_reference: String::new(),
        started_at: began,
        month: Month::anchored(began, 0),
        prepaid: None,
        ended_at: None,
        failures: 0,
        next_retry_at: None,
        cancel_at_period_end: false,
        pending: None,
        changes: 0,
    }
}

fn credits(whole: i64) -> Credits {
    Credits::from_micro(whole * 1_000_000).unwrap()
}

fn usd(text: &str) -> Price {
    format!("{text} USD").parse().unwrap()
}

fn plan(id: &str, price: Option<Price>) -> Plan {
    Plan {
        id: ProductId::parse(id).unwrap(),
        display_name: id.to_owned(),
        interval: Interval::Month,
        price,
        credits: Credits::ZERO,
        rollover: None,
        grant_in_grace: false,
        scope: Scope::default(),
        seats: 5,
        extra_seat: None,
        organization: true,
        single_sign_on: false,
    }
}

fn pack(id: &str, price: Price) -> Pack {
    let id = ProductId::parse(id).unwrap();
    Pack { display_name: id.to_string(), id, price, credits: credits(300), scope: Scope::default() }
}

fn model(name: &str, per_unit: &str) -> ModelPrice {
    ModelPrice {
        model: ModelName::parse(name).unwrap(),
        display_name: name.to_owned(),
        meters: vec![meter("seconds", per_unit)],
    }
}

fn meter(name: &str, per_unit: &str) -> MeterPrice {
    let meter = MeterName::parse(name).unwrap();
    MeterPrice { meter, unit: "second".to_owned(), rates: vec![rate(per_unit, None)] }
}

fn rate(per_unit: &str, from: Option<&str>) -> Rate {
    Rate { credits_per_unit: per_unit.parse().unwrap(), from: from.map(|text| text.parse().unwrap()) }
}

fn scoped_to(models: &[&str]) -> Scope {
    Scope::new(models.iter().map(|name| ModelName::parse(name).unwrap()), []).unwrap()
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
    let scope = scoped_to(&["sora", "veo-3.1"]);
    assert_eq!(good.unlisted(&scope).map(ModelName::as_str).collect::<Vec<_>>(), ["sora"]);

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
        CatalogFlaw::NoCredits(name("meter seconds of model veo")),
        CatalogFlaw::Currency(name("pack euro")),
        CatalogFlaw::NoFreePlan,
    ];
    assert_eq!(flaws, expected);
}

#[test]
fn what_is_granted_in_grace_is_an_allowance_that_somebody_pays_for() {
    let lenient = |id: &str, price: Option<&str>, allowance: i64| Plan {
        credits: credits(allowance),
        grant_in_grace: true,
        ..plan(id, price.map(usd))
    };
    let free = plan("free", Some(usd("0")));
    let good = Catalog::new(vec![free.clone(), lenient("lenient", Some("10.00"), 100)], vec![], vec![]).unwrap();
    let terms = Terms::of(good.plan("lenient").unwrap()).unwrap();
    assert!(terms.grant_in_grace);
    let stored = serde_json::to_string(&terms).unwrap();
    assert_eq!(serde_json::from_str::<Terms>(&stored).unwrap(), terms);
    let plain = serde_json::to_string(&Terms { grant_in_grace: false, ..terms }).unwrap();
    assert!(!plain.contains("grace"), "as earlier programs store it: {plain}");
    let name = |text: &str| CatalogFlaw::Grace(text.to_owned());
    let wrong =
        vec![free, lenient("gift", Some("0"), 100), lenient("empty", Some("10.00"), 0), lenient("agreed", None, 0)];
    let flaws = Catalog::new(wrong, vec![], vec![]).unwrap_err();
    assert_eq!(flaws, [name("plan gift"), name("plan empty"), name("plan agreed")]);
}

#[test]
fn what_rolls_over_is_a_part_of_an_allowance() {
    let rolling = |id: &str, allowance: i64, cap: i64| Plan {
        credits: credits(allowance),
        rollover: Some(credits(cap)),
        ..plan(id, Some(usd("10.00")))
    };
    let free = plan("free", Some(usd("0")));
    let good = Catalog::new(vec![free.clone(), rolling("less", 100, 1), rolling("more", 100, 5_000)], vec![], vec![]);
    let good = good.unwrap();
    let terms = Terms::of(good.plan("less").unwrap()).unwrap();
    assert_eq!(terms.rollover, Some(credits(1)));
    let stored = serde_json::to_string(&terms).unwrap();
    assert_eq!(serde_json::from_str::<Terms>(&stored).unwrap(), terms);
    let plain = serde_json::to_string(&Terms { rollover: None, ..terms }).unwrap();
    assert!(!plain.contains("rollover"), "as earlier programs store it: {plain}");
    let wrong = vec![free, rolling("none", 100, 0), rolling("empty", 0, 5)];
    let name = |text: &str| CatalogFlaw::Rollover(text.to_owned());
    assert_eq!(Catalog::new(wrong, vec![], vec![]).unwrap_err(), [name("plan none"), name("plan empty")]);
}

#[test]
fn models_meters_and_scopes_have_flaws_of_their_own() {
    let mut measured_by_nothing = model("nothing", "1");
    measured_by_nothing.meters.clear();
    let mut measured_by_all = model("all", "1");
    measured_by_all.meters = (0..33).map(|it| meter(&format!("m{it}"), "1")).collect();
    let mut sloppy = model("sloppy", "1");
    sloppy.meters = vec![meter("same", "1"), meter("same", "1"), meter("silent", "1")];
    sloppy.meters[2].unit = " ".to_owned();
    let rates = [
        vec![],
        vec![rate("1", Some("2027-01-01T00:00:00Z"))],
        vec![rate("1", None), rate("1", None)],
        vec![rate("1", None), rate("1", Some("2027-01-02T00:00:00Z")), rate("1", Some("2027-01-01T00:00:00Z"))],
    ];
    let undated = rates.into_iter().enumerate().map(|(number, rates)| {
        let mut price = model(&format!("dated{number}"), "1");
        price.meters[0].rates = rates;
        price
    });
    let mut narrow = pack("narrow", usd("1"));
    narrow.scope = scoped_to(&["all", "sora"]);
    let mut free = plan("free", Some(usd("0")));
    free.scope = scoped_to(&["veo"]);
    let models = [measured_by_nothing, measured_by_all, sloppy].into_iter().chain(undated).collect();
    let flaws = Catalog::new(vec![free], vec![narrow], models).unwrap_err();
    let name = |text: &str| text.to_owned();
    let model = |text: &str| ModelName::parse(text).unwrap();
    let expected = vec![
        CatalogFlaw::Meters(name("model nothing")),
        CatalogFlaw::Meters(name("model all")),
        CatalogFlaw::Duplicate(name("meter same of model sloppy")),
        CatalogFlaw::Unnamed(name("meter silent of model sloppy")),
        CatalogFlaw::Rates(name("meter seconds of model dated0")),
        CatalogFlaw::Rates(name("meter seconds of model dated1")),
        CatalogFlaw::Rates(name("meter seconds of model dated2")),
        CatalogFlaw::Rates(name("meter seconds of model dated3")),
        CatalogFlaw::UnknownModel(name("plan free"), model("veo")),
        CatalogFlaw::UnknownModel(name("pack narrow"), model("sora")),
    ];
    assert_eq!(flaws, expected);
}

#[test]
fn versions_count_from_one() {
    assert_eq!(CatalogVersion::new(0), None);
    assert_eq!(CatalogVersion::new(7).map(CatalogVersion::get), Some(7));
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
    for disguised in ["a\u{202e}b", "a\u{200b}b"] {
        assert!(ModelName::parse(disguised).is_ok(), "what an earlier program took is read for ever");
        assert!(ModelName::given(disguised).is_err() && ProjectName::given(disguised).is_err(), "{disguised:?}");
        assert!(Note::parse(disguised).is_ok() && Note::given(disguised).is_err(), "{disguised:?}");
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
    assert!(Note::parse(&"\u{1f600}".repeat(500)).is_ok(), "characters are no bytes");
    for long in ["n".repeat(501), "\u{e9}".repeat(501)] {
        assert_eq!(Note::parse(&long), Err(AttributionError::Note));
    }
}

#[test]
fn a_contract_has_terms_of_its_own_on_a_plan_that_says_nothing() {
    let plans = vec![plan("free", Some(usd("0"))), plan("business", Some(usd("100"))), plan("enterprise", None)];
    let catalog = Catalog::new(plans, Vec::new(), Vec::new()).unwrap();
    let features = Features { organizations: false, single_sign_on: true };
    let contract =
        Contract { plan: "enterprise".to_owned(), credits: credits(20_000), seats: 60, price: usd("900"), features };
    let terms = contract.terms(&catalog).unwrap();
    assert_eq!(
        (terms.plan.as_str(), terms.price, terms.credits, terms.seats),
        ("enterprise", usd("900"), credits(20_000), 60)
    );
    assert_eq!(
        (terms.interval, terms.features, &terms.extra, &terms.paid_with),
        (Interval::Month, Some(features), &None, &None)
    );
    assert_eq!(terms.for_seats(60, None), Ok(terms.clone()), "its seats are its own");
    assert_eq!(terms.for_seats(61, None), Err(ChangeError::NoSeats));
    let free = Contract { price: usd("0"), credits: Credits::ZERO, ..contract.clone() };
    assert!(free.terms(&catalog).is_ok());
    let euros: Price = "900 EUR".parse().unwrap();
    let wrong = [
        (Contract { plan: "golden".to_owned(), ..contract.clone() }, ContractError::NoPlan("golden".to_owned())),
        (
            Contract { plan: "business".to_owned(), ..contract.clone() },
            ContractError::NotByContract("business".to_owned()),
        ),
        (Contract { plan: "free".to_owned(), ..contract.clone() }, ContractError::NotByContract("free".to_owned())),
        (Contract { price: euros, ..contract.clone() }, ContractError::Currency(usd("0").currency())),
    ];
    for (contract, error) in wrong {
        assert_eq!(contract.terms(&catalog), Err(error), "{contract:?}");
    }
    // As it is stored; what earlier programs stored has none of it.
    let terms = Terms { paid_with: Some("invoice".to_owned()), ..terms };
    let stored = serde_json::to_string(&terms).unwrap();
    assert_eq!(serde_json::from_str::<Terms>(&stored).unwrap(), terms);
    let plain = Terms::of(catalog.plan("business").unwrap()).unwrap();
    let stored = serde_json::to_string(&plain).unwrap();
    assert!(!stored.contains("features") && !stored.contains("paid_with"), "{stored}");
    assert_eq!(serde_json::from_str::<Terms>(&stored).unwrap(), plain);
}
