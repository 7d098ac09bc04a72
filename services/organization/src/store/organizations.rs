//! Rows of `organizations`.

use bursar_db::{DbError, Tx, exactly_one, on};
use bursar_id::{OrganizationId, Role, UserId};
use bursar_time::Timestamp;

use super::seats::{Seating, seats_taken};
use crate::domain::name::Name;

/// One organization as stored.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct OrganizationRow {
    /// Its id.
    pub id: OrganizationId,
    /// Its name.
    pub name: String,
    /// Its present slug.
    pub slug: String,
    /// Its owner.
    pub owner_user_id: UserId,
    /// Counts the changes to the row; the etag.
    pub version: i64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its name or slug last changed.
    pub updated_at: Timestamp,
}

/// An organization with what somebody is in it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct OrganizationOfUser {
    /// The organization.
    #[sqlx(flatten)]
    pub organization: OrganizationRow,
    /// The person's role.
    pub role: Role,
    /// How many of its seats are taken.
    #[sqlx(flatten)]
    pub seating: Seating,
}

pub(super) const INSERT: &str = "INSERT INTO organizations \
    (id, name, slug, owner_user_id, version, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7)";
pub(super) const BY_ID: &str = "SELECT id, name, slug, owner_user_id, version, created_at, updated_at \
    FROM organizations WHERE id = $1";
/// Not FOR UPDATE: rows that refer to this one may be written meanwhile.
pub(super) const BY_ID_LOCKED: &str = "SELECT id, name, slug, owner_user_id, version, created_at, updated_at \
    FROM organizations WHERE id = $1 FOR NO KEY UPDATE";
/// One statement for a page, whatever each of its organizations has taken.
pub(super) const OF_USER: &str = concat!(
    "SELECT o.id, o.name, o.slug, o.owner_user_id, o.version, o.created_at, o.updated_at, m.role, ",
    seats_taken!("$5"),
    " FROM memberships m JOIN organizations o ON o.id = m.organization_id \
     LEFT JOIN organization_seats s ON s.organization_id = o.id \
     WHERE m.user_id = $1 AND m.role IS NOT NULL AND (o.name, o.id) > ($2, $3) ORDER BY o.name, o.id LIMIT $4"
);
pub(super) const UPDATE: &str = "UPDATE organizations SET name = $2, slug = $3, version = version + 1, \
    updated_at = $4 WHERE id = $1";
pub(super) const SET_OWNER: &str = "UPDATE organizations SET owner_user_id = $2, version = version + 1 WHERE id = $1";

pub(super) const OWNERLESS: &str = "SELECT o.id, o.owner_user_id FROM organizations o \
    JOIN users u ON u.id = o.owner_user_id WHERE u.deleted_at IS NOT NULL ORDER BY o.id LIMIT $1";
pub(super) const AFTER: &str = "SELECT id, name, slug, owner_user_id, version, created_at, updated_at \
    FROM organizations WHERE id > $1 ORDER BY id LIMIT $2";

/// The organizations after an id (as text; empty for the first), in the order of ids.
pub async fn after(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<OrganizationRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(AFTER).bind(after).bind(limit).fetch_all(c).await?))
}

/// Adds an organization. Its slug and its owner's membership must be there at the commit.
pub async fn insert(tx: &mut Tx, row: &OrganizationRow) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(INSERT)
        .bind(row.id)
        .bind(&row.name)
        .bind(&row.slug)
        .bind(row.owner_user_id)
        .bind(row.version)
        .bind(row.created_at)
        .bind(row.updated_at)
        .execute(c)
        .await?
        .rows_affected()))
}

/// The organization with this id.
pub async fn by_id(tx: &mut Tx, id: OrganizationId) -> Result<Option<OrganizationRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(BY_ID).bind(id).fetch_optional(c).await?))
}

/// The organization with this id, locked until the transaction ends.
pub async fn by_id_locked(tx: &mut Tx, id: OrganizationId) -> Result<Option<OrganizationRow>, DbError> {
    Ok(match tx {
        Tx::Sqlite(t) => sqlx::query_as(BY_ID).bind(id).fetch_optional(&mut **t).await?,
        Tx::Postgres(t) => sqlx::query_as(BY_ID_LOCKED).bind(id).fetch_optional(&mut **t).await?,
    })
}

/// The organizations of a user by name, then by id, after the given ones; with the seats that are taken at `now`.
pub async fn of_user(
    tx: &mut Tx,
    user: UserId,
    after: Option<&(Name, OrganizationId)>,
    limit: i64,
    now: Timestamp,
) -> Result<Vec<OrganizationOfUser>, DbError> {
    let name = after.map_or("", |(name, _)| name.as_str());
    let id = after.map_or_else(String::new, |(_, id)| id.to_string());
    Ok(on!(tx, c => sqlx::query_as(OF_USER)
        .bind(user)
        .bind(name)
        .bind(id)
        .bind(limit)
        .bind(now)
        .fetch_all(c)
        .await?))
}

/// Gives an organization another name and slug; the slug must be its own.
pub async fn update(tx: &mut Tx, id: OrganizationId, name: &str, slug: &str, now: Timestamp) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(UPDATE)
        .bind(id)
        .bind(name)
        .bind(slug)
        .bind(now)
        .execute(c)
        .await?
        .rows_affected()))
}

/// Names another owner, who must have that role at the commit.
pub async fn set_owner(tx: &mut Tx, id: OrganizationId, owner: UserId) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(SET_OWNER).bind(id).bind(owner).execute(c).await?.rows_affected()))
}

/// Organizations whose owner is known to have deleted the account, each with that owner, in the order of ids.
pub async fn ownerless(tx: &mut Tx, limit: i64) -> Result<Vec<(OrganizationId, UserId)>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(OWNERLESS).bind(limit).fetch_all(c).await?))
}
