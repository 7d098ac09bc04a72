//! Invoices: one for each payment, issued in the transaction that delivers what was paid for, and the credit notes that
//! correct them.
//!
//! What a payment is for is a [`Bill`], made before anything is asked of a provider ([`Invoices::bill`]): what is paid is its
//! gross total. The invoice has that same bill ([`Invoices::issue`]), however the customer's country or the taxes have
//! changed since. Numbers are taken under the account's lock, in the transaction that uses them: what comes to nothing
//! takes none.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use bursar_db::{Db, DbError, Tx};
use bursar_id::{InvoiceId, OwnerId, PaymentId};
use bursar_money::{Credits, Price};
use bursar_rpc::{Caller, Page, PageRequest};
use bursar_secret::Entropy;
use bursar_time::{Span, Timestamp, Zone};
use tokio::sync::watch;

use super::costly::Costly;
use crate::document::{Format, Look, Paid};
use crate::domain::{
    AccountSettings, AlertPercents, Bill, Bought, Country, DocumentId, DocumentKind, Invoice, InvoiceLine, Issuer,
    LineKind, Month, NumberPrefix, SeatsPart, TaxProvider,
};
use crate::error::Error;
use crate::payment::INVOICE;
use crate::store::{accounts, invoices, methods, payments, settings};

/// How often a prefix is made before it is given up: that one of forty random bits is taken already is rare.
const PREFIXES: usize = 8;

/// How many profiles one transaction erases.
const PORTION: i64 = 500;

/// Issues invoices and credit notes. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Invoices {
    terms: Arc<Terms>,
    entropy: Entropy,
}

/// What every invoice of the deployment goes by.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    /// Who sells.
    pub(crate) issuer: Issuer,
    /// Who says which taxes there are.
    pub(crate) taxes: Taxes,
}

/// Who says which taxes there are: replaced as a whole while the service runs. What was asked for before stays as it was: a
/// payment has its bill from when it began. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taxes(Arc<watch::Sender<Arc<TaxProvider>>>);

impl Taxes {
    /// What begins with these.
    pub(crate) fn new(taxes: TaxProvider) -> Self {
        Self(Arc::new(watch::Sender::new(Arc::new(taxes))))
    }

    /// Those that are in use now.
    pub(super) fn current(&self) -> Arc<TaxProvider> {
        Arc::clone(&self.0.borrow())
    }

    /// Puts others in their place; `false` where they are the same.
    pub(super) fn replace(&self, next: &Arc<TaxProvider>) -> bool {
        let others = *self.current() != **next;
        self.0.send_replace(Arc::clone(next));
        others
    }
}

/// A payment that succeeded, and what it was for.
pub(super) struct Draft {
    /// Whose.
    pub(super) owner: OwnerId,
    /// What was paid for, as it was when the payment began.
    pub(super) bill: Bill,
    /// The payment.
    pub(super) payment: PaymentId,
    /// When it is delivered.
    pub(super) at: Timestamp,
}

/// A payment that was given back, all of it or a part.
pub(super) struct Correction {
    /// Whose.
    pub(super) owner: OwnerId,
    /// The payment.
    pub(super) payment: PaymentId,
    /// How much of it has been given back by now, in all, gross.
    pub(super) given_back: Price,
    /// When.
    pub(super) at: Timestamp,
}

impl Invoices {
    pub(crate) fn new(terms: Terms, entropy: Entropy) -> Self {
        Self { terms: Arc::new(terms), entropy }
    }

    /// The taxes that it goes by, for who replaces them.
    pub(crate) fn taxes(&self) -> Taxes {
        self.terms.taxes.clone()
    }

    /// What has to be paid for these lines: their net prices, and the taxes of the owner's country.
    pub(crate) async fn bill(&self, tx: &mut Tx, owner: OwnerId, lines: Vec<InvoiceLine>) -> Result<Bill, Error> {
        let country = settings::of(tx, owner).await?.profile.country;
        self.bill_in(country, owner, lines)
    }

