//! What finance asks of a month: of every lot what was paid, spent, is gone and is left, and what that is worth; of all of
//! them what is owed in credits, what was earned and what was breakage. And whether lots and sales agree.
//!
//! A month's end is found by going back from today: what a lot has now without what its ledger moved afterwards. One account
//! is read at a time, in one snapshot, its rows page by page, and each line is written at once: memory grows with the lots of the
//! largest account, and not with how many accounts there are.
//!
//! A month that moved to an organization was paid for once: what was paid is divided by the credits that stayed and those that
//! moved. The columns of credits say what each ledger does, where what moved is voided at the one owner and granted at the
//! other; those of money count its part at the one until it moves, and at the other from then on.
//!
//! What rolls over has lapsed with its month, and is granted anew: its new lot has its part of what was paid, and takes it back
//! from what was breakage, in the month in which it is granted. Both lots' lines together are what was paid, once without what
//! the new one has of it (`rolled_over`).
//!
//! What is given back, by a refund or a dispute that is lost, is so in the month of its credit note: what was paid for is then
//! taken from what is left, from what was earned, or from what was breakage. A pack that pays a debt is earned by that, and what was
//! spent before and given back is not any more. What an open dispute is about is kept until it is lost.
//!
//! Of what went back without a credit note, since an earlier program wrote none, the ledger knows when: when credits were taken for it
//! last. Where none were, nobody knows, and it is as if it had gone back at once.
//!
//! Of every lot with a price, at the end of every month: paid, less rolled over, given back, earned and breakage, is what is left.
//! A payment's money that is in no lot, or not yet, has a line of its own (`domain/not_granted.rs`): what moves into a lot is paid
//! less there, and so all lines together are the payments, once, less what went back.
//!
//! What was granted before its payment has no worth until that comes. In the month in which it does, what was spent of it until
//! then is earned.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::io::Write;

use bursar_db::{Db, Tx};
use bursar_id::{LotId, OwnerId, PaymentId};
use bursar_money::Currency;
use bursar_time::Timestamp;

use super::accounts::first_at;
use super::audit::all_without_account;
use super::entries::readable;
use crate::domain::{Event, Lot, Parts, Total};
use crate::error::Error;
use crate::store::{accounts, ledger, lots};

mod ahead;
mod basis;
mod books;
mod known;

use basis::{Basis, Money, made_at};
use books::{Sold, reconcile};
use known::Known;

pub use books::Books;

/// How many rows are read at a time.
const PAGE: i64 = 500;

/// The first line.
const HEADER: [&str; 25] = [
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
    "paid_in_month",
    "given_back_in_month",
    "rolled_over",
    "given_back",
    "earned",
    "breakage",
    "payment",
];

/// The source of what is in no lot.
const NOT_GRANTED: &str = "NOT_GRANTED";

/// What a month's report says of all lots that were paid for in one currency. Credits and money are in millionths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sums {
    /// Paid for and neither spent nor gone at the month's end.
    pub left: i64,
    /// What of the money was paid for that.
    pub left_value: i64,
    /// What was paid for the credits that were spent in the month, less those that were given back, and what was earned before
    /// of money that went back in it.
    pub earned: i64,
    /// What was paid for the credits that expired or were voided in the month, less what of that went back.
    pub breakage: i64,
    /// What was paid for lots that were granted in the month.
    pub paid: i64,
    /// What of the money went back in the month, by refunds and lost disputes.
    pub given_back: i64,
}

impl Sums {
    /// These with one line more, unless that is beyond what can be counted.
    fn with(self, credits: i64, (now, month): (&Money, &Money)) -> Option<Self> {
        Some(Self {
            left: self.left.checked_add(credits)?,
            left_value: self.left_value.checked_add(now.left)?,
            earned: self.earned.checked_add(month.earned)?,
            breakage: self.breakage.checked_add(month.breakage)?,
            paid: self.paid.checked_add(month.paid)?.checked_sub(month.rolled_over)?,
            given_back: self.given_back.checked_add(month.given_back)?,
        })
    }

    /// The money alone, in words: of what is in no lot.
    pub fn of_money(&self) -> String {
        let Self { left_value, earned, breakage, paid, given_back, .. } = *self;
        let [left, earned, breakage, paid, back] = [left_value, earned, breakage, paid, given_back].map(Total);
        format!("paid {paid}, earned {earned}, breakage {breakage}, given back {back}; {left} paid ahead")
    }
}

impl fmt::Display for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { left, left_value, earned, breakage, .. } = *self;
        let [left, left_value, earned, breakage] = [left, left_value, earned, breakage].map(Total);
        write!(f, "{left} paid credits unspent, worth {left_value}; earned {earned}, breakage {breakage}")?;
        if self.given_back == 0 { Ok(()) } else { write!(f, ", given back {}", Total(self.given_back)) }
    }
}

