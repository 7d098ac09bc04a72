//! Reading the catalog's file. What a catalog must be is the domain's to say ([`Catalog::new`]).

use std::fmt::{self, Display};
use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bursar_money::{Credits, Price};
use serde::Deserialize;

use crate::domain::{Catalog, ModelName, ModelPrice, Pack, Plan, ProductId};

/// The catalog of whoever configures none.
const BUILT_IN: &str = include_str!("../catalog.toml");

/// Reads the catalog: the file at `path`, or the built-in one.
pub(crate) fn load(path: Option<&Path>) -> Result<Catalog, CatalogError> {
    let place = path.map_or(Place::BuiltIn, |path| Place::File(path.to_owned()));
    let text = match path {
        None => Ok(BUILT_IN.to_owned()),
        Some(path) => fs::read_to_string(path).map_err(|error| vec![format!("cannot be read: {error}")]),
    };
    text.and_then(|text| parse(&text)).map_err(|flaws| CatalogError { place, flaws })
}

/// Why there is no catalog: everything that is wrong with its file.
#[derive(Debug)]
pub(crate) struct CatalogError {
    place: Place,
    flaws: Vec<String>,
}

#[derive(Debug)]
enum Place {
    BuiltIn,
    File(PathBuf),
}

impl Display for CatalogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::BuiltIn => write!(f, "the built-in catalog is wrong:")?,
            Place::File(path) => write!(f, "the catalog {} is wrong:", path.display())?,
        }
        self.flaws.iter().try_for_each(|flaw| write!(f, "\n  {}", flaw.trim_end()))
    }
}

impl std::error::Error for CatalogError {}

/// The file as it is written: nothing but texts and numbers, so that every flaw can be told at once.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    plans: Vec<PlanEntry>,
    packs: Vec<PackEntry>,
    #[serde(default)]
    models: Vec<ModelEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanEntry {
    id: String,
    name: String,
    price: Option<String>,
    credits: Option<String>,
    seats: u32,
    #[serde(default)]
    features: Vec<Feature>,
    #[serde(default)]
    contract: bool,
}

