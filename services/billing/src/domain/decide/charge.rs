//! Charge: spend credits now, all or nothing.

use std::sync::Arc;

use bursar_time::Timestamp;

use crate::domain::burn::{self, Use};
use crate::domain::command::{ChargeCommand, Request};
use crate::domain::entry::{EntryKind, OperationId};
use crate::domain::outcome::Outcome;
use crate::domain::refusal::Refusal;
use crate::domain::state::{AccountState, Draft};

pub(super) fn charge(
    state: &mut AccountState,
    request: &Request,
    command: &ChargeCommand,
    now: Timestamp,
) -> Result<Outcome, Refusal> {
    if command.amount.is_zero() {
        return Err(Refusal::ZeroAmount);
    }
    let mut postings = Vec::with_capacity(1);
    burn::take(state, command.amount, now, Use::Spend, &mut postings)?;

    let mut draft = Draft::new(EntryKind::Charge, command.amount, postings);
    draft.id = Some(OperationId::Charge(command.charge));
    draft.attribution = Some(Arc::clone(&command.attribution));
    draft.occurred_at = command.occurred_at;
    let entry = state.book(now, draft, Some(request))?;
    state.count_charge(now, command.amount, &command.attribution);
    Ok(Outcome::from_entry(&entry, false)?)
}
