//! Whether payments, invoices, credit notes and lots are the same money: payment by payment, and in all.
//!
//! Every payment that was delivered has its invoice of as much, credit notes of what went back, and lots whose prices come to what
//! it is without taxes. Of a year that is so once its last month has begun; until then the rest is paid ahead, and where it has ended
//! or went back, it never begins. Each difference is a line. What a provider has told of a payment's
//! money that is booked nowhere is one, too: invoices, notes and lots say that it is there, and its bank does not. Pages are read as
//! the audit reads them, in the report's snapshot, and what belongs to a page is asked for at once.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use bursar_db::{DbError, Tx};
use bursar_id::{LotId, OwnerId, PaymentId, PurchaseId};
use bursar_money::{Credits, Currency, Price};
use bursar_time::Timestamp;

use super::ahead::{Begun, Rest, Rests, begins};
use super::basis::Basis;
use super::known::{Notes, before};
use super::{FinanceError, MonthReport, PAGE};
use crate::domain::{
    Bought, Invoice, Lot, PaidLot, Payment, PaymentState, Purchase, PurchaseState, SetAside, Total, Whereabouts,
};
use crate::error::Error;
use crate::store::{invoices, payments, purchases};

/// How many payments that others have made, or subscriptions that may be with others, are asked for at a time.
pub(super) const TOGETHER: usize = 500;

/// What all payments in one currency come to, in millionths of its unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Books {
    /// Payments for what was delivered, gross.
    pub payments: i64,
    /// Their invoices.
    pub invoices: i64,
    /// Those of them that have no invoice, and no bill: earlier programs delivered them.
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
    /// What was paid for those that never will: it went back, or the year has ended before its time.
    pub never_begun: i64,
    /// Paid, not delivered, and not gone back yet.
    pub waiting: i64,
    /// Paid, not delivered, and gone back: there is no invoice of it, and so no credit note.
    pub sent_back: i64,
    /// Disputed or gone besides, as a provider has told of it and it was set aside: nothing else here says so.
    pub set_aside: i64,
}

impl Books {
    /// What does not add up: nothing, where there is no difference.
    pub fn difference(&self) -> i64 {
        let billed = self.payments - self.invoices - self.not_invoiced;
        let back = self.given_back - self.credit_notes - self.not_noted;
        let sold = self.payments - self.taxes - self.lots - self.without_lots - self.ahead - self.never_begun;
        billed.abs() + back.abs() + sold.abs() + self.set_aside
    }

    /// Both together, unless that is beyond what can be counted.
    fn with(self, other: &Self) -> Option<Self> {
        Some(Self {
            payments: self.payments.checked_add(other.payments)?,
            invoices: self.invoices.checked_add(other.invoices)?,
            not_invoiced: self.not_invoiced.checked_add(other.not_invoiced)?,
            given_back: self.given_back.checked_add(other.given_back)?,
            credit_notes: self.credit_notes.checked_add(other.credit_notes)?,
            not_noted: self.not_noted.checked_add(other.not_noted)?,
            taxes: self.taxes.checked_add(other.taxes)?,
            lots: self.lots.checked_add(other.lots)?,
            without_lots: self.without_lots.checked_add(other.without_lots)?,
            ahead: self.ahead.checked_add(other.ahead)?,
            never_begun: self.never_begun.checked_add(other.never_begun)?,
            waiting: self.waiting.checked_add(other.waiting)?,
            sent_back: self.sent_back.checked_add(other.sent_back)?,
            set_aside: self.set_aside.checked_add(other.set_aside)?,
        })
    }
}

