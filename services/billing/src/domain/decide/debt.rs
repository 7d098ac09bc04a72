//! Debt: credits that were bought and spent, and whose payment was taken back. The next pack pays it, an allowance never.

use bursar_id::{LotId, PaymentId};
use bursar_money::Credits;

use super::By;
use crate::domain::command::{RestoreCommand, TakeBackCommand};
use crate::domain::entry::{DebtEvent, Event, OperationId, Posting};
use crate::domain::outcome::{Outcome, Restored, TakenAway};
use crate::domain::refusal::{Inconsistent, Refusal};
use crate::domain::state::{AccountState, Draft};

/// Voids what is left of the credits, and has what was used of them owed. What holds reserve counts as used: it stays
/// theirs, and what they give back is spendable. What had expired or was voided before is no debt: nobody had it.
pub(super) fn take_back(state: &mut AccountState, by: By<'_>, command: &TakeBackCommand) -> Result<Outcome, Refusal> {
    let lot = state.lot(command.lot).ok_or(Refusal::LotNotFound)?;
    let voided = command.amount.min(lot.remaining);
    let used = lot.spent.checked_add(lot.held).unwrap_or(Credits::MAX);
    let owed = command.amount.saturating_sub(voided).min(used.saturating_sub(command.owed));
    let amount = voided.checked_add(owed).ok_or(Refusal::BalanceTooLarge)?;
    let outcome = Outcome::TakenAway(TakenAway { voided, owed });
    if amount.is_zero() {
        return Ok(outcome);
    }
    let debt_after = state.account().debt.checked_add(owed).ok_or(Refusal::BalanceTooLarge)?;
    let about = (command.lot, command.payment);
    book(state, by, (about, owed, debt_after), (amount, voided.micro()), Event::Debt)?;
    Ok(outcome)
}

/// Forgives what is still owed of the credits and gives the rest back to their lot; what had been owed and was paid by a
/// pack meanwhile the caller grants anew. What the lot could not have kept (it was voided, or has expired) is gone.
pub(super) fn restore(state: &mut AccountState, by: By<'_>, command: &RestoreCommand) -> Result<Outcome, Refusal> {
    let lot = state.lot(command.lot).ok_or(Refusal::LotNotFound)?;
    let debt = state.account().debt;
    let forgiven = command.amount.min(command.owed).min(debt);
    let left = command.amount.saturating_sub(forgiven);
    let to_lot = left.min(command.voided);
    let gone = lot.voided_at.is_some() || lot.is_expired_at(by.now);
    let returned = if gone { Credits::ZERO } else { to_lot };
    let paid_before = left.saturating_sub(to_lot).min(command.owed.saturating_sub(forgiven));
    let outcome = Outcome::Restored(Restored { forgiven, returned, paid_before });
    let amount = forgiven.checked_add(returned).ok_or(Refusal::BalanceTooLarge)?;
    if !amount.is_zero() {
        let about = (command.lot, command.payment);
        let debt_after = debt.saturating_sub(forgiven);
        book(state, by, (about, forgiven, debt_after), (amount, -returned.micro()), Event::DebtReversed)?;
    }
    Ok(outcome)
}

/// Pays what is owed from a pack that has just been granted, as far as it reaches.
pub(super) fn pay(state: &mut AccountState, by: By<'_>, pack: Option<OperationId>) -> Result<(), Refusal> {
    let debt = state.account().debt;
    let Some(OperationId::Lot(pack)) = pack.filter(|_| !debt.is_zero()) else { return Ok(()) };
    let lot = state.lot(pack).ok_or(Inconsistent("a pack that pays a debt is missing"))?;
    let paid = if lot.is_spendable_at(by.now) { lot.remaining.min(debt) } else { Credits::ZERO };
    if paid.is_zero() {
        return Ok(());
    }
    let debt_after = debt.saturating_sub(paid);
    let mut posting = Posting::on(pack);
    posting.remaining = -paid.micro();
    posting.spent = paid.micro();
    state.book(by.now, Draft::new(Event::DebtPaid { lot: pack, debt_after }, paid, vec![posting]), by.actor)?;
    state.set_debt(debt_after);
    Ok(())
}

/// Books what is taken back or given back: `voided` micro-credits of the lot, and what is owed after it.
fn book(
    state: &mut AccountState,
    by: By<'_>,
    ((lot, payment), owed, debt_after): ((LotId, PaymentId), Credits, Credits),
    (amount, voided): (Credits, i64),
    event: fn(DebtEvent) -> Event,
) -> Result<(), Refusal> {
    let mut postings = Vec::new();
    if voided != 0 {
        let mut posting = Posting::on(lot);
        posting.remaining = -voided;
        posting.voided = voided;
        postings.push(posting);
    }
    state.book(by.now, Draft::new(event(DebtEvent { lot, payment, owed, debt_after }), amount, postings), by.actor)?;
    state.set_debt(debt_after);
    Ok(())
}
