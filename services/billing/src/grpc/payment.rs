//! `PaymentService`.

use std::mem::take;

use bursar_id::{OwnerId, PaymentMethodId};
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::payment_service_server::PaymentService;
use bursar_rpc::convert::{price, to_money, to_timestamp};
use bursar_rpc::{Answer, Asked, Call, PageKey, PageRequest, Stored, Violations};
use tonic::{Request, Response, Status};

use super::parse;
use crate::domain::{Dispute, Payment, PaymentState, Purpose, SavedMethod};
use crate::error::Error;
use crate::payment::Action;
use crate::usecase::payments::{BegunSetup, PaymentUseCases, RefundOrder};
use crate::usecase::viewing::Viewing;

/// The longest URL that a customer comes back to.
const MAX_URL_BYTES: usize = 2_048;

/// Answers with the use cases.
pub(crate) struct PaymentHandler {
    pub(crate) payments: PaymentUseCases,
    pub(crate) pages: PageKey,
    pub(crate) viewing: Viewing,
}

#[tonic::async_trait]
impl PaymentService for PaymentHandler {
    async fn list_payment_methods(
        &self,
        request: Request<pb::ListPaymentMethodsRequest>,
    ) -> Result<Response<pb::ListPaymentMethodsResponse>, Status> {
        let call = Call::of(&request)?;
        let asked = request.into_inner();
        let allowed = self.viewing.to(&call, parse::owner_for(call.caller(), &asked.owner)?).await?;
        let list = self.pages.list("ListPaymentMethods", [allowed.owner.to_string().as_str()]);
        let page = PageRequest::parse(asked.page_size, &asked.page_token, list)?;
        let page = self.payments.methods(allowed.owner, &page).await?.messages(|it| method(&it));
        let (payment_methods, next_page_token) = (page.rows, page.next_page_token);
        Ok(Response::new(pb::ListPaymentMethodsResponse { payment_methods, next_page_token }))
    }

    async fn begin_setup(
        &self,
        request: Request<pb::BeginSetupRequest>,
    ) -> Result<Response<pb::BeginSetupResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let owner = parse::owner_of(&call, &mut message.owner)?;
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, |message, bad| Some(return_url(&message.return_url, bad)));
        let begun = self.payments.begin_setup(owner, &asked).await?;
        // The secret is shown once and never kept.
        let (action, payment_method) = match &begun {
            Answer::New(begun) => (Some(shown(&begun.action)), begun.saved.as_ref().map(method)),
            Answer::Replay(_) => {
                let kept = begun.message()?;
                (kept.action, self.as_is(owner, kept.payment_method).await?)
            }
        };
        Ok(Response::new(pb::BeginSetupResponse { action, payment_method }))
    }

    async fn set_default_payment_method(
        &self,
        request: Request<pb::SetDefaultPaymentMethodRequest>,
    ) -> Result<Response<pb::SetDefaultPaymentMethodResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let owner = parse::owner_of(&call, &mut message.owner)?;
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, |it, bad| method_id(&it.payment_method_id, bad));
        let payment_method = match self.payments.set_default(owner, &asked).await? {
            Answer::New(preferred) => Some(method(&preferred)),
            before @ Answer::Replay(_) => self.as_is(owner, Some(before.message()?)).await?,
        };
        Ok(Response::new(pb::SetDefaultPaymentMethodResponse { payment_method }))
    }

    async fn remove_payment_method(
        &self,
        request: Request<pb::RemovePaymentMethodRequest>,
    ) -> Result<Response<pb::RemovePaymentMethodResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let owner = parse::owner_of(&call, &mut message.owner)?;
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, |it, bad| method_id(&it.payment_method_id, bad));
        self.payments.remove(owner, &asked).await?;
        Ok(Response::new(pb::RemovePaymentMethodResponse {}))
    }

    async fn get_payment(
        &self,
        request: Request<pb::GetPaymentRequest>,
    ) -> Result<Response<pb::GetPaymentResponse>, Status> {
        let call = Call::of(&request)?;
        let asked = request.into_inner();
        let owner = self.viewing.to(&call, parse::owner_for(call.caller(), &asked.owner)?).await?.owner;
        let found = self.payments.get(owner, parse::id("payment_id", &asked.payment_id)?).await?;
        let action = self.payments.action(&found).await;
        Ok(Response::new(pb::GetPaymentResponse { payment: Some(payment(&found, action.as_ref())) }))
    }

    async fn list_payments(
        &self,
        request: Request<pb::ListPaymentsRequest>,
    ) -> Result<Response<pb::ListPaymentsResponse>, Status> {
        let call = Call::of(&request)?;
        let asked = request.into_inner();
        let allowed = self.viewing.to(&call, parse::owner_for(call.caller(), &asked.owner)?).await?;
        let list = self.pages.list("ListPayments", [allowed.owner.to_string().as_str()]);
        let page = PageRequest::parse(asked.page_size, &asked.page_token, list)?;
        let known = |it: &Payment| self.payments.cashier.till.payments.known_action(it.id, it.state);
        let page = self.payments.list(allowed.owner, &page).await?.messages(|it| payment(&it, known(&it).as_ref()));
        Ok(Response::new(pb::ListPaymentsResponse { payments: page.rows, next_page_token: page.next_page_token }))
    }

    async fn refund_payment(
        &self,
        request: Request<pb::RefundPaymentRequest>,
    ) -> Result<Response<pb::RefundPaymentResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let owner = parse::owner_of(&call, &mut message.owner)?;
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, refund);
        let refunded = self.payments.refund(owner, &asked).await?.message()?;
        Ok(Response::new(pb::RefundPaymentResponse { payment: Some(refunded) }))
    }
}

