//! Rows of `foundings`: organizations that wait for their creator's plan, and what it takes to finish or undo them.

use bursar_db::{DbError, Tx, exactly_one, on};
use bursar_id::{OrganizationId, UserId};

use super::seats;

/// One that waits.
#[derive(Clone, Debug, PartialEq, Eq, sqlx::FromRow)]
pub struct FoundingRow {
    /// The organization.
    pub organization_id: OrganizationId,
    /// Who creates it: its owner, whose plan it gets.
    pub creator: UserId,
    /// The session in which it is created.
    pub session: String,
    /// The session's branch; empty for a token without one.
    pub branch: String,
    /// Who acts, as the audit log has it.
    pub actor: String,
    /// For whom, if it is for somebody else.
    pub on_behalf_of: Option<String>,
    /// By which RPC.
    pub method: String,
    /// Under which id of the caller's.
    pub request_id: Option<String>,
    /// Whose request ids these are.
    pub scope: Option<String>,
}

pub(super) const INSERT: &str = "INSERT INTO foundings (organization_id, creator, session, branch, actor, on_behalf_of, \
    method, request_id, scope) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
pub(super) const FIND: &str = "SELECT organization_id, creator, session, branch, actor, on_behalf_of, method, \
    request_id, scope FROM foundings WHERE organization_id = $1";
pub(super) const TAKE: &str = "DELETE FROM foundings WHERE organization_id = $1 RETURNING organization_id, creator, \
    session, branch, actor, on_behalf_of, method, request_id, scope";
/// In this order: what refers to the organization, the organization, what it referred to.
pub(super) const ERASE: [&str; 3] = [
    "DELETE FROM memberships WHERE organization_id = $1",
    "DELETE FROM organizations WHERE id = $1",
    "DELETE FROM slugs WHERE organization_id = $1",
];

/// Remembers an organization that waits.
pub async fn insert(tx: &mut Tx, row: &FoundingRow) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query(INSERT)
        .bind(row.organization_id)
        .bind(row.creator)
        .bind(&row.session)
        .bind(&row.branch)
        .bind(&row.actor)
        .bind(&row.on_behalf_of)
        .bind(&row.method)
        .bind(&row.request_id)
        .bind(&row.scope)
        .execute(c)
        .await?
        .rows_affected()))
}

/// One that waits still.
pub async fn find(tx: &mut Tx, organization: OrganizationId) -> Result<Option<FoundingRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(FIND).bind(organization).fetch_optional(c).await?))
}

/// It waits no longer: what was remembered of it.
pub async fn take(tx: &mut Tx, organization: OrganizationId) -> Result<Option<FoundingRow>, DbError> {
    Ok(on!(tx, c => sqlx::query_as(TAKE).bind(organization).fetch_optional(c).await?))
}

/// Erases an organization that nobody could use, with its owner's membership and its slug. Its row is locked.
pub async fn erase(tx: &mut Tx, organization: OrganizationId) -> Result<(), DbError> {
    seats::forget(tx, organization).await?;
    for statement in ERASE {
        on!(&mut *tx, c => sqlx::query(statement).bind(organization).execute(c).await?.rows_affected());
    }
    Ok(())
}
