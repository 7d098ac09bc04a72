//! Payments. A provider's reference is there once in the whole deployment.

use std::collections::BTreeSet;

use bursar_db::{DbError, Engine, Tx, exactly_one, on};
use bursar_id::{InvoiceId, LotId, OwnerId, PaymentId, PurchaseId, SubscriptionId};
use bursar_money::Credits;
use bursar_rpc::Kept;
use bursar_time::Timestamp;

use super::contracts::StoredChange;
use super::scopes::{read_scope, write_scope};
use super::{column, contracts, included, subscriptions, unreadable};
use crate::domain::{Bought, Payment, ProductId, Purpose, TakenBack};

macro_rules! columns {
    () => {
        "owner, id, purpose, state, thing, attempt, currency, amount, refunded, dispute, disputed, decline_code, method, \
         reference, product, credits, scope, seats, period, purchase_id, subscription_id, fulfilled_at, returned, lot_id, \
         taken_back, voided, owed, started_by, created_at, bill, invoice_id, moved, change, start_interval, months, \
         features, rollover, grace, included, aside"
    };
}

const INSERT: &str = concat!(
    "INSERT INTO payments (",
    columns!(),
    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, \
     $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, $39, $40) ON CONFLICT DO NOTHING"
);
const INSERT_RENEWALS_POSTGRES: &str = "INSERT INTO payments (owner, id, purpose, state, thing, attempt, currency, amount, \
     method, reference, product, credits, period, subscription_id, fulfilled_at, lot_id, started_by, created_at, bill, invoice_id) \
     SELECT r.owner, r.id, 'RENEWAL', 'PAID', r.thing, r.attempt, r.currency, r.amount, r.method, r.reference, r.product, \
     r.credits, r.period, r.subscription, r.fulfilled_at, r.lot, r.started_by, r.created_at, r.bill, r.invoice \
     FROM unnest($1::text[], $2::text[], $3::bytea[], $4::bigint[], $5::text[], $6::bigint[], $7::text[], $8::text[], \
     $9::text[], $10::bigint[], $11::bigint[], $12::text[], $13::bigint[], $14::text[], $15::text[], $16::bigint[], \
     $17::text[], $18::text[]) AS r (owner, id, thing, attempt, currency, amount, method, reference, product, credits, \
     period, subscription, fulfilled_at, lot, started_by, created_at, bill, invoice) \
     ON CONFLICT DO NOTHING";
const TRIED_POSTGRES: &str = "SELECT thing FROM payments WHERE thing = ANY ($1::bytea[])";
const UPDATE: &str = "UPDATE payments SET state = $2, refunded = $3, dispute = $4, disputed = $5, decline_code = $6, \
     reference = $7, fulfilled_at = $8, returned = $9, lot_id = $10, taken_back = $11, voided = $12, owed = $13, invoice_id = $14, \
     moved = $15, months = $16, aside = $17, asked_with = CASE WHEN $2 IN ('CREATED', 'CANCELED') THEN asked_with END WHERE id = $1";
const ASK_WITH: &str = "UPDATE payments SET asked_with = $2 WHERE id = $1";
const ASKED_WITH: &str = "SELECT asked_with FROM payments WHERE id = $1";
const NAME: &str = "UPDATE payments SET reference = $2 WHERE id = $1 AND reference IS NULL AND state = 'CREATED'";
const KEEP: &str = "UPDATE payments SET request = $2, request_hash = $3, first_answer = $4 WHERE id = $1";
const FIND: &str = concat!("SELECT ", columns!(), " FROM payments WHERE id = $1");
const NAMED: &str = concat!("SELECT ", columns!(), " FROM payments WHERE reference = $1");
const LOCK_POSTGRES: &str = concat!("SELECT ", columns!(), " FROM payments WHERE id = $1 FOR UPDATE");
const LOCK_FREE_POSTGRES: &str =
    concat!("SELECT ", columns!(), " FROM payments WHERE id = ANY ($1::text[]) ORDER BY id FOR UPDATE SKIP LOCKED");
