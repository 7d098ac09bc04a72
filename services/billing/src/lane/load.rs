//! Loading: everything that the requests of a batch need, one statement for each kind of row.

use std::collections::{BTreeSet, HashMap};

use bursar_db::{DbError, Tx};
use bursar_id::{ChargeId, HoldId, LotId, OwnerId};
use bursar_money::Credits;
use bursar_time::{Clock, Timestamp};

use super::batch::{Job, roll_period};
use crate::domain::{Account, AccountState, Charge, Command, Inconsistent, OperationId, Request, decide};
use crate::store::{accounts, holds, ledger, lots};

/// Loads the accounts (opening the missing ones) and everything the jobs need. An account that
/// contradicts itself is left out: nothing more may be booked on top of it.
pub(super) async fn load(
    tx: &mut Tx,
    clock: &Clock,
    owners: &[OwnerId],
    jobs: &[&Job],
) -> Result<(HashMap<OwnerId, AccountState>, Timestamp), DbError> {
    if owners.is_empty() {
        return Ok((HashMap::new(), clock.now()));
    }
    let mut rows = accounts::lock(tx, owners).await?;
    if rows.len() < owners.len() {
        open_missing(tx, clock, owners, jobs, &mut rows).await?;
    }
    // One time for the whole batch, taken under the locks: what is overdue is what is loaded.
    let now = clock.now();
    let holding: Vec<OwnerId> =
        rows.iter().filter(|(_, account)| account.held > Credits::ZERO).map(|(owner, _)| *owner).collect();
    let mut live: HashMap<OwnerId, Vec<_>> = HashMap::with_capacity(owners.len());
    for (owner, lot) in lots::live(tx, owners).await? {
        live.entry(owner).or_default().push(lot);
    }
    let mut states = HashMap::with_capacity(owners.len());
    for (owner, account) in rows {
        match AccountState::new(owner, account, live.remove(&owner).unwrap_or_default()) {
            Ok(state) => drop(states.insert(owner, state)),
            Err(flaw) => tracing::error!(%owner, %flaw, "an account contradicts itself"),
        }
    }
    load_holds(tx, now, &holding, jobs, &mut states).await?;
    load_charges(tx, jobs, &mut states).await?;
    load_lots(tx, jobs, &mut states).await?;
    Ok((states, now))
}

/// Opens the missing accounts for which something can be booked. One in which something is looked for that cannot be
/// there is empty for this batch and is not stored.
async fn open_missing(
    tx: &mut Tx,
    clock: &Clock,
    owners: &[OwnerId],
    jobs: &[&Job],
    rows: &mut Vec<(OwnerId, Account)>,
) -> Result<(), DbError> {
    let opened_at = clock.now();
    let month = opened_at.start_of_month();
    let period = (month, month.add_months_anchored(1));
    let found: BTreeSet<OwnerId> = rows.iter().map(|(owner, _)| *owner).collect();
    let begins = jobs.iter().filter(|job| !job.request.needs().something_made());
    let begun: BTreeSet<OwnerId> = begins.map(|job| job.owner).collect();
    let missing: Vec<OwnerId> = begun.difference(&found).copied().collect();
    if !missing.is_empty() {
        accounts::open(tx, &missing, opened_at, period).await?;
        *rows = accounts::lock(tx, owners).await?;
    }
    let found: BTreeSet<OwnerId> = rows.iter().map(|(owner, _)| *owner).collect();
    let absent = owners.iter().filter(|owner| !found.contains(owner));
    rows.extend(absent.map(|owner| (*owner, Account::open(*owner, opened_at, period.0, period.1))));
    Ok(())
}

/// What the jobs need of one kind, each once, in a stable order.
fn needed<T: Ord>(jobs: &[&Job], of: impl Fn(&Request) -> Option<T>) -> Vec<(OwnerId, T)> {
    let named: BTreeSet<_> = jobs.iter().filter_map(|job| Some((job.owner, of(&job.request)?))).collect();
    named.into_iter().collect()
}

pub(super) async fn load_replays(
    tx: &mut Tx,
    jobs: &[&Job],
    states: &mut HashMap<OwnerId, AccountState>,
) -> Result<(), DbError> {
    let keys: Vec<_> = jobs.iter().filter_map(|job| Some((job.owner, job.request.key.as_ref()?.as_str()))).collect();
    if keys.is_empty() {
        return Ok(());
    }
    for (owner, entry) in ledger::by_key(tx, &keys).await? {
        if let Some(state) = states.get_mut(&owner) {
            state.load_replay(entry.into());
        }
    }
    Ok(())
}

