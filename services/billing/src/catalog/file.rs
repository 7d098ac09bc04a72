//! The form of the catalog's file and of the text by which a catalog is kept.

use serde::{Deserialize, Serialize};

use crate::domain::{Catalog, Feature, Features, Interval, MeterPrice, ModelPrice, Pack, Plan, Rate, Scope};

/// The file as it is written: nothing but texts and numbers, so that every flaw can be told at once.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) plans: Vec<PlanEntry>,
    pub(super) packs: Vec<PackEntry>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) models: Vec<ModelEntry>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanEntry {
    pub(super) id: String,
    pub(super) name: String,
    #[serde(default, skip_serializing_if = "Interval::is_month")]
    pub(super) interval: Interval,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) price: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) credits: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) rollover: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) grant_in_grace: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<ScopeEntry>,
    pub(super) seats: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seat_price: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) credits_per_seat: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) features: Vec<Feature>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) contract: bool,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PackEntry {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) price: String,
    pub(super) credits: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scope: Option<ScopeEntry>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ScopeEntry {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) models: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) projects: Vec<String>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ModelEntry {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) meters: Vec<MeterEntry>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MeterEntry {
    pub(super) id: String,
    pub(super) unit: String,
    pub(super) credits: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) changes: Vec<ChangeEntry>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ChangeEntry {
    pub(super) from: String,
    pub(super) credits: String,
}

impl File {
    /// A catalog as its file says it.
    pub(super) fn of(catalog: &Catalog) -> Self {
        Self {
            plans: catalog.plans().iter().map(PlanEntry::of).collect(),
            packs: catalog.packs().iter().map(PackEntry::of).collect(),
            models: catalog.models().iter().map(ModelEntry::of).collect(),
        }
    }
}

impl PlanEntry {
    fn of(plan: &Plan) -> Self {
        Self {
            id: plan.id.to_string(),
            name: plan.display_name.clone(),
            interval: plan.interval,
            price: plan.price.map(|price| price.to_string()),
            credits: plan.price.map(|_| plan.credits.to_string()),
            rollover: plan.rollover.map(|cap| cap.to_string()),
            grant_in_grace: plan.grant_in_grace,
            scope: ScopeEntry::of(&plan.scope),
            seats: plan.seats,
            seat_price: plan.extra_seat.map(|(price, _)| price.to_string()),
            credits_per_seat: plan
                .extra_seat
                .and_then(|(_, credits)| (!credits.is_zero()).then(|| credits.to_string())),
            features: Features::of(plan).list().collect(),
            contract: plan.price.is_none(),
        }
    }
}

impl PackEntry {
    fn of(pack: &Pack) -> Self {
        Self {
            id: pack.id.to_string(),
            name: pack.display_name.clone(),
            price: pack.price.to_string(),
            credits: pack.credits.to_string(),
            scope: ScopeEntry::of(&pack.scope),
        }
    }
}

impl ScopeEntry {
    fn of(scope: &Scope) -> Option<Self> {
        let models = scope.models().iter().map(ToString::to_string).collect();
        let projects = scope.projects().iter().map(ToString::to_string).collect();
        (!scope.is_any()).then_some(Self { models, projects })
    }
}

impl ModelEntry {
    fn of(price: &ModelPrice) -> Self {
        let meters = price.meters.iter().filter_map(MeterEntry::of).collect();
        Self { id: price.model.to_string(), name: price.display_name.clone(), meters }
    }
}

impl MeterEntry {
    /// `None` for a meter without a rate, which no catalog has.
    fn of(price: &MeterPrice) -> Option<Self> {
        let (first, changes) = price.rates.split_first()?;
        let change = |rate: &Rate| {
            Some(ChangeEntry { from: rate.from?.to_rfc3339(), credits: rate.credits_per_unit.to_string() })
        };
        Some(Self {
            id: price.meter.to_string(),
            unit: price.unit.clone(),
            credits: first.credits_per_unit.to_string(),
            changes: changes.iter().filter_map(change).collect(),
        })
    }
}
