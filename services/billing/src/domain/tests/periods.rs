//! Periods: what `spent_this_period` counts, from which anchor, and that nothing is lost at a boundary.

use bursar_id::ChargeId;
use bursar_money::Credits;
use bursar_time::{Span, Timestamp};
use proptest::prelude::*;

use super::world::{World, credits, owner, rules, service, work};
use crate::domain::*;

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// An account with much to spend.
struct Books(World);

impl Books {
    fn new(opened_at: Timestamp) -> Self {
        let mut world = World::new(rules());
        world.store.account = Account::open(owner(), opened_at);
        let mut books = Self(world);
        books.run(opened_at, grant(LotSource::Pack, None, None));
        books
    }

    fn run(&mut self, now: Timestamp, command: Command) -> Outcome {
        self.0.run(&Request::unnamed(command).with_renewal_settled(), &service(1), now).unwrap()
    }

    fn charge(&mut self, now: Timestamp, amount: Credits) -> ChargeId {
        let cost = Cost::Amount(amount);
        let charge = ChargeCommand { cost, attribution: work(1), labels: Labels::default(), occurred_at: None };
        let Outcome::Charged(it) = self.run(now, Command::Charge(charge)) else { panic!("no charge") };
        it.charge.id
    }

    fn refund(&mut self, now: Timestamp, charge: ChargeId) {
        self.run(now, Command::Refund(RefundCommand { charge, amount: None }));
    }

    /// What a renewal books: the month's allowance, with which the month begins.
    fn begin(&mut self, now: Timestamp, anchor: Timestamp, number: u32) {
        self.run(now, grant(LotSource::Allowance, Some((anchor, number)), Some(Month::anchored(anchor, number))));
    }

    fn spent(&mut self, now: Timestamp) -> Credits {
        Credits::from_micro(self.0.balance(now, None, None).0.spent_this_period).unwrap()
    }
}

fn grant(source: LotSource, begins: Option<(Timestamp, u32)>, month: Option<Month>) -> Command {
    Command::Grant(GrantCommand {
        effective_at: month.map(|month| month.start),
        expires_at: month.map(|month| month.end),
        begins,
        ..GrantCommand::new(credits(10_000), source)
    })
}

#[test]
fn until_a_subscription_begins_calendar_months_count() {
    let mut books = Books::new(time("2026-01-31T12:00:00Z"));
    books.charge(time("2026-01-31T23:59:59.999999Z"), credits(5));
    assert_eq!(books.spent(time("2026-01-31T23:59:59.999999Z")), credits(5));
    assert_eq!(books.spent(time("2026-02-01T00:00:00Z")), credits(0));
    books.charge(time("2026-02-01T00:00:00Z"), credits(3));
    assert_eq!(books.spent(time("2026-02-28T23:59:59Z")), credits(3));
    assert_eq!(books.spent(time("2026-05-17T00:00:00Z")), credits(0), "after months without a visit");
}

#[test]
fn a_subscriptions_months_follow_its_anchor_to_the_day() {
    // Anchor, then instants just before and at each of three boundaries.
    let cases = [
        ("2026-01-29T10:00:00Z", ["2026-02-28T10:00:00Z", "2026-03-29T10:00:00Z", "2026-04-29T10:00:00Z"]),
        ("2026-01-30T10:00:00Z", ["2026-02-28T10:00:00Z", "2026-03-30T10:00:00Z", "2026-04-30T10:00:00Z"]),
        ("2026-01-31T10:00:00Z", ["2026-02-28T10:00:00Z", "2026-03-31T10:00:00Z", "2026-04-30T10:00:00Z"]),
        ("2028-01-31T10:00:00Z", ["2028-02-29T10:00:00Z", "2028-03-31T10:00:00Z", "2028-04-30T10:00:00Z"]),
        ("2026-10-31T10:00:00Z", ["2026-11-30T10:00:00Z", "2026-12-31T10:00:00Z", "2027-01-31T10:00:00Z"]),
    ];
    for (anchor, boundaries) in cases {
        let anchor = time(anchor);
        let mut books = Books::new(anchor);
        books.charge(anchor, credits(7));
        books.begin(anchor, anchor, 0);
        assert_eq!(books.spent(anchor), credits(0), "a subscription begins with nothing spent");
        for boundary in boundaries.map(time) {
            let before = boundary.saturating_sub(Span::MILLISECOND);
            books.charge(before, credits(2));
            assert_eq!(books.spent(before), credits(2), "just before {boundary}");
            assert_eq!(books.spent(boundary), credits(0), "at {boundary}");
        }
        books.0.forget();
        books.0.store.verify().unwrap();
    }
}

