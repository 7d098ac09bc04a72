//! Loading: everything that the requests of a batch need, one statement for each kind of row; an allowance that nobody has counted
//! takes one of its own.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bursar_db::{DbError, Tx};
use bursar_id::{ChargeId, Id, Kind, LotId, OwnerId, UserId};
use bursar_money::Credits;
use bursar_time::{Clock, Timestamp};

use super::job::Job;
use super::{allowances, limits};
use crate::domain::{
    Account, AccountState, Actor, Charge, Command, Entry, Event, Hold, Inconsistent, Needs, OperationId, Request,
    Rules, decide,
};
use crate::store::{accounts, details, holds, ledger, lots, members};

pub(super) type States = HashMap<OwnerId, AccountState>;

/// How many holds lapse in one transaction at most.
pub(super) const DUE_AT_ONCE: usize = 1_000;

/// The accounts of a batch.
#[derive(Default)]
pub(super) struct Loaded {
    pub(super) states: States,
    /// Accounts in which more is due than one transaction books: nothing can be decided on them before that is booked.
    pub(super) in_arrears: BTreeSet<OwnerId>,
}

/// Loads the accounts (opening the missing ones) and everything the jobs need. An account that
/// contradicts itself is left out: nothing more may be booked on top of it.
pub(super) async fn load(
    tx: &mut Tx,
    clock: &Clock,
    rules: &Arc<Rules>,
    owners: &[OwnerId],
    jobs: &[&Job],
) -> Result<(Loaded, Timestamp), DbError> {
    if owners.is_empty() {
        return Ok((Loaded::default(), clock.now()));
    }
    let mut rows = accounts::lock(tx, owners).await?;
    if rows.len() < owners.len() {
        open_missing(tx, clock, owners, jobs, &mut rows).await?;
    }
    // One time for the whole batch, taken under the locks: what is overdue is what is loaded.
    let now = clock.believed()?;
    let mut live: HashMap<OwnerId, Vec<_>> = HashMap::with_capacity(owners.len());
    for (owner, lot) in lots::live(tx, owners).await? {
        live.entry(owner).or_default().push(lot);
    }
    let mut states = HashMap::with_capacity(owners.len());
    for (owner, account) in rows {
        match AccountState::new(owner, account, live.remove(&owner).unwrap_or_default(), Arc::clone(rules)) {
            Ok(state) => drop(states.insert(owner, state)),
            Err(flaw) => tracing::error!(%owner, %flaw, "an account contradicts itself"),
        }
    }
    load_members(tx, jobs, &mut states).await?;
    let in_arrears = load_overdue(tx, now, &mut states).await?;
    states.retain(|owner, _| !in_arrears.contains(owner));
    allowances::load(tx, &mut states, now).await?;
    load_holds(tx, jobs, &mut states).await?;
    load_charges(tx, rules, jobs, &mut states).await?;
    let named = needed(jobs, |needs| needs.lot);
    load_missing_lots(tx, named.into_iter().collect(), &mut states).await?;
    limits::load(tx, jobs, &mut states, now).await?;
    Ok((Loaded { states, in_arrears }, now))
}

/// An account of which a portion of what is due is loaded.
pub(super) struct Portion {
    pub(super) state: AccountState,
    /// Its row as it is stored.
    pub(super) stored: Account,
    /// Up to when everything that is due is loaded.
    pub(super) until: Timestamp,
}

/// Locks an account in arrears and loads the first portion of what is due in it. `None` if one transaction books it all.
pub(super) async fn portion(
    tx: &mut Tx,
    clock: &Clock,
    rules: &Arc<Rules>,
    owner: OwnerId,
) -> Result<Option<Portion>, DbError> {
    let Some((_, stored)) = accounts::lock(tx, &[owner]).await?.pop() else { return Ok(None) };
    let now = clock.believed()?;
    let mut due = match stored.next_lapse {
        Some(lapse) if lapse <= now => holds::overdue(tx, &[owner], now, DUE_AT_ONCE + 1).await?,
        _ => return Ok(None),
    };
    let rest = due.split_off(DUE_AT_ONCE.min(due.len()));
    let (Some((_, last)), Some((_, next))) = (due.last(), rest.first()) else { return Ok(None) };
    let (until, next) = (last.deadline, next.deadline);
    let live = lots::live(tx, &[owner]).await?.into_iter().map(|(_, lot)| lot).collect();
    let state = AccountState::new(owner, stored, live, Arc::clone(rules)).map_err(damaged)?;
    let mut states = HashMap::from([(owner, state)]);
    keep_holds(tx, due, &mut states).await?;
    limits::load(tx, &[], &mut states, now).await?;
    Ok(states.remove(&owner).map(|mut state| {
        state.load_next_lapse(Some(next));
        Portion { state, stored, until }
    }))
}

