//! Requests as commands: parse once, then never check again.

use std::collections::BTreeMap;
use std::str::FromStr;

use bursar_id::{ChargeId, HoldId, IdError, LotId, OwnerId, RefundId, RequestId, UserId};
use bursar_money::{Credits, Quantity};
use bursar_proto::billing::v1 as pb;
use bursar_rpc::{Problem, Violations, convert};
use bursar_time::{Span, Timestamp};

use crate::domain::{Attribution, EntryKind, GrantCommand, Labels, LotSource, ModelName, Note, ProjectName};
use crate::error::Error;
use crate::usecase::access::Allowed;
use crate::usecase::accounts::LedgerFilter;
use crate::usecase::credits::{Cost, NewCharge, NewHold};
use crate::usecase::reports::{Group, Interval, ReportQuery};

/// How long a hold lasts whose caller does not say.
const DEFAULT_TTL: Span = Span::HOUR;

/// Priorities beyond this are a mistake.
const PRIORITIES: std::ops::RangeInclusive<i32> = -1_000..=1_000;

/// An account's owner.
pub(crate) fn owner(text: &str) -> Result<OwnerId, Problem> {
    id("owner", text)
}

/// An account's owner, where a service may leave it out.
pub(crate) fn owner_if_named(text: &str) -> Result<Option<OwnerId>, Problem> {
    if text.is_empty() { Ok(None) } else { owner(text).map(Some) }
}

/// The member a service names.
pub(crate) fn member(text: &str) -> Result<Option<UserId>, Problem> {
    if text.is_empty() { Ok(None) } else { id("member", text).map(Some) }
}

/// An id in one field.
pub(crate) fn id<T: FromStr<Err = IdError>>(field: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error: IdError| Problem::invalid_field(field, error.to_string()))
}

/// The charge to refund. What is another thing's id, such as a refund's, is no charge that exists.
pub(crate) fn refunded_charge(text: &str) -> Result<ChargeId, Error> {
    let other = text.parse::<RefundId>().is_ok() || text.parse::<HoldId>().is_ok() || text.parse::<LotId>().is_ok();
    if other { Err(Error::NotFound("charge")) } else { Ok(id("charge_id", text)?) }
}

/// A charge, with every bad field at once.
pub(crate) fn charge(allowed: &Allowed, request: pb::ChargeRequest) -> Result<NewCharge, Error> {
    let mut bad = Violations::new();
    let quantity = optional::<Quantity>(&mut bad, "quantity", &request.quantity);
    let cost = if request.amount.is_empty() && !request.quantity.is_empty() {
        bad.require("model", !request.model.is_empty(), "must be named when it is charged by quantity");
        Some(Cost::RateCard)
    } else {
        amount(&mut bad, &request.amount).map(Cost::Amount)
    };
    let attribution = attribution(&mut bad, allowed, &request.project, &request.model, quantity, request.labels);
    let occurred_at = time(&mut bad, "occurred_at", request.occurred_at);
    let request_id = optional::<RequestId>(&mut bad, "request_id", &request.request_id);
    match (cost, attribution) {
        (Some(cost), Some(attribution)) if bad.is_empty() => {
            Ok(NewCharge { cost, attribution, occurred_at, request_id })
        }
        _ => Err(bad.into_problem().into()),
    }
}

/// A hold, with every bad field at once.
pub(crate) fn hold(allowed: &Allowed, request: pb::HoldRequest) -> Result<NewHold, Error> {
    let mut bad = Violations::new();
    let amount = amount(&mut bad, &request.amount);
    let ttl = bad.check("ttl", convert::optional_span(request.ttl)).flatten().unwrap_or(DEFAULT_TTL);
    bad.require("ttl", (Span::SECOND..=crate::domain::MAX_HOLD).contains(&ttl), "must be one second to 24 hours");
    let attribution = attribution(&mut bad, allowed, &request.project, &request.model, None, request.labels);
    let request_id = optional::<RequestId>(&mut bad, "request_id", &request.request_id);
    match (amount, attribution) {
        (Some(amount), Some(attribution)) if bad.is_empty() => Ok(NewHold { amount, ttl, attribution, request_id }),
        _ => Err(bad.into_problem().into()),
    }
}

