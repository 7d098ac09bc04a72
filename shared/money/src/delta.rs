//! [`CreditDelta`]: by how much an amount of credits changes.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::credits::{Credits, CreditsError};
use crate::decimal::{self, Buffer};

/// A change of credits: from −10¹² to 10¹² credits, in steps of a millionth.
///
/// The text form always shows the direction: `+12.5`, `-3`, and `0` for no change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CreditDelta(i64);

impl CreditDelta {
    /// No change.
    pub const ZERO: Self = Self(0);

    /// A change in micro-credits; [`CreditsError::TooLarge`] outside the range.
    pub const fn from_micro(micro: i64) -> Result<Self, CreditsError> {
        if micro < -Credits::MAX.micro() || micro > Credits::MAX.micro() {
            Err(CreditsError::TooLarge)
        } else {
            Ok(Self(micro))
        }
    }

    /// A change upwards.
    pub const fn plus(credits: Credits) -> Self {
        Self(credits.micro())
    }

    /// A change downwards.
    pub const fn minus(credits: Credits) -> Self {
        Self(-credits.micro())
    }

    /// The change in micro-credits.
    pub const fn micro(self) -> i64 {
        self.0
    }

    /// Whether credits are lost.
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// Both changes one after the other, unless out of range.
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match Self::from_micro(self.0 + other.0) {
            Ok(sum) => Some(sum),
            Err(_) => None,
        }
    }

    /// The amount after the change, unless it would be negative or above [`Credits::MAX`].
    pub const fn checked_apply(self, to: Credits) -> Option<Credits> {
        match Credits::from_micro(to.micro() + self.0) {
            Ok(credits) => Some(credits),
            Err(_) => None,
        }
    }
}

impl From<Credits> for CreditDelta {
    fn from(credits: Credits) -> Self {
        Self::plus(credits)
    }
}

impl std::ops::Neg for CreditDelta {
    type Output = Self;
    fn neg(self) -> Self {
        // The range is symmetric, so this never overflows.
        Self(-self.0)
    }
}

impl FromStr for CreditDelta {
    type Err = CreditsError;
    fn from_str(text: &str) -> Result<Self, CreditsError> {
        match text.as_bytes() {
            [b'-', ..] => text[1..].parse().map(Self::minus),
            [b'+', ..] => text[1..].parse().map(Self::plus),
            _ => text.parse().map(Self::plus),
        }
        .map_err(|error| match error {
            // A second sign, or a sign with nothing behind it.
            CreditsError::Negative => CreditsError::Malformed,
            CreditsError::Empty if !text.is_empty() => CreditsError::Malformed,
            other => other,
        })
    }
}

impl TryFrom<String> for CreditDelta {
    type Error = CreditsError;
    fn try_from(text: String) -> Result<Self, CreditsError> {
        text.parse()
    }
}

impl From<CreditDelta> for String {
    fn from(delta: CreditDelta) -> Self {
        delta.to_string()
    }
}

impl fmt::Display for CreditDelta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Buffer::default();
        match self.0 {
            0 => {}
            1.. => text.write_char('+')?,
            _ => text.write_char('-')?,
        }
        decimal::write_millionths(&mut text, self.0.unsigned_abs(), 0)?;
        f.pad(text.as_str())
    }
}
