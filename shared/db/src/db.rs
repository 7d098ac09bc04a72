//! Opening a store and beginning transactions.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use sqlx::Row as _;
use sqlx::Sqlite;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};

use crate::held::Held;
use crate::limited::{Doubts, Limited, Limits, Remote, Word};
use crate::quiet::Newest;
use crate::url::Place;
use crate::{Asker, Crowd, DbError, Engine, Local, Migrations, PoolOptions, StoreUrl, Tx, on};

/// A PostgreSQL session that holds a transaction open without a word for this long is a lost one, and gives its locks back.
/// No transaction waits for a password's hash or for another service: between two statements there is only arithmetic.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(10);

/// The same where nobody thinks between two statements ([`Db::dedicated`]).
const DEDICATED_IDLE: Duration = Duration::from_secs(5);

/// How soon the server looks whether a client's host is still there that says nothing, and how often: whoever vanished
/// while it held locks is found.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// After how long without an answer a connection of [`Db::dedicated`] is lost, if the server answers others and does not work for
/// this one.
const QUIET: Duration = Duration::from_millis(1_400);

/// How long to wait before a file is opened again that others are opening.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Not a deferred BEGIN: a read that turns into a write fails with `BUSY_SNAPSHOT` whatever the timeout.
const BEGIN_TO_WRITE: &str = "BEGIN IMMEDIATE";

/// In one message, so that it costs no round trip ([`Db::impatient`]).
const BEGIN_IMPATIENTLY: &str = "BEGIN; SET LOCAL lock_timeout = '2s'; SET LOCAL statement_timeout = '10s'";

/// As much as a batch of requests writes. It is never kept.
const SIGN_OF_SQLITE: &str = "INSERT INTO outbox (seq, incarnation, id, owner, type, payload, created_at)
    VALUES (-1, 0, '', '', '', zeroblob(262144), 0)";

/// So few pages does a connection keep in memory that is to be told about the disk: what it writes goes out at once.
const PAGES_OF_THE_SIGN: &str = "8";

const SIGN_OF_POSTGRES: &str = "SET LOCAL work_mem = '64kB';
    SELECT txid_current(), count(*) FROM (SELECT repeat(md5(n::text), 4) FROM generate_series(1, 8000) AS n ORDER BY 1) AS sorted";

/// A store. Cheap to clone; all clones share the pools.
///
/// Those who wait for a connection take turns by whom they work for ([`Asker`]): who waits with thousands of calls leaves
/// somebody else waiting for a round, and not for all of them. What works for everybody stands before the callers.
#[derive(Debug, Clone)]
pub enum Db {
    /// A SQLite file.
    Sqlite {
        /// The one connection that writes: SQLite has one writer at a time, and waiting here is fair and quiet.
        write: Local,
        /// Connections that only read, each seeing a consistent snapshot beside the writer.
        read: Local,
        /// The connection that looks whether there is room ([`Db::ping`]), opened when it is first asked.
        room: SqlitePool,
    },
    /// A PostgreSQL database.
    Postgres(Remote),
}

impl Db {
    /// Opens a store. Creates a missing SQLite file (and its directory), connects once to PostgreSQL, and refuses a
    /// store that does not fit this program's [`Migrations`]. Runs no migrations.
    pub async fn open(url: &StoreUrl, migrations: &Migrations, options: &PoolOptions) -> Result<Self, DbError> {
        let db = match &url.place {
            Place::Sqlite(path) => open_sqlite(path, options).await,
            Place::Postgres(connect) => open_postgres(connect, options).await,
        }
        .map_err(|error| opening(url, error))?;
        db.refuse_misfit(migrations).await?;
        Ok(db)
    }

    /// Begins a transaction that may write. On SQLite it waits for the single writer; on PostgreSQL it is
    /// READ COMMITTED, so lock the rows a decision rests on.
    ///
    /// It waits for a row as long as a statement may take: whoever has it is served in a moment, or is missed within ten
    /// seconds, and all wait in the order in which they came. A shorter wait would refuse who stands behind others at the counter
    /// of the events, which each change of everybody's comes by; who keeps others waiting is [impatient](Self::impatient).
    pub async fn begin(&self) -> Result<Tx, DbError> {
        match self {
            Self::Sqlite { write, .. } => Ok(Tx::Sqlite(begin_sqlite(write, BEGIN_TO_WRITE).await?)),
            Self::Postgres(pool) => begin_postgres(pool, pool.to_begin()).await,
        }
    }

