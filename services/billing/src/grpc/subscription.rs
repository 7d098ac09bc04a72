//! `SubscriptionService`.

use std::mem::take;

use bursar_id::{OrganizationId, OwnerId};
use bursar_proto::billing::v1 as pb;
use bursar_proto::billing::v1::subscription_service_server::SubscriptionService;
use bursar_rpc::convert::{to_money, to_timestamp};
use bursar_rpc::{Asked, Call, Problem, Stored, Violations};
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::order::order;
use super::{catalog, change, contract, parse, payment};
use crate::domain::{Entitlements, Subscription, SubscriptionState, Terms};
use crate::error::Error;
use crate::usecase::canceling::CancelAt;
use crate::usecase::moving::{Full, Move, Moved};
use crate::usecase::payments::PaymentUseCases;
use crate::usecase::subscriptions::SubscriptionUseCases;
use crate::usecase::viewing::Viewing;

/// Answers with the use cases.
pub(crate) struct SubscriptionHandler {
    pub(crate) subscriptions: SubscriptionUseCases,
    pub(crate) payments: PaymentUseCases,
    pub(crate) viewing: Viewing,
}

impl SubscriptionHandler {
    /// An answer with its payment as it is now.
    async fn with_payment(
        &self,
        owner: OwnerId,
        kept: pb::ChangePlanResponse,
    ) -> Result<pb::ChangePlanResponse, Error> {
        let id = kept.payment.map(|payment| payment.id).unwrap_or_default();
        Ok(pb::ChangePlanResponse { payment: payment::of(&self.payments, owner, &id).await?, ..kept })
    }
}

