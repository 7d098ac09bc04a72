//! Where an organization is in its life: columns of `organizations`. Everything that changes them needs the lock on the row.

use bursar_db::{DbError, Tx, exactly_one, on};
use bursar_id::OrganizationId;
use bursar_time::Timestamp;
use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use crate::domain::standing::{Deletion, Standing};

/// Where an organization is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    /// Where it is.
    pub standing: Standing,
    /// Counts the changes that were told.
    pub version: i64,
}

impl Life {
    /// Of one that can be used from its beginning on.
    pub const ACTIVE: Self = Self { standing: Standing::Active, version: 0 };
}

/// The columns `state`, `standing_version`, `deleted_at` and `purge_at`, read strictly.
impl<'r, R> FromRow<'r, R> for Life
where
    R: Row,
    &'static str: ColumnIndex<R>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    Option<Timestamp>: Decode<'r, R::Database> + Type<R::Database>,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        let word: String = row.try_get("state")?;
        let at: Option<Timestamp> = row.try_get("deleted_at")?;
        let deletion = at.zip(row.try_get("purge_at")?).map(|(at, purge_at)| Deletion { at, purge_at });
        let standing = Standing::stored(&word, deletion);
        let standing = standing.ok_or_else(|| sqlx::Error::Decode("an organization in a state there is not".into()))?;
        Ok(Self { standing, version: row.try_get("standing_version")? })
    }
}

/// Whether the organization of the alias `o` stands in the way of an owner who deletes the account; see
/// [`Standing::is_owned`].
macro_rules! is_owned {
    () => {
        "o.state NOT IN ('DELETED', 'PURGING', 'PURGED')"
    };
}
pub(super) use is_owned;

pub(super) const FIND: &str = "SELECT state, standing_version, deleted_at, purge_at FROM organizations WHERE id = $1";
/// Whoever holds it keeps the organization from being moved, and nobody else from holding it, too.
pub(super) const HOLD: &str =
    "SELECT state, standing_version, deleted_at, purge_at FROM organizations WHERE id = $1 FOR SHARE";
pub(super) const MOVE: &str = "UPDATE organizations SET state = $2, deleted_at = $3, purge_at = $4, \
    version = version + 1, standing_version = standing_version + 1 WHERE id = $1";
/// Not a change of what is shown: its etag stays.
pub(super) const OPEN: &str = "UPDATE organizations SET state = $2, standing_version = standing_version + 1 \
    WHERE id = $1 RETURNING standing_version";
pub(super) const BEGIN_PURGE: &str = "UPDATE organizations SET state = $2 WHERE id = $1";
/// What is shown changes, and not where it is.
pub(super) const REDATE: &str = "UPDATE organizations SET purge_at = $2, version = version + 1 WHERE id = $1";
pub(super) const SET_REASON: &str = "UPDATE organizations SET suspension_reason = $2 WHERE id = $1";
pub(super) const ERASE_NAME: &str = "UPDATE organizations SET name = '', suspension_reason = '' WHERE id = $1";

/// Where an organization is in its life now.
pub async fn find(tx: &mut Tx, id: OrganizationId) -> Result<Option<Standing>, DbError> {
    let row: Option<Life> = on!(tx, c => sqlx::query_as(FIND).bind(id).fetch_optional(c).await?);
    Ok(row.map(|life| life.standing))
}

/// The same, and it stays there until the transaction ends: for whoever makes something in an organization without its
/// lock. Nothing is made in one that was deleted, nor behind the back of a purge.
pub async fn hold(tx: &mut Tx, id: OrganizationId) -> Result<Option<Standing>, DbError> {
    let row: Option<Life> = match tx {
        Tx::Sqlite(t) => sqlx::query_as(FIND).bind(id).fetch_optional(&mut **t).await?,
        Tx::Postgres(t) => sqlx::query_as(HOLD).bind(id).fetch_optional(&mut **t).await?,
    };
    Ok(row.map(|life| life.standing))
}

/// Moves an organization, which others are told.
pub async fn set(tx: &mut Tx, id: OrganizationId, standing: Standing) -> Result<(), DbError> {
    let deletion = standing.deletion();
    exactly_one(on!(tx, c => sqlx::query(MOVE)
        .bind(id)
        .bind(standing.word())
        .bind(deletion.map(|deletion| deletion.at))
        .bind(deletion.map(|deletion| deletion.purge_at))
        .execute(c)
        .await?
        .rows_affected()))
}

/// An organization that was pending is open, which others are told with its creation.
pub async fn open(tx: &mut Tx, id: OrganizationId, opened: Standing) -> Result<Life, DbError> {
    let version: i64 = on!(tx, c => sqlx::query_scalar(OPEN).bind(id).bind(opened.word()).fetch_one(c).await?);
    Ok(Life { standing: opened, version })
}

/// Marks an organization as being purged: to others it is deleted as before.
pub async fn begin_purge(tx: &mut Tx, id: OrganizationId, purging: Standing) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(BEGIN_PURGE)
        .bind(id)
        .bind(purging.word())
        .execute(c)
        .await?
        .rows_affected()))
}

/// A deleted organization has another end of its grace.
pub async fn redate(tx: &mut Tx, id: OrganizationId, purge_at: Timestamp) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(REDATE).bind(id).bind(purge_at).execute(c).await?.rows_affected()))
}

/// Remembers why an operator suspended an organization; empty: there is no reason (any more).
pub async fn set_reason(tx: &mut Tx, id: OrganizationId, reason: &str) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(SET_REASON).bind(id).bind(reason).execute(c).await?.rows_affected()))
}

/// Erases what an organization was called.
pub async fn erase_name(tx: &mut Tx, id: OrganizationId) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(ERASE_NAME).bind(id).execute(c).await?.rows_affected()))
}
