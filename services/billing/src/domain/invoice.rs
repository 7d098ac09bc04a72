//! Invoices and credit notes: what was paid for, in lines that add up to the cent.
//!
//! Prices are net. Each tax is a part of the net sum, rounded half up in the currency's smallest unit, and what is paid is
//! the sum of all (the gross total). An invoice is issued once for a payment and never changes; a credit note gives back
//! what was paid, or a part of it, and all credit notes of an invoice together are never more than the invoice, to the cent
//! and tax by tax.

use std::fmt;
use std::str::FromStr;

use bursar_id::{CreditNoteId, IdError, InvoiceId, OwnerId, PaymentId};
use bursar_money::{Currency, Price, PriceError};
use bursar_time::Timestamp;
use serde::{Deserialize, Serialize};

use super::profile::BillingProfile;
use super::tax::{Percent, TaxRate, part};

/// Whether a document asks or gives back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DocumentKind {
    /// An invoice for a payment.
    Invoice,
    /// What corrects an invoice.
    CreditNote,
}

impl DocumentKind {
    /// The stored name, which is the API's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Invoice => "INVOICE",
            Self::CreditNote => "CREDIT_NOTE",
        }
    }

    /// The kind of a stored name.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Invoice, Self::CreditNote].into_iter().find(|kind| kind.as_str() == text)
    }
}

/// What an account's invoices and credit notes are numbered by: made once for it, and never changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberPrefix(String);

impl NumberPrefix {
    /// Letters and digits that are not taken for one another.
    const ALPHABET: &'static [u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

    /// A prefix of eight letters and digits from forty random bits.
    pub fn random(bits: [u8; 5]) -> Self {
        let number = bits.iter().fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
        let letter = |place: u64| {
            let index = usize::try_from(number >> (5 * place) & 31).unwrap_or_default();
            Self::ALPHABET.get(index).copied().map_or('0', char::from)
        };
        Self((0..8).rev().map(letter).collect())
    }

    /// The prefix as it was stored.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The prefix.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number of the `seq`th document of its kind in a year.
    pub fn number(&self, kind: DocumentKind, year: i16, seq: u32) -> String {
        let kind = match kind {
            DocumentKind::Invoice => "",
            DocumentKind::CreditNote => "C-",
        };
        format!("{}-{kind}{year:04}-{seq:04}", self.0)
    }
}

/// The id of an invoice (`ivc_…`) or of a credit note (`crn_…`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DocumentId {
    /// Which of the two.
    pub kind: DocumentKind,
    /// Unique among both; ids begin with their time.
    pub id: InvoiceId,
}

impl FromStr for DocumentId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        if let Ok(note) = text.parse::<CreditNoteId>() {
            return Ok(Self { kind: DocumentKind::CreditNote, id: InvoiceId::from_uuid(note.as_uuid()) });
        }
        let id = text.parse().map_err(|error| IdError { expected_prefix: "ivc_ or crn_", ..error })?;
        Ok(Self { kind: DocumentKind::Invoice, id })
    }
}

impl fmt::Display for DocumentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            DocumentKind::Invoice => self.id.fmt(f),
            DocumentKind::CreditNote => CreditNoteId::from_uuid(self.id.as_uuid()).fmt(f),
        }
    }
}

/// What a line is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LineKind {
    /// A period of a plan.
    Subscription,
    /// Seats beside the plan's own.
    Seats,
    /// A pack of credits.
    Pack,
    /// What a credit note gives back of several lines together.
    Credit,
}

/// One thing that was sold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceLine {
    /// What it is for.
    pub kind: LineKind,
    /// What it is called.
    pub description: String,
    /// How many.
    pub quantity: u32,
    /// What one costs, net.
    pub unit_price: Price,
    /// What all of them cost, net.
    pub amount: Price,
    /// From when until when it is good, where it is for a time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub period: Option<(Timestamp, Timestamp)>,
}

