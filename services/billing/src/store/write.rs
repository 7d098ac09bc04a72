//! Writing what was decided about the accounts of a batch.

use bursar_db::{Db, DbError, Limited, Tx};
use bursar_id::OwnerId;
use bursar_time::Timestamp;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Postgres, Row, Sqlite};

use super::write_one::for_one_owner;
use super::{accounts, bulk, column, holds, keys, ledger, limits, sql_write};
use crate::domain::{
    Account, Changes, DetailsPage, Entry, Hold, Lot, MeterDelta, ModelName, ProjectName, UsageDelta, UseKey, Used,
};

/// What must be written of one account.
#[derive(Debug)]
pub(crate) struct Unsaved {
    /// What was decided.
    pub(crate) changes: Changes,
    /// When its next lot expires or its next hold may lapse.
    pub(crate) next_due: Option<Timestamp>,
}

/// The accounts that decisions rest on, in the order of owners, and what was decided about them.
pub(crate) struct Batch<'a> {
    /// Each account's row as it must still be stored.
    pub(crate) basis: Vec<(OwnerId, &'a Account)>,
    /// What to write, in the order of owners.
    pub(crate) unsaved: &'a [Unsaved],
}

/// How a batch's rows lie.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Layout {
    /// All owners' on one server.
    #[default]
    Together,
    /// Distributed by owner over several: a batch has one owner, and each table its own statement.
    Distributed,
}

/// Writes a batch by itself, durable when it returns; `false` if an account is not stored as the decisions rest on it:
/// then nothing was written.
pub(crate) async fn commit(db: &Db, layout: Layout, batch: &Batch<'_>) -> Result<bool, DbError> {
    match (db, layout) {
        (Db::Postgres(pool), Layout::Together) => {
            let mut connection = pool.acquire().await?;
            let written = on_postgres(&mut connection, batch).await;
            if matches!(&written, Err(DbError::Unavailable(_))) {
                // Whatever state it is in, nobody else shall have it.
                connection.throw_away();
            }
            written
        }
        (Db::Sqlite { .. }, _) | (Db::Postgres(_), Layout::Distributed) => {
            let mut tx = db.begin().await?;
            let written = write(&mut tx, layout, batch).await?;
            tx.commit().await?;
            Ok(written)
        }
    }
}

/// The same within a transaction that goes on.
pub(crate) async fn write(tx: &mut Tx, layout: Layout, batch: &Batch<'_>) -> Result<bool, DbError> {
    match tx {
        Tx::Postgres(t) if layout == Layout::Together => on_postgres(&mut *t, batch).await,
        Tx::Postgres(_) | Tx::Sqlite(_) => {
            let owners: Vec<OwnerId> = batch.basis.iter().map(|(owner, _)| *owner).collect();
            let stored = accounts::lock(tx, &owners).await?;
            let same = |((owner, basis), (found, stored)): (&(OwnerId, &Account), &(OwnerId, Account))| {
                owner == found && version(basis) == version(stored)
            };
            if stored.len() != owners.len() || !batch.basis.iter().zip(&stored).all(same) {
                return Ok(false);
            }
            match tx {
                Tx::Sqlite(t) => on_sqlite(t, batch.unsaved).await?,
                Tx::Postgres(t) => {
                    for one in batch.unsaved {
                        for_one_owner(&mut *t, one).await?;
                    }
                }
            }
            Ok(true)
        }
    }
}

/// By what an account's row is known to be the same.
fn version(account: &Account) -> (u64, [u8; 32], u64) {
    (account.head.seq, account.head.hash, account.terms)
}

