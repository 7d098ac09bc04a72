//! How many connections a store may use and how long one waits for them.

use std::time::Duration;

/// Sizes and limits of a store's connection pools.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolOptions {
    /// PostgreSQL: most connections of this process to the store.
    pub max_connections: u32,
    /// SQLite: connections for reading, beside the one that writes.
    pub read_connections: u32,
    /// How long [`crate::Db::begin`] and [`crate::Db::read`] wait for a connection before they answer
    /// [`crate::DbError::Unavailable`], turns of others included. On SQLite it is also how long a lock of another process is waited for.
    pub acquire_timeout: Duration,
    /// PostgreSQL: a statement that runs longer is cancelled by the server. Migrations are exempt.
    pub statement_timeout: Duration,
    /// Prepared statements kept for each connection. Should exceed the number of statements the service has.
    pub statement_cache: usize,
    /// PostgreSQL: plans never scan a whole table where an index can answer, and are made once. For a store whose every statement is
    /// written to go by an index: a plan is cached for long, and one that was made while a table was empty or its
    /// statistics were missing would otherwise keep scanning it after it has grown. What no index answers is scanned all the same
    /// (how many jobs there are of each kind), and not compiled first.
    pub index_plans: bool,
    /// PostgreSQL: shown in `pg_stat_activity`, so that an operator sees whose connection it is.
    pub application_name: String,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            max_connections: 16,
            read_connections: 4,
            acquire_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            statement_cache: 512,
            index_plans: false,
            application_name: "bursar".to_owned(),
        }
    }
}
