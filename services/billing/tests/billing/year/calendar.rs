//! The model's calendar: days are counted from the first one, 31 December 2027. The year after it has a 29 February.

use bursar_testkit::at;
use bursar_time::{Span, Timestamp};

const BEGIN: &str = "2027-12-31T00:00:00Z";
const SECONDS_OF_A_DAY: i64 = 24 * 60 * 60;

/// Year, month and day.
type Date = (usize, usize, usize);

/// The day before the first one.
const EVE: Date = (2027, 12, 30);

/// The beginning of a day.
pub(super) fn day_at(day: usize) -> Timestamp {
    at(BEGIN).saturating_add(Span::from_days(u64::try_from(day).unwrap()))
}

/// The day that begins at a time; `never` where there is no time, and the time itself where no day of the model's begins then.
pub(super) fn date_of(time: Option<prost_types::Timestamp>) -> String {
    let Some(time) = time else { return "never".to_owned() };
    let since = time.seconds - at(BEGIN).as_unix_secs();
    let is_a_day = time.nanos == 0 && since.rem_euclid(SECONDS_OF_A_DAY) == 0;
    let day = usize::try_from(since.div_euclid(SECONDS_OF_A_DAY)).ok().filter(|_| is_a_day);
    day.map_or_else(|| format!("{time:?}"), date)
}

fn next((year, month, of_month): Date) -> Date {
    match (month, of_month == days_of(year, month)) {
        (_, false) => (year, month, of_month + 1),
        (12, true) => (year + 1, 1, 1),
        (_, true) => (year, month + 1, 1),
    }
}

/// The day that is so many days after [`EVE`].
fn since_the_eve(days: usize) -> Date {
    (0..days).fold(EVE, |date, _| next(date))
}

fn calendar(day: usize) -> Date {
    since_the_eve(day + 1)
}

fn days_of(year: usize, month: usize) -> usize {
    match month {
        2 if year.is_multiple_of(4) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn written((year, month, of_month): Date) -> String {
    format!("{year}-{month:02}-{of_month:02}")
}

pub(super) fn date(day: usize) -> String {
    written(calendar(day))
}

/// The year and the date that are on a calendar when a day begins by UTC, where it may be evening still.
pub(super) fn local(day: usize, evening: bool) -> (usize, String) {
    let date = since_the_eve(if evening { day } else { day + 1 });
    (date.0, written(date))
}

pub(super) fn is_first_of_month(day: usize) -> bool {
    calendar(day).2 == 1
}

/// The day on which so many months have passed since `anchor`: the anchor's day of the month, or the month's last.
pub(super) fn after_months(anchor: usize, months: usize) -> usize {
    let begin = calendar(anchor);
    let (year, month, of_month) = begin;
    let (year, month) = (year + (month - 1 + months) / 12, (month - 1 + months) % 12 + 1);
    let wanted = (year, month, of_month.min(days_of(year, month)));
    let mut days = std::iter::successors(Some(begin), |date| Some(next(*date))).take(800);
    anchor + days.position(|date| date == wanted).unwrap()
}
