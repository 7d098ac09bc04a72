//! `PurchaseService`.

use std::mem::take;

use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::purchase_service_server::PurchaseService;
use bursar_rpc::convert::{to_money, to_timestamp};
use bursar_rpc::{Asked, Call, PageKey, PageRequest, Stored, Violations};
use tonic::{Request, Response, Status};

use super::order::order;
use super::{parse, payment};
use crate::domain::{PurchaseState, Receipt};
use crate::usecase::payments::PaymentUseCases;
use crate::usecase::purchases::PurchaseUseCases;
use crate::usecase::viewing::Viewing;

/// Answers with the use cases.
pub(crate) struct PurchaseHandler {
    pub(crate) purchases: PurchaseUseCases,
    pub(crate) payments: PaymentUseCases,
    pub(crate) pages: PageKey,
    pub(crate) viewing: Viewing,
}

#[tonic::async_trait]
impl PurchaseService for PurchaseHandler {
    async fn purchase_pack(
        &self,
        request: Request<pb::PurchasePackRequest>,
    ) -> Result<Response<pb::PurchasePackResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let owner = parse::owner_of(&call, &mut message.owner)?;
        let request_id = take(&mut message.request_id);
        let payments = &self.purchases.cashier.till.payments;
        let read = |message: &pb::PurchasePackRequest, bad: &mut Violations| {
            order(payments, ("pack_id", &message.pack_id), &message.payment_method, bad)
        };
        let asked = Asked::read(call, &request_id, &message, read);
        let bought = self.purchases.purchase(owner, &asked).await?.message()?;
        let payment = payment::of(&self.payments, owner, &bought.payment_id).await?;
        Ok(Response::new(pb::PurchasePackResponse { purchase: Some(bought), payment }))
    }

    async fn get_purchase(
        &self,
        request: Request<pb::GetPurchaseRequest>,
    ) -> Result<Response<pb::GetPurchaseResponse>, Status> {
        let call = Call::of(&request)?;
        let asked = request.into_inner();
        let owner = self.viewing.to(&call, parse::owner_for(call.caller(), &asked.owner)?).await?.owner;
        let found = self.purchases.get(owner, parse::id("purchase_id", &asked.purchase_id)?).await?;
        Ok(Response::new(pb::GetPurchaseResponse { purchase: Some(receipt(&found)) }))
    }

    async fn list_purchases(
        &self,
        request: Request<pb::ListPurchasesRequest>,
    ) -> Result<Response<pb::ListPurchasesResponse>, Status> {
        let call = Call::of(&request)?;
        let asked = request.into_inner();
        let allowed = self.viewing.to(&call, parse::owner_for(call.caller(), &asked.owner)?).await?;
        let list = self.pages.list("ListPurchases", [allowed.owner.to_string().as_str()]);
        let page = PageRequest::parse(asked.page_size, &asked.page_token, list)?;
        let page = self.purchases.list(allowed.owner, &page).await?.messages(|it| receipt(&it));
        Ok(Response::new(pb::ListPurchasesResponse { purchases: page.rows, next_page_token: page.next_page_token }))
    }
}

impl Stored for Receipt {
    type Message = pb::Purchase;
    fn to_message(&self) -> pb::Purchase {
        receipt(self)
    }
}

fn receipt(receipt: &Receipt) -> pb::Purchase {
    let Receipt { purchase, invoice, refunded, dispute } = receipt;
    pb::Purchase {
        id: purchase.id.to_string(),
        owner: purchase.owner.to_string(),
        pack_id: purchase.pack.to_string(),
        state: match purchase.state {
            PurchaseState::Paid => pb::PurchaseState::Paid,
            PurchaseState::Declined => pb::PurchaseState::Declined,
            PurchaseState::Pending => pb::PurchaseState::Pending,
            PurchaseState::Canceled => pb::PurchaseState::Canceled,
        }
        .into(),
        price: Some(to_money(purchase.price)),
        credits: purchase.credits.to_string(),
        lot_id: purchase.lot.map(|lot| lot.to_string()).unwrap_or_default(),
        bought_by: purchase.buyer.clone(),
        created_at: Some(to_timestamp(purchase.created_at)),
        payment_id: purchase.payment.map(|payment| payment.to_string()).unwrap_or_default(),
        invoice_id: invoice.map(|invoice| invoice.to_string()).unwrap_or_default(),
        refunded: refunded.map(to_money),
        dispute: payment::dispute(*dispute).into(),
    }
}