    /// The same of an owner in this country.
    pub(super) fn bill_in(
        &self,
        country: Option<Country>,
        owner: OwnerId,
        lines: Vec<InvoiceLine>,
    ) -> Result<Bill, Error> {
        Bill::new(lines, self.terms.taxes.current().rates(country)).map_err(|error| {
            tracing::error!(%owner, %error, "what is sold cannot be billed");
            Error::Failed
        })
    }

    /// Issues the invoice of a payment; one that has its invoice already keeps that. Before the transaction commits, what
    /// was paid for must be delivered in it.
    pub(super) async fn issue(&self, tx: &mut Tx, draft: Draft) -> Result<Invoice, Error> {
        let Draft { owner, bill, payment, at } = draft;
        lock(tx, owner, at).await?;
        if let Some(issued) = invoices::by_payment(tx, owner, payment).await? {
            return Ok(issued);
        }
        let settings = settings::of(tx, owner).await?;
        let profile = settings.profile.clone();
        let new = self.number(tx, (owner, at), DocumentKind::Invoice, (payment, &settings)).await?;
        let invoice = Invoice { bill, profile: Some(profile), ..new };
        invoices::insert(tx, &invoice).await?;
        Ok(invoice)
    }

    /// The same for payments of many owners, of each one, which have no invoice yet. Their accounts are locked, and their
    /// settings read.
    pub(super) async fn issue_all(
        &self,
        tx: &mut Tx,
        drafts: Vec<Draft>,
        settings: &HashMap<OwnerId, AccountSettings>,
    ) -> Result<Vec<Invoice>, Error> {
        let (owners, none) = (drafts.iter().map(|it| it.owner).collect::<Vec<_>>(), AccountSettings::default());
        let of = |owner: OwnerId| settings.get(&owner).unwrap_or(&none);
        let dates: Vec<_> = drafts.iter().map(|it| date(&of(it.owner).zone, it.at)).collect();
        let years: Vec<_> = owners.iter().copied().zip(dates.iter().map(|(year, _)| *year)).collect();
        let mut positions = invoices::next_positions(tx, &owners).await?;
        for owner in owners {
            if let Entry::Vacant(place) = positions.entry(owner) {
                place.insert(self.position(tx, owner).await?);
            }
        }
        let numbers = invoices::next_numbers(tx, &years).await?;
        let issued = drafts.into_iter().zip(dates).map(|(draft, (year, issued_on))| {
            let Draft { owner, bill, payment, at } = draft;
            let (prefix, position) = positions.remove(&owner)?;
            let kind = DocumentKind::Invoice;
            let numbered = (position, prefix.number(kind, year, *numbers.get(&owner)?));
            let blank = self.blank((owner, at), kind, payment, (numbered, issued_on));
            Some(Invoice { bill, profile: Some(of(owner).profile.clone()), ..blank })
        });
        let issued: Vec<Invoice> = issued.collect::<Option<_>>().ok_or(Error::Failed)?;
        invoices::insert_many(tx, &issued).await?;
        Ok(issued)
    }

    fn new_id(&self, at: Timestamp) -> InvoiceId {
        InvoiceId::from_parts(at.as_millis(), self.entropy.bytes())
    }

    /// Issues a credit note for what was given back of a payment since the last one; none where that is nothing, or where
    /// the payment has no invoice (an earlier program delivered it). It is made out as the invoice was.
    pub(super) async fn credit(&self, tx: &mut Tx, correction: Correction) -> Result<Option<Invoice>, Error> {
        let Correction { owner, payment, given_back, at } = correction;
        lock(tx, owner, at).await?;
        let Some(original) = invoices::by_payment(tx, owner, payment).await? else { return Ok(None) };
        let before = invoices::credited(tx, &original).await?;
        let amount = given_back.checked_sub(before).map_err(|_| Error::Failed)?;
        if amount.is_zero() || amount.is_negative() {
            return Ok(None);
        }
        let description = format!("Credit for invoice {}", original.number);
        let bill = original.bill.credit(before, amount, &description).map_err(|error| {
            tracing::error!(%owner, %error, invoice = %original.id, "a credit note cannot be made");
            Error::Failed
        })?;
        let settings = settings::of(tx, owner).await?;
        let new = self.number(tx, (owner, at), DocumentKind::CreditNote, (payment, &settings)).await?;
        let original_of = Some((original.id.id, original.number));
        let note = Invoice { bill, original: original_of, profile: original.profile, ..new };
        invoices::insert(tx, &note).await?;
        Ok(Some(note))
    }

