//! Requests as commands: parse once, then never check again.

use std::str::FromStr;

use bursar_id::{ChargeId, HoldId, IdError, LotId, OwnerId, RefundId, RequestId, UserId};
use bursar_money::{Credits, Quantity};
use bursar_proto::billing::v1 as pb;
use bursar_rpc::{Call, Caller, Problem, Violations, convert};
use bursar_time::{Span, Timestamp, Zone};

use crate::domain::{
    Attribution, CaptureCommand, ChargeCommand, Cost, EntryKind, GrantCommand, HoldCommand, Labels, LotSource,
    MAX_METERS, MeterName, MeterUse, ModelName, Note, Origin, ProjectName, RefundCommand, Rules, Scope, VoidCommand,
};
use crate::error::Error;
use crate::usecase::access::Allowed;
use crate::usecase::accounts::LedgerFilter;
use crate::usecase::credits::Asked;
use crate::usecase::reports::{Group, Interval, ReportFilter, ReportQuery};

/// How long a hold lasts whose caller does not say.
const DEFAULT_TTL: Span = Span::HOUR;

/// Priorities beyond this are a mistake.
const PRIORITIES: std::ops::RangeInclusive<i32> = -1_000..=1_000;

/// An account's owner: required from a service; a user may leave it empty, then it is the token's context.
pub(crate) fn owner_for(caller: &Caller, text: &str) -> Result<OwnerId, Problem> {
    match caller {
        Caller::User(user) if text.is_empty() => Ok(user.context),
        _ => owner(text),
    }
}

/// The owner of a mutation, as [`owner_for`] says. It is written into a request that leaves it out: the same request in
/// another context is another one, and names the owner in what is kept of it.
pub(crate) fn owner_of(call: &Call, text: &mut String) -> Result<OwnerId, Problem> {
    let owner = owner_for(call.caller(), text)?;
    if text.is_empty() {
        *text = owner.to_string();
    }
    Ok(owner)
}

/// An account's owner.
pub(crate) fn owner(text: &str) -> Result<OwnerId, Problem> {
    id("owner", text)
}

/// The member that somebody asks about, if one is named.
pub(crate) fn member(text: &str) -> Result<Option<UserId>, Problem> {
    if text.is_empty() { Ok(None) } else { id("member", text).map(Some) }
}

/// An id in one field.
pub(crate) fn id<T: FromStr<Err = IdError>>(field: &str, text: &str) -> Result<T, Problem> {
    text.parse().map_err(|error: IdError| Problem::invalid_field(field, error.to_string()))
}

/// A charge, with every bad field at once.
pub(crate) fn charge(allowed: &Allowed, request: pb::ChargeRequest) -> Result<Asked<ChargeCommand>, Error> {
    let mut bad = Violations::new();
    let metered = !request.usage.is_empty();
    bad.require("model", !metered || !request.model.is_empty(), "must be named where it is charged by usage");
    let cost = cost(&mut bad, &request.amount, &request.usage);
    if matches!(cost, Some(None)) {
        bad.add("amount", "must be given, or usage");
    }
    let attribution = attribution(&mut bad, allowed, &request.member, &request.project, &request.model);
    let labels = bad.check("labels", Labels::given(request.labels));
    let occurred_at = time(&mut bad, "occurred_at", request.occurred_at);
    let request_id = request_id(&mut bad, &request.request_id);
    match (cost, attribution, labels) {
        (Some(Some(cost)), Some(attribution), Some(labels)) if bad.is_empty() => {
            Ok(Asked { command: ChargeCommand { cost, attribution, labels, occurred_at }, request_id })
        }
        _ => Err(bad.into_problem().into()),
    }
}