/// A report that was written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MonthReport {
    /// How many lots it has.
    pub lots: u64,
    /// What they come to, by currency.
    pub sums: BTreeMap<String, Sums>,
    /// What the lines of payments come to, by currency: what of their money is in no lot.
    pub not_granted: BTreeMap<String, Sums>,
    /// What all payments of the accounts come to by now, by currency.
    pub books: BTreeMap<String, Books>,
    /// Where lots and sales do not agree, in words: a line for each.
    pub differences: Vec<String>,
    /// What went back of payments without a credit note, in words: a line for each. That is no difference.
    pub not_noted: Vec<String>,
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
    /// A sum is beyond what can be counted.
    #[error("a sum in {0} is beyond 9,223,372,036,854 units: ask for each owner by itself")]
    TooMuch(String),
}

impl From<bursar_db::DbError> for FinanceError {
    fn from(error: bursar_db::DbError) -> Self {
        Self::Store(error.into())
    }
}

/// Writes the report of the month `[from, to)` as CSV, of one owner or of all: a line for every lot of which something was
/// left when the month began or that was granted in it, and for every payment of which the same is so without a lot. As it is told at
/// `now`: what is for a time until then is over, whether or not the month is.
///
/// # Errors
/// The store or the output fails; what was written until then is not whole.
pub async fn report(
    db: &Db,
    owner: Option<OwnerId>,
    (month, now): ((Timestamp, Timestamp), Timestamp),
    out: impl Write,
) -> Result<MonthReport, FinanceError> {
    let mut csv = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
    csv.write_record(HEADER)?;
    let mut report = MonthReport::default();
    if let Some(owner) = owner {
        account(db, owner, (month, now), &mut report, &mut csv).await?;
    } else {
        let mut last = None;
        loop {
            let owners = accounts::after(&mut db.read().await?, last, PAGE).await?;
            let Some(newest) = owners.last().copied() else { break };
            for owner in owners {
                account(db, owner, (month, now), &mut report, &mut csv).await?;
            }
            last = Some(newest);
        }
        for owner in all_without_account(db).await? {
            account(db, owner, (month, now), &mut report, &mut csv).await?;
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
    /// What refunds and disputes have voided of a lot, in micro-credits, less what came back to it.
    taken_within: HashMap<LotId, i64>,
    taken_after: HashMap<LotId, i64>,
    /// The payments of which they have taken credits, or that came back.
    touched_within: HashSet<PaymentId>,
    touched_after: HashSet<PaymentId>,
    /// The number of the first entry after the month: whatever lot is granted by it or later was not there yet.
    end: u64,
}

impl Moved {
    /// Whether what went back of a payment, and no credit note says, had done so by the month's beginning and its end, and has by
    /// now: credits were taken for it by then, or none at all.
    fn is_back(&self, payment: PaymentId) -> [bool; 3] {
        let [within, after] = [&self.touched_within, &self.touched_after].map(|it| it.contains(&payment));
        [!within && !after, !after, true]
    }
}

async fn account<W: Write>(
    db: &Db,
    owner: OwnerId,
    ((from, to), now): ((Timestamp, Timestamp), Timestamp),
    report: &mut MonthReport,
    csv: &mut csv::Writer<W>,
) -> Result<(), FinanceError> {
    let mut tx = db.read().await?;
    let head = accounts::find(&mut tx, owner).await?.map(|account| account.head.seq);
    let moved = match head {
        Some(head) => moved(&mut tx, owner, head, (from, to)).await?,
        // There is a payment at most, which was not delivered.
        None => Moved { end: 1, ..Moved::default() },
    };
    let (mut last, mut sold) = (0, Sold::default());
    loop {
        let page = lots::after(&mut tx, owner, last, PAGE).await?;
        let Some(newest) = page.last() else { break };
        last = signed(newest.number);
        let known = Box::pin(Known::of(&mut tx, &page)).await?;
        for lot in page {
            let basis = Basis::of(&lot, (&moved, &known), (from, to))?;
            sold.granted(&lot, &basis);
            if lot.number < moved.end {
                line((owner, basis), &lot, &moved, ((from, to), now), report, csv)?;
            }
        }
    }
    if head.is_none() && (last > 0 || !ledger::after(&mut tx, owner, 0, 1).await?.is_empty()) {
        report.differences.push(format!("{owner}: its account is missing, and no line has what is left of it"));
    }
    let (rests, begun) = Box::pin(reconcile(&mut tx, owner, sold, report)).await?;
    Box::pin(ahead::tell((&mut tx, owner, &moved), (rests, begun), ((from, to), now), report, csv)).await
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
            let (by_lot, taken, touched) = if later {
                (&mut moved.after, &mut moved.taken_after, &mut moved.touched_after)
            } else {
                (&mut moved.within, &mut moved.taken_within, &mut moved.touched_within)
            };
            for posting in &entry.postings {
                let parts = by_lot.entry(posting.lot).or_default();
                *parts = parts.plus(Parts::moved(posting));
            }
            if let Event::Debt(it) | Event::DebtReversed(it) = &entry.event {
                let voided = entry.postings.iter().fold(0_i64, |sum, posting| sum.saturating_add(posting.voided));
                touched.insert(it.payment);
                let taken = taken.entry(it.lot).or_default();
                *taken = taken.saturating_add(voided);
            }
        }
        // Others have the core meanwhile.
        tokio::task::yield_now().await;
    }
}

