//! What is counted: usage by hour, member, project and model; the period; and the ledger's time.

use std::sync::Arc;

use bursar_money::Quantity;
use bursar_time::Span;

use super::script::check;
use super::world::{World, at, credits, id, key};
use crate::domain::*;

fn work(member: u64, project: Option<u64>, model: Option<&str>) -> Arc<Attribution> {
    Arc::new(Attribution {
        member: id(member),
        project: project.map(|number| ProjectName::parse(&format!("film {number}")).unwrap()),
        model: model.map(|name| ModelName::parse(name).unwrap()),
        quantity: Some(Quantity::ONE),
        labels: Labels::parse([("say".to_owned(), "\"ja\" \\ ä {".to_owned())].into()).unwrap(),
    })
}

fn grant(lot: u64) -> Command {
    Command::Grant(GrantCommand {
        lot: id(lot),
        amount: credits(100),
        source: LotSource::Goodwill,
        priority: -3,
        effective_at: None,
        expires_at: None,
        note: Note::parse("for the \"outage\"").ok(),
    })
}

fn charge(number: u64, amount: u32, attribution: Arc<Attribution>) -> Command {
    Command::Charge(ChargeCommand {
        charge: id(number),
        amount: credits(amount),
        pricing: Pricing::Named,
        attribution,
        // Long ago, which changes nothing: usage counts when it was booked.
        occurred_at: Some(at(0)),
    })
}

#[test]
fn usage_counts_charges_captures_and_refunds_where_they_belong() {
    let mut world = World::new();
    let mut run = |second: u64, name: &str, command: Command| {
        world.run(&Request::new(Some(key(name)), command), at(second)).unwrap();
    };
    run(0, "g", grant(1));
    run(10, "a", charge(1, 3, work(1, Some(9), Some("veo"))));
    run(20, "b", charge(2, 4, work(1, Some(9), Some("veo"))));
    run(20, "b", charge(3, 4, work(1, Some(9), Some("veo"))));
    run(30, "c", charge(4, 5, work(1, None, Some("veo"))));
    run(40, "d", charge(5, 6, work(2, None, None)));
    let hold = HoldCommand { hold: id(1), amount: credits(9), ttl: Span::HOUR, attribution: work(2, None, None) };
    run(50, "e", Command::Hold(hold));
    let capture = CaptureCommand { hold: id(1), charge: id(6), amount: credits(7), allow_excess: false };
    run(60, "f", Command::Capture(capture));
    let refund = RefundCommand { charge: id(2), refund: id(1), amount: Some(credits(1)) };
    run(3_600, "h", Command::Refund(refund));
    world.forget();

    let micro = |n: i64| n * 1_000_000;
    let usage: Vec<_> = world
        .store
        .usage
        .iter()
        .map(|(key, it)| {
            let hour = key.hour.since(at(0)).as_secs() / 3_600;
            let model = key.model.as_ref().map(ModelName::as_str);
            let count = (it.charges, it.quantity / 1_000_000);
            ((hour, key.member == id(1), key.project.is_some(), model), it.charged, it.refunded, count)
        })
        .collect();
    let expected = vec![
        ((0, true, false, Some("veo")), micro(5), 0, (1, 1)),
        ((0, true, true, Some("veo")), micro(7), 0, (2, 2)),
        ((0, false, false, None), micro(13), 0, (2, 2)),
        ((1, true, true, Some("veo")), 0, micro(1), (0, 0)),
    ];
    assert_eq!(usage, expected);
    let audit = world.store.verify().unwrap();
    assert_eq!((audit.charged, audit.refunded), (25_000_000, 1_000_000), "the ledger agrees");
}

#[test]
fn a_period_counts_from_nothing_and_never_below_it() {
    let mut state = AccountState::new(
        super::world::owner(),
        Account::open(super::world::owner(), at(0), at(0), at(100)),
        Vec::new(),
    )
    .unwrap();
    let run = |state: &mut AccountState, second: u64, command: Command| {
        decide(state, &Request::new(None, command), at(second)).unwrap();
        state.account().period.spent
    };
    run(&mut state, 0, grant(1));
    assert_eq!(run(&mut state, 1, charge(1, 5, work(1, None, None))), credits(5));
    state.enter_period(at(0), at(100));
    assert_eq!(state.account().period.spent, credits(5), "the same period goes on");
    state.enter_period(at(100), at(200));
    assert_eq!(state.account().period.spent, credits(0));
    assert_eq!(run(&mut state, 100, charge(2, 2, work(1, None, None))), credits(2));
    let refund = RefundCommand { charge: id(1), refund: id(1), amount: None };
    assert_eq!(run(&mut state, 101, Command::Refund(refund)), credits(0), "of the last period");
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
