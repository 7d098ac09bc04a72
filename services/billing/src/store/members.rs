//! Memberships, as organization's events told them.

use std::collections::HashMap;

use bursar_db::{DbError, Tx, on};
use bursar_id::{OrganizationId, OwnerId, Role, UserId};

use super::{pairs, sql, unreadable};
use crate::domain::Membership;

#[derive(sqlx::FromRow)]
struct MemberRow {
    organization_id: OrganizationId,
    user_id: UserId,
    role: Option<Role>,
    version: i64,
}

/// What the events last said of these users in these organizations.
pub(crate) async fn named(
    tx: &mut Tx,
    members: &[(OwnerId, UserId)],
) -> Result<HashMap<(OwnerId, UserId), Membership>, DbError> {
    let rows: Vec<MemberRow> = match tx {
        Tx::Sqlite(t) => {
            sqlx::query_as(sql::MEMBERS_NAMED.sqlite).bind(pairs::json(members)).fetch_all(&mut **t).await?
        }
        Tx::Postgres(t) => {
            let (organizations, users) = pairs::columns(members);
            sqlx::query_as(sql::MEMBERS_NAMED.postgres).bind(organizations).bind(users).fetch_all(&mut **t).await?
        }
    };
    rows.into_iter()
        .map(|row| {
            let version = u64::try_from(row.version).map_err(unreadable)?;
            let key = (OwnerId::Organization(row.organization_id), row.user_id);
            Ok((key, Membership { role: row.role, version }))
        })
        .collect()
}

/// Remembers a membership event; an older version than the known one changes nothing.
pub(crate) async fn save(
    tx: &mut Tx,
    organization: OrganizationId,
    user: UserId,
    membership: Membership,
) -> Result<(), DbError> {
    let version = i64::try_from(membership.version).unwrap_or(i64::MAX);
    on!(tx, c => sqlx::query(sql::SAVE_MEMBER)
        .bind(organization).bind(user).bind(membership.role).bind(version)
        .execute(c).await?.rows_affected());
    Ok(())
}
