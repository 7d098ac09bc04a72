//! What an owner's plan allows: by the subscription that holds, else by the free plan. What is answered to whoever asks, what is
//! told to the others and what is compared goes by this one rule.

use super::assortment::Assortment;
use super::catalog::{Catalog, ProductId};
use super::contract::Features;
use super::included::Included;
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
    /// By a subscription that holds: its seats are its own, and so is what it includes, by its contract or as it was sold.
    pub fn by(sold: &Assortment, live: &Subscription) -> Self {
        let said = || Included::said(sold, &live.plan).map(|it| it.features);
        Self {
            plan: live.plan.clone(),
            seats: live.seats,
            features: live.kept_features().or_else(said).unwrap_or_default(),
        }
    }

    /// Without a subscription: the free plan, which every catalog has.
    pub fn free(catalog: &Catalog) -> Option<Self> {
        let free = catalog.plan(Catalog::FREE)?;
        Some(Self { plan: free.id.clone(), seats: free.seats, features: Features::of(free) })
    }
}