#[tonic::async_trait]
impl SubscriptionService for SubscriptionHandler {
    async fn subscribe(
        &self,
        request: Request<pb::SubscribeRequest>,
    ) -> Result<Response<pb::SubscribeResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let owner = parse::owner_of(&call, &mut message.owner)?;
        let request_id = take(&mut message.request_id);
        let payments = &self.subscriptions.till.payments;
        let read = |message: &pb::SubscribeRequest, bad: &mut Violations| {
            order(payments, ("plan_id", &message.plan_id), &message.payment_method, bad)
        };
        let asked = Asked::read(call, &request_id, &message, read);
        let subscribed = self.subscriptions.subscribe(owner, &asked).await?.message()?;
        let payment = payment::of(&self.payments, owner, &subscribed.payment_id).await?;
        Ok(Response::new(pb::SubscribeResponse { subscription: Some(subscribed), payment }))
    }

    async fn preview_change(
        &self,
        request: Request<pb::PreviewChangeRequest>,
    ) -> Result<Response<pb::PreviewChangeResponse>, Status> {
        let call = Call::of(&request)?;
        let asked = request.into_inner();
        let allowed = self.viewing.to(&call, parse::owner_for(call.caller(), &asked.owner)?).await?;
        let mut bad = Violations::new();
        let wanted = change::preview(&asked, &mut bad);
        bad.finish()?;
        Ok(Response::new(change::previewed(&self.subscriptions.preview(allowed.owner, &wanted).await?)))
    }

    async fn change_plan(
        &self,
        request: Request<pb::ChangePlanRequest>,
    ) -> Result<Response<pb::ChangePlanResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let owner = parse::owner_of(&call, &mut message.owner)?;
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, |it, bad| Some(change::to_plan(it, bad)));
        Ok(Response::new(self.with_payment(owner, self.subscriptions.change(owner, &asked).await?.message()?).await?))
    }

    async fn set_seats(&self, request: Request<pb::SetSeatsRequest>) -> Result<Response<pb::SetSeatsResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let owner = parse::owner_of(&call, &mut message.owner)?;
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, |it, bad| Some(change::to_seats(it, bad)));
        let changed = self.with_payment(owner, self.subscriptions.change(owner, &asked).await?.message()?).await?;
        let pb::ChangePlanResponse { subscription, payment } = changed;
        Ok(Response::new(pb::SetSeatsResponse { subscription, payment }))
    }

    async fn cancel(&self, request: Request<pb::CancelRequest>) -> Result<Response<pb::CancelResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let owner = parse::owner_of(&call, &mut message.owner)?;
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, |message, bad| cancel_at(message.at(), bad));
        let canceled = self.subscriptions.cancel(owner, &asked).await?.message()?;
        Ok(Response::new(pb::CancelResponse { subscription: Some(canceled) }))
    }

    async fn resume(&self, request: Request<pb::ResumeRequest>) -> Result<Response<pb::ResumeResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let owner = parse::owner_of(&call, &mut message.owner)?;
        let request_id = take(&mut message.request_id);
        let asked = Asked::read(call, &request_id, &message, |_, _| Some(()));
        let resumed = self.subscriptions.resume(owner, &asked).await?.message()?;
        Ok(Response::new(pb::ResumeResponse { subscription: Some(resumed) }))
    }

    async fn set_contract(
        &self,
        request: Request<pb::SetContractRequest>,
    ) -> Result<Response<pb::SetContractResponse>, Status> {
        let call = Call::of(&request)?;
        let mut message = request.into_inner();
        let owner = parse::owner_of(&call, &mut message.owner)?;
        let request_id = take(&mut message.request_id);
        let till = &self.subscriptions.till;
        let read = |it: &pb::SetContractRequest, bad: &mut Violations| {
            contract::set_contract((&till.payments, till.clock.now()), it, bad)
        };
        let asked = Asked::read(call, &request_id, &message, read);
        let kept = self.subscriptions.set_contract(owner, &asked).await?.message()?;
        let id = kept.payment.map(|payment| payment.id).unwrap_or_default();
        let payment = payment::of(&self.payments, owner, &id).await?;
        let contract = asked.command().ok().and_then(contract::asked);
        Ok(Response::new(pb::SetContractResponse { contract, payment, ..kept }))
    }

    async fn move_subscription(
        &self,
        request: Request<pb::MoveSubscriptionRequest>,
    ) -> Result<Response<pb::MoveSubscriptionResponse>, Status> {
        let call = Call::of(&request)?;
        let message = request.into_inner();
        let moved = self.subscriptions.move_subscription(&moving(call, &message)).await?.message()?;
        Ok(Response::new(moved.told()?))
    }

    async fn get_subscription(
        &self,
        request: Request<pb::GetSubscriptionRequest>,
    ) -> Result<Response<pb::GetSubscriptionResponse>, Status> {
        let call = Call::of(&request)?;
        let owner = parse::owner_for(call.caller(), &request.into_inner().owner)?;
        let allowed = self.viewing.to(&call, owner).await?;
        let found = self.subscriptions.get(allowed.owner).await?;
        let contract = self.subscriptions.contract_of(allowed.owner).await?.as_ref().map(contract::waiting);
        let found = pb::Subscription { contract, ..subscription(&found) };
        Ok(Response::new(pb::GetSubscriptionResponse { subscription: Some(found) }))
    }

    async fn get_entitlements(
        &self,
        request: Request<pb::GetEntitlementsRequest>,
    ) -> Result<Response<pb::GetEntitlementsResponse>, Status> {
        let owner = parse::owner(&request.into_inner().owner)?;
        Ok(Response::new(entitlements(&self.subscriptions.entitlements(owner).await?)))
    }
}

fn cancel_at(at: pb::CancelAt, bad: &mut Violations) -> Option<CancelAt> {
    match at {
        pb::CancelAt::PeriodEnd => Some(CancelAt::PeriodEnd),
        pb::CancelAt::Now => Some(CancelAt::Now),
        pb::CancelAt::Unspecified => {
            bad.add("at", "must be CANCEL_AT_PERIOD_END or CANCEL_AT_NOW");
            None
        }
    }
}

/// A subscription moves into an organization once: that is the request's id. Whoever calls that off asks for the same otherwise, and
/// has the answer that there was.
fn moving(call: Call, message: &pb::MoveSubscriptionRequest) -> Asked<Move> {
    let to = message.to_owner.parse::<OrganizationId>();
    let id = to.as_ref().map(|to| format!("move:{to}")).unwrap_or_default();
    let is_called_off = !message.called_off_for.is_empty();
    let (field, from_owner) = if is_called_off {
        ("called_off_for", message.called_off_for.clone())
    } else {
        ("from_owner", message.from_owner.clone())
    };
    let one = pb::MoveSubscriptionRequest { from_owner, called_off_for: String::new(), ..message.clone() };
    Asked::read(call, &id, &one, |one, bad| {
        let from = bad.check(field, one.from_owner.parse());
        let to = bad.check("to_owner", to);
        if is_called_off && !message.from_owner.is_empty() {
            bad.add("from_owner", "must be empty where the move is called off");
        }
        Some(Move { from: from?, to: to?, is_called_off })
    })
}

