//! Reading the catalog's file, and the text by which a catalog is kept. What a catalog must be is the domain's to say
//! ([`Catalog::new`]).

mod file;
mod form;
mod spelling;
pub(crate) mod taxes;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use bursar_money::{Credits, Currency, Price};
use bursar_time::Timestamp;

use crate::domain::{Catalog, CatalogFlaw, Feature, Interval, MeterName, MeterPrice, ModelName, ModelPrice};
use crate::domain::{Pack, Plan, ProductId, ProjectName, Rate, Scope};
use file::{File, MeterEntry, ModelEntry, PackEntry, PlanEntry, ScopeEntry};
use form::LeftOut;

/// The catalog of whoever configures none.
const BUILT_IN: &str = include_str!("../../catalog.toml");

/// How long a catalog's canonical text may be: so long that its answer fits one message by far.
const MAX_TEXT: usize = 1024 * 1024;

/// How long its file may be, with what it says to people alone.
const MAX_FILE: u64 = 4 * 1024 * 1024;

/// Reads the catalog: the file at `path`, or the built-in one.
pub(crate) fn load(path: Option<&Path>) -> Result<Catalog, CatalogError> {
    let place = path.map_or(Place::BuiltIn, |path| Place::File(path.to_owned()));
    let text = match path {
        None => Ok(BUILT_IN.to_owned()),
        Some(path) => text_of(path).map_err(|flaw| vec![flaw]),
    };
    text.and_then(|text| parse(&text)).map_err(|flaws| CatalogError { place, flaws })
}

/// The text of a file, which must be one and not too long: nothing is waited for that may never come.
fn text_of(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    if !path.metadata().map_err(unreadable)?.is_file() {
        return Err("cannot be read: it is no file".to_owned());
    }
    let mut text = String::new();
    let read = fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text));
    match read {
        // Cut off, it may end within a character.
        Ok(length) if length as u64 <= MAX_FILE => Ok(text),
        Err(error) if path.metadata().is_ok_and(|file| file.len() <= MAX_FILE) => Err(unreadable(error)),
        _ => Err(format!("is too long to be read: more than {MAX_FILE} bytes")),
    }
}

/// The latest form of [`canonical`] texts. A later program gives those that it needs new fields for a higher number, so that an
/// older one does not take them for damaged.
pub(crate) const FORMAT: i64 = 5;

/// The form of a catalog's text: that of the first program that can read it. Form 2 has seats beside a plan's own, form 3 plans
/// that are paid by the year, form 4 what rolls over, form 5 what is granted in grace.
pub(crate) fn format(catalog: &Catalog) -> i64 {
    let of = |plan: &Plan| match (plan.interval, plan.extra_seat) {
        _ if plan.grant_in_grace => FORMAT,
        _ if plan.rollover.is_some() => 4,
        (Interval::Year, _) => 3,
        (Interval::Month, Some(_)) => 2,
        (Interval::Month, None) => 1,
    };
    catalog.plans().iter().map(of).max().unwrap_or(1)
}

/// A catalog's one text, the same for the same catalog however its file is written: JSON, the fields in a fixed order,
/// without those that say nothing. New fields are left out where they are not used, so that a catalog without them is
/// recognised by later programs.
pub(crate) fn canonical(catalog: &Catalog) -> Result<String, serde_json::Error> {
    serde_json::to_string(&File::of(catalog))
}

