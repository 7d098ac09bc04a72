//! Credits, changes of credits and quantities: text, ranges and exact arithmetic.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as loudly as tests do")]

use bursar_money::{CreditDelta, Credits, CreditsError, Quantity, QuantityError};
use proptest::prelude::*;

const MAX: i64 = 1_000_000_000_000_000_000;

fn micro(micro: i64) -> Credits {
    Credits::from_micro(micro).unwrap()
}

fn amounts() -> impl Strategy<Value = Credits> {
    // Mostly small ones, where ends meet, and some of every size.
    prop_oneof![0..=10i64, 0..=10_000_000i64, 0..=MAX, MAX - 10..=MAX].prop_map(micro)
}

#[test]
fn texts_of_credits() {
    use CreditsError::{Empty, Malformed, Negative, TooLarge, TooPrecise};
    let cases = [
        ("0", Ok(0)),
        ("00", Ok(0)),
        ("0.0", Ok(0)),
        ("1", Ok(1_000_000)),
        ("12.5", Ok(12_500_000)),
        ("12.50", Ok(12_500_000)),
        ("012.5", Ok(12_500_000)),
        ("0.000001", Ok(1)),
        ("0.100000", Ok(100_000)),
        ("1500", Ok(1_500_000_000)),
        ("1000000000000", Ok(MAX)),
        ("1000000000000.000000", Ok(MAX)),
        ("000000000000000000000000000001", Ok(1_000_000)),
        ("", Err(Empty)),
        ("-1", Err(Negative)),
        ("-0", Err(Negative)),
        ("-0.0000001", Err(Negative)),
        ("-99999999999999999999", Err(Negative)),
        ("0.0000001", Err(TooPrecise)),
        ("1.0000000", Err(TooPrecise)),
        ("9999999999999.0000000", Err(TooPrecise)),
        ("1000000000000.000001", Err(TooLarge)),
        ("1000000000001", Err(TooLarge)),
        ("9223372036854.775808", Err(TooLarge)),
        ("999999999999999999999999999999", Err(TooLarge)),
        ("0000000000000000000000000000001", Err(Malformed)),
        ("+1", Err(Malformed)),
        ("--1", Err(Malformed)),
        ("-", Err(Malformed)),
        ("-x", Err(Malformed)),
        (".", Err(Malformed)),
        (".5", Err(Malformed)),
        ("5.", Err(Malformed)),
        ("-.5", Err(Malformed)),
        ("1..5", Err(Malformed)),
        ("1.5.5", Err(Malformed)),
        ("1.-5", Err(Malformed)),
        ("1,5", Err(Malformed)),
        ("1_000", Err(Malformed)),
        ("1e3", Err(Malformed)),
        ("0x10", Err(Malformed)),
        (" 1", Err(Malformed)),
        ("1 ", Err(Malformed)),
        ("1\n", Err(Malformed)),
        ("NaN", Err(Malformed)),
        ("inf", Err(Malformed)),
        ("\u{661}", Err(Malformed)),
        ("1\u{a0}", Err(Malformed)),
    ];
    for (text, expected) in cases {
        assert_eq!(text.parse::<Credits>().map(Credits::micro), expected, "{text:?}");
    }
}

#[test]
fn credits_print_as_short_as_possible() {
    let cases = [
        (0, "0"),
        (1, "0.000001"),
        (10, "0.00001"),
        (100_000, "0.1"),
        (1_000_000, "1"),
        (10_000_000, "10"),
        (12_500_000, "12.5"),
        (1_500_000_000, "1500"),
        (1_000_001, "1.000001"),
        (MAX, "1000000000000"),
        (MAX - 1, "999999999999.999999"),
    ];
    for (value, text) in cases {
        assert_eq!(micro(value).to_string(), text);
    }
    assert_eq!(format!("[{:>6}]", micro(12_500_000)), "[  12.5]");
}

