//! Deciding: the one function through which anything happens to an account.

mod charge;
mod debt;
mod erase;
mod grant;
mod hold;
mod housekeeping;
mod owner;
mod refund;

use bursar_members::standing;
use bursar_money::Credits;
use bursar_time::Timestamp;

use super::actor::Actor;
use super::attribution::Attribution;
use super::charge::Metered;
use super::command::{CaptureCommand, Command, Cost, Request};
use super::entry::{CaptureEvent, Entry, Event, OperationId, Posting};
use super::lot::{Lot, LotTerms};
use super::outcome::Outcome;
use super::rates::{Component, MeterUse};
use super::refusal::Refusal;
use super::rules::Spending;
use super::state::AccountState;

/// Decides one request by `actor` at `now` and changes the state accordingly.
///
/// The decision is whole: standing, period, policy, prices and credits are all part of the state. First, and
/// whatever becomes of the request, everything that has fallen due is booked: the period moves on, holds past
/// their deadline free themselves and what remains of expired lots expires, in the order in which it was due. Then
/// the request is replayed, carried out or refused. A refusal leaves no trace of the request, so its id may be used
/// again; what fell due stays booked. Of a purged owner's credits what is left is voided with whatever is asked.
///
/// `now` must be the time by which the overdue holds were loaded, or earlier.
///
/// # Errors
/// [`Refusal`], in its documented order of precedence.
pub fn decide(state: &mut AccountState, request: &Request, actor: &Actor, now: Timestamp) -> Result<Outcome, Refusal> {
    let now = state.time(now);
    let before = state.pending_entries();
    // By its last entry it had as much; or it has, now that what is due is booked.
    let had = state.is_topped_up(state.account().head.at);
    housekeeping::run(state, now)?;
    let had = had || state.is_topped_up(now);
    let outcome = carry_out(state, request, actor, now);
    owner::void_the_rest(state, now)?;
    state.crossed |= had && !state.is_topped_up(now);
    match outcome {
        Ok(Outcome::Swept { .. }) => Ok(Outcome::Swept { booked: state.pending_entries() - before }),
        outcome => outcome,
    }
}

/// The request itself, once what is due is booked.
fn carry_out(state: &mut AccountState, request: &Request, actor: &Actor, now: Timestamp) -> Result<Outcome, Refusal> {
    // Whoever a service names is looked at only when something is to be done.
    if !matches!(actor, Actor::Service { .. } | Actor::Job) {
        belongs(state, request)?;
        owner::admits(state)?;
    }
    if let Some(outcome) = replay(state, request)? {
        return Ok(outcome);
    }
    if request.feed_stale && request.rests_on_membership() {
        return Err(stale(state, request, actor));
    }
    belongs(state, request)?;
    owner::permits(state, request, actor)?;
    if matches!(request.command, Command::Charge(_) | Command::Hold(_)) {
        may_spend(state, actor)?;
    }
    if state.account().renews_at.is_some_and(|renewal| renewal <= now) && request.spends() && !request.renewal_settled {
        return Err(Refusal::RenewalDue);
    }
    let by = By { request, actor, now };
    match &request.command {
        Command::Charge(command) => charge::charge(state, by, command),
        Command::Hold(command) => hold::place(state, by, command),
        Command::Capture(command) => hold::capture(state, by, command),
        Command::Release { hold } => hold::release(state, by, *hold),
        Command::Refund(command) => refund::refund(state, by, command),
        Command::Grant(command) => grant::grant(state, by, command),
        Command::Void(command) => grant::void(state, by, command),
        Command::Erase { member } => erase::erase(state, by, *member),
        Command::TakeBack(command) => debt::take_back(state, by, command),
        Command::Restore(command) => debt::restore(state, by, command),
        Command::Sweep => Ok(Outcome::Swept { booked: 0 }),
    }
}

/// On whose word and when something is booked.
#[derive(Clone, Copy)]
struct By<'a> {
    request: &'a Request,
    actor: &'a Actor,
    now: Timestamp,
}

/// Whether the user whose membership is asked for belongs to the organization.
fn belongs(state: &AccountState, request: &Request) -> Result<(), Refusal> {
    let Some(spender) = request.spender else {
        return Ok(());
    };
    let told = state.membership(spender.user);
    standing(told, spender.token).map(drop).ok_or(Refusal::NotAMember)
}

/// What is told of what cannot be decided by what is known: the refusals that come before that, as far as there was a word
/// of them.
fn stale(state: &AccountState, request: &Request, actor: &Actor) -> Refusal {
    let told =
        request.spender.is_none_or(|spender| spender.token.is_some() || state.membership(spender.user).is_some());
    let named = if told { belongs(state, request) } else { Ok(()) };
    let policy = if request.spends() { may_spend(state, actor) } else { Ok(()) };
    named.and(owner::permits(state, request, actor)).and(policy).err().unwrap_or(Refusal::FeedStale)
}

/// Whether this account may have credits and spend them in this deployment.
fn may_have_credits(state: &AccountState) -> Result<(), Refusal> {
    let may = state.owner().organization().is_some() || state.rules().personal_accounts;
    if may { Ok(()) } else { Err(Refusal::OrganizationRequired) }
}