impl MonthReport {
    /// Adds to the books in a currency.
    pub(super) fn note(&mut self, currency: Currency, more: &Books) -> Result<(), FinanceError> {
        if *more != Books::default() {
            let books = self.books.entry(currency.to_string()).or_default();
            *books = books.with(more).ok_or_else(|| FinanceError::TooMuch(currency.to_string()))?;
        }
        Ok(())
    }
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { payments, invoices, not_invoiced, given_back, credit_notes, not_noted, .. } = *self;
        let Self { taxes, lots, without_lots, ahead, waiting, .. } = *self;
        let [payments, invoices, not_invoiced] = [payments, invoices, not_invoiced].map(Total);
        write!(f, "payments {payments} = invoices {invoices} + not invoiced {not_invoiced}")?;
        let [taxes, lots, without_lots, ahead] = [taxes, lots, without_lots, ahead].map(Total);
        write!(f, " = taxes {taxes} + lots {lots} + without lots {without_lots} + paid ahead {ahead}")?;
        if self.never_begun != 0 {
            write!(f, " + never begun {}", Total(self.never_begun))?;
        }
        f.write_str("; ")?;
        let [given_back, credit_notes, not_noted] = [given_back, credit_notes, not_noted].map(Total);
        write!(f, "given back {given_back} = credit notes {credit_notes} + not noted {not_noted}; ")?;
        write!(f, "not delivered {}", Total(waiting))?;
        if self.sent_back != 0 {
            write!(f, ", undelivered and gone back {}", Total(self.sent_back))?;
        }
        if self.set_aside != 0 {
            write!(f, "; set aside {}", Total(self.set_aside))?;
        }
        write!(f, "; difference {}", Total(self.difference()))
    }
}

/// A lot that was paid for, as the account has it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Granted {
    lot: LotId,
    credits: Credits,
    pub(super) paid: Option<Price>,
    ends: Option<Timestamp>,
    /// It came with a subscription that another owner had.
    moved: bool,
    /// The number of the month that it is the payment's own lot of.
    pub(super) number: Option<u32>,
    /// What went back of its money by the month's beginning and its end, and has by now.
    pub(super) back: [i64; 3],
}

/// An account's lots by what they were paid with.
#[derive(Debug, Default)]
pub(super) struct Sold {
    packs: HashMap<PurchaseId, Granted>,
    paid: HashMap<PaymentId, Vec<Granted>>,
    /// What was granted before its payment, which says that it is its own.
    early: HashMap<LotId, Granted>,
    begun: Begun,
}