impl InvoiceLine {
    /// So many of something at a price.
    ///
    /// # Errors
    /// Beyond what a price can be.
    pub fn new(kind: LineKind, description: String, quantity: u32, unit_price: Price) -> Result<Self, PriceError> {
        let amount = unit_price.checked_mul(quantity)?;
        Ok(Self { kind, description, quantity, unit_price, amount, period: None })
    }

    /// The same, good from a time until another.
    #[must_use]
    pub fn during(self, start: Timestamp, end: Timestamp) -> Self {
        Self { period: Some((start, end)), ..self }
    }
}

/// A tax on the net sum.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceTax {
    /// What it is called.
    pub name: String,
    /// Its rate.
    pub percent: Percent,
    /// How much it is.
    pub amount: Price,
}

/// What is sold and what has to be paid for it: what a payment is for, and what its invoice will say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bill {
    /// What is sold.
    pub lines: Vec<InvoiceLine>,
    /// The net sum of the lines.
    pub subtotal: Price,
    /// The taxes on it.
    pub taxes: Vec<InvoiceTax>,
    /// What is paid: the gross sum.
    pub total: Price,
}

/// The most lines that an invoice may have.
pub const MAX_LINES: usize = 1_000;

impl Bill {
    /// Adds up what is sold and the taxes on it.
    ///
    /// # Errors
    /// Lines in several currencies, with a fraction of the smallest unit, none or more than [`MAX_LINES`], or a sum beyond
    /// what a price can be.
    pub fn new<'a>(lines: Vec<InvoiceLine>, rates: impl Iterator<Item = &'a TaxRate>) -> Result<Self, PriceError> {
        let currency = lines.first().map(|line| line.amount.currency()).ok_or(PriceError::Malformed)?;
        if lines.len() > MAX_LINES || lines.iter().any(|line| line.amount.is_negative()) {
            return Err(PriceError::TooLarge);
        }
        let subtotal = sum(currency, lines.iter().map(|line| line.amount))?;
        // Whatever is not payable to the cent is refused here, also without a tax.
        subtotal.minor_units().ok_or(PriceError::TooPrecise)?;
        let tax = |rate: &TaxRate| {
            let amount = rate.percent.of(subtotal)?;
            Ok(InvoiceTax { name: rate.name.clone(), percent: rate.percent, amount })
        };
        let taxes = rates.map(tax).collect::<Result<Vec<_>, PriceError>>()?;
        let total = taxes.iter().try_fold(subtotal, |sum, tax| sum.checked_add(tax.amount))?;
        Ok(Self { lines, subtotal, taxes, total })
    }

    /// One line without a tax on it.
    pub fn untaxed(line: InvoiceLine) -> Self {
        let amount = line.amount;
        Self { lines: vec![line], subtotal: amount, taxes: Vec::new(), total: amount }
    }

    /// All taxes together.
    ///
    /// # Errors
    /// Beyond what a price can be, which the total would be, too.
    pub fn tax(&self) -> Result<Price, PriceError> {
        self.total.checked_sub(self.subtotal)
    }

    /// What a credit note says that gives back `amount` of what this bill's invoice was paid with, gross, after `before` was
    /// given back by earlier ones. All of it at once has the bill's own lines; a part has one line, which is called
    /// `description`. Whatever the parts are, together they are the bill: each tax and the net sum to the cent.
    ///
    /// # Errors
    /// More than is left of it, or nothing.
    pub fn credit(&self, before: Price, amount: Price, description: &str) -> Result<Self, CreditError> {
        let left = self.total.checked_sub(before)?;
        if amount.is_zero() || amount.is_negative() {
            return Err(CreditError::Nothing);
        }
        let after = before.checked_add(amount)?;
        if left.checked_sub(amount)?.is_negative() {
            return Err(CreditError::AboveInvoice { left });
        }
        if amount == self.total {
            return Ok(self.clone());
        }
        let (was, is) = (self.shares(before)?, self.shares(after)?);
        let parts = is.iter().zip(&was).map(|(is, was)| is.checked_sub(*was)).collect::<Result<Vec<_>, _>>()?;
        let mut parts = parts.into_iter();
        let subtotal = parts.next().unwrap_or(amount);
        let taxes = self.taxes.iter().zip(parts).map(|(tax, amount)| InvoiceTax { amount, ..tax.clone() });
        let line = InvoiceLine::new(LineKind::Credit, description.to_owned(), 1, subtotal)?;
        Ok(Self { lines: vec![line], subtotal, taxes: taxes.collect(), total: amount })
    }

    /// How `amount` of the total is shared among the net sum and the taxes: each in proportion, split off one after the
    /// other, so that no share ever shrinks when the amount grows.
    fn shares(&self, amount: Price) -> Result<Vec<Price>, PriceError> {
        let own = std::iter::once(self.subtotal).chain(self.taxes.iter().map(|tax| tax.amount));
        if amount == self.total {
            // Also of what an earlier program sold with a fraction of a cent.
            return Ok(own.collect());
        }
        let (mut rest, mut whole) = (amount, self.total);
        let mut shares = Vec::with_capacity(1 + self.taxes.len());
        for of in own {
            let share = part(rest, of.micros(), whole.micros())?;
            shares.push(share);
            rest = rest.checked_sub(share)?;
            whole = whole.checked_sub(of)?;
        }
        Ok(shares)
    }
}

