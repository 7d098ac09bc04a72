//! Housekeeping: what falls due by itself.
//!
//! It runs before every command, so that a command always meets the balance that the clock says.
//! Each entry takes effect when it was due, not when somebody came to look: the ledger reads the
//! same however rarely an account is visited.

use bursar_id::{HoldId, LotId};
use bursar_time::Timestamp;

use super::{grant, hold};
use crate::domain::hold::HoldState;
use crate::domain::refusal::Refusal;
use crate::domain::state::AccountState;

/// Something that falls due. In order of rank among those due at one instant: a lot expires before
/// a hold on it lapses, so that what the hold gives back at that instant is gone; among its like, by the number of the
/// entry that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Lot(u64, LotId),
    Hold(u64, HoldId),
}

/// Moves the period on and books everything due at `now`, in the order in which it was due; says how many entries it
/// took. Costs two comparisons when nothing is due.
pub(super) fn run(state: &mut AccountState, now: Timestamp) -> Result<usize, Refusal> {
    state.roll_period(now);
    if state.next_due().is_none_or(|due| now < due) {
        return Ok(0);
    }
    let before = state.pending_entries();
    for (due_at, due) in all_due(state, now) {
        // A ledger's time does not run backwards: what is loaded late is booked late.
        let at = state.time(due_at);
        match due {
            Due::Lot(_, id) => grant::expire(state, id, at)?,
            Due::Hold(_, id) => hold::lapse(state, id, at)?,
        }
    }
    state.reset_next_due(now);
    Ok(state.pending_entries() - before)
}

fn all_due(state: &AccountState, now: Timestamp) -> Vec<(Timestamp, Due)> {
    // A lot that is used up is in the list, too, if a hold may still give something back to it.
    let lots = state.lots().filter(|lot| lot.is_live()).filter_map(|lot| {
        let expires_at = lot.terms.expires_at.filter(|at| *at <= now)?;
        Some((expires_at, Due::Lot(lot.number, lot.id)))
    });
    let holds = state
        .holds()
        .filter(|hold| hold.state == HoldState::Open && hold.deadline <= now)
        .map(|hold| (hold.deadline, Due::Hold(hold.number, hold.id)));
    let mut due: Vec<_> = lots.chain(holds).collect();
    due.sort_unstable();
    due
}
