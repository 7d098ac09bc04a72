//! Limits on our side of each step: a server's host that has vanished ends nothing and answers nothing.
//!
//! Every connection that statements run on is a [`Limited`] one. It gives a step up that took too long, says so as an I/O
//! error ([`crate::DbError::Unavailable`]), is never used again, and makes its pool doubt every connection that was opened before
//! then ([`Remote`]): whoever comes next gets a new one. (sqlx opens sockets by itself and offers none of their options.)

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::Stream;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use sqlx::pool::{PoolConnection, PoolConnectionMetadata};
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{Connection as _, Database, Describe, Either, Error, Execute, Executor, Postgres, SqlStr, Sqlite};
use tokio::runtime::Handle;

use crate::Asker;
use crate::places::{Place, Places};
use crate::quiet::{Newest, Quiet};

/// How long a server may take to begin or to undo a transaction: it has nothing to do for it.
pub(crate) const MOMENT: Duration = Duration::from_secs(1);

/// How long making a transaction durable may take. Nobody knows afterwards whether it took effect.
const COMMIT: Duration = Duration::from_secs(10);

/// How long a single statement outside of any transaction may take: none of them is long.
const SINGLE: Duration = Duration::from_secs(5);

/// How much longer we wait for a statement than the server works on it.
const MARGIN: Duration = Duration::from_secs(1);

/// A connection that nobody used for so long is asked for a sign of life first.
const LONG_IDLE: Duration = Duration::from_secs(15);

/// How long opening a connection may take before it is tried anew.
const OPENED_WITHIN: Duration = Duration::from_millis(1_500);

/// Since when a pool's older connections are not to be trusted. Clones are one.
#[derive(Debug, Clone)]
pub(crate) struct Doubts {
    born: Instant,
    /// Milliseconds after `born`; 0: never.
    since: Arc<AtomicU64>,
}

impl Doubts {
    pub(crate) fn none() -> Self {
        Self { born: Instant::now(), since: Arc::default() }
    }

    /// A step took too long just now.
    fn raise(&self) {
        self.since.fetch_max(mark(self.born.elapsed()), Ordering::Relaxed);
    }

    /// Whether a connection of this age was opened before.
    fn concern(&self, age: Duration) -> bool {
        let opened = self.born.elapsed().saturating_sub(age);
        let since = self.since.load(Ordering::Relaxed);
        since > 0 && mark(opened) <= since
    }

    /// For a pool: refuses a connection that is in doubt, and asks one that was idle for long.
    pub(crate) async fn settle(self, connection: &mut PgConnection, of: PoolConnectionMetadata) -> Result<bool, Error> {
        if self.concern(of.age) {
            return Err(gone("it was opened before the server stopped answering"));
        }
        if of.idle_for > LONG_IDLE {
            let asked = tokio::time::timeout(MOMENT, connection.ping()).await;
            asked.unwrap_or_else(|_| Err(gone("it gives no sign of life")))?;
        }
        Ok(true)
    }
}

/// An instant of a pool's life as [`Doubts`] keeps it.
fn mark(after_birth: Duration) -> u64 {
    u64::try_from(after_birth.as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

fn gone(why: &'static str) -> Error {
    Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, why))
}

/// How long each step of a connection may take, as we count.
#[derive(Clone)]
pub(crate) struct Limits {
    /// One statement, all of its rows included; `None`: as long as it likes (SQLite is no peer that could vanish).
    statement: Option<Duration>,
    /// After so long without an answer it is looked after: it may be lost.
    quiet: Option<Quiet>,
    doubts: Option<Doubts>,
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let quiet = self.quiet.as_ref().map(Quiet::after);
        f.debug_struct("Limits").field("statement", &self.statement).field("quiet", &quiet).finish_non_exhaustive()
    }
}

impl Limits {
    /// None: for SQLite.
    pub(crate) const fn none() -> Self {
        Self { statement: None, quiet: None, doubts: None }
    }

