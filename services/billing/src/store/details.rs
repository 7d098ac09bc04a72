//! Details of entries: free texts, in pages beside the ledger, that may be erased.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bursar_db::{DbError, Tx, exactly_one, on};
use bursar_id::{OwnerId, UserId};

use super::{keys, sql, sql_one, unreadable_form};
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
    limit: i64,
) -> Result<Vec<(u64, DetailsPage)>, DbError> {
    let rows: Vec<PageRow> = on!(tx, c => sqlx::query_as(sql::DETAILS_FROM)
        .bind(keys::owner(owner)).bind(keys::number(from)).bind(limit).fetch_all(c).await?);
    rows.into_iter().map(|row| read(row).map(|(_, last, page)| (last, page))).collect()
}

/// Removes what belongs to `member` (`None`: what belongs to no member) from up to `limit` pages of an owner, from entry
/// number `from` on, among the entries before number `before`; and the labels of the holds and the notes of the lots that
/// these entries made. Gives the entry to go on from; `None` when all is done.
pub(crate) async fn erase(
    tx: &mut Tx,
    owner: OwnerId,
    member: Option<UserId>,
    (begin, before): (u64, u64),
    limit: i64,
) -> Result<Option<u64>, DbError> {
    let pages = from(tx, owner, begin, limit).await?;
    let read = i64::try_from(pages.len()).unwrap_or(i64::MAX);
    let last = pages.last().map_or(before, |(last, _)| *last);
    let done = read < limit || last >= before;
    for (last, mut page) in pages {
        if page.erase(member, before) {
            let replaced = on!(&mut *tx, c => sqlx::query(sql::REPLACE_DETAILS)
                .bind(keys::owner(owner)).bind(keys::number(last)).bind(page.to_bytes()).execute(c).await?.rows_affected());
            exactly_one(replaced)?;
        }
    }
    let through = if done { before.saturating_sub(1) } else { last.min(before.saturating_sub(1)) };
    erase_copies(tx, owner, member, (begin, through)).await?;
    Ok((!done).then_some(last + 1))
}

/// What stands beside holds and lots for quick reading.
async fn erase_copies(
    tx: &mut Tx,
    owner: OwnerId,
    member: Option<UserId>,
    (begin, through): (u64, u64),
) -> Result<(), DbError> {
    let owner = keys::owner(owner);
    match member {
        Some(member) => {
            on!(tx, c => sqlx::query(sql::ERASE_HOLD_LABELS)
                .bind(owner).bind(keys::number(begin) - 1).bind(keys::number(through)).bind(keys::uuid(member))
                .execute(c).await?.rows_affected());
        }
        None => {
            on!(tx, c => sqlx::query(sql::ERASE_LOT_NOTES)
                .bind(owner).bind(keys::number(through.saturating_add(1))).execute(c).await?.rows_affected());
        }
    }
    Ok(())
}