const AMONG_POSTGRES: &str = concat!("SELECT ", columns!(), " FROM payments WHERE id = ANY ($1::text[])");
const LAST_ATTEMPT: &str =
    concat!("SELECT ", columns!(), " FROM payments WHERE thing = $1 ORDER BY attempt DESC LIMIT 1");
const LAST_ATTEMPTS_POSTGRES: &str = concat!(
    "SELECT DISTINCT ON (thing) ",
    columns!(),
    " FROM payments WHERE thing = ANY ($1::bytea[]) ORDER BY thing, attempt DESC"
);
const OF_OWNER: &str = concat!("SELECT ", columns!(), " FROM payments WHERE owner = $1 AND id = $2");
const PAGE: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM payments WHERE owner = $1 AND (created_at, id) < ($2, $3) ORDER BY created_at DESC, id DESC LIMIT $4"
);
const KEPT: &str = "SELECT request_hash, first_answer FROM payments WHERE owner = $1 AND request = $2";
const OPEN: &str = "SELECT count(*) FROM payments WHERE owner = $1 AND state IN ('CREATED', 'PENDING', 'REQUIRES_ACTION') AND returned = 0";
const WAITING: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM payments WHERE owner = $1 AND state IN ('CREATED', 'PENDING', 'REQUIRES_ACTION') AND returned = 0 \
     ORDER BY id DESC LIMIT $2"
);
const WAITING_STARTS: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM payments WHERE owner = $1 AND state IN ('CREATED', 'PENDING', 'REQUIRES_ACTION') AND returned = 0 \
     AND (purpose = 'SUBSCRIPTION' OR start_interval IS NOT NULL) ORDER BY id DESC LIMIT $2"
);
const WAITING_CHANGES: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM payments WHERE owner = $1 AND state IN ('CREATED', 'PENDING', 'REQUIRES_ACTION') AND returned = 0 \
     AND change IS NOT NULL ORDER BY id LIMIT $2"
);
/// Every statement here, by its name; what is named for an engine is for that one alone.
#[cfg(test)]
pub(super) const STATEMENTS: [(&str, &str); 22] = [
    ("INSERT", INSERT),
    ("INSERT_RENEWALS_POSTGRES", INSERT_RENEWALS_POSTGRES),
    ("TRIED_POSTGRES", TRIED_POSTGRES),
    ("UPDATE", UPDATE),
    ("ASK_WITH", ASK_WITH),
    ("ASKED_WITH", ASKED_WITH),
    ("NAME", NAME),
    ("KEEP", KEEP),
    ("FIND", FIND),
    ("NAMED", NAMED),
    ("LOCK_POSTGRES", LOCK_POSTGRES),
    ("LOCK_FREE_POSTGRES", LOCK_FREE_POSTGRES),
    ("AMONG_POSTGRES", AMONG_POSTGRES),
    ("LAST_ATTEMPT", LAST_ATTEMPT),
    ("LAST_ATTEMPTS_POSTGRES", LAST_ATTEMPTS_POSTGRES),
    ("OF_OWNER", OF_OWNER),
    ("PAGE", PAGE),
    ("KEPT", KEPT),
    ("OPEN", OPEN),
    ("WAITING", WAITING),
    ("WAITING_STARTS", WAITING_STARTS),
    ("WAITING_CHANGES", WAITING_CHANGES),
];

/// Comes after every id.
const AFTER_ALL: &str = "~";

