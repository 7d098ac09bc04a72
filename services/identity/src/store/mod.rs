//! Every SQL statement of identity, one function each: statements, never decisions.
//!
//! One text serves both engines unless the function shows a `match`. Locks are taken in one order
//! everywhere: throttles, then the user, then the session, then its tokens.

pub mod belongings;
pub mod branches;
pub mod keys;
pub mod listing;
pub mod places;
pub mod preferences;
pub mod prune;
pub mod service_accounts;
pub mod sessions;
pub mod suspensions;
pub mod throttles;
pub mod users;
pub mod verifications;

#[cfg(test)]
mod ends_tests;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
pub(crate) mod tests;

use bursar_db::{Migrations, PoolOptions};

/// The schema of both engines.
pub static MIGRATIONS: Migrations =
    Migrations::new(&sqlx::migrate!("migrations/sqlite"), &sqlx::migrate!("migrations/postgres"));

/// How the store is opened. Whoever signs in or refreshes a token waits for it, and no plan of that may be left of the time when
/// there were a few users.
pub fn options(base: PoolOptions) -> PoolOptions {
    PoolOptions { index_plans: true, ..base }
}