    /// Until the step is to be given up.
    fn patience(&self) -> Option<BoxFuture<'static, ()>> {
        let limit = self.statement?;
        let quiet = self.quiet.clone();
        Some(Box::pin(async move {
            let long = tokio::time::sleep(limit);
            match quiet {
                None => long.await,
                Some(quiet) => tokio::select! {
                    () = long => {}
                    () = quiet.until_lost() => {}
                },
            }
        }))
    }
}

/// A pool of connections to PostgreSQL, and what holds for each of them.
#[derive(Debug, Clone)]
pub struct Remote {
    pool: PgPool,
    /// Everybody takes turns for them.
    places: Places,
    /// Within transactions.
    limits: Limits,
    /// Outside of them.
    singles: Limits,
    doubts: Doubts,
    /// What each of its connections is told when it is opened.
    settings: Arc<str>,
    /// What begins a transaction that may write.
    begin: &'static str,
}

impl Remote {
    /// `statement`: how long the server lets one take. `quiet`: see [`crate::Db::dedicated`]. `newest`: who serves the pool's
    /// connection, where it has a single one.
    pub(crate) fn new(
        pool: PgPool,
        (doubts, settings): (Doubts, Arc<str>),
        statement: Duration,
        quiet: Option<Duration>,
        newest: Option<&Newest>,
    ) -> Self {
        let connect = Arc::new((*pool.connect_options()).clone());
        let with = |statement, quiet: Option<Duration>| Limits {
            statement: Some(statement),
            quiet: quiet.map(|after| Quiet::new(after, Arc::clone(&connect), newest.cloned())),
            doubts: Some(doubts.clone()),
        };
        let statement = statement.saturating_add(MARGIN);
        // Where the server ends each statement soon, it says so before anybody here gives up.
        let single = if quiet.is_some() { statement } else { statement.min(SINGLE) };
        let (limits, singles) = (with(statement, quiet), with(single, quiet.or(Some(MOMENT))));
        let places = Places::new(pool.options().get_max_connections());
        Self { pool, places, limits, singles, doubts, settings, begin: "BEGIN" }
    }

    /// Since when connections are in doubt: what other pools to the same server need to know, too.
    pub(crate) fn doubts(&self) -> &Doubts {
        &self.doubts
    }

    /// What each of its connections is told when it is opened.
    pub(crate) fn settings(&self) -> &Arc<str> {
        &self.settings
    }

    /// What begins a transaction that may write.
    pub(crate) fn to_begin(&self) -> &'static str {
        self.begin
    }

    /// The same pool, whose transactions that may write begin otherwise.
    pub(crate) fn beginning(&self, begin: &'static str) -> Self {
        Self { begin, ..self.clone() }
    }

    /// A connection for single statements, outside of any transaction.
    pub async fn acquire(&self) -> Result<Limited<Postgres>, Error> {
        let until = self.patience();
        let place = self.turn(until).await?;
        self.take(place, until, &self.singles).await
    }

    /// The same for a transaction, by whoever has a turn.
    pub(crate) async fn for_transaction(&self, turn: Place, until: Instant) -> Result<Limited<Postgres>, Error> {
        self.take(turn, until, &self.limits).await
    }

    /// Until when somebody waits who comes now.
    pub(crate) fn patience(&self) -> Instant {
        Instant::now() + self.pool.options().get_acquire_timeout()
    }

    /// A place, once it is the turn of whom this task works for.
    pub(crate) async fn turn(&self, until: Instant) -> Result<Place, Error> {
        let turn = self.places.take(Asker::current(), &self.pool);
        tokio::time::timeout_at(until.into(), turn).await.unwrap_or(Err(Error::PoolTimedOut))
    }

    /// A connection that is free, or a new one. A server that accepts one and then says nothing is tried anew; whoever waits for
    /// others to give theirs back keeps waiting.
    async fn take(&self, place: Place, until: Instant, limits: &Limits) -> Result<Limited<Postgres>, Error> {
        let most = self.pool.options().get_max_connections();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Error::PoolTimedOut);
            }
            // Of a single one nobody else has a part: what takes so long is opening it.
            let opening = most == 1 || self.pool.size() < most;
            let within = if opening { left.min(OPENED_WITHIN) } else { left };
            if let Ok(taken) = tokio::time::timeout(within, self.pool.acquire()).await {
                return Ok(Limited::new(taken?, Some(place), limits.clone()));
            }
        }
    }

    pub(crate) fn places(&self) -> &Places {
        &self.places
    }

    /// The pool itself: its options and its end.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }
}

