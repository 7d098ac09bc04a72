//! Grants, voids and expiries; and what an account can hold at most.

use super::script::check;
use super::world::{World, credits, rules, work};
use crate::domain::*;

#[test]
fn a_lot_needs_credits_and_a_time_to_be_spent_in() {
    check(
        "
        5 | grant a 0                       | ZeroAmount
        5 | grant a 1 pack until=5          | EmptyValidity
        5 | grant a 1 pack from=9 until=9   | EmptyValidity
        5 | grant a 1 pack from=1 until=3   | granted 1, left 0
        5 | lot a                           | 1 = 1 expired
        5 | grant b 1 pack from=1 until=6   | granted 1, left 1
        6 | sweep                           | booked 1
        6 | sweep                           | booked 0
        ",
    );
}

#[test]
fn an_account_has_a_ceiling_that_a_release_never_hits() {
    check(
        "
        0 | grant a 1000000000000          | granted 1000000000000, left 1000000000000
        0 | grant b 0.000001               | BalanceTooLarge
        0 | hold h 1000000000000           | held 1000000000000 = a:1000000000000, left 0
        0 | grant b 1                      | BalanceTooLarge
        0 | release h                      | released 1000000000000, left 1000000000000
        0 | charge x 1                     | charged 1 = a:1, left 999999999999
        0 | grant b 1                      | granted 1, left 1000000000000
        0 | refund x all r                 | BalanceTooLarge
        0 | charge y 1                     | charged 1 = a:1, left 999999999999
        0 | refund x all r                 | refunded 1 = a:1, left 1000000000000
        ",
    );
}

#[test]
fn voiding_takes_what_remains_and_whatever_comes_back() {
    check(
        "
        0  | grant a 10 pack until=50       | granted 10, left 10
        0  | charge x 4                     | charged 4 = a:4, left 6
        0  | void b                         | LotNotFound
        0  | void a                         | voided 6, left 0
        0  | void a                         | voided 0, left 0, again
        0  | void a #k                      | voided 0, left 0, again
        0  | void a #k                      | voided 0, left 0, again
        0  | refund x 1 r                   | refunded 1 = a:1 lost 1, left 0
        60 | void a                         | voided 0, left 0, again
        60 | lot a                          | 10 = 3 spent + 7 voided
        ",
    );
    check(
        "
        0  | grant a 10 pack until=50       | granted 10, left 10
        50 | void a                         | LotEmpty
        50 | lot a                          | 10 = 10 expired
        ",
    );
    // Of a lot that is used up there is nothing to void.
    check(
        "
        0 | grant a 10                      | granted 10, left 10
        0 | charge x 10                     | charged 10 = a:10, left 0
        0 | void a                          | LotEmpty
        0 | refund x 4 r                    | refunded 4 = a:4, left 4
        0 | void a #k                       | voided 4, left 0
        0 | void a #k                       | voided 4, left 0, again
        0 | void a #m                       | voided 0, left 0, again
        ",
    );
}

/// What is held stays honoured, though nothing else remains; voided wins over expired.
#[test]
fn a_lot_of_which_all_is_held_can_be_voided() {
    check(
        "
        0  | grant a 10 pack until=50       | granted 10, left 10
        0  | hold h 10 ttl=100              | held 10 = a:10, left 0
        0  | hold i 1                       | short: 1 of 0
        1  | void a                         | voided 0, left 0
        1  | void a                         | voided 0, left 0, again
        1  | lot a                          | 10 = 10 held
        60 | capture h 4 c                  | charged 4 = a:4, left 0
        60 | lot a                          | 10 = 4 spent + 6 voided
        60 | refund c 1 r                   | refunded 1 = a:1 lost 1, left 0
        60 | lot a                          | 10 = 3 spent + 7 voided
        60 | void a                         | voided 0, left 0, again
        ",
    );
}

/// The last lot that may be is granted and the next is not, until one is gone.
#[test]
fn an_account_has_so_many_live_lots_and_no_more() {
    let mut world = World::new(rules());
    let grant = || Command::Grant(GrantCommand::new(credits(1), LotSource::Pack));
    for _ in 0..Rules::MAX_LIVE_LOTS {
        world.ask(0, grant()).unwrap();
    }
    assert_eq!(world.ask(0, grant()), Err(Refusal::TooManyLots));
    let charge = ChargeCommand {
        cost: Cost::Amount(credits(1)),
        attribution: work(1),
        labels: Labels::default(),
        occurred_at: None,
    };
    world.ask(0, Command::Charge(charge)).unwrap();
    world.ask(0, grant()).unwrap();
    assert_eq!(world.ask(0, grant()), Err(Refusal::TooManyLots));
    world.forget();
    assert_eq!(world.ask(0, grant()), Err(Refusal::TooManyLots), "after loading only what is live");
    let audit = world.store.verify().unwrap();
    assert_eq!(audit.lots, 1 + Rules::MAX_LIVE_LOTS as u64);
}

#[test]
fn nothing_but_its_own_expiry_touches_a_pack() {
    check(
        "
        0       | grant pack 100 pack                    | granted 100, left 100
        0       | grant jan 50 allowance until=2678400   | granted 50, left 150
        10      | charge x 20                            | charged 20 = jan:20, left 130
        20      | balance                                | 130 + 0 held, spent 20, 30 expire at 2678400, order jan pack
        2678400 | grant feb 50 allowance until=5097600   | granted 50, left 150
        2678400 | lot jan                                | 50 = 20 spent + 30 expired
        2678400 | lot pack                               | 100 = 100 left
        9999999 | balance                                | 100 + 0 held, spent 0, order pack
        ",
    );
}

#[test]
fn a_lot_that_comes_too_late_was_never_left_to_spend() {
    check(
        "
        5 | grant a 3                       | granted 3, left 3
        5 | grant b 4 pack from=9           | granted 4, left 3
        5 | grant c 1 pack from=1 until=3   | granted 1, left 3
        6 | sweep                           | booked 0
        ",
    );
}
