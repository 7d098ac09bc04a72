//! [`Zone`]: where a day and a month begin.
//!
//! Zones come from the database that is built into the program, never from the machine's: two replicas of one version
//! agree when a day begins, whatever image they run on.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use jiff::civil::Date;
use jiff::tz::{TimeZone, TimeZoneDatabase};
use thiserror::Error;

use crate::{Span, Timestamp};

/// A time zone of the IANA database, by name.
#[derive(Clone, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// A name that the IANA database does not have; the message is a sentence for the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("must be a time zone of the IANA database, such as Europe/Berlin")]
pub struct UnknownZone;

static BUILT_IN: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

impl Zone {
    /// The longest name that is looked up.
    const MAX_BYTES: usize = 64;

    /// The name, as the database spells it.
    pub fn name(&self) -> &str {
        self.0.iana_name().unwrap_or("UTC")
    }

    /// Whether its days are those of UTC, at all times.
    pub fn is_utc(&self) -> bool {
        self.0 == TimeZone::UTC
    }

    /// The day that `time` is in, here: `[start, end)`. It begins at the first instant that has its date, which is not
    /// midnight where a clock is put forward at midnight, and has 23 or 25 hours where one is put forward or back.
    pub fn day(&self, time: Timestamp) -> (Timestamp, Timestamp) {
        let local = |date: Option<Date>| date.and_then(|date| self.beginning(date));
        let today = self.date(time);
        let day = local(today).zip(local(today.and_then(|date| date.tomorrow().ok())));
        let utc = time.start_of_day();
        day.unwrap_or((utc, utc.saturating_add(Span::DAY)))
    }

    /// The calendar month that `time` is in, here: `[start, end)`.
    pub fn month(&self, time: Timestamp) -> (Timestamp, Timestamp) {
        self.months(time, 1)
    }

    /// The same of `count` months, of which `time` is in the first.
    pub fn months(&self, time: Timestamp, count: u32) -> (Timestamp, Timestamp) {
        let first = self.date(time).map(Date::first_of_month);
        let next = first.and_then(|it| it.checked_add(jiff::Span::new().try_months(count).ok()?).ok());
        let months = first.and_then(|it| self.beginning(it)).zip(next.and_then(|it| self.beginning(it)));
        let utc = time.start_of_month();
        months.unwrap_or((utc, utc.add_months_anchored(count)))
    }

    /// The date of `time` here, as on a calendar: year, month and day.
    pub fn calendar(&self, time: Timestamp) -> (i16, i8, i8) {
        let date = self.date(time).unwrap_or_else(|| time.civil().date());
        (date.year(), date.month(), date.day())
    }

    /// Whether clocks here differ from UTC by whole hours at every instant of `[from, to]`: only then do its days and
    /// months begin where an hour of UTC does. It takes as long as there are changes of the clock within.
    pub fn has_whole_hours(&self, from: Timestamp, to: Timestamp) -> bool {
        let (Some(from), Some(to)) = (known(from), known(to)) else { return self.is_utc() };
        let whole = |seconds: i32| seconds % 3_600 == 0;
        whole(self.0.to_offset(from).seconds())
            && self
                .0
                .following(from)
                .take_while(|change| change.timestamp() <= to)
                .all(|change| whole(change.offset().seconds()))
    }

    fn date(&self, time: Timestamp) -> Option<Date> {
        Some(self.0.to_datetime(known(time)?).date())
    }

    fn beginning(&self, date: Date) -> Option<Timestamp> {
        Timestamp::from_micros(date.to_zoned(self.0.clone()).ok()?.timestamp().as_microsecond()).ok()
    }
}

/// jiff's timestamps end a day before ours do.
fn known(time: Timestamp) -> Option<jiff::Timestamp> {
    jiff::Timestamp::from_microsecond(time.as_micros()).ok()
}

impl Default for Zone {
    /// UTC.
    fn default() -> Self {
        Self(TimeZone::UTC)
    }
}

impl FromStr for Zone {
    type Err = UnknownZone;

