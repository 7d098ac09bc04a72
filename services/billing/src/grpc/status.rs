//! Errors as statuses: the one place that decides what a caller is told.

use std::time::Duration;

use bursar_rpc::problem::FIELDS_TOLD;
use bursar_rpc::{Problem, Refusing, reason};
use tonic::{Code, Status};

use crate::domain::{ChangeError, ContractError, RateError, Refusal, Rules, Total};
use crate::error::Error;

/// How soon a caller that found no room should try again.
const RETRY_SOON: Duration = Duration::from_millis(50);

/// The payment provider did not say what became of what it was asked.
const PROVIDER: &str = "PAYMENT_PROVIDER_UNAVAILABLE";

/// The next period is not paid, whether that was tried in vain or is still under way.
const PAST_DUE: &str = "SUBSCRIPTION_PAST_DUE";

/// What it was asked can never be done.
const CANNOT_COMPLETE: &str = "PAYMENT_CANNOT_COMPLETE";

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        Problem::from(error).into()
    }
}

impl Refusing for Error {
    fn reason(&self) -> Option<&'static str> {
        match self {
            Self::Problem(problem) => problem.is_refusal().then_some(problem.reason()),
            Self::Refused(refusal) | Self::NoRoomToMove(refusal) => Some(refused(refusal.clone()).reason()),
            Self::NotEnough { .. } => Some("INSUFFICIENT_CREDITS"),
            Self::NotAMember => Some("NOT_A_MEMBER"),
            Self::WrongContext { .. } => Some("WRONG_CONTEXT"),
            Self::SecondFactorRequired => Some("SECOND_FACTOR_ENROLLMENT_REQUIRED"),
            Self::RoleNotAllowed => Some(reason::ROLE_NOT_ALLOWED),
            Self::KeyNotAllowed => Some(reason::KEY_NOT_ALLOWED),
            Self::NotFound(_) => Some(reason::NOT_FOUND),
            Self::TimeZoneUnsupported(_) => Some("TIME_ZONE_UNSUPPORTED"),
            Self::ReportTooLarge(_) => Some("REPORT_TOO_LARGE"),
            Self::EtagMismatch => Some("ETAG_MISMATCH"),
            Self::ModelNotFound(_) => Some("MODEL_NOT_FOUND"),
            Self::MeterNotFound { .. } => Some("METER_NOT_FOUND"),
            Self::CatalogVersionNotFound(_) => Some("CATALOG_VERSION_NOT_FOUND"),
            Self::CatalogInvalid(_) => Some("CATALOG_INVALID"),
            Self::PlanNotFound(_) => Some("PLAN_NOT_FOUND"),
            Self::PackNotFound(_) => Some("PACK_NOT_FOUND"),
            Self::PlanNotForSale(_) => Some("PLAN_NOT_FOR_SALE"),
            Self::AlreadySubscribed { .. } => Some("ALREADY_SUBSCRIBED"),
            Self::PlanRequired => Some("PLAN_REQUIRED"),
            Self::MoveCalledOff => Some("MOVE_CALLED_OFF"),
            Self::PaymentDeclined => Some("PAYMENT_DECLINED"),
            Self::PaymentMethodRequired => Some("PAYMENT_METHOD_REQUIRED"),
            Self::PaymentMethodExpired => Some("PAYMENT_METHOD_EXPIRED"),
            Self::TooManyPaymentMethods(_) => Some("TOO_MANY_PAYMENT_METHODS"),
            Self::TooManyOpenPayments(_) => Some("TOO_MANY_OPEN_PAYMENTS"),
            Self::PaymentNotPaid => Some("PAYMENT_NOT_PAID"),
            Self::RefundAbovePayment { .. } => Some("REFUND_ABOVE_PAYMENT"),
            Self::NothingToRenew => Some("NOTHING_TO_RENEW"),
            Self::NoSubscription => Some("NO_SUBSCRIPTION"),
            Self::NotCanceled => Some("NOT_CANCELED"),
            Self::SubscriptionCanceled => Some("SUBSCRIPTION_CANCELED"),
            Self::SubscriptionPastDue | Self::RenewalUnpaid => Some(PAST_DUE),
            Self::RenewalHeld => Some("RENEWAL_HELD"),
            Self::NoSuchChange(error) => Some(no_such_change(*error).reason()),
            Self::NoSuchContract(error) => Some(no_such_contract(error).reason()),
            Self::DueChanged { .. } => Some("DUE_CHANGED"),
            Self::ChangeOvertaken => Some("CHANGE_OVERTAKEN"),
            Self::TooManyLimits { .. } => Some("TOO_MANY_LIMITS"),
            Self::Hopeless(_) => Some(CANNOT_COMPLETE),
            Self::PoliciesUnknown
            | Self::Overloaded
            | Self::Unavailable
            | Self::Provider
            | Self::NewerFormat
            | Self::Failed
            | Self::Store(_) => None,
        }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let said = error.to_string();
        match error {
            Error::Problem(problem) => problem,
            Error::NotEnough { required } => {
                Self::failed_precondition("INSUFFICIENT_CREDITS", said).with_metadata("required", required.to_string())
            }
            Error::PoliciesUnknown => stale(said),
            Error::Refused(refusal) => refused(refusal),
            Error::NotAMember => Self::permission_denied("NOT_A_MEMBER", said),
            Error::WrongContext { context } => {
                Self::permission_denied("WRONG_CONTEXT", format!("{said}: switch the context first"))
                    .with_metadata("context", context.to_string())
            }
            Error::SecondFactorRequired => Self::failed_precondition("SECOND_FACTOR_ENROLLMENT_REQUIRED", said.clone())
                .with_precondition("SECOND_FACTOR_ENROLLMENT_REQUIRED", "token", &said),
            Error::RoleNotAllowed => Self::permission_denied(reason::ROLE_NOT_ALLOWED, said),
            Error::KeyNotAllowed => Self::permission_denied(reason::KEY_NOT_ALLOWED, said),
            Error::TimeZoneUnsupported(_) => {
                Self::invalid_field("time_zone", said).with_reason("TIME_ZONE_UNSUPPORTED")
            }
            Error::ReportTooLarge(limit) => too_large(said, limit),
            Error::NotFound(kind) => Self::not_found(kind),
            Error::EtagMismatch => Self::aborted("ETAG_MISMATCH", said),
            Error::ModelNotFound(model) => {
                Self::new(Code::NotFound, "MODEL_NOT_FOUND", said).with_metadata("model", model)
            }
            Error::MeterNotFound { model, meter } => Self::new(Code::NotFound, "METER_NOT_FOUND", said)
                .with_metadata("model", model)
                .with_metadata("meter", meter),
            Error::CatalogVersionNotFound(_) => Self::new(Code::NotFound, "CATALOG_VERSION_NOT_FOUND", said),
            Error::CatalogInvalid(flaws) => catalog_invalid(&said, &flaws),
            Error::PlanNotFound(_) => Self::new(Code::NotFound, "PLAN_NOT_FOUND", said),
            Error::PackNotFound(_) => Self::new(Code::NotFound, "PACK_NOT_FOUND", said),
            Error::PlanNotForSale(_) => Self::failed_precondition("PLAN_NOT_FOR_SALE", said),
            Error::AlreadySubscribed { plan } => {
                Self::failed_precondition("ALREADY_SUBSCRIBED", said).with_metadata("plan", plan)
            }
            why @ (Error::PlanRequired | Error::NoRoomToMove(_) | Error::MoveCalledOff) => not_moved(why, said),
            Error::PaymentDeclined => Self::failed_precondition("PAYMENT_DECLINED", said),
            Error::PaymentMethodRequired => Self::failed_precondition("PAYMENT_METHOD_REQUIRED", said),
            Error::PaymentMethodExpired => Self::failed_precondition("PAYMENT_METHOD_EXPIRED", said),
            Error::TooManyOpenPayments(limit) => too_many("TOO_MANY_OPEN_PAYMENTS", said, limit),
            Error::TooManyPaymentMethods(limit) => too_many("TOO_MANY_PAYMENT_METHODS", said, limit),
            Error::PaymentNotPaid => Self::failed_precondition("PAYMENT_NOT_PAID", said),
            Error::RefundAbovePayment { left } => {
                Self::failed_precondition("REFUND_ABOVE_PAYMENT", said).with_metadata("left", left.to_string())
            }
            Error::NothingToRenew => Self::failed_precondition("NOTHING_TO_RENEW", said),
            Error::NoSubscription => Self::failed_precondition("NO_SUBSCRIPTION", said),
            Error::NotCanceled => Self::failed_precondition("NOT_CANCELED", said),
            Error::SubscriptionCanceled => Self::failed_precondition("SUBSCRIPTION_CANCELED", said),
            Error::SubscriptionPastDue | Error::RenewalUnpaid => Self::failed_precondition(PAST_DUE, said),
            Error::RenewalHeld => Self::failed_precondition("RENEWAL_HELD", said),
            Error::NoSuchChange(error) => no_such_change(error),
            Error::NoSuchContract(error) => no_such_contract(&error),
            Error::DueChanged { due } => Self::aborted("DUE_CHANGED", said).with_metadata("due", due.to_string()),
            Error::ChangeOvertaken => Self::aborted("CHANGE_OVERTAKEN", said),
            Error::TooManyLimits { limit } => too_many("TOO_MANY_LIMITS", said, limit),
            Error::Overloaded => Self::exhausted(reason::OVERLOADED, said).with_retry_after(RETRY_SOON),
            Error::Unavailable => away(reason::STORE_UNAVAILABLE, said, Duration::from_secs(1)),
            // Whatever it was asked, the same request finds out what became of it.
            Error::Provider => away(PROVIDER, said, Duration::from_secs(2)),
            // Nobody is told to ask again for what can never be done.
            Error::Hopeless(_) => Self::failed_precondition(CANNOT_COMPLETE, said),
            Error::NewerFormat => Self::unavailable("NEWER_FORMAT", said),
            Error::Failed => Self::internal(&said),
            Error::Store(error) => error.into(),
        }
    }
}

