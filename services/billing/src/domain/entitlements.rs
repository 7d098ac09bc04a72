//! What an owner's plan allows: by the subscription that holds, else by the free plan. What is answered to whoever asks, what is
//! told to the others and what is compared goes by this one rule.

use super::assortment::Assortment;
use super::catalog::{Catalog, ProductId};
use super::contract::Features;
use super::subscription::Subscription;

/// What an owner's plan allows now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entitlements {
    /// The plan that holds.
    pub plan: ProductId,
    /// How many members and pending invitations an organization may have.
    pub seats: u32,
    /// What it allows besides.
    pub features: Features,
}

impl Entitlements {
    /// By a subscription that holds: its seats are its own, and so is what its contract includes. What a plan of the catalog
    /// includes the catalog says; one that is no longer for sale keeps it.
    pub fn by(sold: &Assortment, live: &Subscription) -> Self {
        let of_plan = || sold.plan_of(live.plan.as_str()).map(Features::of);
        Self {
            plan: live.plan.clone(),
            seats: live.seats,
            features: live.features.or_else(of_plan).unwrap_or_default(),
        }
    }

    /// Without a subscription: the free plan, which every catalog has.
    pub fn free(catalog: &Catalog) -> Option<Self> {
        let free = catalog.plan(Catalog::FREE)?;
        Some(Self { plan: free.id.clone(), seats: free.seats, features: Features::of(free) })
    }
}
