//! What use cases answer, as messages.

use bursar_id::OwnerId;
use bursar_money::CreditDelta;
use bursar_proto::billing::v1 as pb;
use bursar_rpc::convert::to_timestamp;
use bursar_rpc::page::fitting;
use bursar_time::Timestamp;

use super::catalog;
use crate::domain::{
    Actor, Allocation, Attribution, CatalogVersion, Charge, Charged, Component, Entry, EntryKind, Event, Held, Hold,
    HoldState, Lot, LotSource, Metered, Note, OperationId, Posting, Priced, Refund, Refunded, Released, Total,
};
use crate::usecase::access::Allowed;
use crate::usecase::accounts::AccountView;
use crate::usecase::entries::Listed;
use crate::usecase::reports::{Interval, ReportKey, ReportLine};

/// How many components and how many allocations a charge keeps in a batch's outcome, so that a thousand fit a message.
const KEPT_IN_BATCH: usize = 8;

/// A lot; `created_at` is not stored with it but in its id.
pub(crate) fn lot(lot: &Lot) -> pb::Lot {
    pb::Lot {
        id: lot.id.to_string(),
        source: source(lot.terms.source).into(),
        granted: lot.granted.to_string(),
        remaining: lot.remaining.to_string(),
        held: lot.held.to_string(),
        spent: lot.spent.to_string(),
        expired: lot.expired.to_string(),
        voided: lot.voided.to_string(),
        priority: lot.terms.priority,
        scope: catalog::scope(&lot.terms.scope),
        effective_at: Some(to_timestamp(lot.terms.effective_at)),
        expires_at: lot.terms.expires_at.map(to_timestamp),
        note: lot.note.as_ref().map(Note::as_str).unwrap_or_default().to_owned(),
        created_at: created_at(lot),
        rolled_over: lot.is_rolled_over(),
    }
}

/// When the lot was granted: the time in its id.
fn created_at(lot: &Lot) -> Option<prost_types::Timestamp> {
    let micros = i64::try_from(lot.id.timestamp_millis()).ok()?.checked_mul(1_000)?;
    Timestamp::from_micros(micros).ok().map(to_timestamp)
}

pub(crate) fn charge(owner: OwnerId, charge: &Charge) -> pb::Charge {
    let by = &charge.attribution;
    pb::Charge {
        id: charge.id.to_string(),
        owner: owner.to_string(),
        amount: charge.amount.to_string(),
        member: by.member.to_string(),
        project: text(by.project.as_ref()),
        model: text(by.model.as_ref()),
        components: priced_by(charge.metered.as_ref()),
        components_omitted: 0,
        catalog_version: version(charge.metered.as_ref()),
        labels: charge.labels.as_map().clone(),
        occurred_at: Some(to_timestamp(charge.occurred_at.unwrap_or(charge.created_at))),
        created_at: Some(to_timestamp(charge.created_at)),
        allocations: allocations(&charge.allocations),
        allocations_omitted: 0,
        refunded: charge.refunded.to_string(),
        hold_id: text(charge.hold.as_ref()),
        seq: charge.entry,
        actor: Some(actor(&charge.actor)),
    }
}

/// A charge as a batch's outcome tells it: what may be long is cut.
pub(crate) fn charge_in_batch(owner: OwnerId, made: &Charge) -> pb::Charge {
    let mut cut = charge(owner, made);
    cut.labels.clear();
    cut.components_omitted = omitted(cut.components.len());
    cut.components.truncate(KEPT_IN_BATCH);
    cut.allocations_omitted = omitted(cut.allocations.len());
    cut.allocations.truncate(KEPT_IN_BATCH);
    cut
}

fn omitted(all: usize) -> u32 {
    u32::try_from(all.saturating_sub(KEPT_IN_BATCH)).unwrap_or(u32::MAX)
}

fn priced_by(metered: Option<&Metered>) -> Vec<pb::Component> {
    metered.map(|it| it.components.iter().map(component).collect()).unwrap_or_default()
}

fn version(metered: Option<&Metered>) -> u32 {
    metered.map_or(0, |it| it.catalog_version.get())
}

fn component(component: &Component) -> pb::Component {
    pb::Component {
        meter: component.meter.to_string(),
        quantity: component.quantity.to_string(),
        rate: component.rate.to_string(),
        amount: component.amount.to_string(),
    }
}

pub(crate) fn estimate(priced: &Priced, catalog_version: CatalogVersion) -> pb::EstimateResponse {
    pb::EstimateResponse {
        amount: priced.amount.to_string(),
        components: priced.components.iter().map(component).collect(),
        catalog_version: catalog_version.get(),
    }
}

