//! Requests that read like sentences: `spend(team, "5").by(ana).for_project("film").under("r1")`.

use bursar_id::{OwnerId, UserId};
use bursar_proto::billing::v1 as pb;
use bursar_rpc::convert::{to_duration, to_timestamp};
use bursar_time::{Span, Timestamp};

pub(crate) fn spend(owner: OwnerId, amount: &str) -> pb::ChargeRequest {
    pb::ChargeRequest { owner: owner.to_string(), amount: amount.to_owned(), ..Default::default() }
}

pub(crate) fn batch(charges: impl IntoIterator<Item = pb::ChargeRequest>) -> pb::BatchChargeRequest {
    pb::BatchChargeRequest { charges: charges.into_iter().collect() }
}

pub(crate) fn reserve(owner: OwnerId, amount: &str) -> pb::HoldRequest {
    pb::HoldRequest { owner: owner.to_string(), amount: amount.to_owned(), ..Default::default() }
}

pub(crate) fn settle(hold: &pb::Hold, amount: &str) -> pb::CaptureRequest {
    pb::CaptureRequest { amount: amount.to_owned(), ..settle_all(hold) }
}

pub(crate) fn settle_all(hold: &pb::Hold) -> pb::CaptureRequest {
    pb::CaptureRequest { owner: hold.owner.clone(), hold_id: hold.id.clone(), ..Default::default() }
}

pub(crate) fn free(hold: &pb::Hold) -> pb::ReleaseRequest {
    pb::ReleaseRequest { owner: hold.owner.clone(), hold_id: hold.id.clone(), ..Default::default() }
}

pub(crate) fn give_back(charge: &pb::Charge) -> pb::RefundRequest {
    pb::RefundRequest { owner: charge.owner.clone(), charge_id: charge.id.clone(), ..Default::default() }
}

pub(crate) fn give_back_part(charge: &pb::Charge, amount: &str) -> pb::RefundRequest {
    pb::RefundRequest { amount: Some(amount.to_owned()), ..give_back(charge) }
}

/// Goodwill credits, from now and for ever.
pub(crate) fn grant(owner: OwnerId, amount: &str) -> pb::GrantCreditsRequest {
    pb::GrantCreditsRequest {
        owner: owner.to_string(),
        amount: amount.to_owned(),
        source: pb::LotSource::Goodwill.into(),
        ..Default::default()
    }
}

/// A month of a plan.
pub(crate) fn subscribe(owner: OwnerId, plan: &str) -> pb::SubscribeRequest {
    let (owner, plan_id, payment_method) = (owner.to_string(), plan.to_owned(), "sandbox_ok".to_owned());
    pb::SubscribeRequest { owner, plan_id, payment_method, request_id: String::new() }
}

/// Another plan with its own seats.
pub(crate) fn change_to(owner: OwnerId, plan: &str) -> pb::ChangePlanRequest {
    pb::ChangePlanRequest { owner: owner.to_string(), plan_id: plan.to_owned(), ..Default::default() }
}

/// The plan for so many people.
pub(crate) fn set_seats(owner: OwnerId, seats: u32) -> pb::SetSeatsRequest {
    pb::SetSeatsRequest { owner: owner.to_string(), seats, ..Default::default() }
}

/// The plan ends with its month, or now.
pub(crate) fn cancel(owner: OwnerId, at: pb::CancelAt) -> pb::CancelRequest {
    pb::CancelRequest { owner: owner.to_string(), at: at.into(), request_id: String::new() }
}

/// It goes on after all.
pub(crate) fn resume(owner: OwnerId) -> pb::ResumeRequest {
    pb::ResumeRequest { owner: owner.to_string(), request_id: String::new() }
}

/// A pack of credits.
pub(crate) fn buy(owner: OwnerId, pack: &str) -> pb::PurchasePackRequest {
    let (owner, pack_id, payment_method) = (owner.to_string(), pack.to_owned(), "sandbox_ok".to_owned());
    pb::PurchasePackRequest { owner, pack_id, payment_method, request_id: String::new() }
}