fn sum(currency: Currency, amounts: impl Iterator<Item = Price>) -> Result<Price, PriceError> {
    amounts.into_iter().try_fold(Price::zero(currency), Price::checked_add)
}

/// Why there is no such credit note.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CreditError {
    /// Nothing, or less, would be given back.
    #[error("a credit note gives something back")]
    Nothing,
    /// More than earlier credit notes left.
    #[error("the invoice has {left} left to give back")]
    AboveInvoice {
        /// What is left.
        left: Price,
    },
    /// Another currency, or a fraction of its smallest unit.
    #[error(transparent)]
    Price(#[from] PriceError),
}

/// Who sells, as it was called when a document was issued.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Issuer {
    /// The product.
    pub product: String,
    /// Name, address, tax number and what else the law asks for, line by line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<String>,
}

/// An invoice or a credit note. Nothing of it changes, but that the billing profile is erased some day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    /// Its id.
    pub id: DocumentId,
    /// Whose account it is for.
    pub owner: OwnerId,
    /// Its number: without gaps in the account and year.
    pub number: String,
    /// Which of the account's documents it is, counted from 1.
    pub position: u64,
    /// The invoice that a credit note corrects: its id and number.
    pub original: Option<(InvoiceId, String)>,
    /// What was sold, or is given back.
    pub bill: Bill,
    /// To whom, as the account's settings had it then; `None` once it is erased.
    pub profile: Option<BillingProfile>,
    /// By whom.
    pub issuer: Issuer,
    /// The payment.
    pub payment: PaymentId,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// The day of that in the account's time zone, as on a calendar (`2026-11-26`).
    pub issued_on: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::TaxProvider;

    fn price(text: &str) -> Price {
        text.parse().unwrap()
    }

    fn taxes(percents: &[&str]) -> TaxProvider {
        let rate = |(number, percent): (usize, &&str)| TaxRate {
            country: "DE".parse().unwrap(),
            name: format!("tax {number}"),
            percent: percent.parse().unwrap(),
        };
        TaxProvider::table(percents.iter().enumerate().map(rate).collect()).unwrap()
    }

    fn bill(prices: &[&str], percents: &[&str]) -> Result<Bill, PriceError> {
        let line = |text: &&str| InvoiceLine::new(LineKind::Pack, "Pack".to_owned(), 1, price(text)).unwrap();
        Bill::new(prices.iter().map(line).collect(), taxes(percents).rates("DE".parse().ok()))
    }

    /// Prices, taxes in percent; the net sum, each tax, the gross sum.
    type Case = (&'static [&'static str], &'static [&'static str], &'static str, &'static [&'static str], &'static str);

    #[test]
    fn a_bill_adds_up_to_the_cent() {
        let cases: [Case; 7] = [
            (&["20.00 USD"], &[], "20.00 USD", &[], "20.00 USD"),
            (&["20.00 USD"], &["19"], "20.00 USD", &["3.80 USD"], "23.80 USD"),
            // The tax is on the sum, not on each line: 3 × 0.02 would be 0.06.
            (&["0.10 USD", "0.10 USD", "0.10 USD"], &["19"], "0.30 USD", &["0.06 USD"], "0.36 USD"),
            (&["0.13 USD", "0.13 USD", "0.13 USD"], &["19"], "0.39 USD", &["0.07 USD"], "0.46 USD"),
            (&["100.00 CAD"], &["5", "9.975"], "100.00 CAD", &["5.00 CAD", "9.98 CAD"], "114.98 CAD"),
            (&["1500 JPY"], &["10"], "1500 JPY", &["150 JPY"], "1650 JPY"),
            (&["0.00 USD"], &["19"], "0.00 USD", &["0.00 USD"], "0.00 USD"),
        ];
        for (prices, percents, subtotal, amounts, total) in cases {
            let bill = bill(prices, percents).unwrap();
            assert_eq!((bill.subtotal, bill.total), (price(subtotal), price(total)), "{prices:?} {percents:?}");
            let found: Vec<Price> = bill.taxes.iter().map(|tax| tax.amount).collect();
            assert_eq!(found, amounts.iter().map(|it| price(it)).collect::<Vec<_>>());
            assert_eq!(bill.tax().unwrap(), bill.total.checked_sub(bill.subtotal).unwrap());
        }
    }

    #[test]
    fn a_bill_that_cannot_be_paid_is_refused() {
        assert_eq!(bill(&[], &[]), Err(PriceError::Malformed));
        assert_eq!(bill(&["1.00 USD", "1.00 EUR"], &[]), Err(PriceError::CurrencyMismatch));
        assert_eq!(bill(&["0.001 USD"], &[]), Err(PriceError::TooPrecise));
        assert_eq!(bill(&["-1.00 USD"], &[]), Err(PriceError::TooLarge));
        assert_eq!(bill(&["900000000000.00 USD", "900000000000.00 USD"], &[]), Err(PriceError::TooLarge));
        assert_eq!(bill(&["900000000000.00 USD"], &["19"]), Err(PriceError::TooLarge));
        assert_eq!(bill(&vec!["1.00 USD"; MAX_LINES + 1], &[]), Err(PriceError::TooLarge));
        let unit = price("900000000000.00 USD");
        assert_eq!(InvoiceLine::new(LineKind::Seats, String::new(), 2, unit), Err(PriceError::TooLarge));
    }

    #[test]
    fn a_credit_note_gives_back_all_or_a_part_and_never_more() {
        let bill = bill(&["20.00 USD"], &["19"]).unwrap();
        let zero = Price::zero(Currency::USD);
        let whole = bill.credit(zero, bill.total, "Refund").unwrap();
        assert_eq!(whole, bill, "all of it has the bill's own lines");
        let part = bill.credit(zero, price("11.90 USD"), "Refund").unwrap();
        assert_eq!((part.subtotal, part.taxes[0].amount), (price("10.00 USD"), price("1.90 USD")));
        assert_eq!((part.lines.len(), part.lines[0].kind), (1, LineKind::Credit));
        let rest = bill.credit(price("11.90 USD"), price("11.90 USD"), "Refund").unwrap();
        assert_eq!((rest.subtotal, rest.total), (price("10.00 USD"), price("11.90 USD")));

        let refused = |before: &str, amount: &str| bill.credit(price(before), price(amount), "Refund").unwrap_err();
        assert_eq!(refused("11.90 USD", "11.91 USD"), CreditError::AboveInvoice { left: price("11.90 USD") });
        assert_eq!(refused("23.80 USD", "0.01 USD"), CreditError::AboveInvoice { left: zero });
        assert_eq!(refused("0.00 USD", "0.00 USD"), CreditError::Nothing);
        assert_eq!(refused("0.00 USD", "-1.00 USD"), CreditError::Nothing);
        assert_eq!(refused("0.00 USD", "1.00 EUR"), CreditError::Price(PriceError::CurrencyMismatch));
        assert_eq!(refused("0.00 USD", "0.001 USD"), CreditError::Price(PriceError::TooPrecise));
    }

    #[test]
    fn numbers_name_account_kind_and_year() {
        let prefix = NumberPrefix::random([0xff, 0, 0x12, 0x34, 0x56]);
        assert_eq!(prefix.as_str(), "ZW014D2P");
        assert_eq!(prefix.number(DocumentKind::Invoice, 2026, 1), "ZW014D2P-2026-0001");
        assert_eq!(prefix.number(DocumentKind::CreditNote, 2027, 12_345), "ZW014D2P-C-2027-12345");
    }

    #[test]
    fn ids_say_which_kind_they_are_of() {
        let ivc = "ivc_01jd0000000000000000000001";
        for (text, kind) in [(ivc, DocumentKind::Invoice), ("crn_01jd0000000000000000000001", DocumentKind::CreditNote)]
        {
            let id: DocumentId = text.parse().unwrap();
            assert_eq!((id.kind, id.to_string()), (kind, text.to_owned()));
        }
        for wrong in ["", "lot_01jd0000000000000000000001", "ivc_", "crn_x"] {
            assert!(wrong.parse::<DocumentId>().is_err(), "{wrong:?}");
        }
    }

    proptest! {
        /// Whatever is given back in whatever parts: nothing is below zero, and in the end each part is the bill's.
        #[test]
        fn credit_notes_add_up_to_the_bill(
            minors in prop::collection::vec(0_i64..100_000, 1..6),
            rates in prop::collection::vec(1_u32..400_000, 0..4),
            parts in prop::collection::vec(1_i64..50_000, 0..20),
        ) {
            let percents: Vec<String> = rates.iter().map(|it| format!("{}.{:04}", it / 10_000, it % 10_000)).collect();
            let percents: Vec<&str> = percents.iter().map(String::as_str).collect();
            let prices: Vec<String> = minors.iter().map(|it| format!("{}.{:02} USD", it / 100, it % 100)).collect();
            let bill = bill(&prices.iter().map(String::as_str).collect::<Vec<_>>(), &percents).unwrap();
            let sum = bill.taxes.iter().fold(bill.subtotal, |sum, tax| sum.checked_add(tax.amount).unwrap());
            prop_assert_eq!(sum, bill.total);

            let (zero, mut before) = (Price::zero(Currency::USD), Price::zero(Currency::USD));
            let mut net = zero;
            let mut taxes = vec![zero; bill.taxes.len()];
            let whole = Price::from_minor_units(Currency::USD, i64::MAX / 20_000_000).unwrap();
            for part in parts.into_iter().map(|minor| Price::from_minor_units(Currency::USD, minor).unwrap()).chain([whole]) {
                let left = bill.total.checked_sub(before).unwrap();
                let amount = if part > left { left } else { part };
                if amount.is_zero() { break }
                let note = bill.credit(before, amount, "Refund").unwrap();
                prop_assert_eq!(note.total, amount);
                prop_assert_eq!(note.taxes.iter().fold(note.subtotal, |sum, tax| sum.checked_add(tax.amount).unwrap()), amount);
                prop_assert!(!note.subtotal.is_negative() && note.taxes.iter().all(|tax| !tax.amount.is_negative()));
                before = before.checked_add(amount).unwrap();
                net = net.checked_add(note.subtotal).unwrap();
                for (sum, tax) in taxes.iter_mut().zip(&note.taxes) {
                    *sum = sum.checked_add(tax.amount).unwrap();
                }
            }
            prop_assert_eq!(before, bill.total);
            prop_assert_eq!(net, bill.subtotal);
            prop_assert_eq!(taxes, bill.taxes.iter().map(|tax| tax.amount).collect::<Vec<_>>());
        }
    }
}