#[derive(sqlx::FromRow)]
struct Row {
    owner: OwnerId,
    id: PaymentId,
    purpose: String,
    state: String,
    thing: Vec<u8>,
    attempt: i64,
    currency: String,
    amount: i64,
    refunded: i64,
    dispute: String,
    disputed: i64,
    decline_code: Option<String>,
    method: String,
    reference: Option<String>,
    product: String,
    credits: Credits,
    scope: Option<String>,
    seats: Option<i64>,
    period: Option<i64>,
    purchase_id: Option<PurchaseId>,
    subscription_id: Option<SubscriptionId>,
    fulfilled_at: Option<Timestamp>,
    returned: i64,
    lot_id: Option<LotId>,
    taken_back: Credits,
    voided: Credits,
    owed: Credits,
    started_by: String,
    created_at: Timestamp,
    bill: Option<String>,
    invoice_id: Option<InvoiceId>,
    moved: Option<String>,
    change: Option<String>,
    start_interval: Option<String>,
    months: Option<String>,
    features: Option<String>,
    rollover: Option<Credits>,
    /// 1 where it is so.
    grace: Option<i64>,
    included: Option<String>,
    aside: Option<String>,
}

impl Row {
    fn read(self) -> Result<Payment, DbError> {
        let lacks = || unreadable("a payment lacks what its purpose must have");
        let product = ProductId::parse(&self.product).ok_or_else(lacks)?;
        let number = |value: Option<i64>| value.and_then(|it| u32::try_from(it).ok()).ok_or_else(lacks);
        let credits = self.credits;
        let interval = self.start_interval.as_deref().map(str::parse).transpose().map_err(unreadable)?;
        let begins = interval.is_some();
        let purpose = if begins { Purpose::Subscription } else { self.purpose.parse().map_err(unreadable)? };
        let bought = match purpose {
            Purpose::Purchase => Bought::Pack {
                purchase: self.purchase_id.ok_or_else(lacks)?,
                pack: product,
                credits,
                scope: read_scope(self.scope.as_deref())?,
            },
            Purpose::Subscription => {
                let (subscription, rollover) = (self.subscription_id.ok_or_else(lacks)?, self.rollover);
                let (seats, interval) = (number(self.seats)?, interval.unwrap_or_default());
                let (features, contract) = contracts::read_start(self.features.as_deref())?;
                Bought::Start {
                    subscription,
                    plan: product,
                    credits,
                    seats,
                    interval,
                    features,
                    included: included::read(self.included.as_deref())?,
                    rollover,
                    grant_in_grace: self.grace == Some(1),
                    contract,
                }
            }
            Purpose::Renewal | Purpose::Change => {
                let (subscription, period) = (self.subscription_id.ok_or_else(lacks)?, number(self.period)?);
                match self.change.map(|text| serde_json::from_str(&text)).transpose().map_err(unreadable)? {
                    None => Bought::Renewal { subscription, plan: product, credits, period },
                    Some(StoredChange { to, after, contract }) => {
                        Bought::Change { subscription, to, credits, period, after, contract }
                    }
                }
            }
        };
        let price = |micros| subscriptions::price(&self.currency, micros);
        Ok(Payment {
            id: self.id,
            owner: self.owner,
            bought,
            amount: price(self.amount)?,
            bill: self.bill.map(|text| serde_json::from_str(&text)).transpose().map_err(unreadable)?,
            state: self.state.parse().map_err(unreadable)?,
            refunded: price(self.refunded)?,
            dispute: self.dispute.parse().map_err(unreadable)?,
            disputed: price(self.disputed)?,
            aside: self.aside.map_or(Ok(Vec::new()), |text| serde_json::from_str(&text)).map_err(unreadable)?,
            decline_code: self.decline_code,
            method: self.method,
            reference: self.reference,
            thing: self.thing.try_into().map_err(|_| lacks())?,
            attempt: u32::try_from(self.attempt).map_err(unreadable)?,
            fulfilled_at: self.fulfilled_at,
            returned: self.returned != 0,
            lot: self.lot_id,
            invoice: self.invoice_id,
            taken_back: TakenBack { credits: self.taken_back, voided: self.voided, owed: self.owed },
            moved: self.moved.map(|text| serde_json::from_str(&text)).transpose().map_err(unreadable)?,
            months: self.months.map_or(Ok(Vec::new()), |text| serde_json::from_str(&text)).map_err(unreadable)?,
            started_by: self.started_by,
            created_at: self.created_at,
        })
    }
}

