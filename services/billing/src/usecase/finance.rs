//! What finance asks of a month: of every lot what was paid, spent, is gone and is left, and what that is worth; of all of
//! them what is owed in credits, what was earned and what was breakage. And whether lots and sales agree.
//!
//! A month's end is found by going back from today: what a lot has now without what its ledger moved afterwards. One account
//! is read at a time, in one snapshot, so that memory grows with nobody's history.
//!
//! A month that moved to an organization was paid for once: what was paid is divided by the credits that stayed and those that
//! moved. The columns of credits say what each ledger does, where what moved is voided at the one owner and granted at the
//! other; those of money count its part at the one until it moves, and at the other from then on.
//!
//! What rolls over has lapsed with its month, and is granted anew: its new lot has its part of what was paid, and takes it back
//! from what was breakage, in the month in which it is granted. Both lots' lines together are what was paid.
//!
//! What was granted before its payment has no worth until that comes. In the month in which it does, what was spent of it until
//! then is earned.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::Write;

use bursar_db::{Db, Tx};
use bursar_id::{LotId, OwnerId, PurchaseId};
use bursar_money::{Currency, Price};
use bursar_time::Timestamp;

use super::accounts::first_at;
use super::dues::thing_of_month;
use super::entries::readable;
use crate::domain::{Lot, Parts, Purchase, PurchaseState, Station, Total, Worth};
use crate::error::Error;
use crate::store::{accounts, ledger, lots, payments, purchases};

/// How many rows are read at a time.
const PAGE: i64 = 500;

/// The first line.
const HEADER: [&str; 18] = [
    "owner",
    "lot",
    "source",
    "granted_at",
    "expires_at",
    "currency",
    "paid",
    "granted",
    "spent_in_month",
    "earned_in_month",
    "expired_in_month",
    "voided_in_month",
    "breakage_in_month",
    "spent",
    "expired",
    "voided",
    "left",
    "left_value",
];

/// What a month's report says of all lots that were paid for in one currency. Credits and money are in millionths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Paid for and neither spent nor gone at the month's end.
    pub left: i64,
    /// What of the money was paid for that.
    pub left_value: i64,
    /// What was paid for the credits that were spent in the month, less those that were given back.
    pub earned: i64,
    /// What was paid for the credits that expired or were voided in the month.
    pub breakage: i64,
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { left, left_value, earned, breakage } = *self;
        let [left, left_value, earned, breakage] = [left, left_value, earned, breakage].map(Total);
        write!(f, "{left} paid credits unspent, worth {left_value}; earned {earned}, breakage {breakage}")
    }
}

