//! Rows of `items`. Whoever writes one holds its library's lock.
//!
//! What is being erased ([`erasures`]) is in no row that is read here. Its keys are, where it is said.

use std::collections::BTreeSet;

use bursar_db::{DbError, Tx, exactly_one, on};
use bursar_id::{ItemId, OwnerId, ProjectId, UserId};
use bursar_time::Timestamp;

use super::erasures::{self, kept};
use super::json;

/// One item as stored.
#[derive(Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct ItemRow {
    /// Its id.
    pub id: ItemId,
    /// The context it belongs to.
    pub owner: OwnerId,
    /// The name of its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its document as JSON, without what is secret.
    pub document: String,
    /// The item under which it stands.
    pub parent: Option<ItemId>,
    /// The project to which it belongs.
    pub project: Option<ProjectId>,
    /// What is secret in its document, sealed.
    pub secrets: Option<Vec<u8>>,
    /// The names of what is secret, separated by commas.
    pub secrets_set: String,
    /// What it takes of the quota.
    pub bytes: i64,
    /// Who made it, or for whom a service did.
    pub created_by: UserId,
    /// Counts the changes to the row; the etag.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// The SHA-256 of its content, if it has any.
    pub sha256: Option<Vec<u8>>,
    /// How many bytes its content has.
    pub size: Option<i64>,
    /// What its content is.
    pub media_type: Option<String>,
}

/// Ids only: the rest is for those who may read it.
impl std::fmt::Debug for ItemRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ItemRow").field("id", &self.id).field("version", &self.version).finish_non_exhaustive()
    }
}

/// What is looked at of an item before it is read.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct ItemKey {
    /// Its id.
    pub id: ItemId,
    /// The name of its kind.
    pub kind: String,
    /// The item under which it stands.
    pub parent: Option<ItemId>,
    /// The project to which it belongs.
    pub project: Option<ProjectId>,
    /// Who made it.
    pub created_by: UserId,
    /// What it takes of the quota, which is more than its row is long.
    pub bytes: i64,
}

impl ItemRow {
    /// What is looked at of it before it is read.
    pub fn key(&self) -> ItemKey {
        ItemKey {
            id: self.id,
            kind: self.kind.clone(),
            parent: self.parent,
            project: self.project,
            created_by: self.created_by,
            bytes: self.bytes,
        }
    }
}

#[cfg(test)]
impl ItemRow {
    /// An item for a test: it stands alone, has no content and nothing that is secret.
    pub(crate) fn for_test(id: ItemId, owner: OwnerId, created_by: UserId) -> Self {
        let now = bursar_testkit::at(bursar_testkit::START);
        Self {
            id,
            owner,
            kind: "agent".to_owned(),
            name: "Agent".to_owned(),
            document: "{}".to_owned(),
            parent: None,
            project: None,
            secrets: None,
            secrets_set: String::new(),
            bytes: 1,
            created_by,
            version: 1,
            created_at: now,
            updated_at: now,
            sha256: None,
            size: None,
            media_type: None,
        }
    }
}

/// By which of the filters a list is read; the others are held against what is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By<'a> {
    /// All items of an owner.
    Owner,
    /// Those of one kind.
    Kind(&'a str),
    /// Those under one item.
    Parent(ItemId),
    /// Those of one project.
    Project(ProjectId),
}

/// Above every id.
pub(super) const LAST: &str = "itm_~";

pub(super) const INSERT: &str = "INSERT INTO items (id, owner, kind, name, document, parent, project, secrets, \
    secrets_set, bytes, created_by, version, created_at, updated_at) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)";
