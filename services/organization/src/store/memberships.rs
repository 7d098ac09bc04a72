//! Rows of `memberships`. Everything that changes one needs the lock on its organization.

use bursar_db::{DbError, Tx, on};
use bursar_id::{OrganizationId, OwnerId, Role, UserId};
use bursar_members::Standing as Told;
use bursar_time::Timestamp;
use sqlx::{FromRow as _, Row as _};

use super::standings::{Life, is_owned};
use super::{count, unreadable};
use crate::domain::Refusal;
use crate::domain::standing::Standing;

/// A member with the name that organization knows.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct MemberRow {
    /// The organization.
    pub organization_id: OrganizationId,
    /// The person.
    pub user_id: UserId,
    /// The role.
    pub role: Role,
    /// The address at the joining.
    pub email: String,
    /// What the person is called; empty while unknown.
    pub display_name: String,
    /// Counts the changes to the membership, for ever.
    pub version: i64,
    /// When the person (last) joined.
    pub joined_at: Timestamp,
}

/// What somebody is, and since which version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The role; `None` for somebody who is not a member any more, or never was.
    pub role: Option<Role>,
    /// The membership's version; 0 for somebody who never was a member.
    pub version: u64,
    /// Where the organization is in its life; of one that there is not, active.
    pub standing: Standing,
}

impl Place {
    /// The place of somebody who never was a member.
    pub const NONE: Self = Self { role: None, version: 0, standing: Standing::Active };

    /// The role, in an organization that is open to its members.
    pub fn open(self) -> Result<Role, Refusal> {
        let role = self.role.ok_or(Refusal::NotAMember)?;
        self.standing.demand_open()?;
        Ok(role)
    }

    /// The role, in one of which the owner may have what there is; see [`Standing::demand_kept`]. `personal`: with the
    /// personal token.
    pub fn kept(self, personal: bool) -> Result<Role, Refusal> {
        let role = self.role.ok_or(Refusal::NotAMember)?;
        self.standing.demand_kept(role == Role::Owner, personal)?;
        Ok(role)
    }

    /// The role, in one that may be looked at; see [`Standing::demand_shown`]. `personal`: with the personal token.
    pub fn shown(self, personal: bool) -> Result<Role, Refusal> {
        let role = self.role.ok_or(Refusal::NotAMember)?;
        self.standing.demand_shown(role == Role::Owner, personal)?;
        Ok(role)
    }
}

/// A [`Place`] as it is now, and by whom it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlaceNow {
    /// The incarnation of the store, by which such words are compared.
    pub incarnation: u64,
    /// The place.
    pub place: Place,
    /// Whether an operator has suspended the person, as identity told last.
    pub suspended: bool,
}

#[derive(sqlx::FromRow)]
struct PlaceColumns {
    role: Option<Role>,
    version: i64,
    #[sqlx(flatten)]
    life: Life,
}

/// Why a membership ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The member left.
    Left,
    /// Somebody removed the member.
    Removed,
    /// The account was deleted.
    Deleted,
}

impl Ending {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Left => "LEFT",
            Self::Removed => "REMOVED",
            Self::Deleted => "DELETED",
        }
    }
}

/// Somebody who joins.
#[derive(Clone, Copy, Debug)]
pub struct Joining<'a> {
    /// The organization.
    pub organization: OrganizationId,
    /// The person.
    pub user: UserId,
    /// As what.
    pub role: Role,
    /// The person's address.
    pub email: &'a str,
    /// The address case-folded.
    pub email_key: &'a str,
}

pub(super) const PLACE: &str = "SELECT m.role, m.version, o.state, o.standing_version, o.deleted_at, o.purge_at \
    FROM memberships m JOIN organizations o ON o.id = m.organization_id \
    WHERE m.organization_id = $1 AND m.user_id = $2";
