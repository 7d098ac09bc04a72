//! The rate card: what a unit of a model's work costs in credits.

use std::collections::BTreeMap;

use bursar_money::{Credits, Quantity};

use super::attribution::ModelName;

/// The price of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelPrice {
    /// The model.
    pub model: ModelName,
    /// What people call it.
    pub display_name: String,
    /// What a quantity of it counts: `second`, `image`, `token`.
    pub unit: String,
    /// What one unit costs, above zero.
    pub credits_per_unit: Credits,
}

/// Why no price can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// The rate card does not list the model.
    #[error("the rate card has no price for this model")]
    UnknownModel,
    /// More credits than an account can ever hold.
    #[error("the quantity costs more credits than an account can hold")]
    TooExpensive,
}

/// The prices of all models.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RateCard(BTreeMap<ModelName, ModelPrice>);

impl RateCard {
    /// A rate card of these prices; of two for the same model, the later one counts.
    pub fn new(prices: impl IntoIterator<Item = ModelPrice>) -> Self {
        Self(prices.into_iter().map(|price| (price.model.clone(), price)).collect())
    }

    /// The price of a model.
    pub fn get(&self, model: &ModelName) -> Option<&ModelPrice> {
        self.0.get(model)
    }

    /// All prices, by model.
    pub fn prices(&self) -> impl Iterator<Item = &ModelPrice> {
        self.0.values()
    }

    /// What `quantity` units of `model` cost, rounded up to a millionth of a credit so that no
    /// quantity is free.
    pub fn estimate(&self, model: &ModelName, quantity: Quantity) -> Result<Credits, RateError> {
        let price = self.get(model).ok_or(RateError::UnknownModel)?;
        price.credits_per_unit.checked_mul_quantity(quantity).ok_or(RateError::TooExpensive)
    }
}
