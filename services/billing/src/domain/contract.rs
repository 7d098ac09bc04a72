//! Contracts: what was agreed with one customer instead of what the catalog says of a plan.
//!
//! The plan says what it is called and what its credits may pay for, as it does when the contract is set; everything else is the
//! contract's. A catalog edit never touches it, as it touches nothing that somebody has.

use bursar_money::{Credits, Currency, Price};
use serde::{Deserialize, Serialize};

use super::catalog::{Catalog, Plan};
use super::change::Terms;
use super::included::Included;

/// What a plan, or a contract, allows besides people and credits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Features {
    /// Whether an organization can be run on it.
    #[serde(default)]
    pub organizations: bool,
    /// Whether single sign-on is included.
    #[serde(default)]
    pub single_sign_on: bool,
}

impl Features {
    /// What a plan of the catalog includes.
    pub fn of(plan: &Plan) -> Self {
        Self { organizations: plan.organization, single_sign_on: plan.single_sign_on }
    }

    /// Those that there are, in their order: what is answered and what is told are this list.
    pub fn list(self) -> impl Iterator<Item = Feature> {
        let all = [(self.organizations, Feature::Organizations), (self.single_sign_on, Feature::SingleSignOn)];
        all.into_iter().filter(|(has, _)| *has).map(|(_, feature)| feature)
    }
}

/// One of the things that a plan, or a contract, allows besides people and credits. In the catalog's file it has its name in small
/// letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// An organization can be run on it.
    Organizations,
    /// Single sign-on.
    SingleSignOn,
}

impl Feature {
    /// The name by which others are told of it, which is the API's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Organizations => "ORGANIZATIONS",
            Self::SingleSignOn => "SINGLE_SIGN_ON",
        }
    }
}

/// What an operator agrees with a customer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contract {
    /// The plan, by its id.
    pub plan: String,
    /// Each month's allowance; zero for none.
    pub credits: Credits,
    /// For how many people it is.
    pub seats: u32,
    /// What an interval of the plan costs.
    pub price: Price,
    /// What it includes.
    pub features: Features,
}

/// Why there is no such contract.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    /// The catalog has no such plan.
    #[error("the catalog has no plan {0}")]
    NoPlan(String),
    /// The plan has its own terms.
    #[error("the plan {0} is not sold by contract")]
    NotByContract(String),
    /// The deployment sells in another currency.
    #[error("the price must be in the catalog's currency, {0}")]
    Currency(Currency),
}

impl Contract {
    /// What a subscription by it is.
    ///
    /// # Errors
    /// The catalog has no such plan, sells it by terms of its own, or in another currency.
    pub fn terms(&self, catalog: &Catalog) -> Result<Terms, ContractError> {
        let plan = catalog.plan(&self.plan).ok_or_else(|| ContractError::NoPlan(self.plan.clone()))?;
        if plan.price.is_some() {
            return Err(ContractError::NotByContract(self.plan.clone()));
        }
        if let Some(currency) = catalog.currency().filter(|currency| *currency != self.price.currency()) {
            return Err(ContractError::Currency(currency));
        }
        Ok(Terms {
            plan: plan.id.clone(),
            price: self.price,
            credits: self.credits,
            seats: self.seats,
            extra: None,
            interval: plan.interval,
            features: Some(self.features),
            included: Some(Box::new(Included::of(plan))),
            rollover: None,
            grant_in_grace: false,
            paid_with: None,
        })
    }
}