/// The same with the store's incarnation, which there is without a membership, too, and with how the person stands, if not
/// active ($3: the person as an owner): a check of access is one round trip.
pub(super) const PLACE_NOW: &str = "SELECT h.incarnation, m.role, m.version, o.state, o.standing_version, o.deleted_at, \
    o.purge_at, s.standing FROM outbox_head h LEFT JOIN memberships m ON m.organization_id = $1 AND m.user_id = $2 \
    LEFT JOIN organizations o ON o.id = m.organization_id LEFT JOIN standings s ON s.owner = $3 WHERE h.one = 1";
pub(super) const MEMBER: &str = "SELECT m.organization_id, m.user_id, m.role, m.email, u.display_name, m.version, \
    m.joined_at FROM memberships m JOIN users u ON u.id = m.user_id \
    WHERE m.organization_id = $1 AND m.user_id = $2 AND m.role IS NOT NULL";
pub(super) const LIST: &str = "SELECT m.organization_id, m.user_id, m.role, m.email, u.display_name, m.version, \
    m.joined_at FROM memberships m JOIN users u ON u.id = m.user_id \
    WHERE m.organization_id = $1 AND m.role IS NOT NULL \
    AND (m.joined_at, m.user_id) > ($2, $3) ORDER BY m.joined_at, m.user_id LIMIT $4";
/// A statement of its own, which has an index of its own: a page of few among many reads those few.
pub(super) const LIST_OF_ROLE: &str = "SELECT m.organization_id, m.user_id, m.role, m.email, u.display_name, m.version, \
    m.joined_at FROM memberships m JOIN users u ON u.id = m.user_id \
    WHERE m.organization_id = $1 AND m.role = $5 AND m.role IS NOT NULL \
    AND (m.joined_at, m.user_id) > ($2, $3) ORDER BY m.joined_at, m.user_id LIMIT $4";
pub(super) const JOIN: &str = "INSERT INTO memberships \
    (organization_id, user_id, role, state, email, email_key, version, joined_at, changed_at) \
    VALUES ($1, $2, $3, 'ACTIVE', $4, $5, 1, $6, $6) ON CONFLICT (organization_id, user_id) DO UPDATE SET \
    role = excluded.role, state = 'ACTIVE', email = excluded.email, email_key = excluded.email_key, \
    version = memberships.version + 1, joined_at = excluded.joined_at, changed_at = excluded.changed_at \
    WHERE memberships.role IS NULL RETURNING version";
pub(super) const SET_ROLE: &str = "UPDATE memberships SET role = $3, version = version + 1, changed_at = $4 \
    WHERE organization_id = $1 AND user_id = $2 AND role IS NOT NULL RETURNING version";
pub(super) const END: &str = "UPDATE memberships SET role = NULL, state = $3, version = version + 1, changed_at = $4 \
    WHERE organization_id = $1 AND user_id = $2 AND role IS NOT NULL RETURNING version";
pub(super) const COUNT: &str = "SELECT COUNT(*) FROM memberships WHERE organization_id = $1 AND role IS NOT NULL";
pub(super) const COUNT_EMAIL: &str = "SELECT COUNT(*) FROM memberships \
    WHERE organization_id = $1 AND email_key = $2 AND role IS NOT NULL";
/// Without the owner's place in what was deleted: it stays for the key that demands it, and is nobody's any more.
pub(super) const OF_USER: &str = concat!(
    "SELECT m.organization_id, m.role FROM memberships m JOIN organizations o ON o.id = m.organization_id \
     WHERE m.user_id = $1 AND m.role IS NOT NULL AND (m.role <> 'OWNER' OR ",
    is_owned!(),
    ") ORDER BY m.organization_id"
);
pub(super) const COUNT_OWNED: &str = concat!(
    "SELECT COUNT(*) FROM memberships m JOIN organizations o ON o.id = m.organization_id \
     WHERE m.user_id = $1 AND m.role = 'OWNER' AND ",
    is_owned!()
);
pub(super) const OWNED: &str = concat!(
    "SELECT m.organization_id FROM memberships m JOIN organizations o ON o.id = m.organization_id \
     WHERE m.user_id = $1 AND m.role = 'OWNER' AND ",
    is_owned!(),
    " ORDER BY m.organization_id LIMIT $2"
);
pub(super) const ADDRESSES: &str = "SELECT email_key FROM memberships WHERE user_id = $1 AND email_key <> '' \
    UNION SELECT email_key FROM invitations WHERE accepted_by = $1 AND email <> ''";
