//! Hold, capture, release: reserve credits, then spend them or give them back.
//!
//! A hold is open until the first of capture, release and deadline. The deadline itself belongs to
//! the time after the hold: at `now >= deadline` it has lapsed.

use bursar_id::HoldId;
use bursar_money::Credits;
use bursar_time::{Span, Timestamp};

use super::{By, give_back, owner, priced};
use crate::domain::actor::Actor;
use crate::domain::burn::{self, Use};
use crate::domain::charge::Metered;
use crate::domain::command::{CaptureCommand, Cost, HoldCommand};
use crate::domain::entry::{CaptureEvent, Event, HoldEvent, Posting};
use crate::domain::hold::{Hold, HoldState};
use crate::domain::lot::Allocation;
use crate::domain::outcome::{Held, Outcome, Released};
use crate::domain::rates::RateError;
use crate::domain::refusal::{Inconsistent, Refusal};
use crate::domain::state::{AccountState, Draft};

/// Reserves credits on the lots that a charge would take them from.
pub(super) fn place(state: &mut AccountState, by: By<'_>, command: &HoldCommand) -> Result<Outcome, Refusal> {
    if command.amount.is_zero() {
        return Err(Refusal::ZeroAmount);
    }
    let longest = state.rules().max_hold;
    if command.ttl == Span::ZERO || command.ttl > longest {
        return Err(Refusal::HoldTimeOutOfRange { longest });
    }
    let deadline = by.now.checked_add(command.ttl).ok_or(Refusal::HoldTimeOutOfRange { longest })?;
    let limit = state.rules().max_open_holds;
    if state.account().open_holds >= limit {
        return Err(Refusal::TooManyHolds { limit });
    }
    let work = &command.attribution;
    state.limits_admit(work, by.actor.key(), command.amount, by.now)?;
    let mut postings = Vec::with_capacity(1);
    burn::take(state, work, command.amount, by.now, Use::Reserve, &mut postings)?;

    let event = Event::Hold(HoldEvent {
        hold: state.next_id(by.now),
        attribution: work.clone(),
        deadline,
        key: by.actor.key(),
        period: state.account().period.month.start,
    });
    let labels = Some(&command.labels);
    let draft = Draft::new(event, command.amount, postings).asked_by(by.request, Some(work.member), labels);
    let entry = state.book(by.now, draft, by.actor)?;
    let outcome = Outcome::from_entry(&entry, None, false)?;
    if let Outcome::Held(Held { hold, .. }) = &outcome {
        state.insert_hold(hold.clone());
        state.count_new(work, by.actor.key(), command.amount, by.now);
    }
    Ok(outcome)
}

/// The hold that a command names, if the actor may settle it.
fn own<'a>(state: &'a AccountState, by: By<'_>, id: HoldId) -> Result<&'a Hold, Refusal> {
    let hold = state.hold(id).ok_or(Refusal::HoldNotFound)?;
    if by.actor.may_settle(&hold.terms.placed_by) { Ok(hold) } else { Err(Refusal::HoldNotYours) }
}

/// Spends a hold's earmarks in their order and gives back what is not needed; what is needed above
/// the hold is taken from the spendable lots, as by a charge.
pub(super) fn capture(state: &mut AccountState, by: By<'_>, command: &CaptureCommand) -> Result<Outcome, Refusal> {
    let hold = own(state, by, command.hold)?;
    match hold.state {
        HoldState::Open => {}
        HoldState::Captured | HoldState::Released => return Err(Refusal::HoldSettled),
        HoldState::Lapsed => {
            return Err(Refusal::HoldExpired { deadline: hold.deadline });
        }
    }
    let (reserved, work) = (hold.terms.amount, hold.terms.attribution.clone());
    let (amount, metered) = match &command.cost {
        None => (reserved, None),
        Some(cost) => priced_for(state, cost, hold, by.now)?,
    };
    if amount.is_zero() {
        return Err(Refusal::ZeroAmount);
    }
    let excess = amount.saturating_sub(reserved);
    if !excess.is_zero() && !command.allow_excess {
        return Err(Refusal::CaptureAboveHold { held: reserved, requested: amount });
    }
    state.can_count(amount)?;
    let (hold, mut postings) = (hold.clone(), freed(state, hold, amount, by.now)?);
    if !excess.is_zero() {
        owner::may_be_spent_from(state)?;
        state.limits_admit_excess(&hold, excess, by.now)?;
        burn::take(state, &work, excess, by.now, Use::Spend, &mut postings)?;
    }

    let charge = state.next_id(by.now);
    let event = Event::Capture(CaptureEvent { charge, hold: command.hold, metered: metered.clone() });
    let draft = Draft::new(event, amount, postings).asked_by(by.request, Some(work.member), None);
    let entry = state.book(by.now, draft, by.actor)?;
    state.settle_hold(command.hold, |hold| {
        hold.state = HoldState::Captured;
        hold.settled_at = Some(by.now);
        hold.captured = amount;
        hold.charge = Some(charge);
    })?;
    state.count_charge(by.now, amount, &work, metered.as_ref());
    state.count_settled(&hold, amount, by.now);
    Ok(Outcome::from_entry(&entry, state.hold(command.hold), false)?)
}

