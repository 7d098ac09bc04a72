//! `CreditService`.

use std::collections::HashMap;

use bursar_id::{ChargeId, HoldId, OwnerId, UserId};
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::batch_charge_outcome::Outcome;
use bursar_proto::billing::v1::credit_service_server::CreditService;
use bursar_proto::google::rpc;
use bursar_rpc::{Call, Caller, PageKey, PageRequest, Problem};
use prost::Message as _;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::{answer, parse};
use crate::domain::{ChargeCommand, Charged, HoldCommand};
use crate::error::Error;
use crate::usecase::access::{Access, Allowed, patience};
use crate::usecase::accounts::AccountUseCases;
use crate::usecase::credits::{Asked, CreditUseCases};
use crate::usecase::viewing::Viewing;

/// The most charges in one batch.
const MAX_BATCH: usize = 1_000;

/// Serves `CreditService`.
pub(crate) struct CreditHandler {
    pub(crate) credits: CreditUseCases,
    pub(crate) accounts: AccountUseCases,
    pub(crate) viewing: Viewing,
    pub(crate) pages: PageKey,
}

impl CreditHandler {
    fn access(&self) -> &Access {
        &self.credits.access
    }

    /// Authorises one charge, then reads it. `spenders`: on which accounts the caller was found to be allowed to spend in
    /// this call.
    async fn admit(
        &self,
        caller: &Caller,
        spenders: &mut HashMap<OwnerId, Allowed>,
        request: pb::ChargeRequest,
        until: Instant,
    ) -> Result<(Allowed, Asked<ChargeCommand>), Error> {
        let owner = parse::owner_for(caller, &request.owner)?;
        let allowed = match spenders.get(&owner) {
            Some(allowed) => *allowed,
            None => self.access().spend(caller, owner).await?,
        };
        spenders.insert(owner, allowed);
        let charge = self.or_standing(&allowed, parse::charge(&allowed, request)).await?;
        let allowed = self.access().for_member(allowed, charge.command.attribution.member, until).await?;
        Ok((allowed, charge))
    }

    /// The same for a hold.
    async fn admit_hold(
        &self,
        caller: &Caller,
        request: pb::HoldRequest,
    ) -> Result<(Allowed, Asked<HoldCommand>), Error> {
        let allowed = self.access().spend(caller, parse::owner_for(caller, &request.owner)?).await?;
        let hold = self.or_standing(&allowed, parse::hold(&allowed, request, self.credits.longest_hold())).await?;
        let allowed = self.access().for_member(allowed, hold.command.attribution.member, patience()).await?;
        Ok((allowed, hold))
    }

    /// Whoever has no standing any more learns that before what is wrong with the request.
    async fn or_standing<T>(&self, allowed: &Allowed, parsed: Result<T, Error>) -> Result<T, Error> {
        match parsed {
            Ok(parsed) => Ok(parsed),
            Err(malformed) => Err(self.access().or_standing(allowed, malformed).await),
        }
    }

    /// May the caller look at what was made with the owner's credits?
    async fn viewer(&self, caller: &Caller, owner: &str) -> Result<Allowed, Error> {
        self.access().to(caller, parse::owner_for(caller, owner)?).await
    }
}

/// Whose open holds a caller sees: a user the own ones, a service whose it asks for.
fn holds_of(caller: &Caller, named: Option<UserId>) -> Result<Option<UserId>, Error> {
    match caller.user() {
        Ok(user) if named.is_some_and(|named| named != user.user) => Err(Error::RoleNotAllowed),
        Ok(user) => Ok(Some(user.user)),
        Err(_) => Ok(named),
    }
}

#[tonic::async_trait]
impl CreditService for CreditHandler {
    async fn charge(&self, request: Request<pb::ChargeRequest>) -> Result<Response<pb::ChargeResponse>, Status> {
        let caller = Caller::of(&request)?;
        let (allowed, charge) = self.admit(&caller, &mut HashMap::new(), request.into_inner(), patience()).await?;
        let charged = allowed.tell(self.credits.charge(allowed, charge).await)?;
        Ok(Response::new(answer::charged(&allowed, &charged)))
    }

    async fn batch_charge(
        &self,
        request: Request<pb::BatchChargeRequest>,
    ) -> Result<Response<pb::BatchChargeResponse>, Status> {
        let caller = Caller::of(&request)?;
        let batch = request.into_inner().charges;
        if batch.is_empty() || batch.len() > MAX_BATCH {
            return Err(Problem::invalid_field("charges", "must be 1 to 1000 charges").into());
        }
        let until = patience();
        let mut askers = Vec::with_capacity(batch.len());
        let mut admitted = Vec::with_capacity(batch.len());
        let mut spenders = HashMap::new();
        for charge in batch {
            let one = self.admit(&caller, &mut spenders, charge, until).await;
            askers.push(one.as_ref().ok().map(|(allowed, _)| *allowed));
            admitted.push(one);
        }
        let answers = self.credits.charge_each(admitted).await?;
        let outcomes = askers.into_iter().zip(answers).map(|(allowed, answer)| match (allowed, answer) {
            (Some(allowed), answer) => match allowed.tell(answer) {
                Ok(charged) => made(&allowed, &charged),
                Err(error) => not_made(error),
            },
            (None, Err(error)) => not_made(error),
            (None, Ok(_)) => not_made(Error::Failed),
        });
        Ok(Response::new(pb::BatchChargeResponse { outcomes: outcomes.collect() }))
    }

    async fn hold(&self, request: Request<pb::HoldRequest>) -> Result<Response<pb::HoldResponse>, Status> {
        let caller = Caller::of(&request)?;
        let (allowed, asked) = self.admit_hold(&caller, request.into_inner()).await?;
        let placed = allowed.tell(self.credits.hold(allowed, asked).await)?;
        Ok(Response::new(answer::held(&allowed, &placed)))
    }

