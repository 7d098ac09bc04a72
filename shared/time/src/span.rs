//! [`Span`]: a length of time.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A length of time in microseconds, never negative. A day is 24 hours; months are the calendar's
/// business ([`crate::Timestamp::add_months_anchored`]).
///
/// The text form is for people and configuration: `7d`, `1h 30m`, `250ms`. Databases have the integer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Span(i64);

/// How far the clocks of two machines usually are apart at most, and so how far ahead of this one's the clock may have been that
/// wrote an instant which only puts off or counts. One that lies further ahead says nothing, or it would hold for as long.
/// What ends something for somebody is judged by [`crate::BELIEVED_AHEAD`], which is far more.
pub const CLOCKS_APART: Span = Span::MINUTE;

/// Why something is not a length of time; each message is a sentence for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SpanError {
    /// It is below zero.
    #[error("must not be negative")]
    Negative,
    /// It is longer than [`Span::MAX`].
    #[error("must not be longer than 3652059 days")]
    TooLong,
    /// The text is not numbers with units.
    #[error("must be a length of time such as 7d, 1h 30m or 250ms")]
    Malformed,
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);
    /// One millisecond.
    pub const MILLISECOND: Self = Self(1_000);
    /// One second.
    pub const SECOND: Self = Self(1_000_000);
    /// Sixty seconds.
    pub const MINUTE: Self = Self(60 * Self::SECOND.0);
    /// Sixty minutes.
    pub const HOUR: Self = Self(60 * Self::MINUTE.0);
    /// Twenty-four hours.
    pub const DAY: Self = Self(24 * Self::HOUR.0);
    /// The longest span: 3,652,059 days, from the first [`crate::Timestamp`] to the last.
    pub const MAX: Self = Self(3_652_059 * Self::DAY.0);

    /// A span in microseconds; [`SpanError::Negative`] or [`SpanError::TooLong`] outside the range.
    pub const fn from_micros(micros: i64) -> Result<Self, SpanError> {
        if micros < 0 {
            Err(SpanError::Negative)
        } else if micros > Self::MAX.0 {
            Err(SpanError::TooLong)
        } else {
            Ok(Self(micros))
        }
    }

    pub(crate) const fn clamped(micros: i64) -> Self {
        if micros < 0 {
            Self::ZERO
        } else if micros > Self::MAX.0 {
            Self::MAX
        } else {
            Self(micros)
        }
    }

    /// That many milliseconds, at most [`Span::MAX`].
    pub const fn from_millis(millis: u64) -> Self {
        Self::MILLISECOND.saturating_mul(millis)
    }

    /// That many seconds, at most [`Span::MAX`].
    pub const fn from_secs(secs: u64) -> Self {
        Self::SECOND.saturating_mul(secs)
    }

    /// That many minutes, at most [`Span::MAX`].
    pub const fn from_mins(mins: u64) -> Self {
        Self::MINUTE.saturating_mul(mins)
    }

    /// That many hours, at most [`Span::MAX`].
    pub const fn from_hours(hours: u64) -> Self {
        Self::HOUR.saturating_mul(hours)
    }

    /// That many days of 24 hours, at most [`Span::MAX`].
    pub const fn from_days(days: u64) -> Self {
        Self::DAY.saturating_mul(days)
    }

    /// A standard duration, rounded down to microseconds, at most [`Span::MAX`].
    pub fn from_std(duration: Duration) -> Self {
        i64::try_from(duration.as_micros()).map_or(Self::MAX, Self::clamped)
    }

    /// The standard duration.
    pub const fn to_std(self) -> Duration {
        Duration::from_micros(self.0.unsigned_abs())
    }

    /// The span in microseconds: what a database stores.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// The span in milliseconds, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0.unsigned_abs() / 1_000
    }

    /// The span in seconds, rounded down. Proration counts in these.
    pub const fn as_secs(self) -> u64 {
        self.0.unsigned_abs() / 1_000_000
    }

    /// Whether it is no time at all.
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Both spans one after the other, at most [`Span::MAX`].
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self::clamped(self.0.saturating_add(other.0))
    }

    /// What is left without `other`, at least [`Span::ZERO`].
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self::clamped(self.0 - other.0)
    }

    /// That many times the span, at most [`Span::MAX`].
    #[must_use]
    pub const fn saturating_mul(self, times: u64) -> Self {
        let micros = self.0.unsigned_abs().saturating_mul(times);
        if micros > Self::MAX.0.unsigned_abs() {
            Self::MAX
        } else {
            // Below MAX, an i64.
            Self(micros.cast_signed())
        }
    }
}

impl fmt::Display for Span {
    /// Whole units from days down to microseconds, those that are zero left out: `1d 30m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(i64, &str); 6] = [
            (Span::DAY.0, "d"),
            (Span::HOUR.0, "h"),
            (Span::MINUTE.0, "m"),
            (Span::SECOND.0, "s"),
            (Span::MILLISECOND.0, "ms"),
            (1, "us"),
        ];
        if self.is_zero() {
            return f.write_str("0s");
        }
        let mut rest = self.0;
        let mut gap = "";
        for (unit, name) in UNITS {
            let count = rest / unit;
            rest %= unit;
            if count > 0 {
                write!(f, "{gap}{count}{name}")?;
                gap = " ";
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Span {
    type Err = SpanError;
    /// Reads what jiff calls friendly durations (`7d`, `1h 30m`, `2 hours`, `250ms`) and ISO 8601
    /// (`PT15M`), without months and years; digits below a microsecond are dropped.
    fn from_str(text: &str) -> Result<Self, SpanError> {
        let span: jiff::Span = text.parse().map_err(|_| SpanError::Malformed)?;
        if span.get_years() != 0 || span.get_months() != 0 {
            return Err(SpanError::Malformed);
        }
        if span.is_negative() {
            return Err(SpanError::Negative);
        }
        let duration = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| SpanError::TooLong)?;
        i64::try_from(duration.as_micros()).map_err(|_| SpanError::TooLong).and_then(Self::from_micros)
    }
}

impl TryFrom<String> for Span {
    type Error = SpanError;
    fn try_from(text: String) -> Result<Self, SpanError> {
        text.parse()
    }
}

impl From<Span> for String {
    fn from(span: Span) -> Self {
        span.to_string()
    }
}

impl From<Duration> for Span {
    fn from(duration: Duration) -> Self {
        Self::from_std(duration)
    }
}

impl From<Span> for Duration {
    fn from(span: Span) -> Self {
        span.to_std()
    }
}