#[test]
fn credits_stay_in_their_range() {
    assert_eq!(Credits::from_micro(-1), Err(CreditsError::Negative));
    assert_eq!(Credits::from_micro(i64::MIN), Err(CreditsError::Negative));
    assert_eq!(Credits::from_micro(MAX + 1), Err(CreditsError::TooLarge));
    assert_eq!(Credits::from_micro(i64::MAX), Err(CreditsError::TooLarge));
    assert_eq!(Credits::MAX.micro(), MAX);
    assert_eq!(Credits::default(), Credits::ZERO);
    assert!(Credits::ZERO.is_zero() && !Credits::ONE.is_zero());
    assert_eq!(Credits::whole(u32::MAX).micro(), 4_294_967_295_000_000);
    assert_eq!(Credits::MAX.checked_add(micro(1)), None);
    assert_eq!(Credits::MAX.checked_add(Credits::MAX), None);
    assert_eq!(Credits::ZERO.checked_sub(micro(1)), None);
    assert_eq!(Credits::ZERO.saturating_sub(Credits::MAX), Credits::ZERO);
    assert_eq!(Credits::checked_sum([]), Some(Credits::ZERO));
    assert_eq!(Credits::checked_sum([Credits::MAX, micro(1)]), None);
    assert_eq!(Credits::MAX.checked_mul(2), None);
    assert_eq!(Credits::MAX.checked_mul(0), Some(Credits::ZERO));
    assert_eq!(micro(3).checked_mul(7), Some(micro(21)));
}

#[test]
fn a_quantity_costs_its_rate_rounded_up() {
    let cases = [
        // rate, quantity, cost
        ("2", "3", Some("6")),
        ("0.5", "8", Some("4")),
        ("0", "1000", Some("0")),
        ("0.000001", "0.000001", Some("0.000001")),
        ("0.000001", "1.000001", Some("0.000002")),
        ("0.000003", "0.333333", Some("0.000001")),
        ("0.1", "0.1", Some("0.01")),
        ("1000000000000", "1", Some("1000000000000")),
        ("1000000", "1000000", Some("1000000000000")),
        ("1000000000000", "1.000001", None),
        ("1000000000000", "1000000000000", None),
    ];
    for (rate, quantity, cost) in cases {
        let rate: Credits = rate.parse().unwrap();
        let quantity: Quantity = quantity.parse().unwrap();
        let found = rate.checked_mul_quantity(quantity).map(|cost| cost.to_string());
        assert_eq!(found.as_deref(), cost, "{rate} × {quantity}");
    }
}

#[test]
fn texts_of_quantities() {
    use QuantityError::{Empty, Malformed, NotPositive, TooLarge, TooPrecise};
    let cases = [
        ("1", Ok(1_000_000)),
        ("0.000001", Ok(1)),
        ("1000000000000", Ok(MAX)),
        ("", Err(Empty)),
        ("0", Err(NotPositive)),
        ("0.000000", Err(NotPositive)),
        ("-1", Err(NotPositive)),
        ("0.0000001", Err(TooPrecise)),
        ("1000000000000.1", Err(TooLarge)),
        ("one", Err(Malformed)),
    ];
    for (text, expected) in cases {
        assert_eq!(text.parse::<Quantity>().map(Quantity::millionths), expected, "{text:?}");
    }
    assert_eq!(Quantity::from_millionths(0), Err(NotPositive));
    assert_eq!(Quantity::from_millionths(i64::MAX), Err(TooLarge));
    assert_eq!(Quantity::MAX.checked_add(Quantity::ONE), None);
    assert_eq!(Quantity::ONE.checked_add(Quantity::ONE).unwrap().to_string(), "2");
}

#[test]
fn changes_show_their_direction() {
    let cases = [(12_500_000, "+12.5"), (-3_000_000, "-3"), (0, "0"), (1, "+0.000001"), (-MAX, "-1000000000000")];
    for (value, text) in cases {
        let delta = CreditDelta::from_micro(value).unwrap();
        assert_eq!(delta.to_string(), text);
        assert_eq!(text.parse(), Ok(delta));
        assert_eq!(delta.is_negative(), value < 0);
        assert_eq!((-delta).micro(), -value);
    }
    for wrong in ["+", "-", "--1", "+-1", "-+1", " 1", "+ 1"] {
        assert_eq!(wrong.parse::<CreditDelta>(), Err(CreditsError::Malformed), "{wrong:?}");
    }
    assert_eq!("".parse::<CreditDelta>(), Err(CreditsError::Empty));
    assert_eq!("2".parse(), Ok(CreditDelta::plus(Credits::whole(2))));
    assert_eq!(CreditDelta::from_micro(MAX + 1), Err(CreditsError::TooLarge));
    assert_eq!(CreditDelta::from_micro(i64::MIN), Err(CreditsError::TooLarge));
    assert_eq!(CreditDelta::minus(Credits::ONE).checked_apply(Credits::ZERO), None);
    assert_eq!(CreditDelta::plus(Credits::ONE).checked_apply(Credits::MAX), None);
}

