//! [`Price`]: an amount of money in one currency.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::currency::Currency;
use crate::decimal::{self, Buffer, Flaw, MILLION};

/// An amount of money: a currency and integer millionths of its unit, from −10¹² to 10¹² units.
///
/// On the wire it is a `google.type.Money`; of that message's nine fraction digits the last three must
/// be zero. Negative prices are credits on an invoice. The text form is `100.00 USD`. Prices of
/// different currencies neither compare nor add.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Price {
    currency: Currency,
    micros: i64,
}

/// Why something is not a price, or a calculation has none; each message is a sentence for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PriceError {
    /// The currency is missing or not three capital letters.
    #[error("must name its currency by three capital letters such as USD")]
    Currency,
    /// `nanos` is beyond ±999,999,999.
    #[error("must have nanos between -999999999 and 999999999")]
    NanosOutOfRange,
    /// `units` and `nanos` have opposite signs.
    #[error("must have units and nanos of the same sign")]
    MixedSigns,
    /// More than six fraction digits.
    #[error("must have at most six digits after the point")]
    TooPrecise,
    /// Beyond ±10¹² units.
    #[error("must not be more than 1000000000000")]
    TooLarge,
    /// The text is not an amount, one space and a currency.
    #[error("must be an amount and a currency such as 100.00 USD")]
    Malformed,
    /// Two prices of different currencies in one calculation.
    #[error("must be in the same currency")]
    CurrencyMismatch,
}

impl Price {
    const MAX_MICROS: i64 = 1_000_000_000_000 * MILLION;

    /// Nothing, in a currency.
    pub const fn zero(currency: Currency) -> Self {
        Self { currency, micros: 0 }
    }

    /// A price in millionths of the currency's unit; [`PriceError::TooLarge`] outside the range.
    pub const fn from_micros(currency: Currency, micros: i64) -> Result<Self, PriceError> {
        if micros < -Self::MAX_MICROS || micros > Self::MAX_MICROS {
            Err(PriceError::TooLarge)
        } else {
            Ok(Self { currency, micros })
        }
    }

    /// A price as `google.type.Money` has it, with that message's rules on `nanos` and signs.
    pub fn from_units_nanos(currency: Currency, units: i64, nanos: i32) -> Result<Self, PriceError> {
        if nanos.unsigned_abs() > 999_999_999 {
            return Err(PriceError::NanosOutOfRange);
        }
        if (units < 0 && nanos > 0) || (units > 0 && nanos < 0) {
            return Err(PriceError::MixedSigns);
        }
        if nanos % 1000 != 0 {
            return Err(PriceError::TooPrecise);
        }
        let micros = units
            .checked_mul(MILLION)
            .and_then(|micros| micros.checked_add(i64::from(nanos / 1000)))
            .ok_or(PriceError::TooLarge)?;
        Self::from_micros(currency, micros)
    }

    /// A price in the currency's smallest unit (cents for USD), as payment providers count.
    pub fn from_minor_units(currency: Currency, minor: i64) -> Result<Self, PriceError> {
        let micros = minor.checked_mul(minor_unit(currency)).ok_or(PriceError::TooLarge)?;
        Self::from_micros(currency, micros)
    }

    /// The currency.
    pub const fn currency(self) -> Currency {
        self.currency
    }

    /// The price in millionths of the currency's unit: what a database stores.
    pub const fn micros(self) -> i64 {
        self.micros
    }

    /// The whole units, rounded towards zero: `units` of a `google.type.Money`.
    pub const fn units(self) -> i64 {
        self.micros / MILLION
    }

    /// The rest in billionths, with the sign of the price: `nanos` of a `google.type.Money`.
    pub const fn nanos(self) -> i32 {
        // The remainder is below 10^6 either way, so 10^9 fits an i32.
        #[expect(clippy::cast_possible_truncation, reason = "below 10^9, see above")]
        {
            (self.micros % MILLION * 1000) as i32
        }
    }

    /// The price in the currency's smallest unit, unless it has a fraction of one.
    pub const fn minor_units(self) -> Option<i64> {
        let unit = minor_unit(self.currency);
        if self.micros % unit == 0 { Some(self.micros / unit) } else { None }
    }

