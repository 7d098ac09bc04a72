//! The calendar (Gregorian, UTC): dates to and from timestamps, the beginnings of hours, days and
//! months, and anchored months.
//!
//! It goes through jiff's civil dates, not its timestamps: those end on 30 December 9999.

use jiff::civil::{Date, DateTime, Time};
use jiff::fmt::temporal::{Pieces, PiecesOffset};
use jiff::{SignedDuration, Span as Months};

use crate::{Span, Timestamp, TimestampError};

/// 1970-01-01T00:00:00.
const EPOCH: DateTime = Date::constant(1970, 1, 1).to_datetime(Time::midnight());

impl Timestamp {
    /// The beginning of the hour that this is in.
    #[must_use]
    pub const fn start_of_hour(self) -> Self {
        self.start_of(Span::HOUR)
    }

    /// The beginning of the UTC day that this is in.
    #[must_use]
    pub const fn start_of_day(self) -> Self {
        self.start_of(Span::DAY)
    }

    const fn start_of(self, unit: Span) -> Self {
        // The range begins at a midnight, so the beginning of anything in it is in it, too.
        Self::clamped(self.as_micros() - self.as_micros().rem_euclid(unit.as_micros()))
    }

    /// The beginning of the calendar month (UTC) that this is in.
    #[must_use]
    pub fn start_of_month(self) -> Self {
        let first = self.civil().date().first_of_month();
        Self::from_civil(first.to_datetime(Time::midnight()))
    }

    /// This time of day `months` months later on this day of the month, or on that month's last day if it
    /// is shorter; at most [`Timestamp::MAX`].
    ///
    /// Call it on the **anchor** with a growing count, never on the last result: from 31 January that
    /// gives 28 February and then 31 March, where going on from 28 February would give 28 March.
    #[must_use]
    pub fn add_months_anchored(self, months: u32) -> Self {
        Months::new()
            .try_months(months)
            .and_then(|months| self.civil().checked_add(months))
            .map_or(Self::MAX, Self::from_civil)
    }

    pub(crate) fn civil(self) -> DateTime {
        // jiff's civil dates go from the year -9999 to the end of 9999: nothing ever saturates.
        EPOCH.saturating_add(SignedDuration::from_micros(self.as_micros()))
    }

    fn from_civil(civil: DateTime) -> Self {
        Self::clamped(micros(civil))
    }
}

/// Microseconds from 1970 to a date and time, rounded down.
fn micros(civil: DateTime) -> i64 {
    let nanos = civil.duration_since(EPOCH).as_nanos();
    // 20,000 years are below 2^60 microseconds.
    i64::try_from(nanos.div_euclid(1_000)).unwrap_or(i64::MAX)
}

/// Reads RFC 3339 with any offset.
pub(crate) fn parse(text: &str) -> Result<Timestamp, TimestampError> {
    let pieces = Pieces::parse(text).map_err(|_| TimestampError::Malformed)?;
    let offset = match pieces.offset() {
        Some(PiecesOffset::Zulu) => 0,
        Some(PiecesOffset::Numeric(offset)) => offset.offset().seconds(),
        _ => return Err(TimestampError::Malformed),
    };
    let (Some(time), None) = (pieces.time(), pieces.time_zone_annotation()) else {
        return Err(TimestampError::Malformed);
    };
    let local = micros(pieces.date().to_datetime(time));
    Timestamp::from_micros(local - i64::from(offset) * 1_000_000)
}
