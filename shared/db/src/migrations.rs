//! The schema's versions: which a program has, which a store has.

use std::path::Path;
use std::time::Duration;

use sqlx::migrate::{Migrate, Migrator};
use sqlx::{Connection, Row};

use crate::{Db, DbError, Engine};

/// How long a process waits for another one that is migrating the same SQLite directory.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);

/// A program's migrations, one set for each engine with the same versions.
///
/// ```ignore
/// static SQLITE: Migrator = sqlx::migrate!("migrations/sqlite");
/// static POSTGRES: Migrator = sqlx::migrate!("migrations/postgres");
/// pub static MIGRATIONS: Migrations = Migrations::new(&SQLITE, &POSTGRES);
/// ```
#[derive(Debug, Clone, Copy)]
pub struct Migrations {
    sqlite: &'static Migrator,
    postgres: &'static Migrator,
}

impl Migrations {
    /// The two sets of a program.
    pub const fn new(sqlite: &'static Migrator, postgres: &'static Migrator) -> Self {
        Self { sqlite, postgres }
    }

    /// The set for one engine.
    pub fn of(&self, engine: Engine) -> &'static Migrator {
        match engine {
            Engine::Sqlite => self.sqlite,
            Engine::Postgres => self.postgres,
        }
    }

    /// The newest version for one engine; 0 when there is none.
    pub fn known(&self, engine: Engine) -> i64 {
        let up = self.of(engine).iter().filter(|migration| !migration.migration_type.is_down_migration());
        up.map(|migration| migration.version).max().unwrap_or(0)
    }
}

impl Db {
    /// Brings the schema to this program's version. Each migration is one transaction; several processes may call
    /// this at once, and one of them does the work. A store that a newer program has migrated is refused untouched.
    pub async fn migrate(&self, migrations: &Migrations) -> Result<(), DbError> {
        self.refuse_newer(migrations).await?;
        let migrator = migrations.of(self.engine());
        match self {
            Self::Sqlite { write, .. } => {
                let _lock = lock_directory(write.connect_options().get_filename()).await?;
                let mut connection = write.acquire().await?;
                run(migrator, &mut *connection).await
            }
            Self::Postgres(pool) => {
                // A connection of its own: after a failure it would go back to the pool with the advisory lock held.
                let mut connection = pool.acquire().await?.detach();
                sqlx::query("SET statement_timeout = 0").execute(&mut connection).await?;
                let outcome = run(migrator, &mut connection).await;
                connection.close().await?;
                outcome
            }
        }
    }

    /// The newest migration the store has, `None` before the first.
    pub async fn schema_version(&self) -> Result<Option<i64>, DbError> {
        const SQLITE_TABLE: &str =
            "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = '_sqlx_migrations'";
        const POSTGRES_TABLE: &str = "SELECT count(to_regclass('_sqlx_migrations'))";
        const VERSION: &str = "SELECT max(version) FROM _sqlx_migrations";
        let mut tx = self.read().await?;
        let table = match tx.engine() {
            Engine::Sqlite => SQLITE_TABLE,
            Engine::Postgres => POSTGRES_TABLE,
        };
        let tables: i64 = crate::on!(&mut tx, c => sqlx::query(table).fetch_one(c).await?.try_get(0)?);
        if tables == 0 {
            return Ok(None);
        }
        Ok(crate::on!(&mut tx, c => sqlx::query(VERSION).fetch_one(c).await?.try_get(0)?))
    }

    /// Demands that the store is at exactly this program's version: [`DbError::PendingMigrations`] when it is
    /// behind, [`DbError::NewerDatabase`] when it is ahead.
    pub async fn check_schema(&self, migrations: &Migrations) -> Result<(), DbError> {
        let known = migrations.known(self.engine());
        match self.schema_version().await? {
            Some(found) if found > known => Err(DbError::NewerDatabase { found, known }),
            Some(found) if found == known => Ok(()),
            found => Err(DbError::PendingMigrations { found, known }),
        }
    }

    /// Refuses a store that a newer program has migrated; one that is behind is fine.
    pub(crate) async fn refuse_newer(&self, migrations: &Migrations) -> Result<(), DbError> {
        match self.check_schema(migrations).await {
            Err(DbError::PendingMigrations { .. }) => Ok(()),
            other => other,
        }
    }
}

async fn run<C: Migrate>(migrator: &Migrator, connection: &mut C) -> Result<(), DbError> {
    migrator.run_direct(None, connection, false).await.map_err(DbError::from)
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