#[test]
fn json_has_texts() {
    assert_eq!(serde_json::to_value(micro(12_500_000)).unwrap(), "12.5");
    assert_eq!(serde_json::from_value::<Credits>("12.5".into()).unwrap(), micro(12_500_000));
    assert_eq!(serde_json::to_value(CreditDelta::minus(Credits::ONE)).unwrap(), "-1");
    assert_eq!(serde_json::from_value::<Quantity>("3".into()).unwrap().millionths(), 3_000_000);
    // A JSON number went through floating point somewhere: refused.
    assert!(serde_json::from_str::<Credits>("12.5").is_err());
    assert!(serde_json::from_str::<Credits>("12").is_err());
    assert!(serde_json::from_str::<Credits>("\"-12\"").is_err());
}

proptest! {
    #[test]
    fn text_keeps_every_amount(amount in amounts()) {
        let text = amount.to_string();
        prop_assert!(text.len() <= 30);
        prop_assert_eq!(text.parse::<Credits>(), Ok(amount), "{}", text);
        prop_assert!(!text.contains('.') || !text.ends_with('0'), "{}", text);
    }

    #[test]
    fn nothing_but_decimals_is_read(text in ".{0,40}|[-+.0-9]{0,32}") {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let decimal = text.len() <= 30 && match text.split_once('.') {
            None => digits(&text),
            Some((whole, fraction)) => digits(whole) && digits(fraction) && fraction.len() <= 6,
        };
        if let Ok(amount) = text.parse::<Credits>() {
            prop_assert!(decimal, "{:?} was read as {}", text, amount);
        } else if decimal {
            prop_assert_eq!(text.parse::<Credits>(), Err(CreditsError::TooLarge));
        }
    }

    #[test]
    fn adding_and_taking_away_are_exact(a in amounts(), b in amounts()) {
        let sum = i128::from(a.micro()) + i128::from(b.micro());
        prop_assert_eq!(a.checked_add(b).map(|s| i128::from(s.micro())), (sum <= i128::from(MAX)).then_some(sum));
        let difference = a.micro() - b.micro();
        prop_assert_eq!(a.checked_sub(b).map(Credits::micro), (difference >= 0).then_some(difference));
        prop_assert_eq!(a.saturating_sub(b).micro(), difference.max(0));
        prop_assert_eq!(a.min(b).micro(), a.micro().min(b.micro()));
        prop_assert_eq!(Credits::checked_sum([a, b]), a.checked_add(b));
        prop_assert_eq!(CreditDelta::plus(b).checked_apply(a), a.checked_add(b));
        prop_assert_eq!(CreditDelta::minus(b).checked_apply(a), a.checked_sub(b));
        let both = CreditDelta::plus(a).checked_add(CreditDelta::minus(b));
        prop_assert_eq!(both.map(CreditDelta::micro), Some(difference));
    }

    /// The cost is the least amount that is not below rate × quantity.
    #[test]
    fn rounding_up_is_tight(rate in amounts(), quantity in 1..=MAX) {
        let exact = i128::from(rate.micro()) * i128::from(quantity); // in millionths of a micro-credit
        match rate.checked_mul_quantity(Quantity::from_millionths(quantity).unwrap()) {
            Some(cost) => {
                let cost = i128::from(cost.micro()) * 1_000_000;
                prop_assert!(cost >= exact && cost - exact < 1_000_000);
            }
            None => prop_assert!(exact > i128::from(MAX) * 1_000_000),
        }
    }
}

#[test]
fn fuzz_decimals() {
    let samples = ["0", "12.5", "0.000001", "1000000000000", "-12.5", "012.50"];
    bursar_fuzz::fuzz("decimals", &samples, |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(credits) = text.parse::<Credits>() {
            assert_eq!(credits.to_string().parse(), Ok(credits));
            assert!((0..=MAX).contains(&credits.micro()), "{credits}");
        }
        if let Ok(delta) = text.parse::<CreditDelta>() {
            assert_eq!(delta.to_string().parse(), Ok(delta));
        }
        if let Ok(quantity) = text.parse::<Quantity>() {
            assert_eq!(quantity.to_string().parse(), Ok(quantity));
        }
    });
}