/// A renewal that comes late finds what was charged since the boundary, and keeps it.
#[test]
fn nothing_is_lost_between_a_boundary_and_a_late_renewal() {
    let anchor = time("2026-01-31T10:00:00Z");
    let mut books = Books::new(anchor);
    books.begin(anchor, anchor, 0);
    books.charge(time("2026-02-28T09:00:00Z"), credits(5));
    books.charge(time("2026-02-28T11:00:00Z"), credits(3));
    let late = time("2026-02-28T12:00:00Z");
    assert_eq!(books.spent(late), credits(3));
    books.begin(late, anchor, 1);
    assert_eq!(books.spent(late), credits(3), "the renewal begins the month that is going on");
    books.charge(late, credits(4));
    assert_eq!(books.spent(late), credits(7));
    books.0.forget();
    assert_eq!(books.0.store.account.renews_at, Some(time("2026-03-31T10:00:00Z")));

    // So late that its month is over: what counts is the month that is going on.
    let too_late = time("2026-05-03T00:00:00Z");
    books.charge(too_late, credits(2));
    books.begin(too_late, anchor, 2);
    assert_eq!(books.spent(too_late), credits(2));
    books.0.forget();
    assert_eq!(books.0.store.account.period.month, Month::anchored(anchor, 3));
    let next = books.0.store.account.renews_at;
    assert_eq!(next, Some(time("2026-04-30T10:00:00Z")), "the month that ended meanwhile is to be renewed, too");
    books.0.store.verify().unwrap();
}

/// Entries say in which period they were made; a refund of the last period's charge never makes this one's negative.
#[test]
fn a_period_never_falls_below_nothing() {
    let anchor = time("2026-01-31T10:00:00Z");
    let boundary = time("2026-02-28T10:00:00Z");
    let mut books = Books::new(anchor);
    books.begin(anchor, anchor, 0);
    let old = books.charge(anchor, credits(5));
    let new = books.charge(boundary, credits(2));
    books.refund(boundary, old);
    assert_eq!(books.spent(boundary), credits(0));
    books.charge(boundary, credits(1));
    books.refund(boundary, new);
    assert_eq!(books.spent(boundary), credits(0));
    books.0.forget();
    let periods = books.0.store.ledger().into_iter().filter_map(|entry| match entry.event {
        Event::Charge(it) => Some(it.period),
        _ => None,
    });
    assert_eq!(periods.collect::<Vec<_>>(), [anchor, boundary, boundary]);
}

/// What happens at one hour of a naive calendar.
#[derive(Debug, Clone)]
enum Happens {
    Charge(u32),
    Refund(usize),
    Renew,
}

fn happenings() -> impl Strategy<Value = Vec<(u64, bool, Happens)>> {
    let what = prop_oneof![
        4 => (1..20_u32).prop_map(Happens::Charge),
        2 => (0..4_usize).prop_map(Happens::Refund),
        2 => Just(Happens::Renew),
    ];
    let wait = prop_oneof![3 => 0..30_u64, 2 => 0..400_u64, 1 => 0..2_000_u64];
    prop::collection::vec((wait, any::<bool>(), what), 1..40)
}

/// How many of the anchor's months have ended by `now`, counted one after another on jiff's calendar.
fn month_of(anchor: Timestamp, now: Timestamp) -> u32 {
    let zoned =
        |it: Timestamp| jiff::Timestamp::from_microsecond(it.as_micros()).unwrap().to_zoned(jiff::tz::TimeZone::UTC);
    let (began, now) = (zoned(anchor), zoned(now));
    let ended = |months: &u32| began.checked_add(jiff::Span::new().months(*months)).unwrap() <= now;
    (1..1_200).take_while(ended).last().unwrap_or(0)
}

proptest! {
    /// Against a list of all charges: what was spent is the sum of those since the month began, and no renewal, however
    /// late or often, changes that.
    #[test]
    fn the_period_is_what_the_calendar_says(day in 27..32_u32, hour in 0..24_u32, happenings in happenings()) {
        let anchor = time(&format!("2026-01-{day}T{hour:02}:30:00Z"));
        let mut books = Books::new(anchor);
        books.begin(anchor, anchor, 0);
        let (mut now, mut month, mut spent) = (anchor, 0, 0_u32);
        let mut charges = Vec::new();
        for (wait, write, what) in happenings {
            now = now.checked_add(Span::from_hours(wait)).unwrap();
            if write {
                books.0.forget();
            }
            if month_of(anchor, now) > month {
                (month, spent) = (month_of(anchor, now), 0);
            }
            match what {
                Happens::Charge(amount) => {
                    charges.push((books.charge(now, credits(amount)), amount));
                    spent += amount;
                }
                Happens::Refund(nth) => {
                    if nth < charges.len() {
                        let (charge, amount) = charges.swap_remove(nth);
                        books.refund(now, charge);
                        spent = spent.saturating_sub(amount);
                    }
                }
                Happens::Renew => books.begin(now, anchor, month_of(anchor, now)),
            }
            prop_assert_eq!(books.spent(now), credits(spent), "at {} in month {}", now, month);
            let period = books.0.state().account().period;
            prop_assert_eq!(period.month, Month::anchored(anchor, month));
        }
        books.0.forget();
        books.0.store.verify().unwrap();
    }
}
