//! `CreditService`.

use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::batch_charge_outcome::Outcome;
use bursar_proto::billing::v1::credit_service_server::CreditService;
use bursar_proto::google::rpc;
use bursar_rpc::{Caller, Problem};
use prost::Message as _;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::{answer, parse};
use crate::domain::{Charged, VoidCommand};
use crate::error::Error;
use crate::usecase::access::{Allowed, patience};
use crate::usecase::credits::{CreditUseCases, NewCharge};

/// The most charges in one batch.
const MAX_BATCH: usize = 1_000;

/// Serves `CreditService`.
pub(crate) struct CreditHandler(pub(crate) CreditUseCases);

impl CreditHandler {
    /// Authorises one charge, then reads it.
    async fn admit(
        &self,
        caller: &Caller,
        request: pb::ChargeRequest,
        until: Instant,
    ) -> Result<(Allowed, NewCharge), Error> {
        let owner = parse::owner(&request.owner)?;
        let member = parse::member(&request.member)?;
        let allowed = self.0.access.spend(caller, owner, member, until).await?;
        let charge = parse::charge(&allowed, request)?;
        Ok((allowed, charge))
    }
}

#[tonic::async_trait]
impl CreditService for CreditHandler {
    async fn charge(&self, request: Request<pb::ChargeRequest>) -> Result<Response<pb::ChargeResponse>, Status> {
        let caller = Caller::of(&request)?;
        let (allowed, charge) = self.admit(&caller, request.into_inner(), patience()).await?;
        let charged = self.0.charge(allowed, charge).await?;
        Ok(Response::new(answer::charged(allowed.owner, &charged)))
    }

    async fn batch_charge(
        &self,
        request: Request<pb::BatchChargeRequest>,
    ) -> Result<Response<pb::BatchChargeResponse>, Status> {
        let caller = Caller::of(&request)?;
        let charges = request.into_inner().charges;
        if charges.is_empty() || charges.len() > MAX_BATCH {
            return Err(Problem::invalid_field("charges", "must be 1 to 1000 charges").into());
        }
        let until = patience();
        let mut owners = Vec::with_capacity(charges.len());
        let mut admitted = Vec::with_capacity(charges.len());
        for charge in charges {
            let one = self.admit(&caller, charge, until).await;
            owners.push(one.as_ref().ok().map(|(allowed, _)| allowed.owner));
            admitted.push(one);
        }
        let answers = self.0.charge_each(admitted).await?;
        let outcomes = owners.into_iter().zip(answers).map(|(owner, answer)| match (owner, answer) {
            (Some(owner), Ok(made_it)) => made(owner, &made_it),
            (_, Err(error)) => not_made(error),
            (None, Ok(_)) => not_made(Error::Failed),
        });
        Ok(Response::new(pb::BatchChargeResponse { outcomes: outcomes.collect() }))
    }

