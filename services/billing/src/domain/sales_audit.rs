//! Whether what stands beside the ledger of what was sold is what the ledger says: payments with what refunds and disputes
//! took back of them, purchases, and the invoices and credit notes that come to the same money.
//!
//! Like the rest of the audit it shares no rule with the code that sells. What only a provider knows (that money was asked
//! for, and declined) nothing here can say.

use std::collections::BTreeMap;

use bursar_id::{InvoiceId, LotId, OwnerId, PaymentId, PurchaseId};
use bursar_money::{Credits, Price};

use super::entry::{Entry, Event};
use super::flaw::Flaw;
use super::invoice::{DocumentKind, Invoice};
use super::payment::{Dispute, Payment, PaymentState, Purpose, TakenBack};
use super::purchase::{Purchase, PurchaseState};

/// What the ledger says of one payment.
#[derive(Debug, Clone, Default)]
struct Booked {
    /// The lots with its credits, and how many they were.
    lots: BTreeMap<LotId, Credits>,
    /// It was paid for another owner, whose subscription moved here.
    elsewhere: bool,
    /// What refunds and disputes voided of its lots, in micro-credits.
    voided: i64,
    /// What they made owed, as far as it was not made good again.
    owed: i64,
}

impl Booked {
    /// Whether this is what a payment's row says of its lots here: of each what it is to come to, and what was taken back.
    fn took(&self, payment: &Payment, lots: &[(Credits, TakenBack)]) -> bool {
        let sum = |part: fn(&TakenBack) -> Credits| {
            lots.iter().fold(0_i64, |sum, (_, taken)| sum.saturating_add(part(taken).micro()))
        };
        let (voided, owed) = (sum(|it| it.voided), sum(|it| it.owed));
        // What the bank decided for somebody who is purged is owed no more, and nothing could be granted for it.
        let forgiven = payment.dispute == Dispute::Won && owed < self.owed;
        let all = lots.iter().all(|(target, taken)| taken.credits == *target);
        all && voided == self.voided && (owed == self.owed || forgiven)
    }
}

/// What a payment's row says of its lots at one owner's.
#[derive(Debug, Clone, Default)]
struct Here {
    lots: BTreeMap<LotId, Credits>,
    /// Of each what it is to come to, and what was taken back.
    parts: Vec<(Credits, TakenBack)>,
}

impl Here {
    fn of(payment: &Payment, owner: OwnerId) -> Self {
        let mut here = Self::default();
        for lot in payment.lots() {
            let parts = payment.parts_to_take_back(&lot);
            for (it, part) in lot.stations().into_iter().zip(parts).filter(|(it, _)| it.owner == owner) {
                here.lots.insert(it.lot, it.credits);
                here.parts.push((part, it.taken_back));
            }
        }
        here
    }
}

/// What the account's documents say of one payment.
#[derive(Debug, Clone, Copy, Default)]
struct Billed {
    invoice: Option<(InvoiceId, Price)>,
    /// What its credit notes come to, in millionths of the currency's unit, and which invoice they correct.
    credited: i64,
    corrects: Option<InvoiceId>,
}

/// Takes every entry, then every document, purchase and payment of an account, and compares them.
#[derive(Debug, Clone)]
pub struct SalesAudit {
    owner: OwnerId,
    booked: BTreeMap<PaymentId, Booked>,
    packs: BTreeMap<PurchaseId, (LotId, Credits)>,
    /// Months' lots without a payment: one that comes later may have them.
    unpaid: BTreeMap<LotId, Credits>,
    billed: BTreeMap<PaymentId, Billed>,
    /// The position of the document before, the latest first.
    position: Option<u64>,
    bought: BTreeMap<PurchaseId, Purchase>,
}

impl SalesAudit {
    /// Of what was sold to `owner`.
    pub fn new(owner: OwnerId) -> Self {
        let (booked, packs, unpaid, billed, bought) = Default::default();
        Self { owner, booked, packs, unpaid, billed, position: None, bought }
    }

