//! Holds, captures, releases and deadlines.

use std::sync::Arc;

use bursar_money::Credits;
use bursar_time::{Span, Timestamp};

use super::script::check;
use super::world::{World, credits, owner, rules, work};
use crate::domain::*;

/// The account as whoever only looks has it at `now`: overdue holds are not loaded but looked past, and nothing is booked.
pub(super) fn looked(world: &World, now: Timestamp) -> AccountState {
    let mut world = world.clone();
    world.forget();
    let store = &world.store;
    let live = store.lots.values().filter(|lot| lot.is_live()).cloned().collect();
    let mut state = AccountState::new(owner(), store.account, live, Arc::new(rules())).unwrap();
    state.load_limits(Arc::clone(&store.limits));
    let used: Vec<_> = store.used.iter().map(|(key, used)| (key.clone(), *used)).collect();
    state.load_use(Vec::new(), used, now);
    for hold in store.holds.values().filter(|hold| hold.state == HoldState::Open && hold.deadline <= now) {
        state.look_past(hold, now).unwrap();
    }
    decide(&mut state, &Request::unnamed(Command::Sweep), &Actor::Job, now).unwrap();
    state
}

#[test]
fn a_hold_reserves_and_a_capture_settles_part_of_it() {
    check(
        "
        0 | grant a 5 allowance until=1000  | granted 5, left 5
        0 | grant b 10                      | granted 10, left 15
        0 | hold h 8                        | held 8 = a:5 b:3, left 7
        0 | lot a                           | 5 = 5 held
        0 | charge c 8                      | short: 8 of 7
        0 | balance                         | 7 + 8 held, spent 0, order b
        1 | capture h 6 d                   | charged 6 = a:5 b:1, left 9
        1 | lot b                           | 10 = 9 left + 1 spent
        1 | balance                         | 9 + 0 held, spent 6, order b
        ",
    );
}

#[test]
fn a_capture_above_the_hold_needs_leave_and_credits() {
    check(
        "
        0 | grant a 10              | granted 10, left 10
        0 | hold h 5                | held 5 = a:5, left 5
        0 | capture h 6 c           | above hold: 6 of 5
        0 | capture h 11 c excess   | short: 6 of 5
        0 | balance                 | 5 + 5 held, spent 0, order a
        0 | capture h 10 c excess   | charged 10 = a:5 a:5, left 0
        0 | refund c 7 r            | refunded 7 = a:5 a:2, left 7
        0 | lot a                   | 10 = 7 left + 3 spent
        ",
    );
}

#[test]
fn excess_is_taken_in_burn_order_after_the_earmarks() {
    check(
        "
        0 | grant late 5                    | granted 5, left 5
        0 | hold h 5                        | held 5 = late:5, left 0
        0 | grant soon 5 pack until=100     | granted 5, left 5
        0 | capture h 7 c excess            | charged 7 = late:5 soon:2, left 3
        0 | refund c 3 r                    | refunded 3 = soon:2 late:1, left 6
        ",
    );
}

#[test]
fn exactly_one_of_capture_release_and_deadline_wins() {
    check(
        "
        0  | grant a 9          | granted 9, left 9
        0  | hold h 3 ttl=10    | held 3 = a:3, left 6
        0  | hold i 3 ttl=10    | held 3 = a:3, left 3
        0  | hold j 3 ttl=10    | held 3 = a:3, left 0
        9  | capture h 1 c      | charged 1 = a:1, left 2
        9  | capture h 1 d      | HoldSettled
        9  | release h          | HoldSettled
        9  | release i          | released 3, left 5
        9  | release i          | released 3, left 5, again
        9  | capture i 1 d      | HoldSettled
        10 | capture j 1 d      | HoldExpired
        10 | release j          | lapsed 3, left 8, again
        11 | capture h 99 d     | HoldSettled
        11 | balance            | 8 + 0 held, spent 1, order a
        ",
    );
}

#[test]
fn a_capture_just_before_the_deadline_counts() {
    check(
        "
        0 | grant a 5         | granted 5, left 5
        0 | hold h 5 ttl=10   | held 5 = a:5, left 0
        9 | capture h 5 c     | charged 5 = a:5, left 0
        20 | sweep            | booked 0
        ",
    );
}

#[test]
fn an_overdue_hold_frees_itself_before_anything_else_is_decided() {
    check(
        "
        0  | grant a 5          | granted 5, left 5
        0  | hold h 5 ttl=10    | held 5 = a:5, left 0
        9  | charge c 5         | short: 5 of 0
        10 | charge c 5         | charged 5 = a:5, left 0
        10 | release h          | lapsed 5, left 0, again
        ",
    );
}

#[test]
fn an_earmark_outlives_its_lot_but_what_comes_back_is_gone() {
    check(
        "
        0  | grant a 10 allowance until=10  | granted 10, left 10
        0  | hold h 6 ttl=100               | held 6 = a:6, left 4
        0  | hold i 2 ttl=100               | held 2 = a:2, left 2
        20 | lot a                          | 10 = 2 left + 8 held
        20 | capture h 4 c                  | charged 4 = a:4, left 0
        20 | lot a                          | 10 = 2 held + 4 spent + 4 expired
        20 | release i                      | released 2, left 0
        20 | lot a                          | 10 = 4 spent + 6 expired
        20 | refund c all r                 | refunded 4 = a:4 lost 4, left 0
        20 | lot a                          | 10 = 10 expired
        ",
    );
}

