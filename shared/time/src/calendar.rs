//! The calendar (Gregorian, UTC): the beginnings of hours, days and months, and anchored months.

use jiff::civil::DateTime;
use jiff::tz::Offset;

use crate::{Span, Timestamp};

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
        self.civil().map_or(self, |civil| {
            Self::from_civil(
                civil
                    .date()
                    .first_of_month()
                    .to_datetime(jiff::civil::Time::midnight()),
            )
        })
    }

    /// This time of day `months` months later on this day of the month, or on that month's last day if it
    /// is shorter; at most [`Timestamp::MAX`].
    ///
    /// Call it on the **anchor** with a growing count, never on the last result: from 31 January that
    /// gives 28 February and then 31 March, where going on from 28 February would give 28 March.
    #[must_use]
    pub fn add_months_anchored(self, months: u32) -> Self {
        self.civil()
            .and_then(|civil| {
                civil
                    .checked_add(jiff::Span::new().try_months(months).ok()?)
                    .ok()
            })
            .map_or(Self::MAX, Self::from_civil)
    }

    /// `None` never happens: jiff's range is wider than this crate's.
    fn civil(self) -> Option<DateTime> {
        let time = jiff::Timestamp::from_microsecond(self.as_micros()).ok()?;
        Some(Offset::UTC.to_datetime(time))
    }

    fn from_civil(civil: DateTime) -> Self {
        // jiff's timestamps end a day before its dates do, far after ours.
        Offset::UTC
            .to_timestamp(civil)
            .map_or(Self::MAX, |time| Self::clamped(time.as_microsecond()))
    }
}
