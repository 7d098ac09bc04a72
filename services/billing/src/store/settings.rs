//! What the managers of accounts have set: a row for each account that set anything.

use std::collections::HashMap;

use bursar_db::{DbError, Tx, exactly_one, on};
use bursar_id::OwnerId;
use bursar_money::{Credits, Price};
use bursar_time::Timestamp;
use serde::{Deserialize, Serialize};

use super::unreadable;
use crate::domain::{AccountSettings, AutoTopUp, ProductId};

const FIND: &str = "SELECT version, billing_profile, time_zone, allowance_alert_percents, auto_top_up FROM account_settings WHERE owner = $1";
const OF_OWNERS_POSTGRES: &str = "SELECT owner, version, billing_profile, time_zone, allowance_alert_percents, auto_top_up \
     FROM account_settings WHERE owner = ANY ($1::text[])";
const PUT: &str = "INSERT INTO account_settings (owner, version, billing_profile, time_zone, allowance_alert_percents, updated_at, auto_top_up) \
     VALUES ($1, $2, $3, $4, $5, $6, $7) \
     ON CONFLICT (owner) DO UPDATE SET version = excluded.version, billing_profile = excluded.billing_profile, \
     time_zone = excluded.time_zone, allowance_alert_percents = excluded.allowance_alert_percents, \
     updated_at = excluded.updated_at, auto_top_up = excluded.auto_top_up";
const FORGET: &str = "DELETE FROM account_settings WHERE owner = $1";

/// Every statement here, by its name; what is named for an engine is for that one alone.
#[cfg(test)]
pub(super) const STATEMENTS: [(&str, &str); 4] =
    [("FIND", FIND), ("OF_OWNERS_POSTGRES", OF_OWNERS_POSTGRES), ("PUT", PUT), ("FORGET", FORGET)];

#[derive(sqlx::FromRow)]
struct Row {
    version: i64,
    billing_profile: String,
    time_zone: String,
    allowance_alert_percents: String,
    auto_top_up: Option<String>,
}

#[derive(sqlx::FromRow)]
struct Owned {
    owner: OwnerId,
    #[sqlx(flatten)]
    row: Row,
}

impl Row {
    fn read(self) -> Result<AccountSettings, DbError> {
        Ok(AccountSettings {
            allowance_alert_percents: serde_json::from_str(&self.allowance_alert_percents).map_err(unreadable)?,
            profile: serde_json::from_str(&self.billing_profile).map_err(unreadable)?,
            zone: self.time_zone.parse().map_err(unreadable)?,
            top_up: self.auto_top_up.as_deref().map(read_top_up).transpose()?,
            version: self.version,
        })
    }
}

/// What a top-up is stored as: amounts in millionths.
#[derive(Serialize, Deserialize)]
struct StoredTopUp {
    enabled: bool,
    threshold: i64,
    pack: String,
    ceiling: Price,
    method: String,
    set_by: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stopped: Option<String>,
}

fn write_top_up(it: &AutoTopUp) -> Result<String, DbError> {
    let stored = StoredTopUp {
        enabled: it.enabled,
        threshold: it.threshold.micro(),
        pack: it.pack.to_string(),
        ceiling: it.ceiling,
        method: it.method.clone(),
        set_by: it.set_by.clone(),
        stopped: it.stopped.map(|stop| stop.to_string()),
    };
    serde_json::to_string(&stored).map_err(unreadable)
}

fn read_top_up(text: &str) -> Result<AutoTopUp, DbError> {
    let it: StoredTopUp = serde_json::from_str(text).map_err(unreadable)?;
    Ok(AutoTopUp {
        enabled: it.enabled,
        threshold: Credits::from_micro(it.threshold).map_err(unreadable)?,
        pack: ProductId::parse(&it.pack).ok_or_else(|| unreadable("a top-up's pack is unreadable"))?,
        ceiling: it.ceiling,
        method: it.method,
        set_by: it.set_by,
        stopped: it.stopped.map(|stop| stop.parse()).transpose().map_err(unreadable)?,
    })
}

/// An account's settings; the defaults of one that set nothing.
pub(crate) async fn of(tx: &mut Tx, owner: OwnerId) -> Result<AccountSettings, DbError> {
    let row: Option<Row> = on!(tx, c => sqlx::query_as(FIND).bind(owner).fetch_optional(c).await?);
    row.map_or_else(|| Ok(AccountSettings::default()), Row::read)
}

/// The settings of these accounts; one that set nothing is missing or has the defaults.
pub(crate) async fn of_owners(tx: &mut Tx, owners: &[OwnerId]) -> Result<HashMap<OwnerId, AccountSettings>, DbError> {
    let Tx::Postgres(t) = tx else {
        let mut all = HashMap::with_capacity(owners.len());
        for owner in owners {
            all.insert(*owner, of(tx, *owner).await?);
        }
        return Ok(all);
    };
    let owners: Vec<String> = owners.iter().map(ToString::to_string).collect();
    let rows: Vec<Owned> = sqlx::query_as(OF_OWNERS_POSTGRES).bind(owners).fetch_all(&mut **t).await?;
    rows.into_iter().map(|it| Ok((it.owner, it.row.read()?))).collect()
}

/// Puts settings in the place of an account's. The account is locked.
pub(crate) async fn put(
    tx: &mut Tx,
    owner: OwnerId,
    settings: &AccountSettings,
    now: Timestamp,
) -> Result<(), DbError> {
    let profile = serde_json::to_string(&settings.profile).map_err(unreadable)?;
    let percents = serde_json::to_string(&settings.allowance_alert_percents).map_err(unreadable)?;
    let top_up = settings.top_up.as_ref().map(write_top_up).transpose()?;
    exactly_one(on!(tx, c => sqlx::query(PUT)
        .bind(owner).bind(settings.version).bind(profile).bind(settings.zone.name().to_owned()).bind(percents).bind(now)
        .bind(top_up).execute(c).await?.rows_affected()))
}

/// Erases an account's settings.
pub(crate) async fn forget(tx: &mut Tx, owner: OwnerId) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(FORGET).bind(owner).execute(c).await?.rows_affected());
    Ok(())
}
