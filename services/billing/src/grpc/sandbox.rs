//! `bursar.testing.v1.SandboxService`: plays the payment provider, in development only.

use bursar_id::{Id, PaymentId};
use bursar_money::Price;
use bursar_proto::testing::v1 as pb;
use bursar_proto::testing::v1::sandbox_service_server::SandboxService;
use bursar_rpc::{Problem, Violations, convert};
use tonic::{Request, Response, Status};

use super::{parse, payment};
use crate::domain::{Card, News, Payment, SavedMethod};
use crate::usecase::payments::PaymentUseCases;

/// Who saves what is played.
const SANDBOX: &str = "sandbox";

/// Answers with the use cases.
pub(crate) struct SandboxHandler(pub(crate) PaymentUseCases);

#[tonic::async_trait]
impl SandboxService for SandboxHandler {
    async fn settle(&self, request: Request<pb::SettleRequest>) -> Result<Response<pb::SettleResponse>, Status> {
        let message = request.into_inner();
        let id: PaymentId = parse::id("payment_id", &message.payment_id)?;
        let known = self.0.known(id).await?;
        let told = self.0.told(id, news(&message, &known)?).await?;
        Ok(Response::new(pb::SettleResponse {
            payment: Some(payment::payment(&told, self.0.action(&told).await.as_ref())),
        }))
    }

    async fn save_method(
        &self,
        request: Request<pb::SaveMethodRequest>,
    ) -> Result<Response<pb::SaveMethodResponse>, Status> {
        let message = request.into_inner();
        let owner = parse::owner(&message.owner)?;
        let till = &self.0.cashier.till;
        let mut bad = Violations::new();
        let token = bad.check("payment_method", till.payments.token(&message.payment_method));
        bad.require("exp_month", (1..=12).contains(&message.exp_month), "must be 1 to 12");
        bad.require("exp_year", (2_000..=9_999).contains(&message.exp_year), "must be 2000 to 9999");
        bad.finish()?;
        let now = till.clock.now();
        let new = SavedMethod {
            id: Id::from_parts(now.as_millis(), self.0.cashier.entropy.bytes()),
            owner,
            token: token.unwrap_or_default(),
            card: Card {
                brand: SANDBOX.to_owned(),
                last4: "4242".to_owned(),
                exp_month: message.exp_month,
                exp_year: message.exp_year,
            },
            is_default: false,
            added_by: SANDBOX.to_owned(),
            created_at: now,
            serves_until: None,
        };
        let saved = self.0.entered(new).await?;
        Ok(Response::new(pb::SaveMethodResponse { payment_method: Some(payment::method(&saved)) }))
    }
}

/// What a message tells of a payment.
fn news(message: &pb::SettleRequest, payment: &Payment) -> Result<News, Problem> {
    let amount = || amount(message, payment);
    Ok(match message.outcome() {
        pb::Outcome::Unspecified => return Err(Problem::invalid_field("outcome", "must be one of the outcomes")),
        pb::Outcome::Paid => News::Paid,
        pb::Outcome::Declined => News::Declined("card_declined".to_owned()),
        pb::Outcome::Refunded => News::Refunded(amount()?),
        pb::Outcome::Disputed => News::Disputed(amount()?),
        pb::Outcome::DisputeWon => News::DisputeWon,
        pb::Outcome::DisputeLost => News::DisputeLost,
    })
}

/// How much of the payment it is about.
fn amount(message: &pb::SettleRequest, payment: &Payment) -> Result<Price, Problem> {
    let Some(money) = &message.amount else { return Ok(payment.amount) };
    let amount = convert::price(money).map_err(|error| Problem::invalid_field("amount", error.to_string()))?;
    if amount.currency() != payment.amount.currency() {
        return Err(Problem::invalid_field("amount", "must be of the payment's currency"));
    }
    if amount.micros() <= 0 || amount.micros() > payment.amount.micros() {
        return Err(Problem::invalid_field("amount", "must be above zero and at most the payment"));
    }
    if amount.minor_units().is_none() {
        return Err(Problem::invalid_field("amount", "must be whole in the currency's smallest unit"));
    }
    Ok(amount)
}
