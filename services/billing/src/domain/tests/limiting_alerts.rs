//! Alerts of limits, and whatever else counts beside charges: what arms an alert again, which window something is told of, and
//! whose use that is.

use bursar_time::Span;

use super::limiting::{Play, alerting, limit, member, reached, warning};
use super::world::{credits, id, work};
use crate::domain::*;

const NOON: &str = "2026-03-10T12:00:00Z";

fn told(percents: &[u16], used: &str) -> (Vec<u16>, String) {
    (percents.to_vec(), used.to_owned())
}

/// A warning at half and at all of ten credits.
fn at_half_and_all(window: LimitWindow) -> Limit {
    alerting(warning(limit(1, member(1), window, "10")), &[50, 100])
}

#[test]
fn whatever_lowers_use_arms_an_alert_again() {
    for window in LimitWindow::ALL {
        let mut play = Play::at(NOON, "UTC", vec![at_half_and_all(window)]);
        play.charge("4").unwrap();
        let charge = play.charge("2").unwrap();
        assert_eq!(play.told(), [told(&[50], "6")]);
        play.refund(charge, "2");
        let released = play.hold("2", Span::MINUTE).unwrap();
        assert_eq!(play.told(), [told(&[50], "6")], "{window:?}: after a refund");
        play.ask(Command::Release { hold: released }).unwrap();
        let captured = play.hold("2", Span::MINUTE).unwrap();
        assert_eq!(play.told(), [told(&[50], "6")], "{window:?}: after a release");
        play.capture(captured, "0.5").unwrap();
        play.hold("2", Span::MINUTE).unwrap();
        assert_eq!(play.told(), [told(&[50], "6.5")], "{window:?}: after a capture of less");
        play.is_now("2026-03-10T12:01:00Z");
        play.charge("0.5").unwrap();
        assert_eq!(play.told(), [told(&[50], "5")], "{window:?}: after a hold that lapsed");
        play.charge("0.5").unwrap();
        assert_eq!(play.told(), [], "{window:?}: once");
    }
}

#[test]
fn what_a_capture_takes_above_its_hold_is_told_of_the_window_that_the_hold_was_made_in_while_that_is_open() {
    let mut play = Play::at("2026-03-10T23:00:00Z", "UTC", vec![at_half_and_all(LimitWindow::Day)]);
    let (first, second) = (play.hold("2", Span::DAY).unwrap(), play.hold("2", Span::DAY).unwrap());
    assert_eq!(play.told(), []);
    play.capture(first, "3").unwrap();
    assert_eq!(play.told(), [told(&[50], "5")]);
    play.is_now("2026-03-11T00:00:00Z");
    play.capture(second, "500").unwrap();
    assert_eq!(play.told(), [], "nobody is told of a day that is over, and a warning refuses nothing");
    assert_eq!(play.used(), "0");
    play.charge("10").unwrap();
    assert_eq!(play.told(), [told(&[50, 100], "10")]);
}

#[test]
fn alerts_begin_anew_where_the_accounts_days_and_months_do() {
    let cases = [
        (LimitWindow::Day, "2026-03-10T22:59:59Z", "2026-03-10T23:00:00Z"),
        (LimitWindow::Month, "2026-03-31T21:59:59Z", "2026-03-31T22:00:00Z"),
    ];
    for (window, last, first) in cases {
        let mut play = Play::at(last, "Europe/Berlin", vec![at_half_and_all(window)]);
        play.charge("6").unwrap();
        assert_eq!(play.told(), [told(&[50], "6")]);
        play.is_now(first);
        play.charge("5").unwrap();
        assert_eq!(play.told(), [told(&[50], "5")], "{window:?}");
    }
}

#[test]
fn a_limit_that_is_set_again_begins_anew_and_tells_nothing_of_what_is_reached_already() {
    let mut play = Play::at(NOON, "UTC", vec![at_half_and_all(LimitWindow::Day)]);
    let charge = play.charge("6").unwrap();
    assert_eq!(play.told(), [told(&[50], "6")]);
    let lower = alerting(warning(limit(2, member(1), LimitWindow::Day, "8")), &[50, 100]);
    play.set("UTC", vec![lower]);
    play.charge("1").unwrap();
    assert_eq!(play.told(), [], "half of eight was reached before");
    play.charge("1").unwrap();
    assert_eq!(play.told(), [told(&[100], "8")]);
    // However often it was told before, it is told anew of what it falls below and reaches again.
    play.refund(charge, "5");
    play.charge("2").unwrap();
    assert_eq!(play.told(), [told(&[50], "5")]);
}

#[test]
fn a_members_own_limit_leaves_alone_every_members_of_the_other_mode() {
    let every = LimitSubject::EveryMember;
    let limits = vec![
        alerting(warning(limit(1, every.clone(), LimitWindow::Day, "4")), &[100]),
        limit(2, every, LimitWindow::Day, "5"),
        limit(3, member(1), LimitWindow::Day, "20"),
    ];
    let mut play = Play::at(NOON, "UTC", limits);
    play.charge("20").unwrap();
    assert_eq!(play.told(), [told(&[100], "20")], "every member's warning is of another mode than the own limit");
    assert_eq!(reached(play.charge("1"), "20", "2026-03-11T00:00:00Z"), 3);
    assert_eq!(reached(play.charge_for(work(2), "6"), "0", "2026-03-11T00:00:00Z"), 2);
}

#[test]
fn what_a_key_has_reserved_counts_as_the_keys_whoever_settles_it() {
    let key = LimitSubject::One(Subject::Key(id(7)));
    let mut play = Play::at(NOON, "UTC", vec![limit(1, key, LimitWindow::Hour, "10")]);
    let wanted = HoldCommand { amount: credits(6), ttl: Span::HOUR, attribution: work(1), labels: Labels::default() };
    let by_key = Actor::ApiKey { key: id(7), user: id(1) };
    let Ok(Outcome::Held(held)) = play.by(&by_key, Command::Hold(wanted)) else { panic!("it fits") };
    assert_eq!(play.used(), "6");
    reached(play.capture(held.hold.id, "10.000001"), "6", "2026-03-10T13:00:00Z");
    let charge = play.capture(held.hold.id, "10").unwrap();
    assert_eq!(play.used(), "10");
    play.charge("50").unwrap();
    assert_eq!(play.used(), "10", "nobody else's work is the key's");
    play.refund(charge, "4");
    assert_eq!(play.used(), "6", "and what is given back of it is");
}

#[test]
fn a_hold_above_a_warning_is_captured_above_that() {
    let mut play = Play::at(NOON, "UTC", vec![at_half_and_all(LimitWindow::Hour)]);
    let held = play.hold("20", Span::HOUR).unwrap();
    assert_eq!(play.told(), [told(&[50, 100], "20")], "both at once");
    play.capture(held, "30").unwrap();
    assert_eq!((play.told(), play.used()), (Vec::new(), "30".to_owned()));
}