    /// A document with its id, number and date, and nothing else. The account is locked.
    async fn number(
        &self,
        tx: &mut Tx,
        (owner, at): (OwnerId, Timestamp),
        kind: DocumentKind,
        (payment, settings): (PaymentId, &AccountSettings),
    ) -> Result<Invoice, Error> {
        let (year, issued_on) = date(&settings.zone, at);
        let (prefix, position) = self.position(tx, owner).await?;
        let seq = invoices::next_number(tx, owner, kind, year).await?;
        let numbered = (position, prefix.number(kind, year, seq));
        Ok(self.blank((owner, at), kind, payment, (numbered, issued_on)))
    }

    /// A document with these, its id and who issues it, and nothing else.
    fn blank(
        &self,
        (owner, at): (OwnerId, Timestamp),
        kind: DocumentKind,
        payment: PaymentId,
        ((position, number), issued_on): ((u64, String), String),
    ) -> Invoice {
        let zero = Price::zero(bursar_money::Currency::USD);
        Invoice {
            id: DocumentId { kind, id: self.new_id(at) },
            owner,
            number,
            position,
            original: None,
            bill: Bill { lines: Vec::new(), subtotal: zero, taxes: Vec::new(), total: zero },
            profile: None,
            issuer: self.terms.issuer.clone(),
            payment,
            issued_at: at,
            issued_on,
        }
    }

    /// The account's prefix, made with its first document, and which document comes now.
    async fn position(&self, tx: &mut Tx, owner: OwnerId) -> Result<(NumberPrefix, u64), Error> {
        for _ in 0..PREFIXES {
            if let Some(next) = invoices::next_position(tx, owner).await? {
                return Ok(next);
            }
            invoices::claim_prefix(tx, owner, &NumberPrefix::random(self.entropy.bytes())).await?;
        }
        tracing::error!(%owner, "no free prefix for an account's invoices was found");
        Err(Error::Failed)
    }
}

/// Opens the account if it is not, and locks it until the transaction ends.
async fn lock(tx: &mut Tx, owner: OwnerId, at: Timestamp) -> Result<(), DbError> {
    accounts::open(tx, &[owner], at).await?;
    accounts::lock(tx, &[owner]).await?;
    Ok(())
}

/// The year, and the day as it is written.
fn date(zone: &Zone, at: Timestamp) -> (i16, String) {
    let (year, month, day) = zone.calendar(at);
    (year, format!("{year:04}-{month:02}-{day:02}"))
}

/// The line of a pack: what it is called, and how many credits it is, in the deployment's word for them.
pub(super) async fn pack_line(
    tx: &mut Tx,
    (name, credits): (&str, Credits),
    price: Price,
) -> Result<InvoiceLine, Error> {
    let unit = bursar_members::policies::of(tx, &[]).await?.deployment().unwrap_or_default().credit_unit;
    let unit = unit.called(credits == Credits::ONE);
    line(LineKind::Pack, format!("{name} ({credits} {unit})"), price)
}

/// The line of a period of a plan; its time is set when it is known ([`during`]).
pub(super) fn plan_line(display_name: &str, price: Price) -> Result<InvoiceLine, Error> {
    line(LineKind::Subscription, display_name.to_owned(), price)
}

/// The line of seats beside a plan's own: of a whole period so many at their price, of what is left of one as many as there are
/// more at what that comes to.
pub(super) fn seats_line(part: &SeatsPart, bought: &Bought) -> Result<InvoiceLine, Error> {
    let description = match (bought, part.seats) {
        (Bought::Change { .. }, 1) => "1 more seat".to_owned(),
        (Bought::Change { .. }, 0) => "Extra seats".to_owned(),
        (Bought::Change { .. }, seats) => format!("{seats} more seats"),
        _ => "Extra seats".to_owned(),
    };
    InvoiceLine::new(LineKind::Seats, description, part.quantity, part.unit_price).map_err(|_| Error::Failed)
}