#[test]
fn an_earmark_outlives_the_voiding_of_its_lot_too() {
    check(
        "
        0 | grant a 10          | granted 10, left 10
        0 | hold h 6            | held 6 = a:6, left 4
        0 | void a              | voided 4, left 0
        0 | capture h 5 c       | charged 5 = a:5, left 0
        0 | lot a               | 10 = 5 spent + 5 voided
        0 | refund c 2 r        | refunded 2 = a:2 lost 2, left 0
        0 | lot a               | 10 = 3 spent + 7 voided
        ",
    );
}

#[test]
fn what_falls_due_is_booked_in_the_order_in_which_it_was_due() {
    check(
        "
        0  | grant a 10 allowance until=20  | granted 10, left 10
        0  | grant b 10 allowance until=12  | granted 10, left 20
        0  | hold h 15 ttl=15               | held 15 = b:10 a:5, left 5
        30 | sweep                          | booked 2
        30 | lot a                          | 10 = 10 expired
        30 | lot b                          | 10 = 10 expired
        30 | release h                      | lapsed 15, left 0, again
        ",
    );
    // At one instant the lot goes first: what the hold gives back is gone.
    check(
        "
        0  | grant a 10 allowance until=10  | granted 10, left 10
        0  | hold h 10 ttl=10               | held 10 = a:10, left 0
        10 | sweep                          | booked 1
        10 | lot a                          | 10 = 10 expired
        ",
    );
}

#[test]
fn nonsense_is_refused() {
    check(
        "
        0 | grant a 5               | granted 5, left 5
        0 | hold h 0                | ZeroAmount
        0 | hold h 1 ttl=0          | HoldTimeOutOfRange
        0 | hold h 1 ttl=86401      | HoldTimeOutOfRange
        0 | hold h 9 ttl=86401      | HoldTimeOutOfRange
        0 | hold h 9                | short: 9 of 5
        0 | capture h 1 c           | HoldNotFound
        0 | capture h 0 c           | HoldNotFound
        0 | release h               | HoldNotFound
        0 | hold h 1 ttl=86400      | held 1 = a:1, left 4
        0 | capture h 0 c           | ZeroAmount
        ",
    );
}

#[test]
fn a_capture_without_an_amount_takes_all_of_the_hold() {
    check(
        "
        0 | grant a 5 pack until=100   | granted 5, left 5
        0 | grant b 5                  | granted 5, left 10
        0 | hold h 8                   | held 8 = a:5 b:3, left 2
        1 | capture h all c #k         | charged 8 = a:5 b:3, left 2
        1 | capture h all c #k         | charged 8 = a:5 b:3, left 2, again
        1 | capture h 8 c #k           | RequestIdReused
        1 | capture h all c            | HoldSettled
        1 | refund c all r             | refunded 8 = b:3 a:5, left 10
        ",
    );
}

#[test]
fn a_capture_by_usage_is_priced_when_it_is_booked_for_the_holds_work() {
    check(
        "
        0    | grant a 20 pack for=veo                  | granted 20, left 20
        0    | grant b 20                               | granted 20, left 40
        0    | hold h 6 with=veo ttl=2000               | held 6 = a:6, left 34
        0    | hold i 6 with=claude ttl=2000            | held 6 = b:6, left 28
        0    | hold j 6 ttl=2000                        | held 6 = b:6, left 22
        0    | capture j seconds=4 c                    | NoModel
        0    | capture i seconds=4 c                    | no price: the model claude has no meter seconds
        0    | capture i input=61,output=1 c            | above hold: 6.100001 of 6
        0    | capture i input=61,output=1 c excess     | charged 6.100001 = b:6 b:0.100001, left 21.899999
        1000 | capture h seconds=5 d                    | charged 5 = a:5, left 22.899999
        1000 | refund d all r                           | refunded 5 = a:5, left 27.899999
        ",
    );
    // Excess is taken only where the work may take it.
    check(
        "
        0    | grant a 6 pack for=veo                   | granted 6, left 6
        0    | grant b 20 pack for=claude               | granted 20, left 26
        0    | hold h 6 with=veo                        | held 6 = a:6, left 20
        0    | capture h 7 c excess                     | short: 1 of 0
        0    | capture h all c excess                   | charged 6 = a:6, left 20
        ",
    );
}

#[test]
fn so_many_holds_may_be_open_and_no_more() {
    let mut world = World::new(Rules { max_open_holds: 3, ..rules() });
    let grant = GrantCommand::new(credits(10), LotSource::Pack);
    world.ask(0, Command::Grant(grant)).unwrap();
    let hold = |amount, ttl| {
        let ttl = Span::from_secs(ttl);
        Command::Hold(HoldCommand { amount, ttl, attribution: work(1), labels: Labels::default() })
    };
    for ttl in [10, 20, 30] {
        world.ask(0, hold(credits(1), ttl)).unwrap();
    }
    let full = Err(Refusal::TooManyHolds { limit: 3 });
    assert_eq!(world.ask(0, hold(credits(1), 10)), full);
    assert_eq!(world.ask(0, hold(credits(99), 10)), full, "before credits are looked at");
    assert_eq!(world.ask(0, hold(Credits::ZERO, 10)), Err(Refusal::ZeroAmount), "after the amount is");
    world.forget();
    assert_eq!(world.ask(9, hold(credits(1), 10)), full, "loaded anew");
    let Ok(Outcome::Held(placed)) = world.ask(10, hold(credits(1), 10)) else { panic!("a lapse makes room") };
    assert_eq!(world.ask(10, hold(credits(1), 10)), full);
    world.ask(10, Command::Release { hold: placed.hold.id }).unwrap();
    world.ask(10, hold(credits(1), 10)).unwrap();
    world.forget();
    world.store.verify().unwrap();
}
