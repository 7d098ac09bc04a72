//! What is sold after an edit of the catalog, and what earlier catalogs still mean to those who have something of them.

use std::sync::Arc;

use super::selling::begun;
use super::world::{World, at, credits, meter, model, rules, work};
use crate::catalog;
use crate::domain::*;

/// A catalog of the free plan, these other plans (each by the only project that its credits may pay for) and these models
/// (each with its only meter and what that costs).
fn kept(version: u32, plans: &[(&str, &str)], models: &[(&str, &str, &str)]) -> Arc<KeptCatalog> {
    let plans: Vec<String> = plans
        .iter()
        .map(|(id, project)| {
            format!(
                r#"{{"id":"{id}","name":"{id}","price":"5.00 USD","credits":"9","scope":{{"projects":["{project}"]}},"seats":1}}"#
            )
        })
        .chain([r#"{"id":"free","name":"Free","price":"0.00 USD","credits":"0","seats":1}"#.to_owned()])
        .collect();
    let models: Vec<String> = models
        .iter()
        .map(|(id, meter, rate)| {
            format!(r#"{{"id":"{id}","name":"{id}","meters":[{{"id":"{meter}","unit":"unit","credits":"{rate}"}}]}}"#)
        })
        .collect();
    let text = format!(r#"{{"plans":[{}],"packs":[],"models":[{}]}}"#, plans.join(","), models.join(","));
    let catalog = Arc::new(catalog::from_canonical(&text).unwrap());
    Arc::new(KeptCatalog { version: CatalogVersion::new(version).unwrap(), first_used_at: at(0), catalog })
}

/// The project that the credits of somebody's plan may pay for.
fn project_of(sold: &Assortment, plan: &str) -> Option<String> {
    sold.plan_of(plan)?.scope.projects().iter().next().map(ToString::to_string)
}

/// A subscription to a plan, with which an earlier program has not kept what that includes.
fn subscribed(plan: &str) -> Subscription {
    Subscription { price: "5.00 USD".parse().unwrap(), credits: credits(9), ..begun(plan, at(0)) }
}

/// The project that the credits of a subscription's months may pay for.
fn project_by(sold: &Assortment, live: &Subscription) -> String {
    Included::by(sold, live).scope.projects().iter().map(ToString::to_string).collect()
}

/// What one unit costs of a model whose only meter it is, and by which catalog.
fn former(sold: &Assortment, name: &str, held: u64) -> Option<(String, u32)> {
    let usage = [MeterUse { meter: None, quantity: "1".parse().unwrap() }];
    let (priced, version) = sold.former_rates().price(&model(name), &usage, (at(held), at(held)))?;
    Some((priced.amount.to_string(), version.get()))
}

fn said(project: &str) -> String {
    project.to_owned()
}

fn cost(amount: &str, version: u32) -> (String, u32) {
    (amount.to_owned(), version)
}

#[test]
fn the_last_catalog_that_had_something_says_what_it_was() {
    let first = kept(1, &[("gold", "a"), ("tin", "a")], &[("veo", "s", "1"), ("suno", "songs", "1")]);
    let second = kept(2, &[("gold", "b")], &[("veo", "s", "2")]);
    let third = kept(3, &[], &[]);
    // As a program goes through them, and as one does that begins with the last of them.
    let through = Assortment::new(Arc::clone(&first), at(1));
    let through = through.followed_by(Arc::clone(&second), at(2)).followed_by(Arc::clone(&third), at(3));
    let mut begins = Assortment::new(third, at(3));
    begins.remember(&second);
    begins.remember(&first);
    for sold in [&through, &begins] {
        assert_eq!((project_of(sold, "gold"), project_of(sold, "tin")), (Some(said("b")), Some(said("a"))));
        assert!(sold.catalog().plan("gold").is_none(), "it is not for sale");
        assert_eq!((former(sold, "veo", 3), former(sold, "suno", 3)), (Some(cost("2", 2)), Some(cost("1", 1))));
        assert_eq!(former(sold, "veo", 4), None, "it was held after they had gone");
        assert_eq!(former(sold, "unheard-of", 3), None);
    }
    assert_eq!(through, begins);
}

#[test]
fn what_comes_back_is_as_it_is_now_and_nothing_adds_up() {
    let first = kept(1, &[("gold", "a")], &[("veo", "s", "1")]);
    let second = kept(2, &[("gold", "b")], &[("suno", "songs", "1")]);
    let begun = Assortment::new(Arc::clone(&first), at(0));
    let there = begun.followed_by(Arc::clone(&second), at(1));
    assert_eq!((project_of(&there, "gold"), former(&there, "veo", 1)), (Some(said("b")), Some(cost("1", 1))));
    let back = there.followed_by(Arc::clone(&first), at(2));
    assert_eq!((project_of(&back, "gold"), former(&back, "veo", 1)), (Some(said("a")), None));
    assert_eq!(former(&back, "suno", 2), Some(cost("1", 2)));
    let mut again = back.clone();
    for _ in 0..50 {
        again = again.followed_by(Arc::clone(&second), at(1)).followed_by(Arc::clone(&first), at(2));
    }
    assert_eq!(again, back, "what is remembered does not grow");
}

#[test]
fn a_meter_that_is_gone_has_a_former_rate_and_the_others_have_none() {
    let price = |meters| ModelPrice { model: model("claude"), display_name: "c".to_owned(), meters };
    let both = price(vec![meter("input", "1", None), meter("output", "2", None)]);
    let catalog = |version, price: ModelPrice| {
        let free = kept(version, &[], &[]);
        let catalog = Catalog::new(free.catalog.plans().to_vec(), Vec::new(), vec![price]).unwrap();
        Arc::new(KeptCatalog { catalog: Arc::new(catalog), ..(*free).clone() })
    };
    let first = catalog(1, both);
    let second = catalog(2, price(vec![meter("input", "5", None)]));
    let sold = Assortment::new(first, at(0)).followed_by(second, at(9));
    let used = |names: &[&str]| -> Vec<MeterUse> {
        let one = |name: &&str| MeterUse { meter: MeterName::parse(name).ok(), quantity: "1".parse().unwrap() };
        names.iter().map(one).collect()
    };
    // The present rates come first: what they have is priced by them, and what they have not by those that had all of it.
    let mut rules = rules();
    rules.price_by(&sold);
    assert_eq!(rules.catalog_version.get(), 2);
    let now = rules.rates.price(&model("claude"), &used(&["input"]), at(9)).unwrap();
    assert_eq!(now.amount, credits(5));
    let gone = rules.rates.price(&model("claude"), &used(&["input", "output"]), at(9));
    assert!(matches!(gone, Err(RateError::UnknownMeter { .. })), "{gone:?}");
    let (priced, version) =
        rules.former_rates.price(&model("claude"), &used(&["input", "output"]), (at(9), at(9))).unwrap();
    assert_eq!((priced.amount, version.get()), (credits(3), 1));
}

/// Charges by what is gone are refused, captures of what was held before are settled at the last rates.
#[test]
fn what_was_held_before_a_model_went_is_captured_at_its_last_rates() {
    let first = kept(1, &[], &[("veo", "seconds", "2"), ("suno", "songs", "1")]);
    let second = kept(2, &[], &[("suno", "songs", "3")]);
    let before = Assortment::new(first, at(0));
    let mut priced = rules();
    priced.price_by(&before);
    let mut world = World::new(priced);
    world.ask(0, Command::Grant(GrantCommand::new(credits(100), LotSource::Pack))).unwrap();
    let on = |name: &str| Attribution { model: Some(model(name)), ..work(1) };
    let reserve = |name: &str| {
        let ttl = bursar_time::Span::from_secs(1_000);
        Command::Hold(HoldCommand { amount: credits(20), ttl, attribution: on(name), labels: Labels::default() })
    };
    let held = |world: &mut World, second: u64, name: &str| match world.ask(second, reserve(name)) {
        Ok(Outcome::Held(held)) => held.hold.id,
        other => panic!("{other:?}"),
    };
    let capture = |hold, quantity: &str| {
        let cost = Cost::Metered(vec![MeterUse { meter: None, quantity: quantity.parse().unwrap() }]);
        Command::Capture(CaptureCommand { hold, cost: Some(cost), allow_excess: false })
    };
    let early = [held(&mut world, 5, "veo"), held(&mut world, 5, "veo"), held(&mut world, 5, "suno")];
    world.change_rules(|rules| rules.price_by(&before.followed_by(second, at(10))));
    let late = held(&mut world, 11, "veo");

    let unknown = Refusal::Rate(RateError::UnknownModel(model("veo")));
    let cost = Cost::Metered(vec![MeterUse { meter: None, quantity: "1".parse().unwrap() }]);
    let charge = ChargeCommand { cost, attribution: on("veo"), labels: Labels::default(), occurred_at: None };
    assert_eq!(world.ask(12, Command::Charge(charge)), Err(unknown.clone()));
    assert_eq!(world.ask(12, capture(late, "1")), Err(unknown), "nobody agreed to a price for it");
    let mut captured = |hold, quantity| match world.ask(12, capture(hold, quantity)) {
        Ok(Outcome::Charged(charged)) => (charged.charge.amount, charged.charge.metered.unwrap().catalog_version.get()),
        other => panic!("{other:?}"),
    };
    assert_eq!(captured(early[0], "7"), (credits(14), 1), "the last rate, and whose it was");
    assert_eq!(captured(early[2], "2"), (credits(6), 2), "what has a price has the present one");
    let above = world.ask(12, capture(early[1], "11"));
    assert!(matches!(above, Err(Refusal::CaptureAboveHold { .. })), "{above:?}");
    // Whoever knows what it came to says so, and all of it can be settled without any rate.
    let by_amount = CaptureCommand { hold: late, cost: Some(Cost::Amount(credits(3))), allow_excess: false };
    world.ask(12, Command::Capture(by_amount)).unwrap();
    let whole = CaptureCommand { hold: early[1], cost: None, allow_excess: false };
    world.ask(12, Command::Capture(whole)).unwrap();
    world.forget();
    world.store.verify().unwrap();
}

#[test]
fn what_was_sold_is_kept_and_where_it_is_not_the_catalog_says_it() {
    let before = Assortment::new(kept(1, &[("gold", "film"), ("tin", "clip")], &[]), at(0));
    let after = Assortment::new(kept(2, &[("gold", "game"), ("tin", "song")], &[]), at(0));
    let old = subscribed("gold");
    assert_eq!((project_by(&before, &old), project_by(&after, &old)), ("film".to_owned(), "game".to_owned()));
    assert_eq!(project_by(&before, &subscribed("gone")), "", "nobody knows");
    let known = old.with_included(&before);
    assert_eq!(project_by(&after, &known), "film");
    assert_eq!(known.with_included(&after), known, "once");

    // What an earlier program has planned includes the same on the same plan, and on another one what that does.
    let planned = |plan: &str| {
        let terms = Terms { plan: ProductId::parse(plan).unwrap(), included: None, ..known.terms() };
        known.planning(Some(terms))
    };
    let next = |it: &Subscription| project_by(&after, &it.renewed(String::new()));
    assert_eq!((next(&planned("gold")), next(&planned("tin"))), ("film".to_owned(), "song".to_owned()));
    let written = ["gold", "tin"].map(|plan| next(&planned(plan).with_included(&before)));
    assert_eq!(written, ["film", "clip"], "once it is written down");

    let terms = known.terms();
    let stored = serde_json::to_string(&terms).unwrap();
    assert_eq!(serde_json::from_str::<Terms>(&stored).unwrap(), terms);
    let plain = serde_json::to_string(&old.terms()).unwrap();
    assert!(!plain.contains("included"), "as earlier programs store it: {plain}");
    let long = format!(r#"{{"models":["{}"]}}"#, "x".repeat(129));
    assert!(serde_json::from_str::<Scope>(&long).is_err(), "what is no name is not read");
    assert_eq!(serde_json::from_str::<Scope>("{}").unwrap(), Scope::default());
}