/// One lot's line, unless nothing was left of it when the month began, and nothing has become of it since.
fn line<W: Write>(
    (owner, basis): (OwnerId, Basis),
    lot: &Lot,
    moved: &Moved,
    ((from, to), now): ((Timestamp, Timestamp), Timestamp),
    report: &mut MonthReport,
    csv: &mut csv::Writer<W>,
) -> Result<(), FinanceError> {
    let mut within = moved.within.get(&lot.id).copied().unwrap_or_default();
    let mut end = Parts::of(lot).minus(moved.after.get(&lot.id).copied().unwrap_or_default());
    // A lot ends by its time, and the entry that says so may come later: it is dated back, and a month that was told stays so.
    if let Some(ended_at) = lot.terms.expires_at.filter(|it| *it < to && *it <= now) {
        end = end.plus(Parts::lapsed(lot));
        if ended_at >= from {
            within = within.plus(Parts::lapsed(lot));
        }
    }
    let begin = end.minus(within);
    let granted_at = made_at(lot.id);
    // Money is given back also where no credits move: they are owed, or nobody had them.
    let (before, after) = basis.money(lot, begin, end).unzip();
    let nothing_happened = within == Parts::default() && before == after;
    let was_left = begin.left != 0 || before.is_some_and(|it: Money| it.left != 0);
    if nothing_happened && !was_left && granted_at < from {
        return Ok(());
    }
    let currency = basis.currency();
    let money = after.zip(before).map(|(after, before)| (after, after.since(&before)));
    if let (Some((after, month)), Some(currency)) = (&money, currency) {
        count(&mut report.sums, currency, end.left, (after, month))?;
    }
    report.lots += 1;
    let line = Line {
        owner,
        lot: Some(lot.id),
        source: lot.terms.source.as_str(),
        granted_at,
        expires_at: lot.terms.expires_at,
        currency,
        granted: lot.granted.micro(),
        within,
        end,
        money,
        payment: basis.payment(),
    };
    Ok(line.write(csv)?)
}

/// Adds a line to sums by currency: what is in one is never added to what is in another.
fn count(
    sums: &mut BTreeMap<String, Sums>,
    currency: Currency,
    credits: i64,
    money: (&Money, &Money),
) -> Result<(), FinanceError> {
    let of_currency = sums.entry(currency.to_string()).or_default();
    *of_currency = of_currency.with(credits, money).ok_or_else(|| FinanceError::TooMuch(currency.to_string()))?;
    Ok(())
}

/// One line: a lot, or what of a payment is in none. All of it is numbers, times, ids and the program's own words: whatever a
/// table's program makes of a name, there is none.
struct Line {
    owner: OwnerId,
    lot: Option<LotId>,
    source: &'static str,
    granted_at: Timestamp,
    expires_at: Option<Timestamp>,
    currency: Option<Currency>,
    granted: i64,
    within: Parts,
    end: Parts,
    /// By the month's end, and in the month; `None` where nobody knows what was paid.
    money: Option<(Money, Money)>,
    payment: Option<PaymentId>,
}

impl Line {
    fn write<W: Write>(&self, csv: &mut csv::Writer<W>) -> Result<(), csv::Error> {
        let Self { within, end, .. } = self;
        let total = |micros: i64| Total(micros).to_string();
        let so_far = |of: fn(&Money) -> i64| self.money.map(|(now, _)| total(of(&now))).unwrap_or_default();
        let in_month = |of: fn(&Money) -> i64| self.money.map(|(_, month)| total(of(&month))).unwrap_or_default();
        csv.write_record([
            self.owner.to_string(),
            self.lot.map(|lot| lot.to_string()).unwrap_or_default(),
            self.source.to_owned(),
            self.granted_at.to_rfc3339(),
            self.expires_at.map(Timestamp::to_rfc3339).unwrap_or_default(),
            self.currency.as_ref().map(Currency::to_string).unwrap_or_default(),
            so_far(|it| it.paid),
            total(self.granted),
            total(within.spent),
            in_month(|it| it.earned),
            total(within.expired),
            total(within.voided),
            in_month(|it| it.breakage),
            total(end.spent),
            total(end.expired),
            total(end.voided),
            total(end.left),
            so_far(|it| it.left),
            in_month(|it| it.paid - it.rolled_over),
            in_month(|it| it.given_back),
            so_far(|it| it.rolled_over),
            so_far(|it| it.given_back),
            so_far(|it| it.earned),
            so_far(|it| it.breakage),
            self.payment.map(|payment| payment.to_string()).unwrap_or_default(),
        ])
    }
}

fn signed(seq: u64) -> i64 {
    i64::try_from(seq).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod closed;
#[cfg(test)]
mod lives;
