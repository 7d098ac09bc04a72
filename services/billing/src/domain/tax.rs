//! Taxes: which of them an invoice to a country has, and how much they are.

use std::fmt;
use std::str::FromStr;

use bursar_money::{Price, PriceError};
use serde::{Deserialize, Serialize};

/// A part of a price: hundredths of a hundredth of it, so that 19 % is 190,000 millionths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Percent(u32);

/// A text that is no percentage of a tax.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a percentage above 0 and up to 100 with at most four fraction digits, such as 19 or 8.875")]
pub struct PercentError;

impl Percent {
    const WHOLE: u32 = 1_000_000;

    /// So much of a price, rounded half up in the currency's smallest unit.
    ///
    /// # Errors
    /// The price has a fraction of that unit.
    pub fn of(self, price: Price) -> Result<Price, PriceError> {
        part(price, i64::from(self.0), i64::from(Self::WHOLE))
    }
}

/// `price × numerator ÷ denominator`, rounded half up in the currency's smallest unit; nothing where the denominator is
/// nothing.
///
/// # Errors
/// The price has a fraction of that unit, or the result is out of range.
pub(super) fn part(price: Price, numerator: i64, denominator: i64) -> Result<Price, PriceError> {
    let minor = price.minor_units().ok_or(PriceError::TooPrecise)?;
    if denominator == 0 {
        return Ok(Price::zero(price.currency()));
    }
    let (product, denominator) = (i128::from(minor) * i128::from(numerator), i128::from(denominator));
    let rounded = (2 * product + denominator).div_euclid(2 * denominator);
    Price::from_minor_units(price.currency(), i64::try_from(rounded).map_err(|_| PriceError::TooLarge)?)
}

impl FromStr for Percent {
    type Err = PercentError;

    fn from_str(text: &str) -> Result<Self, PercentError> {
        let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |text: &str, most| (1..=most).contains(&text.len()) && text.bytes().all(|it| it.is_ascii_digit());
        if !digits(whole, 3) || !digits(fraction, 4) {
            return Err(PercentError);
        }
        let number = |text: &str| text.parse::<u32>().map_err(|_| PercentError);
        let parts = number(whole)? * 10_000 + number(&format!("{fraction:0<4}"))?;
        if (1..=Self::WHOLE).contains(&parts) { Ok(Self(parts)) } else { Err(PercentError) }
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:04}", self.0 / 10_000, self.0 % 10_000);
        f.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

impl TryFrom<String> for Percent {
    type Error = PercentError;

    fn try_from(text: String) -> Result<Self, PercentError> {
        text.parse()
    }
}

impl From<Percent> for String {
    fn from(percent: Percent) -> Self {
        percent.to_string()
    }
}

/// A country by its two capital letters (ISO 3166-1). Whether the code is assigned is not checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Country([u8; 2]);

/// A text that is no country's code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a country's two capital letters such as DE")]
pub struct CountryError;

impl FromStr for Country {
    type Err = CountryError;

    fn from_str(text: &str) -> Result<Self, CountryError> {
        let code: [u8; 2] = text.as_bytes().try_into().map_err(|_| CountryError)?;
        if code.iter().all(u8::is_ascii_uppercase) { Ok(Self(code)) } else { Err(CountryError) }
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Always two ASCII capitals.
        f.write_str(std::str::from_utf8(&self.0).unwrap_or_default())
    }
}

impl TryFrom<String> for Country {
    type Error = CountryError;

    fn try_from(text: String) -> Result<Self, CountryError> {
        text.parse()
    }
}

impl From<Country> for String {
    fn from(country: Country) -> Self {
        country.to_string()
    }
}

/// A tax and its rate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaxRate {
    /// Where it is due.
    pub country: Country,
    /// What it is called on an invoice.
    pub name: String,
    /// How much of the net sum it is.
    pub percent: Percent,
}

/// What is wrong with a table of taxes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaxFlaw {
    /// Two rates of one name for one country: nobody could tell which is meant.
    #[error("{country} has the tax {name:?} twice")]
    Twice {
        /// The country.
        country: Country,
        /// The tax.
        name: String,
    },
    /// More than fit on an invoice.
    #[error("{0} has more than {MAX_TAXES} taxes")]
    TooMany(Country),
}

/// How many taxes a country may have.
const MAX_TAXES: usize = 8;

/// Who says which taxes an invoice has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum TaxProvider {
    /// Nobody: prices are what is paid.
    #[default]
    None,
    /// A table by the country of the billing profile. A country that is not in it, and a profile without one, pay none.
    Table(Vec<TaxRate>),
}