/// A pool's connection whose steps are bounded. One that overran is closed and not given back.
#[derive(Debug)]
pub struct Limited<DB: Database> {
    connection: Option<PoolConnection<DB>>,
    /// Given back with it. On PostgreSQL the next one finds the connection in its pool; on SQLite, where the pool takes it back a
    /// moment later, the next one waits there for as long, and nobody stands before it.
    place: Option<Place>,
    limits: Limits,
    lost: bool,
}

impl<DB: Database> Limited<DB> {
    /// `place`: which its pool has it taken for, where that gives turns.
    pub(crate) fn new(connection: PoolConnection<DB>, place: Option<Place>, limits: Limits) -> Self {
        Self { connection: Some(connection), place, limits, lost: false }
    }

    /// The place, for another connection instead of this one, which is thrown away.
    pub(crate) fn take_place(&mut self) -> Option<Place> {
        self.place.take()
    }

    /// For how long a statement on it may still be under way that somebody gave up.
    pub(crate) fn longest(&self) -> Duration {
        self.limits.statement.unwrap_or(Duration::MAX)
    }

    /// Whether a step took too long: then nothing more is to be said on it.
    pub(crate) fn is_lost(&self) -> bool {
        self.lost
    }

    /// Closes the connection without a word: it may not be able to hear one.
    pub fn throw_away(mut self) {
        self.lost = true;
    }

    /// The connection itself, for a step that is bounded otherwise.
    pub(crate) fn raw(&mut self) -> &mut DB::Connection {
        match &mut self.connection {
            Some(connection) => connection,
            None => unreachable!("taken only when it is dropped"),
        }
    }

    /// A word that begins, ends or undoes a transaction, and how long it may take.
    pub(crate) async fn within<T>(
        &mut self,
        word: Word,
        step: impl AsyncFnOnce(&mut DB::Connection) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let limits = self.limits.clone();
        let Some(doubts) = limits.doubts.clone() else { return step(self.raw()).await };
        let patience = async {
            match word {
                Word::Light => tokio::time::sleep(MOMENT).await,
                Word::Commit => {
                    let limits = Limits { statement: Some(COMMIT), ..limits };
                    if let Some(patience) = limits.patience() {
                        patience.await;
                    }
                }
            }
        };
        let said = tokio::select! {
            biased;
            said = step(self.raw()) => Some(said),
            () = patience => None,
        };
        said.unwrap_or_else(|| {
            self.lost = true;
            doubts.raise();
            Err(gone("the server did not answer in time"))
        })
    }
}

/// What is said around statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Word {
    /// Costs the server nothing.
    Light,
    /// Is as slow as its disk.
    Commit,
}

impl<DB: Database> Drop for Limited<DB> {
    fn drop(&mut self) {
        let Some(mut connection) = self.connection.take() else { return };
        if self.lost {
            drop(connection.detach());
            return;
        }
        // The pool asks for a sign of life before it takes a connection back, and would wait for it for ever.
        // A statement that somebody gave up may still be at work on it, so this says nothing about the server.
        if self.limits.doubts.is_some()
            && let Ok(runtime) = Handle::try_current()
        {
            let back = connection.return_to_pool();
            let place = self.place.take();
            drop(runtime.spawn(async move {
                drop(tokio::time::timeout(MOMENT, back).await);
                drop(place);
            }));
        }
    }
}

