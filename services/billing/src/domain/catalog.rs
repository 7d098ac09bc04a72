//! The catalog: plans, packs and model prices, checked as a whole.
//!
//! Reading the file happens elsewhere; here is what a catalog must be. An edited catalog never
//! touches credits that somebody has: lots carry their own terms.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;

use bursar_money::{Credits, Currency, Price};
use bursar_time::Timestamp;
use serde::{Deserialize, Serialize};

use super::attribution::ModelName;
use super::interval::Interval;
use super::rates::{MAX_METERS, MAX_RATES, MeterPrice, ModelPrice, RateCard};
use super::refusal::Inconsistent;
use super::scope::Scope;

/// Which of the catalogs that were ever used: 1, 2, 3 …, in the order of their first use. The same catalog keeps its
/// version, whatever was used in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CatalogVersion(NonZeroU32);

impl CatalogVersion {
    /// The version of this number; none for zero.
    pub fn new(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// Its number, above zero.
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for CatalogVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A catalog and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptCatalog {
    /// Its version.
    pub version: CatalogVersion,
    /// When it was first used.
    pub first_used_at: Timestamp,
    /// What is for sale in it.
    pub catalog: Arc<Catalog>,
}

/// The name of a plan or pack in the catalog and the API, such as `business`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ProductId(String);

impl ProductId {
    /// Accepts 1 to 63 characters of `a-z 0-9 - _`, beginning with a letter.
    pub fn parse(text: &str) -> Option<Self> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_".contains(c);
        let fits = (1..=63).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.chars().all(allowed);
        fits.then(|| Self(text.to_owned()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ProductId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ProductId {
    type Error = Inconsistent;
    fn try_from(text: String) -> Result<Self, Inconsistent> {
        Self::parse(&text).ok_or(Inconsistent("a plan's or pack's name is unreadable"))
    }
}

impl From<ProductId> for String {
    fn from(id: ProductId) -> Self {
        id.0
    }
}

/// A plan that is paid by the month or by the year.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Its name in the API.
    pub id: ProductId,
    /// What people call it.
    pub display_name: String,
    /// How long one payment lasts.
    pub interval: Interval,
    /// What that costs; `None` when a contract says so.
    pub price: Option<Price>,
    /// Each month's allowance; zero for none. A contract may say otherwise.
    pub credits: Credits,
    /// How many credits of a month that is over are there for one more at most; `None` for none.
    pub rollover: Option<Credits>,
    /// Whether a month's allowance is there from its boundary on although its payment is late, until that comes to nothing.
    pub grant_in_grace: bool,
    /// What the allowance may pay for.
    pub scope: Scope,
    /// How many members and pending invitations an organization may have.
    pub seats: u32,
    /// What each seat beside those costs an interval, and the credits that it adds to each month; `None` where none are sold.
    pub extra_seat: Option<(Price, Credits)>,
    /// Whether an organization can be run on it.
    pub organization: bool,
    /// Whether single sign-on is included.
    pub single_sign_on: bool,
}

/// A pack of credits that is bought once and never expires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pack {
    /// Its name in the API.
    pub id: ProductId,
    /// What people call it.
    pub display_name: String,
    /// What it costs.
    pub price: Price,
    /// How many credits it is.
    pub credits: Credits,
    /// What they may pay for.
    pub scope: Scope,
}

/// What is wrong with a catalog.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogFlaw {
    /// Two plans, two packs, two models, or two meters of a model of one name.
    #[error("{0} is listed twice")]
    Duplicate(String),
    /// A display name or a unit that says nothing.
    #[error("{0} has no name or unit that people can read")]
    Unnamed(String),
    /// A negative price, a pack for nothing or a fraction of the smallest coin.
    #[error(
        "the price of {0} must be a whole number of the currency's smallest unit and not negative, and a pack cannot be free"
    )]
    Price(String),
    /// Prices in more than one currency.
    #[error("{0} is priced in another currency than the rest")]
    Currency(String),
    /// A pack or a unit of work worth nothing.
    #[error("{0} must be worth more than zero credits")]
    NoCredits(String),
    /// A plan on which nobody can work.
    #[error("{0} must have at least one seat")]
    NoSeats(String),
    /// More seats for nothing, or for a fraction of the smallest coin; or of everybody's plan, which nobody pays.
    #[error(
        "the price of a seat of {0} must be a whole number of the currency's smallest unit above zero, and the plan `free` has none to sell"
    )]
    SeatPrice(String),
    /// A scope for a model that the catalog does not list.
    #[error("{0} is scoped to the model {1}, which the catalog does not list")]
    UnknownModel(String, ModelName),
    /// A model that is measured by nothing, or by more than anybody would read.
    #[error("{0} must have 1 to {MAX_METERS} meters")]
    Meters(String),
    /// A meter without a price that was always in force, or whose changes do not follow one another.
    #[error(
        "{0} must have one rate without a date and at most {changes} changes, each from a later date than the one before",
        changes = MAX_RATES - 1
    )]
    Rates(String),
    /// A year that costs nothing, or as much as a contract says: a year is sold for money.
    #[error("{0} is paid by the year: it must have a price above zero, and can be neither `free` nor a contract")]
    FreeYear(String),
    /// Nothing that would roll over, or nothing that could.
    #[error("{0} has a rollover: that must be above zero, and the plan must have credits of its own")]
    Rollover(String),
    /// Nothing whose payment could be late, or nothing that would be granted.
    #[error("{0} has grant_in_grace: it must have a price above zero and credits of its own")]
    Grace(String),
    /// No plan without price and allowance, which everybody is on who has not subscribed.
    #[error("the catalog needs a plan `free` that costs nothing")]
    NoFreePlan,
}