    async fn hold(&self, request: Request<pb::HoldRequest>) -> Result<Response<pb::HoldResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let owner = parse::owner(&request.owner)?;
        let member = parse::member(&request.member)?;
        let allowed = self.0.access.spend(&caller, owner, member, patience()).await?;
        let held = self.0.hold(allowed, parse::hold(&allowed, request)?).await?;
        Ok(Response::new(answer::held(owner, &held)))
    }

    async fn capture(&self, request: Request<pb::CaptureRequest>) -> Result<Response<pb::CaptureResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let (owner, hold) = (parse::owner_if_named(&request.owner)?, parse::id("hold_id", &request.hold_id)?);
        let allowed = self.0.on_hold(&caller, owner, hold).await?;
        let (amount, request_id) = parse::capture(&request)?;
        let charged = self.0.capture(allowed, hold, (amount, request.allow_excess), request_id).await?;
        Ok(Response::new(answer::captured(allowed.owner, &charged)))
    }

    async fn release(&self, request: Request<pb::ReleaseRequest>) -> Result<Response<pb::ReleaseResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let (owner, hold) = (parse::owner_if_named(&request.owner)?, parse::id("hold_id", &request.hold_id)?);
        let allowed = self.0.on_hold(&caller, owner, hold).await?;
        let released = self.0.release(allowed, hold).await?;
        Ok(Response::new(answer::released(allowed.owner, &released)))
    }

    async fn refund(&self, request: Request<pb::RefundRequest>) -> Result<Response<pb::RefundResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let (owner, charge) = (parse::owner_if_named(&request.owner)?, parse::refunded_charge(&request.charge_id)?);
        let allowed = self.0.on_charge(&caller, owner, charge).await?;
        let (amount, request_id) = parse::refund(&request)?;
        let refunded = self.0.refund(allowed, charge, amount, request_id).await?;
        Ok(Response::new(answer::refunded(allowed.owner, &refunded)))
    }

    async fn estimate(&self, request: Request<pb::EstimateRequest>) -> Result<Response<pb::EstimateResponse>, Status> {
        let (model, quantity) = parse::estimate(request.get_ref())?;
        let (amount, price) = self.0.estimate(&model, quantity)?;
        Ok(Response::new(pb::EstimateResponse {
            amount: amount.to_string(),
            unit: price.unit,
            credits_per_unit: price.credits_per_unit.to_string(),
        }))
    }

    async fn get_charge(
        &self,
        request: Request<pb::GetChargeRequest>,
    ) -> Result<Response<pb::GetChargeResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let (owner, id) = (parse::owner_if_named(&request.owner)?, parse::id("charge_id", &request.charge_id)?);
        let (owner, charge) = self.0.get_charge(&caller, owner, id).await?;
        Ok(Response::new(pb::GetChargeResponse { charge: Some(answer::charge(owner, &charge)) }))
    }

    async fn get_hold(&self, request: Request<pb::GetHoldRequest>) -> Result<Response<pb::GetHoldResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let (owner, id) = (parse::owner_if_named(&request.owner)?, parse::id("hold_id", &request.hold_id)?);
        let (owner, hold) = self.0.get_hold(&caller, owner, id).await?;
        Ok(Response::new(pb::GetHoldResponse { hold: Some(answer::hold(owner, &hold)) }))
    }

    async fn grant_credits(
        &self,
        request: Request<pb::GrantCreditsRequest>,
    ) -> Result<Response<pb::GrantCreditsResponse>, Status> {
        let request = request.into_inner();
        let owner = parse::owner(&request.owner)?;
        let (command, request_id) = parse::grant(&request)?;
        let granted = self.0.grant(owner, command, request_id).await?;
        let lot = answer::lot(&granted.lot);
        Ok(Response::new(pb::GrantCreditsResponse { lot: Some(lot), replayed: granted.replayed }))
    }

    async fn void_lot(&self, request: Request<pb::VoidLotRequest>) -> Result<Response<pb::VoidLotResponse>, Status> {
        let request = request.into_inner();
        let (owner, lot) = (parse::owner_if_named(&request.owner)?, parse::id("lot_id", &request.lot_id)?);
        let (note, request_id) = parse::void(&request)?;
        let (lot, voided) = self.0.void(owner, VoidCommand { lot, note }, request_id).await?;
        Ok(Response::new(pb::VoidLotResponse { lot: Some(answer::lot(&lot)), replayed: voided.replayed }))
    }
}

fn made(owner: bursar_id::OwnerId, charged: &Charged) -> pb::BatchChargeOutcome {
    pb::BatchChargeOutcome {
        outcome: Some(Outcome::Charge(answer::charge(owner, &charged.charge))),
        balance_after: charged.balance_after.to_string(),
        replayed: charged.replayed,
    }
}

/// A refusal as `Charge` would have told it: code, message and the details that travel beside them.
fn not_made(error: Error) -> pb::BatchChargeOutcome {
    let status = Status::from(error);
    let plain =
        || rpc::Status { code: status.code().into(), message: status.message().to_owned(), details: Vec::new() };
    let detailed = rpc::Status::decode(status.details()).unwrap_or_else(|_| plain());
    let status = if detailed.code == 0 { plain() } else { detailed };
    pb::BatchChargeOutcome { outcome: Some(Outcome::Status(status)), balance_after: String::new(), replayed: false }
}
