//! What was sold, compared with the ledger: page by page, in the audit's snapshot. Between two pages others have the core.

use bursar_db::Tx;
use bursar_id::OwnerId;

use super::PAGE;
use crate::domain::{DocumentKind, Flaw, SalesAudit};
use crate::error::Error;
use crate::store::{invoices, payments, purchases};

/// Compares the account's documents, purchases and payments with what its entries said, and what came with a subscription
/// that moved here with the other owner's payment.
pub(super) async fn compare(tx: &mut Tx, owner: OwnerId, mut sold: SalesAudit) -> Result<Result<(), Flaw>, Error> {
    if let Err(flaw) = documents(tx, owner, &mut sold).await? {
        return Ok(Err(flaw));
    }
    if let Err(flaw) = bought(tx, owner, &mut sold).await? {
        return Ok(Err(flaw));
    }
    if let Err(flaw) = paid(tx, owner, &mut sold).await? {
        return Ok(Err(flaw));
    }
    for id in sold.elsewhere() {
        if let Some(payment) = payments::get(tx, id).await?
            && let Err(flaw) = sold.moved(&payment)
        {
            return Ok(Err(flaw));
        }
    }
    Ok(sold.finish())
}

async fn documents(tx: &mut Tx, owner: OwnerId, sold: &mut SalesAudit) -> Result<Result<(), Flaw>, Error> {
    let mut before = None;
    loop {
        let page = invoices::page(tx, owner, before, PAGE).await?;
        let Some(last) = page.last() else { return Ok(Ok(())) };
        before = Some(last.position);
        for document in &page {
            if let Err(flaw) = sold.document(document) {
                return Ok(Err(flaw));
            }
            // The sum that the next credit note would go by; few invoices are corrected.
            let credited = sold.credited(document).filter(|_| document.id.kind == DocumentKind::Invoice);
            if let Some(credited) = credited
                && invoices::credited(tx, document).await?.micros() != credited
            {
                return Ok(Err(Flaw::InvoiceMismatch(document.id.id)));
            }
        }
        tokio::task::yield_now().await;
    }
}

async fn bought(tx: &mut Tx, owner: OwnerId, sold: &mut SalesAudit) -> Result<Result<(), Flaw>, Error> {
    let mut before = None;
    loop {
        let page = purchases::page(tx, owner, before, PAGE).await?;
        let Some(last) = page.last() else { return Ok(Ok(())) };
        before = Some(last.id);
        for purchase in page {
            if let Err(flaw) = sold.purchase(purchase) {
                return Ok(Err(flaw));
            }
        }
        tokio::task::yield_now().await;
    }
}

async fn paid(tx: &mut Tx, owner: OwnerId, sold: &mut SalesAudit) -> Result<Result<(), Flaw>, Error> {
    let mut before = None;
    loop {
        let page = payments::page(tx, owner, before, PAGE).await?;
        let Some(last) = page.last() else { return Ok(Ok(())) };
        before = Some((last.created_at, last.id));
        for payment in &page {
            if let Err(flaw) = sold.payment(payment) {
                return Ok(Err(flaw));
            }
        }
        tokio::task::yield_now().await;
    }
}