impl Sold {
    /// The next lot of the account.
    pub(super) fn granted(&mut self, lot: &Lot, basis: &Basis) {
        begins(&mut self.begun, lot);
        let origin = &lot.terms.origin;
        let (ends, moved) = (lot.terms.expires_at, origin.moved_from.is_some());
        let number = origin.subscription.filter(|_| basis.is_first()).map(|(_, number)| number);
        let (credits, paid, back) = (lot.granted, origin.paid, basis.given_back(lot));
        let it = Granted { lot: lot.id, credits, paid, ends, moved, number, back };
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
/// there is a line. Gives the payments that may have something in no lot, and when the months of subscriptions have begun.
pub(super) async fn reconcile(
    tx: &mut Tx,
    owner: OwnerId,
    sold: Sold,
    report: &mut MonthReport,
) -> Result<(Rests, Begun), FinanceError> {
    let Sold { packs, mut paid, early, begun } = sold;
    report.differences.extend(compare_purchases(tx, owner, packs).await?);
    let rests = Box::pin(compare_payments(tx, owner, (&mut paid, early), report)).await?;
    compare_others(tx, owner, paid, report).await?;
    Ok((rests, begun))
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

/// The invoices of some of the owner's payments, and the credit notes of these.
struct Papers {
    invoices: HashMap<PaymentId, Invoice>,
    notes: Notes,
}

impl Papers {
    async fn of(tx: &mut Tx, owner: OwnerId, payments: &[Payment]) -> Result<Self, DbError> {
        let ids: Vec<_> = payments.iter().map(|it| it.id).collect();
        let invoices = invoices::of_payments(tx, owner, &ids).await?;
        let ids: Vec<_> = invoices.iter().map(|it| (owner, it.id.id)).collect();
        let notes = Notes::of(tx, &ids).await?;
        Ok(Self { invoices: invoices.into_iter().map(|it| (it.payment, it)).collect(), notes })
    }

    /// The invoice of a payment, and its credit notes.
    fn find(&self, payment: PaymentId) -> (Option<&Invoice>, &[(Timestamp, i64)]) {
        let invoice = self.invoices.get(&payment);
        (invoice, self.notes.all(invoice.map(|it| it.id.id)))
    }
}

/// Every payment has its invoice, its credit notes and its lots, which are taken out of these.
async fn compare_payments(
    tx: &mut Tx,
    owner: OwnerId,
    (paid, mut early): (&mut HashMap<PaymentId, Vec<Granted>>, HashMap<LotId, Granted>),
    report: &mut MonthReport,
) -> Result<Rests, FinanceError> {
    let (mut before, mut without_lots, mut rests) = (None, BTreeMap::new(), Rests::new());
    loop {
        let page = payments::page(tx, owner, before, PAGE).await?;
        let Some(last) = page.last() else { break };
        before = Some((last.created_at, last.id));
        let papers = Papers::of(tx, owner, &page).await?;
        for payment in &page {
            let mut lots = paid.remove(&payment.id).unwrap_or_default();
            lots.extend(payment.lot.and_then(|lot| early.remove(&lot)));
            let papers = papers.find(payment.id);
            let rest = Rest::of(payment, papers, &lots);
            let (books, flaws) = of_payment(payment, papers, &mut lots);
            rests.extend(rest.map(|it| (payment.id, it.with_ahead(books.ahead))));
            let currency = payment.amount.currency();
            let of_account: &mut i64 = without_lots.entry(currency).or_default();
            *of_account = of_account.saturating_add(books.without_lots);
            report.note(currency, &books)?;
            note_aside(payment, report)?;
            let unnoted = (books.not_noted != 0).then_some(Total(books.not_noted));
            report.not_noted.extend(
                unnoted.map(|it| format!("{owner} {}: {it} {currency} went back without a credit note", payment.id)),
            );
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
    Ok(rests)
}

/// What of a payment's money is booked nowhere, in the books of its own currency, and a line for each of it.
fn note_aside(payment: &Payment, report: &mut MonthReport) -> Result<(), FinanceError> {
    for it in payment.aside.iter().filter(|it| it.is_withheld()) {
        let SetAside { name, amount, whereabouts } = it;
        report.note(amount.currency(), &Books { set_aside: amount.micros(), ..Books::default() })?;
        let said = if *whereabouts == Whereabouts::Gone { "gone" } else { "disputed" };
        let by = if name.is_empty() { "a refund" } else { name };
        let Payment { owner, id, .. } = payment;
        report
            .differences
            .push(format!("{owner} {id}: {amount} of it is {said} by {by}, which was set aside: no note says so"));
    }
    Ok(())
}

/// Every other lot that was paid for has a payment of somebody else.
async fn compare_others(
    tx: &mut Tx,
    owner: OwnerId,
    paid: HashMap<PaymentId, Vec<Granted>>,
    report: &mut MonthReport,
) -> Result<(), FinanceError> {
    let paid = Vec::from_iter(BTreeMap::from_iter(paid));
    for some in paid.chunks(TOGETHER) {
        let ids: Vec<_> = some.iter().map(|(id, _)| *id).collect();
        let found = payments::among(tx, &ids).await?.into_iter().filter(|it| it.owner != owner);
        let found: HashMap<_, _> = found.map(|it| (it.id, it)).collect();
        for (id, lots) in some {
            let payment = found.get(id);
            for lot in lots {
                match payment.and_then(|it| Some((it.amount.currency(), paid_elsewhere(it, owner, lot)?))) {
                    Some((currency, books)) => report.note(currency, &books)?,
                    None => report.differences.push(format!("{owner} {}: no payment of {id} granted it", lot.lot)),
                }
            }
        }
    }
    Ok(())
}

/// What a lot comes to in the books that another owner's payment has here, since its subscription has moved: a month that began here
/// was paid ahead there. `None` where it has none.
fn paid_elsewhere(payment: &Payment, owner: OwnerId, lot: &Granted) -> Option<Books> {
    let its = payment.lots();
    if its.iter().any(|it| (it.owner, it.lot) == (owner, lot.lot)) {
        let paid = lot.paid.map_or(0, Price::micros);
        return Some(Books { lots: paid, ahead: -paid, ..Books::default() });
    }
    // What an earlier program moved its payment says nothing of.
    let is_known = lot.moved || its.iter().flat_map(PaidLot::stations).any(|it| (it.owner, it.lot) == (owner, lot.lot));
    is_known.then(Books::default)
}

/// What a payment comes to, and what is wrong with it. Takes its lots out of these.
fn of_payment(
    payment: &Payment,
    (invoice, notes): (Option<&Invoice>, &[(Timestamp, i64)]),
    lots: &mut Vec<Granted>,
) -> (Books, Vec<&'static str>) {
    let (mut books, mut flaws) = (Books::default(), Vec::new());
    let (amount, back) = (payment.amount.micros(), payment.given_back().micros());
    if payment.fulfilled_at.is_none() {
        if payment.state == PaymentState::Paid {
            (books.waiting, books.sent_back) = (amount - back, back);
            if payment.returned && !payment.refundable().is_zero() {
                flaws.push("nothing was delivered for it, and its money has not gone back");
            }
        }
        if invoice.is_some() {
            flaws.push("nothing was delivered for it, and it has an invoice");
        }
        return (books, flaws);
    }
    (books.payments, books.given_back) = (amount, back);
    match invoice {
        Some(issued) => {
            let bill = &issued.bill;
            books.invoices = bill.total.micros();
            if payment.invoice != Some(issued.id.id) || bill.total != payment.amount || bill.subtotal != payment.net() {
                flaws.push("its invoice is not what was paid");
            }
            books.credit_notes = before(notes, Timestamp::MAX);
            // Earlier programs wrote no credit note of a dispute that was lost.
            if books.credit_notes == payment.refunded.micros() {
                books.not_noted = back - books.credit_notes;
            }
        }
        None if payment.invoice.is_none() && payment.bill.is_none() => {
            (books.not_invoiced, books.not_noted) = (amount, back);
        }
        None => flaws.push("its invoice is missing"),
    }
    if back != books.credit_notes + books.not_noted {
        flaws.push("its credit notes are not what went back");
    }
    compare_lots(payment, (invoice, lots), (&mut books, &mut flaws));
    (books, flaws)
}

/// Compares what a payment is without taxes with what its lots say was paid for them.
fn compare_lots(
    payment: &Payment,
    (invoice, lots): (Option<&Invoice>, &mut Vec<Granted>),
    (books, flaws): (&mut Books, &mut Vec<&'static str>),
) {
    let (owner, net, its) = (payment.owner, payment.net().micros(), payment.lots());
    books.taxes = payment.amount.micros() - net;
    if its.is_empty() && must_have_lot(payment) {
        flaws.push("its lot is missing");
        return;
    }
    let (mut found, known) = (Vec::new(), flaws.len());
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
    if flaws.len() > known {
        // What it should say is nothing that is paid ahead, or has no lot: it shows as a difference, too.
        return;
    }
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

/// Whether a payment has granted a lot by being delivered. A change may have found no room for one, and a pack's lot is its
/// purchase's.
fn must_have_lot(payment: &Payment) -> bool {
    matches!(payment.bought, Bought::Start { .. } | Bought::Renewal { .. }) && !payment.bought.credits().is_zero()
}

/// Whether a payment is for more than the months whose lots are here.
fn has_later_months(payment: &Payment, invoice: Option<&Invoice>, found: &[Granted]) -> bool {
    let of_first = found.first().filter(|it| payment.lot == Some(it.lot) && payment.months.is_empty());
    let Some(first) = of_first else { return true };
    let mut lines = invoice.iter().flat_map(|it| &it.bill.lines);
    lines.any(|line| line.period.is_some_and(|(_, end)| first.ends.is_some_and(|ends| ends < end)))
}
