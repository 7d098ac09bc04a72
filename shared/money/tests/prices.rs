//! Prices and currencies.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail as loudly as tests do")]

use bursar_money::{Currency, CurrencyError, Price, PriceError};
use proptest::prelude::*;

const MAX: i64 = 1_000_000_000_000_000_000;

fn usd(micros: i64) -> Price {
    Price::from_micros(Currency::USD, micros).unwrap()
}

fn currency(code: &str) -> Currency {
    code.parse().unwrap()
}

#[test]
fn currencies_are_three_capitals() {
    assert_eq!("USD".parse(), Ok(Currency::USD));
    assert_eq!(Currency::EUR.to_string(), "EUR");
    for wrong in ["", "US", "USDX", "usd", "Usd", "U D", "U1D", "\u{20ac}", "\u{e9}A"] {
        assert_eq!(wrong.parse::<Currency>(), Err(CurrencyError), "{wrong:?}");
    }
    for (code, digits) in [("USD", 2), ("EUR", 2), ("JPY", 0), ("KRW", 0), ("MGA", 0), ("KWD", 3), ("XYZ", 2)] {
        assert_eq!(currency(code).minor_digits(), digits, "{code}");
    }
}

#[test]
fn texts_of_prices() {
    use PriceError::{Malformed, TooLarge, TooPrecise};
    let cases = [
        ("100.00 USD", Ok(100_000_000)),
        ("100 USD", Ok(100_000_000)),
        ("0 USD", Ok(0)),
        ("-0 USD", Ok(0)),
        ("-12.5 USD", Ok(-12_500_000)),
        ("0.000001 USD", Ok(1)),
        ("-1000000000000 USD", Ok(-MAX)),
        ("1000000000000.000001 USD", Err(TooLarge)),
        ("0.0000001 USD", Err(TooPrecise)),
        ("", Err(Malformed)),
        (" ", Err(Malformed)),
        ("100", Err(Malformed)),
        ("100USD", Err(Malformed)),
        ("USD 100", Err(Malformed)),
        (" 100 USD", Err(Malformed)),
        ("--1 USD", Err(Malformed)),
        ("+1 USD", Err(Malformed)),
        ("- USD", Err(Malformed)),
        ("1,00 USD", Err(Malformed)),
        ("100 ", Err(PriceError::Currency)),
        ("100  USD", Err(PriceError::Currency)),
        ("100 usd", Err(PriceError::Currency)),
        ("100 USD ", Err(PriceError::Currency)),
    ];
    for (text, expected) in cases {
        assert_eq!(text.parse::<Price>().map(Price::micros), expected, "{text:?}");
    }
}

#[test]
fn prices_print_the_digits_of_their_currency() {
    let cases = [
        ("100 USD", "100.00 USD"),
        ("0 USD", "0.00 USD"),
        ("-0.5 USD", "-0.50 USD"),
        ("1.234 USD", "1.234 USD"),
        ("0.000001 USD", "0.000001 USD"),
        ("500 JPY", "500 JPY"),
        ("500.5 JPY", "500.5 JPY"),
        ("1 KWD", "1.000 KWD"),
        ("-1000000000000 KWD", "-1000000000000.000 KWD"),
    ];
    for (text, printed) in cases {
        assert_eq!(text.parse::<Price>().unwrap().to_string(), printed);
    }
}

#[test]
fn units_and_nanos_follow_google_money() {
    use PriceError::{MixedSigns, NanosOutOfRange, TooLarge, TooPrecise};
    let cases = [
        (1, 750_000_000, Ok(1_750_000)),
        (-1, -750_000_000, Ok(-1_750_000)),
        (0, -1_000, Ok(-1)),
        (0, 0, Ok(0)),
        (5, 0, Ok(5_000_000)),
        (1, -750_000_000, Err(MixedSigns)),
        (-1, 750_000_000, Err(MixedSigns)),
        (0, 1_000_000_000, Err(NanosOutOfRange)),
        (0, i32::MIN, Err(NanosOutOfRange)),
        (0, 1, Err(TooPrecise)),
        (0, 999_999_999, Err(TooPrecise)),
        (1_000_000_000_000, 0, Ok(MAX)),
        (1_000_000_000_000, 1_000, Err(TooLarge)),
        (i64::MAX, 0, Err(TooLarge)),
        (i64::MIN, 0, Err(TooLarge)),
    ];
    for (units, nanos, expected) in cases {
        let price = Price::from_units_nanos(Currency::USD, units, nanos);
        assert_eq!(price.map(Price::micros), expected, "{units} units, {nanos} nanos");
        if let Ok(price) = price {
            assert_eq!((price.units(), price.nanos()), (units, nanos));
        }
    }
}

