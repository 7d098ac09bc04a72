//! Writing what was decided about one owner's account on PostgreSQL, table by table: where tables are distributed by
//! owner ([`super::sql_one`]). The account's row is locked.

use bursar_db::{DbError, Limited};
use sqlx::Postgres;

use super::write::{
    Rows, Unsaved, bind_entries, bind_holds, bind_hours, bind_lots, bind_meters, bind_pages, bind_used,
};
use super::{accounts, keys, sql_one};

/// Writes one owner's changes. Tables for which there is nothing are left out.
pub(super) async fn for_one_owner(connection: &mut Limited<Postgres>, unsaved: &Unsaved) -> Result<(), DbError> {
    let rows = Rows::of(std::slice::from_ref(unsaved));
    let Rows { entries, pages, lots, holds, hours, meters, used, .. } = &rows;
    let owner = keys::owner(unsaved.changes.owner);
    let of_owner = |statement: &'static str| sqlx::query(statement).bind(owner.clone());
    if !entries.is_empty() {
        bind_entries(of_owner(sql_one::APPEND_ENTRIES), entries).execute(&mut *connection).await?;
    }
    if !pages.is_empty() {
        bind_pages(of_owner(sql_one::KEEP_DETAILS), pages).execute(&mut *connection).await?;
    }
    if !lots.is_empty() {
        bind_lots(of_owner(sql_one::SAVE_LOTS), lots).execute(&mut *connection).await?;
    }
    if !holds.is_empty() {
        bind_holds(of_owner(sql_one::SAVE_HOLDS), holds).execute(&mut *connection).await?;
    }
    if !hours.is_empty() {
        bind_hours(of_owner(sql_one::ADD_HOURS), hours).execute(&mut *connection).await?;
    }
    if !meters.is_empty() {
        bind_meters(of_owner(sql_one::ADD_METERS), meters).execute(&mut *connection).await?;
    }
    if !used.is_empty() {
        bind_used(of_owner(sql_one::SAVE_LIMITS_USED), used).execute(&mut *connection).await?;
    }
    save_account(connection, unsaved).await
}

async fn save_account(connection: &mut Limited<Postgres>, unsaved: &Unsaved) -> Result<(), DbError> {
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
        .bind(accounts::allowance(it))
        .execute(connection)
        .await?;
    bursar_db::exactly_one(saved.rows_affected())
}
