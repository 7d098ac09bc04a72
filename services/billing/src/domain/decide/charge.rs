//! Charge: spend credits now, all or nothing.

use super::{By, priced};
use crate::domain::burn::{self, Use};
use crate::domain::command::ChargeCommand;
use crate::domain::entry::{ChargeEvent, Event};
use crate::domain::outcome::Outcome;
use crate::domain::refusal::Refusal;
use crate::domain::state::{AccountState, Draft};

pub(super) fn charge(state: &mut AccountState, by: By<'_>, command: &ChargeCommand) -> Result<Outcome, Refusal> {
    let work = &command.attribution;
    let (amount, metered) = priced(state, &command.cost, work, by.now)?;
    if amount.is_zero() {
        return Err(Refusal::ZeroAmount);
    }
    state.can_count(amount)?;
    state.limits_admit(work, by.actor.key(), amount, by.now)?;
    let mut postings = Vec::with_capacity(1);
    burn::take(state, work, amount, by.now, Use::Spend, &mut postings)?;

    let event = Event::Charge(ChargeEvent {
        charge: state.next_id(by.now),
        attribution: work.clone(),
        metered: metered.clone(),
        occurred_at: command.occurred_at,
        key: by.actor.key(),
        period: state.account().period.month.start,
    });
    let labels = Some(&command.labels);
    let draft = Draft::new(event, amount, postings).asked_by(by.request, Some(work.member), labels);
    let entry = state.book(by.now, draft, by.actor)?;
    state.count_charge(by.now, amount, work, metered.as_ref());
    state.count_new(work, by.actor.key(), amount, by.now);
    Ok(Outcome::from_entry(&entry, None, false)?)
}
