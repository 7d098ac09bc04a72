//! Grant and void: lots come and go.

use bursar_money::Credits;
use bursar_time::Timestamp;

use super::housekeeping;
use crate::domain::command::{GrantCommand, Request, VoidCommand};
use crate::domain::entry::{EntryKind, GrantTerms, OperationId, Posting, Subject};
use crate::domain::lot::Lot;
use crate::domain::outcome::Outcome;
use crate::domain::refusal::{Inconsistent, Refusal};
use crate::domain::state::{AccountState, Draft};

/// Adds a lot. One whose time has passed already, as when a renewal runs late, expires at once.
pub(super) fn grant(
    state: &mut AccountState,
    request: &Request,
    command: &GrantCommand,
    now: Timestamp,
) -> Result<Outcome, Refusal> {
    let effective_at = command.effective_at.unwrap_or(now);
    if command.amount.is_zero() {
        return Err(Refusal::ZeroAmount);
    }
    if command.expires_at.is_some_and(|expires_at| expires_at <= effective_at) {
        return Err(Refusal::EmptyValidity);
    }
    let mut posting = Posting::on(command.lot);
    posting.remaining = command.amount.micro();
    let mut draft = Draft::new(EntryKind::Grant, command.amount, vec![posting]);
    draft.id = Some(OperationId::Lot(command.lot));
    draft.expires_at = command.expires_at;
    draft.grant = Some(GrantTerms { source: command.source, priority: command.priority, effective_at });
    draft.note.clone_from(&command.note);
    let entry = state.book(now, draft, Some(request))?;
    let lot = Lot::from_grant(&entry).ok_or(Inconsistent("a grant's entry describes no lot"))?;
    state.insert_lot(lot);
    housekeeping::run(state, now)?;
    Ok(Outcome::from_entry(&entry, false)?)
}

/// Takes what remains of a lot away.
pub(super) fn void(
    state: &mut AccountState,
    request: &Request,
    command: &VoidCommand,
    now: Timestamp,
) -> Result<Outcome, Refusal> {
    let lot = state.lot(command.lot).ok_or(Refusal::LotNotFound)?;
    if lot.voided_at.is_some() {
        return Err(Refusal::LotVoided);
    }
    if lot.is_expired_at(now) {
        return Err(Refusal::LotExpired);
    }
    let amount = lot.remaining;
    let mut draft = Draft::new(EntryKind::Void, amount, taken_away(lot, Fate::Voided));
    draft.subject = Some(Subject::Lot(command.lot));
    draft.note.clone_from(&command.note);
    let entry = state.book(now, draft, Some(request))?;
    state.lot_mut(command.lot)?.voided_at = Some(now);
    Ok(Outcome::from_entry(&entry, false)?)
}

/// Books what remains of a lot whose time has passed as expired.
pub(super) fn expire(state: &mut AccountState, id: bursar_id::LotId, at: Timestamp) -> Result<(), Refusal> {
    let lot = state.lot(id).ok_or(Inconsistent("a lot that falls due is missing"))?;
    if lot.remaining == Credits::ZERO {
        return Ok(());
    }
    let mut draft = Draft::new(EntryKind::Expire, lot.remaining, taken_away(lot, Fate::Expired));
    draft.subject = Some(Subject::Lot(id));
    draft.expires_at = lot.expires_at;
    state.book(at, draft, None)?;
    Ok(())
}

/// What becomes of credits that nobody used.
#[derive(Clone, Copy)]
enum Fate {
    Voided,
    Expired,
}

/// The posting that takes away all that remains of a lot; none when nothing remains.
fn taken_away(lot: &Lot, fate: Fate) -> Vec<Posting> {
    let amount = lot.remaining.micro();
    if amount == 0 {
        return Vec::new();
    }
    let mut posting = Posting::on(lot.id);
    posting.remaining = -amount;
    match fate {
        Fate::Voided => posting.voided = amount,
        Fate::Expired => posting.expired = amount,
    }
    vec![posting]
}