impl TaxProvider {
    /// A table without flaws.
    ///
    /// # Errors
    /// Every flaw there is, in the order of the table.
    pub fn table(rates: Vec<TaxRate>) -> Result<Self, Vec<TaxFlaw>> {
        let mut flaws = Vec::new();
        for (number, rate) in rates.iter().enumerate() {
            let before = rates.iter().take(number).filter(|it| it.country == rate.country);
            if before.clone().any(|it| it.name == rate.name) {
                flaws.push(TaxFlaw::Twice { country: rate.country, name: rate.name.clone() });
            }
            if before.count() == MAX_TAXES {
                flaws.push(TaxFlaw::TooMany(rate.country));
            }
        }
        if flaws.is_empty() { Ok(Self::Table(rates)) } else { Err(flaws) }
    }

    /// The taxes of an invoice to a country.
    pub fn rates(&self, country: Option<Country>) -> impl Iterator<Item = &TaxRate> {
        let table: &[TaxRate] = match self {
            Self::None => &[],
            Self::Table(rates) => rates,
        };
        table.iter().filter(move |rate| Some(rate.country) == country)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentages_are_exact_and_have_one_spelling() {
        for (text, spelled) in [("19", "19"), ("8.875", "8.875"), ("7.50", "7.5"), ("0.0001", "0.0001"), ("100", "100")]
        {
            assert_eq!(text.parse::<Percent>().unwrap().to_string(), spelled);
        }
        for wrong in
            ["", "0", "0.0000", "100.0001", "101", "-1", "+1", "1e2", "1.", ".5", "1.00001", "1000", " 7", "7 %"]
        {
            assert_eq!(wrong.parse::<Percent>(), Err(PercentError), "{wrong:?}");
        }
    }

    #[test]
    fn a_tax_is_rounded_half_up_in_the_smallest_unit() {
        let cases = [
            ("100.00 USD", "19", "19.00 USD"),
            ("0.50 USD", "1", "0.01 USD"),
            ("0.49 USD", "1", "0.00 USD"),
            ("0.05 USD", "10", "0.01 USD"),
            ("0.04 USD", "10", "0.00 USD"),
            ("33.33 USD", "8.875", "2.96 USD"),
            ("150 JPY", "10", "15 JPY"),
            ("5 JPY", "10", "1 JPY"),
            ("4 JPY", "10", "0 JPY"),
            ("1.005 KWD", "10", "0.101 KWD"),
        ];
        for (price, percent, tax) in cases {
            let percent: Percent = percent.parse().unwrap();
            assert_eq!(percent.of(price.parse().unwrap()), Ok(tax.parse().unwrap()), "{percent} of {price}");
        }
        assert_eq!("19".parse::<Percent>().unwrap().of("0.001 USD".parse().unwrap()), Err(PriceError::TooPrecise));
    }

    #[test]
    fn countries_are_two_capital_letters() {
        assert_eq!("DE".parse::<Country>().unwrap().to_string(), "DE");
        for wrong in ["", "D", "de", "DEU", "D1", "ÄÖ"] {
            assert_eq!(wrong.parse::<Country>(), Err(CountryError), "{wrong:?}");
        }
    }

    #[test]
    fn a_table_is_by_country_and_names_every_flaw() {
        let rate = |country: &str, name: &str, percent: &str| TaxRate {
            country: country.parse().unwrap(),
            name: name.to_owned(),
            percent: percent.parse().unwrap(),
        };
        let table = vec![rate("CA", "GST", "5"), rate("DE", "USt.", "19"), rate("CA", "PST", "7")];
        let taxes = TaxProvider::table(table).unwrap();
        let named = |country: &str| taxes.rates(Some(country.parse().unwrap())).map(|it| &*it.name).collect::<Vec<_>>();
        assert_eq!((named("CA"), named("DE")), (vec!["GST", "PST"], vec!["USt."]));
        assert!(named("FR").is_empty());
        assert_eq!(taxes.rates(None).count(), 0);
        assert_eq!(TaxProvider::None.rates(Some("DE".parse().unwrap())).count(), 0);

        let twice = vec![rate("DE", "USt.", "19"), rate("DE", "USt.", "7")];
        assert_eq!(TaxProvider::table(twice).unwrap_err().len(), 1);
        let many = (0..=MAX_TAXES).map(|n| rate("DE", &n.to_string(), "1")).collect();
        assert_eq!(TaxProvider::table(many), Err(vec![TaxFlaw::TooMany("DE".parse().unwrap())]));
    }
}
