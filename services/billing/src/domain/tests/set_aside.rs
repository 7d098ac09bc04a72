//! What is booked nowhere of a payment: how it is heard of, and what it keeps from being refunded.

use bursar_money::Price;

use super::paying::{payment, usd};
use crate::domain::*;

fn eur(units: i64) -> Price {
    Price::from_units_nanos("EUR".parse().unwrap(), units, 0).unwrap()
}

fn told(dispute: &str, news: &[News]) -> SetAside {
    SetAside::told(Some(dispute), news).unwrap()
}

#[test]
fn what_is_set_aside_is_not_refunded_as_long_as_it_may_be_taken() {
    let mut it = payment(PaymentState::Paid);
    it.learn(&News::Disputed(usd(5)));
    assert!(it.keep_aside(told("dp_2", &[News::Disputed(usd(4))])));
    assert_eq!(
        (it.taken_aside(), it.refundable(), it.taken()),
        (usd(4), usd(11), usd(5)),
        "no credits are taken for it"
    );
    assert!(!it.keep_aside(told("dp_2", &[News::Disputed(usd(4))])), "it is told twice");
    assert!(it.keep_aside(told("dp_2", &[News::Disputed(usd(4)), News::DisputeLost])));
    assert!(!it.keep_aside(told("dp_2", &[News::Disputed(usd(3)), News::DisputeWon])), "it is decided");
    assert_eq!(it.refundable(), usd(11));
    // Another one is won, though that it began is told afterwards.
    assert!(it.keep_aside(told("dp_3", &[News::Disputed(usd(2)), News::DisputeWon])));
    assert!(!it.keep_aside(told("dp_3", &[News::Disputed(usd(2))])));
    assert_eq!(it.refundable(), usd(11));
    assert!(it.keep_aside(told("dp_4", &[News::Disputed(usd(100))])));
    assert_eq!((it.taken_aside(), it.refundable()), (usd(20), usd(0)));
}

#[test]
fn what_is_set_aside_in_another_currency_withholds_all_until_it_is_back() {
    let mut it = payment(PaymentState::Paid);
    assert!(it.keep_aside(told("dp_1", &[News::Disputed(eur(1))])));
    assert_eq!((it.taken_aside(), it.refundable()), (usd(20), usd(0)));
    assert!(it.keep_aside(told("dp_1", &[News::Disputed(eur(1)), News::DisputeWon])));
    assert_eq!((it.taken_aside(), it.refundable()), (usd(0), usd(20)));
    let given_back = SetAside::told(None, &[News::Refunded(eur(1))]).unwrap();
    assert_eq!((&*given_back.name, given_back.whereabouts), ("", Whereabouts::Gone));
    assert!(it.keep_aside(given_back));
    assert_eq!(it.refundable(), usd(0));
}

#[test]
fn what_is_set_aside_has_bounds_and_no_words_of_others() {
    assert_eq!(SetAside::told(Some("dp_1"), &[News::Paid]), None);
    let long = format!("dp_<b>{}", "x".repeat(1_000));
    let it = told(&long, &[News::Disputed(usd(1))]);
    assert!(it.name.starts_with("dp_bxx") && it.name.len() == 64, "{}", it.name);
    let mut many = payment(PaymentState::Paid);
    for n in 0..100 {
        many.keep_aside(told(&format!("dp_{n}"), &[News::Disputed(usd(1)), News::DisputeWon]));
    }
    assert_eq!((many.aside.len(), many.refundable()), (16, usd(0)), "nobody knows how much of it is there");
}
