//! Rows of `erasures`: what was deleted and is erased in portions. Whoever writes one, or reads it to write what it is about,
//! holds the library's lock.

use bursar_db::{DbError, Tx, exactly_one, on};
use bursar_id::{ItemId, OwnerId};

use super::json;
use crate::domain::item::Root;

/// Whether an item is there to be seen: neither it nor one above it nor its project is being erased. Its owner and its id are
/// the expressions. As long as nothing of the owner's is being erased that is one look into a table that is nearly empty.
///
/// For single items: PostgreSQL takes it for so dear that it would compile the statement of a list first (see `among`).
macro_rules! kept {
    ($owner:literal, $item:literal) => {
        concat!(
            "NOT (EXISTS (SELECT 1 FROM erasures e WHERE e.owner = ",
            $owner,
            ") AND EXISTS (WITH RECURSIVE above (id, parent, project) AS \
             (SELECT a.id, a.parent, a.project FROM items a WHERE a.owner = ",
            $owner,
            " AND a.id = ",
            $item,
            " UNION ALL SELECT a.id, a.parent, a.project FROM above b JOIN items a ON a.owner = ",
            $owner,
            " AND a.id = b.parent) SELECT 1 FROM above b JOIN erasures e ON e.owner = ",
            $owner,
            " AND (e.root = b.id OR e.root = b.project)))"
        )
    };
}
pub(super) use kept;

pub(super) const INSERT: &str = "INSERT INTO erasures (owner, root) VALUES ($1, $2)";
pub(super) const ANY: &str = "SELECT root FROM erasures WHERE owner = $1 LIMIT 1";
pub(super) const FIND: &str = "SELECT root FROM erasures WHERE owner = $1 AND root = $2";
pub(super) const FORGET: &str = "DELETE FROM erasures WHERE owner = $1 AND root = $2";
pub(super) const FORGET_ITEMS_POSTGRES: &str = "DELETE FROM erasures WHERE owner = $1 AND root = ANY($2)";
pub(super) const FORGET_ITEMS_SQLITE: &str =
    "DELETE FROM erasures WHERE owner = $1 AND root IN (SELECT value FROM json_each($2))";
pub(super) const AMONG_POSTGRES: &str = "WITH RECURSIVE above (item, id, parent, project) AS \
    (SELECT i.id, i.id, i.parent, i.project FROM items i WHERE i.owner = $1 AND i.id = ANY($2) \
    UNION ALL SELECT b.item, a.id, a.parent, a.project FROM above b JOIN items a ON a.owner = $1 AND a.id = b.parent) \
    SELECT DISTINCT b.item FROM above b JOIN erasures e ON e.owner = $1 AND (e.root = b.id OR e.root = b.project)";
pub(super) const AMONG_SQLITE: &str = "WITH RECURSIVE above (item, id, parent, project) AS \
    (SELECT i.id, i.id, i.parent, i.project FROM items i WHERE i.owner = $1 AND i.id IN (SELECT value FROM json_each($2)) \
    UNION ALL SELECT b.item, a.id, a.parent, a.project FROM above b JOIN items a ON a.owner = $1 AND a.id = b.parent) \
    SELECT DISTINCT b.item FROM above b JOIN erasures e ON e.owner = $1 AND (e.root = b.id OR e.root = b.project)";
pub(super) const UNDER_POSTGRES: &str = "SELECT e.root FROM erasures e JOIN items i ON i.owner = e.owner AND i.id = e.root \
    WHERE e.owner = $1 AND i.parent = ANY($2) LIMIT 1";
pub(super) const UNDER_SQLITE: &str = "SELECT e.root FROM erasures e JOIN items i ON i.owner = e.owner AND i.id = e.root \
    WHERE e.owner = $1 AND i.parent IN (SELECT value FROM json_each($2)) LIMIT 1";

/// From now on this is gone with everything that belongs to it, though it is still to be erased.
pub async fn insert(tx: &mut Tx, owner: OwnerId, root: Root) -> Result<(), DbError> {
    let inserted =
        on!(tx, c => sqlx::query(INSERT).bind(owner).bind(root.to_string()).execute(c).await?.rows_affected());
    exactly_one(inserted)
}

/// Whether anything of an owner's is being erased.
pub async fn any(tx: &mut Tx, owner: OwnerId) -> Result<bool, DbError> {
    let found: Option<String> = on!(tx, c => sqlx::query_scalar(ANY).bind(owner).fetch_optional(c).await?);
    Ok(found.is_some())
}

/// Whether this is being erased.
pub async fn is_there(tx: &mut Tx, owner: OwnerId, root: Root) -> Result<bool, DbError> {
    let found: Option<String> =
        on!(tx, c => sqlx::query_scalar(FIND).bind(owner).bind(root.to_string()).fetch_optional(c).await?);
    Ok(found.is_some())
}

/// Which of these items are being erased, by themselves, with one above them, or with their project.
pub async fn among(tx: &mut Tx, owner: OwnerId, items: &[ItemId]) -> Result<Vec<ItemId>, DbError> {
    Ok(match tx {
        Tx::Sqlite(t) => sqlx::query_scalar(AMONG_SQLITE).bind(owner).bind(json(items)?).fetch_all(&mut **t).await?,
        Tx::Postgres(t) => sqlx::query_scalar(AMONG_POSTGRES).bind(owner).bind(items).fetch_all(&mut **t).await?,
    })
}

/// Whether something that is being erased by itself stands right under one of these items.
pub async fn is_under(tx: &mut Tx, owner: OwnerId, items: &[ItemId]) -> Result<bool, DbError> {
    let found: Option<String> = match tx {
        Tx::Sqlite(t) => {
            sqlx::query_scalar(UNDER_SQLITE).bind(owner).bind(json(items)?).fetch_optional(&mut **t).await?
        }
        Tx::Postgres(t) => sqlx::query_scalar(UNDER_POSTGRES).bind(owner).bind(items).fetch_optional(&mut **t).await?,
    };
    Ok(found.is_some())
}

/// Nothing is left of what belonged to it.
pub async fn forget(tx: &mut Tx, owner: OwnerId, root: Root) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(FORGET).bind(owner).bind(root.to_string()).execute(c).await?.rows_affected());
    Ok(())
}

/// The same of items that are not there any more, whichever of them it is said of.
pub async fn forget_items(tx: &mut Tx, owner: OwnerId, items: &[ItemId]) -> Result<(), DbError> {
    match tx {
        Tx::Sqlite(t) => {
            sqlx::query(FORGET_ITEMS_SQLITE).bind(owner).bind(json(items)?).execute(&mut **t).await?;
        }
        Tx::Postgres(t) => {
            sqlx::query(FORGET_ITEMS_POSTGRES).bind(owner).bind(items).execute(&mut **t).await?;
        }
    }
    Ok(())
}
