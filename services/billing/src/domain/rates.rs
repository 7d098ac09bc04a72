//! The rate card: what a model's work costs in credits, meter by meter.
//!
//! Work is measured by meters (input tokens, output tokens, seconds, images), each with a price of its own that may change
//! at a date. Pricing is here; reading the catalog's file and what a catalog must be are not.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;

use bursar_money::{Credits, Quantity};
use bursar_time::Timestamp;

use super::attribution::{AttributionError, ModelName};

/// How many meters a model may have, and work may be measured by.
pub const MAX_METERS: usize = 32;

/// How many rates a meter may have: the first one and its changes.
pub const MAX_RATES: usize = 64;

/// The name of a meter within its model, such as `input_tokens`; of the same form as a model's name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MeterName(ModelName);

impl MeterName {
    /// A name as somebody gives it; see [`ModelName::given`].
    ///
    /// # Errors
    /// It is outside of the form, or not what it seems.
    pub fn given(text: &str) -> Result<Self, AttributionError> {
        ModelName::given(text).map(Self)
    }

    /// A stored name. Accepts 1 to 128 bytes without control characters, not beginning or ending with a space.
    pub fn parse(text: &str) -> Result<Self, AttributionError> {
        ModelName::parse(text).map(Self)
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl fmt::Display for MeterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Borrow<str> for MeterName {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

/// How much of one meter was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterUse {
    /// Which meter; `None` stands for the only one of a model that has just one.
    pub meter: Option<MeterName>,
    /// How much, in the meter's unit.
    pub quantity: Quantity,
}

impl MeterUse {
    /// Whether these can be the usage of one piece of work, whatever the rate card says: there is some, not above
    /// [`MAX_METERS`], and no meter is named twice.
    pub fn check_all(usage: &[Self]) -> Result<(), RateError> {
        if usage.is_empty() {
            return Err(RateError::NoUsage);
        }
        if usage.len() > MAX_METERS {
            return Err(RateError::TooManyMeters);
        }
        for (place, used) in usage.iter().enumerate() {
            if usage[..place].iter().any(|before| before.meter == used.meter) {
                return Err(used.meter.clone().map_or(RateError::MeterMissing, RateError::RepeatedMeter));
            }
        }
        Ok(())
    }
}

/// What one unit costs from a time on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Credits for one unit, above zero.
    pub credits_per_unit: Credits,
    /// From when; `None` for the first one, which was always in force.
    pub from: Option<Timestamp>,
}

/// The price of one meter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeterPrice {
    /// The meter.
    pub meter: MeterName,
    /// What it counts, for people: `second`, `image`, `thousand tokens`.
    pub unit: String,
    /// What a unit costs: one rate without a date, then its changes, each later than the one before. At most [`MAX_RATES`].
    pub rates: Vec<Rate>,
}

impl MeterPrice {
    /// What a unit costs at `at`: the last rate that is in force then. Never `None` in a rate card of a catalog.
    pub fn rate_at(&self, at: Timestamp) -> Option<Credits> {
        let in_force = |rate: &&Rate| rate.from.is_none_or(|from| from <= at);
        self.rates.iter().rev().find(in_force).map(|rate| rate.credits_per_unit)
    }
}

/// The price of one model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelPrice {
    /// The model.
    pub model: ModelName,
    /// What people call it.
    pub display_name: String,
    /// Its meters in the catalog's order: 1 to [`MAX_METERS`], each of another name.
    pub meters: Vec<MeterPrice>,
}

/// What one meter's part of some work costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// The meter.
    pub meter: MeterName,
    /// How much of it was used.
    pub quantity: Quantity,
    /// What a unit cost.
    pub rate: Credits,
    /// The quantity at that rate, rounded up to a millionth of a credit.
    pub amount: Credits,
}

/// What some work costs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Priced {
    /// Meter by meter, in the order of the usage.
    pub components: Vec<Component>,
    /// Their sum.
    pub amount: Credits,
}

/// Why no price can be given; each message is a sentence for the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RateError {
    /// The rate card does not list the model.
    #[error("the catalog has no price for the model {0}")]
    UnknownModel(ModelName),
    /// The model has no such meter.
    #[error("the model {model} has no meter {meter}")]
    UnknownMeter {
        /// The model.
        model: ModelName,
        /// What was taken for a meter of it.
        meter: MeterName,
    },
    /// Nothing was used.
    #[error("must name at least one meter")]
    NoUsage,
    /// More than [`MAX_METERS`] meters.
    #[error("must name at most {MAX_METERS} meters")]
    TooManyMeters,
    /// The same meter twice.
    #[error("names the meter {0} twice")]
    RepeatedMeter(MeterName),
    /// A meter without a name where that does not say which.
    #[error("must name each meter: only a model with exactly one can do without")]
    MeterMissing,
    /// More credits than an account can ever hold.
    #[error("costs more credits than an account can hold")]
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

    /// What this usage of `model` costs at the rates in force at `at`.
    ///
    /// Each component is rounded **up** to a millionth of a credit, so that no use is free; the amount is their sum.
    ///
    /// # Errors
    /// What [`MeterUse::check_all`] refuses, then the model, then the first meter that has no price: nothing is ever free
    /// because it is unknown. [`RateError::TooExpensive`] when a component or the sum is above [`Credits::MAX`].
    pub fn price(&self, model: &ModelName, usage: &[MeterUse], at: Timestamp) -> Result<Priced, RateError> {
        MeterUse::check_all(usage)?;
        let price = self.get(model).ok_or_else(|| RateError::UnknownModel(model.clone()))?;
        let mut components: Vec<Component> = Vec::with_capacity(usage.len());
        for used in usage {
            let meter = price.find(used.meter.as_ref())?;
            if components.iter().any(|before| before.meter == meter.meter) {
                return Err(RateError::RepeatedMeter(meter.meter.clone()));
            }
            components.push(meter.component(model, used.quantity, at)?);
        }
        let amounts = components.iter().map(|it| it.amount);
        let amount = Credits::checked_sum(amounts).ok_or(RateError::TooExpensive)?;
        Ok(Priced { components, amount })
    }
}

impl ModelPrice {
    /// The meter of that name, or the only one there is.
    fn find(&self, name: Option<&MeterName>) -> Result<&MeterPrice, RateError> {
        match (name, self.meters.as_slice()) {
            (None, [only]) => Ok(only),
            (None, _) => Err(RateError::MeterMissing),
            (Some(name), meters) => {
                let found = meters.iter().find(|it| it.meter == *name);
                found.ok_or_else(|| RateError::UnknownMeter { model: self.model.clone(), meter: name.clone() })
            }
        }
    }
}

impl MeterPrice {
    fn component(&self, model: &ModelName, quantity: Quantity, at: Timestamp) -> Result<Component, RateError> {
        let meter = self.meter.clone();
        let unknown = || RateError::UnknownMeter { model: model.clone(), meter: meter.clone() };
        let rate = self.rate_at(at).ok_or_else(unknown)?;
        let amount = rate.checked_mul_quantity(quantity).ok_or(RateError::TooExpensive)?;
        Ok(Component { meter, quantity, rate, amount })
    }
}
