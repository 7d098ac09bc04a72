//! When an account falls below what its top-up wants: whatever takes the credits, and once.

use bursar_id::{HoldId, LotId};
use bursar_time::Span;
use proptest::prelude::*;

use super::world::{World, at, credits, rules, work};
use crate::domain::*;

/// An account that is topped up below so many credits.
fn world(below: u32) -> World {
    let mut world = World::new(rules());
    world.store.account.top_up_below = Some(credits(below));
    world
}

fn grant(world: &mut World, second: u64, amount: u32, (from, until): (Option<u64>, Option<u64>)) -> LotId {
    let command = Command::Grant(GrantCommand {
        effective_at: from.map(at),
        expires_at: until.map(at),
        ..GrantCommand::new(credits(amount), LotSource::Goodwill)
    });
    match world.run(&Request::unnamed(command), &Actor::Job, at(second)) {
        Ok(Outcome::Granted(granted)) => granted.lot.id,
        other => panic!("{other:?}"),
    }
}

fn charge(world: &mut World, second: u64, amount: u32) -> Result<Outcome, Refusal> {
    world.ask(
        second,
        Command::Charge(ChargeCommand {
            cost: Cost::Amount(credits(amount)),
            attribution: work(1),
            labels: Labels::default(),
            occurred_at: None,
        }),
    )
}

fn hold(world: &mut World, second: u64, amount: u32) -> HoldId {
    let command = Command::Hold(HoldCommand {
        amount: credits(amount),
        ttl: Span::from_secs(100),
        attribution: work(1),
        labels: Labels::default(),
    });
    match world.ask(second, command) {
        Ok(Outcome::Held(held)) => held.hold.id,
        other => panic!("{other:?}"),
    }
}

/// Whether what was done since the last look made it fall below.
fn crossed(world: &mut World) -> bool {
    world.forget();
    std::mem::take(&mut world.store.crossed) > 0
}

#[test]
fn it_falls_below_by_whatever_takes_the_credits() {
    let mut charged = world(100);
    grant(&mut charged, 0, 150, (None, None));
    charge(&mut charged, 1, 50).unwrap();
    assert!(!crossed(&mut charged), "100 are not fewer than 100");
    charge(&mut charged, 2, 1).unwrap();
    assert!(crossed(&mut charged));
    charge(&mut charged, 3, 1).unwrap();
    charge(&mut charged, 4, 5_000).unwrap_err();
    assert!(!crossed(&mut charged), "once");

    let mut held = world(100);
    grant(&mut held, 0, 150, (None, None));
    let taken = hold(&mut held, 1, 51);
    assert!(crossed(&mut held));
    held.ask(2, Command::Release { hold: taken }).unwrap();
    assert!(!crossed(&mut held), "more is not less");
    hold(&mut held, 3, 51);
    assert!(crossed(&mut held), "and again");

    let mut voided = world(100);
    let lot = grant(&mut voided, 0, 150, (None, None));
    let request = Request::unnamed(Command::Void(VoidCommand { lot, note: None }));
    voided.run(&request, &Actor::Job, at(1)).unwrap();
    assert!(crossed(&mut voided));
}

#[test]
fn it_falls_below_by_time_when_that_is_booked() {
    let mut expiring = world(100);
    grant(&mut expiring, 0, 150, (None, Some(10)));
    assert!(!crossed(&mut expiring));
    expiring.run(&Request::unnamed(Command::Sweep), &Actor::Job, at(10)).unwrap();
    assert!(crossed(&mut expiring), "an expiry");

    // What became effective meanwhile was there, though no entry says so.
    let mut later = world(100);
    grant(&mut later, 0, 50, (None, None));
    grant(&mut later, 0, 100, (Some(10), None));
    assert!(!crossed(&mut later));
    charge(&mut later, 20, 60).unwrap();
    assert!(crossed(&mut later));

    // A hold that lapses gives back: nothing falls.
    let mut lapsing = world(100);
    grant(&mut lapsing, 0, 150, (None, None));
    hold(&mut lapsing, 0, 60);
    assert!(crossed(&mut lapsing));
    lapsing.run(&Request::unnamed(Command::Sweep), &Actor::Job, at(200)).unwrap();
    assert!(!crossed(&mut lapsing));
    // Its credits may be gone by then; that they were there before is no matter.
    charge(&mut lapsing, 201, 60).unwrap();
    assert!(crossed(&mut lapsing));
}

#[test]
fn an_account_without_a_top_up_never_does() {
    let mut world = World::new(rules());
    grant(&mut world, 0, 150, (None, None));
    charge(&mut world, 1, 150).unwrap();
    assert!(!crossed(&mut world));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever happens in whatever order: it is told exactly where what can be spent goes from as much to less.
    #[test]
    fn it_is_told_exactly_when_it_falls_below(steps in prop::collection::vec((0..3_u8, 1..120_u32), 1..40)) {
        let mut world = world(100);
        grant(&mut world, 0, 100, (None, None));
        let mut before = 100_i64;
        prop_assert!(!crossed(&mut world));
        for (second, (kind, amount)) in (1..).zip(steps) {
            match kind {
                0 => drop(grant(&mut world, second, amount, (None, None))),
                1 => drop(charge(&mut world, second, amount)),
                _ => if before >= i64::from(amount) {
                    let taken = hold(&mut world, second, amount);
                    world.ask(second, Command::Release { hold: taken }).unwrap();
                },
            }
            world.forget();
            let after = world.store.account.available.micro() / 1_000_000;
            // What is held and given back in one go is where it was.
            let dipped = kind == 2 && before >= i64::from(amount) && before >= 100 && before - i64::from(amount) < 100;
            prop_assert_eq!(crossed(&mut world), dipped || (before >= 100 && after < 100));
            before = after;
        }
    }
}
