//! What the managers of accounts have set: a row for each account that set anything.

use bursar_db::{DbError, Tx, exactly_one, on};
use bursar_id::OwnerId;
use bursar_time::Timestamp;

use super::unreadable;
use crate::domain::AccountSettings;

const FIND: &str =
    "SELECT version, billing_profile, time_zone, allowance_alert_percents FROM account_settings WHERE owner = $1";
const PUT: &str = "INSERT INTO account_settings (owner, version, billing_profile, time_zone, allowance_alert_percents, updated_at) \
     VALUES ($1, $2, $3, $4, $5, $6) \
     ON CONFLICT (owner) DO UPDATE SET version = excluded.version, billing_profile = excluded.billing_profile, \
     time_zone = excluded.time_zone, allowance_alert_percents = excluded.allowance_alert_percents, \
     updated_at = excluded.updated_at";
const FORGET: &str = "DELETE FROM account_settings WHERE owner = $1";

/// Every statement here, by its name.
#[cfg(test)]
pub(super) const STATEMENTS: [(&str, &str); 3] = [("FIND", FIND), ("PUT", PUT), ("FORGET", FORGET)];

#[derive(sqlx::FromRow)]
struct Row {
    version: i64,
    billing_profile: String,
    time_zone: String,
    allowance_alert_percents: String,
}

/// An account's settings; the defaults of one that set nothing.
pub(crate) async fn of(tx: &mut Tx, owner: OwnerId) -> Result<AccountSettings, DbError> {
    let row: Option<Row> = on!(tx, c => sqlx::query_as(FIND).bind(owner).fetch_optional(c).await?);
    let Some(row) = row else { return Ok(AccountSettings::default()) };
    Ok(AccountSettings {
        allowance_alert_percents: serde_json::from_str(&row.allowance_alert_percents).map_err(unreadable)?,
        profile: serde_json::from_str(&row.billing_profile).map_err(unreadable)?,
        zone: row.time_zone.parse().map_err(unreadable)?,
        version: row.version,
    })
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
    exactly_one(on!(tx, c => sqlx::query(PUT)
        .bind(owner).bind(settings.version).bind(profile).bind(settings.zone.name().to_owned()).bind(percents).bind(now)
        .execute(c).await?.rows_affected()))
}

/// Erases an account's settings.
pub(crate) async fn forget(tx: &mut Tx, owner: OwnerId) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(FORGET).bind(owner).execute(c).await?.rows_affected());
    Ok(())
}
