//! Rows of `organization_seats`: what billing said last about an organization's plan.
//!
//! Seats are known by themselves: a program of before tells of no more, and what it writes says nothing of the plan.

use bursar_db::{DbError, Tx, on};
use bursar_id::OrganizationId;
use bursar_time::Timestamp;

use super::{count, unreadable};
use crate::domain::entitlements::{Entitlements, Features, PlanName, Told};

/// How many seats are taken, of how many, and what else the plan allows, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct Seating {
    /// Members and pending invitations; not counted where the seats are not known.
    taken: i64,
    /// The seats of the plan.
    seats: Option<i64>,
    /// The plan.
    plan_id: Option<String>,
    /// What it allows besides.
    features: Option<String>,
}

impl Seating {
    /// Of an organization about whose plan nothing was heard.
    pub const UNKNOWN: Self = Self { taken: 0, seats: None, plan_id: None, features: None };

    /// Members and pending invitations.
    pub fn taken(&self) -> u32 {
        count(self.taken)
    }

    /// The seats of the plan; `None` while nothing was heard of it.
    pub fn seats(&self) -> Option<u32> {
        self.seats.map(count)
    }

    /// What the plan allows; `None` unless all of it was heard.
    pub fn entitlements(&self) -> Option<Entitlements> {
        let (plan, features) = self.plan_id.as_deref().zip(self.features.as_deref())?;
        Some(Entitlements { plan: PlanName::stored(plan), seats: self.seats()?, features: Features::stored(features) })
    }

    /// Whether anything is known of the plan beside its seats.
    pub fn tells_plan(&self) -> bool {
        self.plan_id.is_some()
    }

    /// Leaves out which plan it is and what it allows, for who may not see that.
    pub fn hide_plan(&mut self) {
        (self.plan_id, self.features) = (None, None);
    }
}

/// What is known of an organization's plan, and since which change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The seats, if any are known.
    pub seats: Option<u32>,
    /// The change by which that is known; 0 before the first.
    pub version: i64,
    /// The plan, if it is known.
    pub plan: Option<PlanName>,
    /// What it allows besides, if that is known.
    pub features: Option<Features>,
}

impl Known {
    /// Whether that is what billing says: it may say nothing of features.
    pub fn is(&self, said: &Told) -> bool {
        let same = self.seats == Some(said.seats) && self.plan.as_ref() == Some(&said.plan);
        same && (said.features.is_none() || self.features == said.features)
    }
}

/// The columns of a [`Seating`], of `organizations o` joined with `organization_seats s` on the left; the parameter is
/// the time by which invitations have expired.
macro_rules! seats_taken {
    ($now:literal) => {
        concat!(
            "s.seats, CASE WHEN s.seats IS NULL THEN 0 ELSE \
             (SELECT COUNT(*) FROM memberships h WHERE h.organization_id = o.id AND h.role IS NOT NULL) + \
             (SELECT COUNT(*) FROM invitations i WHERE i.organization_id = o.id AND i.state = 'PENDING' \
             AND ",
            super::invitations::lasts_at!("i.", $now),
            ") END AS taken"
        )
    };
}
pub(super) use seats_taken;

/// The columns of what was told with the seats, of `organization_seats s`.
macro_rules! plan_told {
    () => {
        "CASE WHEN s.plan_version = s.version THEN s.plan_id END AS plan_id, \
         CASE WHEN s.plan_version = s.version THEN s.features END AS features"
    };
}
pub(super) use plan_told;

/// Writes the same of a row that is there: features that are not told stay those of the same plan.
macro_rules! tells_plan {
    () => {
        "seats = excluded.seats, version = organization_seats.version + 1, plan_id = excluded.plan_id, \
         features = COALESCE(excluded.features, CASE WHEN organization_seats.plan_id = excluded.plan_id \
         AND organization_seats.plan_version = organization_seats.version THEN organization_seats.features END), \
         plan_version = organization_seats.version + 1"
    };
}

pub(super) const SEATING: &str = concat!(
    "SELECT ",
    seats_taken!("$2"),
    ", ",
    plan_told!(),
    " FROM organizations o LEFT JOIN organization_seats s ON s.organization_id = o.id WHERE o.id = $1"
);
pub(super) const KNOWN: &str =
    concat!("SELECT s.seats, s.version, ", plan_told!(), " FROM organization_seats s WHERE s.organization_id = $1");
