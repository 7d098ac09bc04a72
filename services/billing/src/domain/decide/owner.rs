//! How the account's owner stands, and what that leaves of what may be done.
//!
//! | | users, and services for them | services on their own | operators' grants | the program |
//! |---|---|---|---|---|
//! | active | as ever | as ever | as ever | as ever |
//! | suspended, pending | nothing | settle, release, refund, erase | yes | nothing is sold (to a pending one it is) |
//! | deleted | nothing | the same | yes | nothing is sold |
//! | purged | nothing, as if they never belonged | the same | no | voids what is left |
//!
//! What is held stays held until its hold ends. A capture spends what was reserved and nothing beyond.

use bursar_id::{LotId, OwnerId};
use bursar_members::Standing;
use bursar_time::Timestamp;

use super::grant;
use crate::domain::actor::Actor;
use crate::domain::command::{Command, Request};
use crate::domain::lot::LotSource;
use crate::domain::refusal::Refusal;
use crate::domain::state::AccountState;

/// How many lots of a purged account one request voids at most: its neighbours in a batch wait for it.
pub(super) const VOIDED_AT_ONCE: usize = 100;

impl Refusal {
    /// What is told of an owner who is not active.
    pub fn of_standing(owner: OwnerId, standing: Standing) -> Option<Self> {
        match (standing, owner) {
            (Standing::Active, _) => None,
            (Standing::Pending, _) => Some(Self::OrganizationPending),
            (Standing::Suspended, OwnerId::User(_)) => Some(Self::UserSuspended),
            (Standing::Suspended, OwnerId::Organization(_)) => Some(Self::OrganizationSuspended),
            (Standing::Deleted | Standing::Purged, _) => Some(Self::OrganizationDeleted),
        }
    }

    /// The same, told to somebody who belongs to the owner. To whatever is purged nobody belongs.
    pub fn of_standing_to_members(owner: OwnerId, standing: Standing) -> Option<Self> {
        match standing {
            Standing::Purged => Some(Self::NotAMember),
            _ => Self::of_standing(owner, standing),
        }
    }
}

fn refused(refusal: Option<Refusal>) -> Result<(), Refusal> {
    refusal.map_or(Ok(()), Err)
}

/// Whether somebody who acts by a membership may come at all.
pub(super) fn admits(state: &AccountState) -> Result<(), Refusal> {
    refused(Refusal::of_standing_to_members(state.owner(), state.account().standing))
}

/// Whether credits may be taken that nothing has reserved.
pub(super) fn may_be_spent_from(state: &AccountState) -> Result<(), Refusal> {
    refused(Refusal::of_standing(state.owner(), state.account().standing))
}

/// Whether what is asked may be done with what the owner has, whoever asks.
pub(super) fn permits(state: &AccountState, request: &Request, actor: &Actor) -> Result<(), Refusal> {
    let standing = state.account().standing;
    match &request.command {
        Command::Charge(_) | Command::Hold(_) => may_be_spent_from(state),
        Command::Grant(grant) => match (actor, standing) {
            // What was paid for is given back where it cannot be granted; what the owner has had before (a dispute that is won)
            // is the owner's, as what an operator grants.
            (Actor::Job, Standing::Suspended | Standing::Deleted) if grant.source != LotSource::Adjustment => {
                may_be_spent_from(state)
            }
            (_, Standing::Purged) => may_be_spent_from(state),
            _ => Ok(()),
        },
        Command::Capture(_)
        | Command::Release { .. }
        | Command::Refund(_)
        | Command::Void(_)
        | Command::Erase { .. }
        | Command::TakeBack(_)
        | Command::Restore(_)
        | Command::Sweep => Ok(()),
    }
}

/// Voids what is left of a purged owner's lots, some of them at a time: also what a refund has just given back. Lots of
/// which only holds have something are voided with the others, so that what comes back to them is gone.
pub(super) fn void_the_rest(state: &mut AccountState, now: Timestamp) -> Result<(), Refusal> {
    if state.account().standing != Standing::Purged {
        return Ok(());
    }
    let left = state.lots().filter(|lot| lot.is_live() && lot.voided_at.is_none() && !lot.is_expired_at(now));
    let left: Vec<LotId> = left.map(|lot| lot.id).take(VOIDED_AT_ONCE).collect();
    left.into_iter().try_for_each(|lot| grant::void_by_itself(state, lot, now))
}
