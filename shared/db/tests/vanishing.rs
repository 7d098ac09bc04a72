//! PostgreSQL whose host vanishes, or whose disk is full: nothing waits for ever, and nothing stays behind.
#![allow(clippy::expect_used, clippy::panic, reason = "tests fail by panicking, their helpers too")]

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Mutex;
use std::task::Poll;
use std::time::{Duration, Instant};

use bursar_db::{Db, DbError, Migrations, PoolOptions, Tx};
use bursar_testkit::postgres::Durability;
use bursar_testkit::{Proxy, SmallDisk, TestDb, Vanish, postgres, until};

/// What a machine that is busy with other tests may add to a limit.
const BUSY: Duration = Duration::from_secs(5);

const KEEP: &str = "INSERT INTO kept (what) VALUES ($1) ON CONFLICT (what) DO NOTHING";

async fn open(url: &bursar_db::StoreUrl) -> Db {
    let options = PoolOptions { statement_timeout: Duration::from_secs(2), ..PoolOptions::default() };
    Db::open(url, &Migrations::SHARED, &options).await.expect("opens")
}

async fn keep(tx: &mut Tx, what: &str) -> Result<u64, DbError> {
    Ok(bursar_db::on!(tx, c => sqlx::query(KEEP).bind(what).execute(c).await?.rows_affected()))
}

async fn kept(db: &Db, what: &str) -> i64 {
    let mut tx = db.read().await.expect("reads");
    let count = "SELECT count(*) FROM kept WHERE what = $1";
    let read: Result<(i64,), DbError> =
        async { Ok(bursar_db::on!(&mut tx, c => sqlx::query_as(count).bind(what).fetch_one(c).await?)) }.await;
    read.expect("counted").0
}

async fn prepare(db: &TestDb) -> Db {
    let db = db.open(&Migrations::SHARED).await;
    let mut tx = db.begin().await.expect("begins");
    let made: Result<u64, DbError> = async {
        let text = "CREATE TABLE kept (what TEXT PRIMARY KEY)";
        Ok(bursar_db::on!(&mut tx, c => sqlx::query(text).execute(c).await?.rows_affected()))
    }
    .await;
    made.expect("made");
    tx.commit().await.expect("commits");
    db
}

/// The same row again until it is there.
async fn until_kept(db: &Db, what: &str) {
    let since = Instant::now();
    loop {
        let tried: Result<(), DbError> = async {
            let mut tx = db.begin().await?;
            keep(&mut tx, what).await?;
            tx.commit().await
        }
        .await;
        match tried {
            Ok(()) => return,
            Err(error) => assert!(error.is_retryable() && since.elapsed() < Duration::from_mins(1), "{error:?}"),
        }
    }
}

#[test]
fn a_host_that_vanishes_under_idle_connections_costs_a_moment() {
    postgres::run(async |db: TestDb| {
        let proxy = Proxy::before(&db).await;
        prepare(&db).await;
        let db = open(&proxy.store_url()).await;
        // As many connections as there can be, all idle.
        let mut all = Vec::new();
        for _ in 0..PoolOptions::default().max_connections {
            all.push(db.begin().await.expect("begins"));
        }
        for tx in all {
            tx.rollback().await.expect("ends");
        }
        proxy.vanish();
        let since = Instant::now();
        until_kept(&db, "after").await;
        db.ping().await.expect("ready");
        assert!(since.elapsed() < Duration::from_secs(2) + BUSY, "{:?}", since.elapsed());
    });
}

