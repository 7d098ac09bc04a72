//! Rows of `nominations`: who shall own an organization on accepting. Everything that changes one needs the lock on its
//! organization.

use bursar_db::{DbError, Tx, on};
use bursar_id::{OrganizationId, UserId};
use bursar_time::{BELIEVED_AHEAD, Timestamp};

use crate::domain::nomination::{LIFETIME, Nomination};

/// Who is nominated at a time, if anybody is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, sqlx::FromRow)]
pub struct Nominee {
    /// Who.
    pub nominee_user_id: Option<UserId>,
    /// Until when.
    pub nominated_until: Option<Timestamp>,
}

impl Nominee {
    /// Nobody is.
    pub const NOBODY: Self = Self { nominee_user_id: None, nominated_until: None };
}

/// What a nomination's end may be ahead of the time: what the statement below says, too.
const _: () = assert!(LIFETIME.as_micros() + BELIEVED_AHEAD.as_micros() == 612_060_000_000, "nominee_at! says another");

/// The join that gives the columns of a [`Nominee`], of `organizations o`; the parameter is the time. (What lasts is what
/// [`bursar_time::lasts`] says.)
macro_rules! nominee_at {
    ($now:literal) => {
        concat!(
            " LEFT JOIN nominations n ON n.organization_id = o.id AND n.nominated_by = o.owner_user_id \
             AND n.nominated_until > ",
            $now,
            " AND n.nominated_until - 612060000000 <= ",
            $now
        )
    };
}
pub(super) use nominee_at;

pub(super) const AT: &str =
    concat!("SELECT n.nominee_user_id, n.nominated_until FROM organizations o", nominee_at!("$2"), " WHERE o.id = $1");
pub(super) const OF: &str =
    "SELECT nominee_user_id, nominated_by, nominated_until FROM nominations WHERE organization_id = $1";
pub(super) const SET: &str = "INSERT INTO nominations (organization_id, nominee_user_id, nominated_by, nominated_until) \
    VALUES ($1, $2, $3, $4) ON CONFLICT (organization_id) DO UPDATE SET nominee_user_id = excluded.nominee_user_id, \
    nominated_by = excluded.nominated_by, nominated_until = excluded.nominated_until";
pub(super) const FORGET: &str = "DELETE FROM nominations WHERE organization_id = $1";
pub(super) const FORGET_NOMINEE: &str = "DELETE FROM nominations WHERE organization_id = $1 AND nominee_user_id = $2";

/// Who is nominated at `now`.
pub async fn at(tx: &mut Tx, organization: OrganizationId, now: Timestamp) -> Result<Nominee, DbError> {
    let row = on!(tx, c => sqlx::query_as(AT).bind(organization).bind(now).fetch_optional(c).await?);
    Ok(row.unwrap_or(Nominee::NOBODY))
}

/// What was said last, whether or not it still counts.
pub async fn of(tx: &mut Tx, organization: OrganizationId) -> Result<Option<Nomination>, DbError> {
    let row: Option<(UserId, UserId, Timestamp)> =
        on!(tx, c => sqlx::query_as(OF).bind(organization).fetch_optional(c).await?);
    Ok(row.map(|(nominee, by, until)| Nomination { nominee, by, until }))
}

/// Nominates somebody in whosever stead.
pub async fn set(tx: &mut Tx, organization: OrganizationId, nomination: &Nomination) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(SET)
        .bind(organization)
        .bind(nomination.nominee)
        .bind(nomination.by)
        .bind(nomination.until)
        .execute(c)
        .await?
        .rows_affected());
    Ok(())
}

/// Forgets whoever was nominated.
pub async fn forget(tx: &mut Tx, organization: OrganizationId) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(FORGET).bind(organization).execute(c).await?.rows_affected());
    Ok(())
}

/// Forgets that this one was nominated.
pub async fn forget_nominee(tx: &mut Tx, organization: OrganizationId, nominee: UserId) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(FORGET_NOMINEE).bind(organization).bind(nominee).execute(c).await?.rows_affected());
    Ok(())
}
