//! Limits: what counts in which window, what is refused, and when somebody is told.

use bursar_id::{ChargeId, HoldId};
use bursar_money::Credits;
use bursar_time::{Span, Timestamp, Zone};

use super::world::{World, credits, id, model, project, rules, service, work};
use crate::domain::*;

const EVERY: LimitSubject = LimitSubject::EveryMember;

pub(super) fn member(n: u64) -> LimitSubject {
    LimitSubject::One(Subject::Member(id(n)))
}

pub(super) fn limit(n: u64, subject: LimitSubject, window: LimitWindow, amount: &str) -> Limit {
    let (mode, alerts) = (LimitMode::Hard, Percents::default());
    Limit { id: id(n), subject, window, mode, amount: amount.parse().unwrap(), alerts }
}

pub(super) fn alerting(limit: Limit, percents: &[u32]) -> Limit {
    Limit { alerts: Percents::parse(percents).unwrap(), ..limit }
}

pub(super) fn warning(limit: Limit) -> Limit {
    Limit { mode: LimitMode::Warn, ..limit }
}

/// An account with a thousand credits.
pub(super) struct Play {
    world: World,
    pub(super) now: Timestamp,
}

impl Play {
    pub(super) fn at(now: &str, zone: &str, limits: Vec<Limit>) -> Self {
        let mut play = Self { world: World::new(rules()), now: now.parse().unwrap() };
        play.world.store.account = Account::open(super::world::owner(), play.now);
        let grant = Command::Grant(GrantCommand::new(credits(1_000), LotSource::Pack));
        play.ask(grant).unwrap();
        play.set(zone, limits);
        play
    }

    pub(super) fn set(&mut self, zone: &str, limits: Vec<Limit>) {
        self.world.limit(limits, zone.parse::<Zone>().unwrap(), self.now);
    }

    pub(super) fn ask(&mut self, command: Command) -> Result<Outcome, Refusal> {
        self.by(&service(1), command)
    }

    pub(super) fn by(&mut self, actor: &Actor, command: Command) -> Result<Outcome, Refusal> {
        self.world.run(&Request::unnamed(command).with_renewal_settled(), actor, self.now)
    }

    pub(super) fn is_now(&mut self, now: &str) {
        self.now = now.parse().unwrap();
    }