fn damaged(flaw: Inconsistent) -> DbError {
    DbError::corrupt(flaw.to_string())
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
    let opened_at = clock.believed()?;
    let found: BTreeSet<OwnerId> = rows.iter().map(|(owner, _)| *owner).collect();
    let begins = jobs.iter().filter(|job| !job.request.needs().something_made());
    let begun: BTreeSet<OwnerId> = begins.map(|job| job.owner).collect();
    let missing: Vec<OwnerId> = begun.difference(&found).copied().collect();
    if !missing.is_empty() {
        accounts::open(tx, &missing, opened_at).await?;
        *rows = accounts::lock(tx, owners).await?;
    }
    let found: BTreeSet<OwnerId> = rows.iter().map(|(owner, _)| *owner).collect();
    let absent = owners.iter().filter(|owner| !found.contains(owner));
    rows.extend(absent.map(|owner| (*owner, Account::open(*owner, opened_at))));
    Ok(())
}

/// What the jobs need of one kind, each once, in a stable order.
fn needed<T: Ord>(jobs: &[&Job], of: impl Fn(&Needs) -> Option<T>) -> Vec<(OwnerId, T)> {
    let named: BTreeSet<_> = jobs.iter().filter_map(|job| Some((job.owner, of(&job.request.needs())?))).collect();
    named.into_iter().collect()
}

/// Named by their ids, the entries whose numbers those say. An id that leads nowhere names nothing.
fn numbers<K: Kind>(rules: &Rules, named: &[(OwnerId, Id<K>)]) -> Vec<(OwnerId, u64)> {
    named.iter().filter_map(|(owner, id)| Some((*owner, rules.key.seq(*owner, *id)?))).collect()
}

async fn load_members(tx: &mut Tx, jobs: &[&Job], states: &mut States) -> Result<(), DbError> {
    let named: Vec<(OwnerId, UserId)> = needed(jobs, |needs| needs.member);
    if named.is_empty() {
        return Ok(());
    }
    let known = members::named(tx, &named).await?;
    for (owner, user) in named {
        if let Some(state) = states.get_mut(&owner) {
            state.load_member(user, known.get(&(owner, user)).copied());
        }
    }
    Ok(())
}

/// The entries that earlier attempts of these requests booked, with their details and the holds that they settled.
pub(super) async fn load_replays(tx: &mut Tx, jobs: &[&Job], states: &mut States) -> Result<(), DbError> {
    let keys = needed(jobs, |needs| needs.key);
    if keys.is_empty() {
        return Ok(());
    }
    let mut entries = ledger::by_key(tx, &keys).await?;
    details::attach(tx, &mut entries).await?;
    for (owner, entry) in entries {
        if let Some(state) = states.get_mut(&owner) {
            state.load_replay(entry.into());
        }
    }
    Ok(())
}

/// Holds past their deadlines, and when the next one lapses, of the accounts in which some may have. Of those for which
/// there was no more room among [`DUE_AT_ONCE`], not all are loaded: they are given back.
async fn load_overdue(tx: &mut Tx, now: Timestamp, states: &mut States) -> Result<BTreeSet<OwnerId>, DbError> {
    let may = states.values().filter(|state| state.account().next_lapse.is_some_and(|lapse| lapse <= now));
    let mut may: BTreeSet<OwnerId> = may.map(AccountState::owner).collect();
    if may.is_empty() {
        return Ok(BTreeSet::new());
    }
    let mut overdue = holds::overdue(tx, &may.iter().copied().collect::<Vec<_>>(), now, DUE_AT_ONCE + 1).await?;
    let in_arrears = match overdue.get(DUE_AT_ONCE) {
        Some((first_cut, _)) => may.split_off(first_cut),
        None => BTreeSet::new(),
    };
    overdue.retain(|(owner, _)| !in_arrears.contains(owner));
    keep_holds(tx, overdue, states).await?;
    let may = Vec::from_iter(may);
    let next = holds::next_deadlines(tx, &may, now).await?;
    for owner in may {
        if let Some(state) = states.get_mut(&owner) {
            state.load_next_lapse(next.get(&owner).copied());
        }
    }
    Ok(in_arrears)
}