    /// The next entry of the ledger, which was found good.
    pub fn entry(&mut self, entry: &Entry) {
        let voided = || entry.postings.iter().fold(0_i64, |sum, posting| sum.saturating_add(posting.voided));
        match &entry.event {
            Event::Grant { lot, terms } => {
                let origin = &terms.origin;
                let granted = (*lot, entry.amount);
                self.packs.extend(origin.purchase.map(|purchase| (purchase, granted)));
                let Some(payment) = origin.payment else {
                    self.unpaid.extend(origin.subscription.map(|_| granted));
                    return;
                };
                let booked = self.booked.entry(payment).or_default();
                if origin.purchase.is_some() || origin.subscription.is_some() {
                    booked.lots.extend([granted]);
                    booked.elsewhere = origin.moved_from.is_some();
                } else {
                    // What a pack had paid of a debt that was none after all.
                    booked.owed = booked.owed.saturating_sub(entry.amount.micro());
                }
            }
            Event::Debt(it) => {
                let booked = self.booked.entry(it.payment).or_default();
                booked.owed = booked.owed.saturating_add(it.owed.micro());
                booked.voided = booked.voided.saturating_add(voided());
            }
            Event::DebtReversed(it) => {
                let booked = self.booked.entry(it.payment).or_default();
                booked.owed = booked.owed.saturating_sub(it.owed.micro());
                booked.voided = booked.voided.saturating_add(voided());
            }
            _ => {}
        }
    }

    /// The next of the account's invoices and credit notes, the latest first.
    ///
    /// # Errors
    /// One is missing, or it is not of the same sale as another one.
    pub fn document(&mut self, document: &Invoice) -> Result<(), Flaw> {
        let bad = Flaw::InvoiceMismatch(document.id.id);
        let last = self.position.replace(document.position);
        if last.is_some_and(|last| document.position.checked_add(1) != Some(last)) || document.owner != self.owner {
            return Err(bad);
        }
        let billed = self.billed.entry(document.payment).or_default();
        let total = document.bill.total;
        match (document.id.kind, &document.original) {
            (DocumentKind::Invoice, None) => match billed.invoice.replace((document.id.id, total)) {
                None if billed.credited <= total.micros() => Ok(()),
                _ => Err(bad),
            },
            (DocumentKind::CreditNote, Some((original, _))) => {
                billed.credited = billed.credited.saturating_add(total.micros());
                let other = billed.corrects.replace(*original).is_some_and(|other| other != *original);
                if other || billed.invoice.is_some() { Err(bad) } else { Ok(()) }
            }
            _ => Err(bad),
        }
    }

    /// What credit notes came to of an invoice whose documents have been seen, where there are any.
    pub fn credited(&self, invoice: &Invoice) -> Option<i64> {
        self.billed.get(&invoice.payment).filter(|it| it.corrects.is_some()).map(|it| it.credited)
    }

    /// The next purchase. A paid one has the lot that the ledger granted for it.
    ///
    /// # Errors
    /// It has another one, or none.
    pub fn purchase(&mut self, purchase: Purchase) -> Result<(), Flaw> {
        let granted = self.packs.remove(&purchase.id);
        let paid = (purchase.state == PurchaseState::Paid).then_some(purchase.credits);
        let agrees = purchase.lot == granted.map(|(lot, _)| lot) && paid == granted.map(|(_, credits)| credits);
        if !agrees || purchase.owner != self.owner {
            return Err(Flaw::PurchaseMismatch(purchase.id));
        }
        if purchase.payment.is_some() {
            self.bought.insert(purchase.id, purchase);
        }
        Ok(())
    }

    /// The next payment: after all documents and purchases.
    ///
    /// # Errors
    /// It, its purchase or its invoice is not what the ledger and the others say.
    pub fn payment(&mut self, payment: &Payment) -> Result<(), Flaw> {
        let mut booked = self.booked.remove(&payment.id).unwrap_or_default();
        if payment.bought.purpose() == Purpose::Renewal
            && let Some(early) = payment.lot.and_then(|lot| self.unpaid.remove_entry(&lot))
        {
            booked.lots.extend([early]);
        }
        let delivered = payment.fulfilled_at.is_some();
        let credits = Some(payment.bought.credits()).filter(|credits| delivered && !credits.is_zero());
        let own = Here::of(payment, self.owner);
        let nothing = payment.lot.is_some() || payment.taken_back == TakenBack::default();
        let agrees = payment.owner == self.owner
            && booked.lots == own.lots
            && (payment.lot.is_none() || credits.is_some())
            && (delivered || own.lots.is_empty())
            && !booked.elsewhere
            && (!delivered || payment.state == PaymentState::Paid)
            && nothing
            && booked.took(payment, &own.parts);
        if !agrees {
            return Err(Flaw::PaymentMismatch(payment.id));
        }
        self.compare_purchase(payment)?;
        self.compare_documents(payment)
    }