/// What is kept of a move: its answer, or without a subscription that none moves, and why. Earlier programs kept the answer alone,
/// and read nothing else of it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct KeptMove {
    /// The subscription that has moved, as its bytes; beside `own_plan` [`UNREADABLE`].
    #[prost(bytes = "vec", tag = "1")]
    subscription: Vec<u8>,
    #[prost(bool, tag = "2")]
    renewal_held: bool,
    #[prost(bool, tag = "3")]
    past_due: bool,
    /// The plan that the organization has of its own.
    #[prost(string, tag = "4")]
    own_plan: String,
    /// Why none moves otherwise: [`CALLED_OFF`], [`TOO_MANY_LOTS`], [`BALANCE_TOO_LARGE`].
    #[prost(uint32, tag = "5")]
    refused: u32,
}

const CALLED_OFF: u32 = 1;
const TOO_MANY_LOTS: u32 = 2;
const BALANCE_TOO_LARGE: u32 = 3;

/// No message. Earlier programs know no `own_plan`: to them an answer without a subscription says that a plan is required, and
/// organization would remove what has one. So they fail at it instead, and organization asks until one is asked that reads it.
const UNREADABLE: &[u8] = &[0];

impl KeptMove {
    /// What is told of it.
    pub(crate) fn told(self) -> Result<pb::MoveSubscriptionResponse, Error> {
        match self {
            Self { own_plan, .. } if !own_plan.is_empty() => Err(Error::AlreadySubscribed { plan: own_plan }),
            Self { subscription, .. } if !subscription.is_empty() => {
                let moved = pb::Subscription::decode(subscription.as_slice());
                let moved = moved.map_err(|_| Problem::internal(&"a moved subscription is kept as no message"))?;
                Ok(pb::MoveSubscriptionResponse { subscription: Some(moved) })
            }
            Self { renewal_held: true, .. } => Err(Error::RenewalHeld),
            Self { past_due: true, .. } => Err(Error::RenewalUnpaid),
            Self { refused: CALLED_OFF, .. } => Err(Error::MoveCalledOff),
            Self { refused: TOO_MANY_LOTS, .. } => Err(Error::NoRoomToMove(Full::Lots.into())),
            Self { refused: BALANCE_TOO_LARGE, .. } => Err(Error::NoRoomToMove(Full::Balance.into())),
            Self { refused: 0, .. } => Err(Error::PlanRequired),
            Self { .. } => Err(Error::NewerFormat),
        }
    }
}

impl Stored for Moved {
    type Message = KeptMove;
    fn to_message(&self) -> KeptMove {
        match self {
            Self::To(moved) => KeptMove { subscription: subscription(moved).encode_to_vec(), ..KeptMove::default() },
            Self::PlanRequired => KeptMove::default(),
            Self::RenewalHeld => KeptMove { renewal_held: true, ..KeptMove::default() },
            Self::PastDue => KeptMove { past_due: true, ..KeptMove::default() },
            Self::CalledOff => KeptMove { refused: CALLED_OFF, ..KeptMove::default() },
            Self::NoRoom(Full::Lots) => KeptMove { refused: TOO_MANY_LOTS, ..KeptMove::default() },
            Self::NoRoom(Full::Balance) => KeptMove { refused: BALANCE_TOO_LARGE, ..KeptMove::default() },
            Self::AlreadySubscribed(plan) => {
                let (subscription, own_plan) = (UNREADABLE.to_vec(), plan.to_string());
                KeptMove { subscription, own_plan, ..KeptMove::default() }
            }
        }
    }
}

impl Stored for Subscription {
    type Message = pb::Subscription;
    fn to_message(&self) -> pb::Subscription {
        subscription(self)
    }
}