#[derive(Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
enum Feature {
    Organizations,
    SingleSignOn,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PackEntry {
    id: String,
    name: String,
    price: String,
    credits: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ModelEntry {
    id: String,
    name: String,
    unit: String,
    credits: String,
}

/// The catalog, or every flaw in its values; a flaw in the file's form is the only one told.
fn parse(text: &str) -> Result<Catalog, Vec<String>> {
    let file: File = toml::from_str(text).map_err(|error| vec![error.to_string()])?;
    let mut flaws = Flaws(Vec::new());
    let plans: Vec<_> = file.plans.iter().map(|entry| plan(entry, &mut flaws)).collect();
    let packs: Vec<_> = file.packs.iter().map(|entry| pack(entry, &mut flaws)).collect();
    let models: Vec<_> = file.models.iter().map(|entry| model(entry, &mut flaws)).collect();
    if !flaws.0.is_empty() {
        return Err(flaws.0);
    }
    let catalog = Catalog::new(
        plans.into_iter().flatten().collect(),
        packs.into_iter().flatten().collect(),
        models.into_iter().flatten().collect(),
    );
    catalog.map_err(|flaws| flaws.iter().map(ToString::to_string).collect())
}

fn plan(entry: &PlanEntry, flaws: &mut Flaws) -> Option<Plan> {
    let name = format!("plan {}", entry.id);
    let priced = [("price", &entry.price), ("credits", &entry.credits)];
    for (field, value) in priced {
        match (entry.contract, value) {
            (true, Some(_)) => flaws.add(&name, field, "must be left out: the contract says it"),
            (false, None) => flaws.add(&name, field, "is missing"),
            _ => {}
        }
    }
    let id = product_id(&name, &entry.id, flaws);
    let price = entry.price.as_ref().map(|text| flaws.value(&name, "price", text));
    let credits = entry.credits.as_ref().map(|text| flaws.value(&name, "credits", text));
    Some(Plan {
        id: id?,
        display_name: entry.name.clone(),
        price: price.flatten(),
        credits: credits.flatten().unwrap_or(Credits::ZERO),
        seats: entry.seats,
        organization: entry.features.contains(&Feature::Organizations),
        single_sign_on: entry.features.contains(&Feature::SingleSignOn),
    })
}

fn pack(entry: &PackEntry, flaws: &mut Flaws) -> Option<Pack> {
    let name = format!("pack {}", entry.id);
    let id = product_id(&name, &entry.id, flaws);
    let price = flaws.value::<Price>(&name, "price", &entry.price);
    let credits = flaws.value::<Credits>(&name, "credits", &entry.credits);
    Some(Pack { id: id?, display_name: entry.name.clone(), price: price?, credits: credits? })
}

fn model(entry: &ModelEntry, flaws: &mut Flaws) -> Option<ModelPrice> {
    let name = format!("model {}", entry.id);
    let model = ModelName::parse(&entry.id).map_err(|error| flaws.add(&name, "id", error));
    let credits = flaws.value::<Credits>(&name, "credits", &entry.credits);
    Some(ModelPrice {
        model: model.ok()?,
        display_name: entry.name.clone(),
        unit: entry.unit.clone(),
        credits_per_unit: credits?,
    })
}

fn product_id(name: &str, text: &str, flaws: &mut Flaws) -> Option<ProductId> {
    let id = ProductId::parse(text);
    if id.is_none() {
        let form = "must be 1 to 63 of a-z, 0-9, '-' and '_', beginning with a letter";
        flaws.add(name, "id", form);
    }
    id
}

/// What is wrong so far, each with the place where it is.
struct Flaws(Vec<String>);

impl Flaws {
    fn add(&mut self, name: &str, field: &str, flaw: impl Display) {
        self.0.push(format!("{name}: {field} {flaw}"));
    }

    fn value<T: FromStr<Err: Display>>(&mut self, name: &str, field: &str, text: &str) -> Option<T> {
        text.parse().map_err(|error| self.add(name, field, error)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flaws(text: &str) -> Vec<String> {
        match parse(text) {
            Ok(_) => Vec::new(),
            Err(flaws) => flaws,
        }
    }

    #[test]
    fn the_built_in_catalog_is_what_the_product_sells() {
        let catalog = load(None).unwrap_or_else(|error| panic!("{error}"));
        let plans: Vec<_> = catalog
            .plans()
            .iter()
            .map(|it| {
                let price = it.price.map(|price| price.to_string());
                (it.id.as_str(), price, it.credits.to_string(), it.seats, it.organization, it.single_sign_on)
            })
            .collect();
        let price = |text: &str| Some(text.to_owned());
        assert_eq!(
            plans,
            [
                ("free", price("0.00 USD"), "0".to_owned(), 5, false, false),
                ("business", price("100.00 USD"), "1500".to_owned(), 10, true, false),
                ("enterprise", None, "0".to_owned(), 100, true, true),
            ]
        );
        let packs: Vec<_> = catalog.packs().iter().map(|it| format!("{} {} {}", it.id, it.price, it.credits)).collect();
        assert_eq!(packs, ["starter 20.00 USD 300", "standard 100.00 USD 1500", "premium 200.00 USD 3000"]);
        let models: Vec<_> = catalog.models().iter().map(|it| it.model.as_str()).collect();
        let known = ["veo-3.1", "kling-3.0-pro", "seedance-2.0", "hailuo-2.3", "claude-opus-4.7", "gemini-3.1-pro"];
        for model in known {
            assert!(models.contains(&model), "{model} has a price");
        }
        assert_eq!(models[0], "veo-3.1", "models stay in the file's order");
    }

    /// Each changes one thing of the built-in catalog: what, into what, and what is said about it.
    const FLAWS: &[(&str, &str, &str)] = &[
        (r#"credits = "1500""#, r#"credits = "1e3""#, "plan business: credits must"),
        (r#"credits = "1500""#, r#"credits = "-1""#, "plan business: credits must"),
        (r#"price = "100.00 USD""#, r#"price = "100.00""#, "plan business: price must"),
        (r#"price = "100.00 USD""#, r#"price = "100.00 usd""#, "plan business: price must"),
        (r#"price = "100.00 USD""#, r#"price = "100.001 USD""#, "the price of plan business must be a whole number"),
        (r#"price = "100.00 USD""#, r#"price = "-1.00 USD""#, "the price of plan business must"),
        (r#"price = "100.00 USD""#, r#"price = "100.00 EUR""#, "plan business is priced in another currency"),
        (r#"id = "free""#, r#"id = "gratis""#, "the catalog needs a plan `free`"),
        (r#"price = "0.00 USD""#, r#"price = "1.00 USD""#, "the catalog needs a plan `free`"),
        (r#"id = "business""#, r#"id = "free""#, "plan free is listed twice"),
        (r#"id = "business""#, r#"id = "Business""#, "plan Business: id must be 1 to 63 of a-z"),
        ("seats = 10\n", "seats = 0\n", "plan business must have at least one seat"),
        ("seats = 10\n", "seats = -1\n", "invalid value"),
        ("seats = 10\n", "", "missing field `seats`"),
        ("seats = 10\n", "seats = 10\ncolour = 1\n", "unknown field `colour`"),
        (r#"["organizations"]"#, r#"["teleport"]"#, "unknown variant `teleport`"),
        ("contract = true\n", "", "plan enterprise: price is missing"),
        ("contract = true\n", "contract = true\ncredits = \"5\"\n", "plan enterprise: credits must be left out"),
        (r#"credits = "300""#, r#"credits = "0""#, "pack starter must be worth more than zero credits"),
        (r#"price = "20.00 USD""#, r#"price = "0.00 USD""#, "a pack cannot be free"),
        (r#"name = "Starter""#, r#"name = " ""#, "pack starter has no name"),
        (r#"id = "standard""#, r#"id = "starter""#, "pack starter is listed twice"),
        (r#"unit = "second""#, r#"unit = """#, "model veo-3.1 has no name or unit"),
        (r#"id = "veo-3.1""#, r#"id = "veo-3.1 ""#, "model veo-3.1 : id must be 1 to 128 bytes"),
        (r#"credits = "6""#, r#"credits = "0.0000001""#, "model veo-3.1: credits must"),
        ("[[models]]", "[[modles]]", "unknown field `modles`"),
        ("[[packs]]", "[[packs", "TOML parse error"),
    ];

    #[test]
    fn every_flaw_is_told_by_its_place() {
        for &(from, to, said) in FLAWS {
            assert!(BUILT_IN.contains(from), "the built-in catalog has {from}");
            let found = flaws(&BUILT_IN.replacen(from, to, 1));
            assert!(found.iter().any(|flaw| flaw.contains(said)), "{from} → {to}: wanted {said:?}, found {found:#?}");
        }
    }

    #[test]
    fn several_flaws_are_told_together() {
        let text = BUILT_IN
            .replace(r#"price = "20.00 USD""#, r#"price = "cheap""#)
            .replace(r#"credits = "0.1""#, r#"credits = "x""#);
        let found = flaws(&text);
        assert_eq!(found.len(), 2, "{found:#?}");
        assert!(found[0].starts_with("pack starter: price"), "{found:#?}");
        assert!(found[1].starts_with("model gemini-3.1-pro: credits"), "{found:#?}");
    }

    #[test]
    fn a_file_is_named_when_it_is_wrong() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("shop.toml");
        let missing = load(Some(&path)).unwrap_err().to_string();
        assert!(missing.contains("shop.toml") && missing.contains("cannot be read"), "{missing}");
        fs::write(&path, "plans = 1").unwrap();
        let wrong = load(Some(&path)).unwrap_err().to_string();
        assert!(wrong.contains("shop.toml") && wrong.contains("line 1"), "{wrong}");
        fs::write(&path, BUILT_IN.replace("Business", "Team")).unwrap();
        let catalog = load(Some(&path)).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(catalog.plan("business").unwrap().display_name, "Team");
    }
}