/// Holds that are named.
async fn load_holds(tx: &mut Tx, jobs: &[&Job], states: &mut States) -> Result<(), DbError> {
    let named: Vec<(OwnerId, _)> = needed(jobs, |needs| needs.hold);
    let Some(rules) = states.values().next().map(|state| Arc::clone(state.rules())) else {
        return Ok(());
    };
    let numbers = numbers(&rules, &named);
    if numbers.is_empty() {
        return Ok(());
    }
    let wanted: BTreeSet<_> = named.into_iter().collect();
    let mut found = holds::named(tx, &numbers).await?;
    found.retain(|(owner, hold)| wanted.contains(&(*owner, hold.id)));
    keep_holds(tx, found, states).await
}

/// Loads holds with the lots they are earmarked on.
async fn keep_holds(tx: &mut Tx, found: Vec<(OwnerId, Hold)>, states: &mut States) -> Result<(), DbError> {
    let lots = found.iter().flat_map(|(owner, hold)| hold.terms.earmarks.iter().map(|earmark| (*owner, earmark.lot)));
    load_missing_lots(tx, lots.collect(), states).await?;
    for (owner, hold) in found {
        if let Some(state) = states.get_mut(&owner) {
            state.load_hold(hold);
        }
    }
    Ok(())
}

/// Charges that are to be refunded, with what was refunded of them and the lots that paid.
async fn load_charges(tx: &mut Tx, rules: &Rules, jobs: &[&Job], states: &mut States) -> Result<(), DbError> {
    let named: Vec<(OwnerId, ChargeId)> = needed(jobs, |needs| needs.charge);
    if named.is_empty() {
        return Ok(());
    }
    let charges = charges(tx, rules, &named).await?;
    let lots = charges.iter().flat_map(|(owner, charge)| charge.allocations.iter().map(|it| (*owner, it.lot)));
    load_missing_lots(tx, lots.collect(), states).await?;
    for (owner, charge) in charges {
        if let Some(state) = states.get_mut(&owner) {
            state.load_charge(charge);
        }
    }
    Ok(())
}

/// Charges as they are now: each from its entry (a capture's with its hold), less what its last refund says was refunded.
pub(crate) async fn charges(
    tx: &mut Tx,
    rules: &Rules,
    named: &[(OwnerId, ChargeId)],
) -> Result<Vec<(OwnerId, Charge)>, DbError> {
    let wanted: BTreeSet<_> = named.iter().map(|(owner, id)| (*owner, OperationId::Charge(*id))).collect();
    let numbers = numbers(rules, named);
    if numbers.is_empty() {
        return Ok(Vec::new());
    }
    let mut entries = ledger::by_seq(tx, &numbers).await?;
    entries.retain(|(owner, entry)| entry.event.made().is_some_and(|made| wanted.contains(&(*owner, made))));
    details::attach(tx, &mut entries).await?;
    let captured = captured(tx, rules, &entries).await?;
    let mut refunded = HashMap::new();
    for (owner, refund) in ledger::last_refunds(tx, named).await? {
        if let Event::Refund(it) = refund.event {
            refunded.insert((owner, it.charge), it.refunded_after);
        }
    }
    let one = |(owner, entry): (OwnerId, Entry)| {
        let hold = match entry.event.subject() {
            Some(OperationId::Hold(id)) => captured.get(&(owner, id)),
            _ => None,
        };
        let mut charge = Charge::from_entry(&entry, hold)?;
        charge.refunded = refunded.get(&(owner, charge.id)).copied().unwrap_or(Credits::ZERO);
        Some((owner, charge))
    };
    Ok(entries.into_iter().filter_map(one).collect())
}

