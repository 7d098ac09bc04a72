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
            let now = |grant: &str| if grant.contains("from=") { 0 } else { 5 };
            let (after_one, after_two) = (now(&one), now(&one) + now(&two));
            check(&format!(
                "
                0 | {one}       | granted 5, left {after_one}
                0 | {two}       | granted 5, left {after_two}
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
        0  | grant a 5 pack from=10 until=20  | granted 5, left 0
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

#[test]
fn what_is_not_effective_yet_is_not_left_to_spend() {
    check(
        "
        0  | grant a 5                        | granted 5, left 5
        0  | grant b 7 pack from=10           | granted 7, left 5
        0  | grant c 9 pack from=10 until=20  | granted 9, left 5
        1  | charge x 1                       | charged 1 = a:1, left 4
        1  | hold h 2                         | held 2 = a:2, left 2
        2  | release h                        | released 2, left 4
        9  | refund x all r                   | refunded 1 = a:1, left 5
        9  | void b                           | voided 7, left 5
        10 | charge y 1                       | charged 1 = c:1, left 13
        20 | charge z 1                       | charged 1 = a:1, left 4
        ",
    );
}

#[test]
fn work_by_meters_costs_what_the_rates_say_when_it_is_booked() {
    check(
        "
        0    | grant a 100                          | granted 100, left 100
        999  | charge c seconds=8 with=veo          | charged 4 = a:4, left 96
        999  | charge d =3 with=veo                 | charged 1.5 = a:1.5, left 94.5
        1000 | charge e seconds=8 with=veo          | charged 8 = a:8, left 86.5
        1000 | charge f input=5,output=1 with=claude    | charged 0.500001 = a:0.500001, left 85.999999
        1000 | charge g output=0.000001 with=claude | charged 0.000001 = a:0.000001, left 85.999998
        1000 | charge h seconds=8                   | NoModel
        1000 | charge h seconds=8 with=sora         | no price: the catalog has no price for the model sora
        1000 | charge h minutes=8 with=veo          | no price: the model veo has no meter minutes
        1000 | charge h =8 with=claude              | no price: must name each meter: only a model with exactly one can do without
        1000 | charge h =8,seconds=8 with=veo       | no price: names the meter seconds twice
        1000 | charge h seconds=86 with=veo         | short: 86 of 85.999998
        1000 | charge h seconds=999999999999 with=veo | short: 999999999999 of 85.999998
        1000 | charge h 0 with=sora                 | ZeroAmount
        ",
    );
}

/// A request id is looked up before prices are: a retry learns what its first attempt cost.
#[test]
fn a_price_change_makes_no_other_request() {
    check(
        "
        0    | grant a 100                        | granted 100, left 100
        999  | charge c seconds=8 with=veo #k     | charged 4 = a:4, left 96
        1000 | charge c seconds=8 with=veo #k     | charged 4 = a:4, left 96, again
        1000 | charge c seconds=9 with=veo #k     | RequestIdReused
        1000 | charge c 4 with=veo #k             | RequestIdReused
        1000 | charge c 8 with=veo #k             | RequestIdReused
        1000 | charge c =8 with=veo #k            | RequestIdReused
        ",
    );
}

#[test]
fn a_scoped_lot_pays_for_its_work_alone_in_the_same_order() {
    check(
        "
        0 | grant veo 5 promotion for=veo,kling               | granted 5, left 5
        0 | grant film 5 allowance until=99 at=film           | granted 5, left 10
        0 | grant both 5 pack prio=1 for=veo at=film          | granted 5, left 15
        0 | grant any 5 pack prio=2                           | granted 5, left 20
        0 | balance                                           | 20 + 0 held, spent 0, 5 expire at 99, order film veo both any
        0 | balance with=veo                                  | 10 + 0 held, spent 0, order film veo both any
        0 | balance with=veo in=film                          | 20 + 0 held, spent 0, 5 expire at 99, order film veo both any
        0 | balance in=book                                   | 5 + 0 held, spent 0, order film veo both any
        0 | charge x 6                                        | short: 6 of 5
        0 | charge x 11 with=veo                              | short: 11 of 10
        0 | charge x 21 with=veo in=film                      | short: 21 of 20
        0 | charge a 1 with=kling                             | charged 1 = veo:1, left 19
        0 | charge b 6 in=film                                | charged 6 = film:5 any:1, left 13
        0 | charge c 1 in=book                                | charged 1 = any:1, left 12
        0 | charge d 7 with=veo in=film                       | charged 7 = veo:4 both:3, left 5
        0 | refund b all r                                    | refunded 6 = any:1 film:5, left 11
        0 | refund d 4 s                                      | refunded 4 = both:3 veo:1, left 15
        ",
    );
}
