//! Grants, voids and expiries; and what an account can hold at most.

use super::script::check;

#[test]
fn a_lot_needs_credits_and_a_time_to_be_spent_in() {
    check(
        "
        5 | grant a 0                       | ZeroAmount
        5 | grant a 1 pack until=5          | EmptyValidity
        5 | grant a 1 pack from=9 until=9   | EmptyValidity
        5 | grant a 1 pack from=1 until=3   | granted 1, left 1
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
        0  | void a                         | LotVoided
        0  | refund x 1 r                   | refunded 1 = a:1 lost 1, left 0
        60 | void a                         | LotVoided
        60 | lot a                          | 10 = 3 spent + 7 voided
        ",
    );
    check(
        "
        0  | grant a 10 pack until=50       | granted 10, left 10
        50 | void a                         | LotExpired
        50 | lot a                          | 10 = 10 expired
        ",
    );
    // A lot that is used up can be voided against what may still come back.
    check(
        "
        0 | grant a 10                      | granted 10, left 10
        0 | charge x 10                     | charged 10 = a:10, left 0
        0 | void a                          | voided 0, left 0
        0 | refund x 4 r                    | refunded 4 = a:4 lost 4, left 0
        ",
    );
}

#[test]
fn nothing_but_its_own_expiry_touches_a_pack() {
    check(
        "
        0       | grant pack 100 pack                    | granted 100, left 100
        0       | grant jan 50 allowance until=2678400   | granted 50, left 150
        10      | charge x 20                            | charged 20 = jan:20, left 130
        2678400 | grant feb 50 allowance until=5097600   | granted 50, left 150
        2678400 | lot jan                                | 50 = 20 spent + 30 expired
        2678400 | lot pack                               | 100 = 100 left
        9999999 | balance                                | 100 + 0 held, spent 20, order pack
        ",
    );
}
