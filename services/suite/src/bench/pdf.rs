//! What an invoice as a PDF costs: somebody buys a pack and reads its receipt, which has one line, again and again. How long one of
//! a thousand lines takes to write is measured where it is written (billing's `document/tests.rs`).

use std::time::Duration;

use anyhow::Context as _;
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::invoice_service_client::InvoiceServiceClient;
use bursar_proto::billing::v1::purchase_service_client::PurchaseServiceClient;
use tonic::Status;

use super::load::{Measured, What, run as run_load};
use super::report::Report;
use super::scenario::request_id;
use super::server::Server;
use super::team::Team;

/// Documents of one owner are written one at a time: more callers would wait for each other.
const CALLERS: usize = 1;

/// What a PDF begins with.
const HEAD: &[u8] = b"%PDF-";

/// The founder reads the organization's invoice. A running deployment that takes no money of the sandbox's has none to read.
pub(super) async fn read(server: &Server, team: &Team, time: Duration) -> anyhow::Result<Vec<Measured>> {
    let channel = team.channels.first().context("no connection to billing")?.clone();
    let (owner, founder) = (team.owner.clone(), team.founder());
    let buy = pb::PurchasePackRequest {
        owner: owner.clone(),
        pack_id: "starter".to_owned(),
        payment_method: "sandbox_ok".to_owned(),
        request_id: request_id(&team.entropy),
    };
    let bought = match PurchaseServiceClient::new(channel.clone()).purchase_pack(founder.on(buy)).await {
        Err(status) if !server.is_own() => {
            Report::note(&format!("pdf: nothing is bought there with the sandbox: {}", status.message()));
            return Ok(Vec::new());
        }
        bought => bought.context("buying a pack, whose invoice is read")?.into_inner(),
    };
    let invoice_id = bought.purchase.context("a purchase")?.invoice_id;
    let client = InvoiceServiceClient::new(channel);
    let one = run_load(server, What::Document, "a receipt of one line as a PDF", CALLERS, time, move |_, _| {
        let format = pb::InvoiceFormat::Pdf.into();
        let request = pb::RenderInvoiceRequest { owner: owner.clone(), invoice_id: invoice_id.clone(), format };
        let (mut client, request) = (client.clone(), founder.on(request));
        async move {
            let (mut chunks, mut document) = (client.render_invoice(request).await?.into_inner(), Vec::new());
            while let Some(part) = chunks.message().await? {
                document.extend(part.chunk);
            }
            if document.starts_with(HEAD) { Ok(1) } else { Err(Status::internal("what came is no PDF")) }
        }
    })
    .await?;
    Ok(vec![one])
}