/// A step that is given up when it has taken too long.
struct Step<'e, S> {
    inner: S,
    limits: Limits,
    patience: Option<BoxFuture<'static, ()>>,
    lost: &'e mut bool,
    over: bool,
}

impl<'e, S: Unpin> Step<'e, S> {
    fn new(inner: S, limits: Limits, lost: &'e mut bool) -> Self {
        Self { inner, limits, patience: None, lost, over: false }
    }

    /// Whether it has taken too long; asks only while there is no answer.
    fn overran(&mut self, context: &mut Context<'_>) -> bool {
        if self.patience.is_none() {
            self.patience = self.limits.patience();
        }
        let Some(patience) = &mut self.patience else { return false };
        if patience.as_mut().poll(context).is_pending() {
            return false;
        }
        (*self.lost, self.over) = (true, true);
        if let Some(doubts) = &self.limits.doubts {
            doubts.raise();
        }
        true
    }
}

impl<T, S: Stream<Item = Result<T, Error>> + Unpin> Stream for Step<'_, S> {
    type Item = Result<T, Error>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = self.get_mut();
        if this.over {
            return Poll::Ready(None);
        }
        match Pin::new(&mut this.inner).poll_next(context) {
            Poll::Pending if this.overran(context) => {
                Poll::Ready(Some(Err(gone("a statement was not answered in time"))))
            }
            progress => progress,
        }
    }
}

impl<T, S: Future<Output = Result<T, Error>> + Unpin> Future for Step<'_, S> {
    type Output = Result<T, Error>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        match Pin::new(&mut this.inner).poll(context) {
            Poll::Pending if this.overran(context) => Poll::Ready(Err(gone("a statement was not answered in time"))),
            progress => progress,
        }
    }
}

macro_rules! limited {
    ($database:ident) => {
        impl<'c> Executor<'c> for &'c mut Limited<$database> {
            type Database = $database;

            fn fetch_many<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxStream<
                'e,
                Result<
                    Either<<$database as Database>::QueryResult, <$database as Database>::Row>,
                    Error,
                >,
            >
            where
                'c: 'e,
                E: 'q + Execute<'q, $database>,
            {
                let limits = self.limits.clone();
                let Limited { connection, lost, .. } = self;
                let connection = of(connection);
                Box::pin(Step::new(connection.fetch_many(query), limits, lost))
            }

            fn fetch_optional<'e, 'q: 'e, E>(
                self,
                query: E,
            ) -> BoxFuture<'e, Result<Option<<$database as Database>::Row>, Error>>
            where
                'c: 'e,
                E: 'q + Execute<'q, $database>,
            {
                let limits = self.limits.clone();
                let Limited { connection, lost, .. } = self;
                Box::pin(Step::new(of(connection).fetch_optional(query), limits, lost))
            }

            fn prepare_with<'e>(
                self,
                sql: SqlStr,
                parameters: &'e [<$database as Database>::TypeInfo],
            ) -> BoxFuture<'e, Result<<$database as Database>::Statement, Error>>
            where
                'c: 'e,
            {
                let limits = self.limits.clone();
                let Limited { connection, lost, .. } = self;
                Box::pin(Step::new(of(connection).prepare_with(sql, parameters), limits, lost))
            }

            fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<$database>, Error>>
            where
                'c: 'e,
            {
                of(&mut self.connection).describe(sql)
            }
        }
    };
}

fn of<DB: Database>(connection: &mut Option<PoolConnection<DB>>) -> &mut DB::Connection {
    match connection {
        Some(connection) => connection,
        None => unreachable!("taken only when it is dropped"),
    }
}

limited!(Postgres);
limited!(Sqlite);

impl Deref for Remote {
    type Target = PgPool;

    fn deref(&self) -> &PgPool {
        &self.pool
    }
}
