//! What a plan includes besides people and credits, as it was when somebody was sold it. A catalog edit touches it as little as the
//! price: who is subscribed has what was sold, and whoever subscribes, or changes to another plan, afterwards has the new.

use serde::{Deserialize, Serialize};

use super::assortment::Assortment;
use super::catalog::{Plan, ProductId};
use super::change::Terms;
use super::contract::Features;
use super::scope::Scope;
use super::subscription::Subscription;

/// What a plan includes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Included {
    /// What it allows; where there is a contract, that says so instead.
    #[serde(flatten)]
    pub features: Features,
    /// What the credits of its months may pay for.
    #[serde(default, skip_serializing_if = "Scope::is_any")]
    pub scope: Scope,
}

impl Included {
    /// What a plan of the catalog includes.
    pub fn of(plan: &Plan) -> Self {
        Self { features: Features::of(plan), scope: plan.scope.clone() }
    }

    /// What the catalog says of a plan that somebody is on, for where an earlier program has kept nothing. Of one that no catalog
    /// has that is remembered, nobody knows.
    pub fn said(sold: &Assortment, plan: &ProductId) -> Option<Self> {
        sold.plan_of(plan.as_str()).map(Self::of)
    }

    /// What a subscription's plan includes: what is kept with it, or else what the catalog says.
    pub fn by(sold: &Assortment, live: &Subscription) -> Self {
        live.included.as_deref().cloned().or_else(|| Self::said(sold, &live.plan)).unwrap_or_default()
    }
}

impl Subscription {
    /// What is kept of what its plan allows, by its contract or as it was sold; `None` where an earlier program has kept nothing,
    /// and the catalog says it.
    pub fn kept_features(&self) -> Option<Features> {
        self.features.or_else(|| self.included.as_ref().map(|it| it.features))
    }

    /// The same subscription with what its plan includes, and the one that is planned, where an earlier program has not kept
    /// that: as the catalog says it.
    #[must_use]
    pub fn with_included(&self, sold: &Assortment) -> Self {
        let of = |plan: &ProductId| Included::said(sold, plan).map(Box::new);
        let included = self.included.clone().or_else(|| of(&self.plan));
        let planned = |it: &Terms| {
            let stays = || if it.plan == self.plan { included.clone() } else { of(&it.plan) };
            Terms { included: it.included.clone().or_else(stays), ..it.clone() }
        };
        let pending = self.pending.as_ref().map(planned);
        Self { included, pending, ..self.clone() }
    }
}
