//! The part of billing that organization asks.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bursar_id::OwnerId;
use bursar_proto::billing::v1 as billing;
use bursar_proto::billing::v1::invoice_service_server::InvoiceService;
use bursar_proto::billing::v1::subscription_service_server::SubscriptionService;
use bursar_rpc::Problem;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status};

use crate::world::Who;

/// A billing that knows one plan; behind the real stack, so that organization has to prove who it is.
#[derive(Clone)]
pub(crate) struct Billing {
    seats: Arc<AtomicU32>,
    away: Arc<AtomicBool>,
    asked: Arc<AtomicU32>,
    /// Whether what it does is done and not answered.
    deaf: Arc<AtomicBool>,
    /// Whether it is a program that knows no calling off.
    of_before: Arc<AtomicBool>,
    plans: Arc<Mutex<Plans>>,
    /// By their ids.
    invoices: Arc<Mutex<BTreeMap<String, billing::Invoice>>>,
}

/// Whose plans there are, and what was answered first to whoever asked to move one, by the organization.
#[derive(Default)]
struct Plans {
    had: BTreeSet<String>,
    has: BTreeSet<String>,
    /// Whose plans wait for an operator, or for their payment: the reason.
    held: BTreeMap<String, &'static str>,
    /// Whose plans billing says nothing about for good.
    stuck: BTreeSet<String>,
    /// With the reason why none moves there.
    answered: BTreeMap<String, (String, Option<&'static str>)>,
    moves: Vec<(String, String)>,
}

impl Default for Billing {
    fn default() -> Self {
        Self {
            seats: Arc::new(AtomicU32::new(1_000)),
            away: Arc::default(),
            asked: Arc::default(),
            deaf: Arc::default(),
            of_before: Arc::default(),
            plans: Arc::default(),
            invoices: Arc::default(),
        }
    }
}

impl Billing {
    /// Somebody has a plan that includes organizations (again).
    pub(crate) fn subscribes(&self, who: &Who) {
        self.plans.lock().expect("plans").has.insert(who.user.to_string());
    }

    /// The same, but for who has had one before.
    pub(crate) fn subscribes_once(&self, who: &Who) {
        let mut plans = self.plans.lock().expect("plans");
        if plans.had.insert(who.user.to_string()) {
            plans.has.insert(who.user.to_string());
        }
    }

    /// Somebody's plan does not move, for this reason.
    pub(crate) fn holds(&self, who: &Who, reason: &'static str) {
        self.plans.lock().expect("plans").held.insert(who.user.to_string(), reason);
    }

    /// About moving somebody's plan nothing is said for good, or it is again.
    pub(crate) fn is_stuck(&self, who: &Who, stuck: bool) {
        let mut plans = self.plans.lock().expect("plans");
        let changes =
            if stuck { plans.stuck.insert(who.user.to_string()) } else { plans.stuck.remove(&who.user.to_string()) };
        assert!(changes, "it was the other way");
    }

    /// It does not any more.
    pub(crate) fn resumes(&self, who: &Who) {
        assert!(self.plans.lock().expect("plans").held.remove(&who.user.to_string()).is_some(), "it was held");
    }

    /// There is one more invoice.
    pub(crate) fn issues(&self, invoice: billing::Invoice) {
        self.invoices.lock().expect("invoices").insert(invoice.id.clone(), invoice);
    }

    /// How often it was asked what an organization's plan allows.
    pub(crate) fn asked(&self) -> u32 {
        self.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    pub(crate) fn set_deaf(&self, deaf: bool) {
        self.deaf.store(deaf, Ordering::SeqCst);
    }

    pub(crate) fn set_of_before(&self, of_before: bool) {
        self.of_before.store(of_before, Ordering::SeqCst);
    }

    /// Whose plan has moved where, in their order.
    pub(crate) fn moves(&self) -> Vec<(String, String)> {
        self.plans.lock().expect("plans").moves.clone()
    }

    pub(crate) fn set_seats(&self, seats: u32) {
        self.seats.store(seats, Ordering::SeqCst);
    }
}

#[tonic::async_trait]
impl SubscriptionService for Billing {
    async fn get_entitlements(
        &self,
        request: Request<billing::GetEntitlementsRequest>,
    ) -> Result<Response<billing::GetEntitlementsResponse>, Status> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.away.load(Ordering::SeqCst) {
            return Err(Status::unavailable("away"));
        }
        let owner: OwnerId = request.into_inner().owner.parse().expect("an owner");
        assert!(owner.organization().is_some(), "asked about {owner}");
        Ok(Response::new(billing::GetEntitlementsResponse {
            plan_id: "business".to_owned(),
            seats: self.seats.load(Ordering::SeqCst),
            features: Vec::new(),
        }))
    }

    async fn subscribe(
        &self,
        _: Request<billing::SubscribeRequest>,
    ) -> Result<Response<billing::SubscribeResponse>, Status> {
        Err(Status::unimplemented("organization never subscribes"))
    }

