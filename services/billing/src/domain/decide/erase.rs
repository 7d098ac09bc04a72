//! Erase: note in the ledger that details are gone. Removing them is the store's work.

use bursar_id::UserId;
use bursar_money::Credits;

use super::By;
use crate::domain::entry::Event;
use crate::domain::outcome::Outcome;
use crate::domain::refusal::Refusal;
use crate::domain::state::{AccountState, Draft};

pub(super) fn erase(state: &mut AccountState, by: By<'_>, member: Option<UserId>) -> Result<Outcome, Refusal> {
    // Its own details belong to no member, so that erasing a member's does not take its fingerprint.
    let draft = Draft::new(Event::Erase { member }, Credits::ZERO, Vec::new()).asked_by(by.request, None, None);
    let entry = state.book(by.now, draft, by.actor)?;
    Ok(Outcome::from_entry(&entry, None, false)?)
}
