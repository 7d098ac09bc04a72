//! Hold, capture, release: reserve credits, then spend them or give them back.
//!
//! A hold is open until the first of capture, release and deadline. The deadline itself belongs to
//! the time after the hold: at `now >= deadline` it has lapsed.

use std::sync::Arc;

use bursar_id::HoldId;
use bursar_money::Credits;
use bursar_time::{Span, Timestamp};

use super::give_back;
use crate::domain::burn::{self, Use};
use crate::domain::command::{CaptureCommand, HoldCommand, MAX_HOLD, Request};
use crate::domain::entry::{EntryKind, OperationId, Posting, Subject};
use crate::domain::hold::{Hold, HoldState};
use crate::domain::lot::Allocation;
use crate::domain::outcome::{Held, Outcome, Released};
use crate::domain::refusal::{Inconsistent, Refusal};
use crate::domain::state::{AccountState, Draft};

/// Reserves credits on the lots that a charge would take them from.
pub(super) fn place(
    state: &mut AccountState,
    request: &Request,
    command: &HoldCommand,
    now: Timestamp,
) -> Result<Outcome, Refusal> {
    if command.amount.is_zero() {
        return Err(Refusal::ZeroAmount);
    }
    if command.ttl == Span::ZERO || command.ttl > MAX_HOLD {
        return Err(Refusal::HoldTimeOutOfRange);
    }
    let deadline = now.checked_add(command.ttl).ok_or(Refusal::HoldTimeOutOfRange)?;
    let mut postings = Vec::with_capacity(1);
    burn::take(state, command.amount, now, Use::Reserve, &mut postings)?;

    let mut draft = Draft::new(EntryKind::Hold, command.amount, postings);
    draft.id = Some(OperationId::Hold(command.hold));
    draft.attribution = Some(Arc::clone(&command.attribution));
    draft.expires_at = Some(deadline);
    let entry = state.book(now, draft, Some(request))?;
    let outcome = Outcome::from_entry(&entry, false)?;
    if let Outcome::Held(Held { hold, .. }) = &outcome {
        state.insert_hold(hold.clone());
    }
    Ok(outcome)
}

/// Spends a hold's earmarks in their order and gives back what is not needed; what is needed above
/// the hold is taken from the spendable lots, as by a charge.
pub(super) fn capture(
    state: &mut AccountState,
    request: &Request,
    command: &CaptureCommand,
    now: Timestamp,
) -> Result<Outcome, Refusal> {
    let hold = state.hold(command.hold).ok_or(Refusal::HoldNotFound)?;
    match hold.state {
        HoldState::Open => {}
        HoldState::Captured | HoldState::Released => return Err(Refusal::HoldSettled),
        HoldState::Lapsed => {
            return Err(Refusal::HoldExpired { deadline: hold.deadline });
        }
    }
    if command.amount.is_zero() {
        return Err(Refusal::ZeroAmount);
    }
    let excess = command.amount.saturating_sub(hold.amount);
    if !excess.is_zero() && !command.allow_excess {
        return Err(Refusal::CaptureAboveHold { held: hold.amount, requested: command.amount });
    }
    let mut postings = freed(state, hold, command.amount, now)?;
    if !excess.is_zero() {
        burn::take(state, excess, now, Use::Spend, &mut postings)?;
    }

    let attribution = Arc::clone(&hold.attribution);
    let mut draft = Draft::new(EntryKind::Capture, command.amount, postings);
    draft.id = Some(OperationId::Charge(command.charge));
    draft.subject = Some(Subject::Hold(command.hold));
    draft.attribution = Some(Arc::clone(&attribution));
    let entry = state.book(now, draft, Some(request))?;
    let hold = state.hold_mut(command.hold)?;
    hold.state = HoldState::Captured;
    hold.settled_at = Some(now);
    hold.captured = command.amount;
    hold.charge = Some(command.charge);
    state.count_charge(now, command.amount, &attribution);
    Ok(Outcome::from_entry(&entry, false)?)
}

/// Gives all of a hold back. One that was released or has lapsed already is answered as it is.
pub(super) fn release(
    state: &mut AccountState,
    request: &Request,
    id: HoldId,
    now: Timestamp,
) -> Result<Outcome, Refusal> {
    let hold = state.hold(id).ok_or(Refusal::HoldNotFound)?;
    match hold.state {
        HoldState::Open => free(state, id, HoldState::Released, now, Some(request)),
        HoldState::Captured => Err(Refusal::HoldSettled),
        HoldState::Released | HoldState::Lapsed => {
            let (hold, balance_after) = (hold.clone(), state.account().available);
            Ok(Outcome::Released(Released { hold, balance_after, replayed: true }))
        }
    }
}

/// Ends a hold that was past its deadline: by itself, at the deadline.
pub(super) fn lapse(state: &mut AccountState, id: HoldId, at: Timestamp) -> Result<(), Refusal> {
    free(state, id, HoldState::Lapsed, at, None)?;
    Ok(())
}

fn free(
    state: &mut AccountState,
    id: HoldId,
    end: HoldState,
    at: Timestamp,
    request: Option<&Request>,
) -> Result<Outcome, Refusal> {
    let hold = state.hold(id).ok_or(Refusal::HoldNotFound)?;
    let postings = freed(state, hold, Credits::ZERO, at)?;
    let kind = if end == HoldState::Lapsed { EntryKind::HoldLapsed } else { EntryKind::Release };
    let mut draft = Draft::new(kind, hold.amount, postings);
    draft.subject = Some(Subject::Hold(id));
    draft.attribution = Some(Arc::clone(&hold.attribution));
    draft.occurred_at = Some(hold.created_at);
    draft.expires_at = Some(hold.deadline);
    let entry = state.book(at, draft, request)?;
    let hold = state.hold_mut(id)?;
    hold.state = end;
    hold.settled_at = Some(at);
    let (hold, balance_after) = (hold.clone(), entry.available_after);
    Ok(Outcome::Released(Released { hold, balance_after, replayed: false }))
}

/// The postings that end a hold's earmarks: `amount` of them is spent, in order, and the rest goes
/// back to its lots. An earmark is honoured even if its lot has expired or been voided meanwhile,
/// but what is given back to such a lot is gone.
fn freed(state: &AccountState, hold: &Hold, amount: Credits, now: Timestamp) -> Result<Vec<Posting>, Inconsistent> {
    let mut left = amount;
    let free_one = |earmark: &Allocation| {
        let lot = state.lot(earmark.lot).ok_or(Inconsistent("a lot that a hold is earmarked on is missing"))?;
        let spent = earmark.amount.min(left);
        left = left.saturating_sub(spent);
        let mut posting = Posting::on(lot.id);
        posting.held = -earmark.amount.micro();
        posting.spent = spent.micro();
        give_back(lot, earmark.amount.saturating_sub(spent).micro(), now, &mut posting);
        Ok(posting)
    };
    hold.earmarks.iter().map(free_one).collect()
}
