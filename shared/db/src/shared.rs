//! The tables that every service's store has, as one set of migrations: `shared/db/migrations`.
//!
//! They have a history of their own, kept in a table of its own, so that a shared table and a service's table can change
//! in any order. [`crate::Db::migrate`] applies them in front of the service's own set. What each table is for is said
//! in the SQL; its statements live in the crate that owns it (requests: [`crate::idempotency`]; audit:
//! [`crate::audit`]; outbox, cursors and events set aside: `bursar-events`; members and policies: `bursar-members`; jobs:
//! `bursar-jobs`; clock: [`crate::Db::use_at`]).

use sqlx::migrate::Migrator;

use crate::Engine;

/// The oldest version of the shared tables that this program can migrate from.
pub(crate) const OLDEST: i64 = 1;

static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");

/// The shared migrations for one engine.
pub(crate) fn of(engine: Engine) -> &'static Migrator {
    match engine {
        Engine::Sqlite => &SQLITE,
        Engine::Postgres => &POSTGRES,
    }
}