/// Writes a new payment, unless this attempt at what it pays for is there already: then nothing, and `false`.
pub(crate) async fn insert(tx: &mut Tx, new: &Payment) -> Result<bool, DbError> {
    let (start, features, rollover, grace) = match &new.bought {
        Bought::Start { interval, features, contract, rollover, grant_in_grace, .. }
            if !interval.is_month() || features.is_some() || rollover.is_some() || *grant_in_grace =>
        {
            let features = contracts::start(*features, contract.as_deref())?;
            (Some(interval.as_str()), features, *rollover, grant_in_grace.then_some(1_i64))
        }
        _ => (None, None, None, None),
    };
    let (product, scope, seats, period) = match &new.bought {
        Bought::Pack { pack, scope, .. } => (pack, write_scope(scope)?, None, None),
        Bought::Start { plan, seats, .. } => (plan, None, Some(i64::from(*seats)), start.map(|_| 0)),
        Bought::Renewal { plan, period, .. } => (plan, None, None, Some(i64::from(*period))),
        Bought::Change { to, period, .. } => (&to.plan, None, None, Some(i64::from(*period))),
    };
    let (purpose, change) = match &new.bought {
        // Programs that know of no changes find a renewal whose period has begun, and give it back.
        Bought::Change { to, after, contract, .. } => {
            (Purpose::Renewal, Some(StoredChange { to: to.clone(), after: *after, contract: contract.clone() }))
        }
        // Programs that know of no years, contracts, rollover or grace find a renewal of nothing, and give it back.
        Bought::Start { .. } if start.is_some() => (Purpose::Renewal, None),
        other => (other.purpose(), None),
    };
    let change = change.as_ref().map(serde_json::to_string).transpose().map_err(unreadable)?;
    let bill = new.bill.as_ref().map(serde_json::to_string).transpose().map_err(unreadable)?;
    let rows = on!(tx, c => sqlx::query(INSERT)
        .bind(new.owner).bind(new.id).bind(purpose.as_str()).bind(new.state.as_str())
        .bind(new.thing.as_slice()).bind(i64::from(new.attempt))
        .bind(new.amount.currency().as_str().to_owned()).bind(new.amount.micros()).bind(new.refunded.micros())
        .bind(new.dispute.as_str()).bind(new.disputed.micros()).bind(new.decline_code.as_deref())
        .bind(&new.method).bind(new.reference.as_deref()).bind(product.as_str()).bind(new.bought.credits())
        .bind(scope).bind(seats).bind(period).bind(new.bought.purchase()).bind(new.bought.subscription())
        .bind(new.fulfilled_at).bind(i64::from(new.returned)).bind(new.lot)
        .bind(new.taken_back.credits).bind(new.taken_back.voided).bind(new.taken_back.owed)
        .bind(&new.started_by).bind(new.created_at).bind(bill).bind(new.invoice).bind(moved(new)?).bind(change)
        .bind(start).bind(months(new)?).bind(features).bind(rollover).bind(grace)
        .bind(included::included_at_start(&new.bought)?).bind(aside(new)?)
        .execute(c).await?.rows_affected());
    Ok(rows == 1)
}