#[test]
fn a_host_that_vanishes_at_any_step_of_a_transaction_is_given_up() {
    postgres::run(async |db: TestDb| {
        let proxy = Proxy::before(&db).await;
        prepare(&db).await;
        let db = open(&proxy.store_url()).await;
        let mut unknown = 0;
        for seen in [false, true] {
            for after in 0.. {
                let what = format!("{seen} {after}");
                // An idle connection that was asked for its sign of life when it came back.
                db.ping().await.expect("ready");
                proxy.arm(Vanish { after, seen });
                let since = Instant::now();
                let told: Result<(), DbError> = async {
                    let mut tx = db.begin().await?;
                    keep(&mut tx, &what).await?;
                    tx.commit().await
                }
                .await;
                // BEGIN and its new connection, a statement and its margin, a COMMIT.
                assert!(since.elapsed() < Duration::from_secs(15) + BUSY, "{what}: {:?}", since.elapsed());
                let over = proxy.disarm();
                match told {
                    Ok(()) => assert_eq!(kept(&db, &what).await, 1, "{what}: what was answered is kept"),
                    Err(DbError::Unavailable(_)) => unknown += 1,
                    Err(error) => panic!("{what}: {error:?}"),
                }
                let others = Instant::now();
                until_kept(&db, &format!("{what}, somebody else's")).await;
                assert!(others.elapsed() < Duration::from_secs(2) + BUSY, "{what}: {:?}", others.elapsed());
                until_kept(&db, &what).await;
                assert_eq!(kept(&db, &what).await, 1, "{what}: once");
                if over {
                    break;
                }
            }
        }
        assert!(unknown >= 2, "a statement and a COMMIT were never answered");
    });
}

/// A server that works and a host that has vanished are both silent.
#[test]
fn a_silent_connection_is_given_up_unless_the_server_works_for_it() {
    postgres::run(async |db: TestDb| {
        let proxy = Proxy::before(&db).await;
        prepare(&db).await;
        let home = Db::open(&proxy.store_url(), &Migrations::SHARED, &PoolOptions::default()).await.expect("opens");
        // What is given up earlier than after that is not given up because it took too long.
        let db = home.dedicated(Duration::from_millis(500), Duration::from_secs(25));
        let mut tx = db.begin().await.expect("begins");
        works(&mut tx).await.expect("waited for");
        keep(&mut tx, "slow").await.expect("on the same connection");
        tx.commit().await.expect("commits");

        for seen in [false, true] {
            let mut tx = db.begin().await.expect("begins");
            proxy.arm(Vanish { after: 0, seen });
            let told = tokio::time::timeout(Duration::from_secs(2) + BUSY, keep(&mut tx, "lost")).await;
            let told = told.expect("given up");
            assert!(matches!(told, Err(DbError::Unavailable(_))), "{seen}: {told:?}");
            drop(tx);
            // The host that is gone may still have the row.
            until_kept(&db, &format!("after {seen}")).await;
        }
        // Also on a connection that took another one's place.
        let mut tx = db.begin().await.expect("begins");
        works(&mut tx).await.expect("waited for");
        tx.rollback().await.expect("ends");
        db.close_dedicated().await;
    });
}

/// Whoever finds a connection dead goes on in its turn: nobody goes before it who has come meanwhile.
#[test]
fn whoever_finds_a_connection_dead_keeps_its_turn() {
    postgres::run(async |at: TestDb| {
        let proxy = Proxy::before(&at).await;
        prepare(&at).await;
        let options =
            PoolOptions { max_connections: 1, acquire_timeout: Duration::from_mins(1), ..PoolOptions::default() };
        let db = Db::open(&proxy.store_url(), &Migrations::SHARED, &options).await.expect("opens");
        let Db::Postgres(pool) = &db else { panic!("a test of PostgreSQL") };
        until(Duration::from_mins(1), "the connection is given back", async || pool.num_idle() == 1).await;
        proxy.vanish();
        let order = Mutex::new(Vec::new());
        let turn = async |name: &'static str| {
            let tx = db.begin().await.expect("on another connection");
            order.lock().expect("nobody panics").push(name);
            tx.rollback().await.expect("ends");
        };
        let mut first = pin!(turn("first"));
        let mut second = pin!(turn("second"));
        let polled = std::future::poll_fn(|context| {
            Poll::Ready((first.as_mut().poll(context).is_pending(), second.as_mut().poll(context).is_pending()))
        });
        assert_eq!(polled.await, (true, true), "nobody answers");
        futures::future::join(first, second).await;
        assert_eq!(*order.lock().expect("nobody panics"), ["first", "second"]);
    });
}

