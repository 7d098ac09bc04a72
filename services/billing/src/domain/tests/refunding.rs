//! Refunds: last spent first, never more than was charged.

use super::script::check;

#[test]
fn refunds_return_to_the_lot_that_was_spent_last() {
    check(
        "
        0 | grant a 5 allowance until=1000   | granted 5, left 5
        0 | grant b 5 pack until=2000        | granted 5, left 10
        0 | grant c 5                        | granted 5, left 15
        0 | charge x 13                      | charged 13 = a:5 b:5 c:3, left 2
        0 | refund x 4 r                     | refunded 4 = c:3 b:1, left 6
        0 | refund x 5 s                     | refunded 5 = b:4 a:1, left 11
        0 | refund x all t                   | refunded 4 = a:4, left 15
        0 | refund x all u                   | above charge: 0 left
        0 | balance                          | 15 + 0 held, spent 0, 5 expire at 1000, order a b c
        ",
    );
}

#[test]
fn never_more_than_was_charged() {
    check(
        "
        0 | grant a 10              | granted 10, left 10
        0 | charge x 7              | charged 7 = a:7, left 3
        0 | refund x 7.000001 r     | above charge: 7 left
        0 | refund x 0 r            | ZeroAmount
        0 | refund y 1 r            | ChargeNotFound
        0 | refund x 3 r            | refunded 3 = a:3, left 6
        0 | refund x 5 s            | above charge: 4 left
        0 | refund x 4 s            | refunded 4 = a:4, left 10
        0 | refund x 0.000001 t     | above charge: 0 left
        ",
    );
}

#[test]
fn what_belongs_to_an_expired_lot_expires_again_at_once() {
    check(
        "
        0  | grant a 5 allowance until=10    | granted 5, left 5
        0  | grant b 5                       | granted 5, left 10
        0  | charge x 8                      | charged 8 = a:5 b:3, left 2
        20 | refund x all r                  | refunded 8 = b:3 a:5 lost 5, left 5
        20 | lot a                           | 5 = 5 expired
        20 | lot b                           | 5 = 5 left
        ",
    );
}

#[test]
fn refunded_credits_are_spent_and_refunded_anew() {
    check(
        "
        0 | grant a 5               | granted 5, left 5
        0 | charge x 5              | charged 5 = a:5, left 0
        0 | refund x 3 r            | refunded 3 = a:3, left 3
        0 | charge y 3              | charged 3 = a:3, left 0
        0 | refund y all s          | refunded 3 = a:3, left 3
        0 | refund x all t          | refunded 2 = a:2, left 5
        ",
    );
}

#[test]
fn a_captures_charge_is_refunded_like_any_other() {
    check(
        "
        0 | grant a 5               | granted 5, left 5
        0 | hold h 4                | held 4 = a:4, left 1
        0 | capture h 3 x           | charged 3 = a:3, left 2
        0 | refund x 4 r            | above charge: 3 left
        0 | refund x all r          | refunded 3 = a:3, left 5
        ",
    );
}
