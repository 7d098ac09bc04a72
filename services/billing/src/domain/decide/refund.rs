//! Refund: give a charge back, whole or in part, lot by lot, last spent first.

use std::sync::Arc;

use bursar_money::Credits;
use bursar_time::Timestamp;

use super::give_back;
use crate::domain::charge::Charge;
use crate::domain::command::{RefundCommand, Request};
use crate::domain::entry::{EntryKind, OperationId, Posting, Subject};
use crate::domain::outcome::Outcome;
use crate::domain::refusal::{Inconsistent, Refusal};
use crate::domain::state::{AccountState, Draft};

pub(super) fn refund(
    state: &mut AccountState,
    request: &Request,
    command: &RefundCommand,
    now: Timestamp,
) -> Result<Outcome, Refusal> {
    let mut charge = state.charge(command.charge).ok_or(Refusal::ChargeNotFound)?;
    let left = charge.refundable();
    let amount = command.amount.unwrap_or(left);
    if command.amount.is_some_and(Credits::is_zero) {
        return Err(Refusal::ZeroAmount);
    }
    if amount > left || left.is_zero() {
        return Err(Refusal::RefundAboveCharge { left, requested: amount });
    }
    let postings = returned(state, &charge, amount, now)?;

    let mut draft = Draft::new(EntryKind::Refund, amount, postings);
    draft.id = Some(OperationId::Refund(command.refund));
    draft.subject = Some(Subject::Charge(command.charge));
    draft.attribution = Some(Arc::clone(&charge.attribution));
    let entry = state.book(now, draft, Some(request))?;
    state.count_refund(now, amount, &charge.attribution);
    charge.refunded = charge.refunded.checked_add(amount).unwrap_or(charge.amount);
    state.keep_charge(charge);
    Ok(Outcome::from_entry(&entry, false)?)
}

/// The postings that return `amount` to the lots that paid.
///
/// Refunds walk the charge's allocations backwards, each going on where the one before it stopped.
/// So how much has been refunded says which lots have got it, and nothing else needs to be kept.
fn returned(
    state: &AccountState,
    charge: &Charge,
    amount: Credits,
    now: Timestamp,
) -> Result<Vec<Posting>, Inconsistent> {
    let mut skip = charge.refunded;
    let mut left = amount;
    let mut postings = Vec::with_capacity(1);
    for allocation in charge.allocations.iter().rev() {
        let skipped = allocation.amount.min(skip);
        skip = skip.saturating_sub(skipped);
        let part = allocation.amount.saturating_sub(skipped).min(left);
        if part.is_zero() {
            continue;
        }
        left = left.saturating_sub(part);
        let lot = state.lot(allocation.lot).ok_or(Inconsistent("a lot that paid for a charge is missing"))?;
        let mut posting = Posting::on(lot.id);
        posting.spent = -part.micro();
        give_back(lot, part.micro(), now, &mut posting);
        postings.push(posting);
    }
    if left.is_zero() { Ok(postings) } else { Err(Inconsistent("a charge's allocations do not add up to its amount")) }
}