/// Who did it. What does not apply to the kind stays empty.
fn actor(actor: &Actor) -> pb::Actor {
    let kind = |kind: pb::ActorKind| pb::Actor { kind: kind.into(), ..Default::default() };
    match actor {
        Actor::User { user, session } => {
            pb::Actor { user: user.to_string(), session: session.to_string(), ..kind(pb::ActorKind::User) }
        }
        Actor::Service { service } => pb::Actor { service: service.to_string(), ..kind(pb::ActorKind::Service) },
        Actor::ServiceOnBehalf { service, user, session } => pb::Actor {
            service: service.to_string(),
            user: user.to_string(),
            session: session.to_string(),
            ..kind(pb::ActorKind::ServiceOnBehalf)
        },
        Actor::ApiKey { key, user } => {
            pb::Actor { key: key.to_string(), user: user.to_string(), ..kind(pb::ActorKind::ApiKey) }
        }
        Actor::OperatorOnBehalf { operator, user, session } => pb::Actor {
            service: operator.to_string(),
            user: user.to_string(),
            session: session.to_string(),
            ..kind(pb::ActorKind::OperatorOnBehalf)
        },
        Actor::Job => kind(pb::ActorKind::Job),
    }
}

pub(crate) fn charged(allowed: &Allowed, charged: &Charged) -> pb::ChargeResponse {
    pb::ChargeResponse {
        charge: Some(charge(allowed.owner, &charged.charge)),
        balance_after: allowed.balance(charged.balance_after),
        replayed: charged.replayed,
    }
}

pub(crate) fn captured(allowed: &Allowed, charged: &Charged) -> pb::CaptureResponse {
    pb::CaptureResponse {
        charge: Some(charge(allowed.owner, &charged.charge)),
        balance_after: allowed.balance(charged.balance_after),
        replayed: charged.replayed,
    }
}

pub(crate) fn hold(owner: OwnerId, hold: &Hold) -> pb::Hold {
    let by = &hold.terms.attribution;
    pb::Hold {
        id: hold.id.to_string(),
        owner: owner.to_string(),
        amount: hold.terms.amount.to_string(),
        state: match hold.state {
            HoldState::Open => pb::HoldState::Open,
            HoldState::Captured => pb::HoldState::Captured,
            HoldState::Released => pb::HoldState::Released,
            HoldState::Lapsed => pb::HoldState::Lapsed,
        }
        .into(),
        member: by.member.to_string(),
        project: text(by.project.as_ref()),
        model: text(by.model.as_ref()),
        labels: hold.labels.as_map().clone(),
        created_at: Some(to_timestamp(hold.terms.created_at)),
        expires_at: Some(to_timestamp(hold.deadline)),
        allocations: allocations(&hold.terms.earmarks),
        captured: hold.captured.to_string(),
        charge_id: text(hold.charge.as_ref()),
        actor: Some(actor(&hold.terms.placed_by)),
    }
}

pub(crate) fn held(allowed: &Allowed, held: &Held) -> pb::HoldResponse {
    pb::HoldResponse {
        hold: Some(hold(allowed.owner, &held.hold)),
        balance_after: allowed.balance(held.balance_after),
        replayed: held.replayed,
    }
}

pub(crate) fn released(allowed: &Allowed, released: &Released) -> pb::ReleaseResponse {
    pb::ReleaseResponse {
        hold: Some(hold(allowed.owner, &released.hold)),
        balance_after: allowed.balance(released.balance_after),
        replayed: released.replayed,
    }
}

fn refund(owner: OwnerId, refund: &Refund) -> pb::Refund {
    pb::Refund {
        id: refund.id.to_string(),
        owner: owner.to_string(),
        charge_id: refund.charge.to_string(),
        amount: refund.amount.to_string(),
        allocations: allocations(&refund.allocations),
        lost: refund.lost.to_string(),
        refunded_after: refund.refunded_after.to_string(),
        created_at: Some(to_timestamp(refund.created_at)),
        seq: refund.entry,
        actor: Some(actor(&refund.actor)),
    }
}

pub(crate) fn refunded(allowed: &Allowed, refunded: &Refunded) -> pb::RefundResponse {
    pb::RefundResponse {
        refund: Some(refund(allowed.owner, &refunded.refund)),
        balance_after: allowed.balance(refunded.balance_after),
        replayed: refunded.replayed,
    }
}

pub(crate) fn balance(view: &AccountView) -> pb::GetBalanceResponse {
    let lots = fitting(view.lots.iter().map(lot));
    pb::GetBalanceResponse {
        available: view.balance.available.to_string(),
        held: view.balance.held.to_string(),
        lots_omitted: u32::try_from(view.lots.len().saturating_sub(lots.len())).unwrap_or(u32::MAX),
        lots,
        next_expiry: view.balance.next_expiry.map(|expiry| to_timestamp(expiry.at)),
        spent_this_period: Total(view.balance.spent_this_period).to_string(),
        period_start: Some(to_timestamp(view.period.month.start)),
        period_end: Some(to_timestamp(view.period.month.end)),
    }
}

