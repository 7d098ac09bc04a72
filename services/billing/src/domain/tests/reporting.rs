//! What is counted: usage by hour, member, project and model; the period; and the ledger's time.

use bursar_money::Quantity;
use bursar_time::Span;

use super::script::check;
use super::world::{World, at, credits, id, name, rules, service};
use crate::domain::*;

fn work(member: u64, project: Option<u64>, model: Option<&str>) -> Attribution {
    Attribution {
        member: id(member),
        project: project.map(|number| super::world::project(&format!("film {number}"))),
        model: model.map(super::world::model),
    }
}

fn labels() -> Labels {
    Labels::parse([("say".to_owned(), "\"ja\" \\ ä {".to_owned())].into()).unwrap()
}

fn grant() -> Command {
    Command::Grant(GrantCommand {
        priority: -3,
        note: Note::parse("for the \"outage\"").ok(),
        ..GrantCommand::new(credits(100), LotSource::Goodwill)
    })
}

fn charge(cost: Cost, attribution: Attribution) -> Command {
    // Long ago, which changes nothing: usage counts when it was booked.
    Command::Charge(ChargeCommand { cost, attribution, labels: labels(), occurred_at: Some(at(0)) })
}

fn amount(whole: u32) -> Cost {
    Cost::Amount(credits(whole))
}

fn used(meters: &[(&str, i64)]) -> Cost {
    let one = |(meter, millionths): &(&str, i64)| MeterUse {
        meter: MeterName::parse(meter).ok(),
        quantity: Quantity::from_millionths(*millionths).unwrap(),
    };
    Cost::Metered(meters.iter().map(one).collect())
}

/// One account and the ids of what it charged.
struct Books(World);

impl Books {
    fn run(&mut self, second: u64, called: &str, command: Command) -> Outcome {
        self.0.run(&Request::new(Some(name(called)), [1; 16], command), &service(1), at(second)).unwrap()
    }

    fn charge(&mut self, second: u64, called: &str, command: Command) -> bursar_id::ChargeId {
        let Outcome::Charged(it) = self.run(second, called, command) else { panic!("{called} is no charge") };
        it.charge.id
    }

    fn hold(&mut self, second: u64, called: &str, whole: u32, attribution: Attribution) -> bursar_id::HoldId {
        let amount = credits(whole);
        let hold = HoldCommand { amount, ttl: Span::HOUR, attribution, labels: labels() };
        let Outcome::Held(it) = self.run(second, called, Command::Hold(hold)) else { panic!("{called} is no hold") };
        it.hold.id
    }
}

#[test]
fn usage_counts_charges_captures_and_refunds_where_they_belong() {
    let mut books = Books(World::new(rules()));
    books.run(0, "g", grant());
    books.run(10, "a", charge(amount(3), work(1, Some(9), Some("veo"))));
    let second = books.charge(20, "b", charge(amount(4), work(1, Some(9), Some("veo"))));
    books.run(20, "b", charge(amount(4), work(1, Some(9), Some("veo"))));
    books.run(30, "c", charge(amount(5), work(1, None, Some("veo"))));
    books.run(40, "d", charge(amount(6), work(2, None, None)));
    let hold = books.hold(50, "e", 9, work(2, None, None));
    let cost = Some(amount(7));
    books.run(60, "f", Command::Capture(CaptureCommand { hold, cost, allow_excess: false }));
    let refund = RefundCommand { charge: second, amount: Some(credits(1)) };
    books.run(3_600, "h", Command::Refund(refund));
    let Books(mut world) = books;
    world.forget();

    let micro = |n: i64| n * 1_000_000;
    let usage: Vec<_> = world
        .store
        .usage
        .iter()
        .map(|(key, it)| {
            let hour = key.hour.since(at(0)).as_secs() / 3_600;
            let model = key.model.as_ref().map(ModelName::as_str);
            ((hour, key.member == id(1), key.project.is_some(), model), it.charged, it.refunded, it.charges)
        })
        .collect();
    let expected = vec![
        ((0, true, false, Some("veo")), micro(5), 0, 1),
        ((0, true, true, Some("veo")), micro(7), 0, 2),
        ((0, false, false, None), micro(13), 0, 2),
        ((1, true, true, Some("veo")), 0, micro(1), 0),
    ];
    assert_eq!(usage, expected);
    let audit = world.store.verify().unwrap();
    assert_eq!((audit.charged, audit.refunded), (25_000_000, 1_000_000), "the ledger agrees");
}

