//! Invoices and credit notes, and what numbers them. The schema lets nothing of them change but that the billing profile
//! goes.

use std::collections::HashMap;

use bursar_db::{DbError, Tx, exactly_one, on};
use bursar_id::{InvoiceId, OwnerId, PaymentId};
use bursar_money::Price;
use bursar_time::Timestamp;
use serde::{Deserialize, Serialize};

use super::{column, subscriptions, unreadable};
use crate::domain::{Bill, DocumentId, DocumentKind, Invoice, Issuer, NumberPrefix};

macro_rules! columns {
    () => {
        "owner, id, kind, number, position, original, payment_id, issued_at, body, profile"
    };
}

const INSERT: &str = concat!(
    "INSERT INTO invoices (",
    columns!(),
    ", currency, total, owner_gone) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, \
     COALESCE((SELECT owner_gone FROM invoices WHERE owner = $1 AND id = $6), 0))"
);
const FIND: &str = concat!("SELECT ", columns!(), " FROM invoices WHERE owner = $1 AND id = $2 AND kind = $3");
const BY_PAYMENT: &str =
    concat!("SELECT ", columns!(), " FROM invoices WHERE owner = $1 AND payment_id = $2 AND kind = 'INVOICE'");
const PAGE: &str =
    concat!("SELECT ", columns!(), " FROM invoices WHERE owner = $1 AND position < $2 ORDER BY position DESC LIMIT $3");
const CREDITED: &str =
    "SELECT CAST(COALESCE(SUM(total), 0) AS BIGINT) FROM invoices WHERE owner = $1 AND original = $2";
const OF_PAYMENTS_POSTGRES: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM invoices WHERE owner = $1 AND payment_id = ANY ($2::text[]) AND kind = 'INVOICE'"
);
const NOTES: &str = "SELECT original, issued_at, total FROM invoices WHERE owner = $1 AND original = $2";
const NOTES_POSTGRES: &str =
    "SELECT original, issued_at, total FROM invoices WHERE owner = ANY ($1::text[]) AND original = ANY ($2::text[])";
const NEXT_NUMBER: &str = "INSERT INTO invoice_series (owner, kind, year, last) VALUES ($1, $2, $3, 1) \
     ON CONFLICT (owner, kind, year) DO UPDATE SET last = invoice_series.last + 1 RETURNING last";
const NEXT_POSITION: &str =
    "UPDATE invoice_accounts SET documents = documents + 1 WHERE owner = $1 RETURNING prefix, documents";
const CLAIM_PREFIX: &str =
    "INSERT INTO invoice_accounts (owner, prefix, documents) VALUES ($1, $2, 0) ON CONFLICT DO NOTHING";
const INSERT_MANY_POSTGRES: &str = "INSERT INTO invoices (owner, id, kind, number, position, payment_id, issued_at, body, profile, \
     currency, total) \
     SELECT r.owner, r.id, 'INVOICE', r.number, r.position, r.payment, r.issued_at, r.body, r.profile, r.currency, r.total \
     FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::text[], $6::bigint[], $7::text[], $8::text[], \
     $9::text[], $10::bigint[]) AS r (owner, id, number, position, payment, issued_at, body, profile, currency, total)";
const NEXT_NUMBERS_POSTGRES: &str = "INSERT INTO invoice_series (owner, kind, year, last) \
     SELECT r.owner, 'INVOICE', r.year, 1 FROM unnest($1::text[], $2::bigint[]) AS r (owner, year) \
     ON CONFLICT (owner, kind, year) DO UPDATE SET last = invoice_series.last + 1 RETURNING owner, last";
const NEXT_POSITIONS_POSTGRES: &str = "UPDATE invoice_accounts SET documents = documents + 1 WHERE owner = ANY ($1::text[]) \
     RETURNING owner, prefix, documents";
const LEAVE: &str = "UPDATE invoices SET owner_gone = 1 WHERE owner = $1 AND owner_gone = 0";
const ERASE_PROFILES: &str = "UPDATE invoices SET profile = NULL WHERE (owner, id) IN \
     (SELECT owner, id FROM invoices WHERE owner_gone = 1 AND profile IS NOT NULL AND issued_at < $1 \
      ORDER BY issued_at LIMIT $2)";