/// An entry; what was left after it only to who may see the balance.
pub(crate) fn entry(allowed: &Allowed, Listed { entry, work }: &Listed) -> pb::LedgerEntry {
    let (by, details) = (work.as_ref(), entry.details.as_deref());
    let metered = match &entry.event {
        Event::Charge(charge) => charge.metered.as_ref(),
        Event::Capture(capture) => capture.metered.as_ref(),
        _ => None,
    };
    let request_id = details.and_then(|it| it.request.as_ref()).map(|it| it.id.to_string());
    let named = |of: fn(&Attribution) -> String| by.map(of).unwrap_or_default();
    pb::LedgerEntry {
        seq: entry.seq,
        kind: kind(entry.kind()).into(),
        at: Some(to_timestamp(entry.at)),
        actor: Some(actor(&entry.actor)),
        amount: entry.amount.to_string(),
        available_after: allowed.balance(entry.available_after),
        spendable_after: allowed.balance(entry.spendable_after),
        held_after: allowed.balance(entry.held_after),
        id: text(entry.event.made().as_ref()),
        subject: subject(entry),
        member: named(|by| by.member.to_string()),
        project: named(|by| text(by.project.as_ref())),
        model: named(|by| text(by.model.as_ref())),
        components: priced_by(metered),
        catalog_version: version(metered),
        labels: details.map(|it| it.labels.as_map().clone()).unwrap_or_default(),
        occurred_at: match &entry.event {
            Event::Charge(charge) => charge.occurred_at.map(to_timestamp),
            _ => None,
        },
        postings: entry.postings.iter().map(posting).collect(),
        refunded_after: match &entry.event {
            Event::Refund(refund) => refund.refunded_after.to_string(),
            _ => String::new(),
        },
        request_id: request_id.unwrap_or_default(),
        note: details.and_then(|it| it.note.as_ref()).map(Note::as_str).unwrap_or_default().to_owned(),
        details_erased: entry.details_digest.is_some() && details.is_none(),
        hash: hex::encode(entry.hash),
    }
}

/// What an entry concerns: the hold, charge or lot of an earlier one; the member of an erasure.
fn subject(entry: &Entry) -> String {
    match &entry.event {
        Event::Erase { member } => text(member.as_ref()),
        event => text(event.subject().as_ref().map(OperationId::to_string).as_ref()),
    }
}

fn posting(posting: &Posting) -> pb::Posting {
    let delta = |micro: i64| CreditDelta::from_micro(micro).map(|it| it.to_string()).unwrap_or_default();
    pb::Posting {
        lot_id: posting.lot.to_string(),
        remaining: delta(posting.remaining),
        held: delta(posting.held),
        spent: delta(posting.spent),
        expired: delta(posting.expired),
        voided: delta(posting.voided),
    }
}

pub(crate) fn usage(interval: Interval, key: &ReportKey, line: &ReportLine) -> pb::UsageRow {
    let row = pb::UsageRow {
        interval_start: (interval != Interval::Whole).then(|| to_timestamp(key.starts_at)),
        member: key.member.clone(),
        project: key.project.clone(),
        model: key.model.clone(),
        meter: key.meter.clone(),
        ..Default::default()
    };
    match line {
        ReportLine::Usage(totals) => pb::UsageRow {
            charged: Total(totals.charged).to_string(),
            refunded: Total(totals.refunded).to_string(),
            net: Total(totals.net()).to_string(),
            count: u64::try_from(totals.charges).unwrap_or(0),
            ..row
        },
        ReportLine::Meter(totals) => pb::UsageRow {
            charged: Total(totals.charged).to_string(),
            quantity: Total(totals.quantity).to_string(),
            ..row
        },
    }
}

fn allocations(allocations: &[Allocation]) -> Vec<pb::Allocation> {
    let one = |it: &Allocation| pb::Allocation { lot_id: it.lot.to_string(), amount: it.amount.to_string() };
    allocations.iter().map(one).collect()
}

fn text(value: Option<&impl ToString>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

pub(crate) fn source(source: LotSource) -> pb::LotSource {
    match source {
        LotSource::Allowance => pb::LotSource::Allowance,
        LotSource::Pack => pb::LotSource::Pack,
        LotSource::Promotion => pb::LotSource::Promotion,
        LotSource::Goodwill => pb::LotSource::Goodwill,
        LotSource::Adjustment => pb::LotSource::Adjustment,
    }
}

fn kind(kind: EntryKind) -> pb::EntryKind {
    match kind {
        EntryKind::Grant => pb::EntryKind::Grant,
        EntryKind::Charge => pb::EntryKind::Charge,
        EntryKind::Hold => pb::EntryKind::Hold,
        EntryKind::Capture => pb::EntryKind::Capture,
        EntryKind::Release => pb::EntryKind::Release,
        EntryKind::HoldLapsed => pb::EntryKind::HoldLapsed,
        EntryKind::Refund => pb::EntryKind::Refund,
        EntryKind::Expire => pb::EntryKind::Expire,
        EntryKind::Void => pb::EntryKind::Void,
        EntryKind::Erase => pb::EntryKind::Erase,
        EntryKind::Debt => pb::EntryKind::Debt,
        EntryKind::DebtPaid => pb::EntryKind::DebtPaid,
        EntryKind::DebtReversed => pb::EntryKind::DebtReversed,
    }
}
