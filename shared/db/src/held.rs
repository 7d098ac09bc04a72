//! A connection that is held for one transaction, and what becomes of it afterwards.
//!
//! It goes back to its pool only when the transaction is known to have ended. A connection whose COMMIT or ROLLBACK failed
//! (the disk was full, the server was gone) is in no state that anybody could build on: it is thrown away, and the pool
//! opens another one.

use std::any::Any;
use std::future::Future;
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::time::Duration;

use sqlx::{Database, Postgres, Sqlite};
use tokio::runtime::Handle;

use crate::limited::{Limited, Word};

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

/// What is given back once a transaction has ended.
pub(crate) type Kept = Box<dyn Any + Send + Sync>;

/// A connection with a transaction on it. Dropping it rolls that back a moment later.
#[derive(Debug)]
pub struct Held<DB: Speaks> {
    connection: Option<Limited<DB>>,
    kept: Option<Kept>,
}

impl<DB: Speaks> Held<DB> {
    /// Begins a transaction on a connection. Whoever gives up half-way leaves nothing behind: BEGIN may have
    /// taken effect, and is undone like any other.
    pub(crate) async fn begin(connection: Limited<DB>, statement: &'static str) -> Result<Self, sqlx::Error> {
        let mut held = Self::on(connection);
        held.try_begin(statement).await?;
        Ok(held)
    }

    /// A connection on which a transaction is about to begin.
    pub(crate) fn on(connection: Limited<DB>) -> Self {
        Self { connection: Some(connection), kept: None }
    }

    /// Begins it.
    pub(crate) async fn try_begin(&mut self, statement: &'static str) -> Result<(), sqlx::Error> {
        self.within(Word::Light, async |connection| DB::say(connection, statement).await).await
    }

    /// Keeps something until the transaction has ended, however it does.
    pub(crate) fn keep(&mut self, what: Kept) {
        self.kept = Some(what);
    }

    /// Ends the transaction, one way or the other.
    pub(crate) async fn end(mut self, word: Word, statement: &'static str) -> Result<(), sqlx::Error> {
        let ended = self.within(word, async |connection| DB::say(connection, statement).await).await;
        if let Some(connection) = self.connection.take()
            && ended.is_err()
        {
            connection.throw_away();
        }
        ended
    }
}

impl<DB: Speaks> Deref for Held<DB> {
    type Target = Limited<DB>;

    fn deref(&self) -> &Self::Target {
        match &self.connection {
            Some(connection) => connection,
            None => unreachable!("taken only by who ends it"),
        }
    }
}

impl<DB: Speaks> DerefMut for Held<DB> {
    fn deref_mut(&mut self) -> &mut Self::Target {
        match &mut self.connection {
            Some(connection) => connection,
            None => unreachable!("taken only by who ends it"),
        }
    }
}

impl<DB: Speaks> Drop for Held<DB> {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        let kept = self.kept.take();
        match Handle::try_current() {
            Ok(runtime) if !connection.is_lost() => drop(runtime.spawn(async move {
                // It may have to wait for a statement that somebody gave up: that says nothing about the server. What is kept is kept
                // as long as that statement may take.
                let most = if kept.is_some() { connection.longest() } else { PATIENCE };
                let undo = DB::say(connection.raw(), "ROLLBACK");
                if matches!(tokio::time::timeout(most, undo).await, Ok(Ok(()))) {
                    drop(connection);
                } else {
                    connection.throw_away();
                }
                drop(kept);
            })),
            // On a lost connection nothing is said; without a runtime nobody can say anything any more.
            Ok(_) | Err(_) => connection.throw_away(),
        }
    }
}