/// Writes the payments of some subscriptions' months, each of which is paid and delivered already. Returns how many were not
/// there: where that is not all of them, drop the transaction.
pub(crate) async fn insert_renewals(tx: &mut Tx, new: &[Payment]) -> Result<usize, DbError> {
    let Tx::Postgres(t) = tx else {
        let mut written = 0;
        for payment in new {
            written += usize::from(insert(tx, payment).await?);
        }
        return Ok(written);
    };
    let period = |it: &Payment| match &it.bought {
        Bought::Renewal { plan, period, .. } => Ok((plan.to_string(), i64::from(*period))),
        _ => Err(unreadable("only months are written this way")),
    };
    let (plans, periods): (Vec<_>, Vec<_>) = new.iter().map(period).collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
    let bill = |it: &Payment| it.bill.as_ref().map(serde_json::to_string).transpose().map_err(unreadable);
    let query = sqlx::query(INSERT_RENEWALS_POSTGRES)
        .bind(column(new, |it| it.owner.to_string()))
        .bind(column(new, |it| it.id.to_string()))
        .bind(column(new, |it| it.thing.to_vec()))
        .bind(column(new, |it| i64::from(it.attempt)))
        .bind(column(new, |it| it.amount.currency().as_str().to_owned()))
        .bind(column(new, |it| it.amount.micros()))
        .bind(column(new, |it| it.method.clone()))
        .bind(column(new, |it| it.reference.clone()))
        .bind(plans)
        .bind(column(new, |it| it.bought.credits().micro()))
        .bind(periods)
        .bind(column(new, |it| it.bought.subscription().map(|id| id.to_string())))
        .bind(column(new, |it| it.fulfilled_at.map(Timestamp::as_micros)))
        .bind(column(new, |it| it.lot.map(|id| id.to_string())))
        .bind(column(new, |it| it.started_by.clone()))
        .bind(column(new, |it| it.created_at.as_micros()))
        .bind(new.iter().map(bill).collect::<Result<Vec<_>, _>>()?)
        .bind(column(new, |it| it.invoice.map(|id| id.to_string())));
    let rows = query.execute(&mut **t).await?.rows_affected();
    usize::try_from(rows).map_err(unreadable)
}

/// Which of these things somebody has begun to pay for already, whatever came of it.
pub(crate) async fn tried(tx: &mut Tx, things: &[[u8; 16]]) -> Result<BTreeSet<Vec<u8>>, DbError> {
    let Tx::Postgres(t) = tx else {
        let mut tried = BTreeSet::new();
        for thing in things {
            tried.extend(last_attempt(tx, *thing).await?.map(|last| last.thing.to_vec()));
        }
        return Ok(tried);
    };
    let things = column(things, |it| it.to_vec());
    let rows: Vec<(Vec<u8>,)> = sqlx::query_as(TRIED_POSTGRES).bind(things).fetch_all(&mut **t).await?;
    Ok(rows.into_iter().map(|(thing,)| thing).collect())
}

/// Writes what has become of a payment.
pub(crate) async fn update(tx: &mut Tx, it: &Payment) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(UPDATE)
        .bind(it.id).bind(it.state.as_str()).bind(it.refunded.micros()).bind(it.dispute.as_str())
        .bind(it.disputed.micros()).bind(it.decline_code.as_deref()).bind(it.reference.as_deref())
        .bind(it.fulfilled_at).bind(i64::from(it.returned)).bind(it.lot)
        .bind(it.taken_back.credits).bind(it.taken_back.voided).bind(it.taken_back.owed).bind(it.invoice).bind(moved(it)?)
        .bind(months(it)?).bind(aside(it)?)
        .execute(c).await?.rows_affected()))
}

fn moved(of: &Payment) -> Result<Option<String>, DbError> {
    of.moved.as_ref().map(serde_json::to_string).transpose().map_err(unreadable)
}

fn aside(of: &Payment) -> Result<Option<String>, DbError> {
    (!of.aside.is_empty()).then(|| serde_json::to_string(&of.aside)).transpose().map_err(unreadable)
}

pub(super) fn months(of: &Payment) -> Result<Option<String>, DbError> {
    (!of.months.is_empty()).then(|| serde_json::to_string(&of.months)).transpose().map_err(unreadable)
}

/// Writes down with what the provider is about to be asked, by its own name for it.
pub(crate) async fn ask_with(tx: &mut Tx, id: PaymentId, token: &str) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(ASK_WITH).bind(id).bind(token).execute(c).await?.rows_affected()))
}