/// Everything that is for sale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Catalog {
    plans: Vec<Plan>,
    packs: Vec<Pack>,
    models: Vec<ModelPrice>,
    rates: RateCard,
}

impl Catalog {
    /// Accepts a catalog without flaws.
    ///
    /// # Errors
    /// Every flaw there is, in the order of the lists.
    pub fn new(plans: Vec<Plan>, packs: Vec<Pack>, models: Vec<ModelPrice>) -> Result<Self, Vec<CatalogFlaw>> {
        let mut flaws = Vec::new();
        duplicates(plans.iter().map(|plan| format!("plan {}", plan.id)), &mut flaws);
        duplicates(packs.iter().map(|pack| format!("pack {}", pack.id)), &mut flaws);
        duplicates(models.iter().map(|price| format!("model {}", price.model)), &mut flaws);
        for plan in &plans {
            check_plan(plan, &mut flaws);
        }
        for pack in &packs {
            check_pack(pack, &mut flaws);
        }
        for price in &models {
            check_model(price, &mut flaws);
        }
        let catalog = Self { plans, packs, rates: RateCard::new(models.iter().cloned()), models };
        catalog.check_scopes(&mut flaws);
        check_currencies(&catalog.plans, &catalog.packs, &mut flaws);
        let is_free = |plan: &Plan| plan.id.as_str() == Self::FREE && plan.price.is_some_and(Price::is_zero);
        if !catalog.plans.iter().any(is_free) {
            flaws.push(CatalogFlaw::NoFreePlan);
        }
        if flaws.is_empty() { Ok(catalog) } else { Err(flaws) }
    }

    /// The plan of everybody who has not subscribed to another.
    pub const FREE: &'static str = "free";

    /// All plans in the catalog's order.
    pub fn plans(&self) -> &[Plan] {
        &self.plans
    }

    /// All packs in the catalog's order.
    pub fn packs(&self) -> &[Pack] {
        &self.packs
    }

    /// All prices of models in the catalog's order.
    pub fn models(&self) -> &[ModelPrice] {
        &self.models
    }

    /// What models cost.
    pub fn rates(&self) -> &RateCard {
        &self.rates
    }

    /// The models a scope names that the catalog does not list.
    pub fn unlisted<'a>(&self, scope: &'a Scope) -> impl Iterator<Item = &'a ModelName> {
        scope.models().iter().filter(|model| self.rates.get(model).is_none())
    }

    /// Credits that are good for a model nobody can use are a slip of the pen.
    fn check_scopes(&self, flaws: &mut Vec<CatalogFlaw>) {
        let plans = self.plans.iter().map(|plan| (format!("plan {}", plan.id), &plan.scope));
        let packs = self.packs.iter().map(|pack| (format!("pack {}", pack.id), &pack.scope));
        for (name, scope) in plans.chain(packs) {
            let unknown = self.unlisted(scope);
            flaws.extend(unknown.map(|model| CatalogFlaw::UnknownModel(name.clone(), model.clone())));
        }
    }

    /// The one currency of all prices.
    pub fn currency(&self) -> Option<Currency> {
        self.plans.iter().find_map(|plan| plan.price).map(Price::currency)
    }

    /// A plan by name.
    pub fn plan(&self, id: &str) -> Option<&Plan> {
        self.plans.iter().find(|plan| plan.id.as_str() == id)
    }

    /// A pack by name.
    pub fn pack(&self, id: &str) -> Option<&Pack> {
        self.packs.iter().find(|pack| pack.id.as_str() == id)
    }
}

