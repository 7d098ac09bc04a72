//! What a payment has to do with invoices: its bill before it is asked for, its invoice when it delivers, and credit notes for
//! what is given back of it.

use std::fmt::Display;

use bursar_db::Tx;
use bursar_id::{InvoiceId, OwnerId};
use bursar_money::Price;
use bursar_proto::event::v1::InvoiceIssued;
use bursar_proto::event::v1::event::Payload;

use super::cashier::Cashier;
use super::invoices::{Correction, Draft, during, pack_line, plan_line, seats_line};
use crate::domain::{Bill, Bought, Country, DocumentId, InvoiceLine, Month, Payment, ProductId, SeatsPart};
use crate::error::Error;

impl Cashier {
    /// What has to be paid for something at a net price, a part of which may be for seats.
    pub(super) async fn bill(
        &self,
        tx: &mut Tx,
        owner: OwnerId,
        bought: &Bought,
        (price, seats): (Price, Option<&SeatsPart>),
    ) -> Result<Bill, Error> {
        let (rest, seats) = apart(bought, price, seats)?;
        let mut lines = Vec::with_capacity(2);
        if let Some(rest) = rest {
            lines.push(self.line(tx, bought, rest).await?);
        }
        lines.extend(seats);
        self.till.invoices.bill(tx, owner, lines).await
    }

    /// The same for a period of a plan, by an owner in this country.
    pub(super) fn bill_in(
        &self,
        country: Option<Country>,
        owner: OwnerId,
        bought: &Bought,
        (price, seats): (Price, Option<&SeatsPart>),
    ) -> Result<Bill, Error> {
        let Bought::Renewal { plan, .. } = bought else { return Err(Error::Failed) };
        let (rest, seats) = apart(bought, price, seats)?;
        let rest = rest.map(|rest| plan_line(&self.name_of(plan), rest)).transpose()?;
        self.till.invoices.bill_in(country, owner, rest.into_iter().chain(seats).collect())
    }

    /// What a plan is called; one that no catalog has that is remembered, by its id.
    fn name_of(&self, plan: &ProductId) -> String {
        let sold = self.catalog.current();
        sold.plan_of(plan.as_str()).map_or_else(|| plan.to_string(), |plan| plan.display_name.clone())
    }

    /// What is sold, as an invoice calls it. A pack that is no longer in the catalog has lost its name with it.
    async fn line(&self, tx: &mut Tx, bought: &Bought, price: Price) -> Result<InvoiceLine, Error> {
        let sold = self.catalog.current();
        match bought {
            Bought::Pack { pack, credits, .. } => {
                let name = sold.catalog().pack(pack.as_str()).map_or(pack.as_str(), |pack| &pack.display_name);
                pack_line(tx, (name, *credits), price).await
            }
            Bought::Start { plan, .. } | Bought::Renewal { plan, .. } => plan_line(&self.name_of(plan), price),
            Bought::Change { to, .. } => plan_line(&format!("Change to {}", self.name_of(&to.plan)), price),
        }
    }

    /// Issues the invoice of a payment that is being delivered; `month` is what it is good for.
    pub(super) async fn invoice(
        &self,
        tx: &mut Tx,
        payment: &Payment,
        month: Option<&Month>,
    ) -> Result<InvoiceId, Error> {
        let bill = match &payment.bill {
            Some(bill) => bill.clone(),
            // An earlier program has written it down, which knew no taxes.
            None => Bill::untaxed(self.line(tx, &payment.bought, payment.amount).await?),
        };
        let bill = match month {
            Some(month) => during(bill, month),
            None => bill,
        };
        let draft = Draft { owner: payment.owner, bill, payment: payment.id, at: self.till.clock.now() };
        Ok(self.till.invoices.issue(tx, draft).await?.id.id)
    }

    /// Has the credit notes of a payment's invoice come to what is gone of it by now: given back, or taken by a dispute that
    /// was lost. Gives the one that this takes.
    pub(super) async fn credit(&self, tx: &mut Tx, payment: &Payment) -> Result<Option<DocumentId>, Error> {
        let given_back = payment.given_back();
        if payment.invoice.is_none() || given_back.is_zero() {
            return Ok(None);
        }
        let Payment { owner, id, .. } = *payment;
        let correction = Correction { owner, payment: id, given_back, at: self.till.clock.now() };
        Ok(self.till.invoices.credit(tx, correction).await?.map(|note| note.id))
    }
}

/// What is told of an invoice or a credit note, for it to be mailed: no address, which the document has.
pub(super) fn issued(owner: OwnerId, document: impl Display) -> Payload {
    Payload::InvoiceIssued(InvoiceIssued { owner: owner.to_string(), invoice_id: document.to_string() })
}

/// What of a price is for the thing itself, if any of it is, and the line of the seats beside it.
fn apart(
    bought: &Bought,
    price: Price,
    seats: Option<&SeatsPart>,
) -> Result<(Option<Price>, Option<InvoiceLine>), Error> {
    let seats = seats.map(|part| seats_line(part, bought)).transpose()?;
    let for_seats = seats.as_ref().map_or(Price::zero(price.currency()), |line| line.amount);
    let rest = price.checked_sub(for_seats).map_err(|_| Error::Failed)?;
    Ok(((seats.is_none() || !rest.is_zero()).then_some(rest), seats))
}
