//! The audit: a ledger recomputed from its first entry and compared with everything stored beside it.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::process::ExitCode;

use bursar_db::{Db, Tx};
use bursar_id::OwnerId;
use bursar_money::Credits;
use bursar_time::Timestamp;

use crate::domain::{
    Audit, BadLedger, Charge, Entry, Flaw, Hold, LimitAudit, LimitSet, Lot, MeterKey, MeterTotals, OperationId,
    OperationKey, Period, SalesAudit, UsageAudit, Verifier,
};
use crate::error::Error;
use crate::store::accounts::Beside;
use crate::store::usage::{self, Begin, Grain, UsageRow};
use crate::store::{accounts, details, holds, ledger, limits, lots, subscriptions};

mod sales;
#[cfg(test)]
mod tests;

/// How many rows are read at a time. Between two pages others have the core.
const PAGE: i64 = 500;

/// How many usage totals are: they are small.
const PORTION: usize = 2_000;

/// What an audit found.
#[derive(Debug)]
pub(crate) struct Verdict {
    /// What the ledger adds up to, or the first thing that is wrong with it.
    pub result: Result<Audit, BadLedger>,
    /// The hash of the last good entry.
    pub head_hash: [u8; 32],
    /// How many entries were read and found good.
    pub entries: u64,
}

/// Audits one account at `now`, in one snapshot of the store. `key` is the installation's, by which ids name entries.
pub(crate) async fn verify(db: &Db, key: OperationKey, owner: OwnerId, now: Timestamp) -> Result<Verdict, Error> {
    verify_in(&mut db.read().await?, key, owner, now).await
}

/// The same in the snapshot of a transaction.
pub(crate) async fn verify_in(
    tx: &mut Tx,
    key: OperationKey,
    owner: OwnerId,
    now: Timestamp,
) -> Result<Verdict, Error> {
    let (mut verifier, mut used) = (Verifier::new(owner, key), UsageAudit::new(owner, key));
    let (mut sold, mut limited) = (SalesAudit::new(owner), of_limits(tx, owner, now).await?);
    let mut verdict =
        Verdict { result: Err(BadLedger { owner, seq: 0, flaw: Flaw::HeadMismatch }), head_hash: [0; 32], entries: 0 };
    loop {
        let rows = ledger::after(tx, owner, i64::try_from(verdict.entries).unwrap_or(i64::MAX), PAGE).await?;
        if rows.is_empty() {
            break;
        }
        let mut page = Vec::with_capacity(rows.len());
        let named: Vec<_> = rows.iter().filter_map(|row| Some((owner, u64::try_from(row.seq).ok()?))).collect();
        let mut texts = details::of(tx, &named).await?;
        for row in rows {
            let mut entry = match Entry::from_stored(row) {
                Ok(entry) => entry,
                Err(unreadable) => {
                    verdict.result = Err(verifier.unreadable(unreadable));
                    return Ok(verdict);
                }
            };
            entry.details = texts.remove(&(owner, entry.seq));
            if let Err(bad) = verifier.push(&entry) {
                verdict.result = Err(bad);
                return Ok(verdict);
            }
            sold.entry(&entry);
            verdict.entries = entry.seq;
            verdict.head_hash = entry.hash;
            page.push(entry);
        }
        count(tx, (owner, key), &page, &mut used, &mut limited).await?;
        compare_settled(tx, owner, &mut verifier).await?;
        tokio::task::yield_now().await;
    }
    verdict.result = finish(tx, owner, (verifier, used), verdict.entries).await?;
    if verdict.result.is_ok() && limited.is_needed() {
        let stored = limits::used_after(tx, owner, limited.now()).await?;
        if let Err(flaw) = limited.finish(&stored) {
            verdict.result = Err(BadLedger { owner, seq: verdict.entries, flaw });
        }
    }
    if verdict.result.is_ok()
        && let Err(flaw) = sales::compare(tx, owner, sold).await?
    {
        verdict.result = Err(BadLedger { owner, seq: verdict.entries, flaw });
    }
    Ok(verdict)
}

/// An audit of what is used of the account's limits, in the windows that are open at `now`, or at a later last entry.
async fn of_limits(tx: &mut Tx, owner: OwnerId, now: Timestamp) -> Result<LimitAudit, Error> {
    let set: Option<LimitSet> = limits::of(tx, &[owner]).await?.remove(&owner);
    let account = accounts::find(tx, owner).await?;
    let now = account.as_ref().map_or(now, |account| account.head.at.max(now));
    let period = account.map_or_else(|| Period::calendar(now), |account| account.period).at(now).month;
    Ok(LimitAudit::new(set.unwrap_or_default(), now, period))
}

