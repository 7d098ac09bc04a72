//! Rows of `organizations`.

use bursar_db::{DbError, Tx, exactly_one, on};
use bursar_id::{OrganizationId, Role, UserId};
use bursar_time::Timestamp;

use super::nominations::{Nominee, nominee_at};
use super::seats::{Seating, plan_told, seats_taken};
use super::standings::{Life, is_owned};
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
    /// Where it is in its life.
    #[sqlx(flatten)]
    pub life: Life,
}

/// An organization as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct FoundOrganization {
    /// The organization.
    #[sqlx(flatten)]
    pub organization: OrganizationRow,
    /// Why an operator suspended it; empty if none did, or without a reason.
    pub suspension_reason: String,
}

/// A name as operators find it: both engines fold ASCII letters, and no others.
pub fn key(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// Which organizations an operator looks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The one with this id, purged or not.
    Id(OrganizationId),
    /// Those that are not purged and whose names begin so, in lower-case ASCII letters ([`key`]); empty: all.
    Name(String),
    /// Those that somebody owns and that are not purged.
    Owner(UserId),
}

/// Which of their organizations somebody sees in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Those that can be used.
    Open,
    /// And those that are suspended.
    Known,
    /// And the owner's own that were deleted and can be taken back.
    Kept,
}

impl Listed {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "OPEN",
            Self::Known => "KNOWN",
            Self::Kept => "KEPT",
        }
    }
}

/// An organization with what somebody is in it.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct OrganizationOfUser {
    /// The organization.
    #[sqlx(flatten)]
    pub organization: OrganizationRow,
    /// The person's role; `None` for a service, which is nobody there.
    pub role: Option<Role>,
    /// How many of its seats are taken, and what its plan allows.
    #[sqlx(flatten)]
    pub seating: Seating,
    /// Who shall own it.
    #[sqlx(flatten)]
    pub nominee: Nominee,
}

/// The columns of an [`OrganizationRow`], of `organizations o`.
macro_rules! columns {
    () => {
        "o.id, o.name, o.slug, o.owner_user_id, o.version, o.created_at, o.updated_at, \
         o.state, o.standing_version, o.deleted_at, o.purge_at"
    };
}

pub(super) const INSERT: &str = "INSERT INTO organizations \
    (id, name, slug, owner_user_id, version, created_at, updated_at, state) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
pub(super) const BY_ID: &str = concat!("SELECT ", columns!(), " FROM organizations o WHERE o.id = $1");
/// Not FOR UPDATE: rows that refer to this one may be written meanwhile.
pub(super) const BY_ID_LOCKED: &str =
    concat!("SELECT ", columns!(), " FROM organizations o WHERE o.id = $1 FOR NO KEY UPDATE");
/// One statement for a page, whatever each of its organizations has taken.
pub(super) const OF_USER: &str = concat!(
    "SELECT ",
    columns!(),
    ", m.role, ",
    seats_taken!("$5"),
    ", ",
    plan_told!(),
    ", n.nominee_user_id, n.nominated_until FROM memberships m JOIN organizations o ON o.id = m.organization_id \
     LEFT JOIN organization_seats s ON s.organization_id = o.id",
    nominee_at!("$5"),
    " WHERE m.user_id = $1 AND m.role IS NOT NULL AND (o.name, o.id) > ($2, $3) \
     AND (o.state = 'ACTIVE' OR ($6 <> 'OPEN' AND o.state = 'SUSPENDED') \
     OR ($6 = 'KEPT' AND o.state = 'DELETED' AND m.role = 'OWNER')) ORDER BY o.name, o.id LIMIT $4"
);
pub(super) const UPDATE: &str = "UPDATE organizations SET name = $2, slug = $3, version = version + 1, \
    updated_at = $4 WHERE id = $1";
pub(super) const SET_OWNER: &str = "UPDATE organizations SET owner_user_id = $2, version = version + 1 WHERE id = $1";

