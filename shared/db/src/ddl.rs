//! The tables that several services have, one text for each engine.
//!
//! A service copies the ones it uses into its first migration, word for word; this is the copy they are checked
//! against. What each is for is said in the SQL.

use std::sync::LazyLock;

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};

use crate::Migrations;

/// The shared tables for SQLite.
pub const SQLITE: &str = include_str!("../ddl/sqlite.sql");

/// The shared tables for PostgreSQL.
pub const POSTGRES: &str = include_str!("../ddl/postgres.sql");

/// The shared tables alone, as migrations: for tests of what uses them without any service.
pub fn migrations() -> Migrations {
    static FOR_SQLITE: LazyLock<Migrator> = LazyLock::new(|| single(SQLITE));
    static FOR_POSTGRES: LazyLock<Migrator> = LazyLock::new(|| single(POSTGRES));
    Migrations::new(&FOR_SQLITE, &FOR_POSTGRES)
}

fn single(sql: &'static str) -> Migrator {
    Migrator::with_migrations(vec![Migration::new(
        1,
        "shared tables".into(),
        MigrationType::Simple,
        sql.into_sql_str(),
        false,
    )])
}