/// By the keys, of which there is an index: there is none without an address.
pub(super) const FORGET_ADDRESSES: &str = concat!(
    "UPDATE memberships SET email = '', email_key = '' WHERE user_id = $1 AND email_key <> '' AND (role IS NULL \
     OR NOT EXISTS (SELECT 1 FROM organizations o WHERE o.id = memberships.organization_id AND ",
    is_owned!(),
    "))"
);
/// Those who are no owners, all at once; the word is that of a removal. What is asked twice, here and below, holds also for
/// somebody who is something else between the two.
pub(super) const END_SOME: &str = "UPDATE memberships SET role = NULL, state = 'REMOVED', email = '', email_key = '', \
    version = version + 1, changed_at = $2 WHERE organization_id = $1 AND role IN ('ADMIN', 'MEMBER') \
    AND user_id IN (SELECT user_id FROM memberships WHERE organization_id = $1 AND role IN ('ADMIN', 'MEMBER') \
    ORDER BY user_id LIMIT $3) RETURNING user_id, version";
pub(super) const FORGET_SOME: &str = "UPDATE memberships SET email = '', email_key = '' \
    WHERE organization_id = $1 AND role IS NULL AND user_id IN (SELECT user_id FROM memberships \
    WHERE organization_id = $1 AND role IS NULL AND email <> '' ORDER BY user_id LIMIT $2)";
/// Answers are kept by who asked within an organization; whoever of people ever did so has a row here. What services were answered
/// is found by them.
pub(super) const FORGET_ANSWERS: &str = "DELETE FROM requests WHERE (scope, request_id) IN \
    (SELECT r.scope, r.request_id FROM memberships m JOIN requests r \
    ON r.scope = m.user_id || '/' || m.organization_id WHERE m.organization_id = $1 LIMIT $2)";
pub(super) const END_OWNERS: &str = "UPDATE memberships SET email = '', email_key = '', version = version + 1, \
    changed_at = $2 WHERE organization_id = $1 AND role = 'OWNER' RETURNING user_id, version";

/// Of a purged organization nobody is a member, whatever the key of its owner demands; of one that is pending nobody is told.
/// Of organizations, too, it is said where the page begins: a join would read all before it.
pub(super) const AFTER: &str = "SELECT m.organization_id, m.user_id, \
    CASE WHEN o.state = 'PURGED' THEN NULL ELSE m.role END AS role, m.version \
    FROM memberships m JOIN organizations o ON o.id = m.organization_id \
    WHERE (m.organization_id, m.user_id) > ($1, $2) AND o.id >= $1 AND o.state <> 'PENDING' \
    ORDER BY m.organization_id, m.user_id LIMIT $3";

/// Somebody's place in an organization, ended ones too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct PlaceRow {
    /// The organization.
    pub organization_id: OrganizationId,
    /// The person.
    pub user_id: UserId,
    /// The role; `None` after the membership ended.
    pub role: Option<Role>,
    /// The membership's version.
    pub version: i64,
}

/// The places after one (as text; empty for the first), in the order of organizations and users.
pub async fn after(tx: &mut Tx, organization: &str, user: &str, limit: i64) -> Result<Vec<PlaceRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(AFTER).bind(organization).bind(user).bind(limit).fetch_all(c).await?))
}

/// What somebody is in an organization now, and whether that is open.
pub async fn place(tx: &mut Tx, organization: OrganizationId, user: UserId) -> Result<Place, DbError> {
    let row: Option<PlaceColumns> =
        on!(tx, c => sqlx::query_as(PLACE).bind(organization).bind(user).fetch_optional(c).await?);
    row.as_ref().map_or(Ok(Place::NONE), read_place)
}

fn read_place(row: &PlaceColumns) -> Result<Place, DbError> {
    let version = u64::try_from(row.version).map_err(unreadable)?;
    Ok(Place { role: row.role, version, standing: row.life.standing })
}