/// Counts good entries as usage. For whom and for what something was that refers to something earlier, that says, in the
/// ledger itself and nowhere beside it.
async fn count(
    tx: &mut Tx,
    (owner, key): (OwnerId, OperationKey),
    page: &[Entry],
    used: &mut UsageAudit,
    limited: &mut LimitAudit,
) -> Result<(), Error> {
    let refunded = page.iter().filter_map(Entry::refunds).filter_map(|charge| key.seq(owner, charge));
    let charges = earlier(tx, owner, refunded.collect()).await?;
    let captured = page.iter().chain(charges.values()).filter_map(|entry| match entry.event.subject() {
        Some(OperationId::Hold(hold)) => key.seq(owner, hold),
        _ => None,
    });
    let holds = earlier(tx, owner, captured.collect()).await?;
    let own = |entry: &Entry| match entry.event.subject() {
        Some(subject @ OperationId::Hold(_)) => holds.get(&subject)?.event.attribution().cloned(),
        _ => entry.event.attribution().cloned(),
    };
    for entry in page {
        let work = match entry.event.subject() {
            Some(subject @ OperationId::Charge(_)) => charges.get(&subject).and_then(own),
            _ => own(entry),
        };
        used.entry(entry, work.as_ref());
        if !limited.is_needed() {
            continue;
        }
        let given_back = match entry.event.subject() {
            Some(subject @ OperationId::Charge(_)) => charges.get(&subject).and_then(|charge| {
                let hold = charge.event.subject().and_then(|hold| holds.get(&hold)).and_then(Hold::placed);
                Charge::from_entry(charge, hold.as_ref())
            }),
            _ => None,
        };
        limited.entry(entry, given_back.as_ref());
    }
    Ok(())
}

/// The entries with these numbers, by what they made.
async fn earlier(tx: &mut Tx, owner: OwnerId, numbers: BTreeSet<u64>) -> Result<HashMap<OperationId, Entry>, Error> {
    if numbers.is_empty() {
        return Ok(HashMap::new());
    }
    let named: Vec<_> = numbers.into_iter().map(|seq| (owner, seq)).collect();
    let found = ledger::by_seq(tx, &named).await?;
    Ok(found.into_iter().filter_map(|(_, entry)| Some((entry.event.made()?, entry))).collect())
}

/// Compares the holds that the last page's entries settled with how they are stored: page by page, and they are kept for
/// ever.
async fn compare_settled(tx: &mut Tx, owner: OwnerId, verifier: &mut Verifier) -> Result<(), Error> {
    let settled = verifier.take_settled();
    if settled.is_empty() {
        return Ok(());
    }
    let named: Vec<_> = settled.iter().map(|hold| (owner, hold.number)).collect();
    let filed = holds::named_filed(tx, &named).await?;
    let stored: HashMap<u64, Hold> = filed.into_iter().filter_map(rightly_filed).map(|it| (it.number, it)).collect();
    for hold in &settled {
        verifier.compare_settled(hold, stored.get(&hold.number));
    }
    Ok(())
}

/// The hold, unless it is stored in another member's name: an erasure would miss it, so it counts as missing.
fn rightly_filed((hold, member): holds::Filed) -> Option<Hold> {
    (hold.terms.attribution.member == member).then_some(hold)
}

/// Compares the account's row, its lots, its open holds and its usage totals with the entries.
async fn finish(
    tx: &mut Tx,
    owner: OwnerId,
    (verifier, mut used): (Verifier, UsageAudit),
    entries: u64,
) -> Result<Result<Audit, BadLedger>, Error> {
    let Some(account) = accounts::find(tx, owner).await? else {
        // Payments may come to nothing without one, and what they bought is compared behind this. Nobody is subscribed without.
        if !accounts::has_left(tx, owner).await? && subscriptions::latest(tx, owner).await?.is_none() {
            let (lots, available, held) = (0, Credits::ZERO, Credits::ZERO);
            return Ok(Ok(Audit { entries, lots, charged: 0, refunded: 0, available, held, erased: 0 }));
        }
        return Ok(Err(BadLedger { owner, seq: entries, flaw: Flaw::HeadMismatch }));
    };
    let mut stored_lots = Vec::new();
    loop {
        let last = stored_lots.last().map_or(0, |lot: &Lot| i64::try_from(lot.number).unwrap_or(i64::MAX));
        let page = lots::after(tx, owner, last, PAGE).await?;
        if page.is_empty() {
            break;
        }
        stored_lots.extend(page);
    }
    let (mut open, mut last) = (Vec::new(), (Timestamp::MIN, 0));
    loop {
        let page = holds::open_filed(tx, owner, last, PAGE).await?;
        let Some((hold, _)) = page.last() else { break };
        last = (hold.deadline, hold.number);
        open.extend(page.into_iter().filter_map(rightly_filed));
    }
    let audit = match verifier.finish(&account, &stored_lots, &open) {
        Ok(audit) => audit,
        Err(bad) => return Ok(Err(bad)),
    };
    let through = usage::rolled_up(tx, owner).await?.unwrap_or(Timestamp::MIN);
    each(tx, owner, Grain::Hour, |it| used.hour(&it.key, &it.totals, it.key.hour < through)).await?;
    each(tx, owner, Grain::Day, |it| used.day(&it.key, &it.totals)).await?;
    each_meter(tx, owner, |key, totals| used.meter(key, totals)).await?;
    if !used.agrees() {
        return Ok(Err(BadLedger { owner, seq: entries, flaw: Flaw::UsageMismatch }));
    }
    Ok(Ok(audit))
}

