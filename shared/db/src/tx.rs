//! A transaction on either engine.

use std::any::Any;

use sqlx::{Postgres, Sqlite};

use crate::held::Held;
use crate::limited::Word;
use crate::{DbError, Engine};

/// A transaction. Ends with [`Tx::commit`]; dropping it rolls it back.
#[derive(Debug)]
pub enum Tx {
    /// On SQLite: of the single writing connection, or of a reading one.
    Sqlite(Held<Sqlite>),
    /// On PostgreSQL.
    Postgres(Held<Postgres>),
}

impl Tx {
    /// Makes everything the transaction wrote durable, or nothing of it.
    ///
    /// Deferred constraints are checked here, so this can answer [`DbError::Conflict`]. When the connection is
    /// lost meanwhile ([`DbError::Unavailable`]) nobody knows whether it took effect: that is what request ids are for.
    pub async fn commit(self) -> Result<(), DbError> {
        match self {
            Self::Sqlite(t) => t.end(Word::Commit, "COMMIT").await,
            Self::Postgres(t) => t.end(Word::Commit, "COMMIT").await,
        }
        .map_err(DbError::from)
    }

    /// Undoes everything now. Dropping does the same a moment later; use this where the next step needs the
    /// connection or the locks back.
    pub async fn rollback(self) -> Result<(), DbError> {
        match self {
            Self::Sqlite(t) => t.end(Word::Light, "ROLLBACK").await,
            Self::Postgres(t) => t.end(Word::Light, "ROLLBACK").await,
        }
        .map_err(DbError::from)
    }

    /// The same transaction, which keeps something until it has ended: a place, say, that others wait for. Whoever gives the
    /// transaction up in the midst of a statement gives it back when that statement is over, and not before.
    #[must_use]
    pub fn keeping(mut self, what: impl Any + Send + Sync) -> Self {
        match &mut self {
            Self::Sqlite(t) => t.keep(Box::new(what)),
            Self::Postgres(t) => t.keep(Box::new(what)),
        }
        self
    }

    /// The engine this transaction runs on, for the few statements that differ.
    pub fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }
}
