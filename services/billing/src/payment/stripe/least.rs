//! The least that Stripe takes in one payment, as it documents it: for each currency in which it pays out, which is taken to be the
//! one that things are sold in.

use bursar_money::{Currency, Price};

/// In the smallest unit of each currency.
const LEAST: [(&str, i64); 24] = [
    ("AED", 200),
    ("AUD", 50),
    ("BGN", 100),
    ("BRL", 50),
    ("CAD", 50),
    ("CHF", 50),
    ("CZK", 1_500),
    ("DKK", 250),
    ("EUR", 50),
    ("GBP", 30),
    ("HKD", 400),
    ("HUF", 17_500),
    ("INR", 50),
    ("JPY", 50),
    ("MXN", 1_000),
    ("MYR", 200),
    ("NOK", 300),
    ("NZD", 50),
    ("PLN", 200),
    ("RON", 200),
    ("SEK", 300),
    ("SGD", 50),
    ("THB", 1_000),
    ("USD", 50),
];

/// The least that is taken in a currency; nothing where none is documented.
pub(crate) fn least(currency: Currency) -> Price {
    let known = LEAST.iter().find(|(code, _)| *code == currency.as_str());
    let least = known.and_then(|(_, minor)| Price::from_minor_units(currency, *minor).ok());
    least.unwrap_or(Price::zero(currency))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_of_a_currency_is_what_is_documented() {
        for (code, text) in [
            ("USD", "0.50 USD"),
            ("GBP", "0.30 GBP"),
            ("HUF", "175.00 HUF"),
            ("JPY", "50 JPY"),
            ("MXN", "10.00 MXN"),
            ("ISK", "0 ISK"),
        ] {
            assert_eq!(least(code.parse().unwrap()), text.parse::<Price>().unwrap(), "{code}");
        }
        for (code, minor) in LEAST {
            let currency: Currency = code.parse().unwrap();
            assert_eq!(least(currency).minor_units(), Some(minor), "{code}");
        }
    }
}
