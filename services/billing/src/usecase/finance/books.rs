//! Whether payments, invoices, credit notes and lots are the same money: payment by payment, and in all.
//!
//! Every payment that was delivered has its invoice of as much, credit notes of what went back, and lots whose prices come to what
//! it is without taxes. Of a year that is so once its last month has begun; until then the rest is paid ahead. Each difference is a
//! line. Pages are read as the audit reads them, in the report's snapshot.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use bursar_db::Tx;
use bursar_id::{LotId, OwnerId, PaymentId, PurchaseId};
use bursar_money::{Credits, Price};
use bursar_time::Timestamp;

use super::{MonthReport, PAGE};
use crate::domain::{Invoice, Lot, PaidLot, Payment, PaymentState, Purchase, PurchaseState, Total};
use crate::error::Error;
use crate::store::{invoices, payments, purchases};

/// What all payments in one currency come to, in millionths of its unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Books {
    /// Payments for what was delivered, gross.
    pub payments: i64,
    /// Their invoices.
    pub invoices: i64,
    /// Those of them that have no invoice: earlier programs delivered them.
    pub not_invoiced: i64,
    /// What of them went back, by refunds and lost disputes.
    pub given_back: i64,
    /// Their credit notes.
    pub credit_notes: i64,
    /// What went back without one: earlier programs wrote none.
    pub not_noted: i64,
    /// The taxes on them.
    pub taxes: i64,
    /// What their lots say was paid for them.
    pub lots: i64,
    /// What was paid for something that has no lot, or one that does not say; less what the lots of a year have of its changes.
    pub without_lots: i64,
    /// What was paid for a year's months that have not begun.
    pub ahead: i64,
    /// Paid, not delivered, and not gone back yet.
    pub waiting: i64,
}

impl Books {
    /// What does not add up: nothing, where there is no difference.
    pub fn difference(&self) -> i64 {
        let billed = self.payments - self.invoices - self.not_invoiced;
        let back = self.given_back - self.credit_notes - self.not_noted;
        let sold = self.payments - self.taxes - self.lots - self.without_lots - self.ahead;
        billed.abs() + back.abs() + sold.abs()
    }

    fn add(&mut self, other: &Self) {
        self.payments += other.payments;
        self.invoices += other.invoices;
        self.not_invoiced += other.not_invoiced;
        self.given_back += other.given_back;
        self.credit_notes += other.credit_notes;
        self.not_noted += other.not_noted;
        self.taxes += other.taxes;
        self.lots += other.lots;
        self.without_lots += other.without_lots;
        self.ahead += other.ahead;
        self.waiting += other.waiting;
    }
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { payments, invoices, not_invoiced, given_back, credit_notes, not_noted, .. } = *self;
        let Self { taxes, lots, without_lots, ahead, waiting, .. } = *self;
        let [payments, invoices, not_invoiced] = [payments, invoices, not_invoiced].map(Total);
        write!(f, "payments {payments} = invoices {invoices} + not invoiced {not_invoiced}")?;
        let [taxes, lots, without_lots, ahead] = [taxes, lots, without_lots, ahead].map(Total);
        write!(f, " = taxes {taxes} + lots {lots} + without lots {without_lots} + paid ahead {ahead}; ")?;
        let [given_back, credit_notes, not_noted] = [given_back, credit_notes, not_noted].map(Total);
        write!(f, "given back {given_back} = credit notes {credit_notes} + not noted {not_noted}; ")?;
        write!(f, "not delivered {}; difference {}", Total(waiting), Total(self.difference()))
    }
}

/// A lot that was paid for, as the account has it.
#[derive(Debug, Clone, Copy)]
struct Granted {
    lot: LotId,
    credits: Credits,
    paid: Option<Price>,
    ends: Option<Timestamp>,
    /// It came with a subscription that another owner had.
    moved: bool,
}

/// An account's lots by what they were paid with.
#[derive(Debug, Default)]
pub(super) struct Sold {
    packs: HashMap<PurchaseId, Granted>,
    paid: HashMap<PaymentId, Vec<Granted>>,
    /// What was granted before its payment, which says that it is its own.
    early: HashMap<LotId, Granted>,
}

