//! Bringing a store to a program's schema.

use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

use sqlx::Connection;
use sqlx::migrate::{Migrate, Migrator};

use crate::schema::{self, Part};
use crate::{Db, DbError, Engine, shared};

/// How long a process waits for another one that is migrating the same SQLite directory.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);

/// A program's own migrations, one set for each engine with the same versions. In front of them, every store gets the
/// tables that all services share.
///
/// ```ignore
/// static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
/// static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");
/// pub static MIGRATIONS: Migrations = Migrations::new(&SQLITE, &POSTGRES);
/// ```
///
/// A migration's name says which programs it still serves: see [`Part`] and the files of `shared/db/migrations`.
#[derive(Debug, Clone, Copy)]
pub struct Migrations {
    sqlite: &'static Migrator,
    postgres: &'static Migrator,
    oldest: i64,
}

static NOTHING: Migrator = Migrator::DEFAULT;

impl Migrations {
    /// The shared tables and nothing else: for tests of what uses them without any service.
    pub const SHARED: Self = Self::new(&NOTHING, &NOTHING);

    /// The two sets of a program, which migrates any store from version 1 on.
    pub const fn new(sqlite: &'static Migrator, postgres: &'static Migrator) -> Self {
        Self { sqlite, postgres, oldest: 1 }
    }

    /// The same for a program that cannot migrate a store of a version before `oldest`: a release in between has to
    /// run on it first. A store that was never migrated is always fine.
    #[must_use]
    pub const fn from_version(self, oldest: i64) -> Self {
        Self { oldest, ..self }
    }

    /// The set of one part for one engine.
    fn of(&self, part: Part, engine: Engine) -> &'static Migrator {
        match (part, engine) {
            (Part::Shared, _) => shared::of(engine),
            (Part::Own, Engine::Sqlite) => self.sqlite,
            (Part::Own, Engine::Postgres) => self.postgres,
        }
    }

    fn oldest(&self, part: Part) -> i64 {
        match part {
            Part::Shared => shared::OLDEST,
            Part::Own => self.oldest,
        }
    }

    /// The newest version of the program's own set for one engine; 0 when there is none.
    pub fn known(&self, engine: Engine) -> i64 {
        schema::newest(self.of(Part::Own, engine))
    }
}

impl Db {
    /// Brings the schema to this program's version, the shared tables first. Each migration is one transaction; several
    /// processes may call this at once, and one of them does the work.
    ///
    /// A store that is ahead and still serves this program is left as it is. One that does not, one that is too old and
    /// one that is another program's are refused untouched.
    pub async fn migrate(&self, migrations: &Migrations) -> Result<(), DbError> {
        self.refuse_misfit(migrations).await?;
        match self {
            Self::Sqlite { write, .. } => {
                let _lock = lock_directory(write.connect_options().get_filename()).await?;
                let mut connection = write.pool().acquire().await?;
                run(migrations, Engine::Sqlite, &mut *connection).await?;
            }
            Self::Postgres(pool) => {
                // A connection of its own: after a failure it would go back to the pool with the advisory lock held.
                let mut connection = pool.pool().acquire().await?.detach();
                sqlx::query("SET statement_timeout = 0").execute(&mut connection).await?;
                let outcome = run(migrations, Engine::Postgres, &mut connection).await;
                connection.close().await?;
                outcome?;
            }
        }
        // Another program may have been faster, and newer.
        self.check_schema(migrations).await
    }

    /// The newest of the service's own migrations that the store has, `None` before the first.
    pub async fn schema_version(&self) -> Result<Option<i64>, DbError> {
        let mut tx = self.read().await?;
        Ok(schema::applied(&mut tx, Part::Own).await?.last().map(schema::Applied::version))
    }

    /// Demands that this program can run on the store: it has every migration that the program knows
    /// ([`DbError::PendingMigrations`] otherwise), and if it is ahead, its newest one serves this program
    /// ([`DbError::NewerDatabase`] otherwise).
    pub async fn check_schema(&self, migrations: &Migrations) -> Result<(), DbError> {
        let mut tx = self.read().await?;
        let mut pending = Ok(());
        for part in [Part::Shared, Part::Own] {
            let known = migrations.of(part, tx.engine());
            let applied = schema::applied(&mut tx, part).await?;
            match schema::judge(part, known, migrations.oldest(part), &applied) {
                Err(behind @ DbError::PendingMigrations { .. }) => pending = Err(behind),
                outcome => outcome?,
            }
        }
        pending
    }

    /// Refuses a store that this program can neither run on nor migrate.
    pub(crate) async fn refuse_misfit(&self, migrations: &Migrations) -> Result<(), DbError> {
        match self.check_schema(migrations).await {
            Err(DbError::PendingMigrations { .. }) => Ok(()),
            other => other,
        }
    }
}

async fn run<C: Migrate>(migrations: &Migrations, engine: Engine, connection: &mut C) -> Result<(), DbError> {
    for part in [Part::Shared, Part::Own] {
        let migrator = Migrator {
            migrations: Cow::Borrowed(&migrations.of(part, engine).migrations),
            // A store may be ahead; whether it still serves this program has been asked.
            ignore_missing: true,
            table_name: Cow::Borrowed(part.table()),
            ..Migrator::DEFAULT
        };
        migrator.run_direct(None, connection, false).await?;
    }
    Ok(())
}

/// sqlx has no migration lock for SQLite, so the directory is locked. Not the file itself: closing a second handle
/// of a SQLite file drops the locks that SQLite holds in this process.
async fn lock_directory(file: &Path) -> Result<Option<std::fs::File>, DbError> {
    let directory = match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let Ok(handle) = std::fs::File::open(directory) else {
        return Ok(None);
    };
    let deadline = tokio::time::Instant::now() + LOCK_PATIENCE;
    loop {
        match handle.try_lock() {
            Ok(()) => return Ok(Some(handle)),
            Err(std::fs::TryLockError::WouldBlock) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(DbError::Open {
                    store: file.display().to_string(),
                    problem: "another process has been migrating stores in this directory for too long".to_owned(),
                });
            }
            Err(std::fs::TryLockError::Error(error)) => {
                // Some network file systems cannot lock a directory. Two processes on one file are rare there.
                tracing::debug!(%error, "the data directory cannot be locked for migrating");
                return Ok(None);
            }
        }
    }
}
