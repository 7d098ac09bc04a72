//! `InvoiceService`.

use std::pin::Pin;

use bursar_id::OwnerId;
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::invoice_service_server::InvoiceService;
use bursar_rpc::convert::{to_money, to_timestamp};
use bursar_rpc::{Call, PageKey, PageRequest, Problem};
use bytes::Bytes;
use futures::{Stream, StreamExt as _};
use tonic::{Request, Response, Status};

use super::parse;
use super::settings::to_profile;
use crate::document::Format;
use crate::domain::{DocumentKind, Invoice, InvoiceLine, LineKind};
use crate::error::Error;
use crate::usecase::invoices::InvoiceUseCases;
use crate::usecase::viewing::Viewing;

/// How large a part of a document is.
const CHUNK: usize = 64 * 1024;

/// Serves `InvoiceService`.
pub(crate) struct InvoiceHandler {
    pub(crate) viewing: Viewing,
    pub(crate) invoices: InvoiceUseCases,
    pub(crate) pages: PageKey,
}

impl InvoiceHandler {
    async fn owner(&self, call: &Call, owner: &str) -> Result<OwnerId, Error> {
        Ok(self.viewing.to(call, parse::owner_for(call.caller(), owner)?).await?.owner)
    }
}

#[tonic::async_trait]
impl InvoiceService for InvoiceHandler {
    async fn list_invoices(
        &self,
        request: Request<pb::ListInvoicesRequest>,
    ) -> Result<Response<pb::ListInvoicesResponse>, Status> {
        let call = Call::of(&request)?;
        let asked = request.into_inner();
        let owner = self.owner(&call, &asked.owner).await?;
        let list = self.pages.list("ListInvoices", [owner.to_string().as_str()]);
        let page = PageRequest::parse(asked.page_size, &asked.page_token, list)?;
        let page = self.invoices.list(owner, &page).await?.messages(|it| invoice(&it));
        Ok(Response::new(pb::ListInvoicesResponse { invoices: page.rows, next_page_token: page.next_page_token }))
    }

    async fn get_invoice(
        &self,
        request: Request<pb::GetInvoiceRequest>,
    ) -> Result<Response<pb::GetInvoiceResponse>, Status> {
        let call = Call::of(&request)?;
        let asked = request.into_inner();
        let owner = self.owner(&call, &asked.owner).await?;
        let found = self.invoices.get(owner, parse::id("invoice_id", &asked.invoice_id)?).await?;
        Ok(Response::new(pb::GetInvoiceResponse { invoice: Some(invoice(&found)) }))
    }

    type RenderInvoiceStream = Pin<Box<dyn Stream<Item = Result<pb::RenderInvoiceResponse, Status>> + Send>>;

    async fn render_invoice(
        &self,
        request: Request<pb::RenderInvoiceRequest>,
    ) -> Result<Response<Self::RenderInvoiceStream>, Status> {
        let call = Call::of(&request)?;
        let asked = request.into_inner();
        let owner = self.owner(&call, &asked.owner).await?;
        let format = format(asked.format());
        let id = parse::id("invoice_id", &asked.invoice_id)?;
        let format = format.ok_or_else(|| Problem::invalid_field("format", "must be HTML or PDF"))?;
        let document = self.invoices.render(call.caller(), owner, id, format).await?;
        Ok(Response::new(chunks(document.into())))
    }
}

fn chunks(document: Bytes) -> <InvoiceHandler as InvoiceService>::RenderInvoiceStream {
    let parts = (0..document.len()).step_by(CHUNK).map(move |from| {
        let chunk = document.slice(from..document.len().min(from + CHUNK)).to_vec();
        Ok(pb::RenderInvoiceResponse { chunk })
    });
    futures::stream::iter(parts).boxed()
}

fn format(format: pb::InvoiceFormat) -> Option<Format> {
    match format {
        pb::InvoiceFormat::Unspecified => None,
        pb::InvoiceFormat::Html => Some(Format::Html),
        pb::InvoiceFormat::Pdf => Some(Format::Pdf),
    }
}

/// An invoice as it is answered.
fn invoice(invoice: &Invoice) -> pb::Invoice {
    let bill = &invoice.bill;
    let taxes = bill.taxes.iter().map(|tax| pb::InvoiceTax {
        name: tax.name.clone(),
        percent: tax.percent.to_string(),
        amount: Some(to_money(tax.amount)),
    });
    let (original, original_number) = invoice.original.clone().unzip();
    pb::Invoice {
        id: invoice.id.to_string(),
        owner: invoice.owner.to_string(),
        number: invoice.number.clone(),
        kind: match invoice.id.kind {
            DocumentKind::Invoice => pb::InvoiceKind::Invoice,
            DocumentKind::CreditNote => pb::InvoiceKind::CreditNote,
        }
        .into(),
        original_id: original.map(|id| id.to_string()).unwrap_or_default(),
        lines: bill.lines.iter().map(line).collect(),
        subtotal: Some(to_money(bill.subtotal)),
        tax: bill.tax().ok().map(to_money),
        total: Some(to_money(bill.total)),
        billing_profile: invoice.profile.as_ref().map(to_profile),
        payment_id: invoice.payment.to_string(),
        taxes: taxes.collect(),
        issued_at: Some(to_timestamp(invoice.issued_at)),
        issued_on: invoice.issued_on.clone(),
        original_number: original_number.unwrap_or_default(),
    }
}

fn line(line: &InvoiceLine) -> pb::InvoiceLine {
    let (start, end) = line.period.unzip();
    pb::InvoiceLine {
        kind: match line.kind {
            LineKind::Subscription => pb::InvoiceLineKind::Subscription,
            LineKind::Seats => pb::InvoiceLineKind::Seats,
            LineKind::Pack => pb::InvoiceLineKind::Pack,
            LineKind::Credit => pb::InvoiceLineKind::Credit,
        }
        .into(),
        description: line.description.clone(),
        quantity: line.quantity,
        unit_price: Some(to_money(line.unit_price)),
        amount: Some(to_money(line.amount)),
        period_start: start.map(to_timestamp),
        period_end: end.map(to_timestamp),
    }
}