    /// Begins a transaction that only reads and sees one snapshot throughout. Writing through it fails.
    pub async fn read(&self) -> Result<Tx, DbError> {
        match self {
            Self::Sqlite { read, .. } => Ok(Tx::Sqlite(begin_sqlite(read, "BEGIN").await?)),
            Self::Postgres(pool) => begin_postgres(pool, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await,
        }
    }

    /// Asks the store for a sign that it can write; what that takes is given back. On SQLite a quarter of a megabyte is written
    /// and undone, so the log finds room for it or does not. On PostgreSQL a number for a transaction is taken, which a standby
    /// has none of, and a megabyte is sorted where there is memory for less: it needs room where the database's tables need it.
    pub async fn ping(&self) -> Result<(), DbError> {
        match self {
            Self::Sqlite { write, room, .. } => {
                // Whoever writes waits here, and not for the file's own lock, which nobody gives in turn.
                let writer = write.acquire().await?;
                needs_room(Limited::new(room.acquire().await?, None, Limits::none())).await?;
                needs_room(writer).await
            }
            Self::Postgres(_) => {
                let mut tx = self.begin().await?;
                on!(&mut tx, c => sqlx::raw_sql(SIGN_OF_POSTGRES).execute(c).await?.rows_affected());
                tx.commit().await
            }
        }
    }

    /// The same store for another runtime, on which this must be called: a connection can only be used on the
    /// runtime that opened it. On PostgreSQL one more connection is opened when it is first needed. It waits
    /// for a row that somebody else has locked as long as `patience` and no longer ([`DbError::Locked`]), and has its
    /// statements ended after `statement` ([`DbError::TimedOut`]). None of them is long: one that hears nothing for one and a half
    /// seconds while the server answers others at once is given up ([`DbError::Unavailable`]), unless the server is at work for
    /// it.
    #[must_use]
    pub fn dedicated(&self, patience: Duration, statement: Duration) -> Self {
        match self {
            // Its connections have threads of their own, and it has one writer: no row is ever locked. For that it waits in turns
            // of its own, and behind nobody's jobs.
            Self::Sqlite { write, read, room } => {
                let [write, read] = [write, read].map(|pool| pool.by(Asker::Dedicated));
                Self::Sqlite { write, read, room: room.clone() }
            }
            Self::Postgres(pool) => {
                let limits = [
                    ("lock_timeout", patience),
                    ("statement_timeout", statement),
                    ("idle_in_transaction_session_timeout", DEDICATED_IDLE),
                ]
                .map(|(name, limit)| (name, limit.as_millis().to_string()));
                let doubts = pool.doubts().clone();
                let (settings, newest) = (Arc::clone(pool.settings()), Newest::default());
                let options = told(doubting(pool.options().clone(), &doubts), &settings, &newest);
                let pool =
                    options.max_connections(1).connect_lazy_with((*pool.connect_options()).clone().options(limits));
                Self::Postgres(Remote::new(pool, (doubts, settings), statement, Some(QUIET), Some(&newest)))
            }
        }
    }

    /// The same store and the same connections; but a transaction that may write waits no longer than two seconds for a row that
    /// somebody else has locked ([`DbError::Locked`]), and has its statements ended after ten ([`DbError::TimedOut`]). For
    /// whoever keeps others waiting meanwhile.
    #[must_use]
    pub fn impatient(&self) -> Self {
        match self {
            // It has one writer: no row is ever locked.
            Self::Sqlite { .. } => self.clone(),
            Self::Postgres(pool) => Self::Postgres(pool.beginning(BEGIN_IMPATIENTLY)),
        }
    }

    /// Tells how many wait for a connection.
    pub fn crowd(&self) -> Crowd {
        Crowd(match self {
            Self::Sqlite { write, read, .. } => vec![write.places().clone(), read.places().clone()],
            Self::Postgres(pool) => vec![pool.places().clone()],
        })
    }

    /// Closes the connections that [`Db::dedicated`] has opened.
    pub async fn close_dedicated(&self) {
        match self {
            Self::Sqlite { .. } => {}
            Self::Postgres(pool) => pool.close().await,
        }
    }

    /// The engine of this store.
    pub fn engine(&self) -> Engine {
        match self {
            Self::Sqlite { .. } => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }

    /// Waits for the transactions under way and closes every connection. Later calls answer
    /// [`DbError::Unavailable`].
    pub async fn close(&self) {
        match self {
            Self::Sqlite { write, read, room } => {
                // The writer last: the last connection to close folds the write-ahead log into the file.
                read.close().await;
                room.close().await;
                write.close().await;
            }
            Self::Postgres(pool) => pool.close().await,
        }
    }
}

async fn open_sqlite(path: &Path, options: &PoolOptions) -> Result<Db, DbError> {
    prepare_file(path).map_err(|problem| DbError::Open { store: format!("sqlite://{}", path.display()), problem })?;
    let connect = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(options.acquire_timeout)
        .statement_cache_capacity(options.statement_cache)
        // Bounded memory: 16 MiB of pages for each connection, and a log that shrinks again after a burst.
        .pragma("cache_size", "-16384")
        .pragma("journal_size_limit", "67108864")
        // What was erased is overwritten and does not stay readable in the file.
        .pragma("secure_delete", "ON");
    // Connections to a file do not go stale, so they are neither tested nor ever replaced.
    let pool = SqlitePoolOptions::new()
        .acquire_timeout(options.acquire_timeout)
        .test_before_acquire(false)
        .idle_timeout(None)
        .max_lifetime(None);
    let write = connect_sqlite(&pool.clone().max_connections(1).min_connections(1), &connect, options).await?;
    let room =
        pool.clone().max_connections(1).connect_lazy_with(connect.clone().pragma("cache_size", PAGES_OF_THE_SIGN));
    let pool = pool.max_connections(options.read_connections.max(1));
    let read = connect_sqlite(&pool, &connect.pragma("query_only", "ON"), options).await?;
    Ok(Db::Sqlite { write: Local::new(write), read: Local::new(read), room })
}

/// Connects, as often as it takes. Of several who turn a new file's log on at the same moment, SQLite refuses all but one at once,
/// whatever time they have.
async fn connect_sqlite(
    pool: &SqlitePoolOptions,
    connect: &SqliteConnectOptions,
    options: &PoolOptions,
) -> Result<SqlitePool, sqlx::Error> {
    let begun = Instant::now();
    loop {
        match pool.clone().connect_with(connect.clone()).await {
            Err(error) if is_busy(&error) && begun.elapsed() < options.acquire_timeout => {
                tokio::time::sleep(BUSY_PAUSE).await;
            }
            connected => return connected,
        }
    }
}

/// `SQLITE_BUSY`, whose finer codes have it in the last eight bits.
fn is_busy(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok());
    code.is_some_and(|code| code & 0xff == 5)
}

/// Makes the directory and the file, readable by their owner only, or says what stands in the way.
fn prepare_file(path: &Path) -> Result<(), String> {
    use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

    if path.is_dir() {
        return Err("it is a directory, not a file".to_owned());
    }
    if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(|error| format!("cannot create the directory {}: {error}", directory.display()))?;
    }
    // `create_new`, so that an existing file is never opened: closing that handle would drop SQLite's own locks.
    match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(format!("cannot create the file: {error}")),
    }
}