    /// The price without what is below the currency's smallest unit, rounded **down** (towards
    /// negative infinity).
    #[must_use]
    pub const fn floor_to_minor(self) -> Self {
        let below = self.micros.rem_euclid(minor_unit(self.currency));
        // The lower limit is a multiple of every minor unit, so this stays in range.
        Self { currency: self.currency, micros: self.micros - below }
    }

    /// Whether it is nothing.
    pub const fn is_zero(self) -> bool {
        self.micros == 0
    }

    /// Whether it is below zero.
    pub const fn is_negative(self) -> bool {
        self.micros < 0
    }

    /// The same amount with the other sign.
    #[must_use]
    pub const fn negated(self) -> Self {
        Self { currency: self.currency, micros: -self.micros }
    }

    /// The sum; [`PriceError::CurrencyMismatch`] or [`PriceError::TooLarge`].
    pub fn checked_add(self, other: Self) -> Result<Self, PriceError> {
        if self.currency != other.currency {
            return Err(PriceError::CurrencyMismatch);
        }
        Self::from_micros(self.currency, self.micros + other.micros)
    }

    /// The difference; [`PriceError::CurrencyMismatch`] or [`PriceError::TooLarge`].
    pub fn checked_sub(self, other: Self) -> Result<Self, PriceError> {
        self.checked_add(other.negated())
    }

    /// That many times the price, unless out of range.
    pub fn checked_mul(self, times: u32) -> Result<Self, PriceError> {
        let micros = self.micros.checked_mul(i64::from(times)).ok_or(PriceError::TooLarge)?;
        Self::from_micros(self.currency, micros)
    }

    /// The part `numerator / denominator` of the price, at most the whole, rounded **down** (towards
    /// negative infinity) to a millionth; a denominator of zero gives nothing.
    ///
    /// Proration uses it with the seconds that are left and the seconds of the period.
    #[must_use]
    pub fn share(self, numerator: u64, denominator: u64) -> Self {
        if denominator == 0 {
            return Self::zero(self.currency);
        }
        let numerator = numerator.min(denominator);
        // At most 10^18 times 2^64: below 2^127.
        let product = i128::from(self.micros) * i128::from(numerator);
        let micros = product.div_euclid(i128::from(denominator));
        // A share of at most one lies between zero and the price, whole micros both.
        Self { currency: self.currency, micros: i64::try_from(micros).unwrap_or(self.micros) }
    }
}

/// Millionths in the smallest unit of the currency.
const fn minor_unit(currency: Currency) -> i64 {
    MILLION / 10i64.pow(currency.minor_digits())
}

impl PartialOrd for Price {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        (self.currency == other.currency).then(|| self.micros.cmp(&other.micros))
    }
}

impl FromStr for Price {
    type Err = PriceError;
    fn from_str(text: &str) -> Result<Self, PriceError> {
        let (amount, currency) = text.split_once(' ').ok_or(PriceError::Malformed)?;
        let unsigned = amount.strip_prefix('-').unwrap_or(amount);
        let micros = decimal::parse_millionths(unsigned, Self::MAX_MICROS).map_err(|flaw| match flaw {
            Flaw::TooPrecise => PriceError::TooPrecise,
            Flaw::TooLarge => PriceError::TooLarge,
            Flaw::Empty | Flaw::Negative | Flaw::Malformed => PriceError::Malformed,
        })?;
        let currency = currency.parse().map_err(|_| PriceError::Currency)?;
        let negative = unsigned.len() != amount.len();
        Self::from_micros(currency, if negative { -micros } else { micros })
    }
}

impl TryFrom<String> for Price {
    type Error = PriceError;
    fn try_from(text: String) -> Result<Self, PriceError> {
        text.parse()
    }
}

impl From<Price> for String {
    fn from(price: Price) -> Self {
        price.to_string()
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Buffer::default();
        if self.is_negative() {
            text.write_char('-')?;
        }
        let digits = usize::try_from(self.currency.minor_digits()).unwrap_or_default();
        decimal::write_millionths(&mut text, self.micros.unsigned_abs(), digits)?;
        write!(text, " {}", self.currency)?;
        f.pad(text.as_str())
    }
}