    async fn capture(&self, request: Request<pb::CaptureRequest>) -> Result<Response<pb::CaptureResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let allowed = self.access().spend(&caller, parse::owner_for(&caller, &request.owner)?).await?;
        let capture = self.or_standing(&allowed, parse::capture(&request)).await?;
        let charged = allowed.tell(self.credits.capture(allowed, capture).await)?;
        Ok(Response::new(answer::captured(&allowed, &charged)))
    }

    async fn release(&self, request: Request<pb::ReleaseRequest>) -> Result<Response<pb::ReleaseResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let allowed = self.access().spend(&caller, parse::owner_for(&caller, &request.owner)?).await?;
        let release = self.or_standing(&allowed, parse::release(&request)).await?;
        let released = self.credits.release(allowed, release).await?;
        Ok(Response::new(answer::released(&allowed, &released)))
    }

    async fn refund(&self, request: Request<pb::RefundRequest>) -> Result<Response<pb::RefundResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let allowed = Access::service(&caller, parse::owner(&request.owner)?)?;
        let refunded = self.credits.refund(allowed, parse::refund(&request)?).await?;
        Ok(Response::new(answer::refunded(&allowed, &refunded)))
    }

    async fn estimate(&self, request: Request<pb::EstimateRequest>) -> Result<Response<pb::EstimateResponse>, Status> {
        let (model, usage) = parse::estimate(request.get_ref())?;
        let (priced, catalog_version) = self.credits.estimate(&model, &usage)?;
        Ok(Response::new(answer::estimate(&priced, catalog_version)))
    }

    async fn get_charge(
        &self,
        request: Request<pb::GetChargeRequest>,
    ) -> Result<Response<pb::GetChargeResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let viewer = self.viewer(&caller, &request.owner).await?;
        let id: ChargeId = parse::id("charge_id", &request.charge_id)?;
        let charge = self.credits.get_charge(viewer, id).await?;
        Ok(Response::new(pb::GetChargeResponse { charge: Some(answer::charge(viewer.owner, &charge)) }))
    }

    async fn get_hold(&self, request: Request<pb::GetHoldRequest>) -> Result<Response<pb::GetHoldResponse>, Status> {
        let caller = Caller::of(&request)?;
        let request = request.into_inner();
        let viewer = self.viewer(&caller, &request.owner).await?;
        let id: HoldId = parse::id("hold_id", &request.hold_id)?;
        let hold = self.credits.get_hold(viewer, id).await?;
        Ok(Response::new(pb::GetHoldResponse { hold: Some(answer::hold(viewer.owner, &hold)) }))
    }

    async fn list_holds(
        &self,
        request: Request<pb::ListHoldsRequest>,
    ) -> Result<Response<pb::ListHoldsResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let owner = self.viewer(call.caller(), &request.owner).await?.owner;
        self.accounts.opened(call.caller(), owner).await?;
        let member = holds_of(call.caller(), parse::member(&request.member)?);
        let member = self.viewing.told(&call, owner, member).await?;
        let arguments = self.pages.list("ListHolds", [owner.to_string().as_str(), &request.member]);
        let page = PageRequest::parse(request.page_size, &request.page_token, arguments)?;
        let page = self.credits.open_holds(owner, member, &page).await?.messages(|hold| answer::hold(owner, &hold));
        Ok(Response::new(pb::ListHoldsResponse { holds: page.rows, next_page_token: page.next_page_token }))
    }

    async fn grant_credits(
        &self,
        request: Request<pb::GrantCreditsRequest>,
    ) -> Result<Response<pb::GrantCreditsResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let owner = parse::owner(&request.owner)?;
        let granting = async {
            let allowed = Access::service(call.caller(), owner)?;
            Box::pin(self.credits.grant(&call, allowed, parse::grant(&request)?)).await
        };
        let granted = self.credits.told(&call, owner, granting.await).await?;
        let lot = answer::lot(&granted.lot);
        Ok(Response::new(pb::GrantCreditsResponse { lot: Some(lot), replayed: granted.replayed }))
    }

    async fn void_lot(&self, request: Request<pb::VoidLotRequest>) -> Result<Response<pb::VoidLotResponse>, Status> {
        let call = Call::of(&request)?;
        let request = request.into_inner();
        let owner = parse::owner(&request.owner)?;
        let voiding = async {
            let allowed = Access::service(call.caller(), owner)?;
            self.credits.void(&call, allowed, parse::void(&request)?).await
        };
        let (lot, voided) = self.credits.told(&call, owner, voiding.await).await?;
        Ok(Response::new(pb::VoidLotResponse { lot: Some(answer::lot(&lot)), replayed: voided.replayed }))
    }
}

fn made(allowed: &Allowed, charged: &Charged) -> pb::BatchChargeOutcome {
    pb::BatchChargeOutcome {
        outcome: Some(Outcome::Charge(answer::charge_in_batch(allowed.owner, &charged.charge))),
        balance_after: allowed.balance(charged.balance_after),
        replayed: charged.replayed,
    }
}

/// A refusal as `Charge` would have told it: code, message and the details that travel beside them. It has its own
/// bounds, so that a thousand fit a message.
fn not_made(error: Error) -> pb::BatchChargeOutcome {
    let status = Status::from(Problem::from(error));
    let plain =
        || rpc::Status { code: status.code().into(), message: status.message().to_owned(), details: Vec::new() };
    let detailed = rpc::Status::decode(status.details()).unwrap_or_else(|_| plain());
    let status = if detailed.code == 0 { plain() } else { detailed };
    pb::BatchChargeOutcome { outcome: Some(Outcome::Status(status)), balance_after: String::new(), replayed: false }
}