/// What is not to be scanned is so dear to the planner that it would have whatever must be compiled first, which takes a tenth of a
/// second of a core each time: nothing is.
const INDEX_PLANS: &str = "SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan; SET jit = off";

async fn open_postgres(connect: &PgConnectOptions, options: &PoolOptions) -> Result<Db, DbError> {
    let mut connect = connect.clone().statement_cache_capacity(options.statement_cache);
    if connect.get_application_name().is_none() {
        connect = connect.application_name(&options.application_name);
    }
    let limits = format!(
        // A shorter one, with which the connection was opened (`Db::dedicated`), stands. What an older server does not know
        // is left out; a Unix socket takes what only TCP can use. First, who serves it (`told`).
        "SELECT pg_backend_pid();
         SELECT set_config(name, wanted, false) FROM (VALUES
             ('statement_timeout', '{0}'), ('idle_in_transaction_session_timeout', '{1}'),
             ('tcp_keepalives_idle', '{2}'), ('tcp_keepalives_interval', '{2}'), ('tcp_keepalives_count', '2'),
             ('client_connection_check_interval', '{3}')) AS limits (name, wanted)
         JOIN pg_settings USING (name)
         WHERE setting::bigint NOT BETWEEN 1 AND wanted::bigint OR name LIKE 'tcp%'; {4}",
        options.statement_timeout.as_millis(),
        IDLE_IN_TRANSACTION.as_millis(),
        KEEPALIVE.as_secs(),
        KEEPALIVE.as_millis(),
        if options.index_plans { INDEX_PLANS } else { "" },
    );
    let (doubts, settings): (_, Arc<str>) = (Doubts::none(), Arc::from(limits));
    // Of many connections nobody needs to know which is the newest.
    let pool = told(doubting(PgPoolOptions::new(), &doubts), &settings, &Newest::default())
        .max_connections(options.max_connections.max(1))
        .acquire_timeout(options.acquire_timeout)
        // A round trip for each transaction; `begin_postgres` deals with a stale connection instead.
        .test_before_acquire(false)
        .connect_with(connect.clone())
        .await;
    match pool {
        Ok(pool) => Ok(Db::Postgres(Remote::new(pool, (doubts, settings), options.statement_timeout, None, None))),
        Err(sqlx::Error::PoolTimedOut) => Err(refusal(&connect, options.acquire_timeout).await.into()),
        Err(error) => Err(error.into()),
    }
}