/// Why no subscription moves, for good. What is said elsewhere too, and may pass there, says that it does not here.
fn not_moved(why: Error, said: String) -> Problem {
    match why {
        Error::NoRoomToMove(refusal) => refused(refusal).with_metadata("final", "true"),
        Error::MoveCalledOff => Problem::failed_precondition("MOVE_CALLED_OFF", said),
        _ => Problem::failed_precondition("PLAN_REQUIRED", said),
    }
}

fn away(reason: &'static str, said: String, again: Duration) -> Problem {
    Problem::unavailable(reason, said).with_retry_after(again)
}

/// As many as there may be are there.
fn too_many(reason: &'static str, said: String, limit: u32) -> Problem {
    Problem::exhausted(reason, said).with_metadata("limit", limit.to_string())
}

/// What no page may read is not read by asking again: it is asked for otherwise.
fn too_large(said: String, limit: usize) -> Problem {
    Problem::failed_precondition("REPORT_TOO_LARGE", said).with_metadata("limit", limit.to_string())
}

/// What organization has not told (of late): it will be known again when organization is heard.
fn stale(said: String) -> Problem {
    Problem::unavailable("FEED_STALE", said).with_retry_after(Duration::from_secs(1))
}

/// Why a subscription is not to be changed so.
fn no_such_change(error: ChangeError) -> Problem {
    let said = error.to_string();
    match error {
        ChangeError::BelowPlan { .. } | ChangeError::TooMany => Problem::invalid_field("seats", said),
        ChangeError::NoSeats => Problem::failed_precondition("SEATS_NOT_FOR_SALE", said),
        ChangeError::Currency => Problem::failed_precondition("CURRENCY_MISMATCH", said),
    }
}