fn duplicates(names: impl Iterator<Item = String>, flaws: &mut Vec<CatalogFlaw>) {
    let mut seen = BTreeSet::new();
    for name in names {
        if !seen.insert(name.clone()) {
            flaws.push(CatalogFlaw::Duplicate(name));
        }
    }
}

fn check_plan(plan: &Plan, flaws: &mut Vec<CatalogFlaw>) {
    let name = format!("plan {}", plan.id);
    if plan.display_name.trim().is_empty() {
        flaws.push(CatalogFlaw::Unnamed(name.clone()));
    }
    if plan.price.is_some_and(|price| price.is_negative() || price.minor_units().is_none()) {
        flaws.push(CatalogFlaw::Price(name.clone()));
    }
    let sold = plan.extra_seat.is_none_or(|(price, _)| price.minor_units().is_some_and(|minor| minor > 0));
    if !sold || plan.extra_seat.is_some() && plan.id.as_str() == Catalog::FREE {
        flaws.push(CatalogFlaw::SeatPrice(name.clone()));
    }
    if plan.interval == Interval::Year && plan.price.is_none_or(Price::is_zero) {
        flaws.push(CatalogFlaw::FreeYear(name.clone()));
    }
    // Of a contract's credits the catalog says nothing.
    if plan.rollover.is_some_and(|cap| cap.is_zero() || plan.credits.is_zero()) {
        flaws.push(CatalogFlaw::Rollover(name.clone()));
    }
    if plan.grant_in_grace && (plan.price.is_none_or(Price::is_zero) || plan.credits.is_zero()) {
        flaws.push(CatalogFlaw::Grace(name.clone()));
    }
    if plan.seats == 0 {
        flaws.push(CatalogFlaw::NoSeats(name));
    }
}

fn check_pack(pack: &Pack, flaws: &mut Vec<CatalogFlaw>) {
    let name = format!("pack {}", pack.id);
    if pack.display_name.trim().is_empty() {
        flaws.push(CatalogFlaw::Unnamed(name.clone()));
    }
    if pack.price.minor_units().is_none_or(|minor| minor <= 0) {
        flaws.push(CatalogFlaw::Price(name.clone()));
    }
    if pack.credits.is_zero() {
        flaws.push(CatalogFlaw::NoCredits(name));
    }
}

fn check_model(price: &ModelPrice, flaws: &mut Vec<CatalogFlaw>) {
    let name = format!("model {}", price.model);
    if price.display_name.trim().is_empty() {
        flaws.push(CatalogFlaw::Unnamed(name.clone()));
    }
    if !(1..=MAX_METERS).contains(&price.meters.len()) {
        flaws.push(CatalogFlaw::Meters(name.clone()));
    }
    duplicates(price.meters.iter().map(|meter| format!("meter {} of {name}", meter.meter)), flaws);
    for meter in &price.meters {
        check_meter(meter, &name, flaws);
    }
}

fn check_meter(meter: &MeterPrice, model: &str, flaws: &mut Vec<CatalogFlaw>) {
    let name = format!("meter {} of {model}", meter.meter);
    if meter.unit.trim().is_empty() {
        flaws.push(CatalogFlaw::Unnamed(name.clone()));
    }
    if meter.rates.iter().any(|rate| rate.credits_per_unit.is_zero()) {
        flaws.push(CatalogFlaw::NoCredits(name.clone()));
    }
    let begins = meter.rates.first().is_some_and(|rate| rate.from.is_none());
    let follows = meter.rates.windows(2).all(|pair| pair[0].from < pair[1].from);
    if !begins || !follows || meter.rates.len() > MAX_RATES {
        flaws.push(CatalogFlaw::Rates(name));
    }
}

/// One invoice has one currency, so a catalog has one, too.
fn check_currencies(plans: &[Plan], packs: &[Pack], flaws: &mut Vec<CatalogFlaw>) {
    let prices =
        |plan: &Plan| [plan.price, plan.extra_seat.map(|(price, _)| price)].into_iter().flatten().collect::<Vec<_>>();
    let plans =
        plans.iter().flat_map(|plan| prices(plan).into_iter().map(|price| (format!("plan {}", plan.id), price)));
    let packs = packs.iter().map(|pack| (format!("pack {}", pack.id), pack.price));
    let mut first = None;
    for (name, price) in plans.chain(packs) {
        if *first.get_or_insert(price.currency()) != price.currency() {
            flaws.push(CatalogFlaw::Currency(name));
        }
    }
}