/// The holds that these entries settled.
async fn captured(
    tx: &mut Tx,
    rules: &Rules,
    entries: &[(OwnerId, Entry)],
) -> Result<HashMap<(OwnerId, bursar_id::HoldId), Hold>, DbError> {
    let settled = entries.iter().filter_map(|(owner, entry)| match entry.event.subject() {
        Some(OperationId::Hold(id)) => Some((*owner, id)),
        _ => None,
    });
    let numbers = numbers(rules, &settled.collect::<Vec<_>>());
    if numbers.is_empty() {
        return Ok(HashMap::new());
    }
    Ok(holds::named(tx, &numbers).await?.into_iter().map(|(owner, hold)| ((owner, hold.id), hold)).collect())
}

/// Loads the lots that are not there with the live ones: used up, but still able to get something back.
async fn load_missing_lots(
    tx: &mut Tx,
    mut lots: BTreeSet<(OwnerId, LotId)>,
    states: &mut States,
) -> Result<(), DbError> {
    lots.retain(|(owner, lot)| states.get(owner).is_some_and(|state| state.lot(*lot).is_none()));
    let number = |(owner, lot): &(OwnerId, LotId)| Some((*owner, states.get(owner)?.rules().key.seq(*owner, *lot)?));
    let numbers: Vec<_> = lots.iter().filter_map(number).collect();
    if numbers.is_empty() {
        return Ok(());
    }
    for (owner, lot) in lots::named(tx, &numbers).await? {
        if let Some(state) = states.get_mut(&owner).filter(|_| lots.contains(&(owner, lot.id))) {
            state.load_lot(lot);
        }
    }
    Ok(())
}

/// The account as it stands at `now`, for readers: whatever has fallen due counts as booked, though
/// nothing is written. `None` when the owner has no account yet.
pub(crate) async fn view(
    tx: &mut Tx,
    rules: &Arc<Rules>,
    owner: OwnerId,
    now: Timestamp,
) -> Result<Option<AccountState>, DbError> {
    seen(tx, rules, owner, now, false).await
}

/// The same with all its limits, and what is used of them.
pub(crate) async fn view_with_limits(
    tx: &mut Tx,
    rules: &Arc<Rules>,
    owner: OwnerId,
    now: Timestamp,
) -> Result<Option<AccountState>, DbError> {
    seen(tx, rules, owner, now, true).await
}

async fn seen(
    tx: &mut Tx,
    rules: &Arc<Rules>,
    owner: OwnerId,
    now: Timestamp,
    with_limits: bool,
) -> Result<Option<AccountState>, DbError> {
    let Some(account) = accounts::find(tx, owner).await? else {
        return Ok(None);
    };
    // Where a clock that was ahead has written, requests are decided by the ledger's time; so is what is shown.
    let now = now.max(account.head.at);
    let lots = lots::live(tx, &[owner]).await?.into_iter().map(|(_, lot)| lot).collect();
    let mut state = AccountState::new(owner, account, lots, Arc::clone(rules)).map_err(damaged)?;
    if with_limits {
        limits::load_all(tx, &mut state, now).await?;
    }
    look_past_overdue(tx, &mut state, now).await?;
    let sweep = Request::unnamed(Command::Sweep);
    if let Err(refusal) = decide(&mut state, &sweep, &Actor::Job, now) {
        tracing::error!(%owner, %refusal, "an account contradicts itself");
    }
    Ok(Some(state))
}

/// Frees what overdue holds reserve, a portion of them at a time: an account may have as many as it may have open, and
/// whoever asks for a balance asks again and again. So neither their labels are read nor entries made nor any of them kept.
async fn look_past_overdue(tx: &mut Tx, state: &mut AccountState, now: Timestamp) -> Result<(), DbError> {
    let owner = state.owner();
    if state.account().next_lapse.is_none_or(|lapse| lapse > now) {
        return Ok(());
    }
    let mut last = (Timestamp::MIN, 0);
    loop {
        let portion = holds::lapsed(tx, owner, now, last, DUE_AT_ONCE).await?;
        for hold in &portion {
            if let Err(refusal) = state.look_past(hold, now) {
                tracing::error!(%owner, hold = %hold.id, %refusal, "an account contradicts itself");
                return Ok(());
            }
            last = (hold.deadline, hold.number);
        }
        if portion.len() < DUE_AT_ONCE {
            break;
        }
    }
    let next = holds::next_deadlines(tx, &[owner], now).await?.remove(&owner);
    state.load_next_lapse(next);
    Ok(())
}