/// The amount and the request id of a capture.
pub(crate) fn capture(request: &pb::CaptureRequest) -> Result<(Credits, Option<RequestId>), Error> {
    let mut bad = Violations::new();
    let amount = amount(&mut bad, &request.amount);
    let request_id = optional::<RequestId>(&mut bad, "request_id", &request.request_id);
    match amount {
        Some(amount) if bad.is_empty() => Ok((amount, request_id)),
        _ => Err(bad.into_problem().into()),
    }
}

/// The amount, if not everything, and the request id of a refund.
pub(crate) fn refund(request: &pb::RefundRequest) -> Result<(Option<Credits>, Option<RequestId>), Error> {
    let mut bad = Violations::new();
    let amount = request.amount.as_deref().and_then(|text| amount(&mut bad, text));
    let request_id = optional::<RequestId>(&mut bad, "request_id", &request.request_id);
    bad.finish()?;
    Ok((amount, request_id))
}

/// A grant, with every bad field at once: what makes the command once it has an id.
pub(crate) fn grant(
    request: &pb::GrantCreditsRequest,
) -> Result<(impl FnOnce(LotId) -> GrantCommand + use<>, Option<RequestId>), Error> {
    let mut bad = Violations::new();
    let credits = amount(&mut bad, &request.amount);
    let source = source(request.source);
    bad.require("source", source.is_some(), "must be ALLOWANCE, PACK, PROMOTION, GOODWILL or ADJUSTMENT");
    bad.require("priority", PRIORITIES.contains(&request.priority), "must be -1000 to 1000");
    let effective_at = time(&mut bad, "effective_at", request.effective_at);
    let expires_at = time(&mut bad, "expires_at", request.expires_at);
    let never = !matches!(source, Some(LotSource::Pack)) || expires_at.is_none();
    bad.require("expires_at", never, "must be absent: packs never expire");
    let note = note(&mut bad, &request.note);
    let request_id = optional::<RequestId>(&mut bad, "request_id", &request.request_id);
    let priority = request.priority;
    match (credits, source) {
        (Some(amount), Some(source)) if bad.is_empty() => {
            let command = move |lot| GrantCommand { lot, amount, source, priority, effective_at, expires_at, note };
            Ok((command, request_id))
        }
        _ => Err(bad.into_problem().into()),
    }
}

/// The note and the request id of a void.
pub(crate) fn void(request: &pb::VoidLotRequest) -> Result<(Option<Note>, Option<RequestId>), Error> {
    let mut bad = Violations::new();
    let note = note(&mut bad, &request.note);
    let request_id = optional::<RequestId>(&mut bad, "request_id", &request.request_id);
    bad.finish()?;
    Ok((note, request_id))
}

/// A model and a quantity to estimate.
pub(crate) fn estimate(request: &pb::EstimateRequest) -> Result<(ModelName, Quantity), Error> {
    let mut bad = Violations::new();
    let model = bad.check("model", ModelName::parse(&request.model));
    let quantity = bad.check("quantity", request.quantity.parse::<Quantity>());
    match (model, quantity) {
        (Some(model), Some(quantity)) => Ok((model, quantity)),
        _ => Err(bad.into_problem().into()),
    }
}

/// Which ledger entries are wanted.
pub(crate) fn ledger_filter(request: &pb::ListLedgerEntriesRequest) -> Result<LedgerFilter, Error> {
    let mut bad = Violations::new();
    let kinds = request.kinds.iter().filter_map(|kind| {
        let known = entry_kind(*kind);
        bad.require("kinds", known.is_some(), "must name kinds of entries");
        known
    });
    let kinds = kinds.collect();
    let filter = LedgerFilter {
        from: time(&mut bad, "from", request.from),
        to: time(&mut bad, "to", request.to),
        member: optional::<UserId>(&mut bad, "member", &request.member),
        project: (!request.project.is_empty()).then(|| request.project.clone()),
        kinds,
        newest_first: request.newest_first,
    };
    bad.finish()?;
    Ok(filter)
}

