//! Reading rows by their owners, in one statement however many.

use bursar_db::{Db, DbError, Limited, Tx};
use sqlx::{Postgres, Sqlite};

use crate::json;

/// An owner's bytes, and what is stored of it.
pub(crate) type Row = (Vec<u8>, String);

/// A statement that gives the rows of the owners whose bytes are its one parameter: for SQLite a list in JSON, for
/// PostgreSQL an array.
pub(crate) struct Named {
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
}

impl Named {
    /// In a transaction.
    pub(crate) async fn of(&self, tx: &mut Tx, owners: Vec<Vec<u8>>) -> Result<Vec<Row>, DbError> {
        match tx {
            Tx::Sqlite(t) => self.of_sqlite(&mut *t, owners).await,
            Tx::Postgres(t) => self.of_postgres(&mut *t, owners).await,
        }
    }

    /// Outside of any.
    pub(crate) async fn of_now(&self, db: &Db, owners: Vec<Vec<u8>>) -> Result<Vec<Row>, DbError> {
        match db {
            Db::Sqlite { read, .. } => self.of_sqlite(&mut read.acquire().await?, owners).await,
            Db::Postgres(pool) => self.of_postgres(&mut pool.acquire().await?, owners).await,
        }
    }

    async fn of_sqlite(&self, connection: &mut Limited<Sqlite>, owners: Vec<Vec<u8>>) -> Result<Vec<Row>, DbError> {
        let owners = json::list(owners.iter().map(Vec::as_slice));
        Ok(sqlx::query_as(self.sqlite).bind(owners).fetch_all(connection).await?)
    }

    async fn of_postgres(&self, connection: &mut Limited<Postgres>, owners: Vec<Vec<u8>>) -> Result<Vec<Row>, DbError> {
        Ok(sqlx::query_as(self.postgres).bind(owners).fetch_all(connection).await?)
    }
}