pub(super) const BY_ID: &str = concat!(
    "SELECT i.id, i.owner, i.kind, i.name, i.document, i.parent, i.project, i.secrets, \
     i.secrets_set, i.bytes, i.created_by, i.version, i.created_at, i.updated_at, x.sha256, x.size, x.media_type \
     FROM items i LEFT JOIN item_contents x ON x.owner = i.owner AND x.item = i.id \
     WHERE i.owner = $1 AND i.id = $2 AND ",
    kept!("$1", "i.id")
);
pub(super) const ANYWHERE: &str = concat!(
    "SELECT i.id, i.owner, i.kind, i.name, i.document, i.parent, i.project, i.secrets, \
     i.secrets_set, i.bytes, i.created_by, i.version, i.created_at, i.updated_at, x.sha256, x.size, x.media_type \
     FROM items i LEFT JOIN item_contents x ON x.owner = i.owner AND x.item = i.id \
     WHERE i.id = $1 AND ",
    kept!("i.owner", "i.id")
);
pub(super) const BY_IDS_POSTGRES: &str = "SELECT i.id, i.owner, i.kind, i.name, i.document, i.parent, i.project, i.secrets, \
    i.secrets_set, i.bytes, i.created_by, i.version, i.created_at, i.updated_at, x.sha256, x.size, x.media_type \
    FROM items i LEFT JOIN item_contents x ON x.owner = i.owner AND x.item = i.id \
    WHERE i.owner = $1 AND i.id = ANY($2) ORDER BY i.id DESC";
pub(super) const BY_IDS_SQLITE: &str = "SELECT i.id, i.owner, i.kind, i.name, i.document, i.parent, i.project, i.secrets, \
    i.secrets_set, i.bytes, i.created_by, i.version, i.created_at, i.updated_at, x.sha256, x.size, x.media_type \
    FROM items i LEFT JOIN item_contents x ON x.owner = i.owner AND x.item = i.id \
    WHERE i.owner = $1 AND i.id IN (SELECT value FROM json_each($2)) ORDER BY i.id DESC";
/// As it is, whether or not it is being erased.
pub(super) const KEY: &str =
    "SELECT id, kind, parent, project, created_by, bytes FROM items WHERE owner = $1 AND id = $2";
// Lists compare and order by the whole key of their index: were the owner a condition of its own, PostgreSQL would at times
// walk through everybody's items by their ids instead.
pub(super) const KEYS: &str = "SELECT id, kind, parent, project, created_by, bytes FROM items \
    WHERE (owner, id) < ($1, $2) AND (owner, id) >= ($1, '') ORDER BY owner DESC, id DESC LIMIT $3";
pub(super) const KEYS_OF_KIND: &str = "SELECT id, kind, parent, project, created_by, bytes FROM items \
    WHERE (owner, kind, id) < ($1, $4, $2) AND (owner, kind, id) >= ($1, $4, '') \
    ORDER BY owner DESC, kind DESC, id DESC LIMIT $3";
pub(super) const KEYS_OF_PARENT: &str = "SELECT id, kind, parent, project, created_by, bytes FROM items \
    WHERE parent IS NOT NULL AND (owner, parent, id) < ($1, $4, $2) AND (owner, parent, id) >= ($1, $4, '') \
    ORDER BY owner DESC, parent DESC, id DESC LIMIT $3";
pub(super) const KEYS_OF_PROJECT: &str = "SELECT id, kind, parent, project, created_by, bytes FROM items \
    WHERE project IS NOT NULL AND (owner, project, id) < ($1, $4, $2) AND (owner, project, id) >= ($1, $4, '') \
    ORDER BY owner DESC, project DESC, id DESC LIMIT $3";
// Of what stands right under something that is not being erased, only what is so by itself is.
pub(super) const CHILDREN_POSTGRES: &str = "SELECT i.id, i.kind, i.parent, i.project, i.created_by, i.bytes FROM items i \
    WHERE i.owner = $1 AND i.parent = ANY($2) \
    AND NOT EXISTS (SELECT 1 FROM erasures e WHERE e.owner = $1 AND e.root = i.id) ORDER BY i.id LIMIT $3";
pub(super) const CHILDREN_SQLITE: &str = "SELECT i.id, i.kind, i.parent, i.project, i.created_by, i.bytes FROM items i \
    WHERE i.owner = $1 AND i.parent IN (SELECT value FROM json_each($2)) \
    AND NOT EXISTS (SELECT 1 FROM erasures e WHERE e.owner = $1 AND e.root = i.id) ORDER BY i.id LIMIT $3";
pub(super) const ALL_CHILDREN_POSTGRES: &str = "SELECT id, kind, parent, project, created_by, bytes FROM items \
    WHERE owner = $1 AND parent = ANY($2) ORDER BY id LIMIT $3";
