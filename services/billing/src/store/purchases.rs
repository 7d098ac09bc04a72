//! Purchases of packs. A payment's reference is there once per owner.

use bursar_db::{DbError, Tx, on};
use bursar_id::{LotId, OwnerId, PurchaseId};
use bursar_money::Credits;
use bursar_rpc::Kept;
use bursar_time::Timestamp;

use super::{subscriptions, unreadable};
use crate::domain::{ProductId, Purchase};

macro_rules! columns {
    () => {
        "owner, id, pack_id, state, credits, currency, price, payment_method, payment_reference, lot_id, buyer, created_at"
    };
}

const INSERT: &str = concat!(
    "INSERT INTO purchases (",
    columns!(),
    ", request, request_hash, first_answer) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
     ON CONFLICT (owner, payment_reference) DO NOTHING"
);
const BY_REFERENCE: &str =
    concat!("SELECT ", columns!(), " FROM purchases WHERE owner = $1 AND payment_reference = $2");
const FIND: &str = concat!("SELECT ", columns!(), " FROM purchases WHERE owner = $1 AND id = $2");
const PAGE: &str =
    concat!("SELECT ", columns!(), " FROM purchases WHERE owner = $1 AND id < $2 ORDER BY id DESC LIMIT $3");
const KEPT: &str = "SELECT request_hash, first_answer FROM purchases WHERE owner = $1 AND request = $2";

/// Every statement here, by its name.
#[cfg(test)]
pub(super) const STATEMENTS: [(&str, &str); 5] =
    [("INSERT", INSERT), ("BY_REFERENCE", BY_REFERENCE), ("FIND", FIND), ("PAGE", PAGE), ("KEPT", KEPT)];

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
}

impl Row {
    fn read(self) -> Result<Purchase, DbError> {
        let pack = ProductId::parse(&self.pack_id);
        Ok(Purchase {
            id: self.id,
            owner: self.owner,
            pack: pack.ok_or_else(|| unreadable("a purchase's pack is unreadable"))?,
            state: self.state.parse().map_err(unreadable)?,
            price: subscriptions::price(&self.currency, self.price)?,
            credits: self.credits,
            payment_method: self.payment_method,
            payment_reference: self.payment_reference,
            lot: self.lot_id,
            buyer: self.buyer,
            created_at: self.created_at,
        })
    }
}

/// Writes a purchase with what is kept of its request, unless its payment is there already: then nothing, and `false`.
pub(crate) async fn insert(tx: &mut Tx, new: &Purchase, kept: Option<&Kept>) -> Result<bool, DbError> {
    let rows = on!(tx, c => sqlx::query(INSERT)
        .bind(new.owner).bind(new.id).bind(new.pack.as_str()).bind(new.state.as_str()).bind(new.credits)
        .bind(new.price.currency().as_str().to_owned()).bind(new.price.micros())
        .bind(&new.payment_method).bind(&new.payment_reference)
        .bind(new.lot).bind(&new.buyer).bind(new.created_at)
        .bind(kept.map(|kept| kept.request.as_slice())).bind(kept.map(|kept| kept.body_hash.as_slice()))
        .bind(kept.map(|kept| kept.answer.as_slice()))
        .execute(c).await?.rows_affected());
    Ok(rows == 1)
}

/// What is kept of the request that made one of the owner's purchases.
pub(crate) async fn kept(tx: &mut Tx, owner: OwnerId, request: [u8; 16]) -> Result<Option<Kept>, DbError> {
    let row = on!(tx, c => sqlx::query_as(KEPT).bind(owner).bind(request.as_slice()).fetch_optional(c).await?);
    subscriptions::read_kept(request, row)
}

/// The purchase that this payment was for.
pub(crate) async fn by_reference(tx: &mut Tx, owner: OwnerId, reference: &str) -> Result<Option<Purchase>, DbError> {
    let row: Option<Row> =
        on!(tx, c => sqlx::query_as(BY_REFERENCE).bind(owner).bind(reference).fetch_optional(c).await?);
    row.map(Row::read).transpose()
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