/// Why there is no such contract.
fn no_such_contract(error: &ContractError) -> Problem {
    let said = error.to_string();
    match error {
        ContractError::NoPlan(_) => Problem::new(Code::NotFound, "PLAN_NOT_FOUND", said),
        ContractError::NotByContract(_) => Problem::failed_precondition("PLAN_NOT_BY_CONTRACT", said),
        ContractError::Currency(_) => Problem::failed_precondition("CURRENCY_MISMATCH", said),
    }
}

/// What is wrong with the catalog's file, or that of the taxes: of many flaws the first ones and their number.
fn catalog_invalid(said: &str, flaws: &[(&'static str, String)]) -> Problem {
    let told = || flaws.iter().take(FIELDS_TOLD).map(|(setting, flaw)| (*setting, flaw.trim_end()));
    let sentences: Vec<&str> = told().map(|(_, flaw)| flaw).collect();
    let first = if flaws.len() > sentences.len() { ", the first flaws are" } else { "" };
    let problem = Problem::failed_precondition("CATALOG_INVALID", format!("{said}{first}: {}", sentences.join("; ")));
    let problem = problem.with_metadata("flaws", flaws.len().to_string());
    told().fold(problem, |problem, (setting, flaw)| problem.with_precondition("CATALOG_INVALID", setting, flaw))
}

/// What the credit rules' refusals are called on the wire.
fn refused(refusal: Refusal) -> Problem {
    let said = refusal.to_string();
    let denied = |reason| Problem::permission_denied(reason, said.clone());
    let state = |reason| Problem::failed_precondition(reason, said.clone());
    let full = |reason| Problem::exhausted(reason, said.clone());
    match refusal {
        Refusal::NotAMember => Error::NotAMember.into(),
        Refusal::OrganizationSuspended => denied("ORGANIZATION_SUSPENDED"),
        Refusal::OrganizationDeleted => denied("ORGANIZATION_DELETED"),
        Refusal::OrganizationPending => state("ORGANIZATION_PENDING"),
        Refusal::UserSuspended => denied(reason::USER_SUSPENDED),
        Refusal::RequestIdReused => Problem::request_id_reused(),
        Refusal::FeedStale => stale(said),
        Refusal::RenewalDue => Problem::unavailable("RENEWAL_DUE", said).with_retry_after(RETRY_SOON),
        Refusal::OrganizationRequired => state("ORGANIZATION_REQUIRED"),
        Refusal::SpendingByServicesOnly => denied("SPENDING_BY_SERVICES_ONLY"),
        Refusal::RefundByServicesOnly => denied(reason::CALLER_NOT_ALLOWED),
        Refusal::HoldNotFound => Problem::not_found("hold"),
        Refusal::ChargeNotFound => Problem::not_found("charge"),
        Refusal::LotNotFound => Problem::not_found("lot"),
        Refusal::HoldNotYours => denied("HOLD_NOT_YOURS"),
        Refusal::HoldSettled => state("HOLD_SETTLED"),
        Refusal::HoldExpired { deadline } => state("HOLD_EXPIRED").with_metadata("deadline", deadline.to_rfc3339()),
        Refusal::LotEmpty => state("LOT_EMPTY"),
        Refusal::NoModel => Problem::invalid_field("usage", said),
        Refusal::Rate(error) => unpriced(error),
        Refusal::ZeroAmount => Problem::invalid_field("amount", said),
        Refusal::HoldTimeOutOfRange { .. } => Problem::invalid_field("ttl", said),
        Refusal::EmptyValidity => Problem::invalid_field("expires_at", said),
        Refusal::CaptureAboveHold { held, requested } => state("CAPTURE_ABOVE_HOLD")
            .with_metadata("held", held.to_string())
            .with_metadata("required", requested.to_string()),
        Refusal::RefundAboveCharge { left, requested } => state("REFUND_ABOVE_CHARGE")
            .with_metadata("left", left.to_string())
            .with_metadata("required", requested.to_string()),
        Refusal::BalanceTooLarge => state("BALANCE_TOO_LARGE"),
        Refusal::TotalsFull => state("TOTALS_FULL"),
        Refusal::TooManyHolds { limit } => full("TOO_MANY_HOLDS").with_metadata("limit", limit.to_string()),
        Refusal::TooManyLots => full("TOO_MANY_LOTS").with_metadata("limit", Rules::MAX_LIVE_LOTS.to_string()),
        Refusal::LimitReached(reached) => state("LIMIT_REACHED")
            .with_metadata("limit_id", reached.limit.to_string())
            .with_metadata("subject", reached.subject.to_string())
            .with_metadata("used", Total(reached.used).to_string())
            .with_metadata("amount", reached.amount.to_string())
            .with_metadata("resets_at", reached.resets_at.to_rfc3339()),
        Refusal::InsufficientCredits { available, required } => state("INSUFFICIENT_CREDITS")
            .with_metadata("available", available.to_string())
            .with_metadata("required", required.to_string()),
        Refusal::Inconsistent(flaw) => Problem::internal(&flaw),
    }
}

/// Why the rate card gives no price.
fn unpriced(error: RateError) -> Problem {
    match error {
        RateError::UnknownModel(model) => Error::ModelNotFound(model.to_string()).into(),
        RateError::UnknownMeter { model, meter } => {
            Error::MeterNotFound { model: model.to_string(), meter: meter.to_string() }.into()
        }
        RateError::NoUsage
        | RateError::TooManyMeters
        | RateError::RepeatedMeter(_)
        | RateError::MeterMissing
        | RateError::TooExpensive => Problem::invalid_field("usage", error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use bursar_money::Credits;
    use bursar_rpc::problem::reason_of;
    use bursar_time::{Span, Timestamp, Zone};

    use Code::{AlreadyExists, FailedPrecondition, Internal, InvalidArgument, NotFound, PermissionDenied};

    use super::*;
    use crate::domain::{Inconsistent, LimitSubject, MeterName, ModelName, Reached};

    #[test]
    fn every_error_has_its_code_and_reason() {
        let context = "org_00000000000000000000000001".parse().unwrap();
        let cases = [
            (Error::Problem(Problem::invalid_field("x", "y")), InvalidArgument, "INVALID_FIELDS"),
            (Error::NotAMember, PermissionDenied, "NOT_A_MEMBER"),
            (Error::WrongContext { context }, PermissionDenied, "WRONG_CONTEXT"),
            (Error::SecondFactorRequired, FailedPrecondition, "SECOND_FACTOR_ENROLLMENT_REQUIRED"),
            (Error::RoleNotAllowed, PermissionDenied, "ROLE_NOT_ALLOWED"),
            (Error::KeyNotAllowed, PermissionDenied, "KEY_NOT_ALLOWED"),
            (Error::TimeZoneUnsupported(Zone::default()), InvalidArgument, "TIME_ZONE_UNSUPPORTED"),
            (Error::ReportTooLarge(1), FailedPrecondition, "REPORT_TOO_LARGE"),
            (Error::NotFound("hold"), NotFound, "NOT_FOUND"),
            (Error::EtagMismatch, Code::Aborted, "ETAG_MISMATCH"),
            (Error::ModelNotFound("m".into()), NotFound, "MODEL_NOT_FOUND"),
            (Error::MeterNotFound { model: "m".into(), meter: "s".into() }, NotFound, "METER_NOT_FOUND"),
            (Error::CatalogVersionNotFound(7), NotFound, "CATALOG_VERSION_NOT_FOUND"),
            (Error::CatalogInvalid(vec![("catalog_file", "x".into())]), FailedPrecondition, "CATALOG_INVALID"),
            (Error::NewerFormat, Code::Unavailable, "NEWER_FORMAT"),
            (Error::PlanNotFound("p".into()), NotFound, "PLAN_NOT_FOUND"),
            (Error::PackNotFound("p".into()), NotFound, "PACK_NOT_FOUND"),
            (Error::PlanNotForSale("p".into()), FailedPrecondition, "PLAN_NOT_FOR_SALE"),
            (Error::AlreadySubscribed { plan: "p".into() }, FailedPrecondition, "ALREADY_SUBSCRIBED"),
            (Error::PlanRequired, FailedPrecondition, "PLAN_REQUIRED"),
            (Error::NoRoomToMove(Refusal::TooManyLots), Code::ResourceExhausted, "TOO_MANY_LOTS"),
            (Error::MoveCalledOff, FailedPrecondition, "MOVE_CALLED_OFF"),
            (Error::PaymentDeclined, FailedPrecondition, "PAYMENT_DECLINED"),
            (Error::PaymentMethodRequired, FailedPrecondition, "PAYMENT_METHOD_REQUIRED"),
            (Error::PaymentMethodExpired, FailedPrecondition, "PAYMENT_METHOD_EXPIRED"),
            (Error::TooManyPaymentMethods(20), Code::ResourceExhausted, "TOO_MANY_PAYMENT_METHODS"),
            (Error::TooManyOpenPayments(20), Code::ResourceExhausted, "TOO_MANY_OPEN_PAYMENTS"),
            (Error::PaymentNotPaid, FailedPrecondition, "PAYMENT_NOT_PAID"),
            (
                Error::RefundAbovePayment { left: bursar_money::Price::zero(bursar_money::Currency::USD) },
                FailedPrecondition,
                "REFUND_ABOVE_PAYMENT",
            ),
            (Error::NothingToRenew, FailedPrecondition, "NOTHING_TO_RENEW"),
            (Error::NoSubscription, FailedPrecondition, "NO_SUBSCRIPTION"),
            (Error::NotCanceled, FailedPrecondition, "NOT_CANCELED"),
            (Error::SubscriptionCanceled, FailedPrecondition, "SUBSCRIPTION_CANCELED"),
            (Error::SubscriptionPastDue, FailedPrecondition, "SUBSCRIPTION_PAST_DUE"),
            (Error::RenewalUnpaid, FailedPrecondition, "SUBSCRIPTION_PAST_DUE"),
            (Error::RenewalHeld, FailedPrecondition, "RENEWAL_HELD"),
            (ChangeError::BelowPlan { included: 1 }.into(), InvalidArgument, "INVALID_FIELDS"),
            (ChangeError::TooMany.into(), InvalidArgument, "INVALID_FIELDS"),
            (ChangeError::NoSeats.into(), FailedPrecondition, "SEATS_NOT_FOR_SALE"),
            (ChangeError::Currency.into(), FailedPrecondition, "CURRENCY_MISMATCH"),
            (ContractError::NoPlan("p".into()).into(), NotFound, "PLAN_NOT_FOUND"),
            (ContractError::NotByContract("p".into()).into(), FailedPrecondition, "PLAN_NOT_BY_CONTRACT"),
            (ContractError::Currency(bursar_money::Currency::EUR).into(), FailedPrecondition, "CURRENCY_MISMATCH"),
            (
                Error::DueChanged { due: bursar_money::Price::zero(bursar_money::Currency::USD) },
                Code::Aborted,
                "DUE_CHANGED",
            ),
            (Error::ChangeOvertaken, Code::Aborted, "CHANGE_OVERTAKEN"),
            (Error::Problem(Problem::request_id_reused()), AlreadyExists, "REQUEST_ID_REUSED"),
            (Error::TooManyLimits { limit: 1 }, Code::ResourceExhausted, "TOO_MANY_LIMITS"),
            (Error::Overloaded, Code::ResourceExhausted, "OVERLOADED"),
            (Error::Unavailable, Code::Unavailable, "STORE_UNAVAILABLE"),
            (Error::Store(bursar_db::DbError::TimedOut), Code::Unavailable, "STATEMENT_TIMED_OUT"),
            (Error::PoliciesUnknown, Code::Unavailable, "FEED_STALE"),
            (Error::NotEnough { required: Credits::ONE }, FailedPrecondition, "INSUFFICIENT_CREDITS"),
            (Error::Failed, Internal, "INTERNAL"),
        ];
        check(cases);
    }

    #[test]
    fn every_refusal_has_its_code_and_reason() {
        let credits = Credits::ONE;
        let rule = Error::Refused;
        let rate = |error| Error::Refused(Refusal::Rate(error));
        let model = || ModelName::parse("m").unwrap();
        let meter = || MeterName::parse("s").unwrap();
        let (limit, subject) = (bursar_testkit::id(1), LimitSubject::EveryMember);
        let reached = Reached { limit, subject, used: 1, amount: credits, resets_at: Timestamp::EPOCH };
        let cases = [
            (rule(Refusal::NotAMember), PermissionDenied, "NOT_A_MEMBER"),
            (rule(Refusal::OrganizationSuspended), PermissionDenied, "ORGANIZATION_SUSPENDED"),
            (rule(Refusal::OrganizationDeleted), PermissionDenied, "ORGANIZATION_DELETED"),
            (rule(Refusal::OrganizationPending), FailedPrecondition, "ORGANIZATION_PENDING"),
            (rule(Refusal::UserSuspended), PermissionDenied, "USER_SUSPENDED"),
            (rule(Refusal::FeedStale), Code::Unavailable, "FEED_STALE"),
            (rule(Refusal::RenewalDue), Code::Unavailable, "RENEWAL_DUE"),
            (rule(Refusal::OrganizationRequired), FailedPrecondition, "ORGANIZATION_REQUIRED"),
            (rule(Refusal::SpendingByServicesOnly), PermissionDenied, "SPENDING_BY_SERVICES_ONLY"),
            (rule(Refusal::RefundByServicesOnly), PermissionDenied, "CALLER_NOT_ALLOWED"),
            (rule(Refusal::HoldNotYours), PermissionDenied, "HOLD_NOT_YOURS"),
            (rule(Refusal::TotalsFull), FailedPrecondition, "TOTALS_FULL"),
            (rule(Refusal::TooManyHolds { limit: 1 }), Code::ResourceExhausted, "TOO_MANY_HOLDS"),
            (rule(Refusal::TooManyLots), Code::ResourceExhausted, "TOO_MANY_LOTS"),
            (rule(Refusal::RequestIdReused), AlreadyExists, "REQUEST_ID_REUSED"),
            (rule(Refusal::HoldNotFound), NotFound, "NOT_FOUND"),
            (rule(Refusal::ChargeNotFound), NotFound, "NOT_FOUND"),
            (rule(Refusal::LotNotFound), NotFound, "NOT_FOUND"),
            (rule(Refusal::HoldSettled), FailedPrecondition, "HOLD_SETTLED"),
            (rule(Refusal::HoldExpired { deadline: Timestamp::EPOCH }), FailedPrecondition, "HOLD_EXPIRED"),
            (rule(Refusal::LotEmpty), FailedPrecondition, "LOT_EMPTY"),
            (rule(Refusal::NoModel), InvalidArgument, "INVALID_FIELDS"),
            (rate(RateError::UnknownModel(model())), NotFound, "MODEL_NOT_FOUND"),
            (rate(RateError::UnknownMeter { model: model(), meter: meter() }), NotFound, "METER_NOT_FOUND"),
            (rate(RateError::NoUsage), InvalidArgument, "INVALID_FIELDS"),
            (rate(RateError::TooManyMeters), InvalidArgument, "INVALID_FIELDS"),
            (rate(RateError::RepeatedMeter(meter())), InvalidArgument, "INVALID_FIELDS"),
            (rate(RateError::MeterMissing), InvalidArgument, "INVALID_FIELDS"),
            (rate(RateError::TooExpensive), InvalidArgument, "INVALID_FIELDS"),
            (rule(Refusal::ZeroAmount), InvalidArgument, "INVALID_FIELDS"),
            (rule(Refusal::HoldTimeOutOfRange { longest: Span::DAY }), InvalidArgument, "INVALID_FIELDS"),
            (rule(Refusal::EmptyValidity), InvalidArgument, "INVALID_FIELDS"),
            (
                rule(Refusal::CaptureAboveHold { held: credits, requested: credits }),
                FailedPrecondition,
                "CAPTURE_ABOVE_HOLD",
            ),
            (
                rule(Refusal::RefundAboveCharge { left: credits, requested: credits }),
                FailedPrecondition,
                "REFUND_ABOVE_CHARGE",
            ),
            (rule(Refusal::BalanceTooLarge), FailedPrecondition, "BALANCE_TOO_LARGE"),
            (rule(Refusal::LimitReached(Box::new(reached))), FailedPrecondition, "LIMIT_REACHED"),
            (
                rule(Refusal::InsufficientCredits { available: credits, required: credits }),
                FailedPrecondition,
                "INSUFFICIENT_CREDITS",
            ),
            (rule(Refusal::Inconsistent(Inconsistent("x"))), Internal, "INTERNAL"),
        ];
        check(cases);
    }

    #[test]
    fn nobody_is_told_to_ask_again_for_what_can_never_be_done() {
        let never = || Error::Hopeless("another amount was paid");
        for (error, code, reason, again) in [
            (Error::Provider, Code::Unavailable, "PAYMENT_PROVIDER_UNAVAILABLE", true),
            (never(), FailedPrecondition, "PAYMENT_CANNOT_COMPLETE", false),
        ] {
            let told = bursar_testkit::Refusal::of(&Status::from(error));
            assert_eq!((told.code, &*told.reason, told.retryable), (code, reason, again), "{}", told.message);
        }
        assert_eq!((never().reason(), Error::Provider.reason()), (Some("PAYMENT_CANNOT_COMPLETE"), None));
    }

    fn check(cases: impl IntoIterator<Item = (Error, Code, &'static str)>) {
        for (error, code, reason) in cases {
            let case = format!("{error:?}");
            let status = Status::from(error);
            assert_eq!((status.code(), reason_of(&status).as_deref()), (code, Some(reason)), "{case}");
        }
    }
}
