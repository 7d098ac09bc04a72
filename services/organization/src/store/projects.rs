//! Rows of `projects`.

use bursar_db::{DbError, Tx, exactly_one, on};
use bursar_id::{OrganizationId, OwnerId, ProjectId, UserId};
use bursar_time::Timestamp;

/// One project as stored.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct ProjectRow {
    /// Its id.
    pub id: ProjectId,
    /// The context it belongs to.
    pub owner: OwnerId,
    /// Its name.
    pub name: String,
    /// What it is about.
    pub description: String,
    /// Who made it.
    pub created_by: UserId,
    /// Who is responsible for it.
    pub assigned_to: UserId,
    /// Counts the changes to the row; the etag.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

pub(super) const INSERT: &str = "INSERT INTO projects (id, owner, name, description, created_by, assigned_to, version, \
    created_at, updated_at, told) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 1)";
pub(super) const TELL: &str = "UPDATE projects SET told = 1 WHERE told = 0 \
    AND id IN (SELECT id FROM projects WHERE told = 0 ORDER BY id DESC LIMIT $1) RETURNING owner, id";
pub(super) const BY_ID: &str = "SELECT id, owner, name, description, created_by, assigned_to, version, created_at, \
    updated_at FROM projects WHERE owner = $1 AND id = $2";
pub(super) const ANYWHERE: &str = "SELECT id, owner, name, description, created_by, assigned_to, version, created_at, \
    updated_at FROM projects WHERE id = $1";
pub(super) const BY_ID_LOCKED: &str = "SELECT id, owner, name, description, created_by, assigned_to, version, \
    created_at, updated_at FROM projects WHERE owner = $1 AND id = $2 FOR UPDATE";
/// Above every id.
pub(super) const LAST: &str = "prj_~";
/// By the whole key of the index, as the lists of items are.
pub(super) const LIST: &str = "SELECT id, owner, name, description, created_by, assigned_to, version, created_at, \
    updated_at FROM projects WHERE (owner, id) < ($1, $2) AND (owner, id) >= ($1, '') \
    ORDER BY owner DESC, id DESC LIMIT $3";
pub(super) const UPDATE: &str = "UPDATE projects SET name = $2, description = $3, assigned_to = $4, \
    version = version + 1, updated_at = $5 WHERE id = $1";
pub(super) const ASSIGNED_IN: &str = "SELECT p.owner FROM projects p JOIN organizations o ON o.id = p.owner \
    WHERE p.assigned_to = $1 AND o.owner_user_id <> $1 ORDER BY p.owner LIMIT 1";
/// What is asked twice holds also for one that somebody else is given between the two.
pub(super) const HAND_OVER: &str = "UPDATE projects SET assigned_to = $3, version = version + 1, updated_at = $4 \
    WHERE owner = $1 AND assigned_to = $2 AND id IN \
    (SELECT id FROM projects WHERE owner = $1 AND assigned_to = $2 ORDER BY id LIMIT $5)";
pub(super) const ERASE: &str =
    "DELETE FROM projects WHERE id IN (SELECT id FROM projects WHERE owner = $1 ORDER BY id LIMIT $2) RETURNING id";
pub(super) const DELETE: &str = "DELETE FROM projects WHERE id = $1";
pub(super) const AFTER: &str =
    "SELECT owner, id FROM projects WHERE (owner, id) > ($1, $2) ORDER BY owner, id LIMIT $3";

/// Adds a project, of which it is told in the same transaction.
pub async fn insert(tx: &mut Tx, row: &ProjectRow) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(INSERT)
        .bind(row.id)
        .bind(row.owner)
        .bind(&row.name)
        .bind(&row.description)
        .bind(row.created_by)
        .bind(row.assigned_to)
        .bind(row.version)
        .bind(row.created_at)
        .bind(row.updated_at)
        .execute(c)
        .await?
        .rows_affected()))
}

