//! Every SQL statement of organization, one function each: statements, never decisions.
//!
//! One text serves both engines unless the function shows a `match`. Locks are taken in one order everywhere: the request id,
//! the person, the organization, then what hangs on it. Of organizations at most one is locked in a transaction; several may
//! be held by shared locks ([`standings::hold`]), by which nobody waits for another who holds. The lock on the organization's
//! row covers its members, its invitations and their counts; after it come the counts of a sender's mails, then an address'
//! and then a network address', and, where a creation is withdrawn ([`foundings`]), its creator's count and then its request
//! id: whoever repeats that call holds the id and locks no organization that there is already. The lock on a library's row
//! covers its items, what they take and what of them is being erased; of two libraries the one with the lesser owner's id is
//! locked first. After it come the objects that owners share, in the order of their SHA-256.

pub mod audit;
pub mod avatars;
pub mod contents;
pub mod erasures;
pub mod foundings;
pub mod invitations;
pub mod items;
pub mod libraries;
pub mod mail_counts;
pub mod memberships;
pub mod nominations;
pub mod objects;
pub mod organizations;
pub mod preferences;
pub mod projects;
pub mod seats;
pub mod slugs;
pub mod standings;
pub mod users;

#[cfg(test)]
mod ends_tests;
#[cfg(test)]
mod erasure_tests;
#[cfg(test)]
mod page_tests;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod tests;

use bursar_db::{DbError, Migrations, PoolOptions};

/// The schema of both engines.
pub static MIGRATIONS: Migrations =
    Migrations::new(&sqlx::migrate!("migrations/sqlite"), &sqlx::migrate!("migrations/postgres"));

/// How the store is opened. Each request of the product waits for a check of access, and no plan of one may be left of the time
/// when there were a few members.
pub fn options(base: PoolOptions) -> PoolOptions {
    PoolOptions { index_plans: true, ..base }
}

/// A stored value that this program cannot have written.
fn unreadable(error: impl std::fmt::Display) -> DbError {
    DbError::corrupt(error.to_string())
}

/// A list of ids, as SQLite takes it.
fn json<K: ToString>(ids: &[K]) -> Result<String, DbError> {
    let ids: Vec<String> = ids.iter().map(ToString::to_string).collect();
    serde_json::to_string(&ids).map_err(unreadable)
}

/// A count, as the rules take it.
fn count(rows: i64) -> u32 {
    u32::try_from(rows).unwrap_or(u32::MAX)
}
