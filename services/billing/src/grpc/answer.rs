//! What use cases answer, as messages.

use bursar_id::OwnerId;
use bursar_money::{CreditDelta, Credits};
use bursar_proto::billing::v1 as pb;
use bursar_rpc::convert::to_timestamp;
use bursar_time::Timestamp;

use crate::domain::{
    Allocation, Charge, Charged, Entry, EntryKind, Held, Hold, HoldState, Lot, LotSource, Note, Posting, Refund,
    Refunded, Released, UsageTotals,
};
use crate::usecase::accounts::AccountView;
use crate::usecase::reports::{Interval, ReportKey};

/// A lot; `created_at` is not stored with it, so it is told only where the grant is at hand.
pub(crate) fn lot(lot: &Lot) -> pb::Lot {
    pb::Lot {
        id: lot.id.to_string(),
        source: source(lot.source).into(),
        granted: lot.granted.to_string(),
        remaining: lot.remaining.to_string(),
        held: lot.held.to_string(),
        priority: lot.priority,
        effective_at: Some(to_timestamp(lot.effective_at)),
        expires_at: lot.expires_at.map(to_timestamp),
        spent: lot.spent.to_string(),
        expired: lot.expired.to_string(),
        voided: lot.voided.to_string(),
        note: lot.note.as_ref().map(Note::as_str).unwrap_or_default().to_owned(),
        created_at: created_at(lot),
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
        quantity: text(by.quantity.as_ref()),
        labels: by.labels.as_map().clone(),
        occurred_at: Some(to_timestamp(charge.occurred_at.unwrap_or(charge.created_at))),
        created_at: Some(to_timestamp(charge.created_at)),
        allocations: allocations(&charge.allocations),
        refunded: charge.refunded.to_string(),
        hold_id: text(charge.hold.as_ref()),
        seq: charge.entry,
    }
}

pub(crate) fn charged(owner: OwnerId, charged: &Charged) -> pb::ChargeResponse {
    pb::ChargeResponse {
        charge: Some(charge(owner, &charged.charge)),
        balance_after: charged.balance_after.to_string(),
        replayed: charged.replayed,
    }
}

pub(crate) fn captured(owner: OwnerId, charged: &Charged) -> pb::CaptureResponse {
    pb::CaptureResponse {
        charge: Some(charge(owner, &charged.charge)),
        balance_after: charged.balance_after.to_string(),
        replayed: charged.replayed,
    }
}

pub(crate) fn hold(owner: OwnerId, hold: &Hold) -> pb::Hold {
    let by = &hold.attribution;
    pb::Hold {
        id: hold.id.to_string(),
        owner: owner.to_string(),
        amount: hold.amount.to_string(),
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
        labels: by.labels.as_map().clone(),
        created_at: Some(to_timestamp(hold.created_at)),
        expires_at: Some(to_timestamp(hold.deadline)),
        allocations: allocations(&hold.earmarks),
        captured: hold.captured.to_string(),
        charge_id: text(hold.charge.as_ref()),
    }
}

pub(crate) fn held(owner: OwnerId, held: &Held) -> pb::HoldResponse {
    pb::HoldResponse {
        hold: Some(hold(owner, &held.hold)),
        balance_after: held.balance_after.to_string(),
        replayed: held.replayed,
    }
}

pub(crate) fn released(owner: OwnerId, released: &Released) -> pb::ReleaseResponse {
    pb::ReleaseResponse { hold: Some(hold(owner, &released.hold)), balance_after: released.balance_after.to_string() }
}

fn refund(owner: OwnerId, refund: &Refund) -> pb::Refund {
    pb::Refund {
        id: refund.id.to_string(),
        owner: owner.to_string(),
        charge_id: refund.charge.to_string(),
        amount: refund.amount.to_string(),
        allocations: allocations(&refund.allocations),
        expired: refund.lost.to_string(),
        created_at: Some(to_timestamp(refund.created_at)),
    }
}

pub(crate) fn refunded(owner: OwnerId, refunded: &Refunded) -> pb::RefundResponse {
    pb::RefundResponse {
        refund: Some(refund(owner, &refunded.refund)),
        balance_after: refunded.balance_after.to_string(),
        replayed: refunded.replayed,
    }
}

pub(crate) fn balance(view: &AccountView) -> pb::GetBalanceResponse {
    pb::GetBalanceResponse {
        available: view.balance.available.to_string(),
        held: view.balance.held.to_string(),
        lots: view.lots.iter().map(lot).collect(),
        next_expiry: view.balance.next_expiry.map(|expiry| to_timestamp(expiry.at)),
        spent_this_period: view.balance.spent_this_period.to_string(),
        period_start: Some(to_timestamp(view.period.start)),
        period_end: Some(to_timestamp(view.period.end)),
    }
}

pub(crate) fn entry(entry: &Entry) -> pb::LedgerEntry {
    let by = entry.attribution.as_deref();
    pb::LedgerEntry {
        seq: entry.seq,
        kind: kind(entry.kind).into(),
        at: Some(to_timestamp(entry.at)),
        amount: entry.amount.to_string(),
        available_after: entry.available_after.to_string(),
        held_after: entry.held_after.to_string(),
        id: text(entry.id.as_ref()),
        subject: text(entry.subject.as_ref()),
        member: by.map(|by| by.member.to_string()).unwrap_or_default(),
        project: by.map(|by| text(by.project.as_ref())).unwrap_or_default(),
        model: by.map(|by| text(by.model.as_ref())).unwrap_or_default(),
        quantity: by.map(|by| text(by.quantity.as_ref())).unwrap_or_default(),
        labels: by.map(|by| by.labels.as_map().clone()).unwrap_or_default(),
        occurred_at: entry.occurred_at.map(to_timestamp),
        postings: entry.postings.iter().map(posting).collect(),
        hash: hex::encode(entry.hash),
        request_id: entry.request_key.as_ref().map(|key| key.request_id().to_owned()).unwrap_or_default(),
        note: entry.note.as_ref().map(Note::as_str).unwrap_or_default().to_owned(),
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

pub(crate) fn usage(interval: Interval, key: &ReportKey, totals: &UsageTotals) -> pb::UsageRow {
    let credits = |micro: i64| CreditDelta::from_micro(micro).map(|it| it.to_string()).unwrap_or_default();
    pb::UsageRow {
        interval_start: (interval != Interval::Whole).then(|| to_timestamp(key.starts_at)),
        member: key.member.clone(),
        project: key.project.clone(),
        model: key.model.clone(),
        charged: unsigned(totals.charged),
        refunded: unsigned(totals.refunded),
        net: credits(totals.charged.saturating_sub(totals.refunded)).trim_start_matches('+').to_owned(),
        count: u64::try_from(totals.charges).unwrap_or(0),
        quantity: millionths(totals.quantity),
    }
}

fn unsigned(micro: i64) -> String {
    Credits::from_micro(micro).unwrap_or(Credits::ZERO).to_string()
}

/// A sum of quantities, which may be above what one quantity can be.
fn millionths(sum: i64) -> String {
    let text = format!("{}.{:06}", sum / 1_000_000, sum % 1_000_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
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
    }
}
