//! Rows of `invitations` and `invitation_mails`. Everything that changes one needs the lock on its
//! organization.

use bursar_db::{DbError, Tx, exactly_one, on};
use bursar_id::{InvitationId, OrganizationId, Role, UserId};
use bursar_secret::TokenDigest;
use bursar_time::{BELIEVED_AHEAD, CLOCKS_APART, Span, Timestamp};

use super::{count, unreadable};
use crate::domain::invitation::State;

/// One invitation as stored.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct InvitationRow {
    /// Its id.
    pub id: InvitationId,
    /// The organization.
    pub organization_id: OrganizationId,
    /// The address as it was written.
    pub email: String,
    /// The address case-folded.
    pub email_key: String,
    /// What accepting makes somebody.
    pub role: Role,
    /// What is written of its state; [`InvitationRow::state_at`] says what it is.
    pub state: String,
    /// How long a mail's token lives.
    pub lifetime: Span,
    /// Who invited.
    pub invited_by: UserId,
    /// Who accepted.
    pub accepted_by: Option<UserId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it expires, or did.
    pub expires_at: Timestamp,
}

impl InvitationRow {
    /// Where the invitation is in its life at `now`.
    pub fn state_at(&self, now: Timestamp) -> Result<State, DbError> {
        let stored: State = self.state.parse().map_err(unreadable)?;
        Ok(stored.at(now, self.expires_at, self.lifetime))
    }
}

/// Which invitations are listed.
#[derive(Clone, Copy, Debug)]
pub struct Filter {
    /// The organization.
    pub organization: OrganizationId,
    /// Only those in this state at `now`.
    pub state: Option<State>,
    /// The time at which states are told.
    pub now: Timestamp,
}

/// An invitation that has an address of somebody's, as far as organization knows: accepted by the person, or by nobody and to
/// an address that the person joined with anywhere.
macro_rules! names_person {
    () => {
        "email <> '' AND (accepted_by = $1 OR (accepted_by IS NULL \
         AND email_key IN (SELECT m.email_key FROM memberships m WHERE m.user_id = $1 AND m.email_key <> '')))"
    };
}

/// By how much an end may be further ahead than a lifetime: what the statement below says, too.
const _: () = assert!(BELIEVED_AHEAD.as_micros() == 7_260_000_000, "lasts_at! says another");

/// Whether an invitation has not expired, as [`bursar_time::lasts`] says it; the parameters are what stands before its columns,
/// and the time.
macro_rules! lasts_at {
    ($its:literal, $now:literal) => {
        concat!($its, "expires_at > ", $now, " AND ", $its, "expires_at - ", $its, "lifetime - 7260000000 <= ", $now)
    };
}
pub(super) use lasts_at;

pub(super) const INSERT: &str = "INSERT INTO invitations (id, organization_id, email, email_key, role, state, \
    token_digest, lifetime, invited_by, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
pub(super) const BY_ID: &str = "SELECT id, organization_id, email, email_key, role, state, lifetime, invited_by, \
    accepted_by, created_at, expires_at FROM invitations WHERE id = $1";
pub(super) const BY_TOKEN: &str = "SELECT id, organization_id, email, email_key, role, state, lifetime, invited_by, \
    accepted_by, created_at, expires_at FROM invitations WHERE token_digest = $1";
/// Above every id.
pub(super) const LAST: &str = "inv_~";
/// By the whole key of the index, as the lists of items are.
pub(super) const LIST: &str = concat!(
    "SELECT id, organization_id, email, email_key, role, state, lifetime, invited_by, accepted_by, created_at, expires_at \
     FROM invitations WHERE (organization_id, id) < ($1, $2) AND (organization_id, id) >= ($1, $3) \
     AND ($4 = '' OR $4 = CASE WHEN state = 'PENDING' AND NOT (",
    lasts_at!("", "$5"),
    ") THEN 'EXPIRED' ELSE state END) ORDER BY organization_id DESC, id DESC LIMIT $6"
);
/// The last row that a page looks at, if there are so many: what has expired is told by the time, and no index knows it.
pub(super) const EDGE: &str = "SELECT id FROM invitations \
    WHERE (organization_id, id) < ($1, $2) AND (organization_id, id) >= ($1, '') \
    ORDER BY organization_id DESC, id DESC LIMIT 1 OFFSET $3";