impl Sold {
    /// The next lot of the account.
    pub(super) fn granted(&mut self, lot: &Lot) {
        let origin = &lot.terms.origin;
        let (ends, moved) = (lot.terms.expires_at, origin.moved_from.is_some());
        let it = Granted { lot: lot.id, credits: lot.granted, paid: origin.paid, ends, moved };
        self.packs.extend(origin.purchase.map(|purchase| (purchase, it)));
        // What a debt was that was none after all is no part of the money.
        let was_sold = origin.purchase.is_some() || origin.subscription.is_some();
        match origin.payment.filter(|_| was_sold) {
            Some(payment) => self.paid.entry(payment).or_default().push(it),
            None if lot.is_granted_early() => {
                self.early.insert(lot.id, it);
            }
            None => {}
        }
    }
}

/// Compares what was sold to an account with its payments, and adds them to the report's books. Where something does not agree
/// there is a line.
pub(super) async fn reconcile(tx: &mut Tx, owner: OwnerId, sold: Sold, report: &mut MonthReport) -> Result<(), Error> {
    let Sold { packs, paid, early } = sold;
    report.differences.extend(compare_purchases(tx, owner, packs).await?);
    compare_payments(tx, owner, (paid, early), report).await
}

/// Every purchase that was paid has its lot, of as many credits and as much money; and every lot that was bought its
/// purchase.
async fn compare_purchases(
    tx: &mut Tx,
    owner: OwnerId,
    mut bought: HashMap<PurchaseId, Granted>,
) -> Result<Vec<String>, Error> {
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
    let mut alone: Vec<_> = bought.into_values().map(|it| it.lot.to_string()).collect();
    alone.sort();
    differences.extend(alone.into_iter().map(|lot| format!("{owner} {lot}: no payment bought it")));
    Ok(differences)
}

fn agrees(purchase: &Purchase, lot: &Granted) -> bool {
    purchase.lot == Some(lot.lot)
        && purchase.credits == lot.credits
        && lot.paid.is_none_or(|paid| paid == purchase.price)
}

/// Every payment has its invoice, its credit notes and its lots; and every lot that was paid for its payment.
async fn compare_payments(
    tx: &mut Tx,
    owner: OwnerId,
    (mut paid, mut early): (HashMap<PaymentId, Vec<Granted>>, HashMap<LotId, Granted>),
    report: &mut MonthReport,
) -> Result<(), Error> {
    let (mut before, mut without_lots) = (None, BTreeMap::new());
    loop {
        let page = payments::page(tx, owner, before, PAGE).await?;
        let Some(last) = page.last() else { break };
        before = Some((last.created_at, last.id));
        for payment in &page {
            let mut lots = paid.remove(&payment.id).unwrap_or_default();
            lots.extend(payment.lot.and_then(|lot| early.remove(&lot)));
            let (books, flaws) = of_payment(tx, payment, &mut lots).await?;
            let currency = payment.amount.currency().to_string();
            let of_account: &mut i64 = without_lots.entry(currency.clone()).or_default();
            *of_account = of_account.saturating_add(books.without_lots);
            report.books.entry(currency).or_default().add(&books);
            let unknown = lots.iter().map(|it| format!("its payment does not know {}", it.lot));
            let all = flaws.into_iter().map(str::to_owned).chain(unknown);
            report.differences.extend(all.map(|flaw| format!("{owner} {}: {flaw}", payment.id)));
        }
        // Others have the core meanwhile.
        tokio::task::yield_now().await;
    }
    let too_much = without_lots.into_iter().filter(|(_, rest)| *rest < 0);
    report.differences.extend(
        too_much.map(|(currency, _)| format!("{owner}: the lots of its payments in {currency} say more than was paid")),
    );
    for (id, lots) in BTreeMap::from_iter(paid) {
        let payment = payments::get(tx, id).await?.filter(|it| it.owner != owner);
        for lot in &lots {
            let known = payment.as_ref().is_some_and(|it| paid_elsewhere(it, owner, lot, report));
            if !known {
                report.differences.push(format!("{owner} {}: no payment of {id} granted it", lot.lot));
            }
        }
    }
    Ok(())
}

/// Whether a lot is one that another owner's payment has here, since its subscription has moved. A month that began here was paid
/// ahead there.
fn paid_elsewhere(payment: &Payment, owner: OwnerId, lot: &Granted, report: &mut MonthReport) -> bool {
    let its = payment.lots();
    if its.iter().any(|it| (it.owner, it.lot) == (owner, lot.lot)) {
        let paid = lot.paid.map_or(0, Price::micros);
        let books = Books { lots: paid, ahead: -paid, ..Books::default() };
        report.books.entry(payment.amount.currency().to_string()).or_default().add(&books);
        return true;
    }
    // What an earlier program moved its payment says nothing of.
    lot.moved || its.iter().flat_map(PaidLot::stations).any(|it| (it.owner, it.lot) == (owner, lot.lot))
}

