//! Writing: everything that was decided, one statement per table.

use std::collections::HashMap;

use bursar_db::{DbError, Tx};
use bursar_id::OwnerId;
use bursar_money::Credits;
use bursar_time::Timestamp;

use crate::domain::{AccountState, Changes};
use crate::store::{accounts, holds, ledger, lots, usage};

/// What must be written of one account.
pub(super) struct Unsaved {
    /// What was decided.
    pub(super) changes: Changes,
    /// When the next of its live lots expires.
    pub(super) next_expiry: Option<Timestamp>,
}

impl Unsaved {
    /// Takes what is new of a state; `None` if nothing is.
    pub(super) fn of(state: &mut AccountState) -> Option<Self> {
        let changes = state.take_changes();
        if changes.is_empty() {
            return None;
        }
        let with_something = state.lots().filter(|lot| lot.remaining > Credits::ZERO);
        let next_expiry = with_something.filter_map(|lot| lot.expires_at).min();
        Some(Self { changes, next_expiry })
    }
}

/// Writes all but the accounts' own rows.
pub(super) async fn save(tx: &mut Tx, unsaved: &[Unsaved]) -> Result<(), DbError> {
    let changes = || unsaved.iter().map(|it| &it.changes);
    let entries: Vec<_> = changes().flat_map(|it| it.entries.iter().map(|entry| (it.owner, entry.as_ref()))).collect();
    ledger::append(tx, &entries).await?;
    let lots: Vec<_> =
        changes().flat_map(|it| it.lots_inserted.iter().chain(&it.lots_updated).map(|lot| (it.owner, lot))).collect();
    lots::save(tx, &lots).await?;
    let holds: Vec<_> = changes()
        .flat_map(|it| it.holds_inserted.iter().chain(&it.holds_updated).map(|hold| (it.owner, hold)))
        .collect();
    holds::save(tx, &holds).await?;
    let deltas: Vec<_> = changes().flat_map(|it| it.usage.iter().map(|delta| (it.owner, delta))).collect();
    usage::add(tx, &deltas).await
}

/// Writes the accounts' own rows, last. `deadlines` says when the next open hold of each owner lapses.
pub(super) async fn save_accounts(
    tx: &mut Tx,
    unsaved: &[Unsaved],
    deadlines: &HashMap<OwnerId, Timestamp>,
) -> Result<(), DbError> {
    let row = |it: &Unsaved| {
        let owner = it.changes.owner;
        let due = [it.next_expiry, deadlines.get(&owner).copied()];
        accounts::SavedAccount { owner, account: it.changes.account, next_due: due.into_iter().flatten().min() }
    };
    accounts::save(tx, &unsaved.iter().map(row).collect::<Vec<_>>()).await
}

/// When the next open hold of each of these accounts lapses.
pub(super) async fn deadlines<'a>(
    tx: &mut Tx,
    states: impl Iterator<Item = &'a AccountState>,
) -> Result<HashMap<OwnerId, Timestamp>, DbError> {
    let holding = states.filter(|state| state.account().held > Credits::ZERO);
    let holding: Vec<OwnerId> = holding.map(AccountState::owner).collect();
    if holding.is_empty() { Ok(HashMap::new()) } else { holds::next_deadlines(tx, &holding).await }
}