pub(crate) fn void(owner: OwnerId, lot: &pb::Lot) -> pb::VoidLotRequest {
    pb::VoidLotRequest { owner: owner.to_string(), lot_id: lot.id.clone(), ..Default::default() }
}

/// Erases a member's details, or with `None` the notes.
pub(crate) fn erase(owner: OwnerId, member: Option<UserId>) -> pb::EraseDetailsRequest {
    let member = member.map(|member| member.to_string()).unwrap_or_default();
    pb::EraseDetailsRequest { owner: owner.to_string(), member, request_id: String::new() }
}

pub(crate) fn the_charge(charge: &pb::Charge) -> pb::GetChargeRequest {
    pb::GetChargeRequest { owner: charge.owner.clone(), charge_id: charge.id.clone() }
}

pub(crate) fn the_hold(hold: &pb::Hold) -> pb::GetHoldRequest {
    pb::GetHoldRequest { owner: hold.owner.clone(), hold_id: hold.id.clone() }
}

pub(crate) fn holds_of(owner: OwnerId) -> pb::ListHoldsRequest {
    pb::ListHoldsRequest { owner: owner.to_string(), ..Default::default() }
}

/// So much of some meters: `[("input_tokens", "2.5")]`.
pub(crate) fn used(usage: &[(&str, &str)]) -> Vec<pb::Usage> {
    let one = |(meter, quantity): &(&str, &str)| pb::Usage { meter: (*meter).into(), quantity: (*quantity).into() };
    usage.iter().map(one).collect()
}

/// What a lot may pay for.
pub(crate) fn scope(models: &[&str], projects: &[&str]) -> pb::Scope {
    let all = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    pb::Scope { models: all(models), projects: all(projects) }
}

pub(crate) fn entries_of(owner: OwnerId) -> pb::ListLedgerEntriesRequest {
    pb::ListLedgerEntriesRequest { owner: owner.to_string(), page_size: 1_000, ..Default::default() }
}

pub(crate) fn usage_of(owner: OwnerId, groups: &[pb::GroupBy]) -> pb::QueryUsageRequest {
    let group_by = groups.iter().map(|group| (*group).into()).collect();
    pb::QueryUsageRequest { owner: owner.to_string(), group_by, page_size: 1_000, ..Default::default() }
}

pub(crate) fn balance_of(owner: OwnerId) -> pb::GetBalanceRequest {
    pb::GetBalanceRequest { owner: owner.to_string(), ..Default::default() }
}

pub(crate) fn lots_of(owner: OwnerId) -> pb::ListLotsRequest {
    pb::ListLotsRequest { owner: owner.to_string(), page_size: 1_000, ..Default::default() }
}

pub(crate) fn audit_of(owner: OwnerId) -> pb::VerifyLedgerRequest {
    pb::VerifyLedgerRequest { owner: owner.to_string() }
}

/// A hard limit on what `subject` says: `every`, `member usr_…`, `project …`, `model …` or `key key_…`.
pub(crate) fn limit(owner: OwnerId, subject: &str, window: pb::LimitWindow, amount: &str) -> pb::SetLimitRequest {
    use pb::limit_subject::Subject;
    let (kind, name) = subject.split_once(' ').unwrap_or((subject, ""));
    let name = name.to_owned();
    let subject = match kind {
        "every" => Some(Subject::EveryMember(true)),
        "member" => Some(Subject::Member(name)),
        "project" => Some(Subject::Project(name)),
        "model" => Some(Subject::Model(name)),
        "key" => Some(Subject::ApiKey(name)),
        _ => None,
    };
    pb::SetLimitRequest {
        owner: owner.to_string(),
        subject: Some(pb::LimitSubject { subject }),
        window: window.into(),
        amount: amount.to_owned(),
        mode: pb::LimitMode::Hard.into(),
        ..Default::default()
    }
}

