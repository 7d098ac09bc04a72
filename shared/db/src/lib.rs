//! One way to a database for every service: [`Db`] and [`Tx`] over SQLite and PostgreSQL.
//!
//! What lives here: opening a store, turns at its connections ([`Asker`]), transactions, errors with stable constraint names, idempotent requests
//! ([`idempotency`]), the audit log ([`audit`]), forgetting in portions ([`forget_before`]), the database's own time
//! ([`Db::compare`]), migrations with their window ([`Migrations`], [`Part`]) and those of the tables that every service has
//! (`shared/db/migrations`).
//! What must not: any table or rule of one service. Statements live in each service's `store`.
//!
//! The set of engines is closed, so it is an enum and not a trait. One SQL text serves both engines
//! (`$1` parameters, `ON CONFLICT … RETURNING`), and [`on!`] expands one expression for each:
//!
//! ```
//! use bursar_db::{DbError, Tx, exactly_one, on};
//!
//! async fn rename(tx: &mut Tx, id: &str, name: &str) -> Result<(), DbError> {
//!     const RENAME: &str = "UPDATE organizations SET name = $2 WHERE id = $1";
//!     exactly_one(on!(tx, c => sqlx::query(RENAME).bind(id).bind(name).execute(c).await?.rows_affected()))
//! }
//! ```
//!
//! Transactions are linear: [`Db::begin`] … [`Tx::commit`]; dropping one rolls it back. After a statement
//! has failed, drop the transaction: PostgreSQL has aborted it, and answers a later commit with a rollback.

mod asker;
pub mod audit;
mod clock;
mod db;
mod error;
mod held;
pub mod idempotency;
mod limited;
mod local;
mod migrations;
mod options;
mod places;
mod portions;
mod quiet;
mod schema;
mod shared;
mod turns;
mod tx;
mod url;

pub use asker::Asker;
pub use clock::Comparison;
pub use db::Db;
pub use error::{ConflictKind, DbError, exactly_one};
pub use held::{Held, Speaks};
pub use limited::{Limited, Remote};
pub use local::Local;
pub use migrations::Migrations;
pub use options::PoolOptions;
pub use places::Crowd;
pub use portions::{forget_before, in_portions};
pub use schema::Part;
pub use turns::Turns;
pub use tx::Tx;
pub use url::{StoreUrl, StoreUrlError};

/// One column of a table's rows, as statements over many rows are given them.
pub fn column<R, T>(rows: &[R], of: impl Fn(&R) -> T) -> Vec<T> {
    rows.iter().map(of).collect()
}

/// Which database a store is kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Engine {
    /// One file, one writer, many readers.
    Sqlite,
    /// A server shared by several replicas.
    Postgres,
}

impl std::fmt::Display for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
        })
    }
}

/// Evaluates one expression on whichever engine a [`Tx`] is on: `on!(tx, c => query.execute(c).await?)`.
///
/// `$c` is the connection (`&mut SqliteConnection` or `&mut PgConnection`); both arms must have one type.
#[macro_export]
macro_rules! on {
    ($tx:expr, $c:ident => $e:expr) => {
        match $tx {
            $crate::Tx::Sqlite(t) => {
                let $c = &mut **t;
                $e
            }
            $crate::Tx::Postgres(t) => {
                let $c = &mut **t;
                $e
            }
        }
    };
}
