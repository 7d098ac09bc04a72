//! Deciding: the one function through which anything happens to an account.

mod charge;
mod grant;
mod hold;
mod housekeeping;
mod refund;

use bursar_time::Timestamp;

use super::command::{Command, Request};
use super::entry::Posting;
use super::lot::Lot;
use super::outcome::Outcome;
use super::refusal::Refusal;
use super::state::AccountState;

/// Decides one request at `now` and changes the state accordingly.
///
/// First, and whatever becomes of the request, everything that has fallen due is booked: holds past
/// their deadline free themselves and what remains of expired lots expires, in the order in which
/// it was due. Then the request is replayed, carried out or refused. A refusal leaves no trace of
/// the request, so its id may be used again; what fell due stays booked.
///
/// `now` must be the time by which the overdue holds were loaded, or earlier.
///
/// # Errors
/// [`Refusal`], in its documented order of precedence.
pub fn decide(state: &mut AccountState, request: &Request, now: Timestamp) -> Result<Outcome, Refusal> {
    let now = state.time(now);
    let booked = housekeeping::run(state, now)?;
    if let Some(outcome) = replay(state, request)? {
        return Ok(outcome);
    }
    match &request.command {
        Command::Charge(command) => charge::charge(state, request, command, now),
        Command::Hold(command) => hold::place(state, request, command, now),
        Command::Capture(command) => hold::capture(state, request, command, now),
        Command::Release { hold } => hold::release(state, request, *hold, now),
        Command::Refund(command) => refund::refund(state, request, command, now),
        Command::Grant(command) => grant::grant(state, request, command, now),
        Command::Void(command) => grant::void(state, request, command, now),
        Command::Sweep => Ok(Outcome::Swept { booked }),
    }
}

/// The first answer, if this request id has been used for this same request before.
fn replay(state: &AccountState, request: &Request) -> Result<Option<Outcome>, Refusal> {
    let Some(entry) = request.key.as_ref().and_then(|key| state.replay(key)) else {
        return Ok(None);
    };
    if entry.body_hash != request.body_hash {
        return Err(Refusal::RequestIdReused);
    }
    Ok(Some(Outcome::from_entry(entry, true)?))
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
