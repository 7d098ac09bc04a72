//! Charges and the order in which lots burn.

use super::script::check;

#[test]
fn a_charge_takes_all_or_nothing() {
    check(
        "
        0 | charge c 1            | short: 1 of 0
        0 | grant a 10            | granted 10, left 10
        0 | charge c 0            | ZeroAmount
        0 | charge c 10.000001    | short: 10.000001 of 10
        0 | balance               | 10 + 0 held, spent 0, order a
        0 | charge c 0.000001     | charged 0.000001 = a:0.000001, left 9.999999
        0 | charge d 9.999999     | charged 9.999999 = a:9.999999, left 0
        0 | charge e 0.000001     | short: 0.000001 of 0
        0 | lot a                 | 10 = 10 spent
        0 | balance               | 0 + 0 held, spent 10, order
        ",
    );
}

#[test]
fn a_charge_burns_lots_in_order_and_says_which() {
    check(
        "
        0 | grant pack 100 pack                  | granted 100, left 100
        0 | grant month 50 allowance until=1000  | granted 50, left 150
        0 | charge c 30                          | charged 30 = month:30, left 120
        0 | charge d 30                          | charged 30 = month:20 pack:10, left 90
        0 | balance                              | 90 + 0 held, spent 60, order pack
        ",
    );
}

/// Each table differs from the others in one thing only: the one that decides.
#[test]
fn burn_order_compares_five_things_one_after_another() {
    let cases = [
        // Lower priority first, whatever else speaks against it.
        ("pack prio=0", "promotion prio=1 until=10"),
        // Then the soonest expiry; never-expiring last.
        ("pack until=10", "promotion until=11"),
        ("pack until=10", "promotion"),
        // Then free before paid.
        ("promotion until=10", "allowance until=10"),
        ("goodwill", "pack"),
        ("goodwill", "adjustment"),
        // Then the earliest effective.
        ("pack from=2", "pack from=3"),
        ("goodwill from=2", "promotion from=3"),
    ];
    for (first, second) in cases {
        for swapped in [false, true] {
            let (one, two) = (format!("grant first 5 {first}"), format!("grant second 5 {second}"));
            let [one, two] = if swapped { [two, one] } else { [one, two] };
            check(&format!(
                "
                0 | {one}       | granted 5, left 5
                0 | {two}       | granted 5, left 10
                5 | charge c 1  | charged 1 = first:1, left 9
                5 | charge d 9  | charged 9 = first:4 second:5, left 0
                "
            ));
        }
    }
    // Last of all, the oldest.
    check(
        "
        0 | grant z 5   | granted 5, left 5
        0 | grant y 5   | granted 5, left 10
        0 | charge c 6  | charged 6 = z:5 y:1, left 4
        ",
    );
}

#[test]
fn a_lot_is_spendable_from_its_first_instant_until_before_its_last() {
    check(
        "
        0  | grant a 5 pack from=10 until=20  | granted 5, left 5
        9  | charge c 1                       | short: 1 of 0
        9  | balance                          | 0 + 0 held, spent 0, order
        10 | charge c 1                       | charged 1 = a:1, left 4
        19 | charge d 1                       | charged 1 = a:1, left 3
        19 | balance                          | 3 + 0 held, spent 2, 3 expire at 20, order a
        20 | charge e 1                       | short: 1 of 0
        20 | lot a                            | 5 = 2 spent + 3 expired
        ",
    );
}

#[test]
fn what_expires_together_is_announced_together() {
    check(
        "
        0 | grant a 5 promotion until=50  | granted 5, left 5
        0 | grant b 7 allowance until=50  | granted 7, left 12
        0 | grant c 9 allowance until=60  | granted 9, left 21
        0 | grant d 1 pack                | granted 1, left 22
        0 | balance                       | 22 + 0 held, spent 0, 12 expire at 50, order a b c d
        1 | charge x 5                    | charged 5 = a:5, left 17
        1 | balance                       | 17 + 0 held, spent 5, 7 expire at 50, order b c d
        ",
    );
}