pub(super) const EXPIRE: &str = concat!(
    "UPDATE invitations SET state = 'EXPIRED' WHERE organization_id = $1 AND state = 'PENDING' AND NOT (",
    lasts_at!("", "$2"),
    ")"
);
pub(super) const SETTLE: &str = "UPDATE invitations SET state = $2, accepted_by = $3 WHERE id = $1";
pub(super) const REVOKE_ALL: &str = concat!(
    "UPDATE invitations SET state = 'REVOKED' WHERE organization_id = $1 AND state = 'PENDING' AND ",
    lasts_at!("", "$2")
);
pub(super) const ERASE: &str = "DELETE FROM invitations WHERE id IN \
    (SELECT id FROM invitations WHERE organization_id = $1 ORDER BY id LIMIT $2)";
pub(super) const ERASE_MAILS: &str = "DELETE FROM invitation_mails WHERE organization_id = $1";
pub(super) const RENEW: &str =
    "UPDATE invitations SET state = 'PENDING', token_digest = $2, expires_at = $3, invited_by = $4 WHERE id = $1";
pub(super) const COUNT_PENDING: &str = concat!(
    "SELECT COUNT(*), MIN(expires_at) FROM invitations WHERE organization_id = $1 AND state = 'PENDING' AND ",
    lasts_at!("", "$2")
);
pub(super) const PENDING_FOR: &str = concat!(
    "SELECT id FROM invitations WHERE organization_id = $1 AND email_key = $2 AND state = 'PENDING' AND ",
    lasts_at!("", "$3")
);
pub(super) const NOTE_MAIL: &str = "INSERT INTO invitation_mails (organization_id, sent_at, mails) VALUES ($1, $2, 1) \
    ON CONFLICT (organization_id, sent_at) DO UPDATE SET mails = invitation_mails.mails + 1";
pub(super) const COUNT_MAILS: &str = "SELECT CAST(COALESCE(SUM(mails), 0) AS BIGINT), MIN(sent_at) FROM invitation_mails \
    WHERE organization_id = $1 AND sent_at > $2 AND sent_at <= $3";
pub(super) const FORGET_MAILS: &str = "DELETE FROM invitation_mails \
    WHERE organization_id = $1 AND (sent_at <= $2 OR sent_at > $3)";
/// The same as [`names_person`] says, in two parts, each of which an index answers.
pub(super) const NAMING: &str = "SELECT organization_id FROM invitations WHERE accepted_by = $1 AND email <> '' \
    UNION SELECT i.organization_id FROM memberships m JOIN invitations i ON i.email_key = m.email_key \
    WHERE m.user_id = $1 AND m.email_key <> '' AND i.accepted_by IS NULL ORDER BY 1 LIMIT $2";
/// What could still be accepted or sent again is taken back: without an address it reaches nobody.
pub(super) const FORGET_PERSON: &str = concat!(
    "UPDATE invitations SET email = '', email_key = '', \
     state = CASE WHEN state IN ('PENDING', 'EXPIRED') THEN 'REVOKED' ELSE state END WHERE organization_id = $2 AND ",
    names_person!()
);

/// Invitations to an address that are nobody's else: its holder may be another one by now, who has accepted some.
pub(super) const NAMING_ADDRESS: &str = "SELECT DISTINCT organization_id FROM invitations WHERE email_key = $2 \
    AND (accepted_by IS NULL OR accepted_by = $1) ORDER BY organization_id LIMIT $3";
/// Takes back what could still be accepted, as [`FORGET_PERSON`] does.
pub(super) const FORGET_ADDRESS: &str = "UPDATE invitations SET email = '', email_key = '', \
    state = CASE WHEN state IN ('PENDING', 'EXPIRED') THEN 'REVOKED' ELSE state END \
    WHERE organization_id = $3 AND email_key = $2 AND (accepted_by IS NULL OR accepted_by = $1) RETURNING invited_by";

