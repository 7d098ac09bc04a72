//! [`Credits`]: an amount of credits that is never negative.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::Quantity;
use crate::decimal::{self, Buffer, Flaw, MILLION};

/// An amount of credits: 0 up to 10¹² credits, in steps of a millionth (a micro-credit).
///
/// The text form is a decimal with at most six fraction digits (`12.5`), printed as short as possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Credits(i64);

/// Why something is not an amount of credits; each message is a sentence for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CreditsError {
    /// The text is empty.
    #[error("must be an amount of credits such as 12.5, not empty")]
    Empty,
    /// The amount is below zero, or has a minus sign.
    #[error("must not be negative")]
    Negative,
    /// The text has more than six fraction digits.
    #[error("must have at most six digits after the point")]
    TooPrecise,
    /// The amount is above 10¹² credits.
    #[error("must not be more than 1000000000000 credits")]
    TooLarge,
    /// The text is not digits with an optional fraction, or is longer than 30 characters.
    #[error("must be a decimal number such as 12.5, in digits, at most 30 characters long")]
    Malformed,
}

impl Credits {
    /// No credits.
    pub const ZERO: Self = Self(0);
    /// The greatest amount: 10¹² credits, 10¹⁸ micro-credits.
    pub const MAX: Self = Self(1_000_000_000_000 * MILLION);
    /// One credit.
    pub const ONE: Self = Self(MILLION);

    /// An amount in micro-credits; [`CreditsError::Negative`] or [`CreditsError::TooLarge`] outside the
    /// range.
    pub const fn from_micro(micro: i64) -> Result<Self, CreditsError> {
        if micro < 0 {
            Err(CreditsError::Negative)
        } else if micro > Self::MAX.0 {
            Err(CreditsError::TooLarge)
        } else {
            Ok(Self(micro))
        }
    }

    /// That many whole credits; a `u32` of them is always in range.
    pub const fn whole(credits: u32) -> Self {
        // Widening loses nothing; `i64::from` cannot be called in a const fn.
        Self(credits as i64 * MILLION)
    }

    /// The amount in micro-credits.
    pub const fn micro(self) -> i64 {
        self.0
    }

    /// Whether the amount is zero.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// The sum, unless it is above [`Credits::MAX`].
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        // Two amounts of at most 10^18 cannot overflow an i64.
        match Self::from_micro(self.0 + other.0) {
            Ok(sum) => Some(sum),
            Err(_) => None,
        }
    }

    /// The difference, unless `other` is greater.
    pub const fn checked_sub(self, other: Self) -> Option<Self> {
        match Self::from_micro(self.0 - other.0) {
            Ok(difference) => Some(difference),
            Err(_) => None,
        }
    }

    /// The difference, or zero if `other` is greater.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        match self.checked_sub(other) {
            Some(difference) => difference,
            None => Self::ZERO,
        }
    }

    /// The smaller of the two.
    #[must_use]
    pub const fn min(self, other: Self) -> Self {
        if self.0 < other.0 { self } else { other }
    }

    /// The sum of many amounts, unless it is above [`Credits::MAX`].
    pub fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }

    /// That many times the amount, unless it is above [`Credits::MAX`].
    pub fn checked_mul(self, times: u32) -> Option<Self> {
        self.0.checked_mul(i64::from(times)).and_then(|micro| Self::from_micro(micro).ok())
    }

    /// What `quantity` units cost at this many credits for one unit, unless it is above
    /// [`Credits::MAX`].
    ///
    /// Rounds **up** to the next micro-credit, so that no use of something with a rate is free.
    pub fn checked_mul_quantity(self, quantity: Quantity) -> Option<Self> {
        // Both factors are at most 10^18, so the product of 10^36 fits an i128.
        let million = i128::from(MILLION);
        let product = i128::from(self.0) * i128::from(quantity.millionths());
        let micro = product / million + i128::from(product % million != 0);
        i64::try_from(micro).ok().and_then(|micro| Self::from_micro(micro).ok())
    }
}

impl From<Flaw> for CreditsError {
    fn from(flaw: Flaw) -> Self {
        match flaw {
            Flaw::Empty => Self::Empty,
            Flaw::Negative => Self::Negative,
            Flaw::TooPrecise => Self::TooPrecise,
            Flaw::TooLarge => Self::TooLarge,
            Flaw::Malformed => Self::Malformed,
        }
    }
}

impl FromStr for Credits {
    type Err = CreditsError;
    fn from_str(text: &str) -> Result<Self, CreditsError> {
        Ok(Self(decimal::parse_millionths(text, Self::MAX.0)?))
    }
}

impl TryFrom<String> for Credits {
    type Error = CreditsError;
    fn try_from(text: String) -> Result<Self, CreditsError> {
        text.parse()
    }
}

impl From<Credits> for String {
    fn from(credits: Credits) -> Self {
        credits.to_string()
    }
}

impl fmt::Display for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Buffer::default();
        decimal::write_millionths(&mut text, self.0.unsigned_abs(), 0)?;
        f.pad(text.as_str())
    }
}