#[test]
fn minor_units_are_those_of_the_currency() {
    assert_eq!(usd(20_000_000).minor_units(), Some(2_000));
    assert_eq!(usd(5_000).minor_units(), None);
    assert_eq!(Price::from_micros(currency("JPY"), 500_000_000).unwrap().minor_units(), Some(500));
    assert_eq!(Price::from_minor_units(currency("KWD"), 1_001).unwrap().micros(), 1_001_000);
    assert_eq!(Price::from_minor_units(Currency::USD, 1_999).unwrap(), usd(19_990_000));
    assert_eq!(Price::from_minor_units(Currency::USD, i64::MAX), Err(PriceError::TooLarge));
    for (micros, floor) in [(19_999, 10_000), (10_000, 10_000), (-1, -10_000), (0, 0), (-MAX, -MAX)] {
        assert_eq!(usd(micros).floor_to_minor(), usd(floor), "{micros}");
    }
}

#[test]
fn currencies_do_not_mix() {
    let (dollars, euros) = (usd(1), Price::from_micros(Currency::EUR, 1).unwrap());
    assert_eq!(dollars.checked_add(euros), Err(PriceError::CurrencyMismatch));
    assert_eq!(dollars.checked_sub(euros), Err(PriceError::CurrencyMismatch));
    assert_eq!(dollars.partial_cmp(&euros), None);
    assert_ne!(dollars, euros);
    assert!(usd(1) > usd(-1));
}

#[test]
fn prices_stay_in_their_range() {
    assert_eq!(Price::from_micros(Currency::USD, MAX + 1), Err(PriceError::TooLarge));
    assert_eq!(Price::from_micros(Currency::USD, i64::MIN), Err(PriceError::TooLarge));
    assert_eq!(usd(MAX).checked_add(usd(1)), Err(PriceError::TooLarge));
    assert_eq!(usd(-MAX).checked_sub(usd(1)), Err(PriceError::TooLarge));
    assert_eq!(usd(MAX).checked_mul(2), Err(PriceError::TooLarge));
    assert_eq!(usd(20_000_000).checked_mul(3), Ok(usd(60_000_000)));
    assert_eq!(usd(5).negated(), usd(-5));
    assert!(usd(0).is_zero() && usd(-1).is_negative() && !usd(0).is_negative());
}

#[test]
fn shares_are_rounded_down() {
    let cases = [
        // micros, numerator, denominator, share
        (100_000_000, 1, 2, 50_000_000),
        (100_000_000, 1, 3, 33_333_333),
        (-100_000_000, 1, 3, -33_333_334),
        (100_000_000, 0, 3, 0),
        (100_000_000, 3, 3, 100_000_000),
        (100_000_000, 4, 3, 100_000_000),
        (100_000_000, 1, 0, 0),
        (MAX, u64::MAX, u64::MAX, MAX),
        (-MAX, u64::MAX - 1, u64::MAX, -MAX),
        (1, 2_678_399, 2_678_400, 0),
    ];
    for (micros, numerator, denominator, share) in cases {
        assert_eq!(usd(micros).share(numerator, denominator), usd(share), "{micros} × {numerator}/{denominator}");
    }
}

#[test]
fn json_has_the_text() {
    assert_eq!(serde_json::to_value(usd(20_000_000)).unwrap(), "20.00 USD");
    assert_eq!(serde_json::from_value::<Price>("20.00 USD".into()).unwrap(), usd(20_000_000));
    assert!(serde_json::from_str::<Price>("20").is_err());
}

proptest! {
    #[test]
    fn every_form_keeps_the_price(micros in -MAX..=MAX, code in "[A-Z]{3}") {
        let currency = currency(&code);
        let price = Price::from_micros(currency, micros).unwrap();
        prop_assert_eq!(price.to_string().parse::<Price>(), Ok(price), "{}", price);
        prop_assert_eq!(Price::from_units_nanos(currency, price.units(), price.nanos()), Ok(price));
        let floor = price.floor_to_minor();
        prop_assert_eq!(Price::from_minor_units(currency, floor.minor_units().unwrap()), Ok(floor));
        prop_assert!(floor <= price);
    }

    /// What is left and what is used never add up to more than the price, and lose at most a millionth.
    #[test]
    fn two_shares_do_not_exceed_the_price(micros in 0..=MAX, used in 0u64..=2_678_400) {
        let (price, total) = (usd(micros), 2_678_400);
        let parts = price.share(used, total).checked_add(price.share(total - used, total)).unwrap();
        prop_assert!(parts <= price);
        prop_assert!(price.micros() - parts.micros() <= 1);
    }
}

#[test]
fn fuzz_prices() {
    bursar_fuzz::fuzz("prices", &["100.00 USD", "-12.5 EUR", "0.000001 KWD", "1000000000000 JPY"], |bytes| {
        let text = String::from_utf8_lossy(bytes);
        if let Ok(price) = text.parse::<Price>() {
            assert_eq!(price.to_string().parse(), Ok(price));
        }
        if let Ok(currency) = text.parse::<Currency>() {
            assert_eq!(currency.to_string(), text);
        }
    });
}
