//! What stands on an invoice, as texts.

use bursar_money::Price;
use bursar_time::Timestamp;

use super::Paid;
use crate::domain::{BillingProfile, DocumentKind, Invoice, InvoiceLine, LineKind};

/// The texts of a document.
pub(super) struct View<'a> {
    /// What it is.
    pub(super) title: &'static str,
    pub(super) number: &'a str,
    /// Who sells.
    pub(super) product: &'a str,
    pub(super) issuer: &'a [String],
    /// Number, date and the like, by name.
    pub(super) facts: Vec<(&'static str, String)>,
    /// What stands above the customer.
    pub(super) to: &'static str,
    pub(super) customer: Vec<String>,
    /// What stands above the amounts.
    pub(super) amount: String,
    pub(super) rows: Vec<Row<'a>>,
    /// Sums by name; the last is the total.
    pub(super) sums: Vec<(String, String)>,
    /// The last sentence.
    pub(super) closing: &'static str,
}

/// One line of it.
pub(super) struct Row<'a> {
    pub(super) description: &'a str,
    pub(super) detail: String,
    pub(super) quantity: String,
    pub(super) unit_price: String,
    pub(super) amount: String,
}

impl<'a> View<'a> {
    pub(super) fn of(invoice: &'a Invoice, paid: Paid) -> Self {
        let Invoice { bill, .. } = invoice;
        let (title, to) = match invoice.id.kind {
            DocumentKind::Invoice => ("Invoice", "Billed to"),
            DocumentKind::CreditNote => ("Credit note", "Credited to"),
        };
        let mut facts = vec![("Number", invoice.number.clone()), ("Date", invoice.issued_on.clone())];
        if let Some((_, original)) = &invoice.original {
            facts.push(("For invoice", original.clone()));
        }
        if let Some(profile) = invoice.profile.as_ref().filter(|it| !it.order_number.is_empty()) {
            facts.push(("Order number", profile.order_number.clone()));
        }
        let mut sums = vec![("Subtotal".to_owned(), figure(bill.subtotal))];
        sums.extend(bill.taxes.iter().map(|tax| (format!("{} {} %", tax.name, tax.percent), figure(tax.amount))));
        sums.push(("Total".to_owned(), bill.total.to_string()));
        Self {
            title,
            number: &invoice.number,
            product: &invoice.issuer.product,
            issuer: &invoice.issuer.lines,
            facts,
            to,
            customer: invoice.profile.as_ref().map_or_else(Vec::new, |it| customer(it, invoice)),
            amount: format!("Amount ({})", bill.total.currency()),
            rows: bill.lines.iter().map(row).collect(),
            sums,
            closing: closing(invoice, paid),
        }
    }
}

/// What has become of the money, or will.
fn closing(invoice: &Invoice, paid: Paid) -> &'static str {
    match (invoice.id.kind, paid) {
        // What comes to nothing is paid, whoever would have to.
        (DocumentKind::Invoice, Paid::ByInvoice) if !invoice.bill.total.is_zero() => "To be paid by invoice.",
        (DocumentKind::Invoice, Paid::AtOnce | Paid::ByInvoice) => "Paid in full.",
        (DocumentKind::CreditNote, Paid::AtOnce) => "Given back to the means of payment it was paid with.",
        (DocumentKind::CreditNote, Paid::ByInvoice) => {
            "Set off against the invoice, or given back by transfer where that has been paid."
        }
    }
}

fn customer(profile: &BillingProfile, invoice: &Invoice) -> Vec<String> {
    if profile.is_empty() {
        // Whoever gave no name is the account.
        return vec![invoice.owner.to_string()];
    }
    let country = profile.country.map(|country| country.to_string()).unwrap_or_default();
    let tax = if profile.tax_id.is_empty() { String::new() } else { format!("Tax number: {}", profile.tax_id) };
    let lines = [&profile.name].into_iter().chain(&profile.address_lines).chain([&country, &tax]);
    lines.filter(|line| !line.is_empty()).cloned().collect()
}

fn row(line: &InvoiceLine) -> Row<'_> {
    let kind = match line.kind {
        LineKind::Subscription => "Subscription",
        LineKind::Seats => "Seats",
        // What credits are called stands in the line itself, as it was when the invoice was issued: another word here
        // would change with the policy, and invoices never do.
        LineKind::Pack => "Pack",
        LineKind::Credit => "Credit",
    };
    let detail = match line.period {
        Some((start, end)) => format!("{kind}, {} to {}", minute(start), minute(end)),
        None => kind.to_owned(),
    };
    Row {
        description: &line.description,
        detail,
        quantity: line.quantity.to_string(),
        unit_price: figure(line.unit_price),
        amount: figure(line.amount),
    }
}

/// A price without its currency, which stands above the column.
fn figure(price: Price) -> String {
    let text = price.to_string();
    text.rsplit_once(' ').map_or(text.clone(), |(amount, _)| amount.to_owned())
}

/// A time to the minute: `2026-11-26 14:30 UTC`.
fn minute(time: Timestamp) -> String {
    let text = time.to_rfc3339();
    match (text.get(..10), text.get(11..16)) {
        (Some(day), Some(minute)) => format!("{day} {minute} UTC"),
        _ => text,
    }
}
