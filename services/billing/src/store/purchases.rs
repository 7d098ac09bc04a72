//! Purchases of packs.

use bursar_db::{DbError, Tx, exactly_one, on};
use bursar_id::{InvoiceId, LotId, OwnerId, PaymentId, PurchaseId};
use bursar_money::Credits;
use bursar_rpc::Kept;
use bursar_time::Timestamp;

use super::{subscriptions, unreadable};
use crate::domain::{Dispute, ProductId, Purchase, PurchaseState, Receipt};

macro_rules! columns {
    () => {
        "owner, id, pack_id, state, credits, currency, price, payment_method, payment_reference, lot_id, buyer, created_at, \
         phase, payment_id"
    };
}

/// The same beside the payment, which has the same owner.
macro_rules! receipts {
    () => {
        "SELECT p.owner, p.id, p.pack_id, p.state, p.credits, p.currency, p.price, p.payment_method, p.payment_reference, \
         p.lot_id, p.buyer, p.created_at, p.phase, p.payment_id, q.invoice_id, q.refunded, q.dispute \
         FROM purchases AS p LEFT JOIN payments AS q ON q.owner = $1 AND q.id = p.payment_id WHERE p.owner = $1"
    };
}

const INSERT: &str = concat!(
    "INSERT INTO purchases (",
    columns!(),
    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)"
);
const SETTLE: &str = "UPDATE purchases SET state = $3, phase = $4, lot_id = $5 WHERE owner = $1 AND id = $2";
const FIND: &str = concat!("SELECT ", columns!(), " FROM purchases WHERE owner = $1 AND id = $2");
const PAGE: &str =
    concat!("SELECT ", columns!(), " FROM purchases WHERE owner = $1 AND id < $2 ORDER BY id DESC LIMIT $3");
const RECEIPT: &str = concat!(receipts!(), " AND p.id = $2");
const RECEIPTS: &str = concat!(receipts!(), " AND p.id < $2 ORDER BY p.id DESC LIMIT $3");
const KEPT: &str = "SELECT request_hash, first_answer FROM purchases WHERE owner = $1 AND request = $2";

/// Every statement here, by its name.
#[cfg(test)]
pub(super) const STATEMENTS: [(&str, &str); 7] = [
    ("INSERT", INSERT),
    ("SETTLE", SETTLE),
    ("FIND", FIND),
    ("PAGE", PAGE),
    ("RECEIPT", RECEIPT),
    ("RECEIPTS", RECEIPTS),
    ("KEPT", KEPT),
];

/// Comes after every id.
const AFTER_ALL: &str = "~";

#[derive(sqlx::FromRow)]
struct Row {
    owner: OwnerId,
    id: PurchaseId,
    pack_id: String,
    state: String,
    credits: Credits,
    currency: String,
    price: i64,
    payment_method: String,
    payment_reference: String,
    lot_id: Option<LotId>,
    buyer: String,
    created_at: Timestamp,
    phase: Option<String>,
    payment_id: Option<PaymentId>,
}

#[derive(sqlx::FromRow)]
struct WithPayment {
    #[sqlx(flatten)]
    purchase: Row,
    invoice_id: Option<InvoiceId>,
    refunded: Option<i64>,
    dispute: Option<String>,
}

impl WithPayment {
    fn read(self) -> Result<Receipt, DbError> {
        let purchase = self.purchase.read()?;
        let currency = purchase.price.currency();
        let refunded = self.refunded.map(|micros| subscriptions::price(currency.as_str(), micros)).transpose()?;
        let dispute = self.dispute.map_or(Ok(Dispute::None), |text| text.parse()).map_err(unreadable)?;
        Ok(Receipt { purchase, invoice: self.invoice_id, refunded, dispute })
    }
}

/// A state as its two columns: to programs that know only PAID and DECLINED what is not paid was declined.
fn columns_of(state: PurchaseState) -> (&'static str, Option<&'static str>) {
    match state {
        PurchaseState::Paid | PurchaseState::Declined => (state.as_str(), None),
        PurchaseState::Pending | PurchaseState::Canceled => (PurchaseState::Declined.as_str(), Some(state.as_str())),
    }
}