/// The same for a check of access.
pub async fn place_now(tx: &mut Tx, organization: OrganizationId, user: UserId) -> Result<PlaceNow, DbError> {
    let person = OwnerId::User(user).to_bytes();
    let (incarnation, columns, told) = on!(tx, c => {
        let row =
            sqlx::query(PLACE_NOW).bind(organization).bind(user).bind(person.as_slice()).fetch_one(c).await?;
        let version: Option<i64> = row.try_get("version")?;
        let columns = if version.is_some() { Some(PlaceColumns::from_row(&row)?) } else { None };
        (row.try_get::<i64, _>("incarnation")?, columns, row.try_get::<Option<String>, _>("standing")?)
    });
    let incarnation = u64::try_from(incarnation).map_err(unreadable)?;
    let place = columns.as_ref().map_or(Ok(Place::NONE), read_place)?;
    Ok(PlaceNow { incarnation, place, suspended: told.as_deref() == Some(Told::Suspended.as_str()) })
}

/// A member; `None` for who is not, or not any more.
pub async fn member(tx: &mut Tx, organization: OrganizationId, user: UserId) -> Result<Option<MemberRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(MEMBER).bind(organization).bind(user).fetch_optional(c).await?))
}

/// Members in the order they joined, after the given one; with a role, only those who have it.
pub async fn list(
    tx: &mut Tx,
    organization: OrganizationId,
    role: Option<Role>,
    after: Option<&(Timestamp, UserId)>,
    limit: i64,
) -> Result<Vec<MemberRow>, DbError> {
    let joined = after.map_or(i64::MIN, |(joined, _)| joined.as_micros());
    let user = after.map_or_else(String::new, |(_, user)| user.to_string());
    let Some(role) = role else {
        return Ok(on!(tx, c => sqlx::query_as(LIST)
            .bind(organization)
            .bind(joined)
            .bind(user)
            .bind(limit)
            .fetch_all(c)
            .await?));
    };
    Ok(on!(tx, c => sqlx::query_as(LIST_OF_ROLE)
        .bind(organization)
        .bind(joined)
        .bind(user)
        .bind(limit)
        .bind(role)
        .fetch_all(c)
        .await?))
}

/// Makes somebody a member, or a member again; the membership's version, or `None` for who is one already.
pub async fn join(tx: &mut Tx, who: &Joining<'_>, now: Timestamp) -> Result<Option<u64>, DbError> {
    let row: Option<(i64,)> = on!(tx, c => sqlx::query_as(JOIN)
        .bind(who.organization)
        .bind(who.user)
        .bind(who.role)
        .bind(who.email)
        .bind(who.email_key)
        .bind(now)
        .fetch_optional(c)
        .await?);
    version(row)
}

/// Gives a member another role; the membership's version, or `None` for who is not a member.
pub async fn set_role(
    tx: &mut Tx,
    organization: OrganizationId,
    user: UserId,
    role: Role,
    now: Timestamp,
) -> Result<Option<u64>, DbError> {
    let row: Option<(i64,)> = on!(tx, c => sqlx::query_as(SET_ROLE)
        .bind(organization)
        .bind(user)
        .bind(role)
        .bind(now)
        .fetch_optional(c)
        .await?);
    version(row)
}

/// Ends a membership; its version, or `None` for who is not a member.
pub async fn end(
    tx: &mut Tx,
    organization: OrganizationId,
    user: UserId,
    why: Ending,
    now: Timestamp,
) -> Result<Option<u64>, DbError> {
    let row: Option<(i64,)> = on!(tx, c => sqlx::query_as(END)
        .bind(organization)
        .bind(user)
        .bind(why.as_str())
        .bind(now)
        .fetch_optional(c)
        .await?);
    version(row)
}

