//! Points in time, spans and the calendar.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as loudly as tests do")]

use bursar_time::{Span, SpanError, Timestamp, TimestampError};
use proptest::prelude::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn times() -> impl Strategy<Value = Timestamp> {
    (Timestamp::MIN.as_micros()..=Timestamp::MAX.as_micros()).prop_map(|micros| Timestamp::from_micros(micros).unwrap())
}

#[test]
fn texts_of_times() {
    let cases = [
        ("1970-01-01T00:00:00Z", Ok(0)),
        ("1969-12-31T23:59:59.999999Z", Ok(-1)),
        ("2026-11-21T18:41:49Z", Ok(1_795_286_509_000_000)),
        ("2026-11-21T20:41:49+02:00", Ok(1_795_286_509_000_000)),
        ("1970-01-01T00:00:00.0000019Z", Ok(1)),
        ("1969-12-31T23:59:59.9999999Z", Ok(-1)),
        ("0001-01-01T00:00:00Z", Ok(Timestamp::MIN.as_micros())),
        ("9999-12-31T23:59:59.999999Z", Ok(Timestamp::MAX.as_micros())),
        ("0000-12-31T23:59:59Z", Err(TimestampError::OutOfRange)),
        ("", Err(TimestampError::Malformed)),
        ("9999-12-31T23:59:59.999999-00:01", Err(TimestampError::OutOfRange)),
        ("2026-11-21T18:41:49+00:00[Europe/Berlin]", Err(TimestampError::Malformed)),
        ("2026-11-21", Err(TimestampError::Malformed)),
        ("2026-11-21T18:41:49", Err(TimestampError::Malformed)),
        ("2026-02-30T00:00:00Z", Err(TimestampError::Malformed)),
        ("1795286509", Err(TimestampError::Malformed)),
    ];
    for (text, expected) in cases {
        assert_eq!(text.parse::<Timestamp>().map(Timestamp::as_micros), expected, "{text:?}");
    }
    assert_eq!(at("2026-01-31T12:00:00.25Z").to_rfc3339(), "2026-01-31T12:00:00.25Z");
}

#[test]
fn times_stay_in_their_range() {
    let micros = |micros| Timestamp::from_micros(micros);
    assert_eq!(micros(Timestamp::MAX.as_micros() + 1), Err(TimestampError::OutOfRange));
    assert_eq!(micros(Timestamp::MIN.as_micros() - 1), Err(TimestampError::OutOfRange));
    assert_eq!(Timestamp::from_unix_secs(i64::MAX), Err(TimestampError::OutOfRange));
    assert_eq!(Timestamp::from_unix_secs(1), micros(1_000_000));
    assert_eq!(Timestamp::MAX.checked_add(Span::from_millis(1)), None);
    assert_eq!(Timestamp::MIN.checked_sub(Span::MILLISECOND), None);
    assert_eq!(Timestamp::MAX.saturating_add(Span::MAX), Timestamp::MAX);
    assert_eq!(Timestamp::MIN.saturating_sub(Span::MAX), Timestamp::MIN);
    assert_eq!(Timestamp::MIN.since(Timestamp::MAX), Span::ZERO);
    assert_eq!(Timestamp::MIN.saturating_add(Timestamp::MAX.since(Timestamp::MIN)), Timestamp::MAX);
    assert_eq!(Timestamp::MIN.as_millis(), 0);
    assert_eq!(at("1970-01-01T00:00:01.9999Z").as_millis(), 1_999);
    assert_eq!(at("1969-12-31T23:59:59.5Z").as_unix_secs(), -1);
}

#[test]
fn beginnings_are_those_of_utc() {
    let cases = [
        ("2026-11-21T18:41:49.5Z", "2026-11-21T18:00:00Z", "2026-11-21T00:00:00Z", "2026-11-01T00:00:00Z"),
        ("2026-12-01T00:00:00Z", "2026-12-01T00:00:00Z", "2026-12-01T00:00:00Z", "2026-12-01T00:00:00Z"),
        ("2024-02-29T23:59:59.999999Z", "2024-02-29T23:00:00Z", "2024-02-29T00:00:00Z", "2024-02-01T00:00:00Z"),
        ("1969-12-31T23:59:59Z", "1969-12-31T23:00:00Z", "1969-12-31T00:00:00Z", "1969-12-01T00:00:00Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:00:00Z", "9999-12-31T00:00:00Z", "9999-12-01T00:00:00Z"),
    ];
    for (time, hour, day, month) in cases {
        let time = at(time);
        assert_eq!(time.start_of_hour(), at(hour), "{time}");
        assert_eq!(time.start_of_day(), at(day), "{time}");
        assert_eq!(time.start_of_month(), at(month), "{time}");
    }
}

#[test]
fn months_keep_to_their_anchor() {
    let cases = [
        ("2026-01-31T10:20:30.4Z", 0, "2026-01-31T10:20:30.4Z"),
        ("2026-01-31T10:20:30.4Z", 1, "2026-02-28T10:20:30.4Z"),
        ("2026-01-31T10:20:30.4Z", 2, "2026-03-31T10:20:30.4Z"),
        ("2026-01-31T10:20:30.4Z", 3, "2026-04-30T10:20:30.4Z"),
        ("2026-01-31T10:20:30.4Z", 25, "2028-02-29T10:20:30.4Z"),
        ("2026-12-30T00:00:00Z", 2, "2027-02-28T00:00:00Z"),
        ("2024-02-29T00:00:00Z", 12, "2025-02-28T00:00:00Z"),
        ("2024-02-29T00:00:00Z", 48, "2028-02-29T00:00:00Z"),
        ("2026-11-30T23:59:59.999999Z", 3, "2027-02-28T23:59:59.999999Z"),
        ("9999-12-31T00:00:00Z", 1, "9999-12-31T23:59:59.999999Z"),
        ("2026-01-01T00:00:00Z", u32::MAX, "9999-12-31T23:59:59.999999Z"),
    ];
    for (anchor, months, expected) in cases {
        assert_eq!(at(anchor).add_months_anchored(months), at(expected), "{anchor} + {months} months");
    }
}