    /// Reads a name, in whatever case.
    fn from_str(name: &str) -> Result<Self, UnknownZone> {
        if name.len() > Self::MAX_BYTES {
            return Err(UnknownZone);
        }
        let zone = BUILT_IN.get(name).map_err(|_| UnknownZone)?;
        // jiff knows a zone "Etc/Unknown" that behaves like UTC: who names it has made a mistake.
        if zone.is_unknown() { Err(UnknownZone) } else { Ok(Self(zone)) }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> Zone {
        name.parse().unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_the_databases() {
        for (name, spelt) in [("Europe/Berlin", "Europe/Berlin"), ("europe/berlin", "Europe/Berlin"), ("UTC", "UTC")] {
            assert_eq!(zone(name).name(), spelt);
        }
        assert!(zone("UTC").is_utc() && Zone::default().is_utc() && !zone("Europe/London").is_utc());
        let long = "x".repeat(65);
        for name in [
            "",
            "Berlin",
            "Mars/Olympus",
            "Europe/Berlin ",
            "+02:00",
            "CET-1CEST",
            "Etc/Unknown",
            "../etc/passwd",
            &long,
        ] {
            assert_eq!(name.parse::<Zone>(), Err(UnknownZone), "{name}");
        }
    }

    #[test]
    fn days_and_months_begin_where_the_clock_says() {
        let cases = [
            // (zone, an instant, its day, how many hours that has)
            ("Europe/Berlin", "2026-03-28T23:30:00Z", "2026-03-28T23:00:00Z", 23, "clocks are put forward"),
            ("Europe/Berlin", "2026-10-25T12:00:00Z", "2026-10-24T22:00:00Z", 25, "and back"),
            ("America/New_York", "2026-01-01T03:00:00Z", "2025-12-31T05:00:00Z", 24, "west of Greenwich"),
            ("Pacific/Kiritimati", "2026-01-01T09:59:59Z", "2025-12-31T10:00:00Z", 24, "fourteen hours ahead"),
            ("America/Asuncion", "2023-10-01T12:00:00Z", "2023-10-01T04:00:00Z", 23, "a day that begins at one"),
            ("UTC", "2026-06-30T23:59:59Z", "2026-06-30T00:00:00Z", 24, "UTC"),
        ];
        for (name, time, start, hours, what) in cases {
            let (from, to) = zone(name).day(at(time));
            assert_eq!((from, to.since(from)), (at(start), Span::from_hours(hours)), "{what}");
        }
        let berlin = zone("Europe/Berlin");
        let month = berlin.month(at("2026-03-31T21:59:59Z"));
        assert_eq!(month, (at("2026-02-28T23:00:00Z"), at("2026-03-31T22:00:00Z")));
        assert_eq!(
            berlin.months(at("2026-03-31T22:00:00Z"), 12),
            (at("2026-03-31T22:00:00Z"), at("2027-03-31T22:00:00Z"))
        );
    }

    #[test]
    fn the_ends_of_time_are_days_too() {
        for name in ["UTC", "Europe/Berlin", "America/New_York"] {
            for time in [Timestamp::MIN, Timestamp::MAX] {
                let (from, to) = zone(name).day(time);
                assert!(from <= time && time <= to, "{name}: {from} {to}");
                let (from, to) = zone(name).month(time);
                assert!(from <= time && time <= to, "{name}: {from} {to}");
            }
        }
    }

    #[test]
    fn offsets_that_are_not_whole_hours_are_found() {
        let (a, b, c) = (at("2026-01-01T00:00:00Z"), at("2026-05-01T00:00:00Z"), at("2027-01-01T00:00:00Z"));
        assert!(
            zone("Europe/Berlin").has_whole_hours(a, c) && zone("UTC").has_whole_hours(Timestamp::MIN, Timestamp::MAX)
        );
        assert!(!zone("Asia/Kolkata").has_whole_hours(a, a), "half an hour");
        assert!(!zone("Asia/Kathmandu").has_whole_hours(a, c), "a quarter");
        let lord_howe = zone("Australia/Lord_Howe");
        assert!(lord_howe.has_whole_hours(a, at("2026-02-01T00:00:00Z")), "eleven in summer");
        assert!(!lord_howe.has_whole_hours(a, b) && !lord_howe.has_whole_hours(b, c), "ten and a half in winter");
        assert!(!zone("Europe/Berlin").has_whole_hours(Timestamp::MIN, c), "before there were zones");
    }

    proptest::proptest! {
        #[test]
        fn days_follow_each_other(name in proptest::sample::select(vec!["Europe/Berlin", "America/Asuncion", "Pacific/Apia", "UTC"]), at in 0_i64..4_000_000_000) {
            let (zone, time) = (zone(name), Timestamp::from_unix_secs(at).unwrap());
            let (from, to) = zone.day(time);
            proptest::prop_assert!(from <= time && time < to);
            proptest::prop_assert_eq!(zone.day(from), (from, to));
            proptest::prop_assert_eq!(zone.day(to).0, to);
            let (first, last) = zone.month(time);
            proptest::prop_assert!(first <= from && to <= last);
            proptest::prop_assert_eq!(zone.month(last).0, last);
        }
    }

    #[test]
    fn fuzz_zones() {
        let times = ["1970-01-01T00:00:00Z", "2026-03-29T01:30:00Z", "2026-10-25T01:30:00Z"].map(at);
        bursar_fuzz::fuzz(
            "zones",
            &["Europe/Berlin", "utc", "America/St_Johns", "Etc/Unknown", "Asia/Kolkata"],
            |bytes| {
                let Ok(zone) = String::from_utf8_lossy(bytes).parse::<Zone>() else { return };
                assert_eq!(zone.name().parse(), Ok(zone.clone()), "two spellings of one zone");
                for time in times {
                    for (start, end) in [zone.day(time), zone.month(time)] {
                        assert!(start <= time && time < end, "{zone}: {start} to {end} is without {time}");
                    }
                }
            },
        );
    }
}