/// A report that was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MonthReport {
    /// How many lots it has.
    pub lots: u64,
    /// What they come to, by currency.
    pub sums: BTreeMap<String, Sums>,
    /// Where lots and sales do not agree, in words: a line for each.
    pub differences: Vec<String>,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum FinanceError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] Error),
    /// What was asked for has no end.
    #[error("the report cannot be written: {0}")]
    Output(#[from] std::io::Error),
    /// A line cannot be written.
    #[error("the report cannot be written: {0}")]
    Line(#[from] csv::Error),
}

impl From<bursar_db::DbError> for FinanceError {
    fn from(error: bursar_db::DbError) -> Self {
        Self::Store(error.into())
    }
}

/// Writes the report of the month `[from, to)` as CSV, of one owner or of all: a line for every lot of which something was
/// left when the month began or that was granted in it.
///
/// # Errors
/// The store or the output fails; what was written until then is not whole.
pub async fn report(
    db: &Db,
    owner: Option<OwnerId>,
    month: (Timestamp, Timestamp),
    out: impl Write,
) -> Result<MonthReport, FinanceError> {
    let mut csv = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
    csv.write_record(HEADER)?;
    let mut report = MonthReport::default();
    if let Some(owner) = owner {
        account(db, owner, month, &mut report, &mut csv).await?;
    } else {
        let mut last = None;
        loop {
            let owners = accounts::after(&mut db.read().await?, last, PAGE).await?;
            let Some(newest) = owners.last().copied() else { break };
            for owner in owners {
                account(db, owner, month, &mut report, &mut csv).await?;
            }
            last = Some(newest);
        }
    }
    csv.flush()?;
    Ok(report)
}

/// What one account's ledger moved in a month and after it, by lot.
#[derive(Debug, Default)]
struct Moved {
    within: HashMap<LotId, Parts>,
    after: HashMap<LotId, Parts>,
    /// The number of the first entry after the month: whatever lot is granted by it or later was not there yet.
    end: u64,
}

async fn account<W: Write>(
    db: &Db,
    owner: OwnerId,
    (from, to): (Timestamp, Timestamp),
    report: &mut MonthReport,
    csv: &mut csv::Writer<W>,
) -> Result<(), FinanceError> {
    let mut tx = db.read().await?;
    let Some(head) = accounts::find(&mut tx, owner).await?.map(|account| account.head.seq) else { return Ok(()) };
    let moved = moved(&mut tx, owner, head, (from, to)).await?;
    let (mut last, mut bought) = (0, HashMap::new());
    loop {
        let page = lots::after(&mut tx, owner, last, PAGE).await?;
        let Some(newest) = page.last() else { break };
        last = signed(newest.number);
        for lot in page {
            if lot.number < moved.end {
                let basis = Basis::of(&mut tx, &lot, to).await?;
                line((owner, basis), &lot, &moved, from, report, csv)?;
            }
            if let Some(purchase) = lot.terms.origin.purchase {
                bought.insert(purchase, lot);
            }
        }
    }
    report.differences.extend(reconcile(&mut tx, owner, bought).await?);
    Ok(())
}

async fn moved(tx: &mut Tx, owner: OwnerId, head: u64, (from, to): (Timestamp, Timestamp)) -> Result<Moved, Error> {
    let mut moved = Moved { end: head.saturating_add(1), ..Moved::default() };
    let mut last = first_at(tx, owner, head, from).await?.saturating_sub(1);
    loop {
        let rows = ledger::after(tx, owner, signed(last), PAGE).await?;
        if rows.is_empty() {
            return Ok(moved);
        }
        for entry in readable(rows)? {
            last = entry.seq;
            let later = entry.at >= to;
            if later {
                moved.end = moved.end.min(entry.seq);
            }
            let by_lot = if later { &mut moved.after } else { &mut moved.within };
            for posting in &entry.postings {
                let parts = by_lot.entry(posting.lot).or_default();
                *parts = parts.plus(Parts::moved(posting));
            }
        }
        // Others have the core meanwhile.
        tokio::task::yield_now().await;
    }
}

/// What was paid for a lot, and how much of it is another owner's.
#[derive(Debug, Clone, Copy, Default)]
struct Basis {
    /// For all of its credits, whoever has them now.
    paid: Option<Price>,
    /// How many micro-credits of it have moved to another owner by the month's end, and when.
    moved: Option<(i64, Timestamp)>,
    /// It was granted for what had rolled over.
    rolled: bool,
    /// Since when it is paid, where it was granted before that.
    paid_since: Option<Timestamp>,
}

impl Basis {
    /// As it is at a month's end. What moved is known by the payment, however the program that moved it divided the money: the
    /// first ones did not.
    async fn of(tx: &mut Tx, lot: &Lot, end: Timestamp) -> Result<Self, Error> {
        let origin = &lot.terms.origin;
        let rolled = lot.is_rolled_over() && origin.moved_from.is_none();
        let (mut payment, mut paid_since) = (origin.payment, None);
        if let (Some((subscription, number)), None, Some(_)) = (origin.subscription, origin.payment, origin.paid)
            && let Some(late) = payments::last_attempt(tx, thing_of_month(subscription, number)).await?
        {
            paid_since = late.fulfilled_at.filter(|at| late.lot == Some(lot.id) && *at < end);
            if paid_since.is_none() {
                return Ok(Self { rolled, ..Self::default() });
            }
            payment = Some(late.id);
        }
        let whole = Self { paid: origin.paid, moved: None, rolled, paid_since };
        let may_have_moved = origin.moved_from.is_some() || (origin.subscription.is_some() && lot.voided.micro() > 0);
        let Some(id) = payment.filter(|_| may_have_moved && origin.paid.is_some()) else { return Ok(whole) };
        let Some(payment) = payments::get(tx, id).await? else { return Ok(whole) };
        for its in payment.lots() {
            let stations: Vec<Station> = its.stations();
            let Some(place) = stations.iter().position(|it| it.lot == lot.id) else { continue };
            let here = stations[place];
            let before = place.checked_sub(1).and_then(|it| stations.get(it));
            let moved = stations.get(place + 1).filter(|it| it.owner != here.owner);
            let moved = moved.map(|it| (it.credits.micro(), made_at(it.lot))).filter(|(_, at)| *at < end);
            let rolled = before.is_some_and(|it| it.owner == here.owner);
            // What was not divided has all of the money. A year's later months were divided always, whatever that came to.
            let first_moved = place == 1 && !rolled && payment.lot == Some(its.lot);
            let undivided = first_moved && origin.paid == Some(payment.net());
            let along = |paid| Worth::moving_along(paid, its.credits.micro(), here.credits.micro());
            let paid = if undivided { origin.paid.map(along) } else { origin.paid };
            return Ok(Self { paid, moved, rolled, paid_since });
        }
        Ok(whole)
    }

    /// Of what a lot had at an instant, what is still its own.
    fn own(&self, parts: Parts, at: Option<Timestamp>) -> Parts {
        match self.moved {
            Some((credits, since)) if at.is_none_or(|at| since < at) => parts.without_moved(credits),
            _ => parts,
        }
    }
}

/// When a lot was granted.
fn made_at(lot: LotId) -> Timestamp {
    let micros = i64::try_from(lot.timestamp_millis()).ok().and_then(|it| it.checked_mul(1_000));
    micros.and_then(|it| Timestamp::from_micros(it).ok()).unwrap_or(Timestamp::EPOCH)
}

/// One lot's line, unless nothing was left of it when the month began.
fn line<W: Write>(
    (owner, basis): (OwnerId, Basis),
    lot: &Lot,
    moved: &Moved,
    from: Timestamp,
    report: &mut MonthReport,
    csv: &mut csv::Writer<W>,
) -> Result<(), FinanceError> {
    let within = moved.within.get(&lot.id).copied().unwrap_or_default();
    let end = Parts::of(lot).minus(moved.after.get(&lot.id).copied().unwrap_or_default());
    let begin = end.minus(within);
    let granted_at = made_at(lot.id);
    let comes = basis.paid_since.is_some_and(|at| at >= from);
    if !comes && begin.left == 0 && within == Parts::default() && granted_at < from {
        return Ok(());
    }
    let granted = lot.granted.micro();
    let money = basis.paid.map(|paid| {
        // What was not granted yet is worth nothing yet.
        let own = basis.own(end, None);
        let was_own = if comes { Parts::default() } else { basis.own(begin, Some(from)) };
        let (now, before) = (Worth::of(paid, granted, &own), Worth::of(paid, granted, &was_own));
        let [earned, expired, voided, _] = now.since(&before);
        // What it was granted for had lapsed: that was no breakage after all.
        let saved = if basis.rolled && granted_at >= from { paid.micros() } else { 0 };
        let breakage = expired + voided - saved;
        let sums = report.sums.entry(paid.currency().to_string()).or_default();
        sums.left += end.left;
        sums.left_value += now.left.micros();
        sums.earned += earned;
        sums.breakage += breakage;
        let along = basis.moved.map(|(credits, _)| Worth::moving_along(paid, granted, credits));
        let paid = along.and_then(|along| paid.checked_sub(along).ok()).unwrap_or(paid);
        (paid, earned, breakage, now.left.micros())
    });
    report.lots += 1;
    let total = |micros: i64| Total(micros).to_string();
    let text = |micros: Option<i64>| micros.map(total).unwrap_or_default();
    csv.write_record([
        owner.to_string(),
        lot.id.to_string(),
        lot.terms.source.to_string(),
        granted_at.to_rfc3339(),
        lot.terms.expires_at.map(Timestamp::to_rfc3339).unwrap_or_default(),
        money.map(|(paid, ..)| paid.currency()).as_ref().map(Currency::to_string).unwrap_or_default(),
        text(money.map(|(paid, ..)| paid.micros())),
        total(granted),
        total(within.spent),
        text(money.map(|(_, earned, ..)| earned)),
        total(within.expired),
        total(within.voided),
        text(money.map(|(_, _, breakage, _)| breakage)),
        total(end.spent),
        total(end.expired),
        total(end.voided),
        total(end.left),
        text(money.map(|(.., left)| left)),
    ])?;
    Ok(())
}

/// Every purchase that was paid has its lot, of as many credits and as much money; and every lot that was bought its
/// purchase. Where that is not so there is a line.
async fn reconcile(tx: &mut Tx, owner: OwnerId, mut bought: HashMap<PurchaseId, Lot>) -> Result<Vec<String>, Error> {
    let (mut differences, mut after) = (Vec::new(), None);
    loop {
        let page = purchases::page(tx, owner, after, PAGE).await?;
        let Some(oldest) = page.last() else { break };
        after = Some(oldest.id);
        for purchase in page.iter().filter(|it| it.state == PurchaseState::Paid) {
            let lot = bought.remove(&purchase.id);
            if !lot.is_some_and(|lot| agrees(purchase, &lot)) {
                differences.push(format!("{owner} {}: its payment is not what its lot says", purchase.id));
            }
        }
    }
    let mut alone: Vec<_> = bought.into_values().map(|lot| lot.id.to_string()).collect();
    alone.sort();
    differences.extend(alone.into_iter().map(|lot| format!("{owner} {lot}: no payment bought it")));
    Ok(differences)
}

fn agrees(purchase: &Purchase, lot: &Lot) -> bool {
    purchase.lot == Some(lot.id)
        && purchase.credits == lot.granted
        && lot.terms.origin.paid.is_none_or(|paid| paid == purchase.price)
}

fn signed(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}