/// What `cost` comes to for the work that a hold was placed for. What was agreed to before its model or a meter left the
/// rate card is settled at the last rates there were.
fn priced_for(
    state: &AccountState,
    cost: &Cost,
    hold: &Hold,
    now: Timestamp,
) -> Result<(Credits, Option<Metered>), Refusal> {
    let work = &hold.terms.attribution;
    let (unknown, usage) = match (priced(state, cost, work, now), cost) {
        (
            Err(Refusal::Rate(gone @ (RateError::UnknownModel(_) | RateError::UnknownMeter { .. }))),
            Cost::Metered(usage),
        ) => (gone, usage),
        (known, _) => return known,
    };
    let model = work.model.as_ref().ok_or(Refusal::NoModel)?;
    let former = state.rules().former_rates.price(model, usage, (hold.terms.created_at, now));
    let (priced, catalog_version) = former.ok_or(unknown)?;
    Ok((priced.amount, Some(Metered { components: priced.components, catalog_version })))
}

/// Gives all of a hold back. One that was released or has lapsed already is answered as it is.
pub(super) fn release(state: &mut AccountState, by: By<'_>, id: HoldId) -> Result<Outcome, Refusal> {
    let hold = own(state, by, id)?;
    match hold.state {
        HoldState::Open => {
            let member = hold.terms.attribution.member;
            let draft = Draft::new(Event::Release { hold: id }, hold.terms.amount, freed_whole(state, hold, by.now)?)
                .asked_by(by.request, Some(member), None);
            end(state, id, HoldState::Released, by.now, draft, by.actor)
        }
        HoldState::Captured => Err(Refusal::HoldSettled),
        HoldState::Released | HoldState::Lapsed => {
            let (hold, balance_after) = (hold.clone(), state.spendable(by.now));
            Ok(Outcome::Released(Released { hold, balance_after, replayed: true }))
        }
    }
}

/// Ends a hold that was past its deadline: by itself, at the deadline.
pub(super) fn lapse(state: &mut AccountState, id: HoldId, at: Timestamp) -> Result<(), Refusal> {
    let hold = state.hold(id).ok_or(Refusal::HoldNotFound)?;
    let draft = Draft::new(Event::HoldLapsed { hold: id }, hold.terms.amount, freed_whole(state, hold, at)?);
    end(state, id, HoldState::Lapsed, at, draft, &Actor::Job)?;
    Ok(())
}

/// Looking.
impl AccountState {
    /// Has the account be what it is once this overdue hold, which is not loaded, has lapsed. Nothing is booked and nothing
    /// of the hold is kept, so that whoever only looks can look past any number of them. When each of them was due does not
    /// matter: what comes back to a lot that has expired by `now` is gone, before its expiry or after.
    ///
    /// # Errors
    /// The hold and the account contradict one another.
    pub fn look_past(&mut self, hold: &Hold, now: Timestamp) -> Result<(), Refusal> {
        let now = self.time(now);
        let postings = freed_whole(self, hold, now)?;
        self.free_unbooked(&postings)?;
        self.count_settled(hold, Credits::ZERO, now);
        Ok(())
    }
}

fn end(
    state: &mut AccountState,
    id: HoldId,
    into: HoldState,
    at: Timestamp,
    draft: Draft,
    actor: &Actor,
) -> Result<Outcome, Refusal> {
    let entry = state.book(at, draft, actor)?;
    let hold = state.settle_hold(id, |hold| {
        hold.state = into;
        hold.settled_at = Some(at);
    })?;
    state.count_settled(&hold, Credits::ZERO, at);
    Ok(Outcome::Released(Released { hold, balance_after: entry.spendable_after, replayed: false }))
}

fn freed_whole(state: &AccountState, hold: &Hold, now: Timestamp) -> Result<Vec<Posting>, Inconsistent> {
    freed(state, hold, Credits::ZERO, now)
}

/// The postings that end a hold's earmarks: `amount` of them is spent, in order, and the rest goes
/// back to its lots. An earmark is honoured even if its lot has expired or been voided meanwhile,
/// but what is given back to such a lot is gone. Refuses before anything is booked if the account's row
/// knows of no open hold.
fn freed(state: &AccountState, hold: &Hold, amount: Credits, now: Timestamp) -> Result<Vec<Posting>, Inconsistent> {
    if state.account().open_holds == 0 {
        return Err(Inconsistent("more holds are settled than were open"));
    }
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
    hold.terms.earmarks.iter().map(free_one).collect()
}
