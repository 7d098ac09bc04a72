//! What has paid for some lots, and what of that went back when: a page of them is asked for at once.

use std::collections::{BTreeSet, HashMap};

use bursar_db::{DbError, Tx};
use bursar_id::{InvoiceId, LotId, OwnerId, PaymentId};
use bursar_money::Price;
use bursar_time::Timestamp;

use super::super::grace::paid_late_of;
use crate::domain::{Lot, Payment};
use crate::store::{invoices, payments};

/// The credit notes of some invoices: when each was issued, and how much it gives back in millionths.
#[derive(Debug, Default)]
pub(super) struct Notes(HashMap<InvoiceId, Vec<(Timestamp, i64)>>);

impl Notes {
    /// Those of these owners' invoices.
    pub(super) async fn of(tx: &mut Tx, invoices: &[(OwnerId, InvoiceId)]) -> Result<Self, DbError> {
        let mut notes: HashMap<_, Vec<_>> = HashMap::new();
        for (invoice, issued_at, micros) in invoices::notes(tx, invoices).await? {
            notes.entry(invoice).or_default().push((issued_at, micros));
        }
        for issued in notes.values_mut() {
            issued.sort_unstable();
        }
        Ok(Self(notes))
    }

    /// Those of one invoice, the first first.
    pub(super) fn all(&self, invoice: Option<InvoiceId>) -> &[(Timestamp, i64)] {
        invoice.and_then(|id| self.0.get(&id)).map(Vec::as_slice).unwrap_or_default()
    }
}

/// What credit notes that were issued before an instant have given back, in millionths.
pub(super) fn before(notes: &[(Timestamp, i64)], at: Timestamp) -> i64 {
    notes.iter().filter(|(issued, _)| *issued < at).fold(0_i64, |sum, (_, micros)| sum.saturating_add(*micros))
}

/// What of so much of a payment is no tax: what all of its credit notes together say that come to that.
pub(super) fn net(payment: &Payment, gross: Price) -> Price {
    let none = Price::zero(gross.currency());
    let credited = payment.bill.as_ref().and_then(|bill| bill.credit(none, gross, "").ok());
    credited.map_or(gross, |it| it.subtotal)
}

/// What has paid for a page of lots.
#[derive(Debug, Default)]
pub(super) struct Known {
    payments: HashMap<PaymentId, Payment>,
    /// Of what was granted before its payment.
    late: HashMap<LotId, Payment>,
    notes: Notes,
}

impl Known {
    pub(super) async fn of(tx: &mut Tx, lots: &[Lot]) -> Result<Self, DbError> {
        let late = paid_late_of(tx, lots).await?;
        let ids: BTreeSet<_> = lots.iter().filter_map(|lot| lot.terms.origin.payment).collect();
        let payments = payments::among(tx, &Vec::from_iter(ids)).await?;
        let gave = payments.iter().chain(late.values()).filter(|it| !it.given_back().is_zero());
        let invoices: BTreeSet<_> = gave.filter_map(|it| Some((it.owner, it.invoice?))).collect();
        let notes = Notes::of(tx, &Vec::from_iter(invoices)).await?;
        Ok(Self { payments: payments.into_iter().map(|it| (it.id, it)).collect(), late, notes })
    }

    /// What has paid for a lot, if that has come.
    pub(super) fn payment_of(&self, lot: &Lot) -> Option<&Payment> {
        match lot.terms.origin.payment {
            Some(id) => self.payments.get(&id),
            None if lot.is_granted_early() => self.late.get(&lot.id),
            None => None,
        }
    }

    /// The credit notes of a payment that something was given back of.
    pub(super) fn notes_of(&self, payment: &Payment) -> &[(Timestamp, i64)] {
        self.notes.all(payment.invoice)
    }
}