fn line(kind: LineKind, description: String, price: Price) -> Result<InvoiceLine, Error> {
    InvoiceLine::new(kind, description, 1, price).map_err(|_| Error::Failed)
}

/// A bill whose lines are good for a period.
pub(super) fn during(bill: Bill, month: &Month) -> Bill {
    let lines = bill.lines.into_iter().map(|line| line.during(month.start, month.end)).collect();
    Bill { lines, ..bill }
}

/// Erases what the managers of an account have set, whose owner is gone for good, and the payment methods that they have
/// saved; its invoices keep their profile for as long as the law asks. Doing it again changes nothing.
///
/// Gives the provider's names for those methods, to be forgotten there, too.
pub(super) async fn leave(tx: &mut Tx, owner: OwnerId) -> Result<Vec<String>, DbError> {
    let account = accounts::lock(tx, &[owner]).await?.pop();
    let account = account.map(|(_, account)| account);
    if account.is_some_and(|account| account.top_up_below.is_some()) {
        accounts::set_top_up(tx, owner, None).await?;
    }
    if account.is_some_and(|account| !account.alert_at.is_empty()) {
        accounts::set_alerts(tx, owner, &AlertPercents::default()).await?;
    }
    settings::forget(tx, owner).await?;
    let tokens = methods::forget(tx, owner).await?;
    invoices::leave(tx, owner).await?;
    Ok(tokens)
}

/// Erases the profiles of owners who are gone, of invoices that are older than they have to be kept, in portions.
pub(crate) async fn forget(db: &Db, now: Timestamp, kept: Span) -> Result<u64, DbError> {
    let before = now.saturating_sub(kept);
    let mut erased = 0;
    loop {
        let mut tx = db.begin().await?;
        let portion = invoices::erase_profiles(&mut tx, before, PORTION).await?;
        tx.commit().await?;
        erased += portion;
        if portion < PORTION.unsigned_abs() {
            return Ok(erased);
        }
    }
}

/// Reads invoices, and writes them as documents.
#[derive(Clone)]
pub(crate) struct InvoiceUseCases {
    pub(crate) db: Db,
    pub(crate) look: Look,
    pub(crate) costly: Costly,
}

impl InvoiceUseCases {
    /// One of the owner's.
    pub(crate) async fn get(&self, owner: OwnerId, id: DocumentId) -> Result<Invoice, Error> {
        let mut tx = self.db.read().await?;
        invoices::find(&mut tx, owner, id).await?.ok_or(Error::NotFound("invoice"))
    }

    /// One of the owner's as a document. Writing it takes as long as it has lines, so it has a place among what is costly.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when too many wait already.
    pub(crate) async fn render(
        &self,
        caller: &Caller,
        owner: OwnerId,
        id: DocumentId,
        format: Format,
    ) -> Result<Vec<u8>, Error> {
        let (invoice, paid) = self.with_payment(owner, id).await?;
        let look = self.look.clone();
        let written = self.costly.write(caller, owner, move || look.write(&invoice, paid, format)).await?;
        written.map_err(|error| {
            tracing::error!(invoice = %id, %error, "an invoice cannot be written as a document");
            Error::Failed
        })
    }

    /// One of the owner's, and how it is paid, which its payment has from the beginning.
    async fn with_payment(&self, owner: OwnerId, id: DocumentId) -> Result<(Invoice, Paid), Error> {
        let mut tx = self.db.read().await?;
        let invoice = invoices::find(&mut tx, owner, id).await?.ok_or(Error::NotFound("invoice"))?;
        let payment = payments::find(&mut tx, owner, invoice.payment).await?;
        let by_invoice = payment.is_some_and(|payment| payment.method == INVOICE);
        Ok((invoice, if by_invoice { Paid::ByInvoice } else { Paid::AtOnce }))
    }

    /// The owner's, the latest first.
    pub(crate) async fn list(&self, owner: OwnerId, page: &PageRequest<u64>) -> Result<Page<Invoice>, Error> {
        let mut tx = self.db.read().await?;
        let rows = invoices::page(&mut tx, owner, page.after().copied(), page.limit()).await?;
        Ok(page.page(rows, |invoice| invoice.position)?)
    }
}

#[cfg(test)]
mod tests;
