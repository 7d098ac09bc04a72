//! Rows of `contents` and `item_contents`: which bytes an owner has, and which items they belong to. Whoever writes one holds
//! the library's lock.

use bursar_db::{DbError, Tx, exactly_one, on};
use bursar_id::{ItemId, OwnerId};

use super::erasures::kept;
use super::items::LAST;
use super::json;

pub(super) const MORE: &str = "UPDATE contents SET items = items + 1 WHERE owner = $1 AND sha256 = $2";
pub(super) const INSERT: &str = "INSERT INTO contents (owner, sha256, object, size, items) VALUES ($1, $2, $3, $4, 1)";
pub(super) const FEWER: &str = "UPDATE contents SET items = items - 1 WHERE owner = $1 AND sha256 = $2 AND items > 1";
pub(super) const DELETE: &str = "DELETE FROM contents WHERE owner = $1 AND sha256 = $2 RETURNING object, size";
pub(super) const OF_ITEM: &str = concat!(
    "SELECT c.sha256, c.object, c.size, o.segment, x.media_type FROM item_contents x \
     JOIN contents c ON c.owner = x.owner AND c.sha256 = x.sha256 JOIN objects o ON o.id = c.object \
     WHERE x.owner = $1 AND x.item = $2 AND ",
    kept!("$1", "x.item")
);
pub(super) const ITEMS_BEFORE: &str =
    "SELECT item FROM item_contents WHERE owner = $1 AND item < $2 ORDER BY item DESC LIMIT $3";
pub(super) const COUNT: &str =
    "SELECT COUNT(*) FROM (SELECT item FROM item_contents WHERE owner = $1 LIMIT $2) AS counted";
pub(super) const COUNT_KEPT: &str = concat!(
    "SELECT COUNT(*) FROM (SELECT x.item FROM item_contents x WHERE x.owner = $1 AND ",
    kept!("$1", "x.item"),
    " LIMIT $2) AS counted"
);
pub(super) const ATTACH: &str = "INSERT INTO item_contents (owner, item, sha256, size, media_type) \
    VALUES ($1, $2, $3, $4, $5)";
pub(super) const DETACH_POSTGRES: &str =
    "DELETE FROM item_contents WHERE owner = $1 AND item = ANY($2) RETURNING sha256";
pub(super) const DETACH_SQLITE: &str = "DELETE FROM item_contents WHERE owner = $1 \
    AND item IN (SELECT value FROM json_each($2)) RETURNING sha256";

/// An item's content.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct ContentRow {
    /// The SHA-256 of its bytes.
    pub sha256: Vec<u8>,
    /// Where it lies.
    pub object: String,
    /// How many bytes it has.
    pub size: i64,
    /// How long the segments are in which it lies.
    pub segment: i64,
    /// Its media type.
    pub media_type: String,
}

/// Bytes that an item gets.
#[derive(Clone, Debug)]
pub struct Attached<'a> {
    /// Whose.
    pub owner: OwnerId,
    /// The item.
    pub item: ItemId,
    /// The SHA-256 of the bytes.
    pub sha256: &'a [u8],
    /// How many there are.
    pub size: i64,
    /// Their media type.
    pub media_type: &'a str,
}

/// One more item has these bytes. False if the owner has them not yet.
pub async fn more(tx: &mut Tx, owner: OwnerId, sha256: &[u8]) -> Result<bool, DbError> {
    Ok(on!(tx, c => sqlx::query(MORE).bind(owner).bind(sha256).execute(c).await?.rows_affected()) == 1)
}

/// An owner's first item has these bytes, which lie in this object.
pub async fn insert(tx: &mut Tx, owner: OwnerId, sha256: &[u8], object: &str, size: i64) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(INSERT)
        .bind(owner)
        .bind(sha256)
        .bind(object)
        .bind(size)
        .execute(c)
        .await?
        .rows_affected()))
}

/// One item less has these bytes. If it was the last one: the object in which they lie, and how many they are.
pub async fn fewer(tx: &mut Tx, owner: OwnerId, sha256: &[u8]) -> Result<Option<(String, i64)>, DbError> {
    let rows = on!(tx, c => sqlx::query(FEWER).bind(owner).bind(sha256).execute(c).await?.rows_affected());
    if rows == 1 {
        return Ok(None);
    }
    Ok(Some(on!(tx, c => sqlx::query_as(DELETE).bind(owner).bind(sha256).fetch_one(c).await?)))
}

/// The content of an item that is not being erased.
pub async fn of_item(tx: &mut Tx, owner: OwnerId, item: ItemId) -> Result<Option<ContentRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(OF_ITEM).bind(owner).bind(item).fetch_optional(c).await?))
}

/// The items of an owner that have content, the latest first, before the given one, what is being erased included.
pub async fn items_before(
    tx: &mut Tx,
    owner: OwnerId,
    before: Option<ItemId>,
    limit: i64,
) -> Result<Vec<ItemId>, DbError> {
    let before = before.map_or_else(|| LAST.to_owned(), |id| id.to_string());
    Ok(on!(tx, c => sqlx::query_scalar(ITEMS_BEFORE).bind(owner).bind(before).bind(limit).fetch_all(c).await?))
}

/// How many of an owner's items have content; `limit` for so many or more. What is being erased counts.
pub async fn count(tx: &mut Tx, owner: OwnerId, limit: i64) -> Result<i64, DbError> {
    let (count,): (i64,) = on!(tx, c => sqlx::query_as(COUNT).bind(owner).bind(limit).fetch_one(c).await?);
    Ok(count)
}

/// The same without what is being erased, item by item.
pub async fn count_kept(tx: &mut Tx, owner: OwnerId, limit: i64) -> Result<i64, DbError> {
    let (count,): (i64,) = on!(tx, c => sqlx::query_as(COUNT_KEPT).bind(owner).bind(limit).fetch_one(c).await?);
    Ok(count)
}

/// An item that has no content gets some, which is among the owner's.
pub async fn attach(tx: &mut Tx, attached: &Attached<'_>) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(ATTACH)
        .bind(attached.owner)
        .bind(attached.item)
        .bind(attached.sha256)
        .bind(attached.size)
        .bind(attached.media_type)
        .execute(c)
        .await?
        .rows_affected()))
}

/// Items lose their content: the SHA-256 of each that had some.
pub async fn detach(tx: &mut Tx, owner: OwnerId, items: &[ItemId]) -> Result<Vec<Vec<u8>>, DbError> {
    Ok(match tx {
        Tx::Sqlite(t) => sqlx::query_scalar(DETACH_SQLITE).bind(owner).bind(json(items)?).fetch_all(&mut **t).await?,
        Tx::Postgres(t) => sqlx::query_scalar(DETACH_POSTGRES).bind(owner).bind(items).fetch_all(&mut **t).await?,
    })
}