/// The catalog of a [`canonical`] text; every flaw when it is none.
pub(crate) fn from_canonical(text: &str) -> Result<Catalog, Vec<String>> {
    let file = serde_json::from_str(text).map_err(|error| vec![error.to_string()])?;
    read(&file, LeftOut::default(), Flaws::default())
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

impl CatalogError {
    /// Everything that is wrong, each in a sentence.
    pub(crate) fn into_flaws(self) -> Vec<String> {
        self.flaws
    }
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

/// The catalog of a file's text, or every flaw in its form, its values and what they are together, so that nobody starts anew
/// for each. A text that is no TOML has that flaw alone, and an entry that nobody can name those of its form.
fn parse(text: &str) -> Result<Catalog, Vec<String>> {
    let mut flaws = Flaws::default();
    let Some((mut file, left_out)) = form::read(text, &mut flaws) else { return Err(flaws.said) };
    spelling::spell(&mut file, &mut flaws);
    let catalog = read(&file, left_out, flaws)?;
    let kept = canonical(&catalog).map_err(|error| vec![error.to_string()])?;
    if kept.len() > MAX_TEXT {
        return Err(vec![format!("it is too long to be kept: {} of at most {MAX_TEXT} bytes", kept.len())]);
    }
    Ok(catalog)
}

/// The catalog of a file without flaws, if none was `told` before; else all of them. In a place whose value cannot be read stands
/// one that is no flaw, so that everything else is looked at.
fn read(file: &File, mut left_out: LeftOut, told: Flaws) -> Result<Catalog, Vec<String>> {
    let (currency, has_stand_ins) = (currency(file), told.has_stand_ins);
    let mut flaws = Flaws { has_stand_ins, ..Flaws::default() };
    let plans: Vec<_> = file.plans.iter().filter_map(|entry| plan(entry, currency, &mut flaws)).collect();
    let packs = file.packs.iter().filter_map(|entry| pack(entry, currency, &mut flaws)).collect();
    let models: Vec<_> = file.models.iter().filter_map(|entry| model(entry, &mut flaws)).collect();
    left_out.plans |= plans.len() < file.plans.len();
    left_out.models |= models.len() < file.models.len();
    match Catalog::new(plans, packs, models) {
        Ok(catalog) if told.said.is_empty() && flaws.said.is_empty() => return Ok(catalog),
        Ok(_) => {}
        Err(more) => flaws.said.extend(more.iter().filter(|flaw| is_certain(flaw, left_out)).map(ToString::to_string)),
    }
    // A name with a flaw is looked at twice: as it is spelled, and as one of a catalog.
    let before: BTreeSet<String> = told.said.iter().cloned().collect();
    flaws.said.retain(|flaw| !before.contains(flaw));
    Err(told.said.into_iter().chain(flaws.said).collect())
}

/// Whether a flaw would be one whatever the entries say that were left out.
fn is_certain(flaw: &CatalogFlaw, left_out: LeftOut) -> bool {
    match flaw {
        CatalogFlaw::NoFreePlan => !left_out.plans,
        CatalogFlaw::UnknownModel(..) => !left_out.models,
        _ => true,
    }
}

/// The currency of the first price that can be read: what stands for another is no flaw beside that.
fn currency(file: &File) -> Currency {
    let is_read = |id: &str| ProductId::parse(id).is_some();
    let plans = file.plans.iter().filter(|plan| is_read(&plan.id));
    let plans = plans.flat_map(|plan| [plan.price.as_ref(), plan.seat_price.as_ref()]).flatten();
    let packs = file.packs.iter().filter(|pack| is_read(&pack.id)).map(|pack| &pack.price);
    let first = plans.chain(packs).find_map(|text| text.parse::<Price>().ok());
    first.map_or(Currency::USD, Price::currency)
}

/// Stands for a price that cannot be read.
fn some_price(currency: Currency) -> Price {
    Price::from_minor_units(currency, 1).unwrap_or_else(|_| Price::zero(currency))
}

fn plan(entry: &PlanEntry, currency: Currency, flaws: &mut Flaws) -> Option<Plan> {
    let name = format!("plan {}", entry.id);
    let priced = [("price", &entry.price), ("credits", &entry.credits)];
    if entry.contract && entry.rollover.is_some() {
        flaws.add(&name, "rollover", "must be left out: nothing rolls over by a contract");
    }
    if entry.contract && entry.grant_in_grace {
        flaws.add(&name, "grant_in_grace", "must be left out: nothing is granted in grace by a contract");
    }
    for (field, value) in priced {
        match (entry.contract, value) {
            (true, Some(_)) => flaws.add(&name, field, "must be left out: the contract says it"),
            (false, None) => flaws.add(&name, field, "is missing"),
            _ => {}
        }
    }
    let extra_seat = extra_seat(&name, entry, flaws);
    let id = product_id(&name, &entry.id, flaws);
    let price = entry.price.as_ref().and_then(|text| flaws.value(&name, "price", text));
    let credits = entry.credits.as_ref().and_then(|text| flaws.value(&name, "credits", text));
    let rollover = entry.rollover.as_ref().and_then(|text| flaws.value(&name, "rollover", text));
    let scope = scope(&name, entry.scope.as_ref(), flaws);
    let unread = if entry.id == Catalog::FREE { Price::zero(currency) } else { some_price(currency) };
    Some(Plan {
        id: id?,
        display_name: entry.name.clone(),
        interval: entry.interval,
        price: if entry.contract { price } else { price.or(Some(unread)) },
        credits: credits.unwrap_or(if entry.contract { Credits::ZERO } else { Credits::ONE }),
        rollover: rollover.filter(|_| !entry.contract),
        grant_in_grace: entry.grant_in_grace && !entry.contract,
        scope,
        seats: entry.seats,
        extra_seat,
        organization: entry.features.contains(&Feature::Organizations),
        single_sign_on: entry.features.contains(&Feature::SingleSignOn),
    })
}

/// What a seat beside the plan's own costs, and the credits that it adds.
fn extra_seat(name: &str, entry: &PlanEntry, flaws: &mut Flaws) -> Option<(Price, Credits)> {
    let given = [("seat_price", &entry.seat_price), ("credits_per_seat", &entry.credits_per_seat)];
    for (field, _) in given.into_iter().filter(|(_, value)| entry.contract && value.is_some()) {
        flaws.add(name, field, "must be left out: the contract says it");
    }
    if entry.seat_price.is_none() && entry.credits_per_seat.is_some() {
        flaws.add(name, "seat_price", "is missing: without one no seats are sold that could have credits");
    }
    let price = entry.seat_price.as_ref().map(|text| flaws.value(name, "seat_price", text));
    let credits = entry.credits_per_seat.as_ref().map(|text| flaws.value(name, "credits_per_seat", text));
    price.flatten().map(|price| (price, credits.flatten().unwrap_or(Credits::ZERO)))
}

fn pack(entry: &PackEntry, currency: Currency, flaws: &mut Flaws) -> Option<Pack> {
    let name = format!("pack {}", entry.id);
    let id = product_id(&name, &entry.id, flaws);
    let price = flaws.value(&name, "price", &entry.price).unwrap_or_else(|| some_price(currency));
    let credits = flaws.value(&name, "credits", &entry.credits).unwrap_or(Credits::ONE);
    let scope = scope(&name, entry.scope.as_ref(), flaws);
    Some(Pack { id: id?, display_name: entry.name.clone(), price, credits, scope })
}

fn scope(name: &str, entry: Option<&ScopeEntry>, flaws: &mut Flaws) -> Scope {
    let Some(entry) = entry else { return Scope::default() };
    let models = flaws.all(name, "scope.models", &entry.models, ModelName::parse);
    let projects = flaws.all(name, "scope.projects", &entry.projects, ProjectName::parse);
    let is_empty = entry.models.is_empty() && entry.projects.is_empty();
    if models.is_empty() && projects.is_empty() && !is_empty {
        return Scope::default();
    }
    Scope::new(models, projects).map_err(|error| flaws.add(name, "scope", error)).unwrap_or_default()
}

fn model(entry: &ModelEntry, flaws: &mut Flaws) -> Option<ModelPrice> {
    let name = format!("model {}", entry.id);
    let model = ModelName::parse(&entry.id).map_err(|error| flaws.add(&name, "id", error));
    let meters: Vec<_> = entry.meters.iter().map(|entry| meter(&name, entry, flaws)).collect();
    Some(ModelPrice {
        model: model.ok()?,
        display_name: entry.name.clone(),
        meters: meters.into_iter().collect::<Option<_>>()?,
    })
}

fn meter(model: &str, entry: &MeterEntry, flaws: &mut Flaws) -> Option<MeterPrice> {
    let name = format!("meter {} of {model}", entry.id);
    let meter = MeterName::parse(&entry.id).map_err(|error| flaws.add(&name, "id", error));
    let first = flaws.value(&name, "credits", &entry.credits).unwrap_or(Credits::ONE);
    let mut rates = vec![Rate { credits_per_unit: first, from: None }];
    for change in &entry.changes {
        let from = flaws.value::<Timestamp>(&name, "changes.from", &change.from);
        let credits = flaws.value(&name, "changes.credits", &change.credits).unwrap_or(Credits::ONE);
        rates.extend(from.map(|from| Rate { credits_per_unit: credits, from: Some(from) }));
    }
    Some(MeterPrice { meter: meter.ok()?, unit: entry.unit.clone(), rates })
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
#[derive(Default)]
struct Flaws {
    said: Vec<String>,
    /// Whether some texts of the file stand for others that cannot be read ([`form::UNREAD`]).
    has_stand_ins: bool,
}

impl Flaws {
    fn add(&mut self, name: &str, field: &str, flaw: impl Display) {
        self.said.push(format!("{name}: {field} {flaw}"));
    }

    fn value<T: FromStr<Err: Display>>(&mut self, name: &str, field: &str, text: &str) -> Option<T> {
        if self.is_told(text) {
            return None;
        }
        text.parse().map_err(|error| self.add(name, field, error)).ok()
    }

    /// Whether a text stands for one whose flaw is told already.
    fn is_told(&self, text: &str) -> bool {
        self.has_stand_ins && text == form::UNREAD
    }

    /// Those of the values that can be read.
    fn all<T, E: Display>(
        &mut self,
        name: &str,
        field: &str,
        texts: &[String],
        parse: impl Fn(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let mut read = Vec::with_capacity(texts.len());
        for text in texts {
            match parse(text) {
                Ok(value) => read.push(value),
                Err(_) if self.is_told(text) => {}
                Err(error) => self.add(name, field, error),
            }
        }
        read
    }
}
