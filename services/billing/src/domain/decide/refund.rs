//! Refund: give a charge back, whole or in part, lot by lot, last spent first.

use bursar_money::Credits;
use bursar_time::Timestamp;

use super::{By, give_back};
use crate::domain::charge::Charge;
use crate::domain::command::RefundCommand;
use crate::domain::entry::{Event, Posting, RefundEvent};
use crate::domain::outcome::Outcome;
use crate::domain::refusal::{Inconsistent, Refusal};
use crate::domain::state::{AccountState, Draft};

pub(super) fn refund(state: &mut AccountState, by: By<'_>, command: &RefundCommand) -> Result<Outcome, Refusal> {
    if by.actor.as_user().is_some() {
        return Err(Refusal::RefundByServicesOnly);
    }
    let mut charge = state.charge(command.charge).ok_or(Refusal::ChargeNotFound)?;
    let left = charge.refundable();
    let amount = command.amount.unwrap_or(left);
    if command.amount.is_some_and(Credits::is_zero) {
        return Err(Refusal::ZeroAmount);
    }
    if amount > left || left.is_zero() {
        return Err(Refusal::RefundAboveCharge { left, requested: amount });
    }
    let postings = returned(state, &charge, amount, by.now)?;
    let refunded_after = charge.refunded.checked_add(amount).unwrap_or(charge.amount);
    let event = Event::Refund(RefundEvent { refund: state.next_id(by.now), charge: command.charge, refunded_after });
    let member = charge.attribution.member;
    let draft = Draft::new(event, amount, postings).asked_by(by.request, Some(member), None);
    let entry = state.book(by.now, draft, by.actor)?;
    state.count_refund(by.now, amount, &charge.attribution);
    state.count_given_back(&charge, amount, by.now);
    charge.refunded = refunded_after;
    state.keep_charge(charge);
    Ok(Outcome::from_entry(&entry, None, false)?)
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
