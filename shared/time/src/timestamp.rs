//! [`Timestamp`]: a point in time.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{Span, calendar};

/// A point in time in microseconds since 1970-01-01T00:00:00Z, from the beginning of the year 1 to the
/// end of the year 9999 (the range of `google.protobuf.Timestamp`).
///
/// The text form is RFC 3339 in UTC. Serde and databases have the integer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Timestamp(i64);

/// Why something is not a point in time; each message is a sentence for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TimestampError {
    /// It is before the year 1 or after the year 9999.
    #[error("must be between the years 1 and 9999")]
    OutOfRange,
    /// The text is not a date and time with an offset.
    #[error("must be a time such as 2026-01-31T12:00:00Z")]
    Malformed,
}

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    /// 0001-01-01T00:00:00Z.
    pub const MIN: Self = Self(-62_135_596_800_000_000);
    /// 9999-12-31T23:59:59.999999Z.
    pub const MAX: Self = Self(253_402_300_799_999_999);

    /// A time in microseconds since 1970; [`TimestampError::OutOfRange`] outside the years 1 to 9999.
    pub const fn from_micros(micros: i64) -> Result<Self, TimestampError> {
        if micros < Self::MIN.0 || micros > Self::MAX.0 { Err(TimestampError::OutOfRange) } else { Ok(Self(micros)) }
    }

    /// A time in seconds since 1970, as JWTs have it; [`TimestampError::OutOfRange`] outside the years
    /// 1 to 9999.
    pub const fn from_unix_secs(secs: i64) -> Result<Self, TimestampError> {
        match secs.checked_mul(1_000_000) {
            Some(micros) => Self::from_micros(micros),
            None => Err(TimestampError::OutOfRange),
        }
    }

    /// For the calendar, whose results can only leave the range at its ends.
    pub(crate) const fn clamped(micros: i64) -> Self {
        if micros < Self::MIN.0 {
            Self::MIN
        } else if micros > Self::MAX.0 {
            Self::MAX
        } else {
            Self(micros)
        }
    }

    /// Microseconds since 1970: what a database stores.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since 1970, rounded down; zero for times before. Ids are made from it.
    pub const fn as_millis(self) -> u64 {
        if self.0 < 0 { 0 } else { self.0.unsigned_abs() / 1_000 }
    }

    /// Seconds since 1970, rounded down.
    pub const fn as_unix_secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// The time that much later, unless after [`Timestamp::MAX`].
    pub const fn checked_add(self, span: Span) -> Option<Self> {
        match self.0.checked_add(span.as_micros()) {
            Some(micros) if micros <= Self::MAX.0 => Some(Self(micros)),
            _ => None,
        }
    }

    /// The time that much earlier, unless before [`Timestamp::MIN`].
    pub const fn checked_sub(self, span: Span) -> Option<Self> {
        match self.0.checked_sub(span.as_micros()) {
            Some(micros) if micros >= Self::MIN.0 => Some(Self(micros)),
            _ => None,
        }
    }

    /// The time that much later, at most [`Timestamp::MAX`].
    #[must_use]
    pub const fn saturating_add(self, span: Span) -> Self {
        Self::clamped(self.0.saturating_add(span.as_micros()))
    }

    /// The time that much earlier, at least [`Timestamp::MIN`].
    #[must_use]
    pub const fn saturating_sub(self, span: Span) -> Self {
        Self::clamped(self.0.saturating_sub(span.as_micros()))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub const fn since(self, earlier: Self) -> Span {
        // The whole range is below 2^59 microseconds, so the difference fits.
        Span::clamped(self.0 - earlier.0)
    }

    /// RFC 3339 in UTC, with as many fraction digits as needed: `2026-01-31T12:00:00.25Z`.
    pub fn to_rfc3339(self) -> String {
        self.to_string()
    }
}

impl TryFrom<i64> for Timestamp {
    type Error = TimestampError;
    fn try_from(micros: i64) -> Result<Self, TimestampError> {
        Self::from_micros(micros)
    }
}

impl From<Timestamp> for i64 {
    fn from(time: Timestamp) -> Self {
        time.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}Z", self.civil())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = TimestampError;
    /// Reads RFC 3339 with any offset; digits below a microsecond are dropped (rounded down).
    fn from_str(text: &str) -> Result<Self, TimestampError> {
        calendar::parse(text)
    }
}