/// Every statement here, by its name; what is named for an engine is for that one alone.
#[cfg(test)]
pub(super) const STATEMENTS: [(&str, &str); 16] = [
    ("INSERT", INSERT),
    ("FIND", FIND),
    ("BY_PAYMENT", BY_PAYMENT),
    ("PAGE", PAGE),
    ("CREDITED", CREDITED),
    ("OF_PAYMENTS_POSTGRES", OF_PAYMENTS_POSTGRES),
    ("NOTES", NOTES),
    ("NOTES_POSTGRES", NOTES_POSTGRES),
    ("NEXT_NUMBER", NEXT_NUMBER),
    ("NEXT_POSITION", NEXT_POSITION),
    ("CLAIM_PREFIX", CLAIM_PREFIX),
    ("INSERT_MANY_POSTGRES", INSERT_MANY_POSTGRES),
    ("NEXT_NUMBERS_POSTGRES", NEXT_NUMBERS_POSTGRES),
    ("NEXT_POSITIONS_POSTGRES", NEXT_POSITIONS_POSTGRES),
    ("LEAVE", LEAVE),
    ("ERASE_PROFILES", ERASE_PROFILES),
];

/// What an invoice says besides its columns.
#[derive(Serialize, Deserialize)]
struct Body {
    bill: Bill,
    issuer: Issuer,
    issued_on: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    original_number: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Row {
    owner: OwnerId,
    id: InvoiceId,
    kind: String,
    number: String,
    position: i64,
    original: Option<InvoiceId>,
    payment_id: PaymentId,
    issued_at: Timestamp,
    body: String,
    profile: Option<String>,
}

impl Row {
    fn read(self) -> Result<Invoice, DbError> {
        let body: Body = serde_json::from_str(&self.body).map_err(unreadable)?;
        let kind = DocumentKind::parse(&self.kind).ok_or_else(|| unreadable("an invoice has an unknown kind"))?;
        let profile = self.profile.map(|text| serde_json::from_str(&text)).transpose().map_err(unreadable)?;
        Ok(Invoice {
            id: DocumentId { kind, id: self.id },
            owner: self.owner,
            number: self.number,
            position: u64::try_from(self.position).map_err(unreadable)?,
            original: self.original.zip(body.original_number),
            bill: body.bill,
            profile,
            issuer: body.issuer,
            payment: self.payment_id,
            issued_at: self.issued_at,
            issued_on: body.issued_on,
        })
    }
}

/// Writes an invoice or a credit note.
pub(crate) async fn insert(tx: &mut Tx, new: &Invoice) -> Result<(), DbError> {
    let original = new.original.as_ref().map(|(original, _)| *original);
    let position = i64::try_from(new.position).map_err(unreadable)?;
    let (body, profile) = (body(new)?, profile(new)?);
    exactly_one(on!(tx, c => sqlx::query(INSERT)
        .bind(new.owner).bind(new.id.id).bind(new.id.kind.as_str()).bind(&new.number).bind(position).bind(original)
        .bind(new.payment).bind(new.issued_at).bind(body).bind(profile)
        .bind(new.bill.total.currency().as_str().to_owned()).bind(new.bill.total.micros())
        .execute(c).await?.rows_affected()))
}

fn body(of: &Invoice) -> Result<String, DbError> {
    let Invoice { bill, issuer, issued_on, .. } = of.clone();
    let original_number = of.original.as_ref().map(|(_, number)| number.clone());
    serde_json::to_string(&Body { bill, issuer, issued_on, original_number }).map_err(unreadable)
}

fn profile(of: &Invoice) -> Result<Option<String>, DbError> {
    of.profile.as_ref().map(serde_json::to_string).transpose().map_err(unreadable)
}

/// Writes many invoices, which correct nothing.
pub(crate) async fn insert_many(tx: &mut Tx, new: &[Invoice]) -> Result<(), DbError> {
    let Tx::Postgres(t) = tx else {
        for invoice in new {
            insert(tx, invoice).await?;
        }
        return Ok(());
    };
    let position = |it: &Invoice| i64::try_from(it.position).map_err(unreadable);
    let query = sqlx::query(INSERT_MANY_POSTGRES)
        .bind(column(new, |it| it.owner.to_string()))
        .bind(column(new, |it| it.id.id.to_string()))
        .bind(column(new, |it| it.number.clone()))
        .bind(new.iter().map(position).collect::<Result<Vec<_>, _>>()?)
        .bind(column(new, |it| it.payment.to_string()))
        .bind(column(new, |it| it.issued_at.as_micros()))
        .bind(new.iter().map(body).collect::<Result<Vec<_>, _>>()?)
        .bind(new.iter().map(profile).collect::<Result<Vec<_>, _>>()?)
        .bind(column(new, |it| it.bill.total.currency().as_str().to_owned()))
        .bind(column(new, |it| it.bill.total.micros()));
    query.execute(&mut **t).await?;
    Ok(())
}

/// One of the owner's.
pub(crate) async fn find(tx: &mut Tx, owner: OwnerId, id: DocumentId) -> Result<Option<Invoice>, DbError> {
    let row: Option<Row> =
        on!(tx, c => sqlx::query_as(FIND).bind(owner).bind(id.id).bind(id.kind.as_str()).fetch_optional(c).await?);
    row.map(Row::read).transpose()
}

/// The invoice of a payment.
pub(crate) async fn by_payment(tx: &mut Tx, owner: OwnerId, payment: PaymentId) -> Result<Option<Invoice>, DbError> {
    let row: Option<Row> = on!(tx, c => sqlx::query_as(BY_PAYMENT).bind(owner).bind(payment).fetch_optional(c).await?);
    row.map(Row::read).transpose()
}

/// Up to `limit` of the owner's, the latest first, before the position `before`.
pub(crate) async fn page(
    tx: &mut Tx,
    owner: OwnerId,
    before: Option<u64>,
    limit: i64,
) -> Result<Vec<Invoice>, DbError> {
    let before = before.and_then(|position| i64::try_from(position).ok()).unwrap_or(i64::MAX);
    let rows: Vec<Row> = on!(tx, c => sqlx::query_as(PAGE).bind(owner).bind(before).bind(limit).fetch_all(c).await?);
    rows.into_iter().map(Row::read).collect()
}

/// What credit notes have given back of an invoice so far. The account is locked.
pub(crate) async fn credited(tx: &mut Tx, of: &Invoice) -> Result<Price, DbError> {
    let (micros,): (i64,) = on!(tx, c => sqlx::query_as(CREDITED).bind(of.owner).bind(of.id.id).fetch_one(c).await?);
    subscriptions::price(of.bill.total.currency().as_str(), micros)
}

/// The invoices of these payments of the owner's, of those that have one, in any order. On SQLite, to which there is no way, one
/// after the other.
pub(crate) async fn of_payments(tx: &mut Tx, owner: OwnerId, payments: &[PaymentId]) -> Result<Vec<Invoice>, DbError> {
    let Tx::Postgres(t) = tx else {
        let mut found = Vec::with_capacity(payments.len());
        for payment in payments {
            found.extend(by_payment(tx, owner, *payment).await?);
        }
        return Ok(found);
    };
    let query = sqlx::query_as(OF_PAYMENTS_POSTGRES).bind(owner).bind(column(payments, ToString::to_string));
    let rows: Vec<Row> = query.fetch_all(&mut **t).await?;
    rows.into_iter().map(Row::read).collect()
}

/// The credit notes of these invoices, each with its invoice: when it was issued, and how much it gives back in millionths of its
/// currency's unit. In any order; on SQLite one invoice after the other.
pub(crate) async fn notes(
    tx: &mut Tx,
    of: &[(OwnerId, InvoiceId)],
) -> Result<Vec<(InvoiceId, Timestamp, i64)>, DbError> {
    let Tx::Postgres(t) = tx else {
        let mut found = Vec::new();
        for (owner, invoice) in of {
            let notes: Vec<(InvoiceId, Timestamp, i64)> =
                on!(tx, c => sqlx::query_as(NOTES).bind(*owner).bind(*invoice).fetch_all(c).await?);
            found.extend(notes);
        }
        return Ok(found);
    };
    if of.is_empty() {
        return Ok(Vec::new());
    }
    // An id is there once, whoever the owner is.
    let (owners, ids) = (column(of, |(owner, _)| owner.to_string()), column(of, |(_, id)| id.to_string()));
    Ok(sqlx::query_as(NOTES_POSTGRES).bind(owners).bind(ids).fetch_all(&mut **t).await?)
}

/// Takes the next number of a kind in a year. Whoever else takes one waits until the transaction ends, and nobody gets it
/// if that comes to nothing.
pub(crate) async fn next_number(tx: &mut Tx, owner: OwnerId, kind: DocumentKind, year: i16) -> Result<u32, DbError> {
    let (last,): (i64,) = on!(tx, c => sqlx::query_as(NEXT_NUMBER)
        .bind(owner).bind(kind.as_str()).bind(i64::from(year)).fetch_one(c).await?);
    u32::try_from(last).map_err(unreadable)
}

/// The same for an invoice of each of many owners, whose accounts are locked.
pub(crate) async fn next_numbers(tx: &mut Tx, of: &[(OwnerId, i16)]) -> Result<HashMap<OwnerId, u32>, DbError> {
    let Tx::Postgres(t) = tx else {
        let mut numbers = HashMap::with_capacity(of.len());
        for (owner, year) in of {
            numbers.insert(*owner, next_number(tx, *owner, DocumentKind::Invoice, *year).await?);
        }
        return Ok(numbers);
    };
    let (owners, years) = (column(of, |(owner, _)| owner.to_string()), column(of, |(_, year)| i64::from(*year)));
    let rows: Vec<(OwnerId, i64)> =
        sqlx::query_as(NEXT_NUMBERS_POSTGRES).bind(owners).bind(years).fetch_all(&mut **t).await?;
    rows.into_iter().map(|(owner, last)| Ok((owner, u32::try_from(last).map_err(unreadable)?))).collect()
}

/// Counts one more document of the account: what its documents are numbered by, and which of them this one is. `None`
/// before it has a prefix. Whoever else counts one waits until the transaction ends.
pub(crate) async fn next_position(tx: &mut Tx, owner: OwnerId) -> Result<Option<(NumberPrefix, u64)>, DbError> {
    let row: Option<(String, i64)> = on!(tx, c => sqlx::query_as(NEXT_POSITION).bind(owner).fetch_optional(c).await?);
    let read = |(prefix, position): (String, i64)| {
        Ok((NumberPrefix::from_stored(prefix), u64::try_from(position).map_err(unreadable)?))
    };
    row.map(read).transpose()
}

/// The same for each of many owners, whose accounts are locked; one without a prefix is missing.
pub(crate) async fn next_positions(
    tx: &mut Tx,
    owners: &[OwnerId],
) -> Result<HashMap<OwnerId, (NumberPrefix, u64)>, DbError> {
    let Tx::Postgres(t) = tx else {
        let mut positions = HashMap::with_capacity(owners.len());
        for owner in owners {
            positions.extend(next_position(tx, *owner).await?.map(|next| (*owner, next)));
        }
        return Ok(positions);
    };
    let owners = column(owners, ToString::to_string);
    let rows: Vec<(OwnerId, String, i64)> =
        sqlx::query_as(NEXT_POSITIONS_POSTGRES).bind(owners).fetch_all(&mut **t).await?;
    let read = |(owner, prefix, position): (OwnerId, String, i64)| {
        Ok((owner, (NumberPrefix::from_stored(prefix), u64::try_from(position).map_err(unreadable)?)))
    };
    rows.into_iter().map(read).collect()
}

/// Gives the account a prefix, unless it has one or another account has this one.
pub(crate) async fn claim_prefix(tx: &mut Tx, owner: OwnerId, prefix: &NumberPrefix) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(CLAIM_PREFIX).bind(owner).bind(prefix.as_str().to_owned()).execute(c).await?.rows_affected());
    Ok(())
}

/// Says that the owner is gone for good: from now on profiles are erased when their time is over.
pub(crate) async fn leave(tx: &mut Tx, owner: OwnerId) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(LEAVE).bind(owner).execute(c).await?.rows_affected());
    Ok(())
}

/// Erases up to `limit` profiles of owners who are gone, of what was issued before a time. Returns how many.
pub(crate) async fn erase_profiles(tx: &mut Tx, before: Timestamp, limit: i64) -> Result<u64, DbError> {
    Ok(on!(tx, c => sqlx::query(ERASE_PROFILES).bind(before).bind(limit).execute(c).await?.rows_affected()))
}