/// What a payment comes to, and what is wrong with it. Takes its lots out of these.
async fn of_payment(
    tx: &mut Tx,
    payment: &Payment,
    lots: &mut Vec<Granted>,
) -> Result<(Books, Vec<&'static str>), Error> {
    let (mut books, mut flaws) = (Books::default(), Vec::new());
    let (amount, back) = (payment.amount.micros(), payment.given_back().micros());
    let invoice = invoices::by_payment(tx, payment.owner, payment.id).await?;
    if payment.fulfilled_at.is_none() {
        if payment.state == PaymentState::Paid {
            books.waiting = amount - back;
            if payment.returned && !payment.refundable().is_zero() {
                flaws.push("nothing was delivered for it, and its money has not gone back");
            }
        }
        if invoice.is_some() {
            flaws.push("nothing was delivered for it, and it has an invoice");
        }
        return Ok((books, flaws));
    }
    (books.payments, books.given_back) = (amount, back);
    match &invoice {
        Some(issued) => {
            let bill = &issued.bill;
            books.invoices = bill.total.micros();
            if payment.invoice != Some(issued.id.id) || bill.total != payment.amount || bill.subtotal != payment.net() {
                flaws.push("its invoice is not what was paid");
            }
            books.credit_notes = invoices::credited(tx, issued).await?.micros();
            // Earlier programs wrote no credit note of a dispute that was lost.
            if books.credit_notes == payment.refunded.micros() {
                books.not_noted = back - books.credit_notes;
            }
        }
        None if payment.invoice.is_none() => (books.not_invoiced, books.not_noted) = (amount, back),
        None => flaws.push("its invoice is missing"),
    }
    if back != books.credit_notes + books.not_noted {
        flaws.push("its credit notes are not what went back");
    }
    compare_lots(payment, (invoice.as_ref(), lots), (&mut books, &mut flaws));
    Ok((books, flaws))
}

/// Compares what a payment is without taxes with what its lots say was paid for them.
fn compare_lots(
    payment: &Payment,
    (invoice, lots): (Option<&Invoice>, &mut Vec<Granted>),
    (books, flaws): (&mut Books, &mut Vec<&'static str>),
) {
    let (owner, net, its) = (payment.owner, payment.net().micros(), payment.lots());
    books.taxes = payment.amount.micros() - net;
    let mut found = Vec::new();
    for it in its.iter().filter(|it| it.owner == owner) {
        let place = lots.iter().position(|lot| (lot.lot, lot.credits) == (it.lot, it.credits));
        match place {
            Some(place) => found.push(lots.swap_remove(place)),
            None => flaws.push("a lot of it is not what it says"),
        }
    }
    // What became of what was left of them has its part of the same money.
    for it in its.iter().flat_map(PaidLot::stations) {
        lots.retain(|lot| it.owner != owner || lot.lot != it.lot);
    }
    books.lots = found.iter().filter_map(|lot| lot.paid).fold(0_i64, |sum, paid| sum.saturating_add(paid.micros()));
    let rest = net - books.lots;
    if its.is_empty() || found.iter().any(|lot| lot.paid.is_none()) {
        books.without_lots = rest;
    } else if rest > 0 && has_later_months(payment, invoice, &found) {
        books.ahead = rest;
    } else if rest < 0 && !payment.months.is_empty() {
        // A change that adds no credits, or found no room for a lot of its own, has none: its part of each month is with the year's.
        books.without_lots = rest;
    } else if rest != 0 {
        flaws.push("its lots do not say what was paid");
    }
}

/// Whether a payment is for more than the months whose lots are here.
fn has_later_months(payment: &Payment, invoice: Option<&Invoice>, found: &[Granted]) -> bool {
    let of_first = found.first().filter(|it| payment.lot == Some(it.lot) && payment.months.is_empty());
    let Some(first) = of_first else { return true };
    let mut lines = invoice.iter().flat_map(|it| &it.bill.lines);
    lines.any(|line| line.period.is_some_and(|(_, end)| first.ends.is_some_and(|ends| ends < end)))
}
