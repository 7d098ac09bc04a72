//! Users page by page, each with the suspension, if there is one.

use bursar_db::{DbError, Tx, on};
use bursar_time::Timestamp;

use super::suspensions::SuspensionRow;
use super::users::UserRow;

/// A user in a list.
#[derive(Clone, sqlx::FromRow)]
pub struct ListedRow {
    /// The user.
    #[sqlx(flatten)]
    pub user: UserRow,
    /// Since when the user is suspended.
    pub suspended_since: Option<Timestamp>,
    /// What the operator said about it.
    pub suspension_reason: Option<String>,
}

impl ListedRow {
    /// The suspension, if there is one.
    pub fn suspension(&self) -> Option<SuspensionRow> {
        let reason = self.suspension_reason.clone().unwrap_or_default();
        self.suspended_since.map(|since| SuspensionRow { since, reason })
    }
}

/// Which users to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    /// All of them.
    All,
    /// Whose address nobody has proven.
    Unproven,
    /// Whom an operator has suspended.
    Suspended,
    /// Whose account is about to be deleted.
    Leaving,
    /// Whose case-folded address begins so.
    Address(String),
}

/// After every character that an address has.
const LAST: char = '\u{7f}';

macro_rules! listed {
    ($joined:literal, $which:literal) => {
        concat!(
            "SELECT u.id, u.email, u.email_key, u.email_verified_at, u.password_hash, u.display_name, u.sign_ups, \
             u.version, u.created_at, u.updated_at, u.leaving_since, u.departures, \
             s.since AS suspended_since, s.reason AS suspension_reason FROM ",
            $joined,
            " WHERE ",
            $which
        )
    };
    ($which:literal) => {
        listed!("users u LEFT JOIN suspensions s ON s.user_id = u.id AND s.since IS NOT NULL", $which)
    };
}

/// Those who are suspended are read from the same place on: PostgreSQL merges the two, and would begin with the first of them.
pub(super) const ALL: &str = listed!(
    "users u LEFT JOIN suspensions s ON s.user_id = u.id AND s.user_id > $1 AND s.since IS NOT NULL",
    "u.id > $1 ORDER BY u.id LIMIT $2"
);
pub(super) const UNPROVEN: &str = listed!("u.id > $1 AND u.email_verified_at IS NULL ORDER BY u.id LIMIT $2");
pub(super) const LEAVING: &str = listed!("u.id > $1 AND u.leaving_since IS NOT NULL ORDER BY u.id LIMIT $2");
pub(super) const SUSPENDED: &str = listed!(
    "suspensions s JOIN users u ON u.id = s.user_id",
    "s.user_id > $1 AND s.since IS NOT NULL ORDER BY s.user_id LIMIT $2"
);
pub(super) const BY_ADDRESS: &str =
    listed!("u.email_key >= $1 AND u.email_key <> $2 AND u.email_key < $3 ORDER BY u.email_key LIMIT $4");

/// Users after a place (empty for the first), in the order of their ids, or of their addresses where these begin in one way;
/// the place is the one or the other.
pub async fn page(tx: &mut Tx, listed: &Listed, after: &str, limit: i64) -> Result<Vec<ListedRow>, DbError> {
    let statement = match listed {
        Listed::All => ALL,
        Listed::Unproven => UNPROVEN,
        Listed::Suspended => SUSPENDED,
        Listed::Leaving => LEAVING,
        Listed::Address(prefix) => {
            let end = format!("{prefix}{LAST}");
            return Ok(on!(tx, c => sqlx::query_as(BY_ADDRESS)
                .bind(prefix.as_str().max(after))
                .bind(after)
                .bind(end)
                .bind(limit)
                .fetch_all(c)
                .await?));
        }
    };
    Ok(on!(tx, c => sqlx::query_as(statement).bind(after).bind(limit).fetch_all(c).await?))
}

#[cfg(test)]
mod tests;