pub(super) const KNOWN_AFTER: &str = concat!(
    "SELECT s.organization_id, s.seats, ",
    plan_told!(),
    " FROM organization_seats s WHERE s.organization_id > $1 AND s.seats IS NOT NULL ORDER BY s.organization_id LIMIT $2"
);
pub(super) const TELL: &str = concat!(
    "INSERT INTO organization_seats (organization_id, seats, incarnation, version, plan_id, features, plan_version) \
     VALUES ($1, $2, $3, 1, $4, $5, 1) ON CONFLICT (organization_id) DO UPDATE SET ",
    tells_plan!(),
    ", incarnation = excluded.incarnation WHERE organization_seats.incarnation <= excluded.incarnation"
);
pub(super) const NOTE: &str = concat!(
    "INSERT INTO organization_seats (organization_id, seats, incarnation, version, plan_id, features, plan_version) \
     VALUES ($1, $2, 0, 1, $4, $5, 1) ON CONFLICT (organization_id) DO UPDATE SET ",
    tells_plan!(),
    " WHERE organization_seats.version = $3"
);
pub(super) const FORGET_BEFORE: &str = "UPDATE organization_seats SET seats = NULL, plan_id = NULL, features = NULL, \
    version = version + 1 WHERE incarnation < $1 AND seats IS NOT NULL";
/// Of which plans only the seats, or no features, were told, by or to a program that knew no more. The condition is the index's.
pub(super) const UNTOLD: &str = "SELECT organization_id FROM organization_seats WHERE organization_id > $1 \
    AND seats IS NOT NULL AND (plan_version <> version OR features IS NULL) ORDER BY organization_id LIMIT $2";
pub(super) const FORGET: &str = "DELETE FROM organization_seats WHERE organization_id = $1";
/// Changes nothing but that whatever billing tells next holds.
pub(super) const DOUBT: &str = "UPDATE organization_seats SET incarnation = 0, version = version + 1, \
    plan_version = plan_version + 1 WHERE organization_id = $1";

/// How many of an organization's seats are taken at `now`.
pub async fn seating(tx: &mut Tx, organization: OrganizationId, now: Timestamp) -> Result<Seating, DbError> {
    let row = on!(tx, c => sqlx::query_as(SEATING).bind(organization).bind(now).fetch_optional(c).await?);
    Ok(row.unwrap_or(Seating::UNKNOWN))
}

/// The columns of a [`Known`]: seats, version, plan and features.
type KnownColumns = (Option<i64>, i64, Option<String>, Option<String>);

/// What is known of an organization's plan.
pub async fn known(tx: &mut Tx, organization: OrganizationId) -> Result<Known, DbError> {
    let row: Option<KnownColumns> = on!(tx, c => sqlx::query_as(KNOWN).bind(organization).fetch_optional(c).await?);
    Ok(row.map_or_else(Known::default, |(seats, version, plan, features)| Known {
        seats: seats.map(count),
        version,
        plan: plan.as_deref().map(PlanName::stored),
        features: features.as_deref().map(Features::stored),
    }))
}

/// What is known of the plans of the organizations after an id (as text; empty for the first), where their seats are known,
/// in the order of ids: the seats, and what the plan allows if all of it is known.
pub async fn known_after(
    tx: &mut Tx,
    after: &str,
    limit: i64,
) -> Result<Vec<(OrganizationId, u32, Option<Entitlements>)>, DbError> {
    let rows: Vec<(OrganizationId, i64, Option<String>, Option<String>)> =
        on!(tx, c => sqlx::query_as(KNOWN_AFTER).bind(after).bind(limit).fetch_all(c).await?);
    let known = |(id, seats, plan_id, features)| {
        let seating = Seating { taken: 0, seats: Some(seats), plan_id, features };
        (id, count(seats), seating.entitlements())
    };
    Ok(rows.into_iter().map(known).collect())
}

/// Forgets what was known of an organization's plan.
pub async fn forget(tx: &mut Tx, organization: OrganizationId) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(FORGET).bind(organization).execute(c).await?.rows_affected());
    Ok(())
}

/// Writes what an event of this incarnation says, unless a later incarnation has told something else. Within one, events
/// are told in their order.
pub async fn tell(tx: &mut Tx, organization: OrganizationId, told: &Told, incarnation: u64) -> Result<(), DbError> {
    let incarnation = i64::try_from(incarnation).map_err(unreadable)?;
    on!(tx, c => sqlx::query(TELL)
        .bind(organization)
        .bind(i64::from(told.seats))
        .bind(incarnation)
        .bind(told.plan.as_str())
        .bind(told.features.as_ref().map(Features::to_string))
        .execute(c)
        .await?
        .rows_affected());
    Ok(())
}

/// Writes what billing answered to a question that was asked when the change `since` was the last: what was told meanwhile
/// may be newer than the answer.
pub async fn note(tx: &mut Tx, organization: OrganizationId, said: &Told, since: i64) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(NOTE)
        .bind(organization)
        .bind(i64::from(said.seats))
        .bind(since)
        .bind(said.plan.as_str())
        .bind(said.features.as_ref().map(Features::to_string))
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

/// The organizations after an id (as text; empty for the first) of whose plans not all was told, in the order of ids.
pub async fn untold_after(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<OrganizationId>, DbError> {
    Ok(on!(tx, c => sqlx::query_scalar(UNTOLD).bind(after).bind(limit).fetch_all(c).await?))
}

/// Has any word of billing's hold against what is known, whatever told of that.
pub async fn doubt(tx: &mut Tx, organization: OrganizationId) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(DOUBT).bind(organization).execute(c).await?.rows_affected());
    Ok(())
}
