//! Ledger entries as they are shown: with their details, and with whom and what their work was for.

use std::collections::{HashMap, HashSet};

use bursar_db::Tx;
use bursar_id::{ChargeId, HoldId, OwnerId};

use crate::domain::{Attribution, Entry, OperationId, Rules, StoredEntry};
use crate::error::Error;
use crate::lane::charges;
use crate::store::{details, holds, unreadable_entry};

/// An entry, and for whom and for what it was.
#[derive(Debug, Clone)]
pub(crate) struct Listed {
    pub(crate) entry: Entry,
    /// Its own attribution, or that of the hold or charge it refers to.
    pub(crate) work: Option<Attribution>,
}

/// Reads stored entries.
pub(super) fn readable(rows: Vec<StoredEntry>) -> Result<Vec<Entry>, Error> {
    let read = |row| Entry::from_stored(row).map_err(|unreadable| Error::from(unreadable_entry(unreadable)));
    rows.into_iter().map(read).collect()
}

/// Finds for whom and for what the entries were; what settles or gives back says it by what it refers to.
pub(super) async fn worked_for(
    tx: &mut Tx,
    owner: OwnerId,
    entries: Vec<Entry>,
    rules: &Rules,
) -> Result<Vec<Listed>, Error> {
    let (mut of_holds, mut of_charges) = (HashSet::new(), HashSet::new());
    for subject in entries.iter().filter_map(|entry| entry.event.subject()) {
        match subject {
            OperationId::Hold(hold) => of_holds.extend(rules.key.seq(owner, hold).map(|seq| (owner, seq))),
            OperationId::Charge(charge) => of_charges.extend([(owner, charge)]),
            OperationId::Lot(_) | OperationId::Refund(_) => {}
        }
    }
    let (of_holds, of_charges) = (Vec::from_iter(of_holds), Vec::from_iter(of_charges));
    let mut by_hold: HashMap<HoldId, Attribution> = HashMap::new();
    if !of_holds.is_empty() {
        let found = holds::named(tx, &of_holds).await?;
        by_hold.extend(found.into_iter().map(|(_, hold)| (hold.id, hold.terms.attribution.clone())));
    }
    let mut by_charge: HashMap<ChargeId, Attribution> = HashMap::new();
    if !of_charges.is_empty() {
        let found = charges(tx, rules, &of_charges).await?;
        by_charge.extend(found.into_iter().map(|(_, charge)| (charge.id, charge.attribution)));
    }
    let listed = |entry: Entry| {
        let work = match entry.event.subject() {
            Some(OperationId::Hold(hold)) => by_hold.get(&hold).cloned(),
            Some(OperationId::Charge(charge)) => by_charge.get(&charge).cloned(),
            _ => entry.event.attribution().cloned(),
        };
        Listed { entry, work }
    };
    Ok(entries.into_iter().map(listed).collect())
}

/// Attaches the details that are still there.
pub(super) async fn with_details(tx: &mut Tx, owner: OwnerId, listed: &mut [Listed]) -> Result<(), Error> {
    let has = |it: &&Listed| it.entry.details_digest.is_some();
    let seqs: Vec<_> = listed.iter().filter(has).map(|it| (owner, it.entry.seq)).collect();
    let mut found = details::of(tx, &seqs).await?;
    for it in listed {
        it.entry.details = found.remove(&(owner, it.entry.seq));
    }
    Ok(())
}
