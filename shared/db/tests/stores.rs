//! Opening, migrating, transactions and errors, the same on both engines.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "tests fail by panicking, their helpers too"
)]

use bursar_db::{ConflictKind, Db, DbError, Engine, Migrations, Part, PoolOptions, StoreUrl, Tx, exactly_one, on};
use bursar_testkit::sqlite::limit_pages;
use bursar_testkit::{SmallDisk, TestDb};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{Row, SqlSafeStr};
use std::task::Poll;

const FIRST: &str = "CREATE TABLE teams (id TEXT NOT NULL PRIMARY KEY, slug TEXT NOT NULL UNIQUE)";
const SECOND: &str = "CREATE TABLE people (
    team TEXT NOT NULL REFERENCES teams (id) DEFERRABLE INITIALLY DEFERRED,
    name TEXT NOT NULL,
    age  BIGINT NOT NULL,
    CONSTRAINT grown_up CHECK (age >= 18),
    PRIMARY KEY (team, name)
);
CREATE UNIQUE INDEX one_name ON people (lower(name));";

fn program(scripts: &[&'static str]) -> Migrations {
    let set = scripts.iter().zip(1..).map(|(sql, version)| {
        Migration::new(version, format!("step {version}").into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    let migrator: &'static Migrator = Box::leak(Box::new(Migrator::with_migrations(set.collect())));
    Migrations::new(migrator, migrator)
}

async fn open(at: &TestDb, migrations: &Migrations) -> Result<Db, DbError> {
    let url: StoreUrl = at.url().parse().expect("the test kit gives a good address");
    Db::open(&url, migrations, &PoolOptions::default()).await
}

async fn migrated(at: &TestDb) -> Db {
    let migrations = program(&[FIRST, SECOND]);
    let db = open(at, &migrations).await.expect("opens");
    db.migrate(&migrations).await.expect("migrates");
    db
}

async fn add_team(tx: &mut Tx, id: &str, slug: &str) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query("INSERT INTO teams (id, slug) VALUES ($1, $2)")
        .bind(id).bind(slug).execute(c).await?.rows_affected()))
}

async fn add_member(tx: &mut Tx, team: &str, name: Option<&str>, age: i64) -> Result<(), DbError> {
    exactly_one(on!(tx, c => sqlx::query("INSERT INTO people (team, name, age) VALUES ($1, $2, $3)")
        .bind(team).bind(name).bind(age).execute(c).await?.rows_affected()))
}

/// Polls a call so many times and then drops it, as happens to the call of somebody who hangs up.
async fn give_up_after<T>(polls: usize, call: impl Future<Output = T>) {
    let mut call = std::pin::pin!(call);
    for _ in 0..polls {
        let polled = std::future::poll_fn(|context| Poll::Ready(call.as_mut().poll(context))).await;
        if polled.is_ready() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

async fn teams(tx: &mut Tx) -> i64 {
    async fn count(tx: &mut Tx) -> Result<i64, DbError> {
        Ok(on!(tx, c => sqlx::query("SELECT count(*) FROM teams").fetch_one(c).await?.try_get(0)?))
    }
    count(tx).await.expect("counts")
}

#[tokio::test]
async fn of_many_who_open_a_new_file_at_once_all_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let migrations = program(&[FIRST, SECOND]);
    for round in 0..40 {
        let url: StoreUrl = format!("sqlite://{}/{round}.db", dir.path().display()).parse().expect("parses");
        let opened = (0..8).map(|_| {
            let url = url.clone();
            tokio::spawn(async move { Db::open(&url, &migrations, &PoolOptions::default()).await })
        });
        for opened in futures::future::join_all(opened).await {
            let db = opened.expect("no panic").unwrap_or_else(|error| panic!("round {round}: {error}"));
            db.migrate(&migrations).await.expect("migrates");
        }
    }
}

bursar_testkit::engines! {
    async fn migrates_once_however_often_and_by_however_many(at: TestDb) {
        let migrations = program(&[FIRST, SECOND]);
        let dbs = futures::future::try_join_all((0..4).map(|_| open(&at, &migrations))).await.expect("all open");
        assert!(matches!(
            dbs[0].check_schema(&migrations).await,
            Err(DbError::PendingMigrations { part: Part::Own, found: None, known: 2 })
        ));
        let outcomes = futures::future::join_all(dbs.iter().map(|db| db.migrate(&migrations))).await;
        for outcome in outcomes {
            outcome.expect("every process may migrate");
        }
        dbs[0].migrate(&migrations).await.expect("again");
        dbs[0].check_schema(&migrations).await.expect("up to date");
        assert_eq!(dbs[0].schema_version().await.expect("asks"), Some(2));
    }

    async fn a_migration_that_fails_leaves_nothing_behind(at: TestDb) {
        let broken = program(&[FIRST, "CREATE TABLE half (id TEXT NOT NULL PRIMARY KEY); CREATE TABLE oops ("]);
        let db = open(&at, &broken).await.expect("opens");
        db.migrate(&broken).await.expect_err("the second script is no SQL");
        assert_eq!(db.schema_version().await.expect("asks"), Some(1));
        let repaired = program(&[FIRST, "CREATE TABLE half (id TEXT NOT NULL PRIMARY KEY)"]);
        db.migrate(&repaired).await.expect("the half table is not there, nor a lock");
    }

    async fn a_constraint_has_one_name_on_both_engines(at: TestDb) {
        let db = migrated(&at).await;
        let mut tx = db.begin().await.expect("begins");
        add_team(&mut tx, "one", "acme").await.expect("inserts");
        add_member(&mut tx, "one", Some("Ann"), 30).await.expect("inserts");
        tx.commit().await.expect("commits");

        let mut tx = db.begin().await.expect("begins");
        let error = add_team(&mut tx, "two", "acme").await.expect_err("the slug is taken");
        assert!(error.is_conflict_on("teams.slug") && error.is_unique_violation(), "{error:?}");
        assert!(!error.is_conflict_on("teams.id"), "{error:?}");
        drop(tx);

        let cases = [
            (Some("Ann"), 30, "people.team,name", ConflictKind::Unique),
            (Some("aNN"), 30, "one_name", ConflictKind::Unique),
            (Some("Bob"), 17, "grown_up", ConflictKind::Check),
            (None, 30, "people.name", ConflictKind::NotNull),
        ];
        for (name, age, constraint, sort) in cases {
            let mut tx = db.begin().await.expect("begins");
            let error = add_member(&mut tx, "one", name, age).await.expect_err(constraint);
            let Some(found) = kind_of(&error) else { panic!("{constraint}: not a conflict: {error:?}") };
            assert_eq!(found, sort, "{constraint}");
            // Two unique constraints refuse the first case; either may be named.
            assert!(error.is_conflict_on(constraint) || error.is_conflict_on("one_name"), "{constraint}: {error:?}");
        }
    }

    async fn a_deferred_foreign_key_refuses_the_commit(at: TestDb) {
        let db = migrated(&at).await;
        let mut tx = db.begin().await.expect("begins");
        add_member(&mut tx, "later", Some("Ann"), 30).await.expect("the team may still come");
        let error = tx.commit().await.expect_err("it did not come");
        assert_eq!(kind_of(&error), Some(ConflictKind::ForeignKey), "{error:?}");

        let mut tx = db.begin().await.expect("the connection is usable after the refused commit");
        add_member(&mut tx, "later", Some("Ann"), 30).await.expect("inserts");
        add_team(&mut tx, "later", "later").await.expect("inserts");
        tx.commit().await.expect("commits");
    }

    async fn a_dropped_transaction_never_happened(at: TestDb) {
        let db = migrated(&at).await;
        let mut dropped = db.begin().await.expect("begins");
        add_team(&mut dropped, "one", "acme").await.expect("inserts");
        drop(dropped);
        let mut undone = db.begin().await.expect("begins");
        add_team(&mut undone, "one", "acme").await.expect("the name is free again");
        undone.rollback().await.expect("rolls back");
        let mut tx = db.begin().await.expect("begins");
        assert_eq!(teams(&mut tx).await, 0);
    }

    async fn a_reader_sees_one_moment_and_writes_nothing(at: TestDb) {
        let db = migrated(&at).await;
        let mut reader = db.read().await.expect("begins");
        assert_eq!(teams(&mut reader).await, 0);
        let mut writer = db.begin().await.expect("a reader does not keep a writer waiting");
        add_team(&mut writer, "one", "acme").await.expect("inserts");
        writer.commit().await.expect("commits");
        assert_eq!(teams(&mut reader).await, 0, "the snapshot stays");
        add_team(&mut reader, "two", "two").await.expect_err("a reader cannot write");
        drop(reader);
        assert_eq!(teams(&mut db.read().await.expect("begins")).await, 1);
    }

    async fn a_begin_that_is_given_up_leaves_nothing_behind(at: TestDb) {
        migrated(&at).await;
        // One connection, so that the next transaction gets what the last one left.
        let options = PoolOptions { max_connections: 1, read_connections: 1, ..PoolOptions::default() };
        let db = Db::open(&at.store_url(), &program(&[FIRST, SECOND]), &options).await.expect("opens");
        for round in 0..96_usize {
            // From before the first word to after the last.
            let polls = 1 << (round / 2 % 12);
            if round % 2 == 0 {
                give_up_after(polls, db.read()).await;
            } else {
                give_up_after(polls, db.begin()).await;
            }
            let mut tx = db.begin().await.expect("begins");
            add_team(&mut tx, &format!("t{round}"), &format!("s{round}")).await.expect("a transaction that may write");
            tx.commit().await.expect("commits");
            let mut tx = db.read().await.expect("begins");
            assert_eq!(teams(&mut tx).await, i64::try_from(round).unwrap() + 1, "a snapshot of now");
            add_team(&mut tx, "x", "x").await.expect_err("a transaction that only reads");
        }
    }

    async fn a_closed_store_is_unavailable(at: TestDb) {
        let db = migrated(&at).await;
        db.ping().await.expect("alive");
        db.close().await;
        let outcome = db.ping().await;
        assert!(matches!(outcome, Err(DbError::Unavailable(_))), "{outcome:?}");
    }

    async fn a_pool_that_is_used_up_is_unavailable(at: TestDb) {
        let migrations = program(&[FIRST]);
        let url: StoreUrl = at.url().parse().expect("parses");
        let options = PoolOptions {
            max_connections: 1,
            acquire_timeout: std::time::Duration::from_millis(500),
            ..PoolOptions::default()
        };
        let db = Db::open(&url, &migrations, &options).await.expect("opens");
        let _held = db.begin().await.expect("the only one");
        let outcome = db.begin().await;
        assert!(matches!(outcome, Err(DbError::Unavailable(_))), "{outcome:?}");
    }
}

async fn run(tx: &mut Tx, sql: &'static str) -> Result<(), DbError> {
    bursar_db::on!(tx, c => sqlx::raw_sql(sql).execute(c).await?.rows_affected());
    Ok(())
}

/// A COMMIT or a statement that the disk has no room for leaves nothing on its connection that the next one trips over.
#[tokio::test]
async fn a_full_disk_is_unavailable_and_forgotten_when_there_is_room_again() {
    let at = bursar_testkit::sqlite::file();
    let db = migrated(&at).await;
    for round in 0..3 {
        limit_pages(&db, 1).await;
        let mut tx = db.begin().await.expect("begins");
        let filled = run(&mut tx, "CREATE TABLE rubbish AS SELECT randomblob(1000000) AS it").await;
        assert!(matches!(filled, Err(DbError::Unavailable(_))), "round {round}: {filled:?}");
        // However the transaction ends.
        match round {
            0 => drop(tx),
            1 => drop(tx.rollback().await),
            _ => drop(tx.commit().await),
        }
        limit_pages(&db, 1).await;
        let asked = db.ping().await;
        assert!(matches!(asked, Err(DbError::Unavailable(_))), "round {round}: {asked:?}");
        limit_pages(&db, 1_000_000).await;
        db.ping().await.expect("ready again");
        let mut tx = db.begin().await.expect("begins again");
        add_team(&mut tx, &format!("t{round}"), &format!("s{round}")).await.expect("there is room");
        tx.commit().await.expect("commits");
    }
    db.ping().await.expect("alive");
    assert_eq!(teams(&mut db.read().await.expect("begins")).await, 3);
}

/// The same where the disk itself is full, which SQLite notices when it commits. Where this may not mount a small file
/// system it says so and passes.
#[tokio::test]
async fn a_commit_that_the_disk_has_no_room_for_is_forgotten_when_there_is_room_again() {
    let Some(small) = SmallDisk::mount("a commit on a full disk", 2) else { return };
    let url: StoreUrl = format!("sqlite://{}/test.db", small.path().display()).parse().expect("parses");
    let migrations = program(&[FIRST, SECOND]);
    let db = Db::open(&url, &migrations, &PoolOptions::default()).await.expect("opens");
    db.migrate(&migrations).await.expect("migrates");
    for round in 0..3 {
        // Until nothing more fits: what the log has left is used up first.
        small.fill();
        let mut refused = 0;
        for n in 0..500 {
            if refused >= 3 {
                break;
            }
            let id = format!("full{round}{n}");
            let mut tx = db.begin().await.expect("begins");
            let outcome = match add_team(&mut tx, &id, &id).await {
                Ok(()) => tx.commit().await,
                Err(error) => Err(error),
            };
            refused += usize::from(matches!(outcome, Err(DbError::Unavailable(_))));
            assert!(!matches!(outcome, Err(DbError::Other(_))), "round {round}, {n}: {outcome:?}");
        }
        let asked = db.ping().await;
        assert!(matches!(asked, Err(DbError::Unavailable(_))), "round {round}: {refused} refused, and {asked:?}");
        small.clear();
        let mut tx = db.begin().await.expect("begins again");
        add_team(&mut tx, &format!("t{round}"), &format!("s{round}")).await.expect("there is room");
        tx.commit().await.expect("commits");
        db.ping().await.expect("ready again");
    }
    db.close().await;
}

fn kind_of(error: &DbError) -> Option<ConflictKind> {
    match error {
        DbError::Conflict { kind, .. } => Some(*kind),
        _ => None,
    }
}

/// What only PostgreSQL can do to a transaction. Without the programs these pass, as `engines!` tests do.
mod on_postgres {
    use super::*;

    fn with_postgres<F: Future<Output = ()>>(body: fn(TestDb) -> F) {
        bursar_testkit::postgres::run(body);
    }

    async fn lock(tx: &mut Tx, id: &str) -> Result<(), DbError> {
        exactly_one(on!(tx, c => sqlx::query("UPDATE teams SET slug = slug WHERE id = $1")
            .bind(id).execute(c).await?.rows_affected()))
    }

    #[test]
    fn a_deadlock_may_be_run_again() {
        with_postgres(|at| async move {
            let db = migrated(&at).await;
            let mut tx = db.begin().await.expect("begins");
            add_team(&mut tx, "a", "a").await.expect("inserts");
            add_team(&mut tx, "b", "b").await.expect("inserts");
            tx.commit().await.expect("commits");
            let (mut one, mut two) = (db.begin().await.expect("begins"), db.begin().await.expect("begins"));
            lock(&mut one, "a").await.expect("locks");
            lock(&mut two, "b").await.expect("locks");
            let first = async {
                let outcome = lock(&mut one, "b").await;
                drop(one);
                outcome
            };
            let second = async {
                let outcome = lock(&mut two, "a").await;
                drop(two);
                outcome
            };
            let (first, second) = tokio::join!(first, second);
            let loser = first.and(second).expect_err("one of them loses");
            assert!(matches!(loser, DbError::Serialization), "{loser:?}");
            assert!(loser.is_retryable());
        });
    }

    #[test]
    fn what_is_too_long_for_an_index_is_the_datas_fault() {
        with_postgres(|at| async move {
            const LONG: &str = "INSERT INTO teams (id, slug) SELECT 'a', string_agg(md5(n::text), '') \
                FROM generate_series(1, 1000) AS n";
            async fn write(tx: &mut Tx) -> Result<u64, DbError> {
                Ok(on!(tx, c => sqlx::query(LONG).execute(c).await?.rows_affected()))
            }
            let db = migrated(&at).await;
            let mut tx = db.begin().await.expect("begins");
            let refused = write(&mut tx).await.expect_err("no index takes it");
            assert!(refused.is_about_the_data() && !refused.is_retryable(), "{refused:?}");
        });
    }

    #[test]
    fn a_stale_connection_costs_nobody_a_call() {
        with_postgres(|at| async move {
            let db = migrated(&at).await;
            let idle: Vec<Tx> = futures::future::try_join_all((0..5).map(|_| db.begin())).await.expect("begins");
            drop(idle);
            let killer = open(&at, &program(&[FIRST, SECOND])).await.expect("opens");
            kill_others(&killer).await;
            let mut tx = db.begin().await.expect("the dead connections are replaced");
            add_team(&mut tx, "one", "acme").await.expect("works");
            kill_others(&killer).await;
            let outcome = tx.commit().await;
            assert!(matches!(outcome, Err(DbError::Unavailable(_))), "{outcome:?}");
        });
    }

    /// A pool goes on trying where a database refuses for now, and an operator must read what the database said.
    #[test]
    fn a_database_that_refuses_connections_says_so_itself() {
        with_postgres(|at| async move {
            let db = migrated(&at).await;
            let mut tx = db.begin().await.expect("begins");
            let name: String = on!(&mut tx, c => sqlx::query("SELECT current_database()::text").fetch_one(c).await.expect("asks").get(0));
            let prepare = format!(
                "CREATE ROLE limited_{name} LOGIN; ALTER DATABASE {name} CONNECTION LIMIT 0; \
                 CREATE ROLE barred_{name} NOLOGIN"
            );
            on!(&mut tx, c => sqlx::raw_sql(sqlx::AssertSqlSafe(prepare)).execute(c).await.expect("prepares").rows_affected());
            tx.commit().await.expect("commits");
            let as_role = |role: &str| {
                let (scheme, rest) = at.url().split_once("://").expect("a URL");
                let (_, place) = rest.split_once('@').expect("a user");
                format!("{scheme}://{role}_{name}@{place}")
            };
            let nobody_listens = "postgres://bob@127.0.0.1:1/x".to_owned();
            let cases = [
                (as_role("limited"), "too many connections"),
                (as_role("barred"), "not permitted to log in"),
                (nobody_listens, "refused"),
            ];
            let options =
                PoolOptions { acquire_timeout: std::time::Duration::from_millis(200), ..PoolOptions::default() };
            for (address, said) in cases {
                let url: StoreUrl = address.parse().expect("parses");
                let error = Db::open(&url, &program(&[FIRST]), &options).await.expect_err(said);
                let text = error.to_string();
                assert!(text.contains(said) && !text.contains("pool timed out"), "{address}: {text}");
            }
        });
    }

    /// In a transaction of its own: within one, PostgreSQL answers from a list of sessions it made before.
    async fn kill_others(db: &Db) {
        const KILL: &str = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
             WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let Tx::Postgres(mut tx) = db.begin().await.expect("begins") else { panic!("not PostgreSQL") };
        sqlx::query(KILL).execute(&mut *tx).await.expect("kills");
    }
}

#[tokio::test]
async fn a_store_that_cannot_be_opened_says_why() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    std::fs::write(&file, "x".repeat(4096)).expect("writes");
    let missing = directory.path().join("absent");
    let cases = [
        // Even root cannot make a directory below a file, or anything in /proc.
        (format!("sqlite://{}/x.db", file.display()), "cannot create the directory"),
        ("sqlite:///proc/bursar/x.db".to_owned(), "cannot create the directory /proc/bursar"),
        ("sqlite:///proc/x.db".to_owned(), "cannot create the file"),
        (format!("sqlite://{}", directory.path().display()), "it is a directory"),
        (format!("sqlite://{}", file.display()), "not a database"),
        (format!("postgres://bob:geheim@localhost/x?host={}", missing.display()), "no connection to the server"),
    ];
    for (address, reason) in cases {
        let url: StoreUrl = address.parse().expect("parses");
        let error = Db::open(&url, &program(&[FIRST]), &PoolOptions::default()).await.expect_err(&address);
        let text = error.to_string();
        assert!(matches!(error, DbError::Open { .. }), "{address}: {error:?}");
        assert!(text.contains(reason), "{address}: {text}");
        assert!(!text.contains("geheim"), "{text}");
    }
}

#[tokio::test]
async fn a_sqlite_file_is_private_and_durable() {
    use std::os::unix::fs::PermissionsExt;

    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("deep/down/x.db");
    let db = Db::open(&StoreUrl::sqlite(&path), &program(&[]), &PoolOptions::default()).await.expect("opens");
    assert_eq!(db.engine(), Engine::Sqlite);
    let mode = std::fs::metadata(&path).expect("exists").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "only its owner reads it");
    let mut tx = db.begin().await.expect("begins");
    for (pragma, expected) in [("PRAGMA synchronous", 2), ("PRAGMA foreign_keys", 1)] {
        let value: i64 = on!(&mut tx, c => sqlx::query(pragma).fetch_one(c).await.expect(pragma).get(0));
        assert_eq!(value, expected, "{pragma}");
    }
    let journal: String =
        on!(&mut tx, c => sqlx::query("PRAGMA journal_mode").fetch_one(c).await.expect("asks").get(0));
    assert_eq!(journal, "wal");
}