#[test]
fn texts_of_spans() {
    let cases = [
        ("7d", Ok(Span::from_days(7))),
        ("1h 30m", Ok(Span::from_mins(90))),
        ("90m", Ok(Span::from_mins(90))),
        ("250ms", Ok(Span::from_millis(250))),
        ("0s", Ok(Span::ZERO)),
        ("2 hours", Ok(Span::from_hours(2))),
        ("PT15M", Ok(Span::from_mins(15))),
        ("2w", Ok(Span::from_days(14))),
        ("-1s", Err(SpanError::Negative)),
        ("1 month", Err(SpanError::Malformed)),
        ("1y", Err(SpanError::Malformed)),
        ("10", Err(SpanError::Malformed)),
        ("", Err(SpanError::Malformed)),
        ("soon", Err(SpanError::Malformed)),
    ];
    for (text, expected) in cases {
        assert_eq!(text.parse::<Span>(), expected, "{text:?}");
    }
    assert_eq!(Span::from_secs(90_061).to_string(), "1d 1h 1m 1s");
    assert_eq!(Span::from_micros(1_001).unwrap().to_string(), "1ms 1us");
    assert_eq!(Span::ZERO.to_string(), "0s");
}

#[test]
fn spans_stay_in_their_range() {
    assert_eq!(Span::from_micros(-1), Err(SpanError::Negative));
    assert_eq!(Span::from_micros(i64::MAX), Err(SpanError::TooLong));
    assert_eq!(Span::from_secs(u64::MAX), Span::MAX);
    assert_eq!(Span::from_std(std::time::Duration::MAX), Span::MAX);
    assert_eq!(Span::SECOND.saturating_sub(Span::DAY), Span::ZERO);
    assert_eq!(Span::MAX.saturating_add(Span::MAX), Span::MAX);
    assert_eq!(Span::from_secs(3).to_std(), std::time::Duration::from_secs(3));
    assert_eq!((Span::DAY.as_secs(), Span::SECOND.as_millis()), (86_400, 1_000));
}

#[test]
fn json_has_microseconds_and_readable_spans() {
    assert_eq!(serde_json::to_value(at("1970-01-01T00:00:01Z")).unwrap(), 1_000_000);
    assert_eq!(serde_json::from_str::<Timestamp>("-5").unwrap().as_micros(), -5);
    assert!(serde_json::from_str::<Timestamp>("9223372036854775807").is_err());
    assert_eq!(serde_json::to_value(Span::from_mins(90)).unwrap(), "1h 30m");
    assert_eq!(serde_json::from_value::<Span>("7d".into()).unwrap(), Span::from_days(7));
}

proptest! {
    #[test]
    fn text_keeps_every_time(time in times()) {
        prop_assert_eq!(time.to_rfc3339().parse::<Timestamp>(), Ok(time));
    }

    #[test]
    fn text_keeps_every_span(micros in 0..=Span::MAX.as_micros()) {
        let span = Span::from_micros(micros).unwrap();
        prop_assert_eq!(span.to_string().parse::<Span>(), Ok(span), "{}", span);
    }

    #[test]
    fn adding_and_taking_away_are_inverse(time in times(), micros in 0..=Span::MAX.as_micros()) {
        let span = Span::from_micros(micros).unwrap();
        if let Some(later) = time.checked_add(span) {
            prop_assert_eq!(later.since(time), span);
            prop_assert_eq!(later.checked_sub(span), Some(time));
        } else {
            prop_assert_eq!(time.saturating_add(span), Timestamp::MAX);
        }
    }

    #[test]
    fn beginnings_do_not_move_and_nest(time in times()) {
        for start in [Timestamp::start_of_hour, Timestamp::start_of_day, Timestamp::start_of_month] {
            prop_assert_eq!(start(start(time)), start(time));
        }
        prop_assert!(time.start_of_month() <= time.start_of_day());
        prop_assert!(time.start_of_day() <= time.start_of_hour() && time.start_of_hour() <= time);
    }

    /// Periods follow one another without a gap: each begins later, 28 to 31 days after the last.
    #[test]
    fn anchored_months_follow_one_another(time in times(), months in 0u32..600) {
        let end = time.add_months_anchored(months + 1);
        prop_assume!(end < Timestamp::MAX);
        let length = end.since(time.add_months_anchored(months)).as_secs() / 86_400;
        prop_assert!((28..=31).contains(&length), "{} days", length);
        prop_assert_eq!(end.since(end.start_of_day()), time.since(time.start_of_day()));
    }
}

#[test]
fn fuzz_times() {
    let samples = ["2026-11-21T20:41:49+02:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "7d", "1h30m"];
    bursar_fuzz::fuzz("times", &samples, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(time) = text.parse::<Timestamp>() {
            assert_eq!(time.to_rfc3339().parse(), Ok(time));
        }
        if let Ok(span) = text.parse::<Span>() {
            assert_eq!(span.to_string().parse(), Ok(span));
        }
    });
}
