//! Grant and void: lots come and go.

use std::sync::Arc;

use bursar_id::LotId;
use bursar_money::Credits;
use bursar_time::Timestamp;

use super::{By, debt, housekeeping, may_have_credits};
use crate::domain::actor::Actor;
use crate::domain::command::{GrantCommand, VoidCommand};
use crate::domain::entry::{Event, Posting};
use crate::domain::lot::{Lot, LotSource, LotTerms};
use crate::domain::outcome::{Outcome, Voided};
use crate::domain::refusal::{Inconsistent, Refusal};
use crate::domain::rules::Rules;
use crate::domain::state::{AccountState, Draft};

/// Adds a lot. One whose time has passed already, as when a renewal runs late, expires at once.
pub(super) fn grant(state: &mut AccountState, by: By<'_>, command: &GrantCommand) -> Result<Outcome, Refusal> {
    let terms = LotTerms::of(command, by.now);
    // What was sold while it was allowed is still delivered.
    if *by.actor != Actor::Job {
        may_have_credits(state)?;
    }
    if command.amount.is_zero() {
        return Err(Refusal::ZeroAmount);
    }
    if terms.expires_at.is_some_and(|expires_at| expires_at <= terms.effective_at) {
        return Err(Refusal::EmptyValidity);
    }
    if state.lots().filter(|lot| lot.is_live()).count() >= Rules::MAX_LIVE_LOTS {
        return Err(Refusal::TooManyLots);
    }
    let lot: LotId = state.next_id(by.now);
    let mut posting = Posting::on(lot);
    posting.remaining = command.amount.micro();
    let event = Event::Grant { lot, terms: Arc::new(terms) };
    let draft = Draft::new(event, command.amount, vec![posting]).noted(by.request, command.note.as_ref());
    let entry = state.book(by.now, draft, by.actor)?;
    let lot = Lot::from_grant(&entry).ok_or(Inconsistent("a grant's entry describes no lot"))?;
    state.count_granted(&lot, by.now);
    state.insert_lot(lot);
    if let Some((anchor, number)) = command.begins {
        state.begin_period(anchor, number);
    }
    housekeeping::run(state, by.now)?;
    if command.source == LotSource::Pack && command.origin.purchase.is_some() {
        debt::pay(state, by, entry.event.made())?;
    }
    Ok(Outcome::from_entry(&entry, None, false)?)
}

/// Takes what remains of a lot away. One that was voided before stays as it is.
pub(super) fn void(state: &mut AccountState, by: By<'_>, command: &VoidCommand) -> Result<Outcome, Refusal> {
    let lot = state.lot(command.lot).ok_or(Refusal::LotNotFound)?;
    if lot.voided_at.is_some() {
        let (lot, balance_after) = (lot.id, state.spendable(by.now));
        return Ok(Outcome::Voided(Voided { lot, amount: Credits::ZERO, balance_after, replayed: true }));
    }
    if lot.is_expired_at(by.now) || !lot.is_live() {
        return Err(Refusal::LotEmpty);
    }
    let amount = lot.remaining;
    let draft = Draft::new(Event::Void { lot: command.lot }, amount, taken_away(lot, Fate::Voided))
        .noted(by.request, command.note.as_ref());
    let entry = state.book(by.now, draft, by.actor)?;
    state.lot_mut(command.lot)?.voided_at = Some(by.now);
    Ok(Outcome::from_entry(&entry, None, false)?)
}

/// Takes what remains of a lot away, as nobody asked for: what is reserved of it stays so, and what would come back is void.
pub(super) fn void_by_itself(state: &mut AccountState, id: LotId, now: Timestamp) -> Result<(), Refusal> {
    let lot = state.lot(id).ok_or(Inconsistent("a lot that is to be voided is missing"))?;
    let draft = Draft::new(Event::Void { lot: id }, lot.remaining, taken_away(lot, Fate::Voided));
    state.book(now, draft, &Actor::Job)?;
    state.lot_mut(id)?.voided_at = Some(now);
    Ok(())
}

/// Books what remains of a lot whose time has passed as expired.
pub(super) fn expire(state: &mut AccountState, id: LotId, at: Timestamp) -> Result<(), Refusal> {
    let lot = state.lot(id).ok_or(Inconsistent("a lot that falls due is missing"))?;
    if lot.remaining == Credits::ZERO {
        return Ok(());
    }
    let draft = Draft::new(Event::Expire { lot: id }, lot.remaining, taken_away(lot, Fate::Expired));
    state.book(at, draft, &Actor::Job)?;
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
