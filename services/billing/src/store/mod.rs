//! Every SQL statement of billing, and the rows they read and write.
//!
//! A function here is a statement, never a decision; the hot ones take slices and are one round
//! trip however long the slice. Functions take the transaction they run in.

pub(crate) mod accounts;
mod bulk;
pub(crate) mod catalogs;
pub(crate) mod contracts;
pub(crate) mod details;
#[cfg(test)]
mod distribution;
pub(crate) mod due;
pub(crate) mod former;
pub(crate) mod holds;
pub(crate) mod included;
pub(crate) mod installation;
pub(crate) mod invoices;
mod json;
mod keys;
pub(crate) mod ledger;
pub(crate) mod limits;
pub(crate) mod lots;
pub(crate) mod members;
pub(crate) mod methods;
pub(crate) mod payments;
pub(crate) mod projects;
pub(crate) mod purchases;
pub(crate) mod refused_moves;
mod rollovers;
mod scopes;
pub(crate) mod settings;
#[macro_use]
mod sql;
mod sql_one;
mod sql_write;
pub(crate) mod subscriptions;
#[cfg(test)]
mod tests;
pub(crate) mod top_ups;
pub(crate) mod usage;
pub(crate) mod waivers;
pub(crate) mod webhooks;
pub(crate) mod whereabouts;
pub(crate) mod write;
mod write_one;
pub(crate) mod years;

use bursar_db::{DbError, Migrations, column};

use crate::domain::{Unreadable, UnreadableEntry};

static SQLITE: sqlx::migrate::Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: sqlx::migrate::Migrator = sqlx::migrate!("migrations/postgres");

/// Billing's migrations for both engines.
pub(crate) const MIGRATIONS: Migrations = Migrations::new(&SQLITE, &POSTGRES);

/// A stored entry that this program cannot read.
pub(crate) fn unreadable_entry(error: UnreadableEntry) -> DbError {
    unreadable_form(error.why, error)
}

/// A stored form that this program cannot read, for one of two reasons; `what` says which form and why.
fn unreadable_form(why: Unreadable, what: impl std::fmt::Display) -> DbError {
    match why {
        Unreadable::NewerFormat => DbError::NewerFormat { what: what.to_string() },
        Unreadable::Malformed(_) => unreadable(what),
    }
}

/// A stored value that this program cannot have written.
fn unreadable(error: impl std::fmt::Display) -> DbError {
    DbError::corrupt(error.to_string())
}
