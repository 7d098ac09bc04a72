//! Details of entries: free texts, in pages beside the ledger, that may be erased.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bursar_db::{DbError, Tx, on};
use bursar_id::{OwnerId, UserId};

use super::{keys, sql, sql_one, unreadable, unreadable_form};
use crate::domain::{Details, DetailsPage, Entry, PAGE_ENTRIES};

type PageRow = (Vec<u8>, i64, Vec<u8>);

fn read((owner, last, page): PageRow) -> Result<(OwnerId, u64, DetailsPage), DbError> {
    let bad = |why| unreadable_form(why, format_args!("the page of details that ends with entry {last}: {why}"));
    let page = DetailsPage::from_bytes(&page).map_err(bad)?;
    Ok((keys::read_owner(&owner)?, keys::read_number(last)?, page))
}

/// The details of these entries, as far as they are there.
pub(crate) async fn of(
    tx: &mut Tx,
    named: &[(OwnerId, u64)],
) -> Result<HashMap<(OwnerId, u64), Arc<Details>>, DbError> {
    if named.is_empty() {
        return Ok(HashMap::new());
    }
    let rows: Vec<PageRow> = match tx {
        Tx::Sqlite(t) => {
            sqlx::query_as(sql::DETAILS_OF.sqlite).bind(keys::number_list(named)).fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) if let Some(owner) = keys::one_owner(named) => {
            let pages = sqlx::query_as(sql_one::DETAILS_PAGES).bind(keys::owner(owner)).bind(candidates(named));
            pages.fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) => {
            let (owners, numbers) = keys::number_columns(named);
            sqlx::query_as(sql::DETAILS_OF.postgres).bind(owners).bind(numbers).fetch_all(&mut **t).await?
        }
    };
    let wanted: BTreeSet<(OwnerId, u64)> = named.iter().copied().collect();
    let mut found = HashMap::with_capacity(named.len());
    let mut seen = BTreeSet::new();
    for row in rows {
        // Entries of one page name it each.
        let (owner, last, page) = read(row)?;
        if seen.insert((owner, last)) {
            let here = page.entries().iter().filter(|(seq, _)| wanted.contains(&(owner, *seq)));
            found.extend(here.map(|(seq, details)| ((owner, *seq), Arc::clone(details))));
        }
    }
    Ok(found)
}

/// The numbers that the pages may end with on which these entries' details stand: a page spans few entries.
fn candidates(named: &[(OwnerId, u64)]) -> Vec<i64> {
    let each = |(_, seq): &(OwnerId, u64)| *seq..seq.saturating_add(PAGE_ENTRIES);
    let all: BTreeSet<u64> = named.iter().flat_map(each).collect();
    all.into_iter().map(keys::number).collect()
}

/// Gives entries their details, as far as they are there.
pub(crate) async fn attach(tx: &mut Tx, entries: &mut [(OwnerId, Entry)]) -> Result<(), DbError> {
    let with: Vec<_> =
        entries.iter().filter(|(_, it)| it.details_digest.is_some()).map(|(o, it)| (*o, it.seq)).collect();
    let mut found = of(tx, &with).await?;
    for (owner, entry) in entries {
        entry.details = found.remove(&(*owner, entry.seq));
    }
    Ok(())
}

/// An owner's pages of details from the one on which entry number `from` would stand, in order, with the number of each
/// page's last entry.
pub(crate) async fn from(
    tx: &mut Tx,
    owner: OwnerId,
    from: u64,
    limit: usize,
) -> Result<Vec<(u64, DetailsPage)>, DbError> {
    let rows: Vec<PageRow> = on!(tx, c => sqlx::query_as(sql::DETAILS_FROM)
        .bind(keys::owner(owner)).bind(keys::number(from)).bind(i64::try_from(limit).unwrap_or(i64::MAX)).fetch_all(c).await?);
    rows.into_iter().map(|row| read(row).map(|(_, last, page)| (last, page))).collect()
}

/// Puts pages of an owner, each named by the number of its last entry, in the place of those that are stored.
pub(crate) async fn replace(tx: &mut Tx, owner: OwnerId, pages: &[(u64, DetailsPage)]) -> Result<(), DbError> {
    let owner = keys::owner(owner);
    let replaced = match tx {
        Tx::Sqlite(t) => {
            let mut replaced = 0;
            for (last, page) in pages {
                let replace = sqlx::query(sql::REPLACE_DETAILS.sqlite).bind(&owner).bind(keys::number(*last));
                replaced += replace.bind(page.to_bytes()).execute(&mut **t).await?.rows_affected();
            }
            replaced
        }
        Tx::Postgres(_) if pages.is_empty() => 0,
        Tx::Postgres(t) => {
            let numbers: Vec<i64> = pages.iter().map(|(last, _)| keys::number(*last)).collect();
            let bytes: Vec<Vec<u8>> = pages.iter().map(|(_, page)| page.to_bytes()).collect();
            let replace = sqlx::query(sql::REPLACE_DETAILS.postgres).bind(owner).bind(numbers).bind(bytes);
            replace.execute(&mut **t).await?.rows_affected()
        }
    };
    if replaced == pages.len() as u64 { Ok(()) } else { Err(unreadable("a page of details is not there any more")) }
}

/// Removes the labels of the holds that entries with these numbers (the second is not one of them) made for a member.
pub(crate) async fn erase_hold_labels(
    tx: &mut Tx,
    owner: OwnerId,
    member: UserId,
    (first, end): (u64, u64),
) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(sql::ERASE_HOLD_LABELS).bind(keys::owner(owner)).bind(keys::number(first))
        .bind(keys::number(end)).bind(keys::uuid(member)).execute(c).await?.rows_affected());
    Ok(())
}

/// Removes the labels of all holds that entries with these numbers (the second is not one of them) made.
pub(crate) async fn erase_all_hold_labels(
    tx: &mut Tx,
    owner: OwnerId,
    (first, end): (u64, u64),
) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(sql::ERASE_ALL_HOLD_LABELS).bind(keys::owner(owner)).bind(keys::number(first))
        .bind(keys::number(end)).execute(c).await?.rows_affected());
    Ok(())
}

/// Removes the notes of the lots that entries with these numbers (the second is not one of them) made.
pub(crate) async fn erase_lot_notes(tx: &mut Tx, owner: OwnerId, (first, end): (u64, u64)) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(sql::ERASE_LOT_NOTES).bind(keys::owner(owner)).bind(keys::number(first))
        .bind(keys::number(end)).execute(c).await?.rows_affected());
    Ok(())
}