pub(super) const OWNERLESS: &str = concat!(
    "SELECT o.id, o.owner_user_id FROM organizations o JOIN users u ON u.id = o.owner_user_id \
     WHERE u.deleted_at IS NOT NULL AND ",
    is_owned!(),
    " ORDER BY o.id LIMIT $1"
);
/// Only what has been made, and is not erased: others are told of nothing else.
pub(super) const AFTER: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM organizations o WHERE o.id > $1 AND o.state NOT IN ('PENDING', 'PURGED') ORDER BY o.id LIMIT $2"
);
/// Each state has a comparison of its own: by the first of them SQLite, too, sees that the index of what is not active has all
/// that there is.
pub(super) const CLOSED_AFTER: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM organizations o WHERE o.id > $1 AND o.state <> 'ACTIVE' AND o.state <> 'PENDING' ORDER BY o.id LIMIT $2"
);
pub(super) const TOLD_AFTER: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM organizations o WHERE o.id > $1 AND o.state <> 'PENDING' ORDER BY o.id LIMIT $2"
);
/// With a comparison for each state, as above.
pub(super) const PASSING_AFTER: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM organizations o WHERE o.id > $1 AND o.state <> 'ACTIVE' AND o.state <> 'SUSPENDED' ORDER BY o.id LIMIT $2"
);
pub(super) const FOUND_BY_ID: &str =
    concat!("SELECT ", columns!(), ", o.suspension_reason FROM organizations o WHERE o.id = $1");
/// SQLite finds the place in the index by the first comparison alone.
pub(super) const FOUND_BY_NAME: &str = concat!(
    "SELECT ",
    columns!(),
    ", o.suspension_reason FROM organizations o WHERE lower(o.name) >= $1 AND (lower(o.name), o.id) > ($1, $2) \
     AND lower(o.name) < $3 AND o.state <> 'PURGED' ORDER BY lower(o.name), o.id LIMIT $4"
);
pub(super) const FOUND_BY_OWNER: &str = concat!(
    "SELECT ",
    columns!(),
    ", o.suspension_reason FROM memberships m JOIN organizations o ON o.id = m.organization_id \
     WHERE m.user_id = $1 AND m.role = 'OWNER' AND (lower(o.name), o.id) > ($2, $3) AND o.state <> 'PURGED' \
     ORDER BY lower(o.name), o.id LIMIT $4"
);

/// Before every name, and after the empty one: what was purged has none, and there is ever more of it.
const FIRST: char = '\u{1}';
/// After every text that begins as it does.
const LAST: char = '\u{10ffff}';

/// Between which texts the names lie that begin so: from the first on, before the second.
pub(super) fn named(prefix: &str) -> (String, String) {
    let from = if prefix.is_empty() { FIRST.to_string() } else { prefix.to_owned() };
    (from, format!("{prefix}{LAST}"))
}

/// The organizations after an id (as text; empty for the first), in the order of ids.
pub async fn after(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<OrganizationRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(AFTER).bind(after).bind(limit).fetch_all(c).await?))
}

/// Those of them that have been active and are not, purged ones too; what is not ready yet is not among them.
pub async fn closed_after(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<OrganizationRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(CLOSED_AFTER).bind(after).bind(limit).fetch_all(c).await?))
}

/// Those after an id of which anything was ever told, purged ones too, in the order of ids.
pub async fn told_after(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<OrganizationRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(TOLD_AFTER).bind(after).bind(limit).fetch_all(c).await?))
}

/// Those after an id that are not ready yet, or were deleted, purged ones too, in the order of ids.
pub async fn passing_after(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<OrganizationRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(PASSING_AFTER).bind(after).bind(limit).fetch_all(c).await?))
}

/// An organization as operators see it, purged ones too.
pub async fn found(tx: &mut Tx, id: OrganizationId) -> Result<Option<FoundOrganization>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(FOUND_BY_ID).bind(id).fetch_optional(c).await?))
}

/// The organizations that an operator looks for, by their names in lower-case letters and then by their ids, after the
/// given ones.
pub async fn look_for(
    tx: &mut Tx,
    wanted: &Wanted,
    after: Option<&(String, OrganizationId)>,
    limit: i64,
) -> Result<Vec<FoundOrganization>, DbError> {
    let name = after.map_or("", |(name, _)| name.as_str());
    let id = after.map_or_else(String::new, |(_, id)| id.to_string());
    Ok(match wanted {
        Wanted::Id(id) => found(tx, *id).await?.into_iter().collect(),
        Wanted::Name(prefix) => {
            let (from, to) = named(prefix);
            on!(tx, c => sqlx::query_as(FOUND_BY_NAME)
                .bind(from.as_str().max(name))
                .bind(id)
                .bind(to)
                .bind(limit)
                .fetch_all(c)
                .await?)
        }
        Wanted::Owner(user) => on!(tx, c => sqlx::query_as(FOUND_BY_OWNER)
            .bind(*user)
            .bind(name)
            .bind(id)
            .bind(limit)
            .fetch_all(c)
            .await?),
    })
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
        .bind(row.life.standing.word())
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
    listed: Listed,
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
        .bind(listed.as_str())
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
