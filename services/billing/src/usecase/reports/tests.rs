//! Spans of a report: where they begin and end in a time zone.

mod pages;
mod used;

use bursar_secret::Entropy;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn query(from: &str, to: &str, interval: Interval) -> ReportQuery {
    let (zone, filter) = (Zone::default(), ReportFilter::default());
    ReportQuery { from: at(from), to: at(to), groups: Vec::new(), interval, zone, filter }
}

fn in_zone(name: &str, query: ReportQuery) -> ReportQuery {
    ReportQuery { zone: name.parse().unwrap(), ..query }
}

#[test]
fn a_page_reads_parts_that_end_where_intervals_do() {
    let (from, to) = ("2026-01-15T05:30:00Z", "2028-03-02T10:00:00Z");
    let (begin, end, late) = (at("2026-01-15T05:00:00Z"), at(to), at("2027-02-03T12:00:00Z"));
    assert_eq!(query(from, to, Interval::Whole).part(begin, late), (begin, end));
    let hours = query(from, to, Interval::Hour);
    assert_eq!(hours.part(begin, begin), (begin, at("2026-02-01T00:00:00Z")));
    assert_eq!(hours.part(begin, late), (at("2027-02-03T00:00:00Z"), at("2027-03-01T00:00:00Z")));
    for interval in [Interval::Day, Interval::Month] {
        let days = query(from, to, interval);
        assert_eq!(days.part(begin, begin), (begin, at("2027-01-01T00:00:00Z")));
        assert_eq!(days.part(begin, late), (at("2027-02-03T00:00:00Z"), at("2028-02-01T00:00:00Z")));
        assert_eq!(days.part(begin, at("2028-03-01T01:00:00Z")).1, end);
        let elsewhere = in_zone("Europe/Berlin", days);
        let ends = if interval == Interval::Day { "2027-02-28T23:00:00Z" } else { "2028-01-31T23:00:00Z" };
        assert_eq!(elsewhere.part(begin, late), (at("2027-02-02T23:00:00Z"), at(ends)), "midnight in Berlin");
    }

    let key = UsageKey { hour: late, member: bursar_testkit::id(1), project: None, model: None };
    let hours = ReportQuery { groups: vec![Group::Member], ..hours };
    let last = Position::after(&super::used(&hours, late, &key));
    assert_eq!(hours.begins(Some(&last)), late, "the last line may have company");
    let later = at("2027-02-03T13:00:00Z");
    assert_eq!(hours.begins(Some(&Position { done: Section::Interval, ..last.clone() })), later, "or have none");
    assert_eq!(ReportQuery { groups: Vec::new(), ..hours.clone() }.begins(Some(&last)), later, "an hour has one line");
    assert_eq!(hours.begins(None), begin);
}

#[test]
fn long_reports_read_days_and_only_their_edges_as_hours() {
    let hour = |from: &str, to: &str| (Grain::Hour, (at(from), at(to)));
    let day = |from: &str, to: &str| (Grain::Day, (at(from), at(to)));
    let read = |from: &str, to: &str, interval| query(from, to, interval).spans((at(from), at(to)), Timestamp::MAX);
    let (a, b) = ("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z");
    assert_eq!(read(a, b, Interval::Whole), [day(a, b)], "a year is its days");
    let rolled_up = "2026-06-01T00:00:00Z";
    let known = query(a, b, Interval::Whole).spans((at(a), at(b)), at(rolled_up));
    assert_eq!(known, [day(a, rolled_up), hour(rolled_up, b)], "as far as they are rolled up");
    let none = query(a, b, Interval::Day).spans((at(a), at(b)), Timestamp::MIN);
    assert_eq!(none, [hour(a, b)], "none is");
    let (a, b) = ("2026-01-01T05:00:00Z", "2026-01-03T02:00:00Z");
    let (c, d) = ("2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z");
    assert_eq!(read(a, b, Interval::Day), [hour(a, c), day(c, d), hour(d, b)], "edges are hours");
    assert_eq!(read(a, b, Interval::Hour), [hour(a, b)], "hours are hours");
    let (a, b) = ("2026-01-01T05:00:00Z", "2026-01-01T07:00:00Z");
    assert_eq!(read(a, b, Interval::Whole), [hour(a, b)], "within a day");
}

#[test]
fn elsewhere_months_are_read_as_days_but_for_their_edges() {
    let hour = |from: &str, to: &str| (Grain::Hour, (at(from), at(to)));
    let day = |from: &str, to: &str| (Grain::Day, (at(from), at(to)));
    let (a, b) = ("2026-02-28T23:00:00Z", "2026-04-30T22:00:00Z");
    let months = in_zone("Europe/Berlin", query(a, b, Interval::Month));
    let expected = [
        hour(a, "2026-03-01T00:00:00Z"),
        day("2026-03-01T00:00:00Z", "2026-03-31T00:00:00Z"),
        hour("2026-03-31T00:00:00Z", "2026-03-31T22:00:00Z"),
        hour("2026-03-31T22:00:00Z", "2026-04-01T00:00:00Z"),
        day("2026-04-01T00:00:00Z", "2026-04-30T00:00:00Z"),
        hour("2026-04-30T00:00:00Z", b),
    ];
    assert_eq!(months.spans((at(a), at(b)), Timestamp::MAX), expected);
    let days = in_zone("Europe/Berlin", query(a, b, Interval::Day));
    assert_eq!(days.spans((at(a), at(b)), Timestamp::MAX), [hour(a, b)], "days of elsewhere are made of hours");
    let whole = in_zone("Europe/Berlin", query(a, b, Interval::Whole));
    assert_eq!(whole.spans((at(a), at(b)), Timestamp::MAX).len(), 3, "where nothing is cut, zones do not matter");
}