impl Row {
    fn read(self) -> Result<Purchase, DbError> {
        let pack = ProductId::parse(&self.pack_id);
        Ok(Purchase {
            id: self.id,
            owner: self.owner,
            pack: pack.ok_or_else(|| unreadable("a purchase's pack is unreadable"))?,
            state: self.phase.as_ref().unwrap_or(&self.state).parse().map_err(unreadable)?,
            price: subscriptions::price(&self.currency, self.price)?,
            credits: self.credits,
            payment_method: self.payment_method,
            payment_reference: self.payment_reference,
            payment: self.payment_id,
            lot: self.lot_id,
            buyer: self.buyer,
            created_at: self.created_at,
        })
    }
}

/// Writes a new purchase.
pub(crate) async fn insert(tx: &mut Tx, new: &Purchase) -> Result<(), DbError> {
    let (state, phase) = columns_of(new.state);
    on!(tx, c => sqlx::query(INSERT)
        .bind(new.owner).bind(new.id).bind(new.pack.as_str()).bind(state).bind(new.credits)
        .bind(new.price.currency().as_str().to_owned()).bind(new.price.micros())
        .bind(&new.payment_method).bind(&new.payment_reference)
        .bind(new.lot).bind(&new.buyer).bind(new.created_at).bind(phase).bind(new.payment)
        .execute(c).await?.rows_affected());
    Ok(())
}

/// Writes what has become of one of the owner's purchases.
pub(crate) async fn settle(
    tx: &mut Tx,
    (owner, id): (OwnerId, PurchaseId),
    state: PurchaseState,
    lot: Option<LotId>,
) -> Result<(), DbError> {
    let (state, phase) = columns_of(state);
    exactly_one(on!(tx, c => sqlx::query(SETTLE).bind(owner).bind(id).bind(state).bind(phase).bind(lot)
        .execute(c).await?.rows_affected()))
}

/// What is kept of the request that made one of the owner's purchases.
pub(crate) async fn kept(tx: &mut Tx, owner: OwnerId, request: [u8; 16]) -> Result<Option<Kept>, DbError> {
    let row = on!(tx, c => sqlx::query_as(KEPT).bind(owner).bind(request.as_slice()).fetch_optional(c).await?);
    subscriptions::read_kept(request, row)
}

/// One of the owner's purchases.
pub(crate) async fn find(tx: &mut Tx, owner: OwnerId, id: PurchaseId) -> Result<Option<Purchase>, DbError> {
    let row: Option<Row> = on!(tx, c => sqlx::query_as(FIND).bind(owner).bind(id).fetch_optional(c).await?);
    row.map(Row::read).transpose()
}

/// Up to `limit` of the owner's purchases, the latest first, older than `before`. Ids begin with their time.
pub(crate) async fn page(
    tx: &mut Tx,
    owner: OwnerId,
    before: Option<PurchaseId>,
    limit: i64,
) -> Result<Vec<Purchase>, DbError> {
    let before = before.map_or_else(|| AFTER_ALL.to_owned(), |id| id.to_string());
    let rows: Vec<Row> = on!(tx, c => sqlx::query_as(PAGE).bind(owner).bind(before).bind(limit).fetch_all(c).await?);
    rows.into_iter().map(Row::read).collect()
}

/// One of the owner's purchases, with what its payment says.
pub(crate) async fn receipt(tx: &mut Tx, owner: OwnerId, id: PurchaseId) -> Result<Option<Receipt>, DbError> {
    let row: Option<WithPayment> = on!(tx, c => sqlx::query_as(RECEIPT).bind(owner).bind(id).fetch_optional(c).await?);
    row.map(WithPayment::read).transpose()
}

/// The same of up to `limit` of them, as [`page`] gives them: one statement, however many there are.
pub(crate) async fn receipts(
    tx: &mut Tx,
    owner: OwnerId,
    before: Option<PurchaseId>,
    limit: i64,
) -> Result<Vec<Receipt>, DbError> {
    let before = before.map_or_else(|| AFTER_ALL.to_owned(), |id| id.to_string());
    let rows: Vec<WithPayment> =
        on!(tx, c => sqlx::query_as(RECEIPTS).bind(owner).bind(before).bind(limit).fetch_all(c).await?);
    rows.into_iter().map(WithPayment::read).collect()
}