/// Whether the actor may charge and hold at all in this deployment.
fn may_spend(state: &AccountState, actor: &Actor) -> Result<(), Refusal> {
    may_have_credits(state)?;
    match state.rules().spending {
        Spending::Services if actor.as_user().is_some() => Err(Refusal::SpendingByServicesOnly),
        Spending::Services | Spending::UsersAndServices => Ok(()),
    }
}

/// The first answer, if this request id has been used for this same request before.
fn replay(state: &AccountState, request: &Request) -> Result<Option<Outcome>, Refusal> {
    let Some(entry) = request.key().and_then(|key| state.replay(key)) else {
        return Ok(None);
    };
    if !asked_the_same(entry, request) {
        return Err(Refusal::RequestIdReused);
    }
    let hold = match entry.event.subject() {
        Some(OperationId::Hold(hold)) => state.hold(hold),
        _ => None,
    };
    Ok(Some(Outcome::from_entry(entry, hold, true)?))
}

/// Whether the request that booked the entry asked what this one asks. Where its fingerprint was erased, it is taken for
/// the same unless the entry says otherwise: then only what was erased as well (labels, notes), and what leaves no trace
/// in an entry, may differ.
fn asked_the_same(entry: &Entry, request: &Request) -> bool {
    if let Some(named) = entry.details.as_ref().and_then(|details| details.request.as_ref()) {
        return named.fingerprint == request.fingerprint;
    }
    match (&entry.event, &request.command) {
        (Event::Charge(was), Command::Charge(is)) => {
            was.attribution == is.attribution
                && was.occurred_at == is.occurred_at
                && cost_is(&is.cost, entry.amount, was.metered.as_ref())
        }
        (Event::Hold(was), Command::Hold(is)) => {
            was.attribution == is.attribution
                && entry.amount == is.amount
                && entry.at.checked_add(is.ttl) == Some(was.deadline)
        }
        (Event::Capture(was), Command::Capture(is)) => was.hold == is.hold && captured_so(entry, was, is),
        (Event::Release { hold: was }, Command::Release { hold: is }) => was == is,
        (Event::Refund(was), Command::Refund(is)) => {
            was.charge == is.charge && is.amount.is_none_or(|amount| amount == entry.amount)
        }
        (Event::Grant { terms: was, .. }, Command::Grant(is)) => {
            // Where they come from in particular is the program's to say, not the caller's.
            let terms = LotTerms { origin: was.origin, ..LotTerms::of(is, entry.at) };
            entry.amount == is.amount && **was == terms
        }
        (Event::Void { lot: was }, Command::Void(is)) => *was == is.lot,
        (Event::Erase { member: was }, Command::Erase { member: is }) => was == is,
        _ => false,
    }
}

/// Whether the capture that booked the entry may have asked for this much: all that was held, or so much, above it only
/// where that is allowed.
fn captured_so(entry: &Entry, was: &CaptureEvent, is: &CaptureCommand) -> bool {
    let held: i128 = entry.postings.iter().map(|posting| -i128::from(posting.held)).sum();
    let amount = i128::from(entry.amount.micro());
    match &is.cost {
        None => was.metered.is_none() && amount == held,
        Some(cost) => (is.allow_excess || amount <= held) && cost_is(cost, entry.amount, was.metered.as_ref()),
    }
}

/// Whether `cost` may have come to `amount` by these meters. What a unit cost is not the caller's to say; a meter without
/// a name may have been any.
fn cost_is(cost: &Cost, amount: Credits, was: Option<&Metered>) -> bool {
    match (cost, was) {
        (Cost::Amount(is), None) => *is == amount,
        (Cost::Metered(usage), Some(was)) => {
            let is_same = |(used, part): (&MeterUse, &Component)| {
                used.quantity == part.quantity && used.meter.as_ref().is_none_or(|meter| *meter == part.meter)
            };
            usage.len() == was.components.len() && usage.iter().zip(&was.components).all(is_same)
        }
        _ => false,
    }
}

/// What `cost` comes to for `work` at `now`, and by which meters.
fn priced(
    state: &AccountState,
    cost: &Cost,
    work: &Attribution,
    now: Timestamp,
) -> Result<(Credits, Option<Metered>), Refusal> {
    match cost {
        Cost::Amount(amount) => Ok((*amount, None)),
        Cost::Metered(usage) => {
            let model = work.model.as_ref().ok_or(Refusal::NoModel)?;
            let priced = state.rules().rates.price(model, usage, now)?;
            let catalog_version = state.rules().catalog_version;
            Ok((priced.amount, Some(Metered { components: priced.components, catalog_version })))
        }
    }
}

/// Adds `amount` micro-credits that come back to `lot` at `now` to its posting: what a voided or
/// expired lot gets back is gone at once.
fn give_back(lot: &Lot, amount: i64, now: Timestamp, posting: &mut Posting) {
    if lot.voided_at.is_some() {
        posting.voided += amount;
    } else if lot.is_expired_at(now) {
        posting.expired += amount;
    } else {
        posting.remaining += amount;
    }
}