/// What a usage report covers.
pub(crate) fn report(request: &pb::QueryUsageRequest) -> Result<ReportQuery, Error> {
    let mut bad = Violations::new();
    // Nothing was used before the first moment or will have been after the last.
    let from = time(&mut bad, "from", request.from).unwrap_or(Timestamp::MIN);
    let to = time(&mut bad, "to", request.to).unwrap_or(Timestamp::MAX);
    bad.require("to", from <= to, "must not be before from");
    let groups = request.group_by.iter().filter_map(|group| {
        let known = group_of(*group);
        bad.require("group_by", known.is_some(), "must be MEMBER, PROJECT or MODEL");
        known
    });
    let groups = groups.collect();
    let interval = interval_of(request.interval);
    bad.require("interval", interval.is_some(), "must be NONE, HOUR, DAY or MONTH");
    match interval {
        Some(interval) if bad.is_empty() => Ok(ReportQuery { from, to, groups, interval }),
        _ => Err(bad.into_problem().into()),
    }
}

fn group_of(number: i32) -> Option<Group> {
    match pb::GroupBy::try_from(number).ok()? {
        pb::GroupBy::Member => Some(Group::Member),
        pb::GroupBy::Project => Some(Group::Project),
        pb::GroupBy::Model => Some(Group::Model),
        pb::GroupBy::Unspecified => None,
    }
}

fn interval_of(number: i32) -> Option<Interval> {
    Some(match pb::Interval::try_from(number).ok()? {
        pb::Interval::Unspecified | pb::Interval::None => Interval::Whole,
        pb::Interval::Hour => Interval::Hour,
        pb::Interval::Day => Interval::Day,
        pb::Interval::Month => Interval::Month,
    })
}

fn amount(bad: &mut Violations, text: &str) -> Option<Credits> {
    let credits = bad.check("amount", text.parse::<Credits>())?;
    bad.require("amount", !credits.is_zero(), "must be above zero");
    Some(credits)
}

fn attribution(
    bad: &mut Violations,
    allowed: &Allowed,
    project: &str,
    model: &str,
    quantity: Option<Quantity>,
    labels: BTreeMap<String, String>,
) -> Option<Attribution> {
    bad.require("member", allowed.member.is_some(), "must name the member who spends");
    let named = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let project = bad.check("project", named(project).map(|it| ProjectName::parse(&it)).transpose());
    let model = bad.check("model", named(model).map(|it| ModelName::parse(&it)).transpose());
    let labels = bad.check("labels", Labels::parse(labels));
    Some(Attribution { member: allowed.member?, project: project?, model: model?, quantity, labels: labels? })
}

fn note(bad: &mut Violations, text: &str) -> Option<Note> {
    if text.is_empty() { None } else { bad.check("note", Note::parse(text)) }
}

fn time(bad: &mut Violations, field: &str, time: Option<prost_types::Timestamp>) -> Option<Timestamp> {
    bad.check(field, convert::optional_timestamp(time)).flatten()
}

fn optional<T: FromStr<Err: std::fmt::Display>>(bad: &mut Violations, field: &str, text: &str) -> Option<T> {
    if text.is_empty() { None } else { bad.check(field, text.parse()) }
}

fn source(number: i32) -> Option<LotSource> {
    match pb::LotSource::try_from(number).ok()? {
        pb::LotSource::Allowance => Some(LotSource::Allowance),
        pb::LotSource::Pack => Some(LotSource::Pack),
        pb::LotSource::Promotion => Some(LotSource::Promotion),
        pb::LotSource::Goodwill => Some(LotSource::Goodwill),
        pb::LotSource::Adjustment => Some(LotSource::Adjustment),
        pb::LotSource::Unspecified => None,
    }
}

fn entry_kind(number: i32) -> Option<EntryKind> {
    match pb::EntryKind::try_from(number).ok()? {
        pb::EntryKind::Grant => Some(EntryKind::Grant),
        pb::EntryKind::Charge => Some(EntryKind::Charge),
        pb::EntryKind::Hold => Some(EntryKind::Hold),
        pb::EntryKind::Capture => Some(EntryKind::Capture),
        pb::EntryKind::Release => Some(EntryKind::Release),
        pb::EntryKind::HoldLapsed => Some(EntryKind::HoldLapsed),
        pb::EntryKind::Refund => Some(EntryKind::Refund),
        pb::EntryKind::Expire => Some(EntryKind::Expire),
        pb::EntryKind::Void => Some(EntryKind::Void),
        pb::EntryKind::Unspecified => None,
    }
}