    pub(super) fn charge_for(&mut self, attribution: Attribution, amount: &str) -> Result<ChargeId, Refusal> {
        let cost = Cost::Amount(amount.parse().unwrap());
        let command =
            Command::Charge(ChargeCommand { cost, attribution, labels: Labels::default(), occurred_at: None });
        match self.ask(command)? {
            Outcome::Charged(it) => Ok(it.charge.id),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn charge(&mut self, amount: &str) -> Result<ChargeId, Refusal> {
        self.charge_for(work(1), amount)
    }

    pub(super) fn hold(&mut self, amount: &str, ttl: Span) -> Result<HoldId, Refusal> {
        let amount = amount.parse().unwrap();
        let command = Command::Hold(HoldCommand { amount, ttl, attribution: work(1), labels: Labels::default() });
        match self.ask(command)? {
            Outcome::Held(it) => Ok(it.hold.id),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn capture(&mut self, hold: HoldId, amount: &str) -> Result<ChargeId, Refusal> {
        let cost = Some(Cost::Amount(amount.parse().unwrap()));
        match self.ask(Command::Capture(CaptureCommand { hold, cost, allow_excess: true }))? {
            Outcome::Charged(it) => Ok(it.charge.id),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn refund(&mut self, charge: ChargeId, amount: &str) {
        self.ask(Command::Refund(RefundCommand { charge, amount: Some(amount.parse().unwrap()) })).unwrap();
    }

    /// Use that nothing can count in any more is forgotten, as the program does.
    pub(super) fn forgets_what_is_over(&mut self) {
        self.world.forget();
        let until = self.now.saturating_sub(REACH);
        self.world.store.used.retain(|_, used| used.ends_at > until);
    }

    /// How much of the first limit is used now.
    pub(super) fn used(&mut self) -> String {
        self.ask(Command::Sweep).unwrap();
        self.world.forget();
        let mut state = AccountState::new(
            super::world::owner(),
            self.world.store.account,
            self.world.store.lots.values().filter(|lot| lot.is_live()).cloned().collect(),
            std::sync::Arc::new(rules()),
        )
        .unwrap();
        state.load_limits(std::sync::Arc::clone(&self.world.store.limits));
        let all: Vec<_> = self.world.store.used.iter().map(|(key, used)| (key.clone(), *used)).collect();
        state.load_use(Vec::new(), all, self.now);
        Total(state.used_of(&self.world.store.limits.limits()[0], None, self.now).0).to_string()
    }

    pub(super) fn told(&mut self) -> Vec<(Vec<u16>, String)> {
        self.world.write();
        let told = std::mem::take(&mut self.world.store.alerts);
        told.into_iter().map(|alert| (alert.percents, Total(alert.used).to_string())).collect()
    }
}

#[track_caller]
pub(super) fn reached<T: std::fmt::Debug>(outcome: Result<T, Refusal>, used: &str, resets_at: &str) -> u64 {
    match outcome {
        Err(Refusal::LimitReached(it)) => {
            assert_eq!((Total(it.used).to_string().as_str(), it.resets_at.to_rfc3339().as_str()), (used, resets_at));
            it.limit.timestamp_millis()
        }
        other => panic!("{other:?}"),
    }
}

const NOON: &str = "2026-03-10T12:00:00Z";

#[test]
fn a_limit_is_never_exceeded_by_a_millionth_and_reached_to_the_last() {
    let mut play = Play::at(NOON, "UTC", vec![limit(1, member(1), LimitWindow::Day, "10")]);
    play.charge("9.999999").unwrap();
    reached(play.charge("0.000002"), "9.999999", "2026-03-11T00:00:00Z");
    play.charge("0.000001").unwrap();
    reached(play.charge("0.000001"), "10", "2026-03-11T00:00:00Z");
    assert_eq!(play.used(), "10");
}

#[test]
fn a_hard_limit_of_zero_forbids_and_a_warning_never_refuses() {
    let none = limit(1, LimitSubject::One(Subject::Model(model("veo"))), LimitWindow::Hour, "0");
    let low = warning(limit(2, EVERY, LimitWindow::Hour, "1"));
    let mut play = Play::at(NOON, "UTC", vec![none, low]);
    let with_veo = Attribution { model: Some(model("veo")), ..work(1) };
    reached(play.charge_for(with_veo, "0.000001"), "0", "2026-03-10T13:00:00Z");
    play.charge("50").unwrap();
}

#[test]
fn all_limits_that_apply_hold_and_that_one_is_told_which_resets_last() {
    let film = LimitSubject::One(Subject::Project(project("film")));
    let limits = vec![
        limit(1, EVERY, LimitWindow::Hour, "5"),
        limit(2, film.clone(), LimitWindow::Day, "5"),
        limit(3, film, LimitWindow::Month, "100"),
    ];
    let mut play = Play::at(NOON, "UTC", limits);
    let for_film = Attribution { project: Some(project("film")), ..work(1) };
    assert_eq!(reached(play.charge_for(for_film.clone(), "6"), "0", "2026-03-11T00:00:00Z"), 2);
    assert_eq!(reached(play.charge("6"), "0", "2026-03-10T13:00:00Z"), 1, "no work for the project");
    play.charge_for(for_film.clone(), "5").unwrap();
    // Another member has an hour of its own, and the same project.
    let other = Attribution { member: id(2), ..for_film };
    assert_eq!(reached(play.charge_for(other, "1"), "5", "2026-03-11T00:00:00Z"), 2);
    play.charge_for(work(2), "5").unwrap();
}

#[test]
fn a_members_own_limit_stands_in_the_place_of_every_members_of_its_window_and_mode() {
    let limits = vec![
        limit(1, EVERY, LimitWindow::Day, "5"),
        limit(2, member(1), LimitWindow::Day, "20"),
        limit(3, EVERY, LimitWindow::Hour, "12"),
    ];
    let mut play = Play::at(NOON, "UTC", limits);
    play.charge("12").unwrap();
    assert_eq!(reached(play.charge("1"), "12", "2026-03-10T13:00:00Z"), 3, "of another window");
    play.is_now("2026-03-10T13:00:00Z");
    assert_eq!(reached(play.charge("9"), "12", "2026-03-11T00:00:00Z"), 2);
    assert_eq!(reached(play.charge_for(work(2), "6"), "0", "2026-03-11T00:00:00Z"), 1);
}

#[test]
fn a_key_is_limited_whoever_it_is_of() {
    let key = Subject::Key(id(7));
    let mut play = Play::at(NOON, "UTC", vec![limit(1, LimitSubject::One(key), LimitWindow::Hour, "3")]);
    let charge = |amount: u32| {
        let (cost, labels) = (Cost::Amount(credits(amount)), Labels::default());
        Command::Charge(ChargeCommand { cost, attribution: work(1), labels, occurred_at: None })
    };
    let with = |n| Actor::ApiKey { key: id(n), user: id(1) };
    play.by(&with(7), charge(3)).unwrap();
    reached(play.by(&with(7), charge(1)), "3", "2026-03-10T13:00:00Z");
    play.by(&with(8), charge(3)).unwrap();
    play.charge("3").unwrap();
}

#[test]
fn holds_count_until_they_are_given_back() {
    let mut play = Play::at(NOON, "UTC", vec![limit(1, member(1), LimitWindow::Day, "10")]);
    let kept = play.hold("6", Span::HOUR).unwrap();
    let freed = play.hold("3", Span::HOUR).unwrap();
    reached(play.hold("2", Span::HOUR), "9", "2026-03-11T00:00:00Z");
    play.ask(Command::Release { hold: freed }).unwrap();
    assert_eq!(play.used(), "6");
    // More than was held counts, and is checked, as well.
    reached(play.capture(kept, "10.000001"), "6", "2026-03-11T00:00:00Z");
    let charge = play.capture(kept, "7").unwrap();
    assert_eq!(play.used(), "7");
    play.refund(charge, "2");
    assert_eq!(play.used(), "5");
    play.hold("5", Span::MINUTE).unwrap();
    play.is_now("2026-03-10T12:01:00Z");
    assert_eq!(play.used(), "5", "it has lapsed");
}

#[test]
fn what_settles_a_hold_counts_in_the_holds_own_window() {
    let mut play = Play::at("2026-03-10T23:59:00Z", "UTC", vec![limit(1, member(1), LimitWindow::Day, "10")]);
    let (first, second) = (play.hold("5", Span::HOUR).unwrap(), play.hold("5", Span::HOUR).unwrap());
    play.is_now("2026-03-11T00:01:00Z");
    assert_eq!(play.used(), "0");
    play.charge("10").unwrap();
    // Yesterday is used up, whatever is left of today.
    reached(play.capture(first, "6"), "10", "2026-03-11T00:00:00Z");
    play.capture(second, "3").unwrap();
    play.capture(first, "7").unwrap();
    assert_eq!(play.used(), "10", "nothing of it counts today");
}

#[test]
fn what_is_above_a_hold_is_checked_where_it_was_made_whenever_the_limit_was_set() {
    let turns = [
        (LimitWindow::Hour, "2026-03-10T10:59:00Z", "2026-03-10T11:00:00Z"),
        (LimitWindow::Day, "2026-03-10T23:59:00Z", "2026-03-11T00:00:00Z"),
        (LimitWindow::Month, "2026-03-31T23:59:00Z", "2026-04-01T00:00:00Z"),
        (LimitWindow::Period, "2026-03-31T23:59:00Z", "2026-04-01T00:00:00Z"),
    ];
    for (window, made, turn) in turns {
        // The limit came after the window that the hold was made in.
        let mut play = Play::at(made, "UTC", Vec::new());
        let held = play.hold("0.000001", Span::DAY).unwrap();
        play.is_now(turn);
        play.set("UTC", vec![limit(1, member(1), window, "0")]);
        reached(play.capture(held, "500"), "0.000001", turn);
        play.capture(held, "0.000001").unwrap();
        // It was deleted after that, and set again.
        let mut play = Play::at(made, "UTC", vec![limit(1, member(1), window, "10")]);
        let held = play.hold("10", Span::DAY).unwrap();
        play.is_now(turn);
        play.set("UTC", Vec::new());
        play.set("UTC", vec![limit(1, member(1), window, "20")]);
        reached(play.capture(held, "20.000001"), "10", turn);
        play.capture(held, "20").unwrap();
        assert_eq!(play.used(), "0", "{window:?}: nothing of it is of the window that is open");
    }
}

#[test]
fn what_is_counted_when_a_limit_is_set_is_no_more_than_somebody_needs() {
    let mut play = Play::at("2026-03-10T00:30:00Z", "UTC", Vec::new());
    for hour in 0..24 {
        play.is_now(&format!("2026-03-10T{hour:02}:30:00Z"));
        play.charge("1").unwrap();
        if hour == 12 {
            play.hold("1", Span::DAY).unwrap();
        }
    }
    play.set("UTC", vec![limit(1, EVERY, LimitWindow::Hour, "10")]);
    let counted = play.world.store.used.iter().map(|(key, used)| (key.starts_at.to_string(), used.used / 1_000_000));
    let needed = [("2026-03-10T12:00:00Z", 2), ("2026-03-10T22:00:00Z", 1), ("2026-03-10T23:00:00Z", 1)];
    assert_eq!(counted.collect::<Vec<_>>(), needed.map(|(at, used)| (at.to_owned(), used)));
}

#[test]
fn what_a_program_of_before_did_not_count_is_counted_from_now_on() {
    for window in LimitWindow::ALL {
        let mut play = Play::at("2026-03-31T23:30:00Z", "UTC", vec![limit(1, member(1), window, "10")]);
        let (one, two) = (play.hold("1", Span::DAY).unwrap(), play.hold("1", Span::DAY).unwrap());
        play.is_now("2026-04-01T00:00:00Z");
        play.world.forget();
        play.world.store.used.clear();
        reached(play.capture(one, "11.000001"), "0", "2026-04-01T00:00:00Z");
        play.capture(one, "11").unwrap();
        reached(play.capture(two, "1.000001"), "10", "2026-04-01T00:00:00Z");
    }
}

#[test]
fn a_window_that_a_clock_behind_is_still_in_is_counted_when_a_limit_is_set() {
    for window in LimitWindow::ALL {
        let mut play = Play::at("2026-03-31T23:59:58Z", "UTC", Vec::new());
        play.charge("500").unwrap();
        play.is_now("2026-04-01T00:00:01Z");
        play.set("UTC", vec![limit(1, member(1), window, "500")]);
        play.is_now("2026-03-31T23:59:58Z");
        reached(play.charge("0.000001"), "500", "2026-04-01T00:00:00Z");
    }
}

#[test]
fn a_refund_lowers_the_charges_window_while_that_is_open() {
    let mut play = Play::at(NOON, "UTC", vec![limit(1, member(1), LimitWindow::Hour, "10")]);
    let early = play.charge("10").unwrap();
    play.refund(early, "4");
    assert_eq!(play.used(), "6");
    play.is_now("2026-03-10T13:00:00Z");
    play.charge("9").unwrap();
    play.refund(early, "6");
    assert_eq!(play.used(), "9", "that hour is over");
}

#[test]
fn what_the_window_has_seen_before_counts() {
    for window in LimitWindow::ALL {
        let mut play = Play::at("2026-03-10T11:30:00Z", "UTC", Vec::new());
        let before = play.hold("100", Span::HOUR).unwrap();
        play.is_now(NOON);
        let charge = play.charge("9").unwrap();
        let open = play.hold("5", Span::HOUR).unwrap();
        let captured = play.hold("4", Span::HOUR).unwrap();
        play.charge_for(work(2), "50").unwrap();
        play.capture(captured, "3").unwrap();
        play.refund(charge, "2");
        play.ask(Command::Release { hold: before }).unwrap();
        play.set("UTC", vec![limit(1, member(1), window, "16")]);
        assert_eq!(play.used(), "15", "{window:?}: 9 - 2 + 5 + 3");
        play.charge("1").unwrap();
        let Err(Refusal::LimitReached(_)) = play.charge("0.000001") else { panic!("{window:?}") };
        play.ask(Command::Release { hold: open }).unwrap();
        assert_eq!(play.used(), "11");
    }
}

#[test]
fn windows_turn_where_the_accounts_days_and_months_do() {
    let berlin = "Europe/Berlin";
    let cases = [
        // (window, spent at, still counts at, when it ends)
        (LimitWindow::Hour, "2026-03-29T00:59:59Z", "2026-03-29T00:59:59.999999Z", "2026-03-29T01:00:00Z"),
        // A day of 23 hours, and one of 25.
        (LimitWindow::Day, "2026-03-28T23:00:00Z", "2026-03-29T21:59:59.999999Z", "2026-03-29T22:00:00Z"),
        (LimitWindow::Day, "2026-10-24T22:00:00Z", "2026-10-25T22:59:59.999999Z", "2026-10-25T23:00:00Z"),
        (LimitWindow::Month, "2026-02-28T23:00:00Z", "2026-03-31T21:59:59.999999Z", "2026-03-31T22:00:00Z"),
        (LimitWindow::Period, "2026-02-01T00:00:00Z", "2026-02-28T23:59:59.999999Z", "2026-03-01T00:00:00Z"),
    ];
    for (window, spent_at, still, ends_at) in cases {
        let mut play = Play::at(spent_at, berlin, vec![limit(1, member(1), window, "10")]);
        play.charge("10").unwrap();
        play.is_now(still);
        reached(play.charge("1"), "10", ends_at);
        play.is_now(ends_at);
        assert_eq!(play.used(), "0", "{window:?}");
        play.charge("10").unwrap();
    }
}

#[test]
fn a_clock_that_jumps_back_opens_no_window_again() {
    let mut play = Play::at(NOON, "UTC", vec![limit(1, member(1), LimitWindow::Hour, "10")]);
    play.is_now("2026-03-10T13:00:00Z");
    play.charge("10").unwrap();
    play.is_now(NOON);
    reached(play.charge("1"), "10", "2026-03-10T14:00:00Z");
}

#[test]
fn alerts_are_told_once_for_each_crossing() {
    let told = |percents: &[u16], used: &str| (percents.to_vec(), used.to_owned());
    let one = alerting(warning(limit(1, member(1), LimitWindow::Day, "10")), &[100, 50, 80]);
    let mut play = Play::at(NOON, "UTC", vec![one]);
    play.charge("4.999999").unwrap();
    assert_eq!(play.told(), []);
    play.charge("0.000001").unwrap();
    assert_eq!(play.told(), [told(&[50], "5")], "exactly reached");
    play.charge("1").unwrap();
    assert_eq!(play.told(), [], "once");
    let much = play.charge("10").unwrap();
    assert_eq!(play.told(), [told(&[80, 100], "16")], "together");
    play.refund(much, "7");
    assert_eq!(play.told(), [], "nobody is told of less");
    let held = play.hold("1", Span::HOUR).unwrap();
    assert_eq!(play.told(), [told(&[100], "10")], "it fell below 100 and not below 80");
    play.ask(Command::Release { hold: held }).unwrap();
    play.is_now("2026-03-11T00:00:00Z");
    play.charge("6").unwrap();
    assert_eq!(play.told(), [told(&[50], "6")], "with each window anew");
}

#[test]
fn alerts_of_one_window_are_bounded_and_what_is_reached_first_is_told() {
    let low = alerting(warning(limit(1, member(1), LimitWindow::Day, "10")), &[50, 100]);
    let high = alerting(warning(limit(2, member(1), LimitWindow::Day, "20")), &[100]);
    let mut play = Play::at(NOON, "UTC", vec![low.clone(), high.clone()]);
    play.charge("4").unwrap();
    for _ in 0..200 {
        let held = play.hold("2", Span::HOUR).unwrap();
        play.ask(Command::Release { hold: held }).unwrap();
    }
    let told = play.told();
    assert_eq!(told.len(), 1 + Used::RETOLD as usize, "{told:?}");
    let all = play.charge("16").unwrap();
    assert_eq!(play.told(), [(vec![100], "20".to_owned()), (vec![100], "20".to_owned())], "each for the first time");
    play.refund(all, "16");
    let again = play.charge("16").unwrap();
    assert_eq!(play.told(), [], "not again");
    // Whoever sets a limit hears of it, whatever was used before.
    play.refund(again, "0.000001");
    let lower = alerting(warning(limit(3, member(1), LimitWindow::Day, "20.5")), &[100]);
    play.set("UTC", vec![low, high, lower]);
    play.charge("0.6").unwrap();
    assert_eq!(play.told().len(), 2, "that one, and what was reached before");
    play.is_now("2026-03-11T00:00:00Z");
    play.charge("6").unwrap();
    assert_eq!(play.told(), [(vec![50], "6".to_owned())], "with each window anew");
}

#[test]
fn every_members_limit_alerts_for_each_member() {
    let mut play = Play::at(NOON, "UTC", vec![alerting(limit(1, EVERY, LimitWindow::Day, "10"), &[50])]);
    for n in [1, 2] {
        play.charge_for(work(n), "5").unwrap();
    }
    play.world.write();
    let whose: Vec<Subject> = play.world.store.alerts.iter().map(|alert| alert.subject.clone()).collect();
    assert_eq!(whose, [Subject::Member(id(1)), Subject::Member(id(2))]);
}

#[test]
fn what_is_refused_counts_nothing_and_alerts_nobody() {
    let mut play = Play::at(NOON, "UTC", vec![alerting(limit(1, member(1), LimitWindow::Day, "2000"), &[1])]);
    let Err(Refusal::InsufficientCredits { .. }) = play.charge("1500") else { panic!("more than there is") };
    let Err(Refusal::LimitReached(_)) = play.charge("2001") else { panic!("the limit comes first") };
    assert_eq!((play.used(), play.told()), ("0".to_owned(), Vec::new()));
}

#[test]
fn percentages_are_checked() {
    let parse = |percents: &[u32]| Percents::parse(percents).map(|it| it.as_slice().to_vec());
    assert_eq!(parse(&[100, 1, 1_000]), Ok(vec![1, 100, 1_000]));
    assert_eq!(parse(&[]), Ok(Vec::new()));
    assert_eq!(parse(&[0]), Err(PercentError::OutOfRange));
    assert_eq!(parse(&[1_001]), Err(PercentError::OutOfRange));
    assert_eq!(parse(&[u32::MAX]), Err(PercentError::OutOfRange));
    assert_eq!(parse(&[5, 5]), Err(PercentError::Repeated));
    assert_eq!(parse(&(1..=17).collect::<Vec<_>>()), Err(PercentError::TooMany));
    // The greatest amount at the greatest percentage is no overflow.
    let whole = Percents::parse(&[1_000]).unwrap();
    assert_eq!(whole.crossed(Credits::MAX, 0, i64::MAX), Vec::<u16>::new());
}

#[test]
fn subjects_have_one_stored_form() {
    let subjects =
        [Subject::Member(id(1)), Subject::Project(project("film")), Subject::Model(model("veo")), Subject::Key(id(1))];
    let mut forms: Vec<Vec<u8>> = subjects.iter().map(Subject::to_bytes).collect();
    for (subject, form) in subjects.into_iter().zip(&forms) {
        assert_eq!(LimitSubject::from_bytes(form), Some(LimitSubject::One(subject)));
    }
    forms.push(EVERY.to_bytes());
    assert_eq!(LimitSubject::from_bytes(&EVERY.to_bytes()), Some(EVERY));
    forms.sort();
    forms.dedup();
    assert_eq!(forms.len(), 5, "no two alike");
    for wrong in [&[][..], &[9], &[1, 2], &[2], &[3, 0xff], &[0, 0], &[4]] {
        assert_eq!(LimitSubject::from_bytes(wrong), None, "{wrong:?}");
    }
}