    async fn preview_change(
        &self,
        _: Request<billing::PreviewChangeRequest>,
    ) -> Result<Response<billing::PreviewChangeResponse>, Status> {
        Err(Status::unimplemented("organization changes no plan"))
    }

    async fn change_plan(
        &self,
        _: Request<billing::ChangePlanRequest>,
    ) -> Result<Response<billing::ChangePlanResponse>, Status> {
        Err(Status::unimplemented("organization changes no plan"))
    }

    async fn set_seats(
        &self,
        _: Request<billing::SetSeatsRequest>,
    ) -> Result<Response<billing::SetSeatsResponse>, Status> {
        Err(Status::unimplemented("organization buys no seats"))
    }

    async fn set_contract(
        &self,
        _: Request<billing::SetContractRequest>,
    ) -> Result<Response<billing::SetContractResponse>, Status> {
        Err(Status::unimplemented("organization agrees on nothing"))
    }

    async fn cancel(&self, _: Request<billing::CancelRequest>) -> Result<Response<billing::CancelResponse>, Status> {
        Err(Status::unimplemented("organization cancels nothing"))
    }

    async fn resume(&self, _: Request<billing::ResumeRequest>) -> Result<Response<billing::ResumeResponse>, Status> {
        Err(Status::unimplemented("organization resumes nothing"))
    }

    async fn move_subscription(
        &self,
        request: Request<billing::MoveSubscriptionRequest>,
    ) -> Result<Response<billing::MoveSubscriptionResponse>, Status> {
        if self.away.load(Ordering::SeqCst) {
            return Err(Status::unavailable("away"));
        }
        let billing::MoveSubscriptionRequest { from_owner, to_owner: to, called_off_for } = request.into_inner();
        assert_ne!(from_owner.is_empty(), called_off_for.is_empty(), "it is moved, or called off");
        if from_owner.is_empty() && self.of_before.load(Ordering::SeqCst) {
            return Err(Problem::invalid_field("from_owner", "is no user").into());
        }
        let from = format!("{from_owner}{called_off_for}");
        let refused = {
            let mut plans = self.plans.lock().expect("plans");
            if let Some((first, refused)) = plans.answered.get(&to) {
                assert_eq!(*first, from, "one creator for each organization");
                *refused
            } else if called_off_for.is_empty() && plans.stuck.contains(&from) {
                return Err(Problem::failed_precondition("TOTALS_FULL", "a person has to mend it").into());
            } else {
                let refused = if !called_off_for.is_empty() {
                    Some("MOVE_CALLED_OFF")
                } else if let Some(reason) = plans.held.get(&from).copied() {
                    Some(reason)
                } else if plans.has.remove(&from) {
                    plans.moves.push((from.clone(), to.clone()));
                    None
                } else {
                    Some("PLAN_REQUIRED")
                };
                plans.answered.insert(to, (from, refused));
                refused
            }
        };
        if self.deaf.load(Ordering::SeqCst) {
            return Err(Status::unavailable("nobody hears it"));
        }
        match refused {
            None => Ok(Response::new(billing::MoveSubscriptionResponse::default())),
            Some(reason) => Err(for_good(reason).into()),
        }
    }

    async fn get_subscription(
        &self,
        _: Request<billing::GetSubscriptionRequest>,
    ) -> Result<Response<billing::GetSubscriptionResponse>, Status> {
        Err(Status::unimplemented("organization asks for entitlements only"))
    }
}

/// How billing refuses for good.
fn for_good(reason: &'static str) -> Problem {
    match reason {
        "TOO_MANY_LOTS" => {
            Problem::exhausted(reason, "no room").with_metadata("limit", "1000").with_metadata("final", "true")
        }
        "BALANCE_TOO_LARGE" => Problem::failed_precondition(reason, "no room").with_metadata("final", "true"),
        _ => Problem::failed_precondition(reason, "no plan"),
    }
}

#[tonic::async_trait]
impl InvoiceService for Billing {
    async fn get_invoice(
        &self,
        request: Request<billing::GetInvoiceRequest>,
    ) -> Result<Response<billing::GetInvoiceResponse>, Status> {
        let billing::GetInvoiceRequest { owner, invoice_id } = request.into_inner();
        let found = self.invoices.lock().expect("invoices").get(&invoice_id).filter(|it| it.owner == owner).cloned();
        let invoice = found.ok_or_else(|| Status::not_found("no invoice"))?;
        Ok(Response::new(billing::GetInvoiceResponse { invoice: Some(invoice) }))
    }

    async fn list_invoices(
        &self,
        _: Request<billing::ListInvoicesRequest>,
    ) -> Result<Response<billing::ListInvoicesResponse>, Status> {
        Err(Status::unimplemented("organization lists none"))
    }

    type RenderInvoiceStream = BoxStream<billing::RenderInvoiceResponse>;

    async fn render_invoice(
        &self,
        _: Request<billing::RenderInvoiceRequest>,
    ) -> Result<Response<Self::RenderInvoiceStream>, Status> {
        Err(Status::unimplemented("organization renders none"))
    }
}
