//! A connection that is held for one transaction, and what becomes of it afterwards.
//!
//! It goes back to its pool only when the transaction is known to have ended. A connection whose COMMIT or ROLLBACK failed
//! (the disk was full, the server was gone) is in no state that anybody could build on: it is thrown away, and the pool
//! opens another one.

use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Database, Pool, Postgres, Sqlite};
use tokio::runtime::Handle;

/// How long undoing a transaction may take before the connection is given up.
const PATIENCE: Duration = Duration::from_secs(5);

type Said<'a> = Pin<Box<dyn Future<Output = Result<(), sqlx::Error>> + Send + 'a>>;

/// An engine that can be told to begin and to end a transaction.
pub trait Speaks: Database {
    /// Sends a statement that gives nothing back.
    fn say<'a>(connection: &'a mut Self::Connection, statement: &'static str) -> Said<'a>;
}

impl Speaks for Sqlite {
    fn say<'a>(connection: &'a mut Self::Connection, statement: &'static str) -> Said<'a> {
        Box::pin(async move { sqlx::raw_sql(statement).execute(connection).await.map(drop) })
    }
}

impl Speaks for Postgres {
    fn say<'a>(connection: &'a mut Self::Connection, statement: &'static str) -> Said<'a> {
        Box::pin(async move { sqlx::raw_sql(statement).execute(connection).await.map(drop) })
    }
}

/// A connection with a transaction on it. Dropping it rolls that back a moment later.
#[derive(Debug)]
pub struct Held<DB: Speaks>(Option<PoolConnection<DB>>);

impl<DB: Speaks> Held<DB> {
    /// Takes a connection and begins a transaction on it. Whoever gives up half-way leaves nothing behind: BEGIN may have
    /// taken effect, and is undone like any other.
    pub(crate) async fn begin(pool: &Pool<DB>, statement: &'static str) -> Result<Self, sqlx::Error> {
        let mut held = Self(Some(pool.acquire().await?));
        DB::say(&mut held, statement).await?;
        Ok(held)
    }

    /// Ends the transaction, one way or the other.
    pub(crate) async fn end(mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        let ended = DB::say(&mut self, statement).await;
        if let Some(connection) = self.0.take()
            && ended.is_err()
        {
            throw_away(connection);
        }
        ended
    }
}

impl<DB: Speaks> Deref for Held<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &Self::Target {
        match &self.0 {
            Some(connection) => connection,
            None => unreachable!("taken only by who ends it"),
        }
    }
}

impl<DB: Speaks> DerefMut for Held<DB> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match &mut self.0 {
            Some(connection) => connection,
            None => unreachable!("taken only by who ends it"),
        }
    }
}

impl<DB: Speaks> Drop for Held<DB> {
    fn drop(&mut self) {
        let Some(mut connection) = self.0.take() else { return };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(async move {
                let undone = tokio::time::timeout(PATIENCE, DB::say(&mut connection, "ROLLBACK")).await;
                if !matches!(undone, Ok(Ok(()))) {
                    throw_away(connection);
                }
            })),
            // Without a runtime nobody can say anything any more.
            Err(_) => throw_away(connection),
        }
    }
}

/// Closes a connection without a word: it may not be able to hear one.
fn throw_away<DB: Speaks>(connection: PoolConnection<DB>) {
    drop(connection.detach());
}
