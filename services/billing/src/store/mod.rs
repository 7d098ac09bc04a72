//! Every SQL statement of billing, and the rows they read and write.
//!
//! A function here is a statement, never a decision; the hot ones take slices and are one round
//! trip however long the slice. Functions take the transaction they run in.

pub(crate) mod accounts;
mod bulk;
pub(crate) mod holds;
mod json;
pub(crate) mod ledger;
pub(crate) mod lots;
mod pairs;
pub(crate) mod purchases;
mod sql;
pub(crate) mod subscriptions;
#[cfg(test)]
mod tests;
pub(crate) mod usage;

use bursar_db::{DbError, Migrations};

static SQLITE: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: sqlx::migrate::Migrator = sqlx::migrate!("migrations/postgres");

/// Billing's migrations for both engines.
pub(crate) const MIGRATIONS: Migrations = Migrations::new(&SQLITE, &POSTGRES);

/// A stored value that this program cannot have written.
fn unreadable(error: impl std::fmt::Display) -> DbError {
    DbError::corrupt(error.to_string())
}