/// Shows every usage total of one grain that there ever was, in portions: none of them is kept.
async fn each(tx: &mut Tx, owner: OwnerId, grain: Grain, mut see: impl FnMut(&UsageRow)) -> Result<(), Error> {
    let mut begin = Begin::at(Timestamp::MIN);
    loop {
        let rows = usage::portion(tx, owner, grain, (&begin, Timestamp::MAX), PORTION).await?;
        rows.iter().for_each(&mut see);
        match rows.last() {
            Some(last) if rows.len() == PORTION => begin = Begin::after(&last.key),
            _ => return Ok(()),
        }
        tokio::task::yield_now().await;
    }
}

/// The same of what meters counted.
async fn each_meter(tx: &mut Tx, owner: OwnerId, mut see: impl FnMut(&MeterKey, &MeterTotals)) -> Result<(), Error> {
    let (all, mut last) = ((Timestamp::MIN, Timestamp::MAX), None);
    loop {
        let rows = usage::meters(tx, owner, all, last.as_ref(), PORTION).await?;
        for (key, totals) in &rows {
            see(key, totals);
        }
        last = rows.last().filter(|_| rows.len() == PORTION).map(|(key, _)| key.clone());
        if last.is_none() {
            return Ok(());
        }
        tokio::task::yield_now().await;
    }
}

/// What an audit of every account found.
#[derive(Debug, Default)]
pub struct Summary {
    /// How many accounts were audited.
    pub accounts: u64,
    /// How many entries they have.
    pub entries: u64,
    /// The first bad entry of each bad ledger, in the order of owners; behind them what has no account.
    pub bad: Vec<BadLedger>,
}

/// Audits every account at `now`, and whatever is stored of somebody who has none: with its account a ledger would be passed
/// over.
pub async fn verify_all(db: &Db, key: OperationKey, now: Timestamp) -> Result<Summary, Error> {
    let mut summary = Summary::default();
    let mut last = None;
    loop {
        let owners = accounts::after(&mut db.read().await?, last, PAGE).await?;
        let Some(newest) = owners.last().copied() else { break };
        for owner in owners {
            let verdict = verify(db, key, owner, now).await?;
            summary.accounts += 1;
            summary.entries += verdict.entries;
            summary.bad.extend(verdict.result.err());
        }
        last = Some(newest);
    }
    for owner in all_without_account(db).await? {
        let verdict = verify(db, key, owner, now).await?;
        summary.entries += verdict.entries;
        summary.bad.extend(verdict.result.err());
    }
    Ok(summary)
}

/// Everybody of whom something is stored beside the account's row, and who has none: what walks accounts passes these over.
pub(super) async fn all_without_account(db: &Db) -> Result<Vec<OwnerId>, Error> {
    let (mut all, mut seen) = (Vec::new(), HashSet::new());
    for what in Beside::ALL {
        let mut last = None;
        loop {
            let (found, next) = without_account(&mut db.read().await?, what, last, PAGE).await?;
            all.extend(found.into_iter().filter(|owner| seen.insert(*owner)));
            if next.is_none() {
                break;
            }
            last = next;
        }
    }
    Ok(all)
}

/// Those of a page of the next owners with something of a kind who have no account (nothing is wrong with a payment that came to
/// nothing), and after whom to go on, unless that was all. One step in the index for each, however much there is of it.
async fn without_account(
    tx: &mut Tx,
    what: Beside,
    mut last: Option<OwnerId>,
    page: i64,
) -> Result<(Vec<OwnerId>, Option<OwnerId>), Error> {
    let mut owners = Vec::new();
    for _ in 0..page {
        let next = accounts::next_with(tx, what, last).await?;
        last = next;
        let Some(owner) = next else { break };
        owners.push(owner);
    }
    if !owners.is_empty() {
        let known = accounts::among(tx, &owners).await?;
        owners.retain(|owner| !known.contains(owner));
    }
    Ok((owners, last))
}

/// Prints a summary, one line for each bad ledger, and gives the exit code that says the same.
#[expect(clippy::print_stdout, reason = "this is what `bursar-billing verify` prints")]
pub fn report(summary: &Summary) -> ExitCode {
    for bad in &summary.bad {
        println!("BAD  {bad}");
    }
    let Summary { accounts, entries, bad } = summary;
    println!("{accounts} accounts, {entries} good entries, {} bad ledgers", bad.len());
    if bad.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
