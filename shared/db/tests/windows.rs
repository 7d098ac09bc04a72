//! Which programs can run on which stores, the same on both engines.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking, their helpers too"
)]

use bursar_db::{Db, DbError, Migrations, Part, PoolOptions, on};
use bursar_testkit::TestDb;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Row, SqlSafeStr};

const TEAMS: (&str, &str) = ("teams", "CREATE TABLE teams (id TEXT NOT NULL PRIMARY KEY)");
const EXPAND: (&str, &str) = ("serves 1 names", "ALTER TABLE teams ADD COLUMN name TEXT NOT NULL DEFAULT ''");
const EXPAND_MORE: (&str, &str) = ("serves 1 ages", "ALTER TABLE teams ADD COLUMN age BIGINT NOT NULL DEFAULT 0");
const CONTRACT: (&str, &str) = ("drop ages", "ALTER TABLE teams DROP COLUMN age");
const EXPAND_AGAIN: (&str, &str) = ("serves 4 sizes", "ALTER TABLE teams ADD COLUMN size BIGINT NOT NULL DEFAULT 0");

/// Every release of a program, oldest first: each knows the migrations up to its own.
const HISTORY: [(&str, &str); 5] = [TEAMS, EXPAND, EXPAND_MORE, CONTRACT, EXPAND_AGAIN];

/// The next migration of the shared tables, as the program that applied it has recorded it.
const EXPANDED: &str = "INSERT INTO _shared_migrations (version, description, success, checksum, execution_time) \
    SELECT version + 1, 'serves ' || version || ' more', TRUE, checksum, 0 FROM _shared_migrations \
    ORDER BY version DESC LIMIT 1";
const CONTRACTED: &str = "INSERT INTO _shared_migrations (version, description, success, checksum, execution_time) \
    SELECT version + 1, 'less', TRUE, checksum, 0 FROM _shared_migrations ORDER BY version DESC LIMIT 1";

fn program(migrations: &[(&'static str, &'static str)]) -> Migrations {
    let set = migrations.iter().zip(1..).map(|((description, sql), version)| {
        Migration::new(version, (*description).into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let migrator: &'static Migrator = Box::leak(Box::new(Migrator::with_migrations(set.collect())));
    Migrations::new(migrator, migrator)
}

fn release(version: usize) -> Migrations {
    program(&HISTORY[..version])
}

async fn open(at: &TestDb, migrations: &Migrations) -> Result<Db, DbError> {
    Db::open(&at.store_url(), migrations, &PoolOptions::default()).await
}

async fn tables(db: &Db) -> i64 {
    async fn count(db: &Db) -> Result<i64, DbError> {
        const SQLITE: &str = "SELECT count(*) FROM sqlite_master WHERE type = 'table'";
        const POSTGRES: &str = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()";
        let mut tx = db.read().await?;
        let statement = match tx.engine() {
            bursar_db::Engine::Sqlite => SQLITE,
            bursar_db::Engine::Postgres => POSTGRES,
        };
        Ok(on!(&mut tx, c => sqlx::query(statement).fetch_one(c).await?.try_get(0)?))
    }
    count(db).await.expect("counts")
}

/// Runs a statement that the store's own programs would not.
async fn tamper(db: &Db, statement: &'static str) {
    async fn run(db: &Db, statement: &'static str) -> Result<(), DbError> {
        let mut tx = db.begin().await?;
        on!(&mut tx, c => sqlx::query(statement).execute(c).await?.rows_affected());
        tx.commit().await
    }
    run(db, statement).await.expect(statement);
}

bursar_testkit::engines! {
    async fn old_programs_go_on_until_a_contract(at: TestDb) {
        let first = open(&at, &release(1)).await.expect("opens");
        first.migrate(&release(1)).await.expect("migrates");
        for version in [2, 3] {
            let next = open(&at, &release(version)).await.expect("opens");
            next.migrate(&release(version)).await.expect("migrates under the old program's feet");
            first.check_schema(&release(1)).await.expect("the old program goes on");
            open(&at, &release(1)).await.expect("and may start again").migrate(&release(1)).await.expect("to no effect");
            assert_eq!(next.schema_version().await.expect("asks"), i64::try_from(version).ok(), "it is still ahead");
        }
        let fourth = open(&at, &release(4)).await.expect("opens");
        fourth.migrate(&release(4)).await.expect("migrates");
        let before = tables(&fourth).await;
        for version in [1, 2, 3] {
            let old = release(version);
            let known = i64::try_from(version).unwrap();
            for outcome in [first.check_schema(&old).await, first.migrate(&old).await, open(&at, &old).await.map(drop)] {
                let Err(DbError::NewerDatabase { part: Part::Own, found: 4, known: told, serves: 4 }) = outcome else {
                    panic!("release {version}: {outcome:?}");
                };
                assert_eq!(told, known);
            }
        }
        assert_eq!(tables(&fourth).await, before);
        fourth.check_schema(&release(4)).await.expect("as it was");
    }

    async fn what_the_newest_migration_says_counts(at: TestDb) {
        let fifth = open(&at, &release(5)).await.expect("opens");
        fifth.migrate(&release(5)).await.expect("migrates");
        fifth.check_schema(&release(4)).await.expect("4 is served");
        let refused = fifth.check_schema(&release(3)).await;
        assert!(matches!(refused, Err(DbError::NewerDatabase { found: 5, known: 3, serves: 4, .. })), "{refused:?}");
    }

    async fn a_store_that_is_too_old_is_refused_untouched(at: TestDb) {
        let second = open(&at, &release(2)).await.expect("opens");
        second.migrate(&release(2)).await.expect("migrates");
        let late = release(5).from_version(3);
        for outcome in [second.migrate(&late).await, second.check_schema(&late).await, open(&at, &late).await.map(drop)] {
            let Err(error @ DbError::OlderDatabase { part: Part::Own, found: 2, oldest: 3 }) = outcome else {
                panic!("{outcome:?}");
            };
            assert!(error.to_string().contains("run a release in between first"), "{error}");
        }
        assert_eq!(second.schema_version().await.expect("asks"), Some(2));
        second.migrate(&release(3)).await.expect("the release in between");
        second.migrate(&late).await.expect("now it can");
        second.check_schema(&late).await.expect("and has");
    }

    async fn a_new_store_is_never_too_old(at: TestDb) {
        let late = release(5).from_version(3);
        open(&at, &late).await.expect("opens").migrate(&late).await.expect("migrates");
    }

    async fn refuses_another_programs_store(at: TestDb) {
        let db = open(&at, &release(1)).await.expect("opens");
        db.migrate(&release(1)).await.expect("migrates");
        let other = program(&[("lots", "CREATE TABLE lots (id TEXT NOT NULL PRIMARY KEY)"), EXPAND]);
        for outcome in [db.migrate(&other).await, db.check_schema(&other).await, open(&at, &other).await.map(drop)] {
            assert!(matches!(outcome, Err(DbError::ModifiedMigration { version: 1 })), "{outcome:?}");
        }
    }

    async fn the_shared_tables_have_a_window_of_their_own(at: TestDb) {
        let db = open(&at, &release(1)).await.expect("opens");
        db.migrate(&release(1)).await.expect("migrates");
        tamper(&db, EXPANDED).await;
        db.check_schema(&release(1)).await.expect("an expansion");
        db.migrate(&release(2)).await.expect("one set may be ahead while the other is behind");
        tamper(&db, CONTRACTED).await;
        let refused = db.check_schema(&release(2)).await;
        assert!(matches!(refused, Err(DbError::NewerDatabase { part: Part::Shared, .. })), "{refused:?}");
    }
}