/// Holds that are overdue or named, with the lots they are earmarked on.
async fn load_holds(
    tx: &mut Tx,
    now: Timestamp,
    holding: &[OwnerId],
    jobs: &[&Job],
    states: &mut HashMap<OwnerId, AccountState>,
) -> Result<(), DbError> {
    let named: Vec<(OwnerId, HoldId)> = needed(jobs, |request| request.needs().hold);
    let mut found = if named.is_empty() { Vec::new() } else { holds::named(tx, &named).await? };
    if !holding.is_empty() {
        found.extend(holds::overdue(tx, holding, now).await?);
    }
    let lots = found.iter().flat_map(|(owner, hold)| hold.earmarks.iter().map(|earmark| (*owner, earmark.lot)));
    load_missing_lots(tx, lots.collect(), states).await?;
    for (owner, hold) in found {
        if let Some(state) = states.get_mut(&owner) {
            state.load_hold(hold);
        }
    }
    Ok(())
}

/// Charges that are to be refunded, with what was refunded of them and the lots that paid.
async fn load_charges(tx: &mut Tx, jobs: &[&Job], states: &mut HashMap<OwnerId, AccountState>) -> Result<(), DbError> {
    let named: Vec<(OwnerId, ChargeId)> = needed(jobs, |request| request.needs().charge);
    if named.is_empty() {
        return Ok(());
    }
    let charges = charges(tx, &named).await?;
    let lots = charges.iter().flat_map(|(owner, charge)| charge.allocations.iter().map(|it| (*owner, it.lot)));
    load_missing_lots(tx, lots.collect(), states).await?;
    for (owner, charge) in charges {
        if let Some(state) = states.get_mut(&owner) {
            state.load_charge(charge);
        }
    }
    Ok(())
}

/// Charges as they are now: each from its entry, less the refunds that name it.
pub(crate) async fn charges(tx: &mut Tx, named: &[(OwnerId, ChargeId)]) -> Result<Vec<(OwnerId, Charge)>, DbError> {
    let mut refunded: HashMap<(OwnerId, String), Credits> = HashMap::new();
    for (owner, refund) in ledger::refunds_of(tx, named).await? {
        let Some(charge) = refund.subject else {
            continue;
        };
        let sum = refunded.entry((owner, charge.to_string())).or_insert(Credits::ZERO);
        *sum = sum.checked_add(refund.amount).unwrap_or(Credits::MAX);
    }
    let entries = ledger::by_operation(tx, named).await?;
    Ok(entries
        .into_iter()
        .filter_map(|(owner, entry)| {
            let Some(OperationId::Charge(id)) = entry.id else {
                return None;
            };
            let refunded = refunded.get(&(owner, id.to_string())).copied().unwrap_or(Credits::ZERO);
            Some((owner, Charge::from_entry(&entry, refunded)?))
        })
        .collect())
}

async fn load_lots(tx: &mut Tx, jobs: &[&Job], states: &mut HashMap<OwnerId, AccountState>) -> Result<(), DbError> {
    let named: Vec<(OwnerId, LotId)> = needed(jobs, |request| request.needs().lot);
    load_missing_lots(tx, named.into_iter().collect(), states).await
}

/// Loads the lots that are not there with the live ones: used up, but still able to get something back.
async fn load_missing_lots(
    tx: &mut Tx,
    mut lots: BTreeSet<(OwnerId, LotId)>,
    states: &mut HashMap<OwnerId, AccountState>,
) -> Result<(), DbError> {
    lots.retain(|(owner, lot)| states.get(owner).is_some_and(|state| state.lot(*lot).is_none()));
    if lots.is_empty() {
        return Ok(());
    }
    for (owner, lot) in lots::named(tx, &lots.into_iter().collect::<Vec<_>>()).await? {
        if let Some(state) = states.get_mut(&owner) {
            state.load_lot(lot);
        }
    }
    Ok(())
}

/// The account as it stands at `now`, for readers: whatever has fallen due counts as booked, though
/// nothing is written. `None` when the owner has no account yet.
pub(crate) async fn view(tx: &mut Tx, owner: OwnerId, now: Timestamp) -> Result<Option<AccountState>, DbError> {
    let Some(account) = accounts::find(tx, owner).await? else {
        return Ok(None);
    };
    let lots = lots::live(tx, &[owner]).await?.into_iter().map(|(_, lot)| lot).collect();
    let holding = account.held > Credits::ZERO;
    let damaged = |flaw: Inconsistent| DbError::corrupt(flaw.to_string());
    let mut states = HashMap::from([(owner, AccountState::new(owner, account, lots).map_err(damaged)?)]);
    if holding {
        let overdue = holds::overdue(tx, &[owner], now).await?;
        let earmarked = overdue.iter().flat_map(|(_, hold)| hold.earmarks.iter().map(|it| (owner, it.lot)));
        load_missing_lots(tx, earmarked.collect(), &mut states).await?;
        for (_, hold) in overdue {
            if let Some(state) = states.get_mut(&owner) {
                state.load_hold(hold);
            }
        }
    }
    Ok(states.remove(&owner).map(|mut state| {
        roll_period(&mut state, now);
        let sweep = Request::new(None, Command::Sweep);
        if let Err(refusal) = decide(&mut state, &sweep, now) {
            tracing::error!(%owner, %refusal, "an account contradicts itself");
        }
        state
    }))
}