/// A hold, with every bad field at once.
/// Without a time it lasts as long as is usual, as far as the deployment allows.
pub(crate) fn hold(allowed: &Allowed, request: pb::HoldRequest, longest: Span) -> Result<Asked<HoldCommand>, Error> {
    let mut bad = Violations::new();
    let amount = amount(&mut bad, &request.amount);
    let ttl = bad.check("ttl", convert::optional_span(request.ttl)).flatten().unwrap_or(DEFAULT_TTL.min(longest));
    bad.require("ttl", (Span::SECOND..=Rules::MAX_HOLD).contains(&ttl), "must be one second to 24 hours");
    let attribution = attribution(&mut bad, allowed, &request.member, &request.project, &request.model);
    let labels = bad.check("labels", Labels::given(request.labels));
    let request_id = request_id(&mut bad, &request.request_id);
    match (amount, attribution, labels) {
        (Some(amount), Some(attribution), Some(labels)) if bad.is_empty() => {
            Ok(Asked { command: HoldCommand { amount, ttl, attribution, labels }, request_id })
        }
        _ => Err(bad.into_problem().into()),
    }
}

/// A capture, with every bad field at once.
pub(crate) fn capture(request: &pb::CaptureRequest) -> Result<Asked<CaptureCommand>, Error> {
    let mut bad = Violations::new();
    let hold = bad.check("hold_id", request.hold_id.parse::<HoldId>());
    let cost = cost(&mut bad, &request.amount, &request.usage);
    let request_id = request_id(&mut bad, &request.request_id);
    let allow_excess = request.allow_excess;
    match (hold, cost) {
        (Some(hold), Some(cost)) if bad.is_empty() => {
            Ok(Asked { command: CaptureCommand { hold, cost, allow_excess }, request_id })
        }
        _ => Err(bad.into_problem().into()),
    }
}

/// A release.
pub(crate) fn release(request: &pb::ReleaseRequest) -> Result<Asked<HoldId>, Error> {
    let mut bad = Violations::new();
    let hold = bad.check("hold_id", request.hold_id.parse::<HoldId>());
    let request_id = request_id(&mut bad, &request.request_id);
    match hold {
        Some(command) if bad.is_empty() => Ok(Asked { command, request_id }),
        _ => Err(bad.into_problem().into()),
    }
}

/// A refund. What is another thing's id, such as a refund's, is no charge that exists.
pub(crate) fn refund(request: &pb::RefundRequest) -> Result<Asked<RefundCommand>, Error> {
    let mut bad = Violations::new();
    let text = &request.charge_id;
    let other = text.parse::<RefundId>().is_ok() || text.parse::<HoldId>().is_ok() || text.parse::<LotId>().is_ok();
    let charge = if other { None } else { bad.check("charge_id", text.parse::<ChargeId>()) };
    let amount = request.amount.as_deref().and_then(|text| amount(&mut bad, text));
    let request_id = request_id(&mut bad, &request.request_id);
    bad.finish()?;
    let charge = charge.ok_or(Error::NotFound("charge"))?;
    Ok(Asked { command: RefundCommand { charge, amount }, request_id })
}

/// A grant, with every bad field at once.
pub(crate) fn grant(request: &pb::GrantCreditsRequest) -> Result<Asked<GrantCommand>, Error> {
    let mut bad = Violations::new();
    let credits = amount(&mut bad, &request.amount);
    let source = source(request.source);
    bad.require("source", source.is_some(), "must be ALLOWANCE, PACK, PROMOTION, GOODWILL or ADJUSTMENT");
    let priority = request.priority;
    bad.require("priority", PRIORITIES.contains(&priority), "must be -1000 to 1000");
    let scope = scope(&mut bad, request.scope.as_ref());
    let effective_at = time(&mut bad, "effective_at", request.effective_at);
    let expires_at = time(&mut bad, "expires_at", request.expires_at);
    let never = !matches!(source, Some(LotSource::Pack)) || expires_at.is_none();
    bad.require("expires_at", never, "must be absent: packs never expire");
    let note = note(&mut bad, &request.note);
    let request_id = request_id(&mut bad, &request.request_id);
    match (credits, source, scope) {
        (Some(amount), Some(source), Some(scope)) if bad.is_empty() => {
            let origin = Origin::default();
            let command =
                GrantCommand { amount, source, priority, scope, effective_at, expires_at, origin, note, begins: None };
            Ok(Asked { command, request_id })
        }
        _ => Err(bad.into_problem().into()),
    }
}

