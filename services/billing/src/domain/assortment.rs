//! What is sold now, and what of earlier catalogs still holds for those who have it.
//!
//! An edit of the catalog takes nothing from anybody: whoever is on a plan that is no longer listed keeps what it includes, and
//! what was held for work of a model that is no longer listed is settled at the last rates there were.

use std::iter;
use std::sync::Arc;

use bursar_time::Timestamp;

use super::attribution::ModelName;
use super::catalog::{Catalog, CatalogVersion, KeptCatalog, Plan};
use super::rates::{MeterName, MeterUse, ModelPrice, Priced, RateCard};

/// The catalog that is in use, and what earlier ones had that it has not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assortment {
    present: Arc<KeptCatalog>,
    plans: Vec<Plan>,
    rates: FormerRates,
}

impl Assortment {
    /// A catalog that has been in use since a time; nothing is known of earlier ones yet.
    pub fn new(present: Arc<KeptCatalog>, since: Timestamp) -> Self {
        Self { present, plans: Vec::new(), rates: FormerRates { until: since, cards: Vec::new() } }
    }

    /// Remembers what an earlier catalog had, and neither the present one nor those that were remembered before: the one
    /// that was in use last comes first.
    pub fn remember(&mut self, earlier: &KeptCatalog) {
        self.remember_plans(earlier.catalog.plans());
        self.rates.remember(earlier.version, earlier.catalog.rates(), self.present.catalog.rates());
    }

    fn remember_plans(&mut self, plans: &[Plan]) {
        for plan in plans {
            if self.plan_of(plan.id.as_str()).is_none() {
                self.plans.push(plan.clone());
            }
        }
    }

    /// What there is once another catalog has taken the present one's place.
    #[must_use]
    pub fn followed_by(&self, next: Arc<KeptCatalog>, since: Timestamp) -> Self {
        let mut following = Self::new(next, since);
        following.remember(&self.present);
        following.remember_plans(&self.plans);
        for (version, card) in &self.rates.cards {
            following.rates.remember(*version, card, following.present.catalog.rates());
        }
        following
    }

    /// The catalog that is in use, and its version.
    pub fn present(&self) -> &Arc<KeptCatalog> {
        &self.present
    }

    /// What is for sale.
    pub fn catalog(&self) -> &Catalog {
        &self.present.catalog
    }

    /// The plan of somebody who is on it: as the present catalog has it, or the last one that had it. What is for sale is
    /// in [`Assortment::catalog`] alone.
    pub fn plan_of(&self, id: &str) -> Option<&Plan> {
        self.catalog().plan(id).or_else(|| self.plans.iter().find(|plan| plan.id.as_str() == id))
    }

    /// The rates that the present catalog has no more.
    pub fn former_rates(&self) -> &FormerRates {
        &self.rates
    }
}

/// The last rates of models and meters that the rate card has no more. Nothing new is priced by them; what was held before
/// they went is settled at them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FormerRates {
    /// Since when the present rate card is in use.
    until: Timestamp,
    /// By catalog, the one that was in use last first; of each what no later one has.
    cards: Vec<(CatalogVersion, RateCard)>,
}

impl FormerRates {
    /// Of a rate card that was always in use.
    pub fn none() -> Self {
        Self { until: Timestamp::EPOCH, cards: Vec::new() }
    }

    fn remember(&mut self, version: CatalogVersion, card: &RateCard, present: &RateCard) {
        let later: Vec<&RateCard> = iter::once(present).chain(self.cards.iter().map(|(_, card)| card)).collect();
        let has = |model: &ModelName, meter: &MeterName| {
            let mut prices = later.iter().filter_map(|card| card.get(model));
            prices.any(|price| price.meters.iter().any(|it| it.meter == *meter))
        };
        let is_gone = |price: &&ModelPrice| price.meters.iter().any(|it| !has(&price.model, &it.meter));
        let gone: Vec<ModelPrice> = card.prices().filter(is_gone).cloned().collect();
        if !gone.is_empty() {
            self.cards.push((version, RateCard::new(gone)));
        }
    }

    /// What this usage of a model costs at the last rates there were, and whose these are; for work that credits were held
    /// for at `held`. `None` where there were none, or that was later.
    pub fn price(
        &self,
        model: &ModelName,
        usage: &[MeterUse],
        (held, now): (Timestamp, Timestamp),
    ) -> Option<(Priced, CatalogVersion)> {
        if held > self.until {
            return None;
        }
        self.cards.iter().find_map(|(version, card)| Some((card.price(model, usage, now).ok()?, *version)))
    }
}