impl PaymentHandler {
    /// What a repetition is told of the payment method that an answer names: as it is then; of one that was removed, which one it was.
    async fn as_is(&self, owner: OwnerId, kept: Option<pb::PaymentMethod>) -> Result<Option<pb::PaymentMethod>, Error> {
        let Some(pb::PaymentMethod { id, .. }) = kept else { return Ok(None) };
        let found = match id.parse() {
            Ok(id) => self.payments.method(owner, id).await?,
            Err(_) => None,
        };
        Ok(Some(found.as_ref().map_or_else(|| pb::PaymentMethod { id, ..Default::default() }, method)))
    }
}

fn return_url(url: &str, bad: &mut Violations) -> String {
    let web = url.starts_with("https://") || url.starts_with("http://");
    bad.require("return_url", web && url.len() <= MAX_URL_BYTES, "must be an http or https URL of at most 2048 bytes");
    url.to_owned()
}

fn method_id(text: &str, bad: &mut Violations) -> Option<PaymentMethodId> {
    bad.check("payment_method_id", text.parse())
}

fn refund(message: &pb::RefundPaymentRequest, bad: &mut Violations) -> Option<RefundOrder> {
    let payment = bad.check("payment_id", message.payment_id.parse());
    let amount = match &message.amount {
        None => None,
        Some(money) => {
            let amount = bad.check("amount", price(money))?;
            bad.require("amount", amount.micros() > 0, "must be above zero");
            bad.require("amount", amount.minor_units().is_some(), "must be whole in the currency's smallest unit");
            Some(amount)
        }
    };
    Some(RefundOrder { payment: payment?, amount })
}

/// The payment that an answer names, as it is now.
pub(super) async fn of(payments: &PaymentUseCases, owner: OwnerId, id: &str) -> Result<Option<pb::Payment>, Error> {
    let Ok(id) = id.parse() else { return Ok(None) };
    let found = payments.get(owner, id).await?;
    Ok(Some(payment(&found, payments.action(&found).await.as_ref())))
}

/// As it is kept with an answer: nobody has anything to do about what is refunded.
impl Stored for Payment {
    type Message = pb::Payment;
    fn to_message(&self) -> pb::Payment {
        payment(self, None)
    }
}

/// What is known of a card is kept with the payment method alone, and ends with it: a repetition is told it from there.
impl Stored for SavedMethod {
    type Message = pb::PaymentMethod;
    fn to_message(&self) -> pb::PaymentMethod {
        pb::PaymentMethod { id: self.id.to_string(), ..Default::default() }
    }
}

/// Without the secret, which is shown once.
impl Stored for BegunSetup {
    type Message = pb::BeginSetupResponse;
    fn to_message(&self) -> pb::BeginSetupResponse {
        let action = pb::PaymentAction { url: self.action.url.clone(), client_secret: String::new() };
        pb::BeginSetupResponse { action: Some(action), payment_method: self.saved.as_ref().map(Stored::to_message) }
    }
}

fn shown(action: &Action) -> pb::PaymentAction {
    pb::PaymentAction { url: action.url.clone(), client_secret: action.client_secret.clone() }
}

pub(super) fn method(method: &SavedMethod) -> pb::PaymentMethod {
    pb::PaymentMethod {
        id: method.id.to_string(),
        brand: method.card.brand.clone(),
        last4: method.card.last4.clone(),
        exp_month: method.card.exp_month,
        exp_year: method.card.exp_year,
        default: method.is_default,
        added_by: method.added_by.clone(),
        serves_until: method.serves_until.map(to_timestamp),
    }
}

pub(super) fn payment(payment: &Payment, action: Option<&Action>) -> pb::Payment {
    let text = |id: Option<String>| id.unwrap_or_default();
    pb::Payment {
        id: payment.id.to_string(),
        owner: payment.owner.to_string(),
        purpose: match payment.bought.purpose() {
            Purpose::Purchase => pb::PaymentPurpose::Purchase,
            Purpose::Subscription => pb::PaymentPurpose::Subscription,
            Purpose::Renewal => pb::PaymentPurpose::Renewal,
            Purpose::Change => pb::PaymentPurpose::Change,
        }
        .into(),
        amount: Some(to_money(payment.amount)),
        refunded: Some(to_money(payment.refunded)),
        state: state(payment.state).into(),
        dispute: dispute(payment.dispute).into(),
        decline_code: payment.decline_code.clone().unwrap_or_default(),
        action: action.map(shown),
        purchase_id: text(payment.bought.purchase().map(|id| id.to_string())),
        subscription_id: text(payment.bought.subscription().map(|id| id.to_string())),
        payment_method: payment.method.clone(),
        lot_id: text(payment.lot.map(|id| id.to_string())),
        created_at: Some(to_timestamp(payment.created_at)),
        invoice_id: text(payment.invoice.map(|id| id.to_string())),
    }
}

pub(super) fn dispute(dispute: Dispute) -> pb::DisputeState {
    match dispute {
        Dispute::None => pb::DisputeState::Unspecified,
        Dispute::Open => pb::DisputeState::Open,
        Dispute::Won => pb::DisputeState::Won,
        Dispute::Lost => pb::DisputeState::Lost,
    }
}

fn state(state: PaymentState) -> pb::PaymentState {
    match state {
        PaymentState::Created => pb::PaymentState::Created,
        PaymentState::Pending => pb::PaymentState::Pending,
        PaymentState::RequiresAction => pb::PaymentState::RequiresAction,
        PaymentState::Paid => pb::PaymentState::Paid,
        PaymentState::Declined => pb::PaymentState::Declined,
        PaymentState::Canceled => pb::PaymentState::Canceled,
    }
}