/// What a lot may pay for; absent: everything.
fn scope(bad: &mut Violations, scope: Option<&pb::Scope>) -> Option<Scope> {
    let Some(scope) = scope else {
        return Some(Scope::default());
    };
    if scope.models.len() > Scope::MAX || scope.projects.len() > Scope::MAX {
        bad.add("scope", "must name at most 32 models and 32 projects");
        return None;
    }
    let models: Result<Vec<_>, _> = scope.models.iter().map(|it| ModelName::given(it)).collect();
    let projects: Result<Vec<_>, _> = scope.projects.iter().map(|it| ProjectName::given(it)).collect();
    let (models, projects) = (bad.check("scope.models", models), bad.check("scope.projects", projects));
    bad.check("scope", Scope::new(models?, projects?))
}

/// A void.
pub(crate) fn void(request: &pb::VoidLotRequest) -> Result<Asked<VoidCommand>, Error> {
    let mut bad = Violations::new();
    let lot = bad.check("lot_id", request.lot_id.parse::<LotId>());
    let note = note(&mut bad, &request.note);
    let request_id = request_id(&mut bad, &request.request_id);
    match lot {
        Some(lot) if bad.is_empty() => Ok(Asked { command: VoidCommand { lot, note }, request_id }),
        _ => Err(bad.into_problem().into()),
    }
}

/// Whose details are to be erased.
pub(crate) fn erasure(request: &pb::EraseDetailsRequest) -> Result<Asked<Option<UserId>>, Error> {
    let mut bad = Violations::new();
    let command = optional::<UserId>(&mut bad, "member", &request.member);
    let request_id = request_id(&mut bad, &request.request_id);
    bad.finish()?;
    Ok(Asked { command, request_id })
}

/// A model and its usage to estimate.
pub(crate) fn estimate(request: &pb::EstimateRequest) -> Result<(ModelName, Vec<MeterUse>), Error> {
    let mut bad = Violations::new();
    let model = bad.check("model", ModelName::given(&request.model));
    let usage = usage(&mut bad, &request.usage);
    match (model, usage) {
        (Some(model), Some(usage)) => Ok((model, usage)),
        _ => Err(bad.into_problem().into()),
    }
}

/// A model and a project that something is wanted for; either may be empty.
pub(crate) fn work(model: &str, project: &str) -> Result<(Option<ModelName>, Option<ProjectName>), Error> {
    let mut bad = Violations::new();
    let model = bad.check_optional("model", model, ModelName::given);
    let project = bad.check_optional("project", project, ProjectName::given);
    match (model, project) {
        (Some(model), Some(project)) => Ok((model, project)),
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
        project: bad.check_optional("project", &request.project, ProjectName::given).flatten(),
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
        bad.require("group_by", known.is_some(), "must be MEMBER, PROJECT, MODEL or METER");
        known
    });
    let groups: Vec<Group> = groups.collect();
    let filter = ReportFilter {
        member: optional::<UserId>(&mut bad, "member", &request.member),
        project: bad.check_optional("project", &request.project, ProjectName::given).flatten(),
        model: bad.check_optional("model", &request.model, ModelName::given).flatten(),
    };
    if groups.contains(&Group::Meter) {
        let of_a_model = groups.contains(&Group::Model) || !request.model.is_empty();
        bad.require("group_by", of_a_model, "must name MODEL beside METER, unless a model is given");
        let alone = !groups.contains(&Group::Member) && !groups.contains(&Group::Project);
        bad.require("group_by", alone, "must not name MEMBER or PROJECT beside METER");
        bad.require("member", request.member.is_empty(), "must be empty: meters are not told apart by member");
        bad.require("project", request.project.is_empty(), "must be empty: meters are not told apart by project");
    }
    let interval = interval_of(request.interval);
    bad.require("interval", interval.is_some(), "must be NONE, HOUR, DAY or MONTH");
    let zone = optional::<Zone>(&mut bad, "time_zone", &request.time_zone).unwrap_or_default();
    match interval {
        Some(interval) if bad.is_empty() => Ok(ReportQuery { from, to, groups, interval, zone, filter }),
        _ => Err(bad.into_problem().into()),
    }
}