/// What stands between this program and a server that no connection came from in time. The pool goes on trying where
/// that may help (nobody listens, too many connections, starting up) and then knows only that time is over; the server's
/// own refusal says what to change.
async fn refusal(connect: &PgConnectOptions, within: Duration) -> sqlx::Error {
    match tokio::time::timeout(within, PgConnection::connect_with(connect)).await {
        Ok(Err(error)) => error,
        // It came back this moment, or it does not answer at all.
        Ok(Ok(_)) | Err(_) => sqlx::Error::PoolTimedOut,
    }
}

/// A pool that does not give out connections which are in doubt.
fn doubting(options: PgPoolOptions, doubts: &Doubts) -> PgPoolOptions {
    let doubts = doubts.clone();
    options.before_acquire(move |connection, of| Box::pin(doubts.clone().settle(connection, of)))
}

/// A pool whose connections are told these settings when they are opened; the first of what they answer is who serves them.
fn told(options: PgPoolOptions, settings: &Arc<str>, newest: &Newest) -> PgPoolOptions {
    let (settings, newest) = (Arc::clone(settings), newest.clone());
    options.after_connect(move |connection, _| {
        let (settings, newest) = (Arc::clone(&settings), newest.clone());
        Box::pin(async move {
            let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(settings)).fetch_all(connection).await?;
            if let Some(first) = rows.first() {
                newest.is(first.try_get(0)?);
            }
            Ok(())
        })
    })
}

/// Writes more than there may be room for, and undoes it. A connection with little memory hands it to the disk before anybody
/// commits, without waiting for it to be durable; one with much finds out whether the file may grow.
async fn needs_room(connection: Limited<Sqlite>) -> Result<(), DbError> {
    let mut held = Held::begin(connection, BEGIN_TO_WRITE).await?;
    sqlx::query(SIGN_OF_SQLITE).execute(&mut *held).await?;
    Ok(held.end(Word::Light, "ROLLBACK").await?)
}

async fn begin_sqlite(pool: &Local, statement: &'static str) -> Result<Held<Sqlite>, DbError> {
    Ok(Held::begin(pool.acquire().await?, statement).await?)
}

/// Begins on a connection that is alive: those the server closed while they were idle (it was restarted) are thrown
/// away one after the other, in one and the same turn. A BEGIN that was never answered has no effect, so trying again is safe.
async fn begin_postgres(remote: &Remote, statement: &'static str) -> Result<Tx, DbError> {
    let mut until = remote.patience();
    let mut turn = remote.turn(until).await?;
    let mut stale = 0;
    loop {
        let mut held = Held::on(remote.for_transaction(turn, until).await?);
        let begun = held.try_begin(statement).await;
        match begun {
            Ok(()) => return Ok(Tx::Postgres(held)),
            Err(error) if stale < remote.options().get_max_connections() && was_closed(&error) => {
                stale += 1;
                until = remote.patience();
                turn = match held.take_place() {
                    Some(turn) => turn,
                    None => remote.turn(until).await?,
                };
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Whether the server had closed the connection before it was used.
fn was_closed(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        // admin_shutdown, crash_shutdown, idle_session_timeout: the farewell that waited in the socket
        sqlx::Error::Database(cause) => {
            cause.code().is_some_and(|code| ["57P01", "57P02", "57P05"].contains(&code.as_ref()))
        }
        _ => false,
    }
}

/// Errors of opening are read by an operator: say which store and what to do.
fn opening(url: &StoreUrl, error: DbError) -> DbError {
    match error {
        DbError::Unavailable(cause) if url.engine() == Engine::Postgres => {
            DbError::Open { store: url.to_string(), problem: format!("no connection to the server: {cause}") }
        }
        DbError::Unavailable(cause) | DbError::Other(cause) => {
            DbError::Open { store: url.to_string(), problem: cause.to_string() }
        }
        DbError::Corrupt { what } => {
            DbError::Open { store: url.to_string(), problem: format!("not a database: {what}") }
        }
        other => other,
    }
}