/// Notes of up to `limit` projects that a program of before made, the latest first, that it is told of them now; says whose they
/// are, and which.
pub async fn tell(tx: &mut Tx, limit: i64) -> Result<Vec<(OwnerId, ProjectId)>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(TELL).bind(limit).fetch_all(c).await?))
}

/// The project with this id, if it belongs to this context.
pub async fn by_id(tx: &mut Tx, owner: OwnerId, id: ProjectId) -> Result<Option<ProjectRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(BY_ID).bind(owner).bind(id).fetch_optional(c).await?))
}

/// The project with this id, whosever it is.
pub async fn anywhere(tx: &mut Tx, id: ProjectId) -> Result<Option<ProjectRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(ANYWHERE).bind(id).fetch_optional(c).await?))
}

/// Like [`by_id`], locked until the transaction ends.
pub async fn by_id_locked(tx: &mut Tx, owner: OwnerId, id: ProjectId) -> Result<Option<ProjectRow>, DbError> {
    Ok(match tx {
        Tx::Sqlite(t) => sqlx::query_as(BY_ID).bind(owner).bind(id).fetch_optional(&mut **t).await?,
        Tx::Postgres(t) => sqlx::query_as(BY_ID_LOCKED).bind(owner).bind(id).fetch_optional(&mut **t).await?,
    })
}

/// The projects of a context, the latest first, before the given one.
pub async fn list(
    tx: &mut Tx,
    owner: OwnerId,
    before: Option<ProjectId>,
    limit: i64,
) -> Result<Vec<ProjectRow>, DbError> {
    let before = before.map_or_else(|| LAST.to_owned(), |id| id.to_string());
    Ok(on!(tx, c => sqlx::query_as(LIST)
        .bind(owner)
        .bind(before)
        .bind(limit)
        .fetch_all(c)
        .await?))
}

/// Writes a project's name, description and who is responsible, as the row has them.
pub async fn update(tx: &mut Tx, row: &ProjectRow, now: Timestamp) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(UPDATE)
        .bind(row.id)
        .bind(&row.name)
        .bind(&row.description)
        .bind(row.assigned_to)
        .bind(now)
        .execute(c)
        .await?
        .rows_affected()))
}

/// Deletes a project.
pub async fn delete(tx: &mut Tx, id: ProjectId) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(DELETE).bind(id).execute(c).await?.rows_affected()))
}

/// An organization, owned by somebody else, in which somebody is responsible for a project.
pub async fn assigned_in(tx: &mut Tx, user: UserId) -> Result<Option<OrganizationId>, DbError> {
    let row: Option<(OrganizationId,)> = on!(tx, c => sqlx::query_as(ASSIGNED_IN).bind(user).fetch_optional(c).await?);
    Ok(row.map(|(id,)| id))
}

/// Makes somebody else responsible for up to `limit` projects of an organization; says for how many.
pub async fn hand_over(
    tx: &mut Tx,
    organization: OrganizationId,
    [from, to]: [UserId; 2],
    now: Timestamp,
    limit: i64,
) -> Result<u64, DbError> {
    Ok(on!(tx, c => sqlx::query(HAND_OVER)
        .bind(OwnerId::Organization(organization))
        .bind(from)
        .bind(to)
        .bind(now)
        .bind(limit)
        .execute(c)
        .await?
        .rows_affected()))
}

/// Erases up to `limit` projects of a context; says which.
pub async fn erase(tx: &mut Tx, owner: OwnerId, limit: i64) -> Result<Vec<ProjectId>, DbError> {
    let rows: Vec<(ProjectId,)> = on!(tx, c => sqlx::query_as(ERASE).bind(owner).bind(limit).fetch_all(c).await?);
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// All projects, whosever they are, after one of an owner's, in the order of owners and ids.
pub async fn after(tx: &mut Tx, owner: &str, id: &str, limit: i64) -> Result<Vec<(OwnerId, ProjectId)>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(AFTER).bind(owner).bind(id).bind(limit).fetch_all(c).await?))
}