/// The same of a report that is exported.
pub(crate) fn exported(request: pb::ExportUsageRequest) -> Result<ReportQuery, Error> {
    let pb::ExportUsageRequest { owner, from, to, group_by, member, project, model, interval, time_zone } = request;
    let (page_size, page_token) = (0, String::new());
    report(&pb::QueryUsageRequest {
        owner,
        from,
        to,
        group_by,
        member,
        project,
        model,
        interval,
        page_size,
        page_token,
        time_zone,
    })
}

fn group_of(number: i32) -> Option<Group> {
    match pb::GroupBy::try_from(number).ok()? {
        pb::GroupBy::Member => Some(Group::Member),
        pb::GroupBy::Project => Some(Group::Project),
        pb::GroupBy::Model => Some(Group::Model),
        pb::GroupBy::Meter => Some(Group::Meter),
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

/// What work costs: an amount or metered usage, `Some(None)` for neither; `None` where something is wrong with it.
#[expect(clippy::option_option, reason = "wrong, left out and given are three things")]
fn cost(bad: &mut Violations, text: &str, used: &[pb::Usage]) -> Option<Option<Cost>> {
    match (text.is_empty(), used.is_empty()) {
        (true, true) => Some(None),
        (false, true) => amount(bad, text).map(Cost::Amount).map(Some),
        (true, false) => usage(bad, used).map(Cost::Metered).map(Some),
        (false, false) => {
            bad.add("usage", "must be empty where an amount is given");
            None
        }
    }
}

/// What was used of a model, with every bad meter at once.
fn usage(bad: &mut Violations, used: &[pb::Usage]) -> Option<Vec<MeterUse>> {
    if used.len() > MAX_METERS {
        bad.add("usage", "must name at most 32 meters");
        return None;
    }
    let mut usage = Vec::with_capacity(used.len());
    for (place, pb::Usage { meter, quantity }) in used.iter().enumerate() {
        let meter = bad.check_optional(&format!("usage[{place}].meter"), meter, MeterName::given);
        let quantity = bad.check(&format!("usage[{place}].quantity"), quantity.parse::<Quantity>());
        usage.extend(meter.zip(quantity).map(|(meter, quantity)| MeterUse { meter, quantity }));
    }
    if usage.len() < used.len() {
        return None;
    }
    bad.check("usage", MeterUse::check_all(&usage))?;
    Some(usage)
}

fn attribution(
    bad: &mut Violations,
    allowed: &Allowed,
    member: &str,
    project: &str,
    model: &str,
) -> Option<Attribution> {
    let named = bad.check_optional("member", member, str::parse::<UserId>);
    let member = named.and_then(|named| bad.check("member", allowed.whom(named)));
    let project = bad.check_optional("project", project, ProjectName::given);
    let model = bad.check_optional("model", model, ModelName::given);
    Some(Attribution { member: member?, project: project?, model: model? })
}

fn request_id(bad: &mut Violations, text: &str) -> Option<RequestId> {
    optional(bad, "request_id", text)
}

fn note(bad: &mut Violations, text: &str) -> Option<Note> {
    if text.is_empty() { None } else { bad.check("note", Note::given(text)) }
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
        pb::EntryKind::Erase => Some(EntryKind::Erase),
        pb::EntryKind::Debt => Some(EntryKind::Debt),
        pb::EntryKind::DebtPaid => Some(EntryKind::DebtPaid),
        pb::EntryKind::DebtReversed => Some(EntryKind::DebtReversed),
        pb::EntryKind::Unspecified => None,
    }
}