pub(super) fn subscription(subscription: &Subscription) -> pb::Subscription {
    pb::Subscription {
        id: subscription.id.to_string(),
        owner: subscription.owner.to_string(),
        plan_id: subscription.plan.to_string(),
        state: match subscription.state {
            SubscriptionState::Active => pb::SubscriptionState::Active,
            SubscriptionState::PastDue => pb::SubscriptionState::PastDue,
            SubscriptionState::Incomplete => pb::SubscriptionState::Incomplete,
            SubscriptionState::Ended => pb::SubscriptionState::Ended,
        }
        .into(),
        price: Some(to_money(subscription.price)),
        credits: subscription.credits.to_string(),
        seats: subscription.seats,
        started_at: Some(to_timestamp(subscription.started_at)),
        current_period_start: Some(to_timestamp(subscription.month.start)),
        current_period_end: Some(to_timestamp(subscription.month.end)),
        next_retry_at: subscription.next_retry_at.map(to_timestamp),
        cancel_at_period_end: subscription.cancel_at_period_end,
        payment_id: subscription.payment().map(|payment| payment.to_string()).unwrap_or_default(),
        interval: catalog::interval(subscription.interval()).into(),
        paid_until: Some(to_timestamp(subscription.paid_until())),
        pending_change: subscription.pending.as_ref().map(|to| pending(subscription, to)),
        features: subscription.features.map(catalog::features).unwrap_or_default(),
        by_contract: subscription.features.is_some(),
        contract: None,
        rollover: catalog::rollover(subscription.rollover),
        grant_in_grace: subscription.grant_in_grace,
    }
}

fn pending(subscription: &Subscription, to: &Terms) -> pb::PendingChange {
    pb::PendingChange {
        plan_id: to.plan.to_string(),
        seats: to.seats,
        price: Some(to_money(to.price)),
        credits: to.credits.to_string(),
        effective_at: Some(to_timestamp(subscription.paid_until())),
        interval: catalog::interval(to.interval).into(),
        features: to.features.map(catalog::features).unwrap_or_default(),
        by_contract: to.features.is_some(),
        rollover: catalog::rollover(to.rollover),
        grant_in_grace: to.grant_in_grace,
    }
}

fn entitlements(allowed: &Entitlements) -> pb::GetEntitlementsResponse {
    pb::GetEntitlementsResponse {
        plan_id: allowed.plan.to_string(),
        seats: allowed.seats,
        features: catalog::features(allowed.features),
    }
}

#[cfg(test)]
mod tests {
    use bursar_rpc::Refusing as _;

    use super::*;
    use crate::domain::ProductId;

    /// What is told of kept bytes.
    fn told(bytes: &[u8]) -> Result<pb::MoveSubscriptionResponse, Error> {
        KeptMove::decode(bytes).unwrap().told()
    }

    #[test]
    fn what_is_kept_of_a_move_is_read_by_earlier_programs_and_theirs_by_this_one() {
        let moved = pb::Subscription { id: "sub_1".to_owned(), plan_id: "business".to_owned(), ..Default::default() };
        let theirs = pb::MoveSubscriptionResponse { subscription: Some(moved) };
        assert_eq!(told(&theirs.encode_to_vec()).unwrap(), theirs);
        assert!(matches!(told(&pb::MoveSubscriptionResponse::default().encode_to_vec()), Err(Error::PlanRequired)));
        let reasons = [
            (Moved::PlanRequired, "PLAN_REQUIRED"),
            (Moved::RenewalHeld, "RENEWAL_HELD"),
            (Moved::PastDue, "SUBSCRIPTION_PAST_DUE"),
            (Moved::CalledOff, "MOVE_CALLED_OFF"),
            (Moved::NoRoom(Full::Lots), "TOO_MANY_LOTS"),
            (Moved::NoRoom(Full::Balance), "BALANCE_TOO_LARGE"),
        ];
        for (refusal, reason) in reasons {
            let ours = refusal.to_message().encode_to_vec();
            let read = pb::MoveSubscriptionResponse::decode(ours.as_slice()).unwrap();
            assert_eq!(read.subscription, None, "to them either is that none moves");
            assert_eq!(told(&ours).unwrap_err().reason(), Some(reason), "{refusal:?}");
        }
        let later = KeptMove { refused: 77, ..KeptMove::default() };
        assert!(matches!(later.told(), Err(Error::NewerFormat)), "why, a later program knows");
    }

    /// To an earlier program it would be that a plan is required, and the organization would be removed with its plan.
    #[test]
    fn that_an_organization_has_a_plan_is_read_by_no_program_that_does_not_know_it() {
        let ours = Moved::AlreadySubscribed(ProductId::parse("business").unwrap()).to_message().encode_to_vec();
        let read = pb::MoveSubscriptionResponse::decode(ours.as_slice());
        assert!(read.is_err(), "whoever asks is answered for good: {read:?}");
        let told = told(&ours);
        assert!(matches!(&told, Err(Error::AlreadySubscribed { plan }) if plan == "business"), "{told:?}");
    }
}