/// Everything that is written, table by table.
pub(super) struct Rows<'a> {
    pub(super) entries: Vec<(OwnerId, &'a Entry)>,
    pub(super) pages: Vec<(OwnerId, u64, DetailsPage)>,
    pub(super) lots: Vec<(OwnerId, &'a Lot)>,
    pub(super) holds: Vec<(OwnerId, &'a Hold)>,
    pub(super) hours: Vec<(OwnerId, &'a UsageDelta)>,
    pub(super) meters: Vec<(OwnerId, &'a MeterDelta)>,
    pub(super) used: Vec<(OwnerId, &'a (UseKey, Used))>,
    pub(super) heads: &'a [Unsaved],
}

impl<'a> Rows<'a> {
    pub(super) fn of(unsaved: &'a [Unsaved]) -> Self {
        let each = || unsaved.iter().map(|it| &it.changes);
        let pages = |changes: &Changes| {
            let with = changes.entries.iter().filter_map(|it| Some((it.seq, it.details.clone()?)));
            let owner = changes.owner;
            DetailsPage::pages(&with.collect::<Vec<_>>()).into_iter().map(move |(last, page)| (owner, last, page))
        };
        Self {
            entries: each().flat_map(|it| it.entries.iter().map(|entry| (it.owner, entry.as_ref()))).collect(),
            pages: each().flat_map(pages).collect(),
            lots: each()
                .flat_map(|it| it.lots_inserted.iter().chain(&it.lots_updated).map(|lot| (it.owner, lot)))
                .collect(),
            holds: each()
                .flat_map(|it| it.holds_inserted.iter().chain(&it.holds_updated).map(|hold| (it.owner, hold)))
                .collect(),
            hours: each().flat_map(|it| it.usage.iter().map(|delta| (it.owner, delta))).collect(),
            meters: each().flat_map(|it| it.meters.iter().map(|delta| (it.owner, delta))).collect(),
            used: each().flat_map(|it| it.used.iter().map(|used| (it.owner, used))).collect(),
            heads: unsaved,
        }
    }
}

async fn on_postgres(connection: &mut Limited<Postgres>, batch: &Batch<'_>) -> Result<bool, DbError> {
    let Batch { basis, unsaved } = batch;
    let rows = Rows::of(unsaved);
    let statement = if rows.used.is_empty() { sql_write::WRITE_BATCH } else { sql_write::WRITE_BATCH_LIMITED };
    let query = sqlx::query(statement)
        .bind(column(basis, |(owner, _)| keys::owner(*owner)))
        .bind(column(basis, |(_, it)| keys::number(it.head.seq)))
        .bind(column(basis, |(_, it)| it.head.hash.to_vec()))
        .bind(column(basis, |(_, it)| keys::number(it.terms)));
    let Rows { entries, pages, lots, holds, hours, meters, used, .. } = &rows;
    let query = bind_entries(query.bind(owners(entries, |it| it.0)), entries);
    let query = bind_pages(query.bind(owners(pages, |it| it.0)), pages);
    let query = bind_lots(query.bind(owners(lots, |it| it.0)), lots);
    let query = bind_holds(query.bind(owners(holds, |it| it.0)), holds);
    let query = bind_hours(query.bind(owners(hours, |it| it.0)), hours);
    let query = bind_meters(query.bind(owners(meters, |it| it.0)), meters);
    let mut query = bind_heads(query, &rows);
    if !used.is_empty() {
        query = bind_used(query.bind(owners(used, |it| it.0)), used);
    }
    let row = query.fetch_one(connection).await?;
    Ok(row.try_get(0)?)
}

fn owners<R>(rows: &[R], of: impl Fn(&R) -> OwnerId) -> Vec<Vec<u8>> {
    column(rows, |row| keys::owner(of(row)))
}

pub(super) type PgQuery<'q> = Query<'q, Postgres, PgArguments>;

/// The columns of entries after their owners, as every statement that appends them takes them; so of the other tables.
pub(super) fn bind_entries<'q>(query: PgQuery<'q>, entries: &[(OwnerId, &'q Entry)]) -> PgQuery<'q> {
    query
        .bind(column(entries, |(_, it)| keys::number(it.seq)))
        .bind(column(entries, |(_, it)| it.at.as_micros()))
        .bind(column(entries, |(_, it)| it.request_key.as_ref().map(ledger::key_column)))
        .bind(column(entries, |(_, it)| it.refunds().map(keys::uuid)))
        .bind(column(entries, |(_, it)| it.body.as_slice()))
        .bind(column(entries, |(_, it)| it.hash.as_slice()))
}

pub(super) fn bind_pages<'q>(query: PgQuery<'q>, pages: &[(OwnerId, u64, DetailsPage)]) -> PgQuery<'q> {
    query.bind(column(pages, |(_, last, _)| keys::number(*last))).bind(column(pages, |(.., page)| page.to_bytes()))
}

pub(super) fn bind_lots<'q>(query: PgQuery<'q>, lots: &[(OwnerId, &'q Lot)]) -> PgQuery<'q> {
    query
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
}

pub(super) fn bind_holds<'q>(query: PgQuery<'q>, holds: &[(OwnerId, &'q Hold)]) -> PgQuery<'q> {
    query
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
}

pub(super) fn bind_hours<'q>(query: PgQuery<'q>, hours: &[(OwnerId, &'q UsageDelta)]) -> PgQuery<'q> {
    query
        .bind(column(hours, |(_, it)| it.key.hour.as_micros()))
        .bind(column(hours, |(_, it)| keys::uuid(it.key.member)))
        .bind(column(hours, |(_, it)| project(it)))
        .bind(column(hours, |(_, it)| model(it)))
        .bind(column(hours, |(_, it)| it.add.charged))
        .bind(column(hours, |(_, it)| it.add.refunded))
        .bind(column(hours, |(_, it)| it.add.charges))
}

pub(super) fn bind_meters<'q>(query: PgQuery<'q>, meters: &[(OwnerId, &'q MeterDelta)]) -> PgQuery<'q> {
    query
        .bind(column(meters, |(_, it)| it.key.hour.as_micros()))
        .bind(column(meters, |(_, it)| it.key.model.as_str()))
        .bind(column(meters, |(_, it)| it.key.meter.as_str()))
        .bind(column(meters, |(_, it)| it.add.quantity))
        .bind(column(meters, |(_, it)| it.add.charged))
}

pub(super) fn bind_used<'q>(query: PgQuery<'q>, used: &[(OwnerId, &'q (UseKey, Used))]) -> PgQuery<'q> {
    query
        .bind(column(used, |(_, (key, _))| key.subject.to_bytes()))
        .bind(column(used, |(_, (key, _))| limits::window(key.window)))
        .bind(column(used, |(_, (key, _))| key.starts_at.as_micros()))
        .bind(column(used, |(_, (_, it))| it.ends_at.as_micros()))
        .bind(column(used, |(_, (_, it))| it.used))
        .bind(column(used, |(_, (_, it))| it.peak))
        .bind(column(used, |(_, (_, it))| i64::from(it.retold)))
}

fn bind_heads<'q>(query: PgQuery<'q>, rows: &Rows<'q>) -> PgQuery<'q> {
    let heads = rows.heads;
    let of = |get: fn(&Account) -> i64| column(heads, |it| get(&it.changes.account));
    query
        .bind(column(heads, |it| keys::owner(it.changes.owner)))
        .bind(of(|it| keys::number(it.head.seq)))
        .bind(column(heads, |it| it.changes.account.head.hash.to_vec()))
        .bind(of(|it| it.head.at.as_micros()))
        .bind(of(|it| it.available.micro()))
        .bind(of(|it| it.held.micro()))
        .bind(of(|it| it.debt.micro()))
        .bind(of(|it| i64::from(it.open_holds)))
        .bind(of(|it| keys::number(it.terms)))
        .bind(of(|it| it.charged))
        .bind(of(|it| it.period.anchor.as_micros()))
        .bind(of(|it| i64::from(it.period.month.number)))
        .bind(of(|it| it.period.spent))
        .bind(column(heads, |it| it.changes.account.renews_at.map(Timestamp::as_micros)))
        .bind(column(heads, |it| it.changes.account.next_lapse.map(Timestamp::as_micros)))
        .bind(column(heads, |it| it.next_due.map(Timestamp::as_micros)))
        .bind(column(heads, |it| accounts::allowance(&it.changes.account)))
}

fn project(delta: &UsageDelta) -> &str {
    delta.key.project.as_ref().map(ProjectName::as_str).unwrap_or_default()
}

fn model(delta: &UsageDelta) -> &str {
    delta.key.model.as_ref().map(ModelName::as_str).unwrap_or_default()
}

async fn on_sqlite(t: &mut Limited<Sqlite>, unsaved: &[Unsaved]) -> Result<(), DbError> {
    let rows = Rows::of(unsaved);
    append(t, &rows).await?;
    save_made(t, &rows).await?;
    add_usage(t, &rows).await?;
    save_heads(t, rows.heads).await
}

/// `statement!(t, TEXT, rows, |query, row| query.bind(…))`: the statement over all rows, in parts.
macro_rules! statement {
    ($t:expr, $text:expr, $rows:expr, |$query:ident, $row:pat_param| $bind:expr) => {
        for part in bulk::parts($rows) {
            let mut $query = sqlx::query(AssertSqlSafe(bulk::for_rows($text, part.len())));
            for $row in part {
                $query = $bind;
            }
            $query.execute(&mut *$t).await?;
        }
    };
}

async fn append(t: &mut Limited<Sqlite>, rows: &Rows<'_>) -> Result<(), DbError> {
    statement!(t, sql_write::APPEND_ENTRIES, &rows.entries, |query, (owner, it)| query
        .bind(keys::owner(*owner))
        .bind(keys::number(it.seq))
        .bind(it.at.as_micros())
        .bind(it.request_key.as_ref().map(ledger::key_column))
        .bind(it.refunds().map(keys::uuid))
        .bind(it.body.as_slice())
        .bind(it.hash.to_vec()));
    statement!(t, sql_write::KEEP_DETAILS, &rows.pages, |query, (owner, last, page)| query
        .bind(keys::owner(*owner))
        .bind(keys::number(*last))
        .bind(page.to_bytes()));
    Ok(())
}

async fn save_made(t: &mut Limited<Sqlite>, rows: &Rows<'_>) -> Result<(), DbError> {
    statement!(t, sql_write::SAVE_LOTS, &rows.lots, |query, (owner, it)| query
        .bind(keys::owner(*owner))
        .bind(keys::number(it.number))
        .bind(keys::uuid(it.id))
        .bind(it.terms.to_bytes())
        .bind(it.granted)
        .bind(it.remaining)
        .bind(it.held)
        .bind(it.spent)
        .bind(it.expired)
        .bind(it.voided)
        .bind(it.voided_at)
        .bind(it.note.as_ref().map(|note| note.as_str().to_owned()))
        .bind(it.is_live()));
    statement!(t, sql_write::SAVE_HOLDS, &rows.holds, |query, (owner, it)| query
        .bind(keys::owner(*owner))
        .bind(keys::number(it.number))
        .bind(keys::uuid(it.id))
        .bind(it.state.as_str())
        .bind(it.deadline)
        .bind(it.settled_at)
        .bind(it.captured)
        .bind(it.charge.map(keys::uuid))
        .bind(keys::uuid(it.terms.attribution.member))
        .bind(holds::labels(it))
        .bind(it.terms.to_bytes()));
    Ok(())
}

async fn add_usage(t: &mut Limited<Sqlite>, rows: &Rows<'_>) -> Result<(), DbError> {
    statement!(t, sql_write::ADD_HOURS, &rows.hours, |query, (owner, it)| query
        .bind(keys::owner(*owner))
        .bind(it.key.hour)
        .bind(keys::uuid(it.key.member))
        .bind(project(it))
        .bind(model(it))
        .bind(it.add.charged)
        .bind(it.add.refunded)
        .bind(it.add.charges));
    statement!(t, sql_write::ADD_METERS, &rows.meters, |query, (owner, it)| query
        .bind(keys::owner(*owner))
        .bind(it.key.hour)
        .bind(it.key.model.as_str())
        .bind(it.key.meter.as_str())
        .bind(it.add.quantity)
        .bind(it.add.charged));
    statement!(t, sql_write::SAVE_LIMITS_USED, &rows.used, |query, (owner, (key, it))| query
        .bind(keys::owner(*owner))
        .bind(key.subject.to_bytes())
        .bind(limits::window(key.window))
        .bind(key.starts_at)
        .bind(it.ends_at)
        .bind(it.used)
        .bind(it.peak)
        .bind(i64::from(it.retold)));
    Ok(())
}

async fn save_heads(t: &mut Limited<Sqlite>, heads: &[Unsaved]) -> Result<(), DbError> {
    statement!(t, sql_write::SAVE_ACCOUNTS, heads, |query, Unsaved { changes, next_due }| {
        let it = &changes.account;
        query
            .bind(keys::owner(changes.owner))
            .bind(keys::number(it.head.seq))
            .bind(it.head.hash.to_vec())
            .bind(it.head.at)
            .bind(it.available)
            .bind(it.held)
            .bind(it.debt)
            .bind(i64::from(it.open_holds))
            .bind(keys::number(it.terms))
            .bind(it.charged)
            .bind(it.period.anchor)
            .bind(i64::from(it.period.month.number))
            .bind(it.period.spent)
            .bind(it.renews_at)
            .bind(it.next_lapse)
            .bind(*next_due)
            .bind(accounts::allowance(it))
            .bind(it.head.at)
    });
    Ok(())
}