/// With what the provider was asked, as long as its answer is not known.
pub(crate) async fn asked_with(tx: &mut Tx, id: PaymentId) -> Result<Option<String>, DbError> {
    let row: Option<(Option<String>,)> = on!(tx, c => sqlx::query_as(ASKED_WITH).bind(id).fetch_optional(c).await?);
    Ok(row.and_then(|(token,)| token))
}

/// Writes down the provider's name for a payment, unless it has one, or it is known how it ended.
pub(crate) async fn name(tx: &mut Tx, id: PaymentId, reference: &str) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(NAME).bind(id).bind(reference).execute(c).await?.rows_affected());
    Ok(())
}

/// The payment that the provider calls so.
pub(crate) async fn named(tx: &mut Tx, reference: &str) -> Result<Option<Payment>, DbError> {
    let row: Option<Row> = on!(tx, c => sqlx::query_as(NAMED).bind(reference).fetch_optional(c).await?);
    row.map(Row::read).transpose()
}

/// Keeps what was answered to the request that it was made for.
pub(crate) async fn keep(tx: &mut Tx, id: PaymentId, kept: &Kept) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(KEEP)
        .bind(id).bind(kept.request.as_slice()).bind(kept.body_hash.as_slice()).bind(kept.answer.as_slice())
        .execute(c).await?.rows_affected()))
}

/// What is kept of the request that made one of the owner's payments.
pub(crate) async fn kept(tx: &mut Tx, owner: OwnerId, request: [u8; 16]) -> Result<Option<Kept>, DbError> {
    let row = on!(tx, c => sqlx::query_as(KEPT).bind(owner).bind(request.as_slice()).fetch_optional(c).await?);
    subscriptions::read_kept(request, row)
}

/// A payment, locked until the transaction ends.
pub(crate) async fn lock(tx: &mut Tx, id: PaymentId) -> Result<Option<Payment>, DbError> {
    // On SQLite whoever writes is alone.
    let statement = match tx.engine() {
        Engine::Sqlite => FIND,
        Engine::Postgres => LOCK_POSTGRES,
    };
    let row: Option<Row> = on!(tx, c => sqlx::query_as(statement).bind(id).fetch_optional(c).await?);
    row.map(Row::read).transpose()
}

/// Those of these payments that nobody else has locked, locked until the transaction ends. Nobody is waited for.
pub(crate) async fn lock_free(tx: &mut Tx, ids: &[PaymentId]) -> Result<Vec<Payment>, DbError> {
    let Tx::Postgres(t) = tx else {
        // On SQLite whoever writes is alone.
        return among(tx, ids).await;
    };
    let ids = column(ids, ToString::to_string);
    let rows: Vec<Row> = sqlx::query_as(LOCK_FREE_POSTGRES).bind(ids).fetch_all(&mut **t).await?;
    rows.into_iter().map(Row::read).collect()
}

/// Those of these payments that there are, in any order. On SQLite, to which there is no way, one after the other.
pub(crate) async fn among(tx: &mut Tx, ids: &[PaymentId]) -> Result<Vec<Payment>, DbError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let Tx::Postgres(t) = tx else {
        let mut found = Vec::with_capacity(ids.len());
        for id in ids {
            found.extend(get(tx, *id).await?);
        }
        return Ok(found);
    };
    let rows: Vec<Row> =
        sqlx::query_as(AMONG_POSTGRES).bind(column(ids, ToString::to_string)).fetch_all(&mut **t).await?;
    rows.into_iter().map(Row::read).collect()
}

/// A payment as it is.
pub(crate) async fn get(tx: &mut Tx, id: PaymentId) -> Result<Option<Payment>, DbError> {
    let row: Option<Row> = on!(tx, c => sqlx::query_as(FIND).bind(id).fetch_optional(c).await?);
    row.map(Row::read).transpose()
}