    fn compare_purchase(&mut self, payment: &Payment) -> Result<(), Flaw> {
        let Some(id) = payment.bought.purchase() else { return Ok(()) };
        let state = match payment.state {
            PaymentState::Paid if payment.fulfilled_at.is_some() => PurchaseState::Paid,
            PaymentState::Paid | PaymentState::Canceled => PurchaseState::Canceled,
            PaymentState::Declined => PurchaseState::Declined,
            PaymentState::Created | PaymentState::Pending | PaymentState::RequiresAction => PurchaseState::Pending,
        };
        let found = self.bought.remove(&id);
        let agrees = found.is_some_and(|it| {
            (it.payment, it.state, it.lot, it.credits, it.price)
                == (Some(payment.id), state, payment.lot, payment.bought.credits(), payment.net())
        });
        if agrees { Ok(()) } else { Err(Flaw::PurchaseMismatch(id)) }
    }

    fn compare_documents(&mut self, payment: &Payment) -> Result<(), Flaw> {
        let billed = self.billed.remove(&payment.id).unwrap_or_default();
        let Some(invoice) = payment.invoice else {
            // Nothing was delivered for it, or an earlier program did, which wrote no invoices.
            let none = billed.invoice.is_none() && billed.credited == 0;
            return if none { Ok(()) } else { Err(Flaw::PaymentMismatch(payment.id)) };
        };
        if billed.invoice != Some((invoice, payment.amount)) || billed.corrects.is_some_and(|it| it != invoice) {
            return Err(Flaw::InvoiceMismatch(invoice));
        }
        // Earlier programs wrote no credit note of a dispute that was lost.
        let gone = [payment.given_back(), payment.refunded].map(Price::micros);
        if gone.contains(&billed.credited) { Ok(()) } else { Err(Flaw::PaymentMismatch(payment.id)) }
    }

    /// The payments of others whose credits have come here, after the last payment of the account's own.
    pub fn elsewhere(&self) -> Vec<PaymentId> {
        self.booked.iter().filter(|(_, booked)| booked.elsewhere).map(|(payment, _)| *payment).collect()
    }

    /// One of those. What an earlier program moved its payment says nothing of, and nothing was taken back of it here.
    ///
    /// # Errors
    /// It says otherwise what came here and what was taken back of that.
    pub fn moved(&mut self, payment: &Payment) -> Result<(), Flaw> {
        let booked = self.booked.remove(&payment.id).unwrap_or_default();
        let here = Here::of(payment, self.owner);
        let agrees = if here.lots.is_empty() {
            booked.voided == 0 && booked.owed == 0
        } else {
            booked.lots == here.lots && booked.took(payment, &here.parts)
        };
        if agrees { Ok(()) } else { Err(Flaw::PaymentMismatch(payment.id)) }
    }

    /// After the last payment: whatever is left belongs to none.
    ///
    /// # Errors
    /// The first of what is left.
    pub fn finish(self) -> Result<(), Flaw> {
        if self.position.is_some_and(|first| first != 1) {
            let first = self.billed.values().find_map(|it| it.invoice.map(|(id, _)| id));
            return first.map_or(Ok(()), |id| Err(Flaw::InvoiceMismatch(id)));
        }
        // Before payments were written down there was nothing that could be taken back of them.
        let is_flaw = |booked: &Booked| booked.voided != 0 || booked.owed != 0;
        if let Some((payment, _)) = self.booked.iter().find(|(_, booked)| is_flaw(booked)) {
            return Err(Flaw::PaymentMismatch(*payment));
        }
        if let Some(purchase) = self.packs.keys().chain(self.bought.keys()).next() {
            return Err(Flaw::PurchaseMismatch(*purchase));
        }
        match self.billed.keys().next() {
            Some(payment) => Err(Flaw::PaymentMismatch(*payment)),
            None => Ok(()),
        }
    }
}