pub(super) const ALL_CHILDREN_SQLITE: &str = "SELECT id, kind, parent, project, created_by, bytes FROM items \
    WHERE owner = $1 AND parent IN (SELECT value FROM json_each($2)) ORDER BY id LIMIT $3";
pub(super) const KEYS_OF_POSTGRES: &str = "SELECT i.id, i.kind, i.parent, i.project, i.created_by, i.bytes FROM items i \
    WHERE i.owner = $1 AND i.id = ANY($2) \
    AND NOT EXISTS (SELECT 1 FROM erasures e WHERE e.owner = $1 AND e.root = i.id) ORDER BY i.id";
pub(super) const KEYS_OF_SQLITE: &str = "SELECT i.id, i.kind, i.parent, i.project, i.created_by, i.bytes FROM items i \
    WHERE i.owner = $1 AND i.id IN (SELECT value FROM json_each($2)) \
    AND NOT EXISTS (SELECT 1 FROM erasures e WHERE e.owner = $1 AND e.root = i.id) ORDER BY i.id";
/// The latest first: what stands under something is younger than that. What stands under an item is looked for item by item: as
/// a NOT EXISTS it would be a join, which PostgreSQL may begin with the whole library.
pub(super) const LEAVES: &str = "SELECT i.id, i.kind, i.parent, i.project, i.created_by, i.bytes FROM items i \
    WHERE (i.owner, i.id) < ($1, 'itm_~') AND (i.owner, i.id) >= ($1, '') \
    AND (SELECT 1 FROM items c WHERE c.owner = i.owner AND c.parent = i.id LIMIT 1) IS NULL \
    ORDER BY i.owner DESC, i.id DESC LIMIT $2";
pub(super) const UPDATE: &str = "UPDATE items SET name = $3, document = $4, secrets = $5, secrets_set = $6, bytes = $7, \
    version = $8, updated_at = $9 WHERE owner = $1 AND id = $2";
pub(super) const DELETE_POSTGRES: &str = "DELETE FROM items WHERE owner = $1 AND id = ANY($2)";
pub(super) const DELETE_SQLITE: &str = "DELETE FROM items WHERE owner = $1 AND id IN (SELECT value FROM json_each($2))";

/// Adds an item.
pub async fn insert(tx: &mut Tx, row: &ItemRow) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(INSERT)
        .bind(row.id)
        .bind(row.owner)
        .bind(&row.kind)
        .bind(&row.name)
        .bind(&row.document)
        .bind(row.parent)
        .bind(row.project)
        .bind(&row.secrets)
        .bind(&row.secrets_set)
        .bind(row.bytes)
        .bind(row.created_by)
        .bind(row.version)
        .bind(row.created_at)
        .bind(row.updated_at)
        .execute(c)
        .await?
        .rows_affected()))
}

/// The item with this id, if it belongs to this context.
pub async fn by_id(tx: &mut Tx, owner: OwnerId, id: ItemId) -> Result<Option<ItemRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(BY_ID).bind(owner).bind(id).fetch_optional(c).await?))
}

/// The item with this id, whosoever it is: for the product's services.
pub async fn anywhere(tx: &mut Tx, id: ItemId) -> Result<Option<ItemRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(ANYWHERE).bind(id).fetch_optional(c).await?))
}

/// The items with these ids that belong to this context, the latest first.
pub async fn by_ids(tx: &mut Tx, owner: OwnerId, ids: &[ItemId]) -> Result<Vec<ItemRow>, DbError> {
    let mut rows: Vec<ItemRow> = match tx {
        Tx::Sqlite(t) => sqlx::query_as(BY_IDS_SQLITE).bind(owner).bind(json(ids)?).fetch_all(&mut **t).await?,
        Tx::Postgres(t) => sqlx::query_as(BY_IDS_POSTGRES).bind(owner).bind(ids).fetch_all(&mut **t).await?,
    };
    if erasures::any(tx, owner).await? {
        let gone: BTreeSet<ItemId> = erasures::among(tx, owner, ids).await?.into_iter().collect();
        rows.retain(|row| !gone.contains(&row.id));
    }
    Ok(rows)
}

/// The key of an item of a context, also when it is being erased.
pub async fn key(tx: &mut Tx, owner: OwnerId, id: ItemId) -> Result<Option<ItemKey>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(KEY).bind(owner).bind(id).fetch_optional(c).await?))
}