/// Adds an invitation whose token has this digest.
pub async fn insert(tx: &mut Tx, row: &InvitationRow, digest: &TokenDigest) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(INSERT)
        .bind(row.id)
        .bind(row.organization_id)
        .bind(&row.email)
        .bind(&row.email_key)
        .bind(row.role)
        .bind(&row.state)
        .bind(digest.as_bytes())
        .bind(row.lifetime)
        .bind(row.invited_by)
        .bind(row.created_at)
        .bind(row.expires_at)
        .execute(c)
        .await?
        .rows_affected()))
}

/// The invitation with this id.
pub async fn by_id(tx: &mut Tx, id: InvitationId) -> Result<Option<InvitationRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(BY_ID).bind(id).fetch_optional(c).await?))
}

/// The invitation whose present token has this digest.
pub async fn by_token(tx: &mut Tx, digest: &TokenDigest) -> Result<Option<InvitationRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(BY_TOKEN).bind(digest.as_bytes()).fetch_optional(c).await?))
}

/// What was found of a page.
#[derive(Clone, Debug)]
pub struct Found {
    /// The invitations, the latest first.
    pub rows: Vec<InvitationRow>,
    /// The last invitation that was looked at, where there may be more behind it.
    pub edge: Option<InvitationId>,
}

/// Up to `limit` invitations that match, the latest first, before the given one. Looks at no more than `scan` of them, however
/// few match.
pub async fn list(
    tx: &mut Tx,
    filter: &Filter,
    before: Option<InvitationId>,
    (limit, scan): (i64, i64),
) -> Result<Found, DbError> {
    let before = before.map_or_else(|| LAST.to_owned(), |id| id.to_string());
    let edge: Option<InvitationId> = if filter.state.is_some() {
        on!(tx, c => sqlx::query_scalar(EDGE)
            .bind(filter.organization).bind(&before).bind(scan - 1).fetch_optional(c).await?)
    } else {
        None
    };
    let last = edge.map_or_else(String::new, |id| id.to_string());
    let state = filter.state.map_or("", State::as_str);
    let rows = on!(tx, c => sqlx::query_as(LIST)
        .bind(filter.organization)
        .bind(&before)
        .bind(&last)
        .bind(state)
        .bind(filter.now)
        .bind(limit)
        .fetch_all(c)
        .await?);
    Ok(Found { rows, edge })
}

/// Writes down which invitations of an organization have expired.
pub async fn expire(tx: &mut Tx, organization: OrganizationId, now: Timestamp) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(EXPIRE).bind(organization).bind(now).execute(c).await?.rows_affected());
    Ok(())
}

/// Writes an invitation's new state, and who accepted it.
pub async fn settle(tx: &mut Tx, id: InvitationId, state: State, accepted_by: Option<UserId>) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(SETTLE)
        .bind(id)
        .bind(state.as_str())
        .bind(accepted_by)
        .execute(c)
        .await?
        .rows_affected()))
}

/// Takes back every invitation of an organization that is pending. What has expired is written down as that, or an invitation
/// that a clock far ahead made would be pending again in the time that was its own by it, after an undeletion.
pub async fn revoke_all(tx: &mut Tx, organization: OrganizationId, now: Timestamp) -> Result<(), DbError> {
    expire(tx, organization, now).await?;
    on!(tx, c => sqlx::query(REVOKE_ALL).bind(organization).bind(now).execute(c).await?.rows_affected());
    Ok(())
}

/// Erases up to `limit` invitations of an organization; says how many.
pub async fn erase(tx: &mut Tx, organization: OrganizationId, limit: i64) -> Result<u64, DbError> {
    Ok(on!(tx, c => sqlx::query(ERASE).bind(organization).bind(limit).execute(c).await?.rows_affected()))
}

/// Forgets when an organization mailed invitations, which is of a day at most.
pub async fn erase_mails(tx: &mut Tx, organization: OrganizationId) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(ERASE_MAILS).bind(organization).execute(c).await?.rows_affected());
    Ok(())
}

/// Makes an invitation pending with another token, and with the deadline and the inviter that the row has.
pub async fn renew(tx: &mut Tx, row: &InvitationRow, digest: &TokenDigest) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(RENEW)
        .bind(row.id)
        .bind(digest.as_bytes())
        .bind(row.expires_at)
        .bind(row.invited_by)
        .execute(c)
        .await?
        .rows_affected()))
}

