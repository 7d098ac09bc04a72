//! [`Quantity`]: how much of something was used.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::decimal::{self, Buffer, Flaw, MILLION};

/// How many units (seconds, images, thousands of tokens, …) of something with a rate: above zero, up
/// to 10¹², with at most six fraction digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Quantity(i64);

/// Why something is not a quantity; each message is a sentence for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum QuantityError {
    /// The text is empty.
    #[error("must be a quantity such as 2.5, not empty")]
    Empty,
    /// The quantity is zero, below it, or has a minus sign.
    #[error("must be greater than zero")]
    NotPositive,
    /// The text has more than six fraction digits.
    #[error("must have at most six digits after the point")]
    TooPrecise,
    /// The quantity is above 10¹².
    #[error("must not be more than 1000000000000")]
    TooLarge,
    /// The text is not digits with an optional fraction, or is longer than 30 characters.
    #[error("must be a decimal number such as 2.5, in digits, at most 30 characters long")]
    Malformed,
}

impl Quantity {
    /// One unit.
    pub const ONE: Self = Self(MILLION);
    /// The greatest quantity: 10¹² units.
    pub const MAX: Self = Self(1_000_000_000_000 * MILLION);

    /// A quantity in millionths of a unit; [`QuantityError::NotPositive`] or
    /// [`QuantityError::TooLarge`] outside the range.
    pub const fn from_millionths(millionths: i64) -> Result<Self, QuantityError> {
        if millionths <= 0 {
            Err(QuantityError::NotPositive)
        } else if millionths > Self::MAX.0 {
            Err(QuantityError::TooLarge)
        } else {
            Ok(Self(millionths))
        }
    }

    /// The quantity in millionths of a unit.
    pub const fn millionths(self) -> i64 {
        self.0
    }

    /// Both quantities together, unless above [`Quantity::MAX`].
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match Self::from_millionths(self.0 + other.0) {
            Ok(sum) => Some(sum),
            Err(_) => None,
        }
    }
}

impl From<Flaw> for QuantityError {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::Empty => Self::Empty,
            Flaw::Negative => Self::NotPositive,
            Flaw::TooPrecise => Self::TooPrecise,
            Flaw::TooLarge => Self::TooLarge,
            Flaw::Malformed => Self::Malformed,
        }
    }
}

impl FromStr for Quantity {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        Self::from_millionths(decimal::parse_millionths(text, Self::MAX.0)?)
    }
}

impl TryFrom<String> for Quantity {
    type Error = QuantityError;
    fn try_from(text: String) -> Result<Self, QuantityError> {
        text.parse()
    }
}

impl From<Quantity> for String {
    fn from(quantity: Quantity) -> Self {
        quantity.to_string()
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Buffer::default();
        decimal::write_millionths(&mut text, self.0.unsigned_abs(), 0)?;
        f.pad(text.as_str())
    }
}
