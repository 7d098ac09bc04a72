//! Contracts that begin later: at most one for each owner. And what a contract includes, where a subscription has one.

use bursar_db::{DbError, Tx, on};
use bursar_id::OwnerId;
use bursar_time::Timestamp;
use serde::{Deserialize, Serialize};

use super::unreadable;
use crate::domain::{Features, ProductId, Subscription, Terms};

const PUT: &str = "INSERT INTO contracts (owner, id, terms, payment_method, starts_at, set_by, set_at, attempts) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, 0) ON CONFLICT (owner) DO UPDATE SET id = excluded.id, terms = excluded.terms, \
     payment_method = excluded.payment_method, starts_at = excluded.starts_at, set_by = excluded.set_by, \
     set_at = excluded.set_at, attempts = 0";
const OF: &str = "SELECT id, terms, payment_method, starts_at, set_by, attempts FROM contracts WHERE owner = $1";
const BEGUN: &str = "DELETE FROM contracts WHERE owner = $1 AND id = $2";
const FORGET: &str = "DELETE FROM contracts WHERE owner = $1";
const NOTE: &str = "UPDATE contracts SET attempts = attempts + 1 WHERE owner = $1 AND id = $2 AND attempts = $3";
/// Of all there are: few wait, and fewer are due.
const DUE: &str = "SELECT owner FROM contracts WHERE starts_at <= $1";

/// Every statement here, by its name.
#[cfg(test)]
pub(super) const STATEMENTS: [(&str, &str); 6] =
    [("PUT", PUT), ("OF", OF), ("BEGUN", BEGUN), ("FORGET", FORGET), ("NOTE", NOTE), ("DUE", DUE)];

/// A contract that begins later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// Which one: another one for the same owner has another.
    pub(crate) id: String,
    /// What was agreed.
    pub(crate) terms: Terms,
    /// With what it is to be paid, as that is stored; empty where nothing was named.
    pub(crate) method: String,
    /// When it begins.
    pub(crate) starts_at: Timestamp,
    /// Who set it: an operator's account.
    pub(crate) set_by: String,
    /// How often it was tried in vain.
    pub(crate) attempts: u32,
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    terms: String,
    payment_method: String,
    starts_at: Timestamp,
    set_by: String,
    attempts: i64,
}

impl Row {
    fn read(self) -> Result<Waiting, DbError> {
        Ok(Waiting {
            id: self.id,
            terms: serde_json::from_str(&self.terms).map_err(unreadable)?,
            method: self.payment_method,
            starts_at: self.starts_at,
            set_by: self.set_by,
            attempts: self.attempts.try_into().map_err(unreadable)?,
        })
    }
}

/// Writes a contract that begins later, in the place of the one that waits, if one does.
pub(crate) async fn put(tx: &mut Tx, owner: OwnerId, new: &Waiting, now: Timestamp) -> Result<(), DbError> {
    let terms = serde_json::to_string(&new.terms).map_err(unreadable)?;
    on!(tx, c => sqlx::query(PUT)
        .bind(owner).bind(&new.id).bind(terms).bind(&new.method).bind(new.starts_at).bind(&new.set_by).bind(now)
        .execute(c).await?.rows_affected());
    Ok(())
}

/// The owner's contract that begins later.
pub(crate) async fn of(tx: &mut Tx, owner: OwnerId) -> Result<Option<Waiting>, DbError> {
    let row: Option<Row> = on!(tx, c => sqlx::query_as(OF).bind(owner).fetch_optional(c).await?);
    row.map(Row::read).transpose()
}

/// It waits no more: it takes effect. `false`: another one has taken its place, or it was given up.
pub(crate) async fn begun(tx: &mut Tx, owner: OwnerId, id: &str) -> Result<bool, DbError> {
    Ok(on!(tx, c => sqlx::query(BEGUN).bind(owner).bind(id).execute(c).await?.rows_affected()) == 1)
}

/// Nothing waits for the owner any more.
pub(crate) async fn forget(tx: &mut Tx, owner: OwnerId) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(FORGET).bind(owner).execute(c).await?.rows_affected());
    Ok(())
}

/// Notes that one was tried in vain once more. `false`: it waits no more, or somebody else has noted that.
pub(crate) async fn note(tx: &mut Tx, owner: OwnerId, tried: &Waiting) -> Result<bool, DbError> {
    let attempts = i64::from(tried.attempts);
    Ok(on!(tx, c => sqlx::query(NOTE).bind(owner).bind(&tried.id).bind(attempts).execute(c).await?.rows_affected())
        == 1)
}

/// Whose contracts were to begin by `now` and have not yet.
pub(crate) async fn due(tx: &mut Tx, now: Timestamp) -> Result<Vec<OwnerId>, DbError> {
    let rows: Vec<(OwnerId,)> = on!(tx, c => sqlx::query_as(DUE).bind(now).fetch_all(c).await?);
    Ok(rows.into_iter().map(|(owner,)| owner).collect())
}

/// What a contract includes, as it is stored: of this plan. Programs that know of no contracts change the plan alone.
#[derive(Serialize, Deserialize)]
struct StoredFeatures {
    plan: ProductId,
    #[serde(flatten)]
    features: Features,
}

/// What a subscription's contract includes, as it is stored.
pub(super) fn features(of: &Subscription) -> Result<Option<String>, DbError> {
    let stored = of.features.map(|features| StoredFeatures { plan: of.plan.clone(), features });
    stored.as_ref().map(serde_json::to_string).transpose().map_err(unreadable)
}

/// What the contract of a subscription to this plan includes, from what is stored.
pub(super) fn read_features(text: Option<&str>, plan: &str) -> Result<Option<Features>, DbError> {
    let stored = text.map(serde_json::from_str::<StoredFeatures>).transpose().map_err(unreadable)?;
    Ok(stored.filter(|it| it.plan.as_str() == plan).map(|it| it.features))
}

/// What a change is stored as: what a month of the subscription is from then on, how often that had been changed before, and which
/// contract begins with it of those that have waited.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredChange {
    pub(super) to: Terms,
    pub(super) after: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) contract: Option<String>,
}

/// What a payment begins a subscription by, as it is stored. Programs that know of no id read what is included alone.
#[derive(Serialize, Deserialize)]
struct StoredStart {
    #[serde(flatten)]
    features: Features,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    contract: Option<String>,
}

/// What a payment begins a subscription by, as it is stored: what its contract includes, and under which id that has waited.
pub(super) fn start(features: Option<Features>, contract: Option<&str>) -> Result<Option<String>, DbError> {
    let stored = features.map(|features| StoredStart { features, contract: contract.map(str::to_owned) });
    stored.as_ref().map(serde_json::to_string).transpose().map_err(unreadable)
}

/// The same from what is stored.
pub(super) fn read_start(text: Option<&str>) -> Result<(Option<Features>, Option<String>), DbError> {
    let stored = text.map(serde_json::from_str::<StoredStart>).transpose().map_err(unreadable)?;
    Ok(stored.map_or((None, None), |it| (Some(it.features), it.contract)))
}
