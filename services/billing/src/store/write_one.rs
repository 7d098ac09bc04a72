//! Writing what was decided about one owner's account on PostgreSQL, table by table: where tables are distributed by
//! owner ([`super::sql_one`]). The account's row is locked.

use bursar_db::DbError;
use bursar_time::Timestamp;
use sqlx::postgres::PgConnection;

use super::write::{Rows, Unsaved, column, model, project};
use super::{holds, keys, ledger, sql_one};

/// Writes one owner's changes. Tables for which there is nothing are left out.
pub(super) async fn for_one_owner(connection: &mut PgConnection, unsaved: &Unsaved) -> Result<(), DbError> {
    let rows = Rows::of(std::slice::from_ref(unsaved));
    append(connection, unsaved, &rows).await?;
    save_made(connection, unsaved, &rows).await?;
    add_usage(connection, unsaved, &rows).await?;
    save_account(connection, unsaved).await
}

async fn append(connection: &mut PgConnection, unsaved: &Unsaved, rows: &Rows<'_>) -> Result<(), DbError> {
    let Rows { entries, pages, .. } = rows;
    if !entries.is_empty() {
        sqlx::query(sql_one::APPEND_ENTRIES)
            .bind(keys::owner(unsaved.changes.owner))
            .bind(column(entries, |(_, it)| keys::number(it.seq)))
            .bind(column(entries, |(_, it)| it.at.as_micros()))
            .bind(column(entries, |(_, it)| it.request_key.as_ref().map(ledger::key_column)))
            .bind(column(entries, |(_, it)| it.refunds().map(keys::uuid)))
            .bind(column(entries, |(_, it)| it.body.as_slice()))
            .bind(column(entries, |(_, it)| it.hash.as_slice()))
            .execute(&mut *connection)
            .await?;
    }
    if !pages.is_empty() {
        sqlx::query(sql_one::KEEP_DETAILS)
            .bind(keys::owner(unsaved.changes.owner))
            .bind(column(pages, |(_, last, _)| keys::number(*last)))
            .bind(column(pages, |(.., page)| page.to_bytes()))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn save_made(connection: &mut PgConnection, unsaved: &Unsaved, rows: &Rows<'_>) -> Result<(), DbError> {
    let Rows { lots, holds, .. } = rows;
    if !lots.is_empty() {
        sqlx::query(sql_one::SAVE_LOTS)
            .bind(keys::owner(unsaved.changes.owner))
            .bind(column(lots, |(_, it)| keys::number(it.number)))
            .bind(column(lots, |(_, it)| keys::uuid(it.id)))
            .bind(column(lots, |(_, it)| it.terms.to_bytes()))
            .bind(column(lots, |(_, it)| it.granted))
            .bind(column(lots, |(_, it)| it.remaining))
            .bind(column(lots, |(_, it)| it.held))
            .bind(column(lots, |(_, it)| it.spent))
            .bind(column(lots, |(_, it)| it.expired))
            .bind(column(lots, |(_, it)| it.voided))
            .bind(column(lots, |(_, it)| it.voided_at.map(Timestamp::as_micros)))
            .bind(column(lots, |(_, it)| it.note.as_ref().map(|note| note.as_str().to_owned())))
            .execute(&mut *connection)
            .await?;
    }
    if !holds.is_empty() {
        sqlx::query(sql_one::SAVE_HOLDS)
            .bind(keys::owner(unsaved.changes.owner))
            .bind(column(holds, |(_, it)| keys::number(it.number)))
            .bind(column(holds, |(_, it)| keys::uuid(it.id)))
            .bind(column(holds, |(_, it)| it.state.as_str()))
            .bind(column(holds, |(_, it)| it.deadline.as_micros()))
            .bind(column(holds, |(_, it)| it.settled_at.map(Timestamp::as_micros)))
            .bind(column(holds, |(_, it)| it.captured))
            .bind(column(holds, |(_, it)| it.charge.map(keys::uuid)))
            .bind(column(holds, |(_, it)| keys::uuid(it.terms.attribution.member)))
            .bind(column(holds, |(_, it)| holds::labels(it)))
            .bind(column(holds, |(_, it)| it.terms.to_bytes()))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn add_usage(connection: &mut PgConnection, unsaved: &Unsaved, rows: &Rows<'_>) -> Result<(), DbError> {
    let Rows { hours, meters, .. } = rows;
    if !hours.is_empty() {
        sqlx::query(sql_one::ADD_HOURS)
            .bind(keys::owner(unsaved.changes.owner))
            .bind(column(hours, |(_, it)| it.key.hour.as_micros()))
            .bind(column(hours, |(_, it)| keys::uuid(it.key.member)))
            .bind(column(hours, |(_, it)| project(it)))
            .bind(column(hours, |(_, it)| model(it)))
            .bind(column(hours, |(_, it)| it.add.charged))
            .bind(column(hours, |(_, it)| it.add.refunded))
            .bind(column(hours, |(_, it)| it.add.charges))
            .execute(&mut *connection)
            .await?;
    }
    if !meters.is_empty() {
        sqlx::query(sql_one::ADD_METERS)
            .bind(keys::owner(unsaved.changes.owner))
            .bind(column(meters, |(_, it)| it.key.hour.as_micros()))
            .bind(column(meters, |(_, it)| it.key.model.as_str()))
            .bind(column(meters, |(_, it)| it.key.meter.as_str()))
            .bind(column(meters, |(_, it)| it.add.quantity))
            .bind(column(meters, |(_, it)| it.add.charged))
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn save_account(connection: &mut PgConnection, unsaved: &Unsaved) -> Result<(), DbError> {
    let it = &unsaved.changes.account;
    let saved = sqlx::query(sql_one::SAVE_ACCOUNT)
        .bind(keys::owner(unsaved.changes.owner))
        .bind(keys::number(it.head.seq))
        .bind(it.head.hash.to_vec())
        .bind(it.head.at)
        .bind(it.available)
        .bind(it.held)
        .bind(it.debt)
        .bind(i64::from(it.open_holds))
        .bind(it.charged)
        .bind(it.period.anchor)
        .bind(i64::from(it.period.month.number))
        .bind(it.period.spent)
        .bind(it.renews_at)
        .bind(it.next_lapse)
        .bind(unsaved.next_due)
        .execute(connection)
        .await?;
    bursar_db::exactly_one(saved.rows_affected())
}
