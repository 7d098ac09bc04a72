//! Rows of `organization_seats`: what billing said last about an organization's plan.

use bursar_db::{DbError, Tx, on};
use bursar_id::OrganizationId;
use bursar_time::Timestamp;

use super::{count, unreadable};

/// How many seats are taken, of how many, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Seating {
    /// Members and pending invitations; not counted where the seats are not known.
    taken: i64,
    /// The seats of the plan.
    seats: Option<i64>,
}

impl Seating {
    /// Of an organization about whose plan nothing was heard.
    pub const UNKNOWN: Self = Self { taken: 0, seats: None };

    /// Members and pending invitations.
    pub fn taken(self) -> u32 {
        count(self.taken)
    }

    /// The seats of the plan; `None` while nothing was heard of it.
    pub fn seats(self) -> Option<u32> {
        self.seats.map(count)
    }
}

/// What is known of an organization's seats, and since which change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The seats, if any are known.
    pub seats: Option<u32>,
    /// The change by which that is known; 0 before the first.
    pub version: i64,
}

/// The columns of a [`Seating`], of `organizations o` joined with `organization_seats s` on the left; the parameter is
/// the time by which invitations have expired.
macro_rules! seats_taken {
    ($now:literal) => {
        concat!(
            "s.seats, CASE WHEN s.seats IS NULL THEN 0 ELSE \
             (SELECT COUNT(*) FROM memberships h WHERE h.organization_id = o.id AND h.role IS NOT NULL) + \
             (SELECT COUNT(*) FROM invitations i WHERE i.organization_id = o.id AND i.state = 'PENDING' \
             AND i.expires_at > ",
            $now,
            ") END AS taken"
        )
    };
}
pub(super) use seats_taken;

pub(super) const SEATING: &str = concat!(
    "SELECT ",
    seats_taken!("$2"),
    " FROM organizations o LEFT JOIN organization_seats s ON s.organization_id = o.id WHERE o.id = $1"
);
pub(super) const KNOWN: &str = "SELECT seats, version FROM organization_seats WHERE organization_id = $1";
pub(super) const KNOWN_AFTER: &str = "SELECT organization_id, seats FROM organization_seats \
    WHERE organization_id > $1 AND seats IS NOT NULL ORDER BY organization_id LIMIT $2";
pub(super) const TELL: &str = "INSERT INTO organization_seats (organization_id, seats, incarnation, version) \
    VALUES ($1, $2, $3, 1) ON CONFLICT (organization_id) DO UPDATE SET seats = excluded.seats, \
    incarnation = excluded.incarnation, version = organization_seats.version + 1 \
    WHERE organization_seats.incarnation <= excluded.incarnation";
pub(super) const NOTE: &str = "INSERT INTO organization_seats (organization_id, seats, incarnation, version) \
    VALUES ($1, $2, 0, 1) ON CONFLICT (organization_id) DO UPDATE SET seats = excluded.seats, \
    version = organization_seats.version + 1 WHERE organization_seats.version = $3";
pub(super) const FORGET_BEFORE: &str = "UPDATE organization_seats SET seats = NULL, version = version + 1 \
    WHERE incarnation < $1 AND seats IS NOT NULL";
pub(super) const FORGET: &str = "DELETE FROM organization_seats WHERE organization_id = $1";
/// Changes nothing but that whatever billing tells next holds.
pub(super) const DOUBT: &str =
    "UPDATE organization_seats SET incarnation = 0, version = version + 1 WHERE organization_id = $1";

/// How many of an organization's seats are taken at `now`.
pub async fn seating(tx: &mut Tx, organization: OrganizationId, now: Timestamp) -> Result<Seating, DbError> {
    let row = on!(tx, c => sqlx::query_as(SEATING).bind(organization).bind(now).fetch_optional(c).await?);
    Ok(row.unwrap_or(Seating::UNKNOWN))
}

/// What is known of an organization's seats.
pub async fn known(tx: &mut Tx, organization: OrganizationId) -> Result<Known, DbError> {
    let row: Option<(Option<i64>, i64)> =
        on!(tx, c => sqlx::query_as(KNOWN).bind(organization).fetch_optional(c).await?);
    Ok(row.map_or_else(Known::default, |(seats, version)| Known { seats: seats.map(count), version }))
}

/// The seats of the organizations after an id (as text; empty for the first), where they are known, in the order of ids.
pub async fn known_after(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<(OrganizationId, u32)>, DbError> {
    let rows: Vec<(OrganizationId, i64)> =
        on!(tx, c => sqlx::query_as(KNOWN_AFTER).bind(after).bind(limit).fetch_all(c).await?);
    Ok(rows.into_iter().map(|(id, seats)| (id, count(seats))).collect())
}

/// Forgets what was known of an organization's plan.
pub async fn forget(tx: &mut Tx, organization: OrganizationId) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(FORGET).bind(organization).execute(c).await?.rows_affected());
    Ok(())
}

/// Writes what an event of this incarnation says, unless a later incarnation has told something else. Within one, events
/// are told in their order.
pub async fn tell(tx: &mut Tx, organization: OrganizationId, seats: u32, incarnation: u64) -> Result<(), DbError> {
    let incarnation = i64::try_from(incarnation).map_err(unreadable)?;
    on!(tx, c => sqlx::query(TELL)
        .bind(organization)
        .bind(i64::from(seats))
        .bind(incarnation)
        .execute(c)
        .await?
        .rows_affected());
    Ok(())
}

/// Writes what billing answered to a question that was asked when the change `since` was the last: what was told meanwhile
/// may be newer than the answer.
pub async fn note(tx: &mut Tx, organization: OrganizationId, seats: u32, since: i64) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(NOTE)
        .bind(organization)
        .bind(i64::from(seats))
        .bind(since)
        .execute(c)
        .await?
        .rows_affected());
    Ok(())
}

/// Forgets what only earlier incarnations than this one have told, and what was heard before any told of it.
pub async fn forget_before(tx: &mut Tx, incarnation: u64) -> Result<(), DbError> {
    let incarnation = i64::try_from(incarnation).map_err(unreadable)?;
    on!(tx, c => sqlx::query(FORGET_BEFORE).bind(incarnation).execute(c).await?.rows_affected());
    Ok(())
}

/// Has any word of billing's hold against what is known, whatever told of that.
pub async fn doubt(tx: &mut Tx, organization: OrganizationId) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(DOUBT).bind(organization).execute(c).await?.rows_affected());
    Ok(())
}