/// Ends up to `limit` memberships of an organization that is being purged, but its owner's, and forgets their addresses;
/// whose, each with the membership's version.
pub async fn end_some(
    tx: &mut Tx,
    organization: OrganizationId,
    now: Timestamp,
    limit: i64,
) -> Result<Vec<(UserId, u64)>, DbError> {
    let rows: Vec<(UserId, i64)> = on!(tx, c => sqlx::query_as(END_SOME)
        .bind(organization)
        .bind(now)
        .bind(limit)
        .fetch_all(c)
        .await?);
    rows.into_iter().map(|(user, version)| Ok((user, u64::try_from(version).map_err(unreadable)?))).collect()
}

/// Forgets up to `limit` addresses of former members of an organization; says of how many.
pub async fn forget_some(tx: &mut Tx, organization: OrganizationId, limit: i64) -> Result<u64, DbError> {
    Ok(on!(tx, c => sqlx::query(FORGET_SOME).bind(organization).bind(limit).execute(c).await?.rows_affected()))
}

/// Forgets up to `limit` of what people were answered in an organization; says how many.
pub async fn forget_answers(tx: &mut Tx, organization: OrganizationId, limit: i64) -> Result<u64, DbError> {
    Ok(on!(tx, c => sqlx::query(FORGET_ANSWERS).bind(organization).bind(limit).execute(c).await?.rows_affected()))
}

/// Raises the version of the owner's place in an organization that is purged, and forgets the address: to others the
/// membership has ended. Whose it was, and the version.
pub async fn end_owners(tx: &mut Tx, organization: OrganizationId, now: Timestamp) -> Result<(UserId, u64), DbError> {
    let (user, version): (UserId, i64) =
        on!(tx, c => sqlx::query_as(END_OWNERS).bind(organization).bind(now).fetch_one(c).await?);
    Ok((user, u64::try_from(version).map_err(unreadable)?))
}

fn version(row: Option<(i64,)>) -> Result<Option<u64>, DbError> {
    row.map(|(version,)| u64::try_from(version).map_err(unreadable)).transpose()
}

/// How many members an organization has.
pub async fn head_count(tx: &mut Tx, organization: OrganizationId) -> Result<u32, DbError> {
    let (rows,): (i64,) = on!(tx, c => sqlx::query_as(COUNT).bind(organization).fetch_one(c).await?);
    Ok(count(rows))
}

/// Whether a member joined with this case-folded address.
pub async fn has_address(tx: &mut Tx, organization: OrganizationId, email_key: &str) -> Result<bool, DbError> {
    let (rows,): (i64,) = on!(tx, c => sqlx::query_as(COUNT_EMAIL)
        .bind(organization)
        .bind(email_key)
        .fetch_one(c)
        .await?);
    Ok(rows > 0)
}

/// The organizations that somebody is a member of, with the role in each; without what the person owned and has deleted.
pub async fn of_user(tx: &mut Tx, user: UserId) -> Result<Vec<(OrganizationId, Role)>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(OF_USER).bind(user).fetch_all(c).await?))
}

/// How many organizations somebody owns that were not deleted, and the first of them in the order of their ids.
pub async fn owned(tx: &mut Tx, user: UserId, limit: i64) -> Result<(u32, Vec<OrganizationId>), DbError> {
    let (rows,): (i64,) = on!(&mut *tx, c => sqlx::query_as(COUNT_OWNED).bind(user).fetch_one(c).await?);
    let first: Vec<(OrganizationId,)> = on!(tx, c => sqlx::query_as(OWNED).bind(user).bind(limit).fetch_all(c).await?);
    Ok((count(rows), first.into_iter().map(|(id,)| id).collect()))
}

/// The addresses that somebody joined with, or was invited by.
pub async fn addresses(tx: &mut Tx, user: UserId) -> Result<Vec<String>, DbError> {
    Ok(on!(tx, c => sqlx::query_scalar(ADDRESSES).bind(user).fetch_all(c).await?))
}

/// Forgets the addresses that somebody who is a member nowhere joined with, and those in what the person has deleted.
pub async fn forget_addresses(tx: &mut Tx, user: UserId) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(FORGET_ADDRESSES).bind(user).execute(c).await?.rows_affected());
    Ok(())
}