/// The keys of these items of a context, those that are there. What is being erased with something above it is among them.
pub async fn keys_of(tx: &mut Tx, owner: OwnerId, ids: &[ItemId]) -> Result<Vec<ItemKey>, DbError> {
    Ok(match tx {
        Tx::Sqlite(t) => sqlx::query_as(KEYS_OF_SQLITE).bind(owner).bind(json(ids)?).fetch_all(&mut **t).await?,
        Tx::Postgres(t) => sqlx::query_as(KEYS_OF_POSTGRES).bind(owner).bind(ids).fetch_all(&mut **t).await?,
    })
}

/// The keys of a context's items, the latest first, before the given one, what is being erased included.
pub async fn keys(
    tx: &mut Tx,
    owner: OwnerId,
    by: &By<'_>,
    before: Option<ItemId>,
    limit: i64,
) -> Result<Vec<ItemKey>, DbError> {
    let before = before.map_or_else(|| LAST.to_owned(), |id| id.to_string());
    let (statement, key) = match by {
        By::Owner => {
            return Ok(on!(tx, c => sqlx::query_as(KEYS).bind(owner).bind(before).bind(limit).fetch_all(c).await?));
        }
        By::Kind(kind) => (KEYS_OF_KIND, (*kind).to_owned()),
        By::Parent(parent) => (KEYS_OF_PARENT, parent.to_string()),
        By::Project(project) => (KEYS_OF_PROJECT, project.to_string()),
    };
    Ok(on!(tx, c => sqlx::query_as(statement).bind(owner).bind(before).bind(limit).bind(key).fetch_all(c).await?))
}

/// The keys of what stands right under these items, none of which is being erased: at most `limit`, the oldest first.
pub async fn children(tx: &mut Tx, owner: OwnerId, of: &[ItemId], limit: i64) -> Result<Vec<ItemKey>, DbError> {
    keys_under(tx, owner, of, limit, [CHILDREN_SQLITE, CHILDREN_POSTGRES]).await
}

/// The same of whichever items, what is being erased included.
pub async fn all_children(tx: &mut Tx, owner: OwnerId, of: &[ItemId], limit: i64) -> Result<Vec<ItemKey>, DbError> {
    keys_under(tx, owner, of, limit, [ALL_CHILDREN_SQLITE, ALL_CHILDREN_POSTGRES]).await
}

async fn keys_under(
    tx: &mut Tx,
    owner: OwnerId,
    of: &[ItemId],
    limit: i64,
    [sqlite, postgres]: [&'static str; 2],
) -> Result<Vec<ItemKey>, DbError> {
    Ok(match tx {
        Tx::Sqlite(t) => sqlx::query_as(sqlite).bind(owner).bind(json(of)?).bind(limit).fetch_all(&mut **t).await?,
        Tx::Postgres(t) => sqlx::query_as(postgres).bind(owner).bind(of).bind(limit).fetch_all(&mut **t).await?,
    })
}

/// The keys of items under which nothing stands, what is being erased included.
pub async fn leaves(tx: &mut Tx, owner: OwnerId, limit: i64) -> Result<Vec<ItemKey>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(LEAVES).bind(owner).bind(limit).fetch_all(c).await?))
}

/// Writes what changes of an item, as the row has it.
pub async fn update(tx: &mut Tx, row: &ItemRow) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(UPDATE)
        .bind(row.owner)
        .bind(row.id)
        .bind(&row.name)
        .bind(&row.document)
        .bind(&row.secrets)
        .bind(&row.secrets_set)
        .bind(row.bytes)
        .bind(row.version)
        .bind(row.updated_at)
        .execute(c)
        .await?
        .rows_affected()))
}

/// Deletes items, and says how many there were. None may be left under one of them.
pub async fn delete(tx: &mut Tx, owner: OwnerId, ids: &[ItemId]) -> Result<u64, DbError> {
    Ok(match tx {
        Tx::Sqlite(t) => {
            sqlx::query(DELETE_SQLITE).bind(owner).bind(json(ids)?).execute(&mut **t).await?.rows_affected()
        }
        Tx::Postgres(t) => sqlx::query(DELETE_POSTGRES).bind(owner).bind(ids).execute(&mut **t).await?.rows_affected(),
    })
}