/// Two seconds of work.
async fn works(tx: &mut Tx) -> Result<u64, DbError> {
    let text = "SELECT count(*) FROM pg_sleep(2)";
    Ok(bursar_db::on!(tx, c => sqlx::query(text).execute(c).await?.rows_affected()))
}

/// Somebody who gives up while a statement waits costs nobody else a connection: the server is as well as before.
#[test]
fn who_hangs_up_while_a_statement_waits_makes_no_other_connection_doubtful() {
    postgres::run(async |at: TestDb| {
        let db = prepare(&at).await;
        let mut keeper = db.begin().await.expect("begins");
        keep(&mut keeper, "it").await.expect("locked");
        let before = sessions(&db).await;
        let waiting = async {
            let mut tx = db.begin().await?;
            keep(&mut tx, "it").await
        };
        tokio::time::timeout(Duration::from_millis(100), waiting).await.expect_err("it waits for the row");
        // As long as what was begun cannot be undone, and a little longer than anybody would wait for that.
        let since = Instant::now();
        while since.elapsed() < Duration::from_secs(2) {
            let now = sessions(&db).await;
            assert!(now.is_superset(&before), "of {before:?} there are {now:?} after {:?}", since.elapsed());
        }
        keeper.commit().await.expect("commits");
    });
}

#[test]
fn a_statement_that_takes_too_long_is_its_own_fault_and_the_store_is_there() {
    postgres::run(async |at: TestDb| {
        let proxy = Proxy::before(&at).await;
        prepare(&at).await;
        let db = open(&proxy.store_url()).await;
        let mut tx = db.begin().await.expect("begins");
        keep(&mut tx, "it").await.expect("written");
        let told = overruns(&mut tx).await;
        assert!(matches!(told, Err(DbError::TimedOut)), "{told:?}");
        tx.rollback().await.expect("its connection is good");
        db.ping().await.expect("ready");
        assert_eq!(kept(&db, "it").await, 0, "nothing was written");
        until_kept(&db, "it").await;
    });
}

/// More work than any statement may take.
async fn overruns(tx: &mut Tx) -> Result<u64, DbError> {
    let text = "SELECT count(*) FROM pg_sleep(60)";
    Ok(bursar_db::on!(tx, c => sqlx::query(text).execute(c).await?.rows_affected()))
}

/// The sessions that the server has for this database.
async fn sessions(db: &Db) -> BTreeSet<i32> {
    let mut tx = db.read().await.expect("reads");
    let Tx::Postgres(t) = &mut tx else { panic!("a test of PostgreSQL") };
    let all = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend'";
    let sessions: Vec<(i32,)> = sqlx::query_as(all).fetch_all(&mut **t).await.expect("answers");
    tx.rollback().await.expect("ends");
    sessions.into_iter().map(|(pid,)| pid).collect()
}

#[test]
fn a_full_tablespace_is_told_and_forgotten_when_there_is_room_again() {
    postgres::run(async |_shared: TestDb| {
        let Some(small) = SmallDisk::mount("a full tablespace", 24) else { return };
        let server = postgres::start(Durability::Fast).expect("PostgreSQL is there");
        let tablespace = small.path().join("tables");
        std::fs::create_dir(&tablespace).expect("a directory");
        server.own(&tablespace);
        let db = server.create_database_in(&tablespace).await;
        let db = prepare(&db).await;
        db.ping().await.expect("there is room");
        small.fill();

        assert!(matches!(db.ping().await, Err(DbError::Unavailable(_))), "not ready");
        // Rows fit into what the table has already, for a while.
        let mut refused = 0;
        for n in 0..2_000 {
            let mut tx = db.begin().await.expect("begins");
            match keep(&mut tx, &format!("{n} {}", "x".repeat(500))).await {
                Ok(_) => tx.commit().await.expect("commits"),
                Err(DbError::Unavailable(_)) => refused += 1,
                Err(error) => panic!("{n}: {error:?}"),
            }
            if refused > 3 {
                break;
            }
        }
        assert!(refused > 3, "the disk is full and nobody notices");
        small.clear();
        until_kept(&db, "room").await;
        db.ping().await.expect("ready again");
        db.close().await;
        drop(server);
        drop(small);
    });
}