pub(crate) fn limits_of(owner: OwnerId) -> pb::ListLimitsRequest {
    pb::ListLimitsRequest { owner: owner.to_string(), ..Default::default() }
}

/// Requests with an idempotency key.
pub(crate) trait Under {
    #[must_use]
    fn under(self, request_id: &str) -> Self;
}

macro_rules! under {
    ($($request:ident)+) => {
        $(impl Under for pb::$request {
            fn under(mut self, request_id: &str) -> Self {
                request_id.clone_into(&mut self.request_id);
                self
            }
        })+
    };
}

under!(ChargeRequest HoldRequest CaptureRequest ReleaseRequest RefundRequest GrantCreditsRequest VoidLotRequest EraseDetailsRequest
    SubscribeRequest ChangePlanRequest SetSeatsRequest SetContractRequest CancelRequest ResumeRequest PurchasePackRequest BeginSetupRequest RemovePaymentMethodRequest
    RefundPaymentRequest UpdateAccountSettingsRequest SetLimitRequest DeleteLimitRequest ReloadCatalogRequest);

/// Requests that spend for somebody on something.
pub(crate) trait Spending {
    /// For this member, as a service says it.
    #[must_use]
    fn by(self, member: UserId) -> Self;
    #[must_use]
    fn for_project(self, project: &str) -> Self;
    #[must_use]
    fn on_model(self, model: &str) -> Self;
    #[must_use]
    fn labelled(self, key: &str, value: &str) -> Self;
}

macro_rules! spending {
    ($($request:ident)+) => {
        $(impl Spending for pb::$request {
            fn by(mut self, member: UserId) -> Self {
                self.member = member.to_string();
                self
            }
            fn for_project(mut self, project: &str) -> Self {
                project.clone_into(&mut self.project);
                self
            }
            fn on_model(mut self, model: &str) -> Self {
                model.clone_into(&mut self.model);
                self
            }
            fn labelled(mut self, key: &str, value: &str) -> Self {
                self.labels.insert(key.to_owned(), value.to_owned());
                self
            }
        })+
    };
}

spending!(ChargeRequest HoldRequest);

/// What only charges say.
pub(crate) trait Charging {
    /// By usage of some meters.
    #[must_use]
    fn using(self, usage: &[(&str, &str)]) -> Self;
}

impl Charging for pb::ChargeRequest {
    fn using(mut self, usage: &[(&str, &str)]) -> Self {
        self.usage = used(usage);
        self
    }
}

/// What only holds say.
pub(crate) trait Holding {
    #[must_use]
    fn lasting(self, ttl: Span) -> Self;
}

impl Holding for pb::HoldRequest {
    fn lasting(mut self, ttl: Span) -> Self {
        self.ttl = Some(to_duration(ttl));
        self
    }
}

/// The terms of a grant.
pub(crate) trait Granting {
    #[must_use]
    fn out_of(self, source: pb::LotSource) -> Self;
    #[must_use]
    fn at_priority(self, priority: i32) -> Self;
    #[must_use]
    fn effective(self, at: Timestamp) -> Self;
    #[must_use]
    fn expiring(self, at: Timestamp) -> Self;
    /// Only for these models and projects.
    #[must_use]
    fn only_for(self, models: &[&str], projects: &[&str]) -> Self;
}

impl Granting for pb::GrantCreditsRequest {
    fn out_of(mut self, source: pb::LotSource) -> Self {
        self.source = source.into();
        self
    }
    fn at_priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }
    fn effective(mut self, at: Timestamp) -> Self {
        self.effective_at = Some(to_timestamp(at));
        self
    }
    fn expiring(mut self, at: Timestamp) -> Self {
        self.expires_at = Some(to_timestamp(at));
        self
    }
    fn only_for(mut self, models: &[&str], projects: &[&str]) -> Self {
        self.scope = Some(scope(models, projects));
        self
    }
}