/// The last attempt at a thing that is paid for.
pub(crate) async fn last_attempt(tx: &mut Tx, thing: [u8; 16]) -> Result<Option<Payment>, DbError> {
    let row: Option<Row> = on!(tx, c => sqlx::query_as(LAST_ATTEMPT).bind(thing.as_slice()).fetch_optional(c).await?);
    row.map(Row::read).transpose()
}

/// The last attempts at these things, of those that somebody has begun to pay for, in any order. On SQLite, to which there is no
/// way, one after the other.
pub(crate) async fn last_attempts(tx: &mut Tx, things: &[[u8; 16]]) -> Result<Vec<Payment>, DbError> {
    let Tx::Postgres(t) = tx else {
        let mut found = Vec::with_capacity(things.len());
        for thing in things {
            found.extend(last_attempt(tx, *thing).await?);
        }
        return Ok(found);
    };
    let things = column(things, |it| it.to_vec());
    let rows: Vec<Row> = sqlx::query_as(LAST_ATTEMPTS_POSTGRES).bind(things).fetch_all(&mut **t).await?;
    rows.into_iter().map(Row::read).collect()
}

/// One of the owner's payments.
pub(crate) async fn find(tx: &mut Tx, owner: OwnerId, id: PaymentId) -> Result<Option<Payment>, DbError> {
    let row: Option<Row> = on!(tx, c => sqlx::query_as(OF_OWNER).bind(owner).bind(id).fetch_optional(c).await?);
    row.map(Row::read).transpose()
}

/// How many of the owner's payments may still be paid and are waited for.
pub(crate) async fn open(tx: &mut Tx, owner: OwnerId) -> Result<i64, DbError> {
    let (count,): (i64,) = on!(tx, c => sqlx::query_as(OPEN).bind(owner).fetch_one(c).await?);
    Ok(count)
}

/// Up to `limit` of the owner's payments that may still be paid and are waited for, the latest first.
pub(crate) async fn waiting(tx: &mut Tx, owner: OwnerId, limit: i64) -> Result<Vec<Payment>, DbError> {
    let rows: Vec<Row> = on!(tx, c => sqlx::query_as(WAITING).bind(owner).bind(limit).fetch_all(c).await?);
    rows.into_iter().map(Row::read).collect()
}

/// Those of them that a subscription begins with.
pub(crate) async fn waiting_starts(tx: &mut Tx, owner: OwnerId, limit: i64) -> Result<Vec<Payment>, DbError> {
    let rows: Vec<Row> = on!(tx, c => sqlx::query_as(WAITING_STARTS).bind(owner).bind(limit).fetch_all(c).await?);
    rows.into_iter().map(Row::read).collect()
}

/// Those of them that a subscription is changed with, the first first: in the order in which whoever locks several does.
pub(crate) async fn waiting_changes(tx: &mut Tx, owner: OwnerId, limit: i64) -> Result<Vec<Payment>, DbError> {
    let rows: Vec<Row> = on!(tx, c => sqlx::query_as(WAITING_CHANGES).bind(owner).bind(limit).fetch_all(c).await?);
    rows.into_iter().map(Row::read).collect()
}

/// Up to `limit` of the owner's payments, the latest first, older than `before`. By when they began: a renewal's id has its
/// month's time.
pub(crate) async fn page(
    tx: &mut Tx,
    owner: OwnerId,
    before: Option<(Timestamp, PaymentId)>,
    limit: i64,
) -> Result<Vec<Payment>, DbError> {
    let (at, id) = before.map_or_else(|| (Timestamp::MAX, AFTER_ALL.to_owned()), |(at, id)| (at, id.to_string()));
    let rows: Vec<Row> =
        on!(tx, c => sqlx::query_as(PAGE).bind(owner).bind(at).bind(id).bind(limit).fetch_all(c).await?);
    rows.into_iter().map(Row::read).collect()
}