/// A meter counts what was used: gross of refunds, whoever used it.
#[test]
fn meters_count_what_was_used_by_hour_and_model() {
    let mut books = Books(World::new(rules()));
    books.run(0, "g", grant());
    let first = books.charge(1, "a", charge(used(&[("seconds", 2_500_000)]), work(1, None, Some("veo"))));
    books.run(2, "b", charge(used(&[("seconds", 1)]), work(2, Some(1), Some("veo"))));
    books.run(3, "c", charge(used(&[("output", 3_000_000), ("input", 10_000_000)]), work(1, None, Some("claude"))));
    books.run(4, "d", charge(amount(3), work(1, None, Some("veo"))));
    books.run(5, "e", Command::Refund(RefundCommand { charge: first, amount: None }));
    let hold = books.hold(6, "f", 9, work(1, None, Some("veo")));
    let cost = Some(used(&[("seconds", 4_000_000)]));
    books.run(3_601, "h", Command::Capture(CaptureCommand { hold, cost, allow_excess: false }));
    let Books(mut world) = books;
    world.forget();
    let hour = |key: &MeterKey| key.hour.since(at(0)).as_secs() / 3_600;
    let counted = world.store.meters.iter().map(|(key, it)| {
        let name = format!("{} {} {}", hour(key), key.model, key.meter);
        (name, it.quantity, it.charged)
    });
    let expected = [
        ("0 claude input", 10_000_000, 1_000_000),
        ("0 claude output", 3_000_000, 3),
        ("0 veo seconds", 2_500_001, 1_250_001),
        ("1 veo seconds", 4_000_000, 4_000_000),
    ];
    assert_eq!(counted.collect::<Vec<_>>(), expected.map(|(name, used, cost)| (name.to_owned(), used, cost)));
}

/// Quantities are the caller's word: however great, they fail no charge.
#[test]
fn a_meters_sum_stays_at_its_greatest() {
    let greatest = MeterTotals { quantity: i64::MAX - 1, charged: 5 };
    let mut sum = greatest;
    sum.add(&MeterTotals { quantity: 2, charged: 1 });
    assert_eq!(sum, MeterTotals { quantity: i64::MAX, charged: 6 });
}

#[test]
fn charging_stops_before_a_total_overflows() {
    let mut world = World::new(rules());
    world.ask(0, grant()).unwrap();
    world.forget();
    world.store.account.charged = i64::MAX - 1_000_000;
    let hold = HoldCommand { amount: credits(1), ttl: Span::HOUR, attribution: work(1, None, None), labels: labels() };
    let Ok(Outcome::Held(placed)) = world.ask(0, Command::Hold(hold)) else { panic!("a hold charges nothing") };
    let capture = |cost, allow_excess| Command::Capture(CaptureCommand { hold: placed.hold.id, cost, allow_excess });
    let full = Err(Refusal::TotalsFull);
    assert_eq!(world.ask(0, charge(amount(2), work(1, None, None))), full);
    assert_eq!(world.ask(0, charge(amount(1_000), work(1, None, None))), full, "before credits are looked at");
    assert_eq!(world.ask(0, capture(Some(amount(2)), true)), full);
    world.ask(0, capture(None, false)).unwrap();
    let one = Cost::Amount(bursar_money::Credits::from_micro(1).unwrap());
    assert_eq!(world.ask(0, charge(one, work(1, None, None))), full);
    world.forget();
    assert_eq!(world.store.account.charged, i64::MAX);
}

/// Two replicas' clocks may disagree; one ledger has one time.
#[test]
fn a_ledgers_time_never_runs_backwards() {
    check(
        "
        20 | grant a 5 pack until=30   | granted 5, left 5
        10 | charge c 1                | charged 1 = a:1, left 4
        10 | hold h 1 ttl=15           | held 1 = a:1, left 3
        30 | charge d 1                | short: 1 of 0
        10 | charge e 1                | short: 1 of 0
        34 | capture h 1 f             | charged 1 = a:1, left 0
        ",
    );
}
