//! A pool of connections to a file.

use std::ops::Deref;

use sqlx::sqlite::SqlitePool;
use sqlx::{Error, Sqlite};

use crate::Asker;
use crate::limited::{Limited, Limits};
use crate::places::Places;

/// A pool of connections to SQLite, for which everybody takes turns.
#[derive(Debug, Clone)]
pub struct Local {
    pool: SqlitePool,
    places: Places,
    /// For whom connections are taken; `None`: for whom the task works.
    of: Option<Asker>,
}

impl Local {
    pub(crate) fn new(pool: SqlitePool) -> Self {
        let places = Places::new(pool.options().get_max_connections());
        Self { pool, places, of: None }
    }

    /// The same pool, whose connections are taken for this one.
    pub(crate) fn by(&self, of: Asker) -> Self {
        Self { of: Some(of), ..self.clone() }
    }

    /// A connection, once it is the turn of whom this task works for.
    pub async fn acquire(&self) -> Result<Limited<Sqlite>, Error> {
        let within = self.pool.options().get_acquire_timeout();
        tokio::time::timeout(within, self.take()).await.unwrap_or(Err(Error::PoolTimedOut))
    }

    async fn take(&self) -> Result<Limited<Sqlite>, Error> {
        let place = self.places.take(self.of.unwrap_or_else(Asker::current), &self.pool).await?;
        Ok(Limited::new(self.pool.acquire().await?, Some(place), Limits::none()))
    }

    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    /// The pool itself: its options and its end.
    pub fn pool(&self) -> &SqlitePool {
        &self.pool
    }
}

impl Deref for Local {
    type Target = SqlitePool;

    fn deref(&self) -> &SqlitePool {
        &self.pool
    }
}
