//! A document as billing answers it.

use bursar_proto::billing::v1::{BillingProfile, Invoice, InvoiceKind};
use bursar_proto::google::r#type::Money;

/// An invoice about 119.00 USD; without an address for it where `invoice_mail` is empty.
pub fn invoice(owner: &str, id: &str, number: &str, invoice_mail: &str) -> Invoice {
    Invoice {
        id: id.to_owned(),
        owner: owner.to_owned(),
        number: number.to_owned(),
        kind: InvoiceKind::Invoice.into(),
        total: Some(Money { currency_code: "USD".to_owned(), units: 119, nanos: 0 }),
        billing_profile: Some(BillingProfile { invoice_mail: invoice_mail.to_owned(), ..BillingProfile::default() }),
        ..Invoice::default()
    }
}