/// How many invitations of an organization are pending, and when the first of them expires.
pub async fn pending(
    tx: &mut Tx,
    organization: OrganizationId,
    now: Timestamp,
) -> Result<(u32, Option<Timestamp>), DbError> {
    let (rows, first): (i64, Option<Timestamp>) =
        on!(tx, c => sqlx::query_as(COUNT_PENDING).bind(organization).bind(now).fetch_one(c).await?);
    Ok((count(rows), first))
}

/// The pending invitation for a case-folded address.
pub async fn pending_for(
    tx: &mut Tx,
    organization: OrganizationId,
    email_key: &str,
    now: Timestamp,
) -> Result<Option<InvitationId>, DbError> {
    let row: Option<(InvitationId,)> = on!(tx, c => sqlx::query_as(PENDING_FOR)
        .bind(organization)
        .bind(email_key)
        .bind(now)
        .fetch_optional(c)
        .await?);
    Ok(row.map(|(id,)| id))
}

/// Counts one more mail at `now`, and forgets those up to `since`, and those that a clock noted which was ahead.
pub async fn note_mail(
    tx: &mut Tx,
    organization: OrganizationId,
    now: Timestamp,
    since: Timestamp,
) -> Result<(), DbError> {
    on!(&mut *tx, c => sqlx::query(FORGET_MAILS)
        .bind(organization)
        .bind(since)
        .bind(now.saturating_add(CLOCKS_APART))
        .execute(c)
        .await?
        .rows_affected());
    exactly_one(on!(tx, c => sqlx::query(NOTE_MAIL).bind(organization).bind(now).execute(c).await?.rows_affected()))
}

/// How many invitations an organization has mailed after `since`, and when the first of them. What a clock noted that was
/// ahead of `now` says nothing.
pub async fn mails_after(
    tx: &mut Tx,
    organization: OrganizationId,
    since: Timestamp,
    now: Timestamp,
) -> Result<(u32, Option<Timestamp>), DbError> {
    let (rows, first): (i64, Option<Timestamp>) = on!(tx, c => sqlx::query_as(COUNT_MAILS)
        .bind(organization)
        .bind(since)
        .bind(now.saturating_add(CLOCKS_APART))
        .fetch_one(c)
        .await?);
    Ok((count(rows), first))
}

/// Up to `limit` organizations with invitations that have an address which somebody joined with, in the order of their ids.
pub async fn naming(tx: &mut Tx, user: UserId, limit: i64) -> Result<Vec<OrganizationId>, DbError> {
    Ok(on!(tx, c => sqlx::query_scalar(NAMING).bind(user).bind(limit).fetch_all(c).await?))
}

/// Takes the addresses that somebody joined with out of the invitations of an organization; what could still be accepted is taken back.
pub async fn forget_person(tx: &mut Tx, organization: OrganizationId, user: UserId) -> Result<(), DbError> {
    on!(tx, c => sqlx::query(FORGET_PERSON).bind(user).bind(organization).execute(c).await?.rows_affected());
    Ok(())
}

/// Up to `limit` organizations with invitations to an address, but for what somebody other than this one has accepted, in the
/// order of their ids.
pub async fn naming_address(
    tx: &mut Tx,
    user: UserId,
    email_key: &str,
    limit: i64,
) -> Result<Vec<OrganizationId>, DbError> {
    Ok(on!(tx, c => sqlx::query_scalar(NAMING_ADDRESS).bind(user).bind(email_key).bind(limit).fetch_all(c).await?))
}

/// Takes an address out of these of an organization; what could still be accepted is taken back. Who had sent them.
pub async fn forget_address(
    tx: &mut Tx,
    organization: OrganizationId,
    user: UserId,
    email_key: &str,
) -> Result<Vec<UserId>, DbError> {
    Ok(on!(tx, c => sqlx::query_scalar(FORGET_ADDRESS)
        .bind(user)
        .bind(email_key)
        .bind(organization)
        .fetch_all(c)
        .await?))
}
